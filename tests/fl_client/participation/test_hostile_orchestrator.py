"""An orchestrator that lies: about its log, its tasks, its releases. Nothing is believed, and nothing sent."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.api import Leaf, ReleaseInfo, TaskInfo
from federation.messages import Message, encode
from federation.releases import ORIGIN, Promotion, Release, leaf_of
from federation.task import Task
from fl_client.errors import ConsentNeeded, NotAcceptable, NotBelieved
from fl_client.participation.consents import Consents, check_acceptable, described, task_of
from fl_client.participation.link import Link
from fl_client.participation.offers import Offer, offers_of, release_in_use, release_of
from fl_client.participation.releases import Releases
from fl_client.participation.round import OneRound, Part
from fl_client.participation.seen_log import SeenLog
from tests.fl_client.participation.people import FREE, Pupil, adapter_task
from tlog.merkle import Head, consistency_proof, inclusion_proof, root_of
from tlog.note import Checkpoint, Signer, origin_of
from vault.classes import HighlySensitive
from vault.consent_store import Installs
from vault.federation_store import FederationRecord, FederationStore
from vault.settings import LimitSettings
from vault.store import Vault

LOG = Ed25519PrivateKey.generate()
PUBLIC = LOG.public_key().public_bytes_raw()
ZEROS = bytes(4 * 40)


class Liar:
    """What an orchestrator says, right or wrong; it stands where a `Link` does."""

    def __init__(self) -> None:
        self.signer = Signer(LOG, origin_of(ORIGIN, PUBLIC))
        self.messages: list[Message] = []
        self.contents: dict[bytes, bytes] = {}
        self.infos: list[TaskInfo] = []
        self.released: dict[int, ReleaseInfo] = {}
        self.identity = Ed25519PrivateKey.generate()

    def add(self, message: Message) -> int:
        """Append to the log; the place."""
        self.messages.append(message)
        return len(self.messages) - 1

    def open(self, task: Task) -> Release:
        """Open a task, as an honest orchestrator does."""
        place = self.add(task)
        first = self.publish(task, 0, ZEROS)
        promotion = self.add(Promotion(task.digest, first.digest))
        self.infos = [TaskInfo(task.name, "open", encode(task), place, 0, promotion)]
        return first

    def publish(self, task: Task, number: int, numbers: bytes, **others: int) -> Release:
        """A release, in the log."""
        digest = hashlib.sha256(numbers).digest()
        self.contents[digest] = numbers
        parent = bytes(32) if number == 0 else b"\1" * 32
        fields = {"cohort": 5, "survivors": 5} if number else {"cohort": 0, "survivors": 0}
        release = Release(task.digest, number, parent, number, **(fields | others), epsilon=0.0, content=digest)
        self.released[number] = ReleaseInfo(encode(release), self.add(release))
        return release

    @property
    def leaves(self) -> list[bytes]:
        return [leaf_of(message) for message in self.messages]

    async def checkpoint(self) -> str:
        head = Head(len(self.leaves), root_of(self.leaves))
        return self.signer.sign(str(Checkpoint(self.signer.verifier.name, head)))

    async def consistency(self, old: int, size: int) -> list[bytes]:
        return list(consistency_proof(self.leaves[:size], old))

    async def leaf(self, place: int, size: int) -> Leaf:
        return Leaf(encode(self.messages[place]), list(inclusion_proof(self.leaves[:size], place)))

    async def tasks(self) -> list[TaskInfo]:
        return self.infos

    async def task(self, name: str) -> TaskInfo:
        return next(info for info in self.infos if info.name == name)

    async def release(self, task: str, number: int) -> ReleaseInfo:
        return self.released[number]

    async def content(self, digest: bytes, size: int) -> bytes:
        return self.contents[digest][:size]


def lies(vault: Vault) -> tuple[Liar, FederationStore, FederationRecord]:
    """An orchestrator, and this device's memory of it."""
    store = FederationStore(vault.database)
    record = FederationRecord("fe" * 32, "Liars", "https://liars.example", (bytes(32),), b"\2" * 32, PUBLIC)
    sealed = HighlySensitive(bytes(32))
    vault.database.write(lambda c: store.put(c, record, sealed, sealed))
    return Liar(), store, store.get(record.id)


def as_link(liar: Liar) -> Link:
    """It, as whoever asks it takes it."""
    return cast(Link, liar)


Result = TypeVar("Result")
Seen = Callable[[Liar], SeenLog]


@pytest.fixture
def liar(vault: Vault) -> Liar:
    return lies(vault)[0]


@pytest.fixture
def seen(vault: Vault, liar: Liar) -> Seen:
    store = FederationStore(vault.database)
    return lambda who: SeenLog(as_link(who), store, "fe" * 32)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(work)


