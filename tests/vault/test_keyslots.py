"""`keyslots.json`: who can open the vault, and what an altered file does."""

import base64
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.models import CHEAP, PASSPHRASE
from vault.durable import replace_file
from vault.errors import (
    ClawError,
    KeychainError,
    KeyslotsDamaged,
    NoKeychain,
    NoVault,
    VaultError,
    VersionTooNew,
    WrongPassphrase,
)
from vault.keys import MasterKey, new_vault_id
from vault.keyslots import Keyslots, PassphraseSlot
from vault.passphrase import DEFAULT_COST

Document = dict[str, Any]


class Notebook:
    """A keychain of the simplest kind; the real one has its own tests."""

    name = "Notebook"

    def __init__(self) -> None:
        self.items: dict[str, str] = {}

    def get(self, account: str) -> str | None:
        return self.items.get(account)

    def set(self, account: str, secret: str) -> None:
        self.items[account] = secret

    def delete(self, account: str) -> None:
        self.items.pop(account, None)


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


def parse(document: object) -> Keyslots:
    return Keyslots.parse(json.dumps(document).encode(), described="the file")


def same_key(one: MasterKey, other: MasterKey) -> bool:
    return one.expose() == other.expose() and one.vault_id == other.vault_id


def test_the_passphrase_opens_what_it_closed(master: MasterKey, document: Document, path: Path) -> None:
    slots = Keyslots.read(path)
    assert same_key(slots.open_with_passphrase(PASSPHRASE), master)
    assert slots.vault_id == master.vault_id


def test_the_keychain_opens_it_too(master: MasterKey, document: Document, keychain: Notebook, path: Path) -> None:
    slots = Keyslots.read(path)
    assert slots.has_keychain
    assert same_key(slots.open_with_keychain(keychain), master)


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
    assert not {one.id, one.nonce, one.wrapped, one.salt} & {other.id, other.nonce, other.wrapped, other.salt}


def test_an_empty_passphrase_makes_no_slot(master: MasterKey) -> None:
    with pytest.raises(VaultError, match="can't be empty"):
        Keyslots.first(master, "", CHEAP)


def test_each_change_counts_the_epoch(master: MasterKey, document: Document, keychain: Notebook) -> None:
    assert document["epoch"] == 2
    assert parse(document).with_keychain(master, keychain).epoch == 3


# Altered by somebody without the master key


def test_a_slot_moved_into_another_vault_opens_nothing(document: Document) -> None:
    other = MasterKey.generate(new_vault_id())
    foreign = json.loads(Keyslots.first(other, PASSPHRASE, CHEAP)._encoded(bytes(32)))
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
    "another slot's nonce": lambda d: d["slots"][1].update(nonce=flipped(d["slots"][1]["nonce"])),
    "another slot's key": lambda d: d["slots"][1].update(wrapped=flipped(d["slots"][1]["wrapped"])),
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


SLOT_ALTERATIONS: dict[str, Callable[[Document], object]] = {
    "id": lambda s: s.update(id="00000000"),
    "created": lambda s: s.update(created=s["created"] + 1),
    "created beyond any": lambda s: s.update(created=10**30),
    "nonce": lambda s: s.update(nonce=flipped(s["nonce"])),
    "wrapped": lambda s: s.update(wrapped=flipped(s["wrapped"])),
    "salt": lambda s: s.update(salt=flipped(s["salt"])),
    "memory": lambda s: s["cost"].update(memory_kib=65),
    "iterations": lambda s: s["cost"].update(iterations=2),
    "lanes": lambda s: s["cost"].update(lanes=2),
}


@pytest.mark.parametrize("alter", SLOT_ALTERATIONS.values(), ids=SLOT_ALTERATIONS.keys())
def test_a_slot_altered_in_any_field_opens_nothing(document: Document, alter: Callable[[Document], object]) -> None:
    alter(document["slots"][0])
    with pytest.raises(WrongPassphrase):
        parse(document).open_with_passphrase(PASSPHRASE)


@pytest.mark.parametrize("field", ["id", "created", "nonce", "wrapped", "account"])
def test_a_keychain_slot_altered_in_any_field_opens_nothing(
    document: Document, keychain: Notebook, field: str
) -> None:
    slot = document["slots"][1]
    (secret,) = keychain.items.values()
    keychain.set("elsewhere", secret)
    slot[field] = {
        **{"id": "00000000", "created": 1, "account": "elsewhere"},
        **{name: flipped(slot[name]) for name in ("nonce", "wrapped")},
    }[field]
    with pytest.raises(KeychainError, match="doesn't open this vault"):
        parse(document).open_with_keychain(keychain)


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


