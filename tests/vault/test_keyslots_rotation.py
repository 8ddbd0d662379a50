"""A new master key in every slot without anybody's secret, and slots of version 1 on the way there."""

import json
from pathlib import Path

import msgspec
import pytest

from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.fixtures.slots import (
    OLD_FILE,
    OLD_ITEMS,
    OLD_MASTER,
    Notebook,
    opens,
    parse,
    same_key,
    two_of_three,
    version_1,
)
from vault.errors import KeychainError, KeyslotsDamaged, VaultError, WrongPassphrase
from vault.home import Home
from vault.keys import MasterKey, new_vault_id
from vault.keyslots import Keyslots
from vault.slot_changes import settle
from vault.slot_file import BACKUP_SUFFIX
from vault.slot_kinds import KeychainSlot, PassphraseSlot, RotatableSlot, SymmetricKeychainSlot
from vault.slot_making import passphrase_slot
from vault.store import Vault


@pytest.fixture
def master() -> MasterKey:
    return MasterKey.generate(new_vault_id())


@pytest.fixture
def old() -> Keyslots:
    """Slots as the version before this one wrote them."""
    return Keyslots.parse(OLD_FILE.encode(), described="the file")


def test_every_slot_opens_to_the_new_key_and_to_the_old_one_no_more(master: MasterKey) -> None:
    keychain = Notebook()
    slots, kit = two_of_three(master, Keyslots.first(master, PASSPHRASE, CHEAP).with_keychain(master, keychain))
    new = MasterKey.generate(master.vault_id)
    renewed = slots.rewrapped(master, new)
    assert renewed.epoch == slots.epoch + 1
    for opening in (
        renewed.open_with_passphrase(PASSPHRASE),
        renewed.open_with_keychain(keychain),
        renewed.open_with_shares(list(kit.shares[1:])),
    ):
        assert same_key(opening.master, new)
    assert opens(slots, master)  # an old copy is what it was
    renewed.prove(new)
    with pytest.raises(KeyslotsDamaged):
        renewed.prove(master)


def test_rotation_after_rotation_leaves_ids_dates_and_public_keys_as_they_are(master: MasterKey) -> None:
    first, _ = two_of_three(master)
    slots, key = first, master
    for _ in range(3):
        new = MasterKey.generate(master.vault_id)
        slots, key = slots.rewrapped(key, new), new
    assert opens(slots, key)
    for before, after in zip(first.slots, slots.slots, strict=True):
        assert isinstance(before, RotatableSlot)
        assert isinstance(after, RotatableSlot)
        assert msgspec.structs.replace(after, sealed="", held="", tag="") == msgspec.structs.replace(
            before, sealed="", held="", tag=""
        )
        assert not {after.sealed, after.held, after.tag} & {before.sealed, before.held, before.tag}


def test_whoever_knows_the_old_key_learns_nothing_of_the_new_one(master: MasterKey) -> None:
    """All that the old key opens in the slots are authentication keys; what opens the sealed key isn't there."""
    slots = Keyslots.first(master, PASSPHRASE, CHEAP)
    new = MasterKey.generate(master.vault_id)
    renewed = slots.rewrapped(master, new)
    with pytest.raises(KeyslotsDamaged):
        renewed.rewrapped(master, MasterKey.generate(master.vault_id))
    (slot,) = renewed.slots
    assert isinstance(slot, PassphraseSlot)
    content = json.dumps(msgspec.to_builtins(slot)).encode()
    assert new.expose() not in content
    assert new.expose().hex().encode() not in content


def test_a_slot_that_somebody_put_in_gets_no_new_key(master: MasterKey) -> None:
    slots, _ = two_of_three(master)
    thief = MasterKey.generate(master.vault_id)
    theirs = passphrase_slot(thief, "the thief's own", CHEAP)
    added = Keyslots(slots.vault_id, slots.epoch, (*slots.slots, theirs), slots._mac)
    with pytest.raises(KeyslotsDamaged, match="changed by something else"):
        added.rewrapped(master, MasterKey.generate(master.vault_id))


# Version 1


def test_a_file_of_version_1_opens_by_each_of_its_slots(old: Keyslots) -> None:
    assert opens(old, OLD_MASTER)
    assert same_key(old.open_with_keychain(Notebook(OLD_ITEMS)).master, OLD_MASTER)
    with pytest.raises(WrongPassphrase):
        old.open_with_passphrase("another passphrase")
    with pytest.raises(KeychainError):
        old.open_with_keychain(Notebook(dict.fromkeys(OLD_ITEMS, "AAAA")))
    old.prove(OLD_MASTER)


def test_a_file_of_version_1_is_written_as_it_was(old: Keyslots, tmp_path: Path) -> None:
    old.write(tmp_path / "keyslots.json")
    assert (tmp_path / "keyslots.json").read_text() == OLD_FILE


