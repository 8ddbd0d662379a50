"""What the door lets pass, for what, and with whose consent; bodies that leave and answers that come back."""

import asyncio
from typing import Any

import pytest

from tests.fixtures.doors import Send, network_entries, posting
from tests.fixtures.https_server import Authority, HttpsServer
from tests.fixtures.tls_server import counting
from vault.classes import DataClass
from vault.egress import COMMAND, AsyncEgress, Egress, EgressJournal, Purpose, Request
from vault.egress import request as rules
from vault.errors import ConsentMissing, EgressError, EgressRefused, VerificationFailed
from vault.pause import PauseLatch
from vault.settings import NetworkSettings
from vault.store import Vault

KEPT = (DataClass.TOP_SECRET, DataClass.HIGHLY_SENSITIVE)


def asking(purpose: Purpose, url: str, **options: Any) -> Request:  # noqa: ANN401  those of Request
    given = {"data_class": DataClass.GENERAL, "consent": "some/1", "description": "a question", **options}
    return Request(purpose, url, **given)


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("data_class", KEPT)
def test_what_is_highly_sensitive_never_leaves_whatever_the_purpose(
    egress: Egress, server: HttpsServer, vault: Vault, purpose: Purpose, data_class: DataClass
) -> None:
    with pytest.raises(EgressRefused, match="never leave"):
        egress.describe(asking(purpose, server.url("/"), data_class=data_class))
    assert server.seen == []
    (entry,) = network_entries(vault)
    assert (entry.status, entry.data_class, entry.bytes) == ("refused", data_class, 0)


def test_what_is_highly_sensitive_stays_even_if_a_purpose_allowed_it(
    egress: Egress, server: HttpsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loose = rules._LIMITS[Purpose.FEDERATION]._replace(classes=frozenset(DataClass))
    monkeypatch.setitem(rules._LIMITS, Purpose.FEDERATION, loose)
    for data_class in KEPT:
        with pytest.raises(EgressRefused, match="never leave"):
            egress.send(posting(server.url("/"), data_class=data_class), b"x", most=10)
    assert server.seen == []


def test_a_model_pull_takes_general_data_alone(egress: Egress, server: HttpsServer) -> None:
    with pytest.raises(EgressRefused, match="never leave"):
        egress.describe(asking(Purpose.MODEL_PULL, server.url("/"), data_class=DataClass.MEDIUM))
    assert server.seen == []


def test_nothing_is_sent_along_with_a_model_pull(egress: Egress, server: HttpsServer) -> None:
    for body in (b"hello", b""):
        with pytest.raises(EgressRefused, match="sent along"):
            egress.send(asking(Purpose.MODEL_PULL, server.url("/")), body, most=10)
    assert server.seen == []


@pytest.mark.parametrize(("purpose", "consent"), [(p, "") for p in Purpose] + [(Purpose.FEDERATION, COMMAND)])
def test_without_consent_nothing_is_sent(
    egress: Egress, server: HttpsServer, vault: Vault, purpose: Purpose, consent: str
) -> None:
    with pytest.raises(ConsentMissing) as caught:
        egress.describe(asking(purpose, server.url("/"), consent=consent))
    assert caught.value.exit_code == 4
    assert server.seen == []
    assert [entry.status for entry in network_entries(vault)] == ["refused"]


def test_the_command_to_pull_a_model_is_consent_to_it(egress: Egress, server: HttpsServer) -> None:
    server.serve("/file")
    assert egress.describe(asking(Purpose.MODEL_PULL, server.url("/file"), consent=COMMAND)).status == 200


def test_a_body_arrives_as_it_was_sent(send: Send, server: HttpsServer) -> None:
    server.serve("/inbox", b"thank you", status=202)
    body = bytes(range(256)) * 1000
    reply = send(posting(server.url("/inbox")), body)
    assert (reply.answer.status, reply.body) == (202, b"thank you")
    (seen,) = server.seen
    assert (seen.method, seen.body) == ("POST", body)
    assert seen.headers["content-type"] == "application/octet-stream"


def test_an_empty_body_can_be_put(egress: Egress, server: HttpsServer) -> None:
    server.serve("/inbox")
    egress.send(posting(server.url("/inbox")), b"", most=0, method="PUT", content_type="application/json")
    (seen,) = server.seen
    assert (seen.method, seen.headers["content-length"]) == ("PUT", "0")
    assert seen.headers["content-type"] == "application/json"


def test_a_refusal_of_the_destination_is_an_answer(send: Send, server: HttpsServer) -> None:
    assert send(posting(server.url("/nothing-here"))).answer.status == 404


@pytest.mark.parametrize("chunked", [False, True])
def test_an_answer_longer_than_was_agreed_is_not_taken(send: Send, server: HttpsServer, chunked: bool) -> None:
    server.serve("/inbox", bytes(10**6), chunked=chunked)
    with pytest.raises(VerificationFailed, match="more than the 1,000 bytes"):
        send(posting(server.url("/inbox")))


def test_an_answer_exactly_as_long_as_was_agreed_is_taken(send: Send, server: HttpsServer) -> None:
    server.serve("/inbox", bytes(1000), chunked=True)
    assert send(posting(server.url("/inbox"))).body == bytes(1000)


def test_an_answer_in_an_encoding_that_nobody_asked_for_is_refused(send: Send, server: HttpsServer) -> None:
    server.serve("/inbox", b"x", headers={"Content-Encoding": "gzip"})
    with pytest.raises(EgressError, match="encoding"):
        send(posting(server.url("/inbox")))


def test_a_body_follows_no_redirect(send: Send, server: HttpsServer, elsewhere: HttpsServer) -> None:
    server.redirect("/inbox", elsewhere.url("/inbox"), status=307)
    reply = send(posting(server.url("/inbox"), redirects=True))
    assert (reply.answer.status, reply.answer.location) == (307, elsewhere.url("/inbox"))
    assert elsewhere.seen == []


def test_a_body_is_sent_once_even_when_the_answer_breaks_off(send: Send, authority: Authority) -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\ntoo short"
    with (
        counting(authority.context(), answer=cut, hangs_up=True) as server,
        pytest.raises(EgressError, match="broke"),
    ):
        send(posting(server.url()))
    assert server.connections == 1


def test_several_bodies_can_leave_at_once(
    network: NetworkSettings, journal: EgressJournal, latch: PauseLatch, server: HttpsServer
) -> None:
    server.serve("/inbox", b"ok")

    async def run() -> list[bytes]:
        async with AsyncEgress(network, journal, latch) as door:
            work = [door.send(posting(server.url("/inbox")), b"%d" % n, most=10) for n in range(5)]
            return [reply.body for reply in await asyncio.gather(*work)]

    assert asyncio.run(run()) == [b"ok"] * 5
    assert {seen.body for seen in server.seen} == {b"0", b"1", b"2", b"3", b"4"}
