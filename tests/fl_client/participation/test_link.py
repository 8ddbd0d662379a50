"""The way to an orchestrator: what goes out, and whatever an orchestrator may answer."""

import asyncio
import hashlib
import ssl
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.api import AskToJoin, Failure, State, Wait
from federation.privacy.clip import RawDelta, clip
from federation.privacy.noise import add_noise
from federation.requests import verify_request
from federation.secagg.wire import Masked
from fl_client.errors import Declined, LearningError, NotBelieved, NotYet, Unreachable
from fl_client.participation.link import Link
from tests.fixtures.doors import network_entries
from tests.fixtures.https_server import HttpsServer
from tests.fl_client.participation.people import adapter_task
from vault.budget import Budget
from vault.classes import HighlySensitive
from vault.egress import AsyncEgress, EgressJournal, Pin
from vault.errors import VerificationFailed
from vault.federation_store import FederationRecord, FederationStore
from vault.pause import PauseLatch
from vault.settings import NetworkSettings
from vault.store import Vault

STATE = "/v1/tasks/minutes/rounds/1"
CHECK_IN = "/v1/tasks/minutes/check-ins"
CONSENT = "consent 3"


def pin_of(server: HttpsServer) -> bytes:
    """The pin of a server's key."""
    port = int(server.address.rpartition(":")[2])
    certificate = ssl.get_server_certificate(("localhost", port))
    return Pin.of(ssl.PEM_cert_to_DER_cert(certificate)).digest


class Linked:
    """A device that belongs to the federation of a server of the test's own."""

    def __init__(self, vault: Vault, server: HttpsServer, pins: tuple[bytes, ...]) -> None:
        self.store = FederationStore(vault.database)
        self.record = FederationRecord("fe" * 32, "Ours", server.address, pins, b"\2" * 32, b"\3" * 32)
        secret = HighlySensitive(hashlib.sha256(b"identity").digest())
        vault.database.write(lambda c: self.store.put(c, self.record, secret, secret))
        self._vault = vault

    def ask(self, what: "Any") -> Any:  # noqa: ANN401
        """Ask something by a link, in a loop of its own."""

        async def work() -> Any:  # noqa: ANN401
            network = NetworkSettings(timeout_s=5)
            journal = EgressJournal(self._vault.database, self._vault.log, Budget(1 << 30), self._vault.closing)
            async with AsyncEgress(network, journal, PauseLatch(self._vault.home)) as door:
                return await what(Link(door, self.store, self.record, CONSENT))

        return asyncio.run(work())


@pytest.fixture
def linked(vault: Vault, server: HttpsServer) -> Linked:
    return Linked(vault, server, (pin_of(server), bytes(32)))


def test_a_request_is_signed_logged_and_carries_its_consent(
    linked: Linked, server: HttpsServer, vault: Vault
) -> None:
    server.serve(CHECK_IN, msgspec.json.encode(Wait(3.0, "later")))
    assert linked.ask(lambda link: link.check_in("minutes")) == Wait(3.0, "later")
    (seen,) = server.seen
    body = hashlib.sha256(seen.body).digest()
    now = float(seen.headers["signature-input"].partition("created=")[2].partition(";")[0])
    signed = verify_request(seen.method, seen.path, seen.headers, body, now)
    assert signed.device == linked.ask(_device)
    prepared, done = network_entries(vault)
    assert prepared.consent == done.consent == CONSENT
    assert (prepared.status, done.status) == ("prepared", "acknowledged")
    assert prepared.description == "Ours: this device says that it is ready for minutes"


async def _device(link: Link) -> bytes:
    return link.device


def test_no_two_requests_have_the_same_counter_whatever_ends_in_between(
    linked: Linked, server: HttpsServer
) -> None:
    server.serve(CHECK_IN, msgspec.json.encode(Wait(3.0, "later")))
    for _ in range(3):
        linked.ask(lambda link: link.check_in("minutes"))
    counters = [int(seen.headers["claw-counter"]) for seen in server.seen]
    assert counters == sorted(set(counters))


