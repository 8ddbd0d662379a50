"""What the vault keeps of permissions: the rules that a person set."""

import re

import msgspec

from vault.classes import DataClass
from vault.database import Connection, Database
from vault.sanitize import sanitize

__all__ = ["PermissionRule", "PermissionStore", "is_permission", "is_resource"]

_PERMISSION = re.compile(r"[a-z]+(\.([a-z]+|\*))?|\*\.[a-z]+")
_RESOURCE = re.compile(r"\*|file:/.*|host:(\*\.)?[a-z0-9.-]+|skill:[a-z0-9-]+(/.*)?|vault:notes")


class PermissionRule(msgspec.Struct, frozen=True):
    """One rule, as it is kept; `skills.permissions` gives it its meaning.

    Attributes:
        permission: What a tool does, such as `files.read`; a pattern such as `files.*` or `*.run`.
        resource: What with, such as `file:/home/ada/notes`; `*` for anything.
        data_class: The strictest data that it is about.
        decision: `allow`, `ask` or `deny`.
        set_ms: When it was set, in milliseconds since 1970.
    """

    permission: str
    resource: str
    data_class: DataClass
    decision: str
    set_ms: int


class PermissionStore:
    """The vault's table of permissions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[PermissionRule]:
        """Every rule, by permission and resource."""
        rows = self._database.read(
            lambda c: c.execute("SELECT * FROM permissions ORDER BY permission, resource").fetchall()
        )
        return [PermissionRule(row[0], row[1], DataClass(row[2]), row[3], row[4]) for row in rows]

    @staticmethod
    def put(connection: Connection, rule: PermissionRule) -> None:
        """Keep a rule in the place of the one about the same, in a transaction that writes."""
        connection.execute(
            "INSERT OR REPLACE INTO permissions VALUES (?, ?, ?, ?, ?)", msgspec.structs.astuple(rule)
        )

    @staticmethod
    def remove(connection: Connection, permission: str, resource: str) -> bool:
        """Remove a rule, in a transaction that writes; whether it was there."""
        return bool(
            connection.execute(
                "DELETE FROM permissions WHERE permission = ? AND resource = ?", (permission, resource)
            ).rowcount
        )


def is_permission(text: str) -> bool:
    """Whether a text is what rules are about, or a pattern of that; never a pattern for everything."""
    return _PERMISSION.fullmatch(text) is not None


def is_resource(text: str) -> bool:
    """Whether a text names what a rule can be about: a folder by its whole path, a host, a skill."""
    return _RESOURCE.fullmatch(text) is not None and sanitize(text) == text
