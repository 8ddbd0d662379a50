"""`claw consent`: what others could learn together with you, agreed to one task at a time, and taken back."""

import argparse
import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from cli.console import Console, columns
from cli.errors import UsageError
from vault.clock import local_time
from vault.errors import NoVault

if TYPE_CHECKING:
    from vault.consent_store import Consent

__all__ = ["configure", "run"]

_EPILOG = """\
Nothing is on until you agree to it. A consent is about one task of one
federation and the examples of one skill; a task that changes needs another one.
Withdrawing takes effect within a second, in the middle of training too.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    verbs = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter

    def add(name: str, summary: str, work: Callable[[argparse.Namespace, Console], int]) -> argparse.ArgumentParser:
        child = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        child.set_defaults(work=work)
        return child

    showing = add("show", "show what your federations offer and you agreed to, or all about one task", _show_it)
    showing.add_argument("task", nargs="?", metavar="TASK", help="a task, or FEDERATION/TASK")
    granting = add("grant", "agree to take part in a task, after seeing every number that matters", _grant)
    granting.add_argument("task", metavar="TASK", help="a task, or FEDERATION/TASK")
    granting.add_argument(
        "--releases",
        choices=("better", "ask"),
        default="better",
        help="use a release if it is better on your held-out examples, or have it wait for you (%(default)s)",
    )
    granting.add_argument("--yes", action="store_true", help="agree to what it shows, unasked")
    withdrawing = add("withdraw", "take a consent back", _withdraw)
    withdrawing.add_argument("task", nargs="?", metavar="TASK", help="a task, or FEDERATION/TASK")
    withdrawing.add_argument("--all", action="store_true", help="every consent to a task")
    history = add("history", "show every consent there was, with its text", _history)
    history.add_argument("version", nargs="?", type=int, metavar="N", help="one of them, whole")
    for child in (showing, granting, withdrawing, history):
        child.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run the action."""
    return int(arguments.work(arguments, console))


def _show_it(arguments: argparse.Namespace, console: Console) -> int:
    from fl_client.participation.consents import Consents
    from fl_client.participation.trial import offered
    from vault.federation_store import FederationStore

    try:
        with console.open_vault() as vault:
            held = {one.task: one for one in Consents(vault).store.held() if one.task}
            found = (
                asyncio.run(offered(vault, console.settings, arguments.task))
                if arguments.task or FederationStore(vault.database).all()
                else []
            )
    except NoVault:
        found, held = [], {}
    if arguments.json:
        shown = [
            {
                "federation": one.federation.name,
                "task": one.offer.task.name,
                "digest": one.offer.task.digest.hex(),
                "state": one.offer.info.state,
                "agreed": one.offer.task.digest.hex() in held,
                "text": one.text,
            }
            for one in found
        ]
        print(msgspec.json.encode(shown).decode())
        return 0
    if arguments.task:
        print(found[0].text, end="")
        consent = held.get(found[0].offer.task.digest.hex())
        console.say(
            f"\nYou agreed to it on {local_time(consent.given_ms)} (consent {consent.version})."
            if consent
            else "\nYou haven't agreed to it.\n"
            f"To see the bytes that would leave: claw fl preview {arguments.task}\n"
            f"To agree: claw consent grant {arguments.task}"
        )
        return 0
    rows = [
        (
            f"{one.federation.name}/{one.offer.task.name}",
            one.offer.info.state,
            f"ε {one.offer.task.plan.epsilon():.1f}",
            "agreed" if one.offer.task.digest.hex() in held else "not agreed",
            one.offer.task.purpose.partition("\n")[0][:60],
        )
        for one in found
    ]
    if rows:
        print(columns([("TASK", "STATE", "PRIVACY", "CONSENT", "WHAT FOR"), *rows]))
        console.say("\nAll about one of them: claw consent show TASK")
    else:
        console.say("There is nothing to agree to: no federation that you belong to offers a task.")
    offers = {one.offer.task.digest.hex() for one in found}
    for gone in [one for digest, one in held.items() if digest not in offers]:
        console.say(f"{gone.name}/{gone.task_name} isn't any more what you agreed to; nothing is sent for it.")
    return 0


def _grant(arguments: argparse.Namespace, console: Console) -> int:
    from fl_client.participation.consents import Consents, check_acceptable
    from fl_client.participation.trial import offered
    from vault.consent_store import Installs

    with console.open_vault() as vault:
        (one,) = asyncio.run(offered(vault, console.settings, arguments.task))
        task = one.offer.task
        console.say(one.text)
        check_acceptable(task, console.settings.limits)
        if not arguments.yes:
            if not console.can_ask:
                raise UsageError("Nobody can be asked whether you agree.", hint="To agree to it unasked: --yes")
            console.say(f"To see the bytes that would leave, first: claw fl preview {arguments.task}")
            if not console.confirm(f"Agree to take part in {task.name}?"):
                console.say("You didn't agree; nothing was changed.")
                return 1
        consent = Consents(vault).to_task(one.federation, task, one.message, one.text, Installs(arguments.releases))
    if arguments.json:
        print(msgspec.json.encode(_as_json(consent)).decode())
    else:
        console.say(
            f"Consent {consent.version} is given. `claw fl run` takes part now, `claw fl daemon` whenever your "
            f"limits allow; `claw consent withdraw {task.name}` ends it."
        )
    return 0


def _withdraw(arguments: argparse.Namespace, console: Console) -> int:
    from fl_client.participation.consents import Consents
    from fl_client.participation.desk import chosen

    if arguments.all == bool(arguments.task):
        raise UsageError("Name a task, or say --all.", hint="`claw fl status` shows what you agreed to.")
    with console.open_vault() as vault:
        consents = Consents(vault)
        ended = [one for one in chosen(vault, arguments.task) if consents.withdraw(one)]
    if arguments.json:
        print(msgspec.json.encode([_as_json(one) for one in ended]).decode())
        return 0
    for one in ended:
        console.say(
            f"Consent {one.version}, to {one.name}/{one.task_name}, is withdrawn: nothing more is sent for it."
        )
    return 0


def _history(arguments: argparse.Namespace, console: Console) -> int:
    from fl_client.participation.consents import Consents

    try:
        with console.open_vault() as vault:
            store = Consents(vault).store
            found = [store.get(arguments.version)] if arguments.version is not None else store.all()
    except NoVault:
        found = []
    if arguments.json:
        print(msgspec.json.encode([_as_json(one) for one in found]).decode())
        return 0
    if arguments.version is not None:
        print(found[0].text, end="")
        return 0
    if not found:
        console.say("You never agreed to anything.")
        return 0
    rows = [
        (
            f"{one.version}",
            f"{one.name}/{one.task_name}" if one.task else one.name,
            one.source or "belonging to it",
            local_time(one.given_ms),
            local_time(one.withdrawn_ms) if one.withdrawn_ms is not None else "",
        )
        for one in found
    ]
    print(columns([("N", "TO", "ABOUT", "GIVEN", "WITHDRAWN"), *rows]))
    return 0


def _as_json(consent: "Consent") -> dict[str, object]:
    return {
        "version": consent.version,
        "federation": consent.name,
        "task": consent.task_name,
        "digest": consent.task,
        "source": consent.source,
        "releases": consent.installs,
        "given_ms": consent.given_ms,
        "withdrawn_ms": consent.withdrawn_ms,
        "text": consent.text,
    }
