"""Training examples: kept when a person said so, sealed, logged in numbers, and gone when they say that."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from skills.errors import ExampleRefused, ExamplesOff
from skills.example_lines import MOST_BYTES, MOST_TEXT, Fields
from skills.examples import Examples, Imported
from tests.fixtures.databases import decrypted
from tests.fixtures.models import CHEAP, PASSPHRASE
from vault.classes import DataClass
from vault.errors import NotFound
from vault.example_store import ExampleKind
from vault.home import Home
from vault.settings import Settings, SkillSettings
from vault.store import Vault
from vault.tombstones import Buried

ON = SkillSettings(collect_examples=True)
CANARY = "the canary sang of pomegranates"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.locate({"CLAW_HOME": str(tmp_path / "home")})


@pytest.fixture
def vault(home: Home) -> Iterator[Vault]:
    with Vault.create(home, PASSPHRASE, cost=CHEAP) as vault:
        yield vault


@pytest.fixture
def examples(vault: Vault) -> Examples:
    return Examples(vault, Settings().skills)


def lines(folder: Path, *given: object, name: str = "some.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(line) + "\n" for line in given))
    return path


def pair(number: int) -> dict[str, str]:
    return {"input": f"in {number}", "output": f"out {number}"}


def logged(vault: Vault) -> list[str]:
    """What the log says of examples, the newest first."""
    entries = [stored.entry for stored in vault.log.entries() if stored.entry]
    assert all(entry.data_class is DataClass.HIGHLY_SENSITIVE for entry in entries)
    return [entry.description for entry in entries]


# Collecting


def test_results_are_not_collected_unless_that_was_enabled(vault: Vault, examples: Examples) -> None:
    assert not examples.collecting
    with pytest.raises(ExamplesOff) as refused:
        examples.collect("summarizer", "long", "short")
    assert refused.value.exit_code == 4
    assert "claw config set skills.collect_examples true" in refused.value.hint
    assert examples.records() == []
    assert logged(vault) == []


def test_where_it_was_enabled_what_was_accepted_or_corrected_is_kept(vault: Vault) -> None:
    examples = Examples(vault, ON)
    accepted = examples.collect("summarizer", "long", "short", source="notes.txt")
    corrected = examples.collect("summarizer", "longer", "as I want it", corrected=True)
    kept = {example.id: example for example in examples.all("summarizer")}
    assert (kept[accepted].kind, kept[accepted].input, kept[accepted].output, kept[accepted].source) == (
        ExampleKind.ACCEPTED,
        "long",
        "short",
        "notes.txt",
    )
    assert (kept[corrected].kind, kept[corrected].output) == (ExampleKind.CORRECTED, "as I want it")
    assert logged(vault) == ["1 example kept: corrected", "1 example kept: accepted"]


# What is kept


def test_what_a_person_gives_needs_no_setting_and_stays_with_its_skill(examples: Examples) -> None:
    given = examples.add("summarizer", "ü in", "out")
    examples.add("other", "x", "y")
    assert [example.id for example in examples.all("summarizer")] == [given]
    record = examples.records("summarizer")[0]
    assert (record.kind, record.input_bytes, record.output_bytes) == (ExampleKind.ADDED, 5, 3)
    assert len(examples.records()) == 2
    assert examples.get(given).output == "out"
    with pytest.raises(NotFound):
        examples.get("0000000000")


@pytest.mark.parametrize(
    ("skill", "given", "wanted"),
    [
        ("", "a", "b"),
        ("Summarizer", "a", "b"),
        ("a--b", "a", "b"),
        ("а-cyrillic", "a", "b"),
        ("x" * 65, "a", "b"),
        ("ok", "", "b"),
        ("ok", "a", "\u200b \n"),
        ("ok", "x" * (MOST_TEXT + 1), "b"),
    ],
)
def test_what_is_no_example_is_refused(examples: Examples, skill: str, given: str, wanted: str) -> None:
    with pytest.raises(ExampleRefused):
        examples.add(skill, given, wanted)
    assert examples.records() == []


def test_texts_lie_sealed_also_for_who_holds_the_key(vault: Vault, home: Home, examples: Examples) -> None:
    kept = examples.get(examples.add("summarizer", f"in: {CANARY}", f"out: {CANARY}"))
    assert CANARY in kept.input
    assert CANARY not in repr(kept)
    assert vault.database.integrity_errors() == []  # folds the log into the file
    plain = decrypted(home.database, vault._master.derive("database"))
    assert b"summarizer" in plain
    assert CANARY.encode() not in plain


def test_the_log_says_how_many_and_nothing_of_what(vault: Vault, examples: Examples, tmp_path: Path) -> None:
    examples.add("my-divorce", CANARY, CANARY, source="lawyer.txt")
    examples.import_file("my-divorce", lines(tmp_path, pair(1), pair(2), name="letters.jsonl"))
    examples.delete_all("my-divorce")
    assert logged(vault) == ["3 examples removed", "2 examples imported", "1 example kept: added"]
    bodies = vault.database.read(lambda c: c.execute("SELECT body FROM log_entries").fetchall())
    for word in (CANARY, "divorce", "lawyer", "letters"):
        assert word.encode() not in b"".join(bytes(row[0]) for row in bodies)


# Importing


def test_a_file_is_imported_in_its_order_and_twice_is_once(examples: Examples, tmp_path: Path) -> None:
    path = lines(tmp_path, pair(1), pair(2), pair(1))
    assert examples.import_file("summarizer", path) == Imported(2, 1)
    assert [example.input for example in examples.all("summarizer")] == ["in 1", "in 2"]
    assert {example.source for example in examples.all("summarizer")} == {"import:some.jsonl"}
    lines(tmp_path, pair(1), pair(3))
    assert examples.import_file("summarizer", path) == Imported(1, 1)
    assert examples.import_file("another", path) == Imported(2, 0)


def test_fields_are_mapped(examples: Examples, tmp_path: Path) -> None:
    path = lines(tmp_path, {"query": "what?", "excerpt": "talk", "summary": "nothing", "domain": 3})
    examples.import_file("summarizer", path, Fields(("query", "excerpt"), ("summary",)))
    example = next(examples.all("summarizer"))
    assert (example.input, example.output) == ("what?\n\ntalk", "nothing")


@pytest.mark.parametrize("number", [1, 2, 150])
def test_one_wrong_line_and_nothing_is_imported(
    vault: Vault, examples: Examples, tmp_path: Path, number: int
) -> None:
    given: list[object] = [pair(n) for n in range(200)]
    given[number - 1] = {"input": "no output"}
    with pytest.raises(ExampleRefused, match=f"some.jsonl, line {number}: "):
        examples.import_file("summarizer", lines(tmp_path, *given))
    assert examples.records() == []
    assert logged(vault) == []


@pytest.mark.parametrize("what", ["missing", "empty", "folder", "blank", "huge"])
def test_what_cannot_be_read_is_refused(examples: Examples, tmp_path: Path, what: str) -> None:
    path = tmp_path / what
    match what:
        case "empty":
            path.touch()
        case "folder":
            path.mkdir()
        case "huge":
            path.touch()
            os.truncate(path, MOST_BYTES + 1)
        case "blank":
            path.write_text("\n \n")
    with pytest.raises(ExampleRefused):
        examples.import_file("summarizer", path)
    assert examples.records() == []


def test_ctrl_c_leaves_nothing_half(vault: Vault, examples: Examples, tmp_path: Path) -> None:
    path = lines(tmp_path, *map(pair, range(300)))
    pause = threading.Event()
    told: list[tuple[int, int]] = []

    def press_ctrl_c(_doing: str, done: int, total: int | None) -> None:
        assert total is not None
        told.append((done, total))
        if len(told) == 150:
            os.kill(os.getpid(), signal.SIGINT)
            pause.wait(0.4)  # the signal reaches the waiting thread while this one works on

    with pytest.raises(KeyboardInterrupt):
        examples.import_file("summarizer", path, progress=press_ctrl_c)
    assert len(told) >= 150
    assert all(0 < done <= total == path.stat().st_size for done, total in told)
    assert examples.records() == []
    assert logged(vault) == []
    assert examples.import_file("summarizer", path).added == 300


# Removing


def test_what_is_removed_leaves_nothing_in_the_pages(vault: Vault, home: Home, examples: Examples) -> None:
    ids = [examples.add("summarizer", f"in {n}", "out") for n in range(3)]
    sealed = vault.database.read(lambda c: c.execute("SELECT id, input FROM skill_examples").fetchall())
    assert examples.delete(ids[:2]) == (2, "", ())
    assert [record.id for record in examples.records()] == ids[2:]
    plain = decrypted(home.database, vault._master.derive("database"))
    assert {row[0] for row in sealed if bytes(row[1]) in plain} == {ids[2]}
    stones = vault.database.read(lambda c: c.execute("SELECT kind, id FROM tombstones").fetchall())
    assert sorted(stones) == sorted((Buried.EXAMPLE.value, gone) for gone in ids[:2])


def test_an_id_that_is_not_there_and_nothing_is_removed(vault: Vault, examples: Examples) -> None:
    kept = examples.add("summarizer", "in", "out")
    with pytest.raises(NotFound):
        examples.delete([kept, "0000000000"])
    with pytest.raises(NotFound):
        examples.delete_all("another")
    assert [record.id for record in examples.records()] == [kept]
    assert logged(vault) == ["1 example kept: added"]


def test_erasing_a_source_takes_what_came_from_it(vault: Vault, examples: Examples, tmp_path: Path) -> None:
    examples.add("summarizer", "a", "b", source="diagnosis.txt")
    examples.import_file("summarizer", lines(tmp_path, pair(1), name="diagnosis.txt"))
    stays = examples.add("summarizer", "c", "d", source="recipe.txt")
    plan = vault.erasure.of_source("diagnosis.txt")
    assert len(plan.examples) == 2
    receipt = vault.erasure.carry_out(plan)
    assert str(receipt.erased) == "2 training examples"
    assert [record.id for record in examples.records()] == [stays]


def test_they_are_kept_until_erased_unless_the_person_says_otherwise(vault: Vault, examples: Examples) -> None:
    from vault.retention import Retained

    examples.add("summarizer", "a", "b")
    later = examples.records()[0].created_ms + 400 * 24 * 3600 * 1000
    vault.retention.run(later)
    assert len(examples.records()) == 1
    vault.retention.set(Retained.EXAMPLES, 365)
    report = vault.retention.run(later)
    assert report.erased.examples == 1
    assert examples.records() == []
