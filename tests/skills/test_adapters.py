"""What a person does with trained adapters: each change is logged in numbers, and a file of one is theirs alone."""

import stat
from pathlib import Path

import msgspec
import pytest

from skills.adapters import Adapters
from skills.errors import AdapterChoice
from skills.examples import Examples
from tests.fixtures.databases import decrypted
from vault.adapter_store import AdapterKind, AdapterRecord, AdapterStore, TrainedAdapter
from vault.classes import DataClass, HighlySensitive
from vault.errors import NotFound, VaultError
from vault.home import Home
from vault.log.entries import Action, Status
from vault.retention import Retained
from vault.settings import Settings
from vault.store import Vault

BASE, OTHER_BASE = "ab" * 32, "cd" * 32
TRAINED = TrainedAdapter("a-skill", BASE, AdapterKind.FFA, 8, 184_320, ())


@pytest.fixture
def adapters(vault: Vault) -> Adapters:
    return Adapters(vault)


@pytest.fixture
def examples(vault: Vault) -> Examples:
    return Examples(vault, Settings().skills)


def put(vault: Vault, **changes: object) -> AdapterRecord:
    store, trained = AdapterStore(vault.database), msgspec.structs.replace(TRAINED, **changes)
    return store.get(vault.database.write(lambda c: store.put(c, trained, HighlySensitive(b"GGUF weights"))))


def active(adapters: Adapters) -> list[int]:
    return [record.version for record in adapters.records() if record.active]


def logged(vault: Vault) -> list[str]:
    """What the log says of adapters, the newest first."""
    entries = [stored.entry for stored in vault.log.entries() if stored.entry]
    found = [entry for entry in entries if entry.action is Action.SKILL and entry.purpose == "trained adapters"]
    assert all(entry.data_class is DataClass.HIGHLY_SENSITIVE for entry in found)
    return [entry.description for entry in found]


def test_the_way_back_and_forth_is_logged_by_versions(vault: Vault, adapters: Adapters) -> None:
    first, second = put(vault), put(vault)
    assert active(adapters) == [2]
    before, after = adapters.roll_back("a-skill")
    assert (before.id, after and after.id) == (second.id, first.id)
    assert active(adapters) == [1]
    assert adapters.use(second.id).version == 2
    assert active(adapters) == [2]
    assert adapters.switch_off("a-skill", BASE).id == second.id
    assert active(adapters) == []
    adapters.use(first.id)
    assert adapters.roll_back("a-skill") == (msgspec.structs.replace(first, active=True), None)
    assert active(adapters) == []
    assert logged(vault) == [
        "rolled back from version 1 to none",
        "version 1 put to use",
        "version 2 switched off",
        "version 2 put to use",
        "rolled back from version 2 to version 1",
    ]


def test_what_is_not_in_use_cannot_be_rolled_back(vault: Vault, adapters: Adapters) -> None:
    put(vault)
    for skill, base in (("another", ""), ("a-skill", OTHER_BASE)):
        with pytest.raises(NotFound, match="in use"):
            adapters.roll_back(skill, base)
        with pytest.raises(NotFound, match="in use"):
            adapters.switch_off(skill, base)
    assert active(adapters) == [1]
    assert logged(vault) == []


def test_of_several_models_one_has_to_be_named(vault: Vault, adapters: Adapters) -> None:
    put(vault)
    other = put(vault, base_sha256=OTHER_BASE)
    with pytest.raises(AdapterChoice) as refused:
        adapters.roll_back("a-skill")
    assert "--model" in refused.value.hint
    assert adapters.roll_back("a-skill", OTHER_BASE)[0].id == other.id
    assert adapters.roll_back("a-skill")[0].base_sha256 == BASE


def test_what_is_removed_leaves_nothing_in_the_pages(vault: Vault, home: Home, adapters: Adapters) -> None:
    ids = [put(vault).id for _ in range(3)]
    parts = "SELECT adapter, data FROM skill_adapter_parts"
    sealed = {row[0]: bytes(row[1]) for row in vault.database.read(lambda c: c.execute(parts).fetchall())}
    done = adapters.delete([ids[0], ids[2]])
    assert (done.removed, [record.id for record in done.unused], done.left) == (2, [ids[2]], "")
    assert [record.id for record in adapters.records()] == [ids[1]]
    assert active(adapters) == []
    plain = decrypted(home.database, vault._master.derive("database"))
    assert {name for name, data in sealed.items() if data in plain} == {ids[1]}
    assert logged(vault) == ["2 removed"]


