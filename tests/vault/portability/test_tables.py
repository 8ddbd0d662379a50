"""Rows as JSON lines: the same bytes each time, and nothing read that the vault couldn't have written."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vault.portability.conftest import CANARY, rows_of
from vault.classes import HighlySensitive
from vault.connection import Connection
from vault.database import Database
from vault.errors import DatabaseDamaged, ImportRefused
from vault.inventory import TABLES, Travels
from vault.portability.tables import Rows
from vault.store import Vault

Result = TypeVar("Result")

SESSION: dict[str, Any] = {
    "n": 1,
    "id": "0123456789",
    "title": "t",
    "system_prompt": "",
    "created_ms": 1,
    "updated_ms": 2,
    "head": None,
    "forked_from": None,
    "archived_ms": None,
    "source": "",
}
ATTACHMENT = {"n": 1, "message_id": "0123456789abcdef", "name": "a", "text": "t"}
GENERATION = {
    "message_id": "0123456789abcdef",
    "model_name": "m",
    "model_sha256": "",
    "adapter_sha256": None,
    "sampling": "{}",
    "finish": "stop",
    "prompt_tokens": 1,
    "cached_tokens": 1,
    "completion_tokens": 1,
    "load_s": 0.5,
    "prefill_s": 1,
    "decode_s": 1.5,
    "first_token_s": 0.1,
    "tokens": {"base64": "AAAAAA=="},
}
MODEL = {
    "name": "m",
    "file": "m.gguf",
    "sha256": "ab" * 32,
    "bytes": 1,
    "source": "",
    "architecture": "",
    "context_length": 1,
    "parameters": 1,
    "quantization": "",
    "licence": "",
    "added_ms": 1,
}
ROWS: dict[str, dict[str, Any]] = {
    "sessions": SESSION,
    "attachments": ATTACHMENT,
    "generations": GENERATION,
    "models": MODEL,
}


def parse(table: str, row: object) -> dict[str, Any]:
    line = msgspec.json.encode(row)
    return in_rows(table, lambda rows: dict[str, Any](rows.parse(line, "f, line 3")))


def in_rows(table: str, work: Callable[[Rows], Result]) -> Result:
    database = Database.in_memory()
    try:
        return database.read(lambda connection: work(Rows(connection, table, database.fields)))
    finally:
        database.close()


def test_every_row_of_every_table_survives_the_way_out_and_in(furnished: Vault) -> None:
    tables = [name for name, table in TABLES.items() if table.travels is not Travels.NOWHERE]
    lines = rows_of(furnished, *tables)
    assert all(lines.values()), "a table without a row shows nothing"
    database = Database.in_memory()

    def fill(connection: Connection) -> dict[str, list[bytes]]:
        connection.execute("PRAGMA defer_foreign_keys=ON")
        for name in tables:
            rows = Rows(connection, name, database.fields)
            for line in lines[name]:
                rows.insert(rows.parse(line, name))
        return {name: list(Rows(connection, name, database.fields).lines()) for name in tables}

    assert database.write(fill) == lines
    database.close()


def test_sealed_fields_are_opened_and_sealed_again_for_their_new_place(furnished: Vault) -> None:
    def look(connection: Connection) -> tuple[bytes, dict[str, Any]]:
        rows = Rows(connection, "attachments", furnished.database.fields)
        (line,) = rows.lines()
        values = rows.parse(line, "")
        rows.insert({**values, "n": 77})
        (stored,) = connection.execute("SELECT text FROM attachments WHERE n = 77").fetchall()
        return stored[0], values

    stored, values = furnished.database.write(look)
    assert isinstance(values["text"], HighlySensitive)
    assert CANARY.encode() not in stored
    fields = furnished.database.fields
    assert fields.open("attachments", "77", "text", stored).reveal() == values["text"].reveal()
    with pytest.raises(DatabaseDamaged):
        fields.open("attachments", "1", "text", stored)


def test_a_row_without_a_number_gets_the_next(furnished: Vault) -> None:
    def add(connection: Connection) -> list[Any]:
        rows = Rows(connection, "sessions", furnished.database.fields)
        rows.insert({name: value for name, value in SESSION.items() if name != "n"})
        return connection.execute("SELECT n FROM sessions ORDER BY n").fetchall()

    assert furnished.database.write(add) == [(2,), (3,), (4,)]


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("sessions", "n", None),
        ("sessions", "n", True),
        ("sessions", "n", 1.5),
        ("sessions", "n", "1"),
        ("sessions", "n", 1 << 63),
        ("sessions", "created_ms", None),
        ("sessions", "created_ms", -1),
        ("sessions", "created_ms", 253_402_300_800_000),
        ("sessions", "title", 5),
        ("sessions", "title", {"base64": "AA=="}),
        ("sessions", "id", "../../etc"),
        ("sessions", "id", "\u202e"),
        ("sessions", "id", "x" * 65),
        ("sessions", "head", "a b"),
        ("sessions", "unheard_of", 1),
        ("attachments", "text", None),
        ("attachments", "text", 5),
        ("attachments", "text", {"base64": "/w=="}),
        ("attachments", "text", {"base64": "not base 64"}),
        ("attachments", "text", {"base64": "AA==", "more": 1}),
        ("generations", "sampling", "[]"),
        ("generations", "sampling", "nothing"),
        ("generations", "tokens", {"base64": "AAAA"}),
        ("generations", "tokens", "AAAA"),
        ("generations", "load_s", "1"),
        ("generations", "load_s", False),
        ("models", "file", "../weights.gguf"),
        ("models", "file", ".."),
        ("models", "file", "a\\b"),
        ("models", "name", "\x1b]52;c;AA\x07"),
        ("models", "name", ""),
        ("models", "name", "../up"),
        ("models", "name", "Of My Own"),
        ("models", "name", "x" * 81),
        ("models", "name", "smollm2-135m-instruct"),
        ("models", "sha256", "AB" * 32),
    ],
)
def test_a_value_that_the_vault_never_writes_is_refused_with_its_place(
    table: str, column: str, value: object
) -> None:
    assert parse(table, ROWS[table])
    with pytest.raises(ImportRefused, match=r"^f, line 3: "):
        parse(table, {**ROWS[table], column: value})


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"5", b"{", b'{"n":1}', b'"x"', b"\xff", b"null", b"[" * 100_000, b'{"n":' * 100_000]
)
def test_a_line_that_is_no_row_is_refused(line: bytes) -> None:
    with pytest.raises(ImportRefused):
        in_rows("sessions", lambda rows: rows.parse(line, "f, line 3"))


def test_a_column_that_has_a_default_may_be_missing_as_in_an_older_export() -> None:
    old = {name: value for name, value in SESSION.items() if name not in ("source", "archived_ms")}
    assert "source" not in parse("sessions", old)
    with pytest.raises(ImportRefused, match="title is missing"):
        parse("sessions", {name: value for name, value in SESSION.items() if name != "title"})


def test_numbers_keep_every_digit() -> None:
    for number in (0.1, 1e-300, 1.7976931348623157e308, 5e-324, -0.0, 3.0):
        again = parse("generations", {**GENERATION, "load_s": number})["load_s"]
        assert math.copysign(1, again) == math.copysign(1, number)
        assert again == number
    assert parse("sessions", {**SESSION, "n": (1 << 63) - 1})["n"] == (1 << 63) - 1


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(data=st.data(), table=st.sampled_from(sorted(ROWS)))
def test_rows_near_the_format_are_taken_or_refused(data: st.DataObject, table: str) -> None:
    row = dict(ROWS[table])
    for column in data.draw(st.lists(st.sampled_from([*row, "more"]), max_size=3)):
        row[column] = data.draw(json_values | st.fixed_dictionaries({"base64": st.text(max_size=8)}))
    try:
        values = parse(table, row)
    except ImportRefused:
        return
    assert set(values) <= set(TABLES[table].columns)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(ImportRefused):
        in_rows("sessions", lambda rows: rows.parse(noise, "f, line 3"))
