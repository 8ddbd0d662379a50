"""`SKILL.md`: what is taken, what is refused, and at which line."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from skills.skill_file import MOST_BYTES, Problem, Requests, parse

GOOD = """\
---
name: meeting-notes
description: Summarises meetings --- with owners. Use when somebody hands in a transcript.
license: MIT
compatibility: Needs nothing but Python
allowed-tools: read_file search_files
metadata:
  author: somebody
  openclaw-core.tools: "search_files memory_add"
  openclaw-core.egress: "example.org"
---
# How to

Read it, then write.
"""


def problems(text: str | bytes, folder: str = "meeting-notes") -> list[Problem]:
    return parse(text.encode() if isinstance(text, str) else text, folder)[1]


def without(line: str) -> str:
    return "".join(kept for kept in GOOD.splitlines(keepends=True) if not kept.startswith(line))


def with_line(start: str, line: str) -> str:
    return "".join(line + "\n" if kept.startswith(start) else kept for kept in GOOD.splitlines(keepends=True))


def test_what_it_says_is_read() -> None:
    skill, found = parse(GOOD.encode(), "meeting-notes")
    assert found == []
    assert skill is not None
    assert skill.name == "meeting-notes"
    assert skill.description.startswith("Summarises meetings --- with owners.")
    assert skill.licence == "MIT"
    assert skill.compatibility == "Needs nothing but Python"
    assert skill.metadata["author"] == "somebody"
    assert skill.body == "# How to\n\nRead it, then write.\n"
    assert GOOD.splitlines()[skill.body_line - 1] == "# How to"


def test_what_it_asks_for_is_collected_and_grants_nothing() -> None:
    skill, _ = parse(GOOD.encode(), "meeting-notes")
    assert skill is not None
    assert skill.requests == Requests(tools=("read_file", "search_files", "memory_add"), egress=("example.org",))


def test_line_ends_of_windows_are_as_good() -> None:
    assert parse(GOOD.replace("\n", "\r\n").encode(), "meeting-notes") == parse(GOOD.encode(), "meeting-notes")


def test_a_description_over_several_lines_is_one() -> None:
    text = with_line("description", "description: >\n  Summarises\n  meetings.\n  --- and more")
    skill, found = parse(text.encode(), "meeting-notes")
    assert found == []
    assert skill is not None
    assert skill.description == "Summarises meetings. --- and more"


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("Meeting-notes", "Meeting-notes"),
        ("meeting--notes", "meeting--notes"),
        ("-meeting", "-meeting"),
        ("meeting-", "meeting-"),
        ("meeting notes", "meeting notes"),
        ("mееting", "mееting"),  # two letters are Cyrillic
        ("a" * 65, "a" * 65),
        ("../up", "../up"),
        ("other", "meeting-notes"),
        ("''", ""),
    ],
)
def test_a_name_that_is_none_is_refused_at_its_line(name: str, folder: str) -> None:
    found = problems(with_line("name", f"name: {name}"), folder)
    assert [problem.line for problem in found] == [2]


@pytest.mark.parametrize("missing", ["name", "description"])
def test_what_has_to_be_there_is_missed(missing: str) -> None:
    assert problems(without(missing)) == [Problem(1, f"{missing} is missing")]


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        (with_line("license", "licence: MIT"), 4, "licence"),
        (with_line("license", "name: again"), 4, "twice"),
        (with_line("license", "license: [MIT]"), 4, "lists"),
        (with_line("license", "license: &x MIT"), 4, "anchors"),
        (with_line("license", "license: *x"), 4, "aliases"),
        (with_line("license", "license: !!python/object:os.system x"), 4, "tags"),
        (with_line("license", "license: {a: b}"), 4, "text"),
        (with_line("license", "license: ''"), 4, "empty"),
        (with_line("license", "<<: {a: b}"), 4, "key has to be text"),
        (with_line("license", "license: MIT\n ...: x: y"), 5, "YAML"),
        (with_line("description", f"description: {'x' * 1025}"), 3, "1,025"),
        (with_line("description", 'description: "a \\u202e b"'), 3, "invisible"),
        (with_line("description", 'description: "a \\u001b[2J b"'), 3, "control"),
        (with_line("compatibility", f"compatibility: {'x' * 501}"), 5, "501"),
        (with_line("  author", "  author: 7"), 8, "quotes"),
        (with_line("  author", "  author: [x]"), 8, "lists"),
        (with_line("  author", "  author: {name: x}"), 8, "only metadata"),
        (with_line("license", "license: {a: {b: c}}"), 4, "only metadata"),
        (with_line("license", "#" * (16 << 10)), 4, "16 KiB"),
        (with_line("  author", "  openclaw-core.root: 'yes'"), 8, "openclaw-core.root"),
        (GOOD.replace("---\n", "", 1), 1, "begin"),
        (GOOD.split("---\n# How")[0], 11, "ended"),
        ("---\n---\nbody", 2, "keys and values"),
        ("---\n- a\n---\nbody", 2, "lists"),
        ("---\ntext\n---\nbody", 2, "keys and values"),
        ("", 1, "begin"),
        (GOOD[: GOOD.index("# How")], 12, "no instructions"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, line: int, word: str) -> None:
    skill, found = parse(text.encode(), "meeting-notes")
    assert skill is None
    assert any(word in problem.text and problem.line in (line, 7) for problem in found), found


def test_bytes_that_are_no_text_are_refused_at_their_line() -> None:
    assert problems(GOOD.encode() + b"\xff")[0].line == len(GOOD.splitlines()) + 1
    assert problems(GOOD + "\0")[0].line == len(GOOD.splitlines()) + 1
    assert "256 KiB" in problems(b"x" * (MOST_BYTES + 1))[0].text


def test_long_instructions_are_advised_against_and_taken() -> None:
    skill, found = parse((GOOD + "line\n" * 6000).encode(), "meeting-notes")
    assert skill is not None
    assert [problem.refused for problem in found] == [False, False]


@pytest.mark.parametrize(
    "piece", ["{", "[", "- ", "? ", "{a: ", "{? ", "[{", "&a ", "*a ", "!a ", "a: ", "{\n", "a: {", "{,", "'", '"']
)
@pytest.mark.parametrize("before", ["", "name: ", "metadata: {a: "])
def test_values_in_values_are_refused_before_the_time_that_they_take_is_spent(
    before: str, piece: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0
    fetch_more_tokens = yaml.SafeLoader.fetch_more_tokens

    def counted(loader: yaml.SafeLoader) -> None:
        nonlocal looked
        looked += 1
        fetch_more_tokens(loader)

    monkeypatch.setattr(yaml.SafeLoader, "fetch_more_tokens", counted)
    assert problems(f"---\n{before}{piece * (16_000 // len(piece))}\n---\nbody")[0].refused
    assert looked < 1_100  # as far as PyYAML looks ahead for the end of a key


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_nothing_that_anybody_writes_gets_further_than_a_problem(data: bytes) -> None:
    for whole in (data, b"---\n" + data + b"\n---\nbody\n", GOOD.encode().replace(b"somebody", data)):
        skill, found = parse(whole, "meeting-notes")
        assert (skill is None) == any(problem.refused for problem in found)
        assert all(problem.line >= 1 for problem in found)
