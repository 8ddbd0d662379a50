"""Adapters at rest: sealed in parts, one of them active, and gone with what they learned from."""

import math
import os

import msgspec
import pytest

from tests.fixtures.databases import decrypted
from vault import adapter_store
from vault.adapter_store import (
    MOST_BYTES,
    AdapterKind,
    AdapterRecord,
    AdapterStore,
    TrainedAdapter,
    adapters_learned_from,
)
from vault.classes import HighlySensitive
from vault.errors import DatabaseDamaged, NotFound, VaultError
from vault.example_store import ExampleKind, ExampleStore, remove_examples
from vault.home import Home
from vault.store import Vault

BASE, OTHER_BASE = "ab" * 32, "cd" * 32
TRAINED = TrainedAdapter("a-skill", BASE, AdapterKind.FFA, 8, 184_320, (), 3.27, 2.97)
WEIGHTS = b"GGUF the canary sang of pomegranates"


@pytest.fixture
def store(vault: Vault) -> AdapterStore:
    return AdapterStore(vault.database)


def put(vault: Vault, data: bytes = WEIGHTS, **changes: object) -> str:
    trained = msgspec.structs.replace(TRAINED, **changes)
    return vault.database.write(lambda c: AdapterStore(vault.database).put(c, trained, HighlySensitive(data)))


def example(vault: Vault, source: str = "") -> str:
    texts = "in", "out"
    return vault.database.write(
        lambda c: ExampleStore(vault.database).put(c, "a-skill", ExampleKind.ADDED, texts, source)
    )


def active(store: AdapterStore) -> int | None:
    record = store.active("a-skill", BASE)
    return record.version if record else None


def test_what_was_kept_is_told_and_opened_again(vault: Vault, store: AdapterStore) -> None:
    adapter_id = put(vault, learned_from=(example(vault), example(vault)))
    record = store.get(adapter_id)
    assert store.records() == store.records("a-skill") == [record]
    assert store.records("another") == []
    assert (record.version, record.active, record.bytes, record.examples) == (1, True, len(WEIGHTS), 2)
    assert (record.kind, record.rank, record.parameters) == (AdapterKind.FFA, 8, 184_320)
    assert (record.loss_before, record.loss_after) == (3.27, 2.97)
    assert store.content(adapter_id).reveal() == WEIGHTS


def test_weights_are_in_the_file_in_no_form_that_can_be_read(vault: Vault, home: Home) -> None:
    put(vault)
    assert vault.integrity_errors() == []  # folds the log into the file
    plain = decrypted(home.database, vault._master.derive("database"))
    assert b"a-skill" in plain
    assert WEIGHTS not in plain


def test_a_large_one_is_sealed_in_parts_that_open_in_their_order_alone(
    vault: Vault, store: AdapterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_store, "PART_BYTES", 1000)
    data = os.urandom(2500)
    adapter_id = put(vault, data)
    assert store.content(adapter_id).reveal() == data
    parts = "SELECT part, octet_length(data) FROM skill_adapter_parts ORDER BY part"
    rows = vault.database.read(lambda c: c.execute(parts).fetchall())
    assert [part for part, _ in rows] == [0, 1, 2]
    assert rows[0][1] == rows[1][1] > 1000 > rows[2][1]
    vault.database.write(lambda c: c.execute("DELETE FROM skill_adapter_parts WHERE part = 2").rowcount)
    with pytest.raises(DatabaseDamaged, match="missing"):
        store.content(adapter_id)
    swap = "UPDATE skill_adapter_parts SET data = (SELECT data FROM skill_adapter_parts WHERE part = 1)"
    vault.database.write(lambda c: c.execute(swap).rowcount)
    with pytest.raises(DatabaseDamaged, match="moved there"):
        store.content(adapter_id)


@pytest.mark.parametrize("size", [0, MOST_BYTES + 1])
def test_what_is_empty_or_larger_than_the_limit_is_not_kept(vault: Vault, store: AdapterStore, size: int) -> None:
    with pytest.raises(VaultError, match="isn't kept"):
        put(vault, bytes(size))
    assert store.records() == []


@pytest.mark.parametrize(
    "changes",
    [{"skill": "No Name"}, {"base_sha256": "AB" * 32}, {"rank": 0}, {"parameters": 0}, {"loss_after": math.nan}],
)
def test_what_makes_no_sense_is_not_kept(vault: Vault, store: AdapterStore, changes: dict[str, object]) -> None:
    with pytest.raises(VaultError, match="makes no sense"):
        put(vault, WEIGHTS, **changes)
    assert store.records() == []


