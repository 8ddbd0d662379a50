"""What lies in a vault and beside it: how much of each kind, how strictly and how long it is kept, what left."""

import datetime
from pathlib import Path

import msgspec

from vault.attempts import ATTEMPTS
from vault.classes import DataClass
from vault.connection import Connection
from vault.database import Database
from vault.home import Home
from vault.inventory import TABLES, Kind, Table
from vault.reserve import RESERVE
from vault.retention import KEPT_BY, Rule, in_words
from vault.swap import CHANGES_LOCK

__all__ = ["FileUse", "KindUse", "Traffic", "files", "kinds", "traffic"]

_STRICTNESS = list(DataClass)


class KindUse(msgspec.Struct, frozen=True):
    """How much of a kind lies in the vault.

    Attributes:
        kind: What it is to a person.
        rows: How many records.
        bytes: Of their values and of the index over them, as stored.
        data_class: The strictest among them.
        kept: For how long, in words.
    """

    kind: Kind
    rows: int
    bytes: int
    data_class: DataClass
    kept: str


class FileUse(msgspec.Struct, frozen=True):
    """A file, or a folder of them.

    Attributes:
        path: Where it lies.
        bytes: How large it is.
        what: What it holds, and whether that is encrypted.
    """

    path: str
    bytes: int
    what: str


class Traffic(msgspec.Struct, frozen=True):
    """Bytes that passed the one door out.

    Attributes:
        sent_today: On this day, in UTC.
        received_today: On this day, in UTC.
        sent: Ever.
        received: Ever.
    """

    sent_today: int
    received_today: int
    sent: int
    received: int


def kinds(database: Database, rules: list[Rule]) -> list[KindUse]:
    """How much of each kind lies in the database, in the order of the inventory."""
    tables: dict[Kind, list[tuple[str, Table]]] = {}
    for name, table in TABLES.items():
        tables.setdefault(table.kind, []).append((name, table))
    days = {rule.what: rule for rule in rules}

    def use(connection: Connection, kind: Kind) -> KindUse:
        sizes = [_size(connection, name, table) for name, table in tables[kind]]
        classes = {data_class for _, table in tables[kind] for data_class in table.columns.values()}
        kept = _kept([days[what] for what in KEPT_BY.get(kind, ())])
        return KindUse(
            kind,
            sum(rows for rows, _ in sizes),
            sum(size for _, size in sizes),
            min(classes, key=_strictness),
            kept,
        )

    return database.read(lambda connection: [use(connection, kind) for kind in tables])


def files(home: Home) -> list[FileUse]:
    """The files of a home, as large as they are."""
    named = {
        home.database: "the database, encrypted",
        Path(f"{home.database}-wal"): "its newest changes, encrypted",
        Path(f"{home.database}-shm"): "where in those a page lies",
        home.database.with_suffix(".anchor"): "what the newest state is, authenticated",
        home.keyslots: "the master key, wrapped once per slot",
        home.keyslots.with_name(home.keyslots.name + ".backup"): "a copy of it",
        home.vault / CHANGES_LOCK: "a lock, empty",
        home.vault / RESERVE: "room set aside: a vault can be read on a full disk, too",
        home.vault / ATTEMPTS: "how many keys didn't fit",
        home.models: "weights: public files, in clear",
        home.config_file: "settings, in clear",
    }
    found = [FileUse(str(path), size, what) for path, what in named.items() if (size := _bytes(path)) is not None]
    others = [path for path in _children(home.vault) if path not in named]
    return found + [FileUse(str(path), _bytes(path) or 0, "other") for path in others]


def traffic(database: Database) -> Traffic:
    """What left this device, and what came, so far as it passed the door."""
    today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    rows = database.read(lambda c: c.execute("SELECT day, sent, received FROM egress_days").fetchall())
    # Added up here: SQLite's own sum fails where it doesn't fit into 64 bits.
    return Traffic(
        sent_today=sum(sent for day, sent, _ in rows if day == today),
        received_today=sum(received for day, _, received in rows if day == today),
        sent=sum(sent for _, sent, _ in rows),
        received=sum(received for _, _, received in rows),
    )


def _size(connection: Connection, name: str, table: Table) -> tuple[int, int]:
    """Rows and bytes. What is only an index over other rows counts no rows."""
    kind = connection.execute("SELECT type FROM pragma_table_list WHERE name = ?", (name,)).fetchone()
    if kind != ("virtual",):
        return _sum(connection, name, list(table.columns))
    shadows = connection.execute(
        "SELECT name FROM pragma_table_list WHERE type = 'shadow' AND name GLOB ?", (f"{name}_*",)
    ).fetchall()
    return 0, sum(_sum(connection, shadow, _columns(connection, shadow))[1] for (shadow,) in shadows)


def _sum(connection: Connection, name: str, columns: list[str]) -> tuple[int, int]:
    sizes = " + ".join(f'coalesce(octet_length("{column}"), 0)' for column in columns)
    row = connection.execute(f'SELECT count(*), coalesce(sum({sizes}), 0) FROM "{name}"').fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def _columns(connection: Connection, table: str) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]


def _kept(rules: list[Rule]) -> str:
    if not rules:
        return "until the vault is erased"
    said = (in_words(rule.days) + (f", then {rule.then}" if rule.days is not None else "") for rule in rules)
    return "; ".join(f"{rule.what}: {words}" for rule, words in zip(rules, said, strict=True))


def _strictness(data_class: DataClass) -> int:
    return _STRICTNESS.index(data_class)


def _bytes(path: Path) -> int | None:
    """The size of a file, or of all in a folder; `None` where there is none."""
    if path.is_dir():
        return sum(_bytes(child) or 0 for child in _children(path))
    try:
        return path.stat().st_size
    except OSError:
        return None


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