def test_an_id_that_is_not_there_and_nothing_is_removed(vault: Vault, adapters: Adapters) -> None:
    kept = put(vault)
    with pytest.raises(NotFound, match="nothing was removed"):
        adapters.delete([kept.id, "0000000000"])
    assert adapters.records() == [kept]
    assert logged(vault) == []


def test_a_file_of_one_is_logged_first_and_its_owners_alone(
    vault: Vault, adapters: Adapters, tmp_path: Path
) -> None:
    record, file = put(vault), tmp_path / "mine.gguf"
    assert adapters.export(record.id, file) == record
    assert file.read_bytes() == b"GGUF weights"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    done, prepared = (stored.entry for stored in vault.log.entries(2))
    assert done is not None
    assert prepared is not None
    assert (prepared.action, prepared.status, done.status) == (Action.EXPORT, Status.PREPARED, Status.DONE)
    assert (done.bytes, done.payload_sha256, done.data_class) == (12, record.sha256, DataClass.HIGHLY_SENSITIVE)
    with pytest.raises(VaultError, match="there already"):
        adapters.export(record.id, file)
    with pytest.raises(NotFound):
        adapters.export("0000000000", tmp_path / "other.gguf")
    assert [path.name for path in tmp_path.glob("*.gguf")] == ["mine.gguf"]


def test_a_folder_is_logged_before_its_first_byte_and_appears_whole(
    vault: Vault, adapters: Adapters, tmp_path: Path
) -> None:
    folder = tmp_path / "peft"
    adapters.export_folder({"a.json": b"{}", "b.safetensors": b"numbers"}, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "a.json": b"{}",
        "b.safetensors": b"numbers",
    }
    done, prepared = (stored.entry for stored in vault.log.entries(2))
    assert done is not None
    assert prepared is not None
    assert (prepared.action, prepared.status, done.status) == (Action.EXPORT, Status.PREPARED, Status.DONE)
    assert (done.bytes, done.data_class) == (9, DataClass.HIGHLY_SENSITIVE)
    with pytest.raises(VaultError, match="there already"):
        adapters.export_folder({"a.json": b"{}"}, folder)
    with pytest.raises(VaultError, match="keeps its own files"):
        adapters.export_folder({"a.json": b"{}"}, vault.home.vault / "peft")


def test_erasing_a_source_takes_what_learned_from_it(vault: Vault, adapters: Adapters, examples: Examples) -> None:
    theirs = examples.add("a-skill", "a", "b", source="diagnosis.txt")
    mine = examples.add("a-skill", "c", "d", source="recipe.txt")
    stays = put(vault, learned_from=(mine,))
    put(vault, learned_from=(mine, theirs))
    plan = vault.erasure.of_source("diagnosis.txt")
    assert [record.version for record in plan.adapters] == [2]
    put(vault, learned_from=(theirs,))  # trained while the person thinks it over
    receipt = vault.erasure.carry_out(plan)
    assert str(receipt.erased) == "1 training example, 2 trained adapters"
    assert [record.id for record in adapters.records()] == [stays.id]


def test_what_learned_from_a_source_goes_with_it_also_when_the_examples_went_before(
    vault: Vault, adapters: Adapters, examples: Examples
) -> None:
    theirs = examples.add("a-skill", "a", "b", source="diagnosis.txt")
    record = put(vault, learned_from=(theirs,))
    assert examples.delete([theirs]).learned == (record,)
    assert adapters.records() == [record]
    assert str(vault.erasure.carry_out(vault.erasure.of_source("diagnosis.txt")).erased) == "1 trained adapter"
    assert adapters.records() == []


def test_they_are_kept_until_erased_unless_the_person_says_otherwise(vault: Vault, adapters: Adapters) -> None:
    record = put(vault)
    day = 24 * 3600 * 1000
    assert vault.retention.run(record.created_ms + 3650 * day).erased.adapters == 0
    vault.retention.set(Retained.ADAPTERS, 30)
    assert vault.retention.run(record.created_ms + 29 * day).erased.adapters == 0
    assert str(vault.retention.run(record.created_ms + 31 * day)) == "erased 1 trained adapter"
    assert adapters.records() == []
