"""Rotation: new keys, the same content, the same ways in; the old vault or the new one at every interruption."""

import fcntl
import os
import shutil
import threading
from pathlib import Path

import pytest

from tests.fixtures.slots import Notebook
from vault import rotation
from vault.database import Database
from vault.errors import (
    DatabaseDamaged,
    KeyslotsDamaged,
    KeysRenewed,
    Locked,
    RolledBack,
    VaultError,
    WrongPassphrase,
)
from vault.home import Home
from vault.keyslots import Keyslots
from vault.lock import LockLatch
from vault.messages import Attachment
from vault.passphrase import KdfCost
from vault.store import Vault
from vault.swap import Presence, changing

CHEAP = KdfCost(memory_kib=8, iterations=1, lanes=1)
PASSPHRASE = "four random words"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.locate({"CLAW_HOME": str(tmp_path / "home")})


@pytest.fixture
def filled(home: Home) -> Vault:
    """An open vault with a conversation, an attached file and a log entry."""
    vault = Vault.create(home, PASSPHRASE, cost=CHEAP)
    session = vault.conversations.start("the harbour", "")
    vault.conversations.append(
        session.id,
        None,
        "user",
        "where do the boats lie?",
        attachments=[Attachment("map.txt", "north of the pier")],
    )
    return vault


def texts(vault: Vault) -> list[tuple[str, str]]:
    [session] = vault.conversations.sessions()
    return [(m.text, "".join(a.text for a in m.attachments)) for m in vault.conversations.path(session.id)]


CONTENT = [("where do the boats lie?", "north of the pier")]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_is_there_under_the_new_key_and_the_same_passphrase_opens_it(home: Home, filled: Vault) -> None:
    filled.rotate().wipe()
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        assert vault.alarm == ""
        assert texts(vault) == CONTENT
        assert vault.integrity_errors() == []
        assert [hit.session_title for hit in vault.conversations.search("boats")] == ["the harbour"]


def test_the_old_master_key_opens_nothing_any_more(home: Home, filled: Vault) -> None:
    old = filled._master.derive("database")
    filled.rotate().wipe()
    with pytest.raises(DatabaseDamaged, match="another key"):
        Database.open(home.database, old)


def test_sealed_fields_are_sealed_anew_in_a_new_epoch(home: Home, filled: Vault) -> None:
    def sealed(vault: Vault) -> bytes:
        return bytes(vault.database.read(lambda c: c.execute("SELECT text FROM attachments").fetchall())[0][0])

    before = sealed(filled)
    assert filled.database.fields.epoch == 1
    filled.rotate().wipe()
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        assert vault.database.fields.epoch == 2
        assert sealed(vault) != before


def test_a_vault_that_was_rotated_can_be_written_and_rotated_again(home: Home, filled: Vault) -> None:
    filled.rotate().wipe()
    for _ in range(2):
        vault = Vault.open_with_passphrase(home, PASSPHRASE)
        vault.conversations.start("another", "")
        vault.rotate().wipe()
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        assert len(vault.conversations.sessions()) == 3
        assert vault.database.fields.epoch == 4


def test_a_slot_that_was_put_back_from_before_opens_nothing(home: Home, filled: Vault, tmp_path: Path) -> None:
    shutil.copy(home.keyslots, tmp_path / "stolen.json")
    filled.rotate().wipe()
    stolen = Keyslots.read(tmp_path / "stolen.json").open_with_passphrase(PASSPHRASE)
    with pytest.raises(KeyslotsDamaged):
        Vault.open_with_master(home, stolen.master, "passphrase")


def test_a_key_of_before_a_rotation_is_told_to_be_that_and_no_damage(home: Home, filled: Vault) -> None:
    before = Keyslots.read(home.keyslots).open_with_passphrase(PASSPHRASE)
    filled.rotate().wipe()
    with pytest.raises(KeysRenewed, match="renewed the vault's keys") as refused:
        Vault.open_by(home, before)
    assert refused.value.hint == "Try again."
    with pytest.raises(Locked):
        before.master.expose()


def test_it_is_refused_while_another_program_has_the_vault_open(home: Home, filled: Vault) -> None:
    other = Vault.open_with_passphrase(home, PASSPHRASE)
    before = home.keyslots.read_bytes()
    with pytest.raises(VaultError, match="Another program has the vault open"):
        filled.rotate()
    assert home.keyslots.read_bytes() == before
    other.conversations.start("still writing", "")
    other.close()


def test_a_copy_that_is_not_equal_changes_nothing(
    home: Home, filled: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "_counts", lambda *place: {"messages": id(place[0])})
    before = home.keyslots.read_bytes()
    with pytest.raises(DatabaseDamaged, match="isn't equal to the original"):
        filled.rotate()
    assert home.keyslots.read_bytes() == before
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        assert texts(vault) == CONTENT
        assert vault.alarm == ""


def test_a_wrong_passphrase_is_still_wrong(home: Home, filled: Vault) -> None:
    filled.rotate().wipe()
    with pytest.raises(WrongPassphrase):
        Vault.open_with_passphrase(home, "five other random words")


def test_nothing_of_the_old_vault_or_of_the_work_is_left_lying_about(home: Home, filled: Vault) -> None:
    filled.rotate().wipe()
    kept = {"vault.db", "vault.anchor", "keyslots.json", "keyslots.json.backup", "changes.lock", "reserve"}
    assert set(files(home.vault)) == kept


