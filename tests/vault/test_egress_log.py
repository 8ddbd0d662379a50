"""What the transparency log says of the door: before a byte leaves, and what became of it afterwards."""

import hashlib
import io
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.doors import CONSENT, Send, network_entries, posting
from tests.fixtures.https_server import Authority, HttpsServer
from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.fixtures.processes import start_function
from tests.fixtures.tls_server import OK, Identity, counting
from vault.budget import Budget
from vault.classes import DataClass
from vault.egress import COMMAND, Egress, EgressJournal, Purpose, Request, Transfer
from vault.errors import EgressError, OverBudget, VaultError
from vault.home import Home
from vault.log import fold
from vault.pause import PauseLatch
from vault.settings import NetworkSettings
from vault.store import Vault

SECRET = "X-Signature=hush"


def pulling(url: str, **options: bool | str) -> Request:
    return Request(Purpose.MODEL_PULL, url, DataClass.GENERAL, COMMAND, "a model's name", **options)  # type: ignore[arg-type]


def test_what_leaves_is_logged_with_its_purpose_class_consent_digest_and_exact_size(
    send: Send, vault: Vault, authority: Authority
) -> None:
    with counting(authority.context()) as server:
        send(posting(server.url(path=f"/inbox?{SECRET}"), token="t0ken"))
    prepared, completed = network_entries(vault)
    assert (prepared.status, completed.status) == ("prepared", "acknowledged")
    assert prepared.bytes == completed.bytes == len(server.received)
    for entry in (prepared, completed):
        assert (entry.purpose, entry.data_class, entry.consent) == ("federation", DataClass.MEDIUM, CONSENT)
        assert entry.destination == f"localhost:{server.port}/inbox"
        assert entry.payload_sha256 == hashlib.sha256(b"hello").hexdigest()
        assert entry.encryption == "TLS 1.3"
        assert "hush" not in str(entry)
        assert "t0ken" not in str(entry)
    assert prepared.description == "one masked update"
    assert completed.description == f"one masked update; HTTP 200; {len(OK)} bytes came back"
    (operation,) = fold(vault.log.entries())
    assert operation.status == "acknowledged"
    vault.log.verify()


def test_a_pinned_key_is_part_of_what_protected_it(send: Send, vault: Vault) -> None:
    me = Identity("localhost")
    with counting(me.context()) as server:
        send(posting(server.url(), pins=(me.pin,)))
    assert {entry.encryption for entry in network_entries(vault)} == {"TLS 1.3, pinned key"}


def test_a_destination_that_cannot_be_reached_was_sent_nothing(send: Send, vault: Vault) -> None:
    with pytest.raises(EgressError):
        send(posting("https://localhost:9/inbox"))
    assert [(entry.status, bool(entry.bytes)) for entry in network_entries(vault)] == [
        ("prepared", True),
        ("refused", False),
    ]


def test_a_request_without_an_answer_counts_as_sent(send: Send, vault: Vault, authority: Authority) -> None:
    with counting(authority.context(), answer=b"", hangs_up=True) as server, pytest.raises(EgressError):
        send(posting(server.url()))
    *_, completed = network_entries(vault)
    assert (completed.status, completed.bytes) == ("sent", len(server.received))


def test_every_hop_is_logged_under_its_own_host_and_what_came_back_is_counted(
    egress: Egress,
    journal: EgressJournal,
    server: HttpsServer,
    elsewhere: HttpsServer,
    vault: Vault,
    tmp_path: Path,
) -> None:
    server.redirect("/file", elsewhere.url(f"/blob?{SECRET}"))
    elsewhere.serve("/blob", bytes(5000), breaks=[2000])
    with io.FileIO(tmp_path / "arriving", "w+") as file:
        transfer = Transfer(
            file,
            path=tmp_path / "arriving",
            size=5000,
            limit=5000,
            digest_follows=True,
            inspect=lambda _answer: None,
            progress=lambda _done, _total: None,
        )
        egress.download(pulling(server.url("/file"), redirects=True, token="t0ken"), transfer)
    entries = network_entries(vault)
    origins = [server.address.removeprefix("https://"), elsewhere.address.removeprefix("https://")]
    first, then = f"{origins[0]}/file", f"{origins[1]}/blob"
    assert [entry.destination for entry in entries[::2]] == [first, then, first, then]
    assert [entry.about for entry in entries] == [None, 0, None, 2, None, 4, None, 6]
    assert "hush" not in str(entries) + str(entries)
    assert journal.sent_today().received > 5000


def test_the_entry_is_on_the_disk_before_the_destination_has_the_first_byte(
    home: Home, authority: Authority, tmp_path: Path
) -> None:
    Vault.create(home, PASSPHRASE, cost=CHEAP).close()
    sender: list[subprocess.Popen[str]] = []
    started = threading.Event()

    def kill() -> None:
        started.wait()
        sender[0].kill()

    with counting(authority.context(), answer=b"", on_request=kill) as server:
        sender.append(start_function(send_and_wait, home.data, authority.ca_file, server.url()))
        started.set()
        output, _ = sender[0].communicate()
    assert sender[0].returncode == -9, output
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        (entry,) = network_entries(vault)
        assert entry.status == "prepared"
        # It may have left, so it stays counted.
        journal = EgressJournal(vault.database, vault.log, Budget(10**6), vault.closing)
        assert journal.sent_today().sent == entry.bytes >= len(server.received) > 0


def send_and_wait(data: str, ca_file: str, url: str) -> None:
    home = Home.locate({"CLAW_HOME": data})
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        journal = EgressJournal(vault.database, vault.log, Budget(10**6), vault.closing)
        with Egress(NetworkSettings(ca_file=ca_file), journal, PauseLatch(home)) as door:
            door.send(posting(url), b"hello", most=10)


def test_where_the_log_cannot_be_written_nothing_is_sent(send: Send, vault: Vault, authority: Authority) -> None:
    vault.database.write(
        lambda c: c.execute("CREATE TRIGGER full BEFORE INSERT ON log_entries BEGIN SELECT RAISE(ABORT, 'no'); END")
    )
    with counting(authority.context()) as server, pytest.raises(VaultError):
        send(posting(server.url()))
    assert server.connections == 0


def test_what_is_over_the_budget_is_not_sent_and_its_refusal_is_logged(
    network: NetworkSettings, vault: Vault, latch: PauseLatch, authority: Authority
) -> None:
    journal = EgressJournal(vault.database, vault.log, Budget(1000), vault.closing)
    with counting(authority.context()) as server, Egress(network, journal, latch) as door:
        door.send(posting(server.url()), bytes(300), most=10)
        left = journal.sent_today().left
        assert left == 1000 - len(server.received)
        with pytest.raises(OverBudget) as caught:
            door.send(posting(server.url()), bytes(left), most=10)  # its head doesn't fit any more
    assert caught.value.exit_code == 5
    assert f"only {left:,} of today's 1,000 are left" in caught.value.message
    assert "00:00 UTC" in caught.value.hint
    assert len(server.received) == 1000 - left
    *_, refused = network_entries(vault)
    assert (refused.status, refused.bytes) == ("refused", 0)
    assert "over the day's budget" in refused.description


def test_a_request_for_a_model_counts_too(
    open_egress: Callable[[NetworkSettings], Egress],
    network: NetworkSettings,
    journal: EgressJournal,
    authority: Authority,
) -> None:
    with counting(authority.context()) as server, open_egress(network) as door:
        door.describe(pulling(server.url(), token="t0ken"))
    assert journal.sent_today().sent == len(server.received)
