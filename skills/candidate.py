"""A skill before anybody agreed to it: its files, what it says and asks for, and what a person should look at."""

from pathlib import Path
from typing import NamedTuple

from skills.archive import read_archive
from skills.errors import SkillRefused
from skills.lint import Finding, lint
from skills.skill_file import FILE_NAME, Problem, SkillFile, parse
from skills.tree import digest, read_folder

__all__ = ["Candidate", "examine", "read"]


class Candidate(NamedTuple):
    """One skill, as it was read.

    Attributes:
        folder: The name of its folder.
        files: By their names in it.
        digest: Of all of them.
        skill: What its `SKILL.md` says; `None` where that can't be used.
        problems: What is wrong with `SKILL.md`, or unwise.
    """

    folder: str
    files: dict[str, bytes]
    digest: str
    skill: SkillFile | None
    problems: list[Problem]

    @property
    def findings(self) -> list[Finding]:
        """What a person should look at; looked for only now, for it takes a second for each MiB."""
        return lint(self.files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))


def read(path: Path) -> Candidate:
    """Read a skill from its folder, or from an archive that holds that folder.

    Raises:
        SkillRefused: there is none, or it holds what a skill may not.
    """
    if path.is_dir():
        return examine(path.resolve().name, read_folder(path))
    if not path.exists():
        raise SkillRefused(f"There is no {path}.")
    if path.name == FILE_NAME:
        raise SkillRefused(f"{path} is one file of a skill.", hint=f"Name its folder: {path.absolute().parent}")
    return examine(*read_archive(path))


def examine(folder: str, files: dict[str, bytes]) -> Candidate:
    """Look at the files of a skill.

    Raises:
        SkillRefused: there is no `SKILL.md` among them.
    """
    if FILE_NAME not in files:
        raise SkillRefused(f"There is no {FILE_NAME} in {folder!r}: that file makes a folder a skill.")
    skill, problems = parse(files[FILE_NAME], folder)
    return Candidate(folder, files, digest(files), skill, problems)
