"""Files that are no key slots of ours, and the backup beside the file."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.fixtures.slots import OLD_FILE, OLD_MASTER, Document, Notebook, opens, parse, same_key, two_of_three
from vault.errors import KeyslotsDamaged, NoVault, VersionTooNew, WrongPassphrase
from vault.keys import MasterKey, new_vault_id
from vault.keyslots import Keyslots
from vault.slot_kinds import HardwareSlot, PassphraseSlot, SymmetricPassphraseSlot, encode
from vault.wrapping import wrap


@pytest.fixture(scope="module")
def master() -> MasterKey:
    return MasterKey.generate(new_vault_id())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault" / "keyslots.json"


@pytest.fixture
def document(master: MasterKey, path: Path) -> Document:
    """A file with a slot of each kind, as JSON; it also lies at `path`."""
    path.parent.mkdir()
    slots, _ = two_of_three(master, Keyslots.first(master, PASSPHRASE, CHEAP).with_keychain(master, Notebook()))
    slots = slots.with_slot(master, on_a_token(master))
    slots.write(path)
    found: Document = json.loads(path.read_bytes())
    return found


def on_a_token(master: MasterKey) -> HardwareSlot:
    """A slot as a token would have made it."""
    unsealed = ("", "", "", "")
    blank = HardwareSlot(
        "01234567", 1, *unsealed, "token", "1", "key", "aes-gcm", encode(bytes(12)), encode(bytes(48))
    )
    return wrap(master, bytes(32), blank)


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
    "version fractional": lambda d: d.update(version=3.0),
    "version one": lambda d: d.update(version=1),
    "a slot of version one among the others": lambda d: d["slots"].append(json.loads(OLD_FILE)["slots"][0]),
    "a slot of today among the symmetric": lambda d: d["symmetric"].append(d["slots"].pop()),
    "no list of symmetric slots": lambda d: d.pop("symmetric"),
    "an id shared with a symmetric slot": lambda d: d["symmetric"].append(
        {**json.loads(OLD_FILE)["slots"][0], "id": d["slots"][0]["id"]}
    ),
    "version text": lambda d: d.update(version="1"),
    "epoch zero": lambda d: d.update(epoch=0),
    "vault id with capitals": lambda d: d.update(vault="A" * 32),
    "vault id too short": lambda d: d.update(vault="a" * 30),
    "vault id with a line end": lambda d: d.update(vault="a" * 32 + "\n"),
    "slot id with a line end": lambda d: d["slots"][0].update(id="0123abcd\n"),
    "public key too short": lambda d: d["slots"][0].update(public="AAAA"),
    "public key not base64": lambda d: d["slots"][0].update(public="!" * 44),
    "sealed key too short": lambda d: d["slots"][0].update(sealed="AAAA"),
    "held key too short": lambda d: d["slots"][0].update(held="AAAA"),
    "tag too short": lambda d: d["slots"][0].update(tag="AAAA"),
    "salt too short": lambda d: d["slots"][0].update(salt="AAAA"),
    "mac too short": lambda d: d.update(mac="AAAA"),
    "another kdf": lambda d: d["slots"][0]["cost"].update(name="argon2i"),
    "created before 1970": lambda d: d["slots"][0].update(created=-1),
    "account too long": lambda d: d["slots"][1].update(account="x" * 201),
    "more shares needed than made": lambda d: d["slots"][2].update(threshold=4),
    "more shares than there can be": lambda d: d["slots"][2].update(shares=17),
    "no shares": lambda d: d["slots"][2].update(threshold=0),
    "an identifier beyond any": lambda d: d["slots"][2].update(identifier=2**15),
    "check too short": lambda d: d["slots"][2].update(check="AAAA"),
    "unknown mechanism": lambda d: d["slots"][3].update(mechanism="rsa-pkcs1"),
    "a nonce for RSA": lambda d: d["slots"][3].update(mechanism="rsa-oaep"),
    "no nonce for AES": lambda d: d["slots"][3].update(nonce=""),
    "token's secret too short": lambda d: d["slots"][3].update(secret="AAAA"),
    "no token": lambda d: d["slots"][3].update(token=""),
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
        parse({**document, "version": 3, "slots": "in a form yet unknown", "more": 1})


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
    *(("format",), ("version",), ("vault",), ("epoch",), ("slots",), ("symmetric",), ("mac",)),
    *(("slots", n) for n in range(4)),
    *(("slots", 0, field) for field in ("kind", "id", "created", "public", "sealed", "held", "tag")),
    *(("slots", 0, field) for field in ("salt", "cost")),
    *(("slots", 0, "cost", field) for field in ("name", "iterations", "lanes")),
    ("slots", 1, "account"),
    *(("slots", 2, field) for field in ("threshold", "shares", "identifier", "check")),
    *(("slots", 3, field) for field in ("token", "serial", "key", "mechanism", "nonce", "secret")),
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


@given(st.data())
def test_no_bytes_changed_in_a_file_of_version_1_make_more_than_our_own_errors(data: st.DataObject) -> None:
    content = OLD_FILE.encode()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(start + 20, len(content))))
    only_our_own_errors(OLD_MASTER, content[:start] + data.draw(st.binary(max_size=20)) + content[end:])


def only_our_own_errors(master: MasterKey, content: bytes) -> None:
    try:
        slots = Keyslots.parse(content, described="the file")
    except (KeyslotsDamaged, VersionTooNew):
        return
    stretched = [slot for slot in slots.slots if isinstance(slot, PassphraseSlot | SymmetricPassphraseSlot)]
    if any(slot.cost.memory_kib > 1024 for slot in stretched):
        return  # parses, and would only be slow
    try:
        opening = slots.open_with_passphrase(PASSPHRASE)
    except (KeyslotsDamaged, WrongPassphrase):
        return
    assert same_key(opening.master, master)


# The file and its backup


def test_the_backup_is_a_copy_that_opens(master: MasterKey, document: Document, path: Path) -> None:
    backup = path.with_name("keyslots.json.backup")
    path.write_bytes(b"a crash of another program")
    with pytest.raises(KeyslotsDamaged):
        Keyslots.read(path)
    backup.rename(path)
    assert opens(Keyslots.read(path), master)


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
