"""`keyslots.json`: who can open the vault, and what an altered file does."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.fixtures.slots import Document, Notebook, opens, parse, same_key, two_of_three
from vault import wrapping
from vault.durable import replace_file
from vault.errors import (
    ClawError,
    KeychainError,
    KeyslotsDamaged,
    LastSlot,
    NoKeychain,
    NotFound,
    VaultError,
    WrongPassphrase,
)
from vault.keys import MasterKey, new_vault_id
from vault.keyslots import Keyslots
from vault.passphrase import DEFAULT_COST
from vault.slot_kinds import PassphraseSlot
from vault.slot_making import passphrase_slot


@pytest.fixture(scope="module")
def master() -> MasterKey:
    return MasterKey.generate(new_vault_id())


@pytest.fixture
def keychain() -> Notebook:
    return Notebook()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault" / "keyslots.json"


@pytest.fixture
def document(master: MasterKey, keychain: Notebook, path: Path) -> Document:
    """A file with a passphrase slot and a keychain slot, as JSON; it also lies at `path`."""
    path.parent.mkdir()
    Keyslots.first(master, PASSPHRASE, CHEAP).with_keychain(master, keychain).write(path)
    found: Document = json.loads(path.read_bytes())
    return found


def test_the_passphrase_opens_what_it_closed(master: MasterKey, document: Document, path: Path) -> None:
    slots = Keyslots.read(path)
    assert opens(slots, master)
    assert slots.vault_id == master.vault_id


def test_the_keychain_opens_it_too(master: MasterKey, document: Document, keychain: Notebook, path: Path) -> None:
    slots = Keyslots.read(path)
    assert slots.has_keychain
    assert same_key(slots.open_with_keychain(keychain).master, master)


@pytest.mark.parametrize("wrong", [PASSPHRASE + " ", PASSPHRASE[:-1], PASSPHRASE.upper(), ""])
def test_a_wrong_passphrase_opens_nothing_and_says_so(document: Document, path: Path, wrong: str) -> None:
    before = path.read_bytes()
    with pytest.raises(WrongPassphrase, match="passphrase is wrong") as refused:
        Keyslots.read(path).open_with_passphrase(wrong)
    assert refused.value.exit_code == 3
    assert path.read_bytes() == before


def test_neither_the_key_nor_the_passphrase_stands_in_the_file(
    master: MasterKey, document: Document, path: Path, keychain: Notebook
) -> None:
    content = path.read_bytes()
    (kek,) = keychain.items.values()
    for secret in (master.expose(), base64.b64decode(kek)):
        assert secret not in content
        assert base64.b64encode(secret) not in content
        assert secret.hex().encode() not in content
    assert PASSPHRASE.encode() not in content


def test_two_slots_of_one_passphrase_share_nothing(master: MasterKey) -> None:
    one, other = (Keyslots.first(master, PASSPHRASE, CHEAP).slots[0] for _ in range(2))
    assert isinstance(one, PassphraseSlot)
    assert isinstance(other, PassphraseSlot)
    assert not {*fields(one)} & {*fields(other)}


def fields(slot: PassphraseSlot) -> tuple[str, ...]:
    return slot.id, slot.public, slot.sealed, slot.held, slot.tag, slot.salt


def test_an_empty_passphrase_makes_no_slot(master: MasterKey) -> None:
    with pytest.raises(VaultError, match="can't be empty"):
        Keyslots.first(master, "", CHEAP)


def test_each_change_counts_the_epoch(master: MasterKey, document: Document, keychain: Notebook) -> None:
    assert document["epoch"] == 2
    assert parse(document).with_keychain(master, keychain).epoch == 3


# Altered by somebody without the master key


def test_a_slot_moved_into_another_vault_opens_nothing(document: Document) -> None:
    other = MasterKey.generate(new_vault_id())
    foreign = json.loads(Keyslots.first(other, PASSPHRASE, CHEAP)._file(bytes(32)).encoded())
    document["slots"] = foreign["slots"]
    with pytest.raises(WrongPassphrase):
        parse(document).open_with_passphrase(PASSPHRASE)
    document["vault"] = foreign["vault"]  # now the slot opens, but the file isn't the one that vault wrote
    with pytest.raises(KeyslotsDamaged, match="changed by something else"):
        parse(document).open_with_passphrase(PASSPHRASE)


def flipped(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[0] ^= 1
    return base64.b64encode(data).decode()


ALTERATIONS: dict[str, Callable[[Document], object]] = {
    "vault": lambda d: d.update(vault=d["vault"][:-1] + ("0" if d["vault"][-1] != "0" else "1")),
    "epoch forward": lambda d: d.update(epoch=d["epoch"] + 1),
    "epoch back": lambda d: d.update(epoch=d["epoch"] - 1),
    "epoch beyond any": lambda d: d.update(epoch=10**30),
    "mac": lambda d: d.update(mac=flipped(d["mac"])),
    "another slot's id": lambda d: d["slots"][1].update(id="00000000"),
    "another slot's date": lambda d: d["slots"][1].update(created=0),
    "another slot's public key": lambda d: d["slots"][1].update(public=flipped(d["slots"][1]["public"])),
    "another slot's sealed key": lambda d: d["slots"][1].update(sealed=flipped(d["slots"][1]["sealed"])),
    "another slot's held key": lambda d: d["slots"][1].update(held=flipped(d["slots"][1]["held"])),
    "another slot's tag": lambda d: d["slots"][1].update(tag=flipped(d["slots"][1]["tag"])),
    "another slot's account": lambda d: d["slots"][1].update(account="elsewhere"),
    "slot removed": lambda d: d["slots"].pop(1),
    "slot added": lambda d: d["slots"].append({**d["slots"][1], "id": "00000000"}),
    "slots reordered": lambda d: d["slots"].reverse(),
}


@pytest.mark.parametrize("alter", ALTERATIONS.values(), ids=ALTERATIONS.keys())
def test_a_file_altered_beside_the_slot_that_opens_is_found(
    document: Document, alter: Callable[[Document], object]
) -> None:
    parse(document).open_with_passphrase(PASSPHRASE)
    alter(document)
    with pytest.raises((KeyslotsDamaged, WrongPassphrase)) as refused:
        parse(document).open_with_passphrase(PASSPHRASE)
    if document["vault"] == parse(document).vault_id and "changed" in refused.value.message:
        assert "keyslots.json.backup" in refused.value.hint


WRONG_KEY: dict[str, Callable[[Document], object]] = {
    "id": lambda s: s.update(id="00000000"),
    "public key": lambda s: s.update(public=flipped(s["public"])),
    "salt": lambda s: s.update(salt=flipped(s["salt"])),
    "memory": lambda s: s["cost"].update(memory_kib=65),
    "iterations": lambda s: s["cost"].update(iterations=2),
    "lanes": lambda s: s["cost"].update(lanes=2),
}


@pytest.mark.parametrize("alter", WRONG_KEY.values(), ids=WRONG_KEY.keys())
def test_a_slot_altered_in_what_its_key_is_made_of_opens_nothing(
    document: Document, alter: Callable[[Document], object]
) -> None:
    alter(document["slots"][0])
    with pytest.raises(WrongPassphrase):
        parse(document).open_with_passphrase(PASSPHRASE)


ALTERED_SLOT: dict[str, Callable[[Document], object]] = {
    "created": lambda s: s.update(created=s["created"] + 1),
    "sealed": lambda s: s.update(sealed=flipped(s["sealed"])),
    "held": lambda s: s.update(held=flipped(s["held"])),
    "tag": lambda s: s.update(tag=flipped(s["tag"])),
}


@pytest.mark.parametrize("alter", ALTERED_SLOT.values(), ids=ALTERED_SLOT.keys())
def test_a_slot_altered_in_any_other_field_is_found_before_it_opens(
    document: Document, alter: Callable[[Document], object]
) -> None:
    alter(document["slots"][0])
    with pytest.raises(KeyslotsDamaged, match=r"passphrase slot .* was changed by something else") as refused:
        parse(document).open_with_passphrase(PASSPHRASE)
    assert "keyslots.json.backup" in refused.value.hint


@pytest.mark.parametrize("field", ["id", "public", "created", "sealed", "held", "tag", "account"])
def test_a_keychain_slot_altered_in_any_field_opens_nothing(
    document: Document, keychain: Notebook, field: str
) -> None:
    slot = document["slots"][1]
    (secret,) = keychain.items.values()
    keychain.set("elsewhere", secret)
    altered = {"id": "00000000", "created": 1, "account": "elsewhere"}
    slot[field] = altered[field] if field in altered else flipped(slot[field])
    with pytest.raises((KeychainError, KeyslotsDamaged), match=r"doesn't open this vault|was changed"):
        parse(document).open_with_keychain(keychain)


def test_the_sealed_keys_of_two_slots_do_not_change_places(document: Document) -> None:
    one, other = document["slots"]
    for field in ("sealed", "held", "tag"):
        one[field], other[field] = other[field], one[field]
    with pytest.raises(KeyslotsDamaged, match="was changed"):
        parse(document).open_with_passphrase(PASSPHRASE)


def test_a_thief_without_any_key_cannot_put_a_vault_of_their_own_behind_the_passphrase(
    master: MasterKey, document: Document
) -> None:
    """Anybody can seal to the slot's public key; but not so that the slot takes it."""
    thief = MasterKey.generate(master.vault_id)
    ours = parse(document).slots[0]
    assert isinstance(ours, PassphraseSlot)
    forged = wrapping._seal(thief, bytes(32), ours)  # all that they know: vault, slot, and public key
    slots = Keyslots._signed(thief, 3, (forged,))
    slots.prove(thief)
    with pytest.raises(KeyslotsDamaged, match="was changed by something else"):
        slots.open_with_passphrase(PASSPHRASE)