def test_more_slots_than_a_file_may_hold_are_refused_before_they_make_it_unreadable(
    master: MasterKey, keychain: Notebook, path: Path
) -> None:
    slots = Keyslots.first(master, PASSPHRASE, CHEAP)
    for _ in range(31):
        slots = slots.with_keychain(master, keychain)
    path.parent.mkdir()
    slots.write(path)
    assert same_key(Keyslots.read(path).open_with_passphrase(PASSPHRASE), master)
    kept = dict(keychain.items)
    with pytest.raises(VaultError, match="32 slots already"):
        slots.with_keychain(master, keychain)
    assert keychain.items == kept


# Files that are none


REFUSED: dict[str, Callable[[Document], object]] = {
    "duplicate ids": lambda d: d["slots"][1].update(id=d["slots"][0]["id"]),
    "no slots": lambda d: d.update(slots=[]),
    "too many slots": lambda d: d.update(slots=[{**d["slots"][1], "id": f"{n:08x}"} for n in range(33)]),
    "unknown kind": lambda d: d["slots"][0].update(kind="plaintext"),
    "unknown field": lambda d: d.update(comment="hello"),
    "unknown field of a slot": lambda d: d["slots"][0].update(key="0" * 64),
    "field missing": lambda d: d.pop("mac"),
    "another format": lambda d: d.update(format="openclaw-core/keyslot"),
    "version zero": lambda d: d.update(version=0),
    "version negative": lambda d: d.update(version=-1),
    "version fractional": lambda d: d.update(version=2.0),
    "version text": lambda d: d.update(version="1"),
    "epoch zero": lambda d: d.update(epoch=0),
    "vault id with capitals": lambda d: d.update(vault="A" * 32),
    "vault id too short": lambda d: d.update(vault="a" * 30),
    "vault id with a line end": lambda d: d.update(vault="a" * 32 + "\n"),
    "slot id with a line end": lambda d: d["slots"][0].update(id="0123abcd\n"),
    "nonce too short": lambda d: d["slots"][0].update(nonce="AAAA"),
    "nonce not base64": lambda d: d["slots"][0].update(nonce="!" * 16),
    "key too short": lambda d: d["slots"][0].update(wrapped="AAAA"),
    "salt too short": lambda d: d["slots"][0].update(salt="AAAA"),
    "mac too short": lambda d: d.update(mac="AAAA"),
    "another kdf": lambda d: d["slots"][0]["cost"].update(name="argon2i"),
    "created before 1970": lambda d: d["slots"][0].update(created=-1),
    "account too long": lambda d: d["slots"][1].update(account="x" * 201),
    "memory of a terabyte": lambda d: d["slots"][0]["cost"].update(memory_kib=2**30),
    "memory and passes beyond patience": lambda d: d["slots"][0]["cost"].update(memory_kib=2**22, iterations=100),
    "a billion passes": lambda d: d["slots"][0]["cost"].update(iterations=10**9),
    "no passes": lambda d: d["slots"][0]["cost"].update(iterations=0),
    "a thousand lanes": lambda d: d["slots"][0]["cost"].update(lanes=1000),
    "more lanes than memory": lambda d: d["slots"][0]["cost"].update(lanes=64),
    "no memory": lambda d: d["slots"][0]["cost"].update(memory_kib=0),
}


@pytest.mark.parametrize("alter", REFUSED.values(), ids=REFUSED.keys())
def test_a_file_that_no_vault_wrote_is_refused_when_read(
    document: Document, alter: Callable[[Document], object]
) -> None:
    alter(document)
    with pytest.raises(KeyslotsDamaged, match="doesn't parse"):
        parse(document)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 100,
        b"\xff\xfe\xfd",
        b"[]",
        b"null",
        b"{}",
        b'{"format": "openclaw-core/keyslots"}',
        b'{"format": "\\ud800"}',
        b"[" * 500_000,
        b'{"a":' * 200_000,
        b'{"format": "openclaw-core/keyslots", "version": 1e999}',
    ],
)
def test_garbage_is_refused(content: bytes) -> None:
    with pytest.raises(KeyslotsDamaged, match="doesn't parse"):
        Keyslots.parse(content, described="the file")


def test_a_file_of_a_newer_version_is_not_called_damaged(document: Document) -> None:
    with pytest.raises(VersionTooNew, match="newer version"):
        parse({**document, "version": 2, "slots": "in a form yet unknown", "more": 1})


def test_a_file_larger_than_any_of_ours_is_refused_even_if_it_parses(document: Document) -> None:
    content = json.dumps(document).encode()
    Keyslots.parse(content + b" " * 1000, described="the file")
    with pytest.raises(KeyslotsDamaged, match="doesn't parse"):
        Keyslots.parse(content + b" " * 2**20, described="the file")


