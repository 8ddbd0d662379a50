"""The walls that programs run behind, with an entry of the transparency log whenever they are others than before.

Called before each run: a person can then see in the log since when their programs were confined by what, and that
nothing was run while nothing worked.
"""

import time
from typing import TYPE_CHECKING

from skills.errors import NoSandbox
from skills.sandbox.tiers import best
from skills.sandbox.walls import Walls
from vault.classes import DataClass
from vault.database import Connection
from vault.sandbox_tier import NotedTier, note_tier, noted_tier

if TYPE_CHECKING:
    from vault.log.entries import Entry
    from vault.store import Vault

__all__ = ["noted_best"]


def noted_best(vault: "Vault") -> Walls:
    """The strongest walls that work here; the log says so when they aren't those that were noted last.

    Args:
        vault: Open for writing.

    Raises:
        NoSandbox: there are none, which was noted too.
        RolledBack: the vault is open for reading alone, and there would be something to note.
    """
    try:
        walls = best()
    except NoSandbox:
        _note(vault, "")
        raise
    _note(vault, walls.name)
    return walls


def _note(vault: "Vault", name: str) -> None:
    before = vault.database.read(noted_tier)
    if before and before.name == name:
        return

    def work(connection: Connection) -> None:
        last = noted_tier(connection)  # another process may have noted it meanwhile
        if last is None or last.name != name:
            note_tier(connection, NotedTier(name, time.time_ns() // 1_000_000))
            vault.log.record(connection, _entry(name, last))

    vault.database.write(work)


def _entry(name: str, last: NotedTier | None) -> "Entry":
    from vault.log.entries import Action, Entry, Status

    now = f"programs are run behind {name}" if name else "no sandbox works here, so no program is run"
    before = f"; before: {last.name or 'none worked'}" if last else ""
    return Entry(
        action=Action.SKILL,
        purpose="what confines programs",
        data_class=DataClass.GENERAL,
        description=now + before,
        status=Status.DONE if name else Status.REFUSED,
    )
