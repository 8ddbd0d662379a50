"""`claw skill examples`: what a person gives, sees and takes away again."""

import json
from pathlib import Path

import pytest

from tests.fixtures.command import Done, Person

CANARY = "pomegranate"


def listed(person: Person, *skill: str) -> list[dict[str, object]]:
    return list(json.loads(person.claw("skill", "examples", "list", *skill, "--json").stdout))


def add(person: Person, folder: Path, given: str, wanted: str) -> Done:
    (folder / "in.txt").write_text(given)
    return person.claw(
        "skill", "examples", "add", "word-count", "-i", str(folder / "in.txt"), "-o", "-", stdin=wanted
    )


def test_an_example_is_added_listed_shown_and_deleted(person: Person, tmp_path: Path) -> None:
    assert "no examples yet" in person.claw("skill", "examples", "list").stderr
    done = add(person, tmp_path, "some \x1b[31mwords", "2")
    assert done.returncode == 0, done.stderr
    assert "word-count has 1 example now." in done.stderr
    (example,) = listed(person, "word-count")
    assert list(example) == ["id", "skill", "kind", "source", "created_ms", "input_bytes", "output_bytes"]
    assert (example["kind"], example["source"], example["output_bytes"]) == ("added", "in.txt", 1)
    example_id = str(example["id"])
    shown = person.claw("skill", "examples", "show", example_id).stdout
    assert shown.startswith(f"{example_id}: word-count, added ")
    assert shown.endswith("\n\nInput:\nsome [31mwords\n\nOutput:\n2\n")
    as_json = json.loads(person.claw("skill", "examples", "show", example_id, "--json").stdout)
    assert (as_json["input"], as_json["output"]) == ("some [31mwords", "2")
    table = person.claw("skill", "examples", "list").stdout
    assert example_id in table
    assert "some" not in table
    asked = person.claw("skill", "examples", "delete", example_id)
    assert asked.returncode == 2
    assert "--yes" in asked.stderr
    assert person.claw("skill", "examples", "delete", example_id, "--yes").stderr == "1 example removed.\n"
    assert listed(person) == []
    log = person.claw("log", "list", "--json").stdout
    assert "1 example removed" in log
    assert "word-count" not in log


def test_all_of_a_skill_go_when_the_person_says_yes(person: Person, tmp_path: Path) -> None:
    for number in range(2):
        add(person, tmp_path, f"{number}", "1")
    for answer, code, kept in (("n", 1, 2), ("y", 0, 0)):
        terminal = person.terminal("skill", "examples", "delete", "--skill", "word-count")
        terminal.sees("Remove 2 examples of word-count for good? [y/N] ")
        terminal.types(answer)
        assert terminal.ends() == code
        assert len(listed(person)) == kept


@pytest.mark.parametrize("arguments", [(), ("0000000000", "--skill", "word-count")])
def test_what_is_deleted_has_to_be_said_in_one_way(person: Person, arguments: tuple[str, ...]) -> None:
    assert person.claw("skill", "examples", "delete", *arguments, "--yes").returncode == 2


def test_a_file_is_imported_with_its_fields_mapped(person: Person, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text("".join(json.dumps({"q": f"{n}?", "text": CANARY, "a": "yes"}) + "\n" for n in range(3)))
    mapped = ("--input-field", "q", "--input-field", "text", "--output-field", "a")
    done = person.claw("skill", "examples", "import", "yes-or-no", str(path), *mapped)
    assert done.returncode == 0
    assert done.stderr == "3 examples imported. yes-or-no has 3 examples now.\n"
    again = person.claw("skill", "examples", "import", "yes-or-no", str(path), *mapped, "--json")
    assert json.loads(again.stdout) == {"added": 0, "known": 3}
    wrong = person.claw("skill", "examples", "import", "yes-or-no", str(path))
    assert wrong.returncode == 2
    assert "some.jsonl, line 1: it has no text in a field 'input'" in wrong.stderr
    assert CANARY not in done.stderr + again.stderr + wrong.stderr
    assert len(listed(person)) == 3


@pytest.mark.parametrize("given", [b"", b"\xff", b"a\0b", b"x" * ((1 << 20) + 1)])
def test_what_is_no_text_is_refused(person: Person, tmp_path: Path, given: bytes) -> None:
    (tmp_path / "in").write_bytes(given)
    done = person.claw("skill", "examples", "add", "it", "-i", str(tmp_path / "in"), "-o", "-", stdin="x")
    assert done.returncode != 0
    assert listed(person) == []


def test_what_is_refused_by_its_names_alone_makes_no_vault(newcomer: Person, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text('{"input": "a", "output": "b"}')
    for arguments in (("import", "No Name", str(path)), ("import", "ok", str(path), "--input-field", '"')):
        assert newcomer.claw("skill", "examples", *arguments).returncode == 2
    assert newcomer.claw("skill", "examples", "add", "No", "-i", str(path), "-o", str(path)).returncode == 2
    assert not newcomer.home.vault.exists()
    assert newcomer.claw("skill", "examples", "list").returncode == 0


def test_standard_input_is_one_of_the_two(person: Person) -> None:
    done = person.claw("skill", "examples", "add", "it", "-i", "-", "-o", "-", stdin="x")
    assert done.returncode == 2


def test_they_travel_in_exports(person: Person, tmp_path: Path) -> None:
    add(person, tmp_path, CANARY, "1")
    assert person.claw("vault", "export", str(tmp_path / "out"), "--yes").returncode == 0
    (line,) = (tmp_path / "out" / "tables" / "skill_examples.jsonl").read_text().splitlines()
    assert json.loads(line)["input"] == CANARY
