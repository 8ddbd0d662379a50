"""What a person agrees to, in words: shown before, kept as it was shown, and withdrawn at any moment.

Nothing is on by default. A consent is about one task of one federation, and about the examples of one skill; its
text has every number that matters, worked out here and not believed. A task with another word or number has another
digest, and needs a consent of its own.
"""

import hashlib
import math
import textwrap
import time
from typing import TYPE_CHECKING

from federation.task import AdapterTraining, Task, read_task
from fl_client.errors import ConsentNeeded, NotAcceptable
from vault.classes import DataClass
from vault.connection import Connection
from vault.consent_store import Consent, ConsentStore, Installs
from vault.federation_store import FederationRecord
from vault.sanitize import sanitize

if TYPE_CHECKING:
    from vault.settings import LimitSettings
    from vault.store import Vault

__all__ = ["Consents", "check_acceptable", "described", "task_of"]

_WIDE, _NAMES = 79, 17
_EXPOSED = -40.0
"""A round may open less than all survivors together with a probability of 2 to this, at most."""


def described(federation: FederationRecord, task: Task, examples: int) -> str:
    """All that a person should know before they agree to a task.

    Args:
        federation: Which offers it.
        task: The task.
        examples: Of its skill, on this device.
    """
    plan = task.plan
    secagg, training = plan.secagg, task.training
    what = (
        f"an adapter of {plan.privacy.parameters:,} numbers ({training.kind}, rank {training.rank})"
        if isinstance(training, AdapterTraining)
        else f"a classifier of {plan.privacy.parameters:,} numbers"
    )
    size = secagg.ring.size(plan.privacy.dimension)
    leaves = (
        f"in each round: one update, cut to a length of {plan.privacy.clip:g}, with noise, masked "
        f"({size / 1024:,.0f} KiB); keys and signatures of the round. Never an example, nor a text."
    )
    gets = (
        f"{federation.address}. It can open only the sum of at least {secagg.min_survivors:,} devices' updates, of "
        f"{secagg.min_cohort:,} to {secagg.max_cohort:,} that begin a round."
    )
    private = (
        f"ε = {plan.epsilon():.2f} at δ = {plan.delta:.0e} for all of it together (ε = {plan.epsilon(1):.2f} for "
        f"once). {_meaning(plan.epsilon())} It holds if at least {plan.honest:,} devices of a sum add their noise; "
        f"{secagg.corrupt:,} are counted on that don't. {_exposed(plan.exposure())}"
    )
    parts = (
        ("What for", task.purpose),
        ("From what data", task.data),
        ("On this device", f"the {examples:,} examples of the skill {task.skill}, and no other data"),
        ("Learned", f"{what}, in a sandbox without network, on this machine"),
        ("", ""),
        ("What leaves", leaves),
        ("Who gets it", gets),
        ("How often", f"at most {_counted(plan.participations, 'time')}, in {_counted(task.rounds, 'round')}"),
        ("How private", private),
        ("Not hidden", "that this device takes part, and when"),
        ("What comes back", "the sums' result, for everybody; it is judged here by examples that were held out"),
        (
            "To end it",
            f"claw consent withdraw {task.name}: it takes effect within a second. What was summed before stays in "
            "the sums.",
        ),
    )
    lines = "\n".join(_line(*part) for part in parts)
    head = f"{task.name}, version {task.version}, of {federation.name}"
    return sanitize(f"{head}\n\n{lines}\n\nTask {task.digest.hex()}\n")


def _line(name: str, text: str) -> str:
    """A part of the text, as wide as the narrowest terminal."""
    indent = " " * _NAMES
    return textwrap.fill(text, _WIDE, initial_indent=name.ljust(_NAMES), subsequent_indent=indent) if name else ""


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'s' * (count != 1)}"


def _meaning(epsilon: float) -> str:
    if epsilon <= 1:
        return "That is a strong promise."
    if epsilon <= 10:
        return "That is a usual promise."
    return "THAT PROMISES LITTLE: noise hides no single device well; what protects it is that only sums are opened."


def _exposed(exposure: float) -> str:
    if math.isinf(exposure):
        return "While no more devices than that cheat, less than all of a sum can't be opened."
    return f"That less than all of a sum is opened has a probability of at most 2^{exposure:.0f} in each round."


