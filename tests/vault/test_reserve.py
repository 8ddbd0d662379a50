"""Room set aside: a vault on a full disk can be read, taken along and emptied."""

import contextlib
import os
from pathlib import Path

import pytest

from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.fixtures.processes import SmallDisk, fill
from vault.check import check_vault
from vault.errors import DiskFull
from vault.home import Home
from vault.reserve import RESERVE, Reserve
from vault.store import Vault


def made(folder: str) -> Home:
    home = Home.locate({"CLAW_HOME": f"{folder}/home"})
    with Vault.create(home, PASSPHRASE, cost=CHEAP) as vault:
        session = vault.conversations.start("kept", "")
        vault.conversations.append(session.id, None, "user", "the harbour at dawn")
    return home


def test_a_closed_vault_has_room_set_aside_that_only_its_owner_reads(home: Home) -> None:
    Vault.create(home, PASSPHRASE, cost=CHEAP).close()
    status = (home.vault / RESERVE).stat()
    assert status.st_size >= 64 * 1024
    assert status.st_mode & 0o777 == 0o600


def test_on_a_full_disk_a_vault_is_read_and_emptied_again_and_again(small_disk: SmallDisk) -> None:
    small_disk.run("1m", use_on_a_full_disk)


def use_on_a_full_disk(folder: str) -> None:
    home = made(folder)
    fill(Path(folder))
    for _ in range(3):
        with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
            assert vault.disk_full
            assert vault.alarm == ""
            assert [hit.session_title for hit in vault.conversations.search("harbour")] == ["kept"]
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        (session,) = vault.conversations.sessions()
        vault.erasure.carry_out(vault.erasure.of_sessions([session]))
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        assert vault.conversations.sessions() == []
        assert vault.integrity_errors() == []


def test_a_conversation_that_fills_the_disk_can_be_erased_at_once(small_disk: SmallDisk) -> None:
    small_disk.run("40m", fill_it_by_talking)


def fill_it_by_talking(folder: str) -> None:
    home = made(folder)
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        filler = fill(Path(folder))
        os.truncate(filler, filler.stat().st_size - (2 << 20))
        talk(vault)
        with pytest.raises(DiskFull):
            check_vault(vault, lambda *_: None)
        for session in vault.conversations.sessions():
            vault.erasure.carry_out(vault.erasure.of_sessions([session]))
        assert vault.conversations.sessions() == []
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        assert vault.alarm == ""
        assert not any(part.wrong for part in check_vault(vault, lambda *_: None))


def talk(vault: Vault) -> None:
    session, last = vault.conversations.start("more", ""), None
    with contextlib.suppress(DiskFull):
        while True:
            last = vault.conversations.append(session.id, last, "user", os.urandom(6000).hex()).id
    with contextlib.suppress(DiskFull):
        while True:
            vault.conversations.rename(session.id, "again")


def test_a_full_disk_on_which_nothing_was_set_aside_is_an_error_that_changes_nothing(small_disk: SmallDisk) -> None:
    small_disk.run("1m", open_without_a_reserve)


def open_without_a_reserve(folder: str) -> None:
    home = made(folder)
    (home.vault / RESERVE).unlink()
    filler = fill(Path(folder))
    with pytest.raises(DiskFull, match="is full"):
        Vault.open_with_passphrase(home, PASSPHRASE)
    filler.unlink()
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        assert not vault.disk_full
        assert [session.title for session in vault.conversations.sessions()] == ["kept"]


def test_what_is_too_little_to_help_is_not_set_aside(small_disk: SmallDisk) -> None:
    small_disk.run("256k", keep_on_a_full_disk)


def keep_on_a_full_disk(folder: str) -> None:
    filler = fill(Path(folder))
    reserve = Reserve(Path(folder))
    reserve.keep()
    assert not (Path(folder) / RESERVE).exists()
    assert not reserve.release()
    filler.unlink()
    reserve.keep()
    assert reserve.release()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("as it was")
    (tmp_path / RESERVE).symlink_to("precious")
    Reserve(tmp_path).keep()
    assert (tmp_path / "precious").read_text() == "as it was"
