"""The rules of one vault: looked at, set, and every change an entry of the transparency log."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from skills.permissions.policy import Policy
from vault.classes import DataClass
from vault.database import Connection
from vault.log.entries import Action, Entry
from vault.permission_store import PermissionRule, PermissionStore

if TYPE_CHECKING:
    from vault.store import Vault

__all__ = ["Rules"]


class Rules:
    """What the person allows the assistant's tools to do.

    Args:
        vault: Open.
        closed: Files and folders that no rule opens, beside those of the vault and the settings.
    """

    def __init__(self, vault: "Vault", closed: Sequence[Path] = ()) -> None:
        self._vault = vault
        self._closed = list(closed)
        self._store = PermissionStore(vault.database)

    def all(self) -> list[PermissionRule]:
        """Every rule, by permission and resource."""
        return self._store.all()

    def policy(self) -> Policy:
        """The rules as they are now, with the assistant's own files closed."""
        home = self._vault.home
        return Policy(self.all(), [home.data, home.config_file.parent, *self._closed])

    def set(self, rule: PermissionRule) -> None:
        """Keep a rule in the place of the one about the same."""

        def work(connection: Connection) -> None:
            self._store.put(connection, rule)
            self._vault.log.record(connection, _entry(f"{rule.permission} was set to {rule.decision}"))

        self._vault.database.write(work)

    def unset(self, permission: str, resource: str) -> bool:
        """Remove a rule, so that the default holds again; whether it was there."""

        def work(connection: Connection) -> bool:
            if not self._store.remove(connection, permission, resource):
                return False
            self._vault.log.record(connection, _entry(f"{permission} was set back to its default"))
            return True

        return self._vault.database.write(work)


def _entry(description: str) -> Entry:
    return Entry(
        action=Action.PERMISSION,
        purpose="what the assistant may do",
        data_class=DataClass.MEDIUM,
        description=description,
    )