def test_another_key_than_the_pinned_ones_gets_no_byte(vault: Vault, server: HttpsServer) -> None:
    linked = Linked(vault, server, (b"\1" * 32,))
    server.serve(STATE, msgspec.json.encode(State("done", 0, "")))
    with pytest.raises(VerificationFailed):
        linked.ask(lambda link: link.state("minutes", 1))
    assert server.seen == []


@pytest.mark.parametrize(
    ("status", "error"),
    [(409, NotYet), (429, Unreachable), (500, Unreachable), (503, Unreachable), (403, Declined), (404, Declined)],
)
def test_what_an_orchestrator_refuses_is_said_in_its_words_without_their_controls(
    linked: Linked, server: HttpsServer, status: int, error: type[LearningError]
) -> None:
    said = msgspec.json.encode(Failure("No.\x1b]52;c;AA\x07\u202e"))
    server.serve(STATE, said, status=status, ranges=False)
    with pytest.raises(error) as refused:
        linked.ask(lambda link: link.state("minutes", 1))
    assert "No." in refused.value.message
    assert not {"\x1b", "\x07", "\u202e"} & set(refused.value.message)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{",
        b"[]",
        b'{"step": 1}',
        b'{"step": "mask", "seconds_left": -1, "outcome": ""}',
        b"[" * 10_000,
        b"\xff",
    ],
)
def test_nonsense_is_not_believed(linked: Linked, server: HttpsServer, answer: bytes) -> None:
    server.serve(STATE, answer)
    with pytest.raises(NotBelieved):
        linked.ask(lambda link: link.state("minutes", 1))


def test_more_than_an_answer_can_have_isnt_read(linked: Linked, server: HttpsServer) -> None:
    server.serve(STATE, b" " * (1 << 20))
    with pytest.raises(VerificationFailed, match="more than"):
        linked.ask(lambda link: link.state("minutes", 1))


def test_a_redirect_isnt_followed(linked: Linked, server: HttpsServer) -> None:
    server.redirect(STATE, server.url("/elsewhere"))
    with pytest.raises(LearningError):
        linked.ask(lambda link: link.state("minutes", 1))
    assert len(server.seen) == 1


def test_nobody_there_is_tried_again_later(linked: Linked, server: HttpsServer) -> None:
    gone = msgspec.structs.replace(linked.record, address="https://localhost:1")
    linked.record = gone
    with pytest.raises(Unreachable):
        linked.ask(lambda link: link.state("minutes", 1))


def test_of_an_update_nothing_but_what_is_masked_goes_out(linked: Linked, server: HttpsServer) -> None:
    privacy = adapter_task().plan.privacy
    raw = RawDelta(np.ones(40))
    clipped = clip(raw, privacy)
    noised = add_noise(clipped, privacy, lambda count: bytes(count))
    message = Masked(bytes(32), b"\1" * 90, bytes(64))
    for what in (raw, clipped, noised, message, b"bytes"):
        with pytest.raises(TypeError):
            linked.ask(lambda link, what=what: link.upload("minutes", 1, what, "an update"))
        with pytest.raises(TypeError):
            linked.ask(lambda link, what=what: link.say("minutes", 1, "mask", what))
    with pytest.raises(TypeError):
        linked.ask(lambda link: link.say("minutes", 1, "advertise", AskToJoin(bytes(32), bytes(32), bytes(32))))
    assert server.seen == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    answer=st.binary(max_size=300) | st.text(max_size=100).map(str.encode),
    status=st.sampled_from([200, 204, 400, 409, 503]),
)
def test_whatever_an_orchestrator_answers_is_an_error_of_ours_or_an_answer(
    linked: Linked, server: HttpsServer, answer: bytes, status: int
) -> None:
    server.serve(STATE, answer, status=status, ranges=False)
    try:
        found = linked.ask(lambda link: link.state("minutes", 1))
    except LearningError:
        return
    assert isinstance(found, State)