# The keychain's side


@pytest.mark.parametrize("secret", ["", "not base64!", "c2hvcnQ=", base64.b64encode(bytes(32)).decode(), "漢字"])
def test_a_keychain_item_that_is_not_the_key_is_said_to_be_that(
    document: Document, keychain: Notebook, secret: str
) -> None:
    (account,) = keychain.items
    keychain.set(account, secret)
    with pytest.raises(KeychainError, match="doesn't open this vault") as refused:
        parse(document).open_with_keychain(keychain)
    assert "passphrase" in refused.value.hint


def test_an_item_that_is_gone_and_a_vault_without_keychain_slot_lead_to_the_passphrase(
    master: MasterKey, document: Document
) -> None:
    for slots in (parse(document), Keyslots.first(master, PASSPHRASE, CHEAP)):
        with pytest.raises(NoKeychain) as refused:
            slots.open_with_keychain(Notebook())
        assert "passphrase" in refused.value.hint


def test_a_keychain_that_forgets_gets_no_slot(master: MasterKey) -> None:
    class Forgetful(Notebook):
        def set(self, account: str, secret: str) -> None:
            pass

    with pytest.raises(KeychainError, match="did not keep"):
        Keyslots.first(master, PASSPHRASE, CHEAP).with_keychain(master, Forgetful())