def test_an_honest_log_is_gone_on_with_across_restarts(liar: Liar, seen: Seen) -> None:
    task = adapter_task()
    liar.open(task)
    (offer,) = run(offers_of(as_link(liar), seen(liar)))
    assert offer.task == task
    liar.publish(task, 1, np.full(40, 0.5, "<f4").tobytes())
    assert run(seen(liar).advance()).size == 4
    assert run(release_of(as_link(liar), seen(liar), task, 1)).release.number == 1


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_log_that_was_cut_is_noticed(liar: Liar, seen: Seen, kept: int) -> None:
    liar.open(adapter_task())
    run(seen(liar).advance())
    del liar.messages[kept:]
    with pytest.raises(NotBelieved, match="cut"):
        run(seen(liar).advance())


def test_a_log_that_was_rewritten_is_noticed_however_long_it_has_become(liar: Liar, seen: Seen) -> None:
    task = adapter_task()
    liar.open(task)
    run(seen(liar).advance())
    liar.messages[0] = msgspec.structs.replace(task, purpose="Something else.")
    with pytest.raises(NotBelieved, match="rewritten"):
        run(seen(liar).advance())
    liar.add(task)
    with pytest.raises(NotBelieved, match="rewritten"):
        run(seen(liar).advance())


def test_a_checkpoint_that_another_key_signed_is_refused(liar: Liar, seen: Seen) -> None:
    other = Ed25519PrivateKey.generate()
    liar.signer = Signer(other, origin_of(ORIGIN, other.public_key().public_bytes_raw()))
    with pytest.raises(NotBelieved):
        run(seen(liar).advance())


def test_a_task_that_isnt_in_the_log_is_refused(liar: Liar, seen: Seen) -> None:
    liar.open(adapter_task())
    other = msgspec.structs.replace(adapter_task(), purpose="What only you are shown.")
    liar.infos = [msgspec.structs.replace(liar.infos[0], message=encode(other))]
    with pytest.raises(NotBelieved, match="Something else stands"):
        run(offers_of(as_link(liar), seen(liar)))
    liar.infos = [msgspec.structs.replace(liar.infos[0], place=1000)]
    with pytest.raises(NotBelieved, match="isn't in the log"):
        run(offers_of(as_link(liar), seen(liar)))
    liar.infos = [msgspec.structs.replace(liar.infos[0], message=b"\1nonsense", place=0)]
    with pytest.raises(NotBelieved):
        run(offers_of(as_link(liar), seen(liar)))


def test_a_task_that_the_orchestrator_only_says_to_be_in_the_log_is_refused(liar: Liar, seen: Seen) -> None:
    task = adapter_task()
    liar.open(task)
    other = msgspec.structs.replace(task, purpose="What only you are shown.")
    liar.infos = [msgspec.structs.replace(liar.infos[0], message=encode(other))]
    honest = liar.leaf

    async def leaf(place: int, size: int) -> Leaf:
        return msgspec.structs.replace(await honest(place, size), message=encode(other))

    liar.leaf = leaf  # type: ignore[method-assign]
    with pytest.raises(NotBelieved, match="shown to this device alone"):
        run(offers_of(as_link(liar), seen(liar)))


def offer_in(liar: Liar, task: Task) -> Offer:
    return Offer(task, liar.infos[0])


@pytest.mark.parametrize(
    "numbers",
    [
        np.full(40, np.nan, "<f4").tobytes(),
        np.full(40, np.inf, "<f4").tobytes(),
        np.full(40, 1e30, "<f4").tobytes(),
        np.zeros(39, "<f4").tobytes(),
        np.zeros(41, "<f4").tobytes(),
        b"",
    ],
    ids=["NaN", "infinite", "huge", "too few", "too many", "none"],
)
def test_a_release_of_impossible_numbers_is_refused_though_the_log_has_it(
    liar: Liar, seen: Seen, numbers: bytes
) -> None:
    task = adapter_task()
    liar.open(task)
    liar.publish(task, 1, numbers)
    log = seen(liar)
    run(log.advance())
    with pytest.raises(NotBelieved):
        run(release_of(as_link(liar), log, task, 1))


def test_a_release_of_other_numbers_of_another_task_or_of_too_few_devices_is_refused(
    liar: Liar, seen: Seen
) -> None:
    task, good = adapter_task(), np.full(40, 0.5, "<f4").tobytes()
    liar.open(task)
    liar.publish(task, 1, good, survivors=2)
    release = liar.publish(task, 2, good)
    liar.publish(msgspec.structs.replace(task, version=2), 3, good)
    log = seen(liar)
    run(log.advance())
    with pytest.raises(NotBelieved, match="fewer devices"):
        run(release_of(as_link(liar), log, task, 1))
    liar.contents[release.content] = ZEROS
    with pytest.raises(NotBelieved, match="aren't those"):
        run(release_of(as_link(liar), log, task, 2))
    with pytest.raises(NotBelieved, match="something else than was asked"):
        run(release_of(as_link(liar), log, task, 3))


