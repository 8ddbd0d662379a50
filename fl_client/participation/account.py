"""An account of all that a person takes part in: what they agreed to, what it cost, and what holds it up now."""

from typing import TYPE_CHECKING

import msgspec

from fl_client.limits.judge import Limits
from fl_client.participation.consents import Consents, task_of
from fl_client.participation.participant import gates
from vault.federation_store import FederationStore
from vault.participation_store import ParticipationStore
from vault.pause import PauseLatch

if TYPE_CHECKING:
    from vault.settings import Settings
    from vault.store import Vault

__all__ = ["Account", "FederationSeen", "Release", "Round", "TaskSeen", "account_of"]

_NEWEST = 10


class FederationSeen(msgspec.Struct, frozen=True):
    """A federation. Attributes as in `vault.federation_store.FederationRecord`."""

    id: str
    name: str
    address: str
    admitted: bool
    log_size: int
    log_root: str


class TaskSeen(msgspec.Struct, frozen=True):
    """A task that was agreed to.

    Attributes:
        federation: Its name.
        task: Its name.
        consent: The consent's version.
        since_ms: When it was given.
        times: How often this device sent an update of it.
        most_times: How often it may.
        epsilon: What that cost.
        most_epsilon: What all of it would cost.
        delta: Of both.
        bytes: Of all updates that were sent.
        held_up: Why it can't begin a round now, a sentence each; empty where it can.
    """

    federation: str
    task: str
    consent: int
    since_ms: int
    times: int
    most_times: int
    epsilon: float
    most_epsilon: float
    delta: float
    bytes: int
    held_up: tuple[str, ...]


class Round(msgspec.Struct, frozen=True):
    """A round. Attributes as in `vault.participation_store.Participation`, but for the name of the task."""

    task: str
    round: int
    began_ms: int
    cohort: int
    bytes: int
    sha256: str
    outcome: str


class Release(msgspec.Struct, frozen=True):
    """A release. Attributes as in `vault.participation_store.JudgedRelease`; the task's name as there."""

    task: str
    number: int
    survivors: int
    loss_before: float | None
    loss_after: float | None
    decision: str
    adapter: str | None


class Account(msgspec.Struct, frozen=True):
    """All of it.

    Attributes:
        federations: That this device belongs to, or asked to.
        tasks: That were agreed to.
        rounds: The newest first.
        releases: The newest first.
        paused: That everything is paused, as a sentence; empty while it isn't.
    """

    federations: tuple[FederationSeen, ...]
    tasks: tuple[TaskSeen, ...]
    rounds: tuple[Round, ...]
    releases: tuple[Release, ...]
    paused: str


def account_of(vault: "Vault", settings: "Settings") -> Account:
    """Give an account; nobody is asked.

    Args:
        vault: Open.
        settings: The person's.
    """
    store, consents = ParticipationStore(vault.database), Consents(vault).store
    names = {one.task: one.task_name for one in consents.all() if one.task}
    latch = PauseLatch(vault.home)
    limits = Limits(settings.limits)
    tasks = []
    for consent in consents.held():
        if not consent.task:
            continue
        plan = task_of(consent).plan
        times = store.times(consent.federation, consent.task)
        tasks.append(
            TaskSeen(
                consent.name,
                consent.task_name,
                consent.version,
                consent.given_ms,
                times,
                plan.participations,
                plan.epsilon(times),
                plan.epsilon(),
                plan.delta,
                sum(one.bytes for one in store.all(consent.federation, consent.task)),
                gates(vault, consent, limits, settings.limits),
            )
        )
    return Account(
        tuple(
            FederationSeen(one.id, one.name, one.address, bool(one.certificate), one.log_size, one.log_root.hex())
            for one in FederationStore(vault.database).all()
        ),
        tuple(tasks),
        tuple(
            Round(
                names.get(one.task, one.task[:8]),
                one.round,
                one.began_ms,
                one.cohort,
                one.bytes,
                one.sha256,
                one.outcome or "under way",
            )
            for one in store.all()[:_NEWEST]
        ),
        tuple(
            Release(
                names.get(one.task, one.task[:8]),
                one.number,
                one.survivors,
                one.loss_before,
                one.loss_after,
                one.decision,
                one.adapter,
            )
            for one in store.releases()[:_NEWEST]
        ),
        latch.refusal().message if latch.engaged else "",
    )
