"""The inventory names everything that the schema has, and what it says of it is so."""

import re
from collections.abc import Iterator

import pytest

from tests.fixtures.databases import decrypted
from tests.fixtures.models import PASSPHRASE
from tests.vault.federations import put_federation, take_part
from vault import migrations
from vault.adapter_store import AdapterKind, AdapterStore, TrainedAdapter
from vault.classes import DataClass, HighlySensitive
from vault.connection import Connection
from vault.conversations import Conversations
from vault.database import Database
from vault.example_store import ExampleKind, ExampleStore
from vault.home import Home
from vault.inventory import TABLES, Table, sealed_columns
from vault.log.entries import Action, Entry
from vault.messages import Attachment, Generation
from vault.run_store import RunStore
from vault.store import Vault

CANARY = "the attached canary sang of pomegranates"
GENERATION = Generation("tiny", "ab" * 32, None, {"seed": 1}, "stop", 1, 0, 1, 0.1, 0.1, 0.1, 0.1, b"\1\0\0\0")


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database.in_memory()
    yield database
    database.close()


def schema(database: Database) -> dict[str, list[str]]:
    """Every table with its columns. The tables that FTS5 makes for its own use are left out by their kind."""

    def walk(connection: Connection) -> dict[str, list[str]]:
        rows = connection.execute("PRAGMA main.table_list").fetchall()
        names = [name for _, name, kind, *_ in rows if kind != "shadow" and not name.startswith("sqlite_")]
        return {
            name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})").fetchall()] for name in names
        }

    return database.read(walk)


def test_every_table_and_column_has_a_class_and_nothing_else_has(database: Database) -> None:
    assert schema(database) == {name: [*table.columns] for name, table in TABLES.items()}


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE unclassified (a)",
        "CREATE VIEW unclassified AS SELECT * FROM secrets",
        "CREATE VIRTUAL TABLE unclassified USING fts5 (a)",
        "CREATE TABLE messages_text_more (a)",
        "ALTER TABLE messages ADD COLUMN unclassified TEXT",
    ],
)
def test_a_table_or_column_without_a_class_would_be_noticed(database: Database, statement: str) -> None:
    database.write(lambda c: c.execute(statement).fetchall())
    assert schema(database) != {name: [*table.columns] for name, table in TABLES.items()}


def test_a_table_came_with_the_version_that_the_inventory_names() -> None:
    known, seen = migrations.migrations(), set[str]()
    for version in range(1, len(known) + 1):
        before = "".join(script for _, script in known[:version])
        came = {name for name in TABLES if re.search(rf"CREATE (VIRTUAL )?TABLE {name} ", before)} - seen
        assert came == {name for name, table in TABLES.items() if table.since == version}
        seen |= came


def test_nothing_top_secret_has_a_column() -> None:
    classes = {data_class for table in TABLES.values() for data_class in table.columns.values()}
    assert classes == {*DataClass} - {DataClass.TOP_SECRET}


@pytest.mark.parametrize("name", TABLES)
def test_a_key_is_the_tables_primary_key(database: Database, name: str) -> None:
    rows = database.read(lambda c: c.execute(f"PRAGMA table_info({name})").fetchall())
    primary = [row[1] for row in sorted(rows, key=lambda row: row[5]) if row[5]]
    assert TABLES[name].key == (tuple(primary) or ("rowid",))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_comes_after_those_that_it_refers_to(database: Database, name: str) -> None:
    order = [*TABLES]
    rows = database.read(lambda c: c.execute(f"PRAGMA foreign_key_list({name})").fetchall())
    parents = {row[2] for row in rows}
    assert all(order.index(parent) <= order.index(name) for parent in parents)
    # What belongs to another row goes with it.
    cascading = {row[2] for row in rows if row[6] == "CASCADE"} - {name}
    assert cascading == {parent for parent in [TABLES[name].erased_with] if parent and name != "messages_text"}


@pytest.mark.parametrize("name", [name for name in TABLES if sealed_columns(name)])
def test_what_is_sealed_is_kept_as_bytes(database: Database, name: str) -> None:
    rows = database.read(lambda c: c.execute(f"PRAGMA table_info({name})").fetchall())
    assert {row[1]: row[2] for row in rows if row[1] in sealed_columns(name)} == dict.fromkeys(
        sealed_columns(name), "BLOB"
    )