def check_acceptable(task: Task, limits: "LimitSettings") -> None:
    """Refuse a task that asks for more than the person's limits allow.

    Raises:
        NotAcceptable: it does.
    """
    plan = task.plan
    if plan.secagg.min_cohort < limits.least_cohort:
        raise NotAcceptable(
            f"{task.name} begins rounds with {plan.secagg.min_cohort} devices; you want "
            f"{limits.least_cohort} at least.",
            hint=f"To allow it: claw limits set cohort {plan.secagg.min_cohort}",
        )
    if plan.secagg.corrupt < limits.least_corrupt:
        raise NotAcceptable(
            f"{task.name} counts on {plan.secagg.corrupt} devices that work with the operator; you want "
            f"{limits.least_corrupt} at least to be counted on.",
            hint=f"To allow it: claw limits set corrupt {plan.secagg.corrupt}",
        )
    if not (once := plan.epsilon(1)) <= limits.epsilon_a_year:
        raise NotAcceptable(
            f"Taking part in {task.name} once costs ε = {once:.2f}; you allow {limits.epsilon_a_year:g} a year.",
            hint=f"It promises little. To allow it: claw limits set epsilon {math.ceil(plan.epsilon())}",
        )
    if not plan.exposure() <= _EXPOSED:
        raise NotAcceptable(
            f"In {task.name} a single update could be opened, with a probability of 2^{plan.exposure():.0f} a "
            "round.",
            hint="Tell the operator of the federation: there are too few neighbours.",
        )


def task_of(consent: Consent) -> Task:
    """The task that a consent is about.

    Raises:
        ConsentNeeded: it is about no task, or isn't what was agreed to.
    """
    task = read_task(consent.message) if consent.task else None
    if task is None or task.digest.hex() != consent.task:
        raise ConsentNeeded("That consent is about no task.", hint="`claw consent show` lists them.")
    return task


class Consents:
    """The consents of one vault. Giving and withdrawing are entries of the transparency log: the receipts.

    Args:
        vault: Open.
    """

    def __init__(self, vault: "Vault") -> None:
        self._vault = vault
        self.store = ConsentStore(vault.database)

    def to_belong(self, federation: FederationRecord, text: str, connection: Connection) -> int:
        """Agree to belong to a federation, in a transaction that writes; the consent's version."""
        consent = Consent(
            0, federation.id, federation.name, "", "", b"", "", text, Installs.ASK, time.time_ns() // 1_000_000
        )
        return self._give(connection, consent)

    def to_task(
        self, federation: FederationRecord, task: Task, message: bytes, text: str, installs: Installs
    ) -> Consent:
        """Agree to take part in a task.

        Args:
            federation: Which offers it.
            task: The task.
            message: The same, as the federation encodes it.
            text: What was shown.
            installs: What is done with its releases.
        """
        consent = Consent(
            0,
            federation.id,
            federation.name,
            task.digest.hex(),
            task.name,
            message,
            f"examples:{task.skill}",
            text,
            installs,
            0,
        )
        version = self._vault.database.write(lambda connection: self._give(connection, consent))
        return self.store.get(version)

    def _give(self, connection: Connection, consent: Consent) -> int:
        version = ConsentStore.give(connection, consent)
        what = f"to take part in {consent.task_name}" if consent.task else "to belong to it"
        self._record(connection, consent, version, f"given, {what}")
        return version

    def withdraw(self, consent: Consent, why: str = "") -> bool:
        """Withdraw a consent; whether it held. What it allowed ends within a second, in every process.

        Args:
            consent: Which.
            why: Where it isn't the person who does.
        """

        def work(connection: Connection) -> bool:
            held = ConsentStore.withdraw(connection, consent.version)
            if held:
                self._record(connection, consent, consent.version, f"withdrawn. {why}" if why else "withdrawn")
            return held

        return self._vault.database.write(work)

    def _record(self, connection: Connection, consent: Consent, version: int, what: str) -> None:
        from vault.log.entries import Action, Entry

        entry = Entry(
            action=Action.CONSENT,
            purpose=f"learning with {consent.name}",
            data_class=DataClass.MEDIUM,
            description=f"consent {version} {what}; text of {len(consent.text):,} characters",
            destination=consent.name,
            consent=f"consent {version}",
            payload_sha256=hashlib.sha256(consent.text.encode()).hexdigest(),
        )
        self._vault.log.record(connection, entry)
