"""Examples that a skill can be trained on: kept because a person said so, one by one or once for all.

A result that a person accepts or corrects becomes one only where they have enabled that
(`skills.collect_examples`); what they give or import themselves is their own decision each time. Examples are
highly sensitive: sealed in the vault, read there by a training run on this device, sent nowhere.
"""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from skills.errors import ExampleRefused, ExamplesOff
from skills.example_lines import FIELDS, MOST_BYTES, Fields, Reader, checked, numbered_lines
from vault.adapter_store import AdapterRecord, adapters_learned_from
from vault.classes import DataClass
from vault.database import Connection
from vault.errors import NotFound
from vault.example_store import (
    Example,
    ExampleKind,
    ExampleRecord,
    ExampleStore,
    is_skill_name,
    remove_examples,
)
from vault.portability.files import open_plain
from vault.portability.progress import Progress, Steps
from vault.sanitize import sanitize_line

if TYPE_CHECKING:
    from vault.settings import SkillSettings
    from vault.store import Vault

__all__ = ["Deleted", "Examples", "Imported", "check_name"]

_ENABLE = "claw config set skills.collect_examples true"


class Imported(NamedTuple):
    """What became of a file of examples.

    Attributes:
        added: How many were added.
        known: How many were here already, with the same texts.
    """

    added: int
    known: int


class Deleted(NamedTuple):
    """What became of examples that were to go.

    Attributes:
        removed: How many went.
        left: Where encrypted copies of them lie still, and until when; empty where nothing is left.
        learned: The adapters that learned from them, which stay.
    """

    removed: int
    left: str
    learned: tuple[AdapterRecord, ...] = ()