def test_a_release_that_isnt_in_the_log_or_isnt_promoted_there_is_refused(liar: Liar, seen: Seen) -> None:
    task = adapter_task()
    liar.open(task)
    release = liar.publish(task, 1, np.full(40, 0.5, "<f4").tobytes())
    liar.infos = [msgspec.structs.replace(liar.infos[0], in_use=1)]
    log = seen(liar)
    run(log.advance())
    with pytest.raises(NotBelieved, match="Something else stands"):
        run(release_in_use(as_link(liar), log, offer_in(liar, task)))
    liar.messages.pop()
    liar.infos = [
        msgspec.structs.replace(liar.infos[0], promotion=liar.add(Promotion(task.digest, release.digest)))
    ]
    with pytest.raises(NotBelieved):
        run(release_in_use(as_link(liar), seen(liar), offer_in(liar, task)))


def part_of(vault: Vault, liar: Liar, task: Task, agreed: Task | None = None) -> Part:
    federation = FederationStore(vault.database).get("fe" * 32)
    shown = agreed or task
    consent = Consents(vault).to_task(federation, shown, encode(shown), "shown", Installs.BETTER)
    return Part(vault, federation, consent, shown, as_link(liar), FREE)


@pytest.mark.parametrize("field", ["purpose", "data", "version", "rounds", "most_examples"])
def test_a_task_that_changed_since_it_was_agreed_to_needs_consent_anew(
    vault: Vault, liar: Liar, seen: Seen, field: str
) -> None:
    task = adapter_task()
    now = getattr(task, field)
    changed = msgspec.structs.replace(task, **{field: now + " And more." if isinstance(now, str) else now + 1})
    liar.open(changed)
    part = part_of(vault, liar, changed, agreed=task)
    releases = Releases(part, seen(liar), Pupil(task, lambda _: np.zeros(40)), lambda _what: None)  # type: ignore[arg-type]
    with pytest.raises(ConsentNeeded, match="isn't any more what you agreed to"):
        run(releases.offer())


def test_a_round_of_another_task_federation_or_plan_is_refused_before_anything_is_sent(
    vault: Vault, liar: Liar
) -> None:
    from federation.api import Joined
    from federation.secagg.plan import Round

    task = adapter_task()
    part = part_of(vault, liar, task)
    right = Round.begin(bytes.fromhex("fe" * 32), task.name, 1, task.digest, bytes(32))
    OneRound(part, Joined(1, encode(right), 0, 10.0), lambda _what: None)
    for wrong in (
        msgspec.structs.replace(right, federation=bytes(32)),
        msgspec.structs.replace(right, task="another"),
        msgspec.structs.replace(right, plan=bytes(32)),
        msgspec.structs.replace(right, number=2),
    ):
        with pytest.raises(NotBelieved):
            OneRound(part, Joined(1, encode(wrong), 0, 10.0), lambda _what: None)
    with pytest.raises(NotBelieved):
        OneRound(part, Joined(1, b"\1nonsense", 0, 10.0), lambda _what: None)


def test_a_task_that_asks_for_more_than_the_limits_allow_is_refused() -> None:
    task = adapter_task(20, least=12)
    strict = LimitSettings()
    with pytest.raises(NotAcceptable, match="begins rounds with 12 devices"):
        check_acceptable(task, strict)
    many = msgspec.structs.replace(strict, least_cohort=12)
    with pytest.raises(NotAcceptable, match="work with the operator"):
        check_acceptable(task, many)
    trusting = msgspec.structs.replace(many, least_corrupt=0)
    with pytest.raises(NotAcceptable, match="costs ε"):
        check_acceptable(task, trusting)


def test_a_plan_by_which_a_single_update_could_be_opened_is_refused() -> None:
    task = adapter_task(20, least=12)
    check_acceptable(task, FREE)
    secagg = msgspec.structs.replace(task.plan.secagg, neighbours=4, threshold=3, corrupt=2, min_survivors=12)
    weak = msgspec.structs.replace(task, plan=msgspec.structs.replace(task.plan, secagg=secagg))
    assert weak.plan.exposure() > -40
    with pytest.raises(NotAcceptable, match="could be opened"):
        check_acceptable(weak, FREE)


def test_what_is_agreed_to_names_every_number_and_shows_no_control(vault: Vault) -> None:
    lies(vault)
    federation = FederationStore(vault.database).get("fe" * 32)
    task = msgspec.structs.replace(adapter_task(), purpose="Better.\x1b]52;c;AA\x07\u202e minutes")
    text = described(federation, task, 12)
    plan = task.plan
    for said in (
        f"ε = {plan.epsilon():.2f}",
        f"ε = {plan.epsilon(1):.2f} for once",
        f"at least {plan.secagg.min_survivors}",
        f"at most {plan.participations} times",
        "12 examples of the skill",
        task.digest.hex(),
        "https://liars.example",
    ):
        assert said in " ".join(text.split())
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_a_consent_whose_message_was_altered_allows_nothing(vault: Vault, liar: Liar) -> None:
    task = adapter_task()
    consent = part_of(vault, liar, task).consent
    assert task_of(consent) == task
    other = encode(msgspec.structs.replace(task, purpose="Something else."))
    with pytest.raises(ConsentNeeded):
        task_of(msgspec.structs.replace(consent, message=other))
