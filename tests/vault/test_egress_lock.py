"""A lock of the vault stops the door as a pause does, and the log is told of it before the vault closes."""

import asyncio
import gc
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from tests.fixtures.doors import Send, network_entries, posting
from tests.fixtures.https_server import Authority, HttpsServer
from tests.fixtures.models import PASSPHRASE
from tests.fixtures.proxies import SilentProxy, running_proxy
from tests.fixtures.tls_server import counting
from vault.budget import Budget, Spent
from vault.classes import DataClass
from vault.egress import COMMAND, AsyncEgress, Egress, EgressJournal, Purpose, Request, Transfer
from vault.errors import Locked
from vault.home import Home
from vault.lock import LockLatch
from vault.log.entries import Entry
from vault.pause import PauseLatch
from vault.settings import NetworkSettings
from vault.store import Vault

SIZE = 5_000_000
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + bytes(1000)
WITHIN_S = 20


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vault waits for the door for longer than a test may last: a busy machine is no reason to fail."""
    monkeypatch.setattr("vault.store._DOOR_PATIENCE_S", 3000)


@pytest.fixture
def patient(authority: Authority) -> NetworkSettings:
    """Settings by which a silent server is waited for longer than the test may last."""
    return NetworkSettings(ca_file=str(authority.ca_file), timeout_s=3000)


@pytest.fixture
def arriving(tmp_path: Path) -> Iterator[io.FileIO]:
    with io.FileIO(tmp_path / "arriving", "w+") as file:
        yield file


class Locking:
    """The person's word, and what comes of it.

    Attributes:
        closed: Set once the vault has closed.
        uses: How often its database had been used by then.
    """

    def __init__(self, home: Home, vault: Vault) -> None:
        self._home = home
        self._vault = vault
        self.closed = threading.Event()
        self.uses = 0
        vault.watch.told = self._told

    def _told(self, _why: str) -> None:
        self.uses = self._vault.database.uses
        self.closed.set()

    def ask(self) -> None:
        """Say that the vault is to be locked."""
        LockLatch(self._home.data).engage()

    def begin(self) -> None:
        """Say so, and wait until the vault has begun to lock."""
        self.ask()
        while not self._vault.closing.why:
            assert not self.closed.wait(0.01)

    def finish(self) -> None:
        """Say so, and wait until it is done."""
        self.ask()
        assert self.closed.wait(WITHIN_S)


@pytest.fixture
def locking(home: Home, vault: Vault) -> Locking:
    return Locking(home, vault)


class Kept(NamedTuple):
    """What an opening after the lock finds."""

    entries: list[Entry]
    spent: Spent

    @property
    def statuses(self) -> list[str]:
        return [entry.status for entry in self.entries]


@pytest.fixture
def kept(home: Home, vault: Vault, locking: Locking) -> Callable[[], Kept]:
    """Looks, when the lock is done, at what the vault knows of it, which wasn't used after its end."""

    def look() -> Kept:
        assert locking.closed.wait(WITHIN_S)
        assert vault.database.uses == locking.uses
        with Vault.open_with_passphrase(home, PASSPHRASE) as again:
            journal = EgressJournal(again.database, again.log, Budget(10**6), again.closing)
            again.log.verify()
            return Kept(network_entries(again), journal.sent_today())

    return look


def found_in(home: Home) -> list[str]:
    """What the log, opened again, says of the door."""
    with Vault.open_with_passphrase(home, PASSPHRASE) as again:
        return [entry.status for entry in network_entries(again)]


class Download(Protocol):
    """Fetches a file through a door that is opened for it."""

    def __call__(self, url: str, size: int, on_arrival: Callable[[], object] = lambda: None) -> None: ...