def test_one_of_several_slots_is_opened_by_its_id(master: MasterKey, keychain: Notebook) -> None:
    slots = Keyslots.first(master, PASSPHRASE, CHEAP)
    slots = slots.with_slot(master, passphrase_slot(master, "another passphrase", CHEAP))
    first, second = slots.slots
    assert slots.open_with_passphrase("another passphrase").slot == second
    assert slots.open_with_passphrase(PASSPHRASE, only=first.id).slot == first
    with pytest.raises(WrongPassphrase):
        slots.open_with_passphrase(PASSPHRASE, only=second.id)
    with pytest.raises(NotFound, match="no slot 00000000"):
        slots.open_with_passphrase(PASSPHRASE, only="00000000")


# What must remain


def test_the_keychain_alone_never_remains(master: MasterKey, keychain: Notebook) -> None:
    slots = Keyslots.first(master, PASSPHRASE, CHEAP).with_keychain(master, keychain)
    passphrase, by_keychain = slots.slots
    with pytest.raises(LastSlot, match="doesn't need the desktop's keychain") as refused:
        slots.without(master, passphrase.id)
    assert "claw vault slots add" in refused.value.hint
    alone = slots.without(master, by_keychain.id)
    with pytest.raises(LastSlot):
        alone.without(master, passphrase.id)


def test_any_other_way_in_may_remain_alone(master: MasterKey) -> None:
    slots, kit = two_of_three(master)
    left = slots.without(master, slots.slots[0].id)
    assert same_key(left.open_with_shares(list(kit.shares[:2])).master, master)
    with pytest.raises(WrongPassphrase, match="no passphrase slot"):
        left.open_with_passphrase(PASSPHRASE)


def test_a_slot_that_is_gone_opens_nothing_and_the_others_still_do(master: MasterKey, keychain: Notebook) -> None:
    slots = Keyslots.first(master, PASSPHRASE, CHEAP).with_keychain(master, keychain)
    left = slots.without(master, slots.slots[1].id)
    with pytest.raises(NoKeychain):
        left.open_with_keychain(keychain)
    assert opens(left, master)
    with pytest.raises(NotFound):
        left.without(master, slots.slots[1].id)


def test_more_slots_than_a_file_may_hold_are_refused_before_they_make_it_unreadable(
    master: MasterKey, keychain: Notebook, path: Path
) -> None:
    slots = Keyslots.first(master, PASSPHRASE, CHEAP)
    for _ in range(31):
        slots = slots.with_keychain(master, keychain)
    path.parent.mkdir()
    slots.write(path)
    assert opens(Keyslots.read(path), master)
    kept = dict(keychain.items)
    with pytest.raises(VaultError, match="32 slots already"):
        slots.with_keychain(master, keychain)
    assert keychain.items == kept


def test_no_error_tells_a_secret(master: MasterKey, document: Document, keychain: Notebook) -> None:
    (secret,) = keychain.items.values()
    for alter in (*ALTERATIONS.values(), len):
        altered = json.loads(json.dumps(document))
        alter(altered)
        for passphrase in (PASSPHRASE, PASSPHRASE + "?"):
            try:
                parse(altered).open_with_passphrase(passphrase)
            except ClawError as error:
                told = error.message + error.hint
                assert PASSPHRASE not in told
                assert secret not in told
                assert master.expose().hex() not in told


def test_the_key_of_new_vaults_is_stretched_at_full_cost_unless_told(master: MasterKey) -> None:
    assert DEFAULT_COST.memory_kib >= 256 * 1024
    (slot,) = Keyslots.first(master, PASSPHRASE, CHEAP).slots
    assert isinstance(slot, PassphraseSlot)
    assert slot.cost == CHEAP


def test_a_foreign_replacement_of_the_whole_file_opens_nothing_of_this_vault(
    master: MasterKey, document: Document, path: Path
) -> None:
    other = MasterKey.generate(new_vault_id())
    replace_file(path, Keyslots.first(other, "the thief's own", CHEAP)._file(bytes(32)).encoded())
    with pytest.raises(WrongPassphrase):
        Keyslots.read(path).open_with_passphrase(PASSPHRASE)