@pytest.mark.parametrize("field", ["id", "created", "nonce", "wrapped", "salt"])
def test_a_slot_of_version_1_that_was_altered_opens_nothing(field: str) -> None:
    document = json.loads(OLD_FILE)
    slot = document["slots"][0]
    slot[field] = {"id": "00000000", "created": 1}.get(field) or "B" + slot[field][1:]
    with pytest.raises(WrongPassphrase):
        parse(document).open_with_passphrase(PASSPHRASE)


def test_slots_of_version_1_take_no_new_key_and_are_named(old: Keyslots) -> None:
    named = r"before they are opened once: passphrase 378be4ef, keychain c0875f88\."
    with pytest.raises(VaultError, match=named) as refused:
        old.rewrapped(OLD_MASTER, MasterKey.generate(OLD_MASTER.vault_id))
    assert "claw vault slots upgrade" in refused.value.hint


def test_a_slot_that_was_opened_comes_up_to_date_and_the_other_stays_until_its_turn(
    old: Keyslots, tmp_path: Path
) -> None:
    path = tmp_path / "vault" / "keyslots.json"
    path.parent.mkdir()
    old.write(path)
    settle(path, old.open_with_passphrase(PASSPHRASE))
    half = Keyslots.read(path)
    assert [type(slot) for slot in half.slots] == [PassphraseSlot, SymmetricKeychainSlot]
    assert half.epoch == old.epoch + 1
    assert {slot.id for slot in half.slots} == {slot.id for slot in old.slots}
    assert opens(half, OLD_MASTER)
    with pytest.raises(VaultError, match=r"once: keychain c0875f88\."):
        half.rewrapped(OLD_MASTER, MasterKey.generate(OLD_MASTER.vault_id))

    settle(path, half.open_with_keychain(Notebook(OLD_ITEMS)))
    whole = Keyslots.read(path)
    assert [type(slot) for slot in whole.slots] == [PassphraseSlot, KeychainSlot]
    assert whole.not_rotatable == ()
    new = MasterKey.generate(OLD_MASTER.vault_id)
    renewed = whole.rewrapped(OLD_MASTER, new)
    assert opens(renewed, new)
    assert same_key(renewed.open_with_keychain(Notebook(OLD_ITEMS)).master, new)


def test_what_came_up_to_date_stays_as_it_is(old: Keyslots, tmp_path: Path) -> None:
    path = tmp_path / "vault" / "keyslots.json"
    path.parent.mkdir()
    old.write(path)
    settle(path, old.open_with_passphrase(PASSPHRASE))
    before = path.read_bytes()
    settle(path, old.open_with_passphrase(PASSPHRASE))  # by somebody who read the file before
    settle(path, Keyslots.read(path).open_with_passphrase(PASSPHRASE))
    assert path.read_bytes() == before


def test_opening_a_vault_brings_its_slot_up_to_date(home: Home) -> None:
    keychain = Notebook()
    with Vault.create(home, PASSPHRASE, cost=CHEAP) as vault:
        vault.conversations.start("kept", "")
        version_1(vault._master, keychain).write(home.keyslots)
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        assert [type(slot) for slot in vault.slots.read().slots] == [PassphraseSlot, SymmetricKeychainSlot]
    with Vault.open_with_keychain(home, keychain) as vault:
        assert vault.slots.read().not_rotatable == ()
        assert [session.title for session in vault.conversations.sessions()] == ["kept"]
    Vault.open_with_passphrase(home, PASSPHRASE).close()


def test_a_backup_older_than_the_file_becomes_its_copy(master: MasterKey, tmp_path: Path) -> None:
    """A removal that was interrupted between the two: the backup would go on opening by what was removed."""
    path = tmp_path / "vault" / "keyslots.json"
    backup = path.with_name(path.name + BACKUP_SUFFIX)
    path.parent.mkdir()
    slots, _ = two_of_three(master)
    slots.without(master, slots.slots[1].id).write(path)
    newer = path.read_bytes()
    for stale in (slots._file(slots._mac).encoded(), b"{", None):
        backup.unlink()
        if stale is not None:
            backup.write_bytes(stale)
        settle(path, Keyslots.read(path).open_with_passphrase(PASSPHRASE))
        assert path.read_bytes() == newer == backup.read_bytes()


def test_a_backup_newer_than_the_file_is_evidence_and_stays(master: MasterKey, tmp_path: Path) -> None:
    path = tmp_path / "vault" / "keyslots.json"
    path.parent.mkdir()
    slots, _ = two_of_three(master)
    slots.without(master, slots.slots[1].id).write(path)
    newer = path.read_bytes()
    path.write_bytes(slots._file(slots._mac).encoded())  # what an older copy put back looks like
    settle(path, Keyslots.read(path).open_with_passphrase(PASSPHRASE))
    assert path.with_name(path.name + BACKUP_SUFFIX).read_bytes() == newer