@pytest.fixture
def download(
    way: str, patient: NetworkSettings, journal: EgressJournal, latch: PauseLatch, arriving: io.FileIO
) -> Download:
    """Fetches, in both ways there are."""

    async def never(_seconds: float) -> None:
        await asyncio.Event().wait()

    def run(url: str, size: int, on_arrival: Callable[[], object] = lambda: None) -> None:
        request = Request(Purpose.MODEL_PULL, url, DataClass.GENERAL, COMMAND, "a model's name", redirects=True)

        def progress(_done: int, _total: int | None) -> None:
            on_arrival()

        transfer = Transfer(
            arriving,
            path=Path(str(arriving.name)),
            size=size,
            limit=size,
            digest_follows=True,
            inspect=lambda _answer: None,
            progress=progress,
        )

        async def asynchronous() -> None:
            async with AsyncEgress(patient, journal, latch, pause=never) as door:
                await door.download(request, transfer)

        if way == "asynchronous":
            asyncio.run(asynchronous())
            return
        with Egress(patient, journal, latch, pause=never) as door:
            door.download(request, transfer)

    return run


def test_a_lock_in_the_middle_of_a_download_stops_it_and_its_bytes_are_logged_and_counted(
    download: Download, server: HttpsServer, locking: Locking, kept: Callable[[], Kept], arriving: io.FileIO
) -> None:
    server.serve("/file", bytes(SIZE))
    with pytest.raises(Locked, match="The vault was locked") as caught:
        download(server.url("/file"), SIZE, locking.begin)
    assert caught.value.exit_code == 3
    here = arriving.seek(0, io.SEEK_END)
    assert 0 < here < SIZE
    found = kept()
    assert found.statuses == ["prepared", "acknowledged"]
    assert found.spent.received > here
    assert f"HTTP 200; {found.spent.received:,} bytes came back" in found.entries[-1].description


def test_a_lock_ends_a_download_that_waits_for_more(
    download: Download, authority: Authority, locking: Locking, kept: Callable[[], Kept], arriving: io.FileIO
) -> None:
    with counting(authority.context(), answer=HALF) as server, pytest.raises(Locked, match="was locked"):
        download(server.url(), 2000, locking.ask)
    assert arriving.seek(0, io.SEEK_END) == 1000
    found = kept()
    assert found.statuses == ["prepared", "acknowledged"]
    assert found.spent[:2] == (len(server.received), len(HALF))
    assert found.entries[-1].bytes == len(server.received)


def test_a_lock_ends_the_waiting_for_an_answer(
    send: Send, patient: NetworkSettings, authority: Authority, locking: Locking, kept: Callable[[], Kept]
) -> None:
    with (
        counting(authority.context(), answer=b"", on_request=locking.ask) as server,
        pytest.raises(Locked, match="was locked"),
    ):
        send(posting(server.url()), settings=patient)
    found = kept()
    assert found.statuses == ["prepared", "sent"]
    assert found.spent[:2] == (len(server.received), 0)


def test_a_lock_while_the_connection_is_made_leaves_the_request_unsent(
    send: Send, patient: NetworkSettings, authority: Authority, locking: Locking, kept: Callable[[], Kept]
) -> None:
    with (
        counting(authority.context(), on_connection=locking.begin) as server,
        pytest.raises(Locked, match="was locked"),
    ):
        send(posting(server.url()), settings=patient)
    assert (server.connections, server.received) == (1, b"")
    found = kept()
    assert found.statuses == ["prepared", "refused"]
    assert found.spent[:2] == (0, 0)


def test_a_lock_ends_the_waiting_for_a_handshake_and_leaves_no_connection_open(
    send: Send, patient: NetworkSettings, authority: Authority, locking: Locking, kept: Callable[[], Kept]
) -> None:
    with (
        counting(authority.context(), on_connection=locking.finish) as server,
        pytest.raises(Locked, match="was locked"),
    ):
        send(posting(server.url()), settings=patient)
    gc.collect()  # what is open still would be told of, as a failure
    assert kept().statuses == ["prepared", "refused"]


