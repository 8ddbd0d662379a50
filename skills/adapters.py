"""Trained adapters as a person deals with them: looked at, put to use, rolled back, taken away, removed.

An adapter is made of private examples, and says something of each of them: it is highly sensitive, sealed in the
vault, and leaves it only as a file that the person asks for.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from skills.errors import AdapterChoice
from vault.adapter_store import AdapterRecord, AdapterStore, find_adapters
from vault.classes import DataClass
from vault.database import Connection
from vault.errors import NotFound
from vault.portability.departure import Departure, Taken
from vault.portability.files import check_not_ours, staged_file, staged_folder
from vault.sanitize import sanitize_line

if TYPE_CHECKING:
    from vault.store import Vault

__all__ = ["Adapters", "Removed"]

_LIST = "`claw skill adapters list` shows those there are."


class Removed(NamedTuple):
    """What became of adapters that were to go.

    Attributes:
        removed: How many went.
        unused: Those of them that were in use: the model answers without one in their place.
        left: Where encrypted copies of them lie still, and until when; empty where nothing is left.
    """

    removed: int
    unused: tuple[AdapterRecord, ...]
    left: str


class Adapters:
    """The adapters of one vault. Every change is an entry of the transparency log: versions and numbers.

    Args:
        vault: Open.
    """

    def __init__(self, vault: "Vault") -> None:
        self._vault = vault
        self._store = AdapterStore(vault.database)

    def records(self, skill: str | None = None) -> list[AdapterRecord]:
        """What there is of a skill, or of all, without opening it; by skill, model and version."""
        return self._store.records(skill)

    def use(self, adapter_id: str) -> AdapterRecord:
        """Use an adapter from the next turn on, in the place of the one that is used with its skill and model.

        Raises:
            NotFound: there is none of that id.
        """

        def work(connection: Connection) -> AdapterRecord:
            record = AdapterStore.activate(connection, adapter_id)
            self._log(connection, f"version {record.version} put to use")
            return record

        return self._vault.database.write(work)

    def roll_back(self, skill: str, base_sha256: str = "") -> tuple[AdapterRecord, AdapterRecord | None]:
        """Use the version below the one that is used, from the next turn on; below the first there is none.

        Args:
            skill: The name of the skill.
            base_sha256: Of the model; may be left out where the skill uses an adapter with one model alone.

        Returns:
            What was used, and what is used now.

        Raises:
            NotFound: the skill uses no adapter.
            AdapterChoice: it uses some, with several models.
        """

        def work(connection: Connection) -> tuple[AdapterRecord, AdapterRecord | None]:
            before = _in_use(connection, skill, base_sha256)
            after = AdapterStore.roll_back(connection, before)
            to = f"version {after.version}" if after else "none"
            self._log(connection, f"rolled back from version {before.version} to {to}")
            return before, after

        return self._vault.database.write(work)

    def switch_off(self, skill: str, base_sha256: str = "") -> AdapterRecord:
        """Use none from the next turn on; arguments and errors as for `roll_back`. What was used is kept."""

        def work(connection: Connection) -> AdapterRecord:
            before = _in_use(connection, skill, base_sha256)
            AdapterStore.deactivate(connection, before.skill, before.base_sha256)
            self._log(connection, f"version {before.version} switched off")
            return before

        return self._vault.database.write(work)

    def delete(self, ids: Iterable[str]) -> Removed:
        """Remove adapters, and what unused parts of the vault's pages hold of them.

        Raises:
            NotFound: there is none of one of these ids; nothing was removed.
        """
        wanted = list(dict.fromkeys(ids))

        def work(connection: Connection) -> tuple[int, tuple[AdapterRecord, ...]]:
            there = {record.id: record for record in find_adapters(connection, "TRUE")}
            for adapter_id in wanted:
                if adapter_id not in there:
                    raise NotFound(f"There is no adapter {adapter_id!r}; nothing was removed.", hint=_LIST)
            removed = AdapterStore.remove(connection, wanted)
            self._log(connection, f"{removed:,} removed")
            return removed, tuple(there[each] for each in wanted if there[each].active)

        removed, unused = self._vault.database.write(work)
        return Removed(removed, unused, self._vault.database.clear_away())

    def export(self, adapter_id: str, file: Path) -> AdapterRecord:
        """Write an adapter's GGUF file, in clear, for its owner alone; logged before its first byte is written.

        Args:
            adapter_id: Which.
            file: Where to; nothing lies there.

        Raises:
            NotFound: there is none of that id.
            VaultError: there is something already, or it can't be written; nothing of it is left.
        """
        from vault.log.entries import Action

        check_not_ours(file, self._vault.home)
        record = self._store.get(adapter_id)
        departure = Departure(self._vault, Action.EXPORT, "a trained adapter as a file, not encrypted")
        with departure, staged_file(file) as staged:
            departure.prepare("a trained adapter")
            staged.write(self._store.content(adapter_id).reveal())
            staged.sync()
            departure.finish(Taken("a trained adapter", 1, staged.bytes, staged.sha256))
        return record

    def export_folder(self, files: dict[str, bytes], folder: Path) -> None:
        """Write an adapter as several files, in clear, for its owner alone; logged before the first byte.

        Args:
            files: What is in each, by name.
            folder: Where to; nothing lies there.

        Raises:
            VaultError: there is something already, or it can't be written; nothing of it is left.
        """
        from vault.log.entries import Action

        check_not_ours(folder, self._vault.home)
        departure = Departure(self._vault, Action.EXPORT, "a trained adapter as a folder, not encrypted")
        with departure, staged_folder(folder) as staged:
            departure.prepare("a trained adapter")
            for name, content in files.items():
                with staged.file(name) as file:
                    file.write(content)
            staged.sync()
            departure.finish(Taken("a trained adapter", 1, sum(map(len, files.values()))))

    def _log(self, connection: Connection, description: str) -> None:
        from vault.log.entries import Action, Entry

        entry = Entry(
            action=Action.SKILL,
            purpose="trained adapters",
            data_class=DataClass.HIGHLY_SENSITIVE,
            description=description,
        )
        self._vault.log.record(connection, entry)


def _in_use(connection: Connection, skill: str, base_sha256: str) -> AdapterRecord:
    name = sanitize_line(skill, 70)
    condition = "active = 1 AND skill = ?1 AND (?2 = '' OR base_sha256 = ?2)"
    found = find_adapters(connection, condition, skill, base_sha256)
    if not found:
        raise NotFound(f"No adapter of {name!r} is in use.", hint=_LIST)
    if len(found) > 1:
        raise AdapterChoice(f"{name} uses adapters with {len(found)} models.", hint="Say with which: --model NAME")
    return found[0]
