"""`claw vault rotate`: what the log says of it, whether it is done or refused."""

import pytest

from cli.console import Console
from cli.vault.rotate import rotate
from tests.cli.test_unlock import without_a_file
from tests.fixtures.command import Person
from vault.errors import Locked
from vault.lock import LockLatch, LockLimits
from vault.log import Action, Status
from vault.store import Vault


def logged(vault: Vault) -> list[tuple[Status | None, int | None]]:
    """What the log says of rotations, the oldest first: how far each entry's went, and which one it is about."""
    entries = [stored.entry for stored in reversed(vault.log.entries()) if stored.entry]
    return [(entry.status, entry.about) for entry in entries if entry.action is Action.ROTATE]


REFUSED = [(Status.PREPARED, None), (Status.REFUSED, 0)]


def test_a_rotation_that_is_done_says_so(person: Person) -> None:
    assert person.claw("vault", "rotate").returncode == 0
    with person.vault() as vault:
        assert logged(vault) == [(Status.PREPARED, None), (Status.DONE, 0)]


def test_one_that_is_refused_beside_another_program_says_so(person: Person) -> None:
    with person.vault() as vault:
        done = person.claw("vault", "rotate")
        assert done.returncode == 1
        assert "Another program has the vault open" in done.stderr
        assert logged(vault) == REFUSED
        assert vault.log.verify().head.size == 2


def test_it_says_so_by_the_key_that_is_held_too(person: Person) -> None:
    with person.vault() as vault:
        vault.hold(LockLimits())
        assert without_a_file(person).claw("vault", "rotate").returncode == 1
        assert logged(vault) == REFUSED


def test_one_that_is_interrupted_says_so(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_console: Console, _said: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Console, "say", interrupt)
    with pytest.raises(KeyboardInterrupt):
        rotate(person.vault(), Console(person.home, person.passphrase_file))
    with person.vault() as vault:
        assert logged(vault) == REFUSED


def test_one_that_was_done_before_it_was_broken_off_is_not_called_refused(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = person.vault()
    closing = vault.close

    def interrupt() -> None:
        closing()
        raise KeyboardInterrupt

    monkeypatch.setattr(vault, "close", interrupt)
    with pytest.raises(KeyboardInterrupt):
        rotate(vault, Console(person.home, person.passphrase_file))
    with person.vault() as vault:
        assert logged(vault) == [(Status.PREPARED, None), (Status.DONE, 0)]


def test_a_vault_that_was_locked_meanwhile_is_not_opened_again_to_say_so(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault, latch = person.vault(), LockLatch(person.home.data)
    monkeypatch.setattr(Console, "say", lambda *_: latch.engage())
    with pytest.raises(Locked):
        rotate(vault, Console(person.home, person.passphrase_file))
    assert latch.engaged
    latch.release()
    with person.vault() as vault:
        assert logged(vault) == [(Status.PREPARED, None)]