def test_a_lock_ends_the_waiting_for_a_proxy(
    send: Send, patient: NetworkSettings, locking: Locking, kept: Callable[[], Kept]
) -> None:
    with running_proxy(SilentProxy) as proxy:
        proxy.on_greeting = locking.ask
        through = NetworkSettings(
            ca_file=patient.ca_file, timeout_s=3000, proxy=f"socks5h://127.0.0.1:{proxy.port}"
        )
        with pytest.raises(Locked, match="was locked"):
            send(posting("https://localhost/"), settings=through)
    assert kept().statuses == ["prepared", "refused"]


def test_a_lock_between_two_tries_is_not_slept_through(
    download: Download, server: HttpsServer, locking: Locking, kept: Callable[[], Kept]
) -> None:
    server.serve("/file", status=503)
    server.on_request = locking.ask
    with pytest.raises(Locked, match="was locked"):
        download(server.url("/file"), 2000)
    assert len(server.seen) == 1
    assert kept().statuses == ["prepared", "acknowledged"]


def test_a_lock_before_a_redirect_is_followed_keeps_it_from_being_followed(
    download: Download, server: HttpsServer, elsewhere: HttpsServer, locking: Locking, kept: Callable[[], Kept]
) -> None:
    server.redirect("/file", elsewhere.url("/blob"))
    server.on_request = locking.begin
    with pytest.raises(Locked, match="was locked"):
        download(server.url("/file"), 2000)
    assert elsewhere.seen == []
    assert len(kept().entries) == 2


def test_a_locked_vault_lets_nothing_out(
    send: Send, authority: Authority, locking: Locking, kept: Callable[[], Kept]
) -> None:
    locking.finish()
    with counting(authority.context()) as server, pytest.raises(Locked, match="was locked"):
        send(posting(server.url()))
    assert server.connections == 0
    assert kept().entries == []


def test_several_requests_of_one_door_are_all_waited_for(
    patient: NetworkSettings,
    journal: EgressJournal,
    latch: PauseLatch,
    authority: Authority,
    locking: Locking,
    kept: Callable[[], Kept],
) -> None:
    async def run(url: str) -> list[object]:
        async with AsyncEgress(patient, journal, latch) as door:
            requests = (door.send(posting(url), b"hello", most=10) for _ in range(5))
            return list(await asyncio.gather(*requests, return_exceptions=True))

    all_there = threading.Barrier(5, action=locking.ask)
    with counting(authority.context(), answer=b"", on_connection=all_there.wait) as server:
        refusals = asyncio.run(run(server.url()))
    assert [type(refusal) for refusal in refusals] == [Locked] * 5
    about = [entry.about for entry in kept().entries]
    assert about.count(None) == 5
    assert len({*about} - {None}) == 5


def test_a_vault_that_another_thread_closes_ends_a_download_too(
    download: Download, server: HttpsServer, home: Home, vault: Vault
) -> None:
    server.serve("/file", bytes(SIZE))
    closer = threading.Thread(target=vault.close)

    def close() -> None:
        if not closer.ident:
            closer.start()
        while not vault.closing.why:
            assert closer.is_alive()
            closer.join(0.01)

    with pytest.raises(Locked, match="The vault is closed"):
        download(server.url("/file"), SIZE, close)
    closer.join()
    assert found_in(home) == ["prepared", "acknowledged"]


def test_who_closes_the_vault_in_the_middle_of_their_own_download_is_not_waited_for(
    download: Download, server: HttpsServer, home: Home, vault: Vault
) -> None:
    server.serve("/file", bytes(SIZE))
    with pytest.raises(Locked, match="The vault is closed"):
        download(server.url("/file"), SIZE, vault.close)
    assert found_in(home) == ["prepared"]


def test_a_request_that_does_not_end_in_time_keeps_the_vault_open_no_longer(
    download: Download, server: HttpsServer, home: Home, locking: Locking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vault.store._DOOR_PATIENCE_S", 0)
    server.serve("/file", bytes(SIZE))
    with pytest.raises(Locked, match="was locked"):
        download(server.url("/file"), SIZE, locking.finish)
    assert found_in(home) == ["prepared"]
