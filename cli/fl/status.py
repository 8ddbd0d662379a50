"""`claw fl status`: federations, consents, rounds, what they cost, what came back, what holds learning up now."""

import argparse
import asyncio
from typing import TYPE_CHECKING

import msgspec

from cli.console import Console, columns, counted
from vault.clock import local_time
from vault.sanitize import sanitize_line

if TYPE_CHECKING:
    from fl_client.participation.account import Account
    from vault.federation_store import FederationRecord
    from vault.store import Vault

__all__ = ["configure", "run"]

_SHOWN = 8
_EPILOG = "Nothing is asked of anybody, but of a federation that hasn't admitted this device yet, whether it has."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.epilog = _EPILOG


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the status."""
    from fl_client.participation.account import account_of
    from vault.errors import NoVault

    try:
        with console.open_vault() as vault:
            _ask_again(vault, console)
            account = account_of(vault, console.settings)
    except NoVault:
        account = None
    if arguments.json:
        print(msgspec.json.encode(account or {"learning": "off"}).decode())
        return 0
    if account is None or not account.federations:
        console.say(
            "Learning with others is off: this device belongs to no federation. `claw fl join INVITE` joins one."
        )
        return 0
    _show(account, console)
    return 0


def _ask_again(vault: "Vault", console: Console) -> None:
    """Ask federations that haven't admitted this device whether they have; one that is gone isn't an error here."""
    from fl_client.errors import LearningError
    from fl_client.participation.desk import door_of
    from fl_client.participation.membership import Membership
    from vault.errors import EgressError, Paused

    membership = Membership(vault)

    async def ask(federation: "FederationRecord") -> bool:
        async with door_of(vault, console.settings) as door:
            return await membership.ask(door, federation, 0)

    for federation in membership.store.all():
        if federation.certificate:
            continue
        try:
            if asyncio.run(ask(federation)):
                console.say(f"{federation.name} has admitted this device.")
        except (LearningError, EgressError, Paused) as error:
            console.say(f"{federation.name} was asked whether it has admitted this device. {error.message}")


def _show(account: "Account", console: Console) -> None:
    for federation in account.federations:
        state = "belongs to it" if federation.admitted else "hasn't been admitted yet"
        print(f"{federation.name}  {federation.address}\n  this device {state}; id {federation.id[:_SHOWN]}")
        print(f"  log of releases seen up to entry {federation.log_size:,}, root {federation.log_root[:16]}")
    for task in account.tasks:
        print(f"\n{task.federation}/{task.task}  consent {task.consent}, since {local_time(task.since_ms)}")
        print(f"  taken part   {task.times:,} of {task.most_times:,} times")
        print(
            f"  privacy      ε {task.epsilon:.2f} so far, of {task.most_epsilon:.2f} at most (δ {task.delta:.0e})"
        )
        print(f"  sent         {task.bytes:,} bytes")
        print(f"  learning     {task.held_up[0] if task.held_up else 'it may begin now'}")
        for why in task.held_up[1:]:
            print(f"               {why}")
    if account.rounds:
        print()
        rows = [
            (local_time(one.began_ms), one.task, f"{one.round:,}", f"{one.cohort:,}", f"{one.bytes:,}", one.outcome)
            for one in account.rounds
        ]
        print(columns([("BEGAN", "TASK", "ROUND", "DEVICES", "BYTES SENT", "OUTCOME"), *rows]))
    if account.releases:
        print()
        releases = [
            (
                one.task,
                f"{one.number:,}",
                f"{one.survivors:,}",
                _loss(one.loss_before),
                _loss(one.loss_after),
                one.decision,
                one.adapter or "removed",
            )
            for one in account.releases
        ]
        print(columns([("TASK", "RELEASE", "DEVICES", "LOSS BEFORE", "WITH IT", "DECISION", "ADAPTER"), *releases]))
    if not account.tasks:
        console.say(
            f"You agreed to no task of {counted(len(account.federations), 'federation')}; "
            "`claw consent show` lists what there is."
        )
    if account.paused:
        console.say(sanitize_line(account.paused))


def _loss(loss: float | None) -> str:
    return "" if loss is None else f"{loss:.3f}"
