"""Verifying a whole vault: its anchor, slots, pages, references, index, sealed fields and transparency log."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from vault.connection import Connection
from vault.errors import ClawError, DatabaseDamaged, DiskFull, InUse, Locked
from vault.inventory import TABLES, sealed_columns
from vault.keyslots import BACKUP_SUFFIX

if TYPE_CHECKING:
    from vault.store import Vault

__all__ = ["Checked", "Progress", "check_vault"]

Progress = Callable[[str, int, int], None]
"""Is told what is looked at, and how much of how much is done."""

_EVERY = 100


class Checked(NamedTuple):
    """One part of the vault.

    Attributes:
        part: Which.
        wrong: What is wrong with it; empty when it is whole.
        seen: What was looked at.
    """

    part: str
    wrong: tuple[str, ...]
    seen: str


class _Findings(NamedTuple):
    wrong: list[str]
    seen: str


def check_vault(vault: "Vault", progress: Progress) -> list[Checked]:
    """Look at everything, and go on where something is wrong.

    Args:
        vault: Open; it may be open for reading alone.
        progress: Told how far it is.

    Raises:
        DiskFull, InUse, Locked: it can't be looked at now, which says nothing about it.
    """
    parts: dict[str, Callable[[], _Findings]] = {
        "anchor": lambda: _anchor(vault),
        "key slots": lambda: _slots(vault),
        "pages": lambda: _pages(vault),
        "references": lambda: _references(vault),
        "full-text index": lambda: _index(vault),
        "sealed fields": lambda: _sealed(vault, progress),
        "transparency log": lambda: _log(vault, progress),
    }
    found = []
    for done, (part, check) in enumerate(parts.items()):
        progress(part, done, len(parts))
        try:
            findings = check()
        except (DiskFull, InUse, Locked):
            raise  # nothing is wrong with the vault
        except ClawError as error:
            findings = _Findings([error.message], "")
        found.append(Checked(part, tuple(findings.wrong), findings.seen))
    return found


def _anchor(vault: "Vault") -> _Findings:
    newest = vault.database.newest()
    return _Findings([vault.alarm] if vault.alarm else [], f"state {newest.epoch}" if newest else "")


def _slots(vault: "Vault") -> _Findings:
    slots = vault.slots.read()
    path = vault.home.keyslots
    backup = path.with_name(path.name + BACKUP_SUFFIX)
    try:
        same = path.read_bytes() == backup.read_bytes()
        wrong = [] if same else [f"{backup.name} isn't a copy of {path.name}"]
    except OSError as error:
        wrong = [f"{backup.name} can't be compared: {error.strerror}"]
    return _Findings(wrong, f"{len(slots.slots)} and the copy")


def _pages(vault: "Vault") -> _Findings:
    wrong = vault.integrity_errors()
    row = vault.database.read(lambda c: c.execute("PRAGMA page_count").fetchone())
    return _Findings(wrong, f"{row[0]:,}" if row else "")


def _references(vault: "Vault") -> _Findings:
    def check(connection: Connection) -> _Findings:
        wrong = [
            f"a row of {table} belongs to one of {parent} that isn't there"
            for table, _, parent, _ in connection.execute("PRAGMA foreign_key_check").fetchall()
        ]
        row = connection.execute(
            "SELECT count(*) FROM sessions WHERE head IS NOT NULL AND head NOT IN (SELECT id FROM messages)"
        ).fetchone()
        if row and row[0]:
            wrong.append(f"{row[0]} conversations end at a message that isn't there")
        return _Findings(wrong, f"between {len(TABLES)} tables")

    return vault.database.read(check)


def _index(vault: "Vault") -> _Findings:
    if vault.alarm:
        return _Findings([], "not compared: the vault is open for reading alone")

    def check(connection: Connection) -> _Findings:
        # A command of FTS5's in the form of an INSERT; it compares the index with the messages and writes nothing.
        connection.execute("INSERT INTO messages_text (messages_text, rank) VALUES ('integrity-check', 1)")
        row = connection.execute("SELECT count(*) FROM messages").fetchone()
        return _Findings([], f"{row[0]:,} messages" if row else "")

    try:
        return vault.database.alone(check)
    except DatabaseDamaged:
        return _Findings(["it doesn't match the messages"], "")


def _sealed(vault: "Vault", progress: Progress) -> _Findings:
    fields = vault.database.fields

    def check(connection: Connection) -> _Findings:
        wrong: list[str] = []
        seen = 0
        for table, column in ((name, column) for name in TABLES for column in sealed_columns(name)):
            key = TABLES[table].key
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            total = int(row[0]) if row else 0
            rows = connection.execute(f"SELECT {', '.join(key)}, {column} FROM {table}")
            for done, (*place, sealed) in enumerate(rows):
                if done % _EVERY == 0:
                    progress("sealed fields", done, total)
                try:
                    fields.open(table, "/".join(map(str, place)), column, sealed)
                except ClawError:
                    wrong.append(f"{table} {'/'.join(map(str, place))}: {column} was altered or moved")
                seen += 1
        return _Findings(wrong, f"{seen:,}")

    return vault.database.read(check)


def _log(vault: "Vault", progress: Progress) -> _Findings:
    verified = vault.log.verify(progress=lambda done, total: progress("transparency log", done, total))
    size = verified.head.size
    return _Findings([], f"{size:,} {'entry' if size == 1 else 'entries'}, {verified.cleared:,} of them cleared")