def test_a_huge_file_is_not_read_whole(document: Document, path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(2**40)  # sparse: reading all of it would take a terabyte
    with pytest.raises(KeyslotsDamaged, match="doesn't parse"):
        Keyslots.read(path)


@pytest.mark.parametrize("kept", [0, 1, 100, -1, -3])
def test_a_truncated_file_is_refused_with_the_way_to_its_backup(document: Document, path: Path, kept: int) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:kept] if kept >= 0 else whole.rstrip()[:kept])
    with pytest.raises(KeyslotsDamaged, match="doesn't parse") as refused:
        Keyslots.read(path)
    assert refused.value.hint.endswith(f"cp '{path}.backup' '{path}'")
    assert refused.value.exit_code == 6


@given(st.binary(max_size=500))
def test_no_bytes_make_more_than_our_own_errors(content: bytes) -> None:
    with contextlib.suppress(KeyslotsDamaged, VersionTooNew):
        Keyslots.parse(content, described="the file")


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), st.integers(), max_size=2),
)
PLACES = [
    *(("format",), ("version",), ("vault",), ("epoch",), ("slots",), ("mac",), ("slots", 0), ("slots", 1)),
    *(("slots", 0, field) for field in ("kind", "id", "created", "nonce", "wrapped", "salt", "cost")),
    *(("slots", 0, "cost", field) for field in ("name", "iterations", "lanes")),
    ("slots", 1, "account"),
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PLACES), JUNK)
def test_no_value_in_a_real_file_makes_more_than_our_own_errors(
    master: MasterKey, document: Document, place: tuple[str | int, ...], value: object
) -> None:
    altered = json.loads(json.dumps(document))
    *way, last = place
    target = altered
    for step in way:
        target = target[step]
    target[last] = value
    only_our_own_errors(master, json.dumps(altered).encode())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_bytes_changed_in_a_real_file_make_more_than_our_own_errors(
    master: MasterKey, document: Document, data: st.DataObject
) -> None:
    content = json.dumps(document).encode()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(start + 20, len(content))))
    only_our_own_errors(master, content[:start] + data.draw(st.binary(max_size=20)) + content[end:])


def only_our_own_errors(master: MasterKey, content: bytes) -> None:
    try:
        slots = Keyslots.parse(content, described="the file")
    except (KeyslotsDamaged, VersionTooNew):
        return
    if any(isinstance(slot, PassphraseSlot) and slot.cost.memory_kib > 1024 for slot in slots.slots):
        return  # parses, and would only be slow
    try:
        opened = slots.open_with_passphrase(PASSPHRASE)
    except (KeyslotsDamaged, WrongPassphrase):
        return
    assert same_key(opened, master)


# The file and its backup


def test_the_backup_is_a_copy_that_opens(master: MasterKey, document: Document, path: Path) -> None:
    backup = path.with_name("keyslots.json.backup")
    path.write_bytes(b"a crash of another program")
    with pytest.raises(KeyslotsDamaged):
        Keyslots.read(path)
    backup.rename(path)
    assert same_key(Keyslots.read(path).open_with_passphrase(PASSPHRASE), master)


def test_a_missing_file_beside_its_backup_is_damage_with_its_mend(document: Document, path: Path) -> None:
    path.unlink()
    with pytest.raises(KeyslotsDamaged, match="is missing") as refused:
        Keyslots.read(path)
    assert refused.value.hint.endswith(f"cp '{path}.backup' '{path}'")


def test_a_vaults_folder_without_slots_is_damage_and_not_a_home_without_vault(
    document: Document, path: Path
) -> None:
    path.unlink()
    path.with_name("keyslots.json.backup").unlink()
    with pytest.raises(KeyslotsDamaged, match="is missing"):
        Keyslots.read(path)


def test_no_folder_is_no_vault(path: Path) -> None:
    with pytest.raises(NoVault, match="no vault here") as refused:
        Keyslots.read(path)
    assert "claw vault init" in refused.value.hint
    assert refused.value.exit_code == 3


def test_a_folder_in_the_files_place_is_damage(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(KeyslotsDamaged, match="Is a directory"):
        Keyslots.read(path)


def test_a_file_written_twice_leaves_nothing_but_itself_and_its_backup(document: Document, path: Path) -> None:
    Keyslots.read(path).write(path)
    names = sorted(file.name for file in path.parent.iterdir())
    assert names == ["keyslots.json", "keyslots.json.backup"]
    assert path.read_bytes() == path.with_name("keyslots.json.backup").read_bytes()


def test_no_error_tells_a_secret(master: MasterKey, document: Document, keychain: Notebook) -> None:
    (secret,) = keychain.items.values()
    for alter in (*ALTERATIONS.values(), *REFUSED.values()):
        altered = json.loads(json.dumps(document))
        alter(altered)
        try:
            parse(altered).open_with_passphrase(PASSPHRASE)
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
    replace_file(path, Keyslots.first(other, "the thief's own", CHEAP)._encoded(bytes(32)))
    with pytest.raises(WrongPassphrase):
        Keyslots.read(path).open_with_passphrase(PASSPHRASE)