@pytest.fixture
def full(vault: Vault) -> Vault:
    """A vault with something in every table that a person's data, or a secret, can be in."""
    fill(vault)
    return vault


def fill(vault: Vault) -> None:
    kept = vault.conversations
    for n in range(3):
        session = kept.start(f"session {n}", "")
        asked = kept.append(
            session.id, None, "user", "read", attachments=[Attachment("a.txt", f"{CANARY} {n}")] * 2
        )
        reply = kept.append(session.id, asked.id, "assistant", "", status="streaming")
        kept.finish(reply.id, "done", "complete", GENERATION)
    texts = (f"{CANARY} in", f"{CANARY} out")
    example = vault.database.write(lambda c: ExampleStore(vault.database).put(c, "count", ExampleKind.ADDED, texts))
    trained = TrainedAdapter("count", "ab" * 32, AdapterKind.FFA, 8, 7, (example,))
    weights = HighlySensitive(CANARY.encode())
    vault.database.write(lambda c: AdapterStore(vault.database).put(c, trained, weights))
    vault.database.write(lambda c: put_federation(vault.database, c, CANARY.encode()[:32]))
    take_part(vault.database)
    RunStore(vault.database).keep("ab" * 32, "a-skill", "cd" * 32, HighlySensitive(CANARY.encode()))
    vault.log.append(
        Entry(action=Action.EXPORT, purpose="a test", data_class=DataClass.MEDIUM, description="three things")
    )


def rows_of(database: Database, name: str, table: Table) -> list[tuple[str, dict[str, object]]]:
    """Each row's key, as fields are bound to it, and its columns."""
    columns = [*table.columns]
    rows = database.read(lambda c: c.execute(f"SELECT {', '.join([*table.key, *columns])} FROM {name}").fetchall())
    return [
        ("/".join(map(str, row[: len(table.key)])), dict(zip(columns, row[len(table.key) :], strict=True)))
        for row in rows
    ]


@pytest.mark.parametrize("name", [name for name in TABLES if sealed_columns(name)])
def test_sealed_columns_hold_what_opens_in_its_place_alone(full: Vault, name: str) -> None:
    database = full.database
    rows = rows_of(database, name, TABLES[name])
    assert rows, f"this test must put something into {name}"
    opened = []
    for row, values in rows:
        for column in sealed_columns(name):
            value = values[column]
            assert isinstance(value, bytes)
            opened.append(database.fields.open(name, row, column, value).reveal())
            assert opened[-1] not in value
    if name == "attachments":
        assert opened == [f"{CANARY} {n // 2}".encode() for n in range(6)]


def test_what_is_highly_sensitive_is_nowhere_in_clear_even_to_who_holds_the_key(full: Vault, home: Home) -> None:
    seed = next(
        full.database.fields.open("secrets", row, "value", bytes(values["value"])).reveal()  # type: ignore[call-overload]
        for row, values in rows_of(full.database, "secrets", TABLES["secrets"])
    )
    for name, table in TABLES.items():
        for _, values in rows_of(full.database, name, table):
            assert not any(CANARY in str(value) or CANARY.encode() in as_bytes(value) for value in values.values())
            assert not any(seed in as_bytes(value) for value in values.values())
    assert full.database.integrity_errors() == []  # folds the log into the file
    plain = decrypted(home.database, full._master.derive("database"))
    assert b"three things" in plain
    assert CANARY.encode() not in plain
    assert seed not in plain


def as_bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def test_erasing_the_sessions_takes_all_that_is_said_to_go_with_them(full: Vault) -> None:
    erased = {"sessions"}
    for name, table in TABLES.items():  # in their order: each comes after what it goes with
        if table.erased_with in erased:
            erased.add(name)
    assert all(rows_of(full.database, name, TABLES[name]) for name in erased)
    for session in full.conversations.sessions():
        full.conversations.delete(session.id)
    assert not any(rows_of(full.database, name, TABLES[name]) for name in erased)
    assert rows_of(full.database, "secrets", TABLES["secrets"])


def test_a_vault_opened_again_opens_its_fields(full: Vault, home: Home) -> None:
    full.close()
    with Vault.open_with_passphrase(home, PASSPHRASE) as again:
        conversations: Conversations = again.conversations
        texts = [
            attachment.text
            for session in conversations.sessions()
            for message in conversations.tree(session.id)
            for attachment in message.attachments
        ]
        assert sorted(texts) == [f"{CANARY} {n // 2}" for n in range(6)]
