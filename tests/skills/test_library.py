"""Skills that were agreed to: kept as they were then, and used as nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from skills.candidate import Candidate, examine, read
from skills.errors import SkillRefused
from skills.library import Library
from tests.fixtures.models import CHEAP, PASSPHRASE
from vault.errors import NotFound
from vault.home import Home
from vault.store import Vault

TEXT = b"---\nname: word-count\ndescription: Counts words.\nallowed-tools: run_script\n---\nRun the script.\n"
FILES = {"SKILL.md": TEXT, "scripts/count.py": b"print(len(input().split()))"}


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    home = Home.locate({"CLAW_HOME": str(tmp_path / "home")})
    with Vault.create(home, PASSPHRASE, cost=CHEAP) as vault:
        yield vault


@pytest.fixture
def library(vault: Vault) -> Library:
    return Library(vault)


def candidate(**changed: bytes) -> Candidate:
    return examine("word-count", {**FILES, **changed})


def test_what_was_agreed_to_is_used_from_the_vault(vault: Vault, library: Library) -> None:
    library.add(candidate(), "from/here")
    skill = library.use("word-count")
    assert skill.files == FILES
    assert skill.file.requests.tools == ("run_script",)
    assert skill.record.source == "from/here"
    assert [record.name for record in library.all()] == ["word-count"]
    entry = vault.log.entry(0)
    assert entry.entry is not None
    assert entry.entry.description.startswith("agreed to a skill of 2 files")


def test_a_disabled_skill_is_not_used_until_it_is_enabled(library: Library) -> None:
    library.add(candidate(), "")
    library.enable("word-count", enabled=False)
    with pytest.raises(SkillRefused, match="disabled"):
        library.use("word-count")
    library.enable("word-count", enabled=True)
    assert library.use("word-count").files == FILES


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE skill_files SET data = x'61' WHERE name = 'scripts/count.py'",
        "DELETE FROM skill_files WHERE name = 'scripts/count.py'",
        "INSERT INTO skill_files VALUES ('word-count', 'scripts/more.py', x'61')",
        "UPDATE skill_files SET name = 'scripts/other.py' WHERE name = 'scripts/count.py'",
        f"UPDATE skills SET digest = '{'0' * 64}'",
    ],
)
def test_a_skill_whose_files_changed_is_disabled_until_it_is_agreed_to_again(
    vault: Vault, library: Library, change: str
) -> None:
    library.add(candidate(), "")
    vault.database.write(lambda c: c.execute(change).rowcount)
    with pytest.raises(SkillRefused, match="aren't those that you agreed to"):
        library.use("word-count")
    assert [record.enabled for record in library.all()] == [False]
    library.add(candidate(), "")
    assert library.use("word-count").files == FILES


def test_another_version_is_compared_and_takes_the_place_of_the_first(library: Library) -> None:
    assert library.changes(candidate()) is None
    library.add(candidate(), "")
    assert library.changes(candidate()) == []
    newer = examine("word-count", {"SKILL.md": TEXT, "scripts/other.py": b""})
    assert library.changes(newer) == ["scripts/count.py", "scripts/other.py"]
    library.add(newer, "")
    assert library.use("word-count").files == newer.files


def test_what_cannot_be_used_cannot_be_agreed_to(library: Library) -> None:
    broken = examine("word-count", {"SKILL.md": TEXT.replace(b"word-count", b"Word-Count")})
    with pytest.raises(SkillRefused, match=r"SKILL\.md, line 2"):
        library.add(broken, "")
    assert library.all() == []


def test_a_removed_skill_is_gone(vault: Vault, library: Library) -> None:
    library.add(candidate(), "")
    library.remove("word-count")
    for attempt in (library.use, library.remove, library.candidate):
        with pytest.raises(NotFound):
            attempt("word-count")
    assert vault.database.read(lambda c: c.execute("SELECT count(*) FROM skill_files").fetchone()) == (0,)


def test_a_skill_is_read_from_its_folder_or_an_archive_of_it(tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "word-count"
    (folder / "scripts").mkdir(parents=True)
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    archive = shutil.make_archive(str(tmp_path / "packed"), "gztar", tmp_path, "word-count")
    assert read(folder) == read(Path(archive)) == candidate()


def test_a_folder_without_its_file_is_no_skill(tmp_path: Path) -> None:
    with pytest.raises(SkillRefused, match=r"There is no SKILL\.md"):
        read(tmp_path)
    with pytest.raises(SkillRefused, match="There is no"):
        read(tmp_path / "missing")