def test_losses_may_be_unknown(vault: Vault, store: AdapterStore) -> None:
    record = store.get(put(vault, loss_before=None, loss_after=None))
    assert record.loss_before is record.loss_after is None


def test_the_newest_is_used_and_one_for_each_skill_and_model(vault: Vault, store: AdapterStore) -> None:
    put(vault)
    put(vault)
    put(vault, base_sha256=OTHER_BASE)
    put(vault, skill="another")
    assert [(r.skill, r.base_sha256, r.version, r.active) for r in store.records()] == [
        ("a-skill", BASE, 1, False),
        ("a-skill", BASE, 2, True),
        ("a-skill", OTHER_BASE, 1, True),
        ("another", BASE, 1, True),
    ]
    assert store.active("a-skill", "ef" * 32) is None


def test_one_that_is_not_to_be_used_leaves_the_one_that_is(vault: Vault, store: AdapterStore) -> None:
    put(vault)
    weights = HighlySensitive(WEIGHTS)
    newest = vault.database.write(lambda c: store.put(c, TRAINED, weights, use=False))
    assert (store.get(newest).version, store.get(newest).active, active(store)) == (2, False, 1)


def test_rolling_back_passes_over_what_was_found_no_better(vault: Vault, store: AdapterStore) -> None:
    put(vault)
    put(vault, loss_after=3.27)
    put(vault, loss_after=4.0)
    put(vault, loss_before=None, loss_after=None)
    put(vault)

    def back() -> int | None:
        record = store.active("a-skill", BASE)
        assert record is not None
        vault.database.write(lambda c: AdapterStore.roll_back(c, record))
        return active(store)

    assert [back(), back(), back()] == [4, 1, None]


def test_rolling_back_goes_down_to_the_version_below_and_then_to_none(vault: Vault, store: AdapterStore) -> None:
    ids = [put(vault) for _ in range(4)]
    vault.database.write(lambda c: AdapterStore.remove(c, [ids[2]]))

    def back() -> AdapterRecord | None:
        record = store.active("a-skill", BASE)
        assert record is not None
        return vault.database.write(lambda c: AdapterStore.roll_back(c, record))

    assert [back(), active(store)] == [store.get(ids[1]), 2]
    assert [back(), active(store)] == [store.get(ids[0]), 1]
    assert [back(), active(store)] == [None, None]
    vault.database.write(lambda c: AdapterStore.activate(c, ids[3]))
    assert active(store) == 4


def test_one_that_is_switched_off_is_kept(vault: Vault, store: AdapterStore) -> None:
    adapter_id = put(vault)
    assert vault.database.write(lambda c: AdapterStore.deactivate(c, "a-skill", BASE))
    assert not vault.database.write(lambda c: AdapterStore.deactivate(c, "a-skill", BASE))
    assert active(store) is None
    assert store.content(adapter_id).reveal() == WEIGHTS


def test_removing_one_leaves_nothing_of_it(vault: Vault, store: AdapterStore) -> None:
    adapter_id = put(vault, learned_from=(example(vault),))
    assert vault.database.write(lambda c: AdapterStore.remove(c, [adapter_id, "nothing"])) == 1
    for table in ("skill_adapters", "skill_adapter_parts", "skill_adapter_examples"):
        query = f"SELECT * FROM {table}"
        assert vault.database.read(lambda c, query=query: c.execute(query).fetchall()) == []  # type: ignore[misc]
    with pytest.raises(NotFound):
        store.content(adapter_id)
    with pytest.raises(NotFound):
        vault.database.write(lambda c: AdapterStore.activate(c, adapter_id))


def test_what_learned_from_an_example_that_is_gone_is_not_kept(vault: Vault, store: AdapterStore) -> None:
    gone = example(vault)
    before = put(vault)
    vault.database.write(lambda c: remove_examples(c, [gone], 1))
    with pytest.raises(NotFound, match="removed meanwhile"):
        put(vault, learned_from=(gone,))
    assert [record.id for record in store.records()] == [before]
    assert active(store) == 1


def test_it_is_known_what_an_adapter_learned_from_after_the_examples_went(vault: Vault) -> None:
    there, gone = example(vault, "kept.txt"), example(vault, "import:gone.jsonl")
    one, both = put(vault, learned_from=(there,)), put(vault, learned_from=(there, gone))
    vault.database.write(lambda c: remove_examples(c, [gone], 1))

    def learned(*examples: str, source: str = "") -> set[str]:
        return {r.id for r in vault.database.read(lambda c: adapters_learned_from(c, examples, source))}

    assert learned(there) == learned(source="kept.txt") == {one, both}
    assert learned(gone) == learned(source="gone.jsonl") == {both}
    assert learned("other", source="other.txt") == learned() == set()
