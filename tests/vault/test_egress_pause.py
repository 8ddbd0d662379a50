"""A pause stops the door: before a request, while it connects, waits or downloads, and between two tries."""

import asyncio
import gc
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.doors import Send, network_entries, posting
from tests.fixtures.https_server import Authority, HttpsServer
from tests.fixtures.proxies import SilentProxy, running_proxy
from tests.fixtures.tls_server import counting
from vault.classes import DataClass
from vault.egress import COMMAND, Egress, EgressJournal, Purpose, Request, Transfer
from vault.errors import EgressError, Paused
from vault.pause import PauseLatch
from vault.settings import NetworkSettings
from vault.store import Vault

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + bytes(1000)


@pytest.fixture
def patient(authority: Authority) -> NetworkSettings:
    """Settings by which a silent server is waited for longer than the test may last."""
    return NetworkSettings(ca_file=str(authority.ca_file), timeout_s=3000)


@pytest.fixture
def arriving(tmp_path: Path) -> Iterator[io.FileIO]:
    with io.FileIO(tmp_path / "arriving", "w+") as file:
        yield file


def pulling(url: str) -> Request:
    return Request(Purpose.MODEL_PULL, url, DataClass.GENERAL, COMMAND, "a model's name", redirects=True)


def transfer(file: io.FileIO, on_arrival: Callable[[], object] = lambda: None) -> Transfer:
    def progress(_done: int, _total: int | None) -> None:
        on_arrival()

    return Transfer(
        file,
        path=Path(str(file.name)),
        size=2000,
        limit=2000,
        digest_follows=True,
        inspect=lambda _answer: None,
        progress=progress,
    )


def test_while_paused_nothing_is_sent_and_nothing_is_logged(
    send: Send, vault: Vault, authority: Authority, latch: PauseLatch
) -> None:
    latch.engage("test")
    with counting(authority.context()) as server, pytest.raises(Paused) as caught:
        send(posting(server.url()))
    assert caught.value.exit_code == 7
    assert server.connections == 0
    assert network_entries(vault) == []
    latch.release("test")
    with counting(authority.context()) as server:
        assert send(posting(server.url())).answer.status == 200


def test_a_pause_while_the_connection_is_made_leaves_the_request_unsent(
    send: Send, vault: Vault, journal: EgressJournal, authority: Authority, latch: PauseLatch
) -> None:
    with (
        counting(authority.context(), on_connection=lambda: latch.engage("test")) as server,
        pytest.raises(Paused),
    ):
        send(posting(server.url()))
    assert (server.connections, server.received) == (1, b"")
    assert [entry.status for entry in network_entries(vault)] == ["prepared", "refused"]
    assert journal.sent_today().sent == 0


def test_a_pause_ends_the_waiting_for_a_handshake_and_leaves_no_connection_open(
    send: Send, authority: Authority, latch: PauseLatch, patient: NetworkSettings
) -> None:
    ended = threading.Event()

    def pause_and_wait() -> None:
        latch.engage("test")
        ended.wait()

    with counting(authority.context(), on_connection=pause_and_wait) as server:
        try:
            with pytest.raises(Paused):
                send(posting(server.url()), settings=patient)
        finally:
            ended.set()
    gc.collect()  # what is open still would be told of, as a failure


def test_a_pause_ends_the_waiting_for_an_answer(
    send: Send, vault: Vault, authority: Authority, latch: PauseLatch, patient: NetworkSettings
) -> None:
    with (
        counting(authority.context(), answer=b"", on_request=lambda: latch.engage("test")) as server,
        pytest.raises(Paused),
    ):
        send(posting(server.url()), settings=patient)
    assert [entry.status for entry in network_entries(vault)] == ["prepared", "sent"]


def test_a_pause_in_the_middle_of_a_download_stops_it_and_keeps_what_has_arrived(
    open_egress: Callable[[NetworkSettings], Egress],
    vault: Vault,
    authority: Authority,
    latch: PauseLatch,
    patient: NetworkSettings,
    arriving: io.FileIO,
) -> None:
    with (
        counting(authority.context(), answer=HALF) as server,
        open_egress(patient) as door,
        pytest.raises(Paused),
    ):
        door.download(pulling(server.url()), transfer(arriving, lambda: latch.engage("test")))
    assert arriving.seek(0, io.SEEK_END) == 1000
    assert [entry.status for entry in network_entries(vault)] == ["prepared", "acknowledged"]


def test_a_download_goes_on_after_the_pause_where_it_was_stopped(
    egress: Egress, server: HttpsServer, latch: PauseLatch, arriving: io.FileIO
) -> None:
    served = server.serve("/file", bytes(2000), breaks=[500])
    with pytest.raises(Paused):
        egress.download(pulling(server.url("/file")), transfer(arriving, lambda: latch.engage("test")))
    assert len(server.seen) == 1
    latch.release("test")
    egress.download(pulling(server.url("/file")), transfer(arriving))
    assert [seen.headers.get("range") for seen in server.seen] == [None, "bytes=500-"]
    assert served.breaks == []


def test_a_pause_between_two_tries_is_not_slept_through(
    journal: EgressJournal,
    network: NetworkSettings,
    server: HttpsServer,
    latch: PauseLatch,
    arriving: io.FileIO,
) -> None:
    async def waits_for_ever(_seconds: float) -> None:
        latch.engage("test")
        await asyncio.Event().wait()

    server.serve("/file", status=503)
    with Egress(network, journal, latch, pause=waits_for_ever) as door, pytest.raises(Paused):
        door.download(pulling(server.url("/file")), transfer(arriving))
    assert len(server.seen) == 1


def test_a_pause_before_a_redirect_is_followed_keeps_it_from_being_followed(
    egress: Egress, server: HttpsServer, elsewhere: HttpsServer, latch: PauseLatch, arriving: io.FileIO
) -> None:
    server.redirect("/file", elsewhere.url("/blob"))
    server.on_request = lambda: latch.engage("test")  # the request is there, the answer isn't
    with pytest.raises(Paused):
        egress.download(pulling(server.url("/file")), transfer(arriving))
    assert len(server.seen) == 1
    assert elsewhere.seen == []


def test_a_proxy_that_never_answers_is_given_up_after_the_time_set_for_it(
    send: Send, vault: Vault, authority: Authority
) -> None:
    with running_proxy(SilentProxy) as proxy:
        through = NetworkSettings(
            ca_file=str(authority.ca_file), timeout_s=0.2, proxy=f"socks5h://127.0.0.1:{proxy.port}"
        )
        with pytest.raises(EgressError, match="does not answer"):
            send(posting("https://localhost/"), settings=through)
    assert [entry.status for entry in network_entries(vault)] == ["prepared", "refused"]


def test_a_pause_ends_the_waiting_for_a_proxy(
    send: Send, authority: Authority, patient: NetworkSettings, latch: PauseLatch
) -> None:
    with running_proxy(SilentProxy) as proxy:
        proxy.on_greeting = lambda: latch.engage("test")
        through = NetworkSettings(
            ca_file=patient.ca_file, timeout_s=3000, proxy=f"socks5h://127.0.0.1:{proxy.port}"
        )
        with pytest.raises(Paused):
            send(posting("https://localhost/"), settings=through)
