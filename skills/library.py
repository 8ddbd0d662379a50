"""The skills that a person agreed to: kept in the vault, and used only as they were agreed to.

Those that come with the program are there without being agreed to. Of them the vault keeps only whether the person
switched one off, as a skill of that name without files.
"""

import time
from typing import TYPE_CHECKING, NamedTuple

from skills import bundled
from skills.candidate import Candidate, examine
from skills.errors import SkillRefused
from skills.skill_file import SkillFile
from vault.classes import DataClass
from vault.database import Connection
from vault.skill_store import SkillRecord, SkillStore

if TYPE_CHECKING:
    from vault.log.entries import Entry
    from vault.store import Vault

__all__ = ["BUNDLED", "Library", "Skill", "bundled_record", "refuse_shadow"]

_SHOWN_OF_DIGEST = 12
BUNDLED = "bundled"
"""Where a skill comes from that comes with the program."""


class Skill(NamedTuple):
    """A skill that may be used.

    Attributes:
        record: What was agreed to, and when.
        file: What its `SKILL.md` says.
        files: All its files, by their names in it.
    """

    record: SkillRecord
    file: SkillFile
    files: dict[str, bytes]


class Library:
    """The skills of one vault. Every change is an entry of the transparency log.

    Args:
        vault: Open.
    """

    def __init__(self, vault: "Vault") -> None:
        self._vault = vault
        self._store = SkillStore(vault.database)

    def all(self) -> list[SkillRecord]:
        """Every skill that was ever agreed to and not removed, by name; those of the program aren't among them."""
        return [record for record in self._store.all() if not bundled.is_bundled(record.name)]

    def bundled(self) -> list[SkillRecord]:
        """The skills that come with the program, by name."""
        off = {record.name for record in self._store.all() if not record.enabled}
        return [bundled_record(name, enabled=name not in off) for name in bundled.names()]

    def record(self, name: str) -> SkillRecord:
        """What is known of one skill, wherever it comes from.

        Raises:
            NotFound: there is no such skill.
        """
        if bundled.is_bundled(name):
            return next(record for record in self.bundled() if record.name == name)
        return self._store.get(name)

    def candidate(self, name: str) -> Candidate:
        """A skill as it lies in the vault, to be looked at.

        Raises:
            NotFound: there is no such skill.
        """
        if bundled.is_bundled(name):
            return bundled.candidate(name)
        return examine(self._store.get(name).name, self._store.files(name))

    def changes(self, candidate: Candidate) -> list[str] | None:
        """The files in which a candidate differs from the skill of its name; `None` where there is none."""
        before = self._store.files(candidate.folder)
        names = sorted(before.keys() | candidate.files.keys())
        return [name for name in names if before.get(name) != candidate.files.get(name)] if before else None

    def add(self, candidate: Candidate, source: str) -> SkillRecord:
        """Keep a skill that the person has agreed to, in the place of the one of its name.

        Args:
            candidate: What they agreed to.
            source: Where it came from.

        Raises:
            SkillRefused: its `SKILL.md` can't be used, or its name is that of a skill that comes with the program.
        """
        refuse_shadow(candidate.folder)
        if candidate.skill is None:
            problem = next(problem for problem in candidate.problems if problem.refused)
            raise SkillRefused(f"SKILL.md, line {problem.line}: {problem.text}.")
        record = SkillRecord(
            candidate.skill.name, candidate.digest, source, time.time_ns() // 1_000_000, enabled=True
        )

        def work(connection: Connection) -> None:
            self._store.put(connection, record, candidate.files)
            self._log(connection, f"agreed to a skill of {len(candidate.files)} files", record.digest)

        self._vault.database.write(work)
        return record

    def enable(self, name: str, *, enabled: bool) -> None:
        """Let a skill be used, or not.

        Raises:
            NotFound: there is no such skill.
        """
        digest = self.record(name).digest

        def work(connection: Connection) -> None:
            if bundled.is_bundled(name):
                self._store.put(connection, bundled_record(name, enabled=enabled), {})
            else:
                self._store.enable(connection, name, enabled=enabled)
            self._log(connection, f"a skill was {'enabled' if enabled else 'disabled'}", digest)

        self._vault.database.write(work)

    def remove(self, name: str) -> str:
        """Remove a skill with its files.

        Returns:
            Where encrypted copies of them lie still, and until when; empty where nothing is left.

        Raises:
            NotFound: there is no such skill.
            SkillRefused: it comes with the program.
        """
        if bundled.is_bundled(name):
            raise SkillRefused(
                f"The skill {name!r} comes with the program, and can't be removed.",
                hint=f"`claw skill disable {name}` keeps it from being used.",
            )
        digest = self._store.get(name).digest

        def work(connection: Connection) -> None:
            self._store.remove(connection, name)
            self._log(connection, "a skill was removed", digest)

        self._vault.database.write(work)
        return self._vault.database.clear_away()

    def use(self, name: str) -> Skill:
        """A skill, to be used now: its files are those that were agreed to.

        Raises:
            NotFound: there is no such skill.
            SkillRefused: it is disabled; or its files aren't those that were agreed to, which disables it.
        """
        record, candidate = self.record(name), self.candidate(name)
        if not record.enabled:
            raise SkillRefused(
                f"The skill {name!r} is disabled.", hint=f"`claw skill enable {name}` lets it be used."
            )
        if candidate.digest != record.digest or candidate.skill is None:
            self.enable(name, enabled=False)
            raise SkillRefused(
                f"The files of the skill {name!r} aren't those that you agreed to; it is disabled now.",
                hint="Import it again, and look at what it asks for.",
            )
        return Skill(record, candidate.skill, candidate.files)

    def offered(self) -> list[tuple[str, str]]:
        """The name and the description of every skill that is enabled and whose `SKILL.md` can be read."""
        return self._described(self.all())

    def known(self) -> list[tuple[str, str]]:
        """The same of those that come with the program too."""
        return self._described([*self.bundled(), *self.all()])

    def _described(self, records: list[SkillRecord]) -> list[tuple[str, str]]:
        found = []
        for record in records:
            candidate = self.candidate(record.name) if record.enabled else None
            if candidate and candidate.skill:
                found.append((record.name, candidate.skill.description))
        return found

    def _log(self, connection: Connection, what: str, digest: str) -> None:
        self._vault.log.record(connection, _entry(f"{what} ({digest[:_SHOWN_OF_DIGEST]})", digest))


def bundled_record(name: str, *, enabled: bool = True) -> SkillRecord:
    """What is known of a skill that comes with the program."""
    return SkillRecord(name, bundled.candidate(name).digest, BUNDLED, 0, enabled)


def refuse_shadow(name: str) -> None:
    """Let no skill be taken for one that comes with the program.

    Raises:
        SkillRefused: it has the name of one.
    """
    if bundled.is_bundled(name):
        raise SkillRefused(
            f"A skill called {name!r} comes with the program; another one can't take its place.",
            hint="Give the skill, and its folder, another name.",
        )


def _entry(description: str, digest: str) -> "Entry":
    from vault.log.entries import Action, Entry

    return Entry(
        action=Action.SKILL,
        purpose="what the assistant may do",
        data_class=DataClass.MEDIUM,
        description=description,
        payload_sha256=digest,
    )