def test_slots_that_were_put_back_while_it_is_open_get_no_new_key(home: Home, filled: Vault) -> None:
    old = home.keyslots.read_bytes()
    filled.slots.add_passphrase("five other random words", CHEAP)
    home.keyslots.write_bytes(old)
    with pytest.raises(RolledBack, match="put back while the vault was open"):
        filled.rotate()
    assert home.keyslots.read_bytes() == old


def test_what_is_written_after_the_copy_was_made_is_not_lost(home: Home, filled: Vault) -> None:
    def write_late(step: str) -> None:
        if step == "verifying":
            filled.conversations.start("said meanwhile", "")

    with pytest.raises(VaultError, match="written to while"):
        filled.rotate(write_late)
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        assert {session.title for session in vault.conversations.sessions()} == {"the harbour", "said meanwhile"}
        assert vault.alarm == ""


def test_only_one_at_a_time_tries_to_be_alone(home: Home, filled: Vault) -> None:
    filled.close()
    one, other = Presence(home.vault), Presence(home.vault)
    with changing(home.vault, VaultError("")):
        other.close()
        with pytest.raises(VaultError, match="Another program has the vault open"), one.alone():
            pass
    with one.alone():
        pass
    one.close()


def test_a_copy_whose_sealed_fields_do_not_open_changes_nothing(
    home: Home, filled: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "_reseal", lambda *_: None)
    before = home.keyslots.read_bytes()
    with pytest.raises(VaultError):
        filled.rotate()
    assert home.keyslots.read_bytes() == before


class Crash(BaseException):
    """The process died."""


STEPS = ["fsync", "rename", "replace", "unlink"]


ENOUGH = 60
"""More steps than a rotation has; the last of these isn't interrupted."""


@pytest.mark.parametrize("number", range(ENOUGH))
def test_interrupted_at_any_step_the_old_or_the_new_vault_opens(
    home: Home, filled: Vault, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The steps are the calls by which Python makes files durable, renames and removes them."""
    left = number

    def dying(name: str) -> None:
        real = getattr(os, name)

        def step(*arguments: object, **named: object) -> object:
            nonlocal left
            if left == 0:
                raise Crash
            left -= 1
            return real(*arguments, **named)

        monkeypatch.setattr(os, name, step)

    for name in STEPS:
        dying(name)
    interrupted = False
    try:
        filled.rotate().wipe()
    except Crash:
        interrupted = True
    monkeypatch.undo()
    assert number < ENOUGH - 1 or not interrupted
    filled.close()
    leave_undecided(home)
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        assert vault.alarm == ""
        assert texts(vault) == CONTENT
        assert vault.integrity_errors() == []
        assert not (home.vault / "next").exists()
        assert vault.database.fields.epoch in ((1, 2) if interrupted else (2,))
        vault.conversations.start("goes on", "")


def leave_undecided(home: Home) -> None:
    """What a kill leaves of a swap before it is decided, where there is none."""
    folder = home.vault / "next"
    if not folder.exists():
        folder.mkdir()
        (folder / "vault.db").write_bytes(b"a copy of the vault")


def test_no_copy_of_the_vault_outlives_a_rotation_that_failed(
    home: Home, filled: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "_verify", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        filled.rotate()
    assert not (home.vault / "next").exists()


def test_a_mark_that_is_empty_decides_nothing(home: Home, filled: Vault) -> None:
    filled.close()
    leave_undecided(home)
    (home.vault / "next" / "ready").touch()
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        assert texts(vault) == CONTENT
    assert not (home.vault / "next").exists()


def test_a_rotation_takes_copies_along_that_a_kill_left_under_the_old_key(home: Home, filled: Vault) -> None:
    left = home.vault / ".scrub.0123456789ab.new"
    left.mkdir()
    filled.rotate().wipe()
    assert not left.exists()


class RotatesWhenAsked(Notebook):
    """A keychain; before it answers for the first time, somebody else rotates the vault's keys."""

    def __init__(self) -> None:
        super().__init__()
        self.before_answering: list[Vault] = []
        self._home = home

    def get(self, account: str) -> str | None:
        while self.before_answering:
            self.before_answering.pop().rotate().wipe()
        return super().get(account)


def test_a_rotation_while_the_vault_is_being_opened_is_no_damage(home: Home, filled: Vault) -> None:
    keychain = RotatesWhenAsked()
    filled.add_keychain(keychain)
    keychain.before_answering.append(filled)
    with Vault.open_with_keychain(home, keychain) as vault:
        assert texts(vault) == CONTENT
    assert not keychain.before_answering


def test_a_lock_while_the_keys_are_renewed_lets_nobody_in_before_the_end_and_keeps_the_old_keys(
    home: Home, filled: Vault
) -> None:
    refused: list[str] = []

    def lock_when_nearly_done(step: str) -> None:
        if step != "verifying":
            return
        LockLatch(home.data).engage()
        while not filled.watch.why:
            threading.Event().wait(0.01)
        filled.watch.stop()  # and wait for what it does
        with pytest.raises(VaultError) as error, changing(home.vault, VaultError("somebody is at work")):
            pass
        refused.append(error.value.message)

    with pytest.raises(Locked, match="the old ones"):
        filled.rotate(lock_when_nearly_done)
    assert not (home.vault / "next").exists()
    assert refused == ["somebody is at work"]
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        assert texts(vault) == CONTENT
        assert vault.database.read(lambda c: c.execute("SELECT field_epoch FROM vault_state").fetchone()) == (1,)


def test_an_exclusive_presence_that_is_closed_stays_to_the_end(home: Home, filled: Vault) -> None:
    filled.close()
    mine = Presence(home.vault)
    with mine.alone():
        mine.close()
        assert mine.leaving
        other = os.open(home.vault, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)
    with pytest.raises(Locked), mine.alone():
        pass
