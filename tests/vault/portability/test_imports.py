"""Imports: a round trip loses nothing, what is here stays, what was erased stays away, and bombs are refused."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.vault.portability.conftest import CANARY, files_of, rows_of
from tests.vault.portability.test_backup import KEY
from tests.vault.portability.test_chatgpt import TREE, conversation, node
from vault.errors import ImportRefused, VersionTooNew
from vault.home import Home
from vault.inventory import TABLES
from vault.log.entries import Action
from vault.messages import Session
from vault.note_store import NoteStore
from vault.portability import imports, merge, sources
from vault.portability.backup import back_up
from vault.portability.export import export, tables_in_exports
from vault.portability.imports import import_path
from vault.portability.json_array import MAX_VALUES
from vault.portability.manifest import MANIFEST, table_file
from vault.portability.merge import Merged
from vault.portability.restore import merge_backup
from vault.portability.staging import tables_that_merge
from vault.store import Vault
from vault.tombstones import Buried

OF_ONE_DEVICE = {
    "log_entries",
    "log_state",
    "retention",
    "notifications",
    "egress_days",
    "learning_days",
    "consents",
    "participations",
    "federation_releases",
    "skills",
    "skill_files",
    "skill_adapters",
    "skill_adapter_parts",
    "skill_adapter_examples",
    "permissions",
}


@pytest.fixture
def exported(furnished: Vault, tmp_path: Path) -> Path:
    """An export of the furnished vault."""
    export(furnished, tmp_path / "out")
    return tmp_path / "out"


def texts(vault: Vault) -> dict[str, list[tuple[str, str]]]:
    """What every conversation says, by its title."""
    return {
        session.title: [(message.role, message.text) for message in vault.conversations.tree(session.id)]
        for session in vault.conversations.sessions()
    }


def as_file(folder: Path, *conversations: object) -> Path:
    path = folder / "conversations.json"
    path.write_text(json.dumps(conversations))
    return path


def forge(exported: Path, table: str, change: Callable[[bytes], bytes]) -> None:
    """Change a table of an export, and its manifest with it."""
    from vault.portability.digests import Tally

    path = exported / table_file(table)
    lines = change(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(b"".join(lines))
    tally = Tally()
    for line in lines:
        tally.add(line)
    manifest = json.loads((exported / MANIFEST).read_text())
    manifest["files"][table_file(table)] = msgspec.to_builtins(tally.digest)
    (exported / MANIFEST).write_text(json.dumps(manifest))


def test_a_round_trip_through_a_fresh_vault_gives_the_same_bytes_again(
    furnished: Vault, exported: Path, other: Vault, tmp_path: Path
) -> None:
    merged = import_path(other, exported).merged
    assert merged == Merged(added=2, messages=3, models=1, examples=1, notes=1, buried=1)
    export(other, tmp_path / "again")
    before, after = files_of(exported), files_of(tmp_path / "again")
    differing = {name for name in before | after if before.get(name) != after.get(name)}
    assert differing == {MANIFEST, *(table_file(name) for name in OF_ONE_DEVICE)}
    assert rows_of(other, *tables_that_merge()) == rows_of(furnished, *tables_that_merge())
    assert set(tables_in_exports()) - OF_ONE_DEVICE == set(tables_that_merge())
    assert other.conversations.search("question")


def test_what_tells_of_one_device_is_named_in_the_inventory_alone() -> None:
    assert {name for name in tables_in_exports() if not TABLES[name].merges} == OF_ONE_DEVICE


def test_importing_twice_changes_nothing(exported: Path, other: Vault) -> None:
    import_path(other, exported)
    before = rows_of(other, *tables_that_merge())
    assert import_path(other, exported).merged == Merged(known=2)
    assert import_path(other, exported / "conversations.json").merged == Merged(known=1)
    assert rows_of(other, *tables_that_merge()) == before


def test_what_is_here_stays_and_what_is_new_is_added_beside_it(exported: Path, other: Vault) -> None:
    mine = other.conversations.start("mine", "")
    other.conversations.append(mine.id, None, "user", "here first")
    before = texts(other)
    merged = import_path(other, exported).merged
    assert (merged.added, merged.messages) == (2, 3)
    assert before.items() <= texts(other).items()
    assert len(texts(other)) == 3
    message = next(hit for hit in other.conversations.search("question"))
    (asked, *_) = other.conversations.path(message.session_id)
    assert asked.attachments[0].name == "notes.txt"
    assert other.conversations.path(message.session_id)[1].generation is not None


def test_a_conversation_that_went_on_here_is_joined_not_doubled(
    furnished: Vault, exported: Path, other: Vault, tmp_path: Path
) -> None:
    import_path(other, exported)
    session = next(s for s in other.conversations.sessions() if s.head)
    other.conversations.append(session.id, session.head, "user", "said there")
    mine = furnished.conversations.append(session.id, session.head, "user", "said here")
    export(other, tmp_path / "grown")
    merged = import_path(furnished, tmp_path / "grown").merged
    assert (merged.extended, merged.messages, merged.added, merged.copied) == (1, 1, 0, 0)
    found = furnished.conversations.tree(session.id)
    assert [m.text for m in found if m.parent_id == session.head] == ["said here", "said there"]
    assert furnished.conversations.find(session.id).head == mine.id


def test_what_an_import_added_to_a_conversation_is_erased_with_its_source_and_stays_away(
    other: Vault, tmp_path: Path
) -> None:
    import_path(other, as_file(tmp_path, reworded("first")))
    later = tmp_path / "later.json"
    later.write_text(json.dumps([reworded("first", and_then="a secret")]))
    import_path(other, later)
    (session,) = other.conversations.sessions()
    assert [message.source for message in other.conversations.path(session.id)] == [
        "import:conversations.json",
        "import:conversations.json",
        "import:later.json",
    ]
    other.erasure.carry_out(other.erasure.of_source("later.json"))
    assert other.conversations.search("secret") == []
    assert import_path(other, later).merged == Merged(known=1, erased=1)
    assert len(other.conversations.tree(session.id)) == 2


def test_where_messages_came_from_travels_with_them(other: Vault, tmp_path: Path) -> None:
    import_path(other, as_file(tmp_path, reworded("first")))
    export(other, tmp_path / "out")
    back_up(other, tmp_path / "b.age", KEY)
    taken: list[Callable[[Vault], object]] = [
        lambda vault: import_path(vault, tmp_path / "out"),
        lambda vault: merge_backup(vault, tmp_path / "b.age", KEY),
    ]
    for number, take in enumerate(taken):
        home = Home.locate({"CLAW_HOME": str(tmp_path / f"home {number}")})
        with Vault.create(home, PASSPHRASE, cost=CHEAP) as vault:
            vault.conversations.start("something is here", "")
            take(vault)
            assert len(vault.erasure.of_source("conversations.json").sessions) == 1
            hit = vault.conversations.search("answered")[0]
            assert {m.source for m in vault.conversations.path(hit.session_id)} == {"import:conversations.json"}


@pytest.mark.parametrize("schema", [0, 1, 2])
def test_an_older_export_lacks_no_table_that_there_was_then(other: Vault, exported: Path, schema: int) -> None:
    manifest = json.loads((exported / MANIFEST).read_text())
    files = {name: digest for name, digest in manifest["files"].items() if name != table_file("messages")}
    (exported / MANIFEST).write_text(json.dumps({**manifest, "files": files, "schema": schema}))
    assert refusal(other, exported)


def test_an_export_of_before_messages_had_sources_is_taken(other: Vault, exported: Path) -> None:
    forge(exported, "messages", lambda data: data.replace(b',"source":null', b""))
    assert b"source" not in (exported / table_file("messages")).read_bytes()
    manifest = json.loads((exported / MANIFEST).read_text())
    (exported / MANIFEST).write_text(json.dumps({**manifest, "schema": 2}))
    assert import_path(other, exported).merged.messages == 3


def test_where_nobody_went_on_here_the_conversation_goes_on_where_it_went(other: Vault, tmp_path: Path) -> None:
    import_path(other, as_file(tmp_path, TREE))
    (session,) = other.conversations.sessions()
    longer = {
        **TREE,
        "mapping": {**TREE["mapping"], "more": node("user", "And?", parent="a2")},
        "current_node": "more",
    }
    assert import_path(other, as_file(tmp_path, longer)).merged == Merged(extended=1, messages=1)
    assert [m.text for m in other.conversations.path(session.id)][-1] == "And?"


def test_ids_that_mean_something_else_here_are_replaced(furnished: Vault, exported: Path) -> None:
    forge(exported, "messages", lambda data: data.replace(b"the first answer", b"something else"))
    before = texts(furnished)
    merged = import_path(furnished, exported).merged
    assert (merged.copied, merged.known, merged.messages) == (1, 1, 3)
    assert len(furnished.conversations.sessions()) == 3
    assert all(title in texts(furnished) for title in before)
    assert import_path(furnished, exported).merged == Merged(known=2), "the copy is found again"


def test_what_was_erased_here_stays_away(furnished: Vault, exported: Path) -> None:
    sessions = {session.title: session for session in furnished.conversations.sessions()}
    long = next(session for title, session in sessions.items() if title != "empty")
    answer = furnished.conversations.path(long.id)[-1]
    furnished.erasure.carry_out(furnished.erasure.of_message(answer.id))
    furnished.erasure.carry_out(furnished.erasure.of_sessions([sessions["empty"]]))
    furnished.erasure.carry_out(furnished.erasure.of_source("notes.txt"))
    before = texts(furnished)
    merged = import_path(furnished, exported).merged
    assert (merged.erased, merged.known, merged.messages) == (2, 1, 0)
    assert texts(furnished) == before
    assert furnished.conversations.tree(long.id)[0].attachments == ()
    furnished.erasure.carry_out(furnished.erasure.of_sessions([long]))
    assert import_path(furnished, exported).merged == Merged(erased=2)
    assert furnished.conversations.sessions() == []
    assert furnished.conversations.search("question") == []


def test_an_example_that_was_removed_here_stays_away(furnished: Vault, exported: Path, tmp_path: Path) -> None:
    back_up(furnished, tmp_path / "before.age", KEY)
    furnished.erasure.carry_out(furnished.erasure.of_source(f"{CANARY}.txt"))
    assert import_path(furnished, exported).merged.erased == 1
    assert merge_backup(furnished, tmp_path / "before.age", KEY).erased == 1
    assert rows_of(furnished, "skill_examples")["skill_examples"] == []


def test_an_example_that_is_here_gets_no_tombstone_from_elsewhere(
    furnished: Vault, exported: Path, other: Vault, tmp_path: Path
) -> None:
    import_path(other, exported)
    other.erasure.carry_out(other.erasure.of_source(f"{CANARY}.txt"))
    back_up(other, tmp_path / "erased.age", KEY)
    before = rows_of(furnished, "skill_examples", "tombstones")
    merge_backup(furnished, tmp_path / "erased.age", KEY)
    assert rows_of(furnished, "skill_examples", "tombstones") == before


def test_a_note_that_was_forgotten_here_stays_away(furnished: Vault, exported: Path, tmp_path: Path) -> None:
    back_up(furnished, tmp_path / "before.age", KEY)
    (note,) = NoteStore(furnished.database).all()
    NoteStore(furnished.database).forget(note.id)
    import_path(furnished, exported)
    merge_backup(furnished, tmp_path / "before.age", KEY)
    assert NoteStore(furnished.database).all() == []


def test_notes_from_elsewhere_are_counted_named_as_such_and_never_too_many(
    exported: Path, other: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    NoteStore(other.database).add("mine", "the person")
    other.conversations.start("something is here", "")
    monkeypatch.setattr(merge, "MOST_NOTES", 1)
    with pytest.raises(ImportRefused, match="more than 1 notes"):
        import_path(other, exported)
    monkeypatch.undo()
    assert import_path(other, exported).merged.notes == 1
    assert {(note.text, note.source) for note in NoteStore(other.database).all()} == {
        ("mine", "the person"),
        ("milk, and é", "an import"),
    }


@pytest.mark.parametrize(
    "change", [{"text": "x" * 5000}, {"text": "\x1b[2J"}, {"source": "\u202e"}, {"id": "../x"}]
)
def test_what_could_not_be_a_note_is_refused(exported: Path, other: Vault, change: dict[str, object]) -> None:
    forge(exported, "notes", lambda data: msgspec.json.encode({**json.loads(data), **change}) + b"\n")
    with pytest.raises(ImportRefused, match=r"notes.jsonl, line 1"):
        import_path(other, exported)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "learnt"},
        {"skill": "Not a name"},
        {"id": "no id/"},
        {"input": {"base64": "/w=="}},
        {"output": None},
        {"created_ms": -1},
    ],
)
def test_what_could_not_be_an_example_is_refused(exported: Path, other: Vault, change: dict[str, object]) -> None:
    forge(exported, "skill_examples", lambda data: msgspec.json.encode({**json.loads(data), **change}) + b"\n")
    with pytest.raises(ImportRefused, match=r"skill_examples.jsonl, line 1"):
        import_path(other, exported)
    assert other.conversations.sessions() == []


def reworded(text: str, *, and_then: str = "") -> dict[str, Any]:
    """A conversation that always has the same id, whatever is said in it."""
    mapping = {"q": node("user", text), "a": node("assistant", f"{text} answered", parent="q")}
    if and_then:
        mapping["more"] = node("user", and_then, parent="a")
    return conversation(mapping, conversation_id="the same", title=text)


def copy_in(vault: Vault) -> Session:
    """The conversation that got other ids, because those of the one before were taken."""
    return next(s for s in vault.conversations.sessions() if s.title == "second")


@pytest.fixture
def doubled(other: Vault, tmp_path: Path) -> Path:
    """What was imported last into a vault that holds two conversations of one foreign id."""
    import_path(other, as_file(tmp_path, reworded("first")))
    assert import_path(other, as_file(tmp_path, reworded("second"))).merged.copied == 1
    return tmp_path / "conversations.json"


def test_an_erased_copy_stays_away_also_once_more_was_said_in_it(
    other: Vault, doubled: Path, tmp_path: Path
) -> None:
    other.erasure.carry_out(other.erasure.of_sessions([copy_in(other)]))
    assert import_path(other, doubled).merged == Merged(erased=1)
    grown = as_file(tmp_path, reworded("second", and_then="third"))
    assert import_path(other, grown).merged == Merged(erased=1)
    assert set(texts(other)) == {"first"}


def test_an_erased_message_of_a_copy_stays_away_also_once_more_was_said(
    other: Vault, doubled: Path, tmp_path: Path
) -> None:
    answer = other.conversations.path(copy_in(other).id)[-1]
    other.erasure.carry_out(other.erasure.of_message(answer.id))
    for path in (doubled, as_file(tmp_path, reworded("second", and_then="third"))):
        assert import_path(other, path).merged.messages == 0
        assert texts(other)["second"] == [("user", "second")]


def test_an_erased_copy_doesnt_come_back_under_the_ids_of_the_conversation_that_made_it_one(
    other: Vault, doubled: Path
) -> None:
    (first,) = (s for s in other.conversations.sessions() if s.title == "first")
    other.erasure.carry_out(other.erasure.of_sessions([copy_in(other)]))
    other.conversations.delete(first.id)
    assert import_path(other, doubled).merged == Merged(erased=1)
    assert texts(other) == {}


def test_a_copy_that_went_on_is_joined(other: Vault, doubled: Path, tmp_path: Path) -> None:
    grown = as_file(tmp_path, reworded("second", and_then="third"))
    assert import_path(other, grown).merged == Merged(extended=1, messages=1)
    assert [message.text for message in other.conversations.path(copy_in(other).id)] == [
        "second",
        "second answered",
        "third",
    ]


def test_what_was_erased_elsewhere_but_is_here_stays_and_gets_no_tombstone(
    furnished: Vault, exported: Path, other: Vault, tmp_path: Path
) -> None:
    import_path(other, exported)
    session = next(s for s in other.conversations.sessions() if s.head)
    other.erasure.carry_out(other.erasure.of_sessions([session]))
    export(other, tmp_path / "erased")
    import_path(furnished, tmp_path / "erased")
    assert furnished.conversations.find(session.id).head
    assert session.id.encode() not in b"".join(rows_of(furnished, "tombstones")["tombstones"])


def test_an_export_cant_keep_a_backup_from_bringing_back_what_is_ones_own(
    furnished: Vault, exported: Path, other: Vault, tmp_path: Path
) -> None:
    mine = next(session for session in furnished.conversations.sessions() if session.head)
    back_up(furnished, tmp_path / "mine.age", KEY)
    other.conversations.start("something is here", "")
    stone = {"kind": Buried.SESSION, "id": mine.id, "erased_ms": 1}
    for table in ("sessions", "messages", "attachments", "generations"):
        forge(exported, table, lambda _: b"")
    forge(exported, "tombstones", lambda _: msgspec.json.encode(stone) + b"\n")
    assert import_path(other, exported).merged == Merged(models=1, examples=1, notes=1)
    assert merge_backup(other, tmp_path / "mine.age", KEY).erased == 0
    assert other.conversations.find(mine.id).head


def test_a_chatgpt_archive_a_folder_and_a_bare_file_give_the_same(tmp_path: Path) -> None:
    second = conversation({"q": node("user", "Second?")}, conversation_id="second", title="Second")
    parts = {
        "conversations-000.json": [TREE],
        "conversations-001.json": [second],
        "chat.html": "x",
        "user.json": {},
    }
    (tmp_path / "unpacked").mkdir()
    with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(f"2026-11-20/{name}", json.dumps(content))
            (tmp_path / "unpacked" / name).write_text(json.dumps(content))
    found = []
    for path in (tmp_path / "export.zip", tmp_path / "unpacked", as_file(tmp_path, TREE, second)):
        home = Home.locate({"CLAW_HOME": str(tmp_path / f"home of {path.name}")})
        with Vault.create(home, PASSPHRASE, cost=CHEAP) as vault:
            assert import_path(vault, path).merged == Merged(added=2, messages=5)
            found.append(texts(vault))
            assert {session.source for session in vault.conversations.sessions()} == {f"import:{path.name}"}
    assert found[0] == found[1] == found[2]
    assert set(found[0]) == {"A title", "Second"}


def test_what_isnt_taken_is_counted_by_its_reason(other: Vault, tmp_path: Path) -> None:
    mapping = {
        "q": node("user", "?"),
        "t": node("assistant", parent="q", content={"content_type": "thoughts"}),
    }
    taken = import_path(other, as_file(tmp_path, conversation(mapping), conversation({})))
    assert taken.skipped == {"the model's notes to itself": 1}
    assert taken.empty == 1


def test_an_import_is_logged_with_its_numbers(other: Vault, tmp_path: Path) -> None:
    import_path(other, as_file(tmp_path, TREE))
    entry = other.log.entries(1)[0].entry
    assert entry is not None
    assert (entry.action, entry.description) == (Action.IMPORT, "1 conversations, 4 messages, 0 notes")


def refusal(vault: Vault, path: Path) -> str:
    before = rows_of(vault, "sessions", "messages", "log_entries")
    with pytest.raises(ImportRefused) as refused:
        import_path(vault, path)
    assert rows_of(vault, "sessions", "messages", "log_entries") == before
    assert [name for name in os.listdir(vault.home.data) if name.startswith(".import")] == []
    return refused.value.message


def test_one_bad_conversation_keeps_all_of_its_file_out_and_is_named(other: Vault, tmp_path: Path) -> None:
    circle = conversation({"a": node("user", "?", parent="a")})
    assert "conversations.json, conversation 2: its messages answer" in refusal(
        other, as_file(tmp_path, TREE, circle)
    )


@pytest.mark.parametrize(
    "name", ["missing", "empty", "text", "pipe", "folder", "list", "object", "broken.zip", "no.zip"]
)
def test_what_is_no_export_is_refused(other: Vault, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("hello")
    (tmp_path / "list").write_text("[1, 2]")
    (tmp_path / "object").write_text(json.dumps(TREE))
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no archive")
    os.mkfifo(tmp_path / "pipe")
    with zipfile.ZipFile(tmp_path / "no.zip", "w") as archive:
        archive.writestr("other.json", "[]")
    assert refusal(other, tmp_path / name)


def archive_of(path: Path, text: bytes, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("conversations.json", text)
    return path


def test_a_zip_bomb_is_refused_before_it_is_unpacked(other: Vault, tmp_path: Path) -> None:
    bomb = archive_of(tmp_path / "bomb.zip", b"[" + b" " * 50_000_000 + b"]")
    assert bomb.stat().st_size < 100_000
    assert "times its size" in refusal(other, bomb)


def test_an_archive_that_says_it_is_huge_is_refused(
    other: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_UNPACKED", 1000)
    assert "unpacks to more" in refusal(other, archive_of(tmp_path / "a.zip", json.dumps([TREE]).encode()))


def test_an_archive_that_is_damaged_or_encrypted_is_refused(other: Vault, tmp_path: Path) -> None:
    whole = archive_of(tmp_path / "a.zip", json.dumps([TREE]).encode()).read_bytes()
    flag = whole.index(b"PK\x01\x02") + 8
    for position, bit in ((flag, 1), (60, 4), (80, 255)):
        damaged = bytearray(whole)
        damaged[position] ^= bit
        (tmp_path / "b.zip").write_bytes(damaged)
        assert refusal(other, tmp_path / "b.zip")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_archives_with_flipped_bytes_are_taken_or_refused(
    other: Vault, tmp_path: Path, data: st.DataObject
) -> None:
    whole = bytearray(archive_of(tmp_path / "a.zip", json.dumps([TREE]).encode()).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "b.zip").write_bytes(whole)
    try:
        merged = import_path(other, tmp_path / "b.zip").merged
    except ImportRefused:
        return
    assert merged.messages in (0, 4)


def test_an_export_that_was_changed_or_cut_is_refused(other: Vault, exported: Path, tmp_path: Path) -> None:
    def changed(table: str, change: Callable[[bytes], bytes]) -> Path:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(exported, copy)
        path = copy / table_file(table)
        path.write_bytes(change(path.read_bytes()))
        return copy

    assert "was changed" in refusal(other, changed("messages", lambda data: data.replace(b"question", b"answer!!")))
    assert "was changed" in refusal(other, changed("models", lambda _: b""))
    assert "cut off" in refusal(other, changed("sessions", lambda data: data[:-1]))
    assert "messages.jsonl, line 1:" in refusal(other, changed("messages", lambda data: data[2:]))
    (changed("models", bytes) / table_file("models")).unlink()
    assert "is missing" in refusal(other, tmp_path / "copy")


@pytest.mark.parametrize(
    ("table", "before", "after"),
    [
        ("messages", b'"role":"user"', b'"role":"system"'),
        ("messages", b'"parent_id":null', b'"parent_id":"0000000000000000"'),
        ("messages", b'"status":"complete"', b'"status":"unheard of"'),
        ("sessions", b'"n":3', b'"n":2'),
        ("sessions", b'"n":3', b'"m":3'),
        ("models", b'"file":"tiny.gguf"', b'"file":"../vault/vault.db"'),
        ("models", b'"file":"tiny.gguf"', b'"file":"another.gguf"'),
        ("models", b'"name":"tiny"', b'"name":"smollm2-135m-instruct"'),
        ("tombstones", b"{", b"["),
    ],
)
def test_an_export_that_was_forged_is_refused_with_its_line(
    other: Vault, exported: Path, table: str, before: bytes, after: bytes
) -> None:
    assert before in (exported / table_file(table)).read_bytes()
    forge(exported, table, lambda data: data.replace(before, after))
    assert refusal(other, exported)


def test_a_conversation_that_goes_on_from_a_message_that_is_nowhere_is_refused(
    other: Vault, exported: Path
) -> None:
    forge(exported, "sessions", lambda data: data.replace(b'"head":null', b'"head":"nosuchmessage"'))
    assert "goes on from a message that isn't its own" in refusal(other, exported)


def test_a_conversation_that_goes_on_from_another_ones_message_is_refused(other: Vault, exported: Path) -> None:
    first = json.loads((exported / table_file("messages")).read_text().splitlines()[0])
    head = f'"head":"{first["id"]}"'.encode()
    forge(exported, "sessions", lambda data: data.replace(b'"head":null', head))
    assert "goes on from a message that isn't its own" in refusal(other, exported)


def test_a_line_that_is_too_long_is_refused_before_it_is_parsed(
    other: Vault, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "MAX_LINE", 100)
    assert "sessions.jsonl, line 1: it is cut off, or too long" in refusal(other, exported)


def test_the_longest_message_that_can_be_imported_survives_an_export(other: Vault, tmp_path: Path) -> None:
    half = (MAX_VALUES - 100) // 2
    parts: list[object] = [{}] * half + ["\b"] * half  # each takes the most room once it is written
    long = conversation({"q": node("user", *parts)})
    import_path(other, as_file(tmp_path, long))
    export(other, tmp_path / "out")
    home = Home.locate({"CLAW_HOME": str(tmp_path / "home of the export")})
    with Vault.create(home, PASSPHRASE, cost=CHEAP) as vault:
        assert import_path(vault, tmp_path / "out").merged.messages == 1
        assert texts(vault) == texts(other)


def test_a_manifest_that_is_none_or_of_a_newer_version_is_refused(other: Vault, exported: Path) -> None:
    manifest: dict[str, Any] = json.loads((exported / MANIFEST).read_text())

    def written(**changes: object) -> Path:
        (exported / MANIFEST).write_text(json.dumps({**manifest, **changes}))
        return exported

    for newer in ({"version": 2}, {"schema": 99}):
        with pytest.raises(VersionTooNew):
            import_path(other, written(**newer))
    unknown = {**manifest["files"], "tables/elsewhere.jsonl": {"rows": 0, "bytes": 0, "sha256": ""}}
    assert "isn't known here" in refusal(other, written(files=unknown))
    missing = {name: digest for name, digest in manifest["files"].items() if name != table_file("models")}
    assert "doesn't name" in refusal(other, written(files=missing))
    assert refusal(other, written(format="something else"))
    (exported / MANIFEST).write_bytes(b"\xff")
    assert refusal(other, exported)


def test_a_table_that_is_missing_from_an_export_is_named(other: Vault, exported: Path) -> None:
    (exported / table_file("sessions")).unlink()
    with pytest.raises(ImportRefused, match=r"tables/sessions.* is missing") as caught:
        import_path(other, exported)
    assert caught.value.hint == "Export again."
