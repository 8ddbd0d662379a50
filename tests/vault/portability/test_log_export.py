"""The log taken out of the vault: private, whole or not there, and never without an entry that tells of it."""

import hashlib
import stat
from pathlib import Path

import pytest

from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.fixtures.processes import SmallDisk
from tests.vault.portability.conftest import reopened
from vault.classes import DataClass
from vault.errors import DiskFull, NotFound, VaultError
from vault.home import Home
from vault.log import Action, Entry, Status, StoredEntry, verify_export
from vault.notifications import LARGE_EXPORT_BYTES, LargeExport
from vault.portability.log_export import export_log
from vault.store import Vault

SOMETHING = Entry(action=Action.CHAT, purpose="x" * 500, data_class=DataClass.MEDIUM, description="one reply")


def log_something(vault: Vault, times: int = 5) -> None:
    vault.database.write(lambda c: [vault.log.record(c, SOMETHING) for _ in range(times)])


def newest(vault: Vault) -> StoredEntry:
    return vault.log.entries(1)[0]


def test_an_export_of_the_log_is_logged_and_the_file_verifies(vault: Vault, tmp_path: Path) -> None:
    log_something(vault)
    file = tmp_path / "log.jsonl"
    assert export_log(vault, file) == 6
    stored = newest(vault)
    assert (stored.seq, stored.entry) == (
        6,
        Entry(
            action=Action.EXPORT,
            purpose="a copy of the log for others to verify, not encrypted",
            data_class=DataClass.HIGHLY_SENSITIVE,
            description="the transparency log: 6 records",
            bytes=file.stat().st_size,
            payload_sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            about=5,
            sensitive=True,
        ),
    )
    verified, verifier = verify_export(file, vault.log.verifier())
    assert verified.head.size == 6
    assert verifier == vault.log.verifier()
    assert vault.log.verify([verified.head]).head.size == 7
    assert export_log(vault, tmp_path / "again.jsonl") == 8
    assert vault.notifications.unseen() == []


def test_a_large_one_is_told_as_well(vault: Vault, tmp_path: Path) -> None:
    log_something(vault, LARGE_EXPORT_BYTES // 500)
    count = export_log(vault, tmp_path / "log.jsonl")
    (told,) = vault.notifications.unseen()
    assert told.event == LargeExport(bytes=(tmp_path / "log.jsonl").stat().st_size, rows=count)


def test_it_is_its_owners_alone_and_replaces_nothing(vault: Vault, loose_umask: None, tmp_path: Path) -> None:
    log_something(vault)
    file = tmp_path / "log.jsonl"
    export_log(vault, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes(), newest(vault)
    with pytest.raises(VaultError, match="already"):
        export_log(vault, file)
    with pytest.raises(VaultError, match="can't be written"):
        export_log(vault, tmp_path / "no folder" / "log.jsonl")
    with pytest.raises(VaultError, match="keeps its own files"):
        export_log(vault, vault.home.vault / "log.jsonl")
    assert (file.read_bytes(), newest(vault)) == before


def test_an_empty_log_makes_no_file(vault: Vault, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        export_log(vault, tmp_path / "log.jsonl")
    assert not (tmp_path / "log.jsonl").exists()


def test_the_log_of_a_vault_with_an_alarm_can_be_taken_along_as_evidence(vault: Vault, tmp_path: Path) -> None:
    log_something(vault)
    vault.close()
    vault.home.database.with_suffix(".anchor").unlink()
    with reopened(vault.home) as alarmed:
        assert alarmed.alarm
        assert export_log(alarmed, tmp_path / "log.jsonl") == 5
        assert verify_export(tmp_path / "log.jsonl", alarmed.log.verifier())[0].head.size == 5


def test_a_full_disk_leaves_no_half_export(small_disk: SmallDisk) -> None:
    small_disk.run("64k", export_to)


def export_to(folder: str) -> None:
    home = Home.locate({"CLAW_HOME": str(Path(folder).with_name("roomy"))})
    with Vault.create(home, PASSPHRASE, cost=CHEAP) as vault:
        log_something(vault, 500)
        with pytest.raises(DiskFull):
            export_log(vault, Path(folder) / "log.jsonl")
        refused = newest(vault)
        assert refused.entry
        assert (refused.seq, refused.entry.status) == (501, Status.REFUSED)
    assert list(Path(folder).iterdir()) == []