class Examples:
    """The examples of one vault. Every change is an entry of the transparency log: kinds and numbers.

    Args:
        vault: Open.
        settings: Say whether results may be collected.
    """

    def __init__(self, vault: "Vault", settings: "SkillSettings") -> None:
        self._vault = vault
        self._settings = settings
        self._store = ExampleStore(vault.database)

    @property
    def collecting(self) -> bool:
        """Whether the person has enabled that results which they accept or correct are kept."""
        return self._settings.collect_examples

    def records(self, skill: str | None = None) -> list[ExampleRecord]:
        """What there is of a skill, or of all, without opening it; the oldest first."""
        return self._store.records(skill)

    def get(self, example_id: str) -> Example:
        """One example.

        Raises:
            NotFound: there is none of that id.
        """
        return self._store.get(example_id)

    def all(self, skill: str) -> Iterator[Example]:
        """The examples of a skill, opened a few at a time, the oldest first: what a training run reads."""
        return self._store.all(skill)

    def collect(self, skill: str, input: str, output: str, *, corrected: bool = False, source: str = "") -> str:
        """Keep a result that the person accepted or corrected.

        Call it for nothing but an answer of theirs: a result that nobody looked at is no example.

        Args:
            skill: The name of the skill that made it.
            input: What had gone in.
            output: What came out; of one that was corrected, what the person made of it.
            corrected: Whether they corrected it.
            source: The name of the file that went in, if one did: erasing what came from it takes this along.

        Returns:
            The example's id.

        Raises:
            ExamplesOff: that isn't enabled; nothing was kept.
            ExampleRefused: a text is empty or too long, or no skill has such a name.
        """
        if not self.collecting:
            raise ExamplesOff(
                "Results aren't kept as examples: that is off.", hint=f"To have them kept from now on: {_ENABLE}"
            )
        return self._keep(
            skill, ExampleKind.CORRECTED if corrected else ExampleKind.ACCEPTED, input, output, source
        )

    def add(self, skill: str, input: str, output: str, *, source: str = "") -> str:
        """Keep an example that the person gave; arguments and errors as in `collect`, which needn't be enabled."""
        return self._keep(skill, ExampleKind.ADDED, input, output, source)

    def import_file(
        self, skill: str, path: Path, fields: Fields = FIELDS, *, progress: Progress | None = None
    ) -> Imported:
        """Keep the examples of a file of JSON lines, all of them or none; those that are here already once.

        Args:
            skill: The name of the skill that they are for.
            path: The file.
            fields: Which fields of a line are which.
            progress: Told how far it is, from the database's thread.

        Raises:
            ExampleRefused: a line is no example, or the file can't be read; nothing was kept.
        """
        check_name(skill)
        steps, reader, name = Steps(progress), Reader(fields), sanitize_line(path.name, 100)
        database = self._vault.database
        try:
            file = open_plain(path)
        except OSError as error:
            raise ExampleRefused(f"{path} can't be read: {error.strerror}.") from error

        if (size := os.fstat(file.fileno()).st_size) > MOST_BYTES:
            file.close()
            raise ExampleRefused(f"{name} is larger than {MOST_BYTES >> 30} GiB.", hint="Take a part of it.")

        def work(connection: Connection) -> Imported:
            seen = {_digest(texts) for texts in self._store.texts(connection, skill)}
            known = len(seen)
            lines = 0
            for number, line in numbered_lines(file, name):
                steps.tell("Importing", file.tell(), size)
                lines += 1
                texts = reader.read(line, f"{name}, line {number}")
                if (digest := _digest(texts)) not in seen:
                    seen.add(digest)
                    self._store.put(connection, skill, ExampleKind.IMPORTED, texts, f"import:{name}")
            if not lines:
                raise ExampleRefused(f"There is nothing in {name}.")
            added = len(seen) - known
            if added:
                self._log(connection, f"{_counted(added)} imported")
            return Imported(added, lines - added)

        with file, steps.end_with(database) as stop:
            return database.write(work, stop)

    def delete(self, ids: Iterable[str]) -> Deleted:
        """Remove examples, and what unused parts of the vault's pages hold of them.

        Raises:
            NotFound: there is none of one of these ids; nothing was removed.
        """
        wanted = list(dict.fromkeys(ids))

        def work(connection: Connection) -> tuple[int, tuple[AdapterRecord, ...]]:
            for example_id in wanted:
                if not connection.execute("SELECT 1 FROM skill_examples WHERE id = ?", (example_id,)).fetchone():
                    raise NotFound(
                        f"There is no example {example_id!r}; nothing was removed.",
                        hint="`claw skill examples list` shows those there are.",
                    )
            removed = remove_examples(connection, wanted, time.time_ns() // 1_000_000)
            self._log(connection, f"{_counted(removed)} removed")
            return removed, adapters_learned_from(connection, wanted)

        removed, learned = self._vault.database.write(work)
        return Deleted(removed, self._vault.database.clear_away(), learned)

    def delete_all(self, skill: str) -> Deleted:
        """Remove all examples of a skill; as `delete` says.

        Raises:
            NotFound: there is none.
        """
        ids = [record.id for record in self.records(skill)]
        if not ids:
            raise NotFound(
                f"There are no examples of {skill!r}.", hint="`claw skill examples list` shows those there are."
            )
        return self.delete(ids)

    def _keep(self, skill: str, kind: ExampleKind, given: str, wanted: str, source: str) -> str:
        check_name(skill)
        texts = checked(given, "What goes in"), checked(wanted, "What comes out")

        def work(connection: Connection) -> str:
            self._log(connection, f"{_counted(1)} kept: {kind}")
            return self._store.put(connection, skill, kind, texts, sanitize_line(source, 100))

        return self._vault.database.write(work)

    def _log(self, connection: Connection, description: str) -> None:
        from vault.log.entries import Action, Entry

        entry = Entry(
            action=Action.SKILL,
            purpose="examples to train on",
            data_class=DataClass.HIGHLY_SENSITIVE,
            description=description,
        )
        self._vault.log.record(connection, entry)


def check_name(skill: str) -> None:
    """See that a skill could have this name.

    Raises:
        ExampleRefused: none could.
    """
    if not is_skill_name(skill):
        raise ExampleRefused(
            f"No skill can be called {sanitize_line(skill, 70)!r}.",
            hint="A name has a-z, 0-9 and single hyphens between them.",
        )


def _digest(texts: tuple[str, str]) -> bytes:
    given, wanted = (text.encode() for text in texts)
    return hashlib.sha256(b"%d:%b%b" % (len(given), given, wanted)).digest()


def _counted(count: int) -> str:
    return f"{count:,} example{'s' * (count != 1)}"
