"""Exports: everything, in files that a person and other programs can read, the same each time."""

import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vault.portability.conftest import CANARY, before_the_log_tells_of_it, files_of, rows_of
from vault.errors import VaultError
from vault.inventory import TABLES, Travels
from vault.log.entries import Action, Status, fold
from vault.messages import Message, MessageId, Session, SessionId
from vault.portability.export import export, tables_in_exports
from vault.portability.manifest import MANIFEST, parse_manifest, table_file
from vault.portability.markdown import as_markdown, file_name
from vault.portability.trees import Conversation
from vault.sanitize import sanitize
from vault.store import Vault


def test_every_table_that_travels_is_there_and_the_manifest_names_every_file(
    furnished: Vault, tmp_path: Path
) -> None:
    before = rows_of(furnished, *tables_in_exports())
    done = export(furnished, tmp_path / "out")
    written = {
        table: (tmp_path / "out" / table_file(table)).read_bytes().splitlines(keepends=True)
        for table in tables_in_exports()
    }
    logged = len(before["log_entries"])
    assert before_the_log_tells_of_it(written, logged) == before_the_log_tells_of_it(before, logged)
    assert len(written["log_entries"]) == logged + 1
    manifest = parse_manifest((tmp_path / "out" / MANIFEST).read_bytes())
    assert {name: digest.sha256 for name, digest in manifest.files.items()} == {
        name: digest for name, digest in files_of(tmp_path / "out").items() if name != MANIFEST
    }
    assert manifest.files["tables/sessions.jsonl"].rows == done.conversations == 2
    assert done.rows == sum(len(rows) for rows in written.values())
    assert done.bytes == sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file())


def test_what_signs_the_log_isnt_in_it_and_the_readme_says_so(furnished: Vault, tmp_path: Path) -> None:
    (secret,) = rows_of(furnished, "secrets")["secrets"]
    key = msgspec.json.decode(secret)["value"]["base64"]
    export(furnished, tmp_path / "out")
    for path in (path for path in (tmp_path / "out").rglob("*") if path.is_file()):
        assert key not in path.read_text()
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "not encrypted" in readme
    assert "the key that signs the transparency log" in readme
    for name, table in TABLES.items():
        assert (table_file(name) in readme) == (table.travels is Travels.EVERYWHERE)


def test_the_conversations_are_there_for_other_programs_and_for_people(furnished: Vault, tmp_path: Path) -> None:
    export(furnished, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "conversations.json").read_text())
    assert [len(conversation["mapping"]) for conversation in written] == [4, 1]
    pages = sorted((tmp_path / "out" / "conversations").iterdir())
    assert len(pages) == 2
    page = next(page.read_text() for page in pages if "Übersicht" in page.name)
    assert "> Answer briefly.\n> In two lines." in page
    assert page.index("question") < page.index("another canary") < page.index("Beside the branch")
    assert page.index("Beside the branch") < page.index("the first answer")
    assert f"Attached: notes.txt\n\n```\n{CANARY} file\n```" in page
    assert sanitize(page) == page


def test_only_its_owner_can_read_it(furnished: Vault, tmp_path: Path, loose_umask: None) -> None:
    export(furnished, tmp_path / "out")
    for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)


def test_an_empty_folder_is_filled_and_anything_else_left_alone(furnished: Vault, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    export(furnished, tmp_path / "empty")
    assert (tmp_path / "empty" / MANIFEST).exists()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    before = files_of(tmp_path / "empty")
    for name in ("empty", "file", "link"):
        with pytest.raises(VaultError, match="there already"):
            export(furnished, tmp_path / name)
    with pytest.raises(VaultError, match="can't be written"):
        export(furnished, tmp_path / "no" / "such" / "folder")
    for name in ("..", "/", "/dev/null"):
        with pytest.raises(VaultError):
            export(furnished, Path(name))
    assert files_of(tmp_path / "empty") == before
    assert sorted(os.listdir(tmp_path)) == ["empty", "file", "home", "link"]


def test_the_folder_that_one_is_in_isnt_replaced_under_ones_feet(
    furnished: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in (".", "../here"):
        with pytest.raises(VaultError, match="folder that you are in"):
            export(furnished, Path(name))
    export(furnished, Path("out"))
    assert Path("out", MANIFEST).exists()


def test_it_is_logged_before_it_appears_without_saying_what_was_in_it(furnished: Vault, tmp_path: Path) -> None:
    done = export(furnished, tmp_path / "out")
    (operation, *_) = fold(furnished.log.entries())
    prepared, finished = (stored.entry for stored in operation.entries)
    assert prepared is not None
    assert finished is not None
    assert (prepared.status, finished.status) == (Status.PREPARED, Status.DONE)
    assert (finished.action, finished.bytes, finished.sensitive) == (Action.EXPORT, done.bytes, True)
    assert finished.encryption == finished.destination == ""
    assert CANARY not in f"{prepared} {finished}"


def test_what_is_refused_before_anything_is_written_isnt_logged(furnished: Vault, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    before = furnished.log.entries()
    with pytest.raises(VaultError, match="there already"):
        export(furnished, tmp_path / "file")
    assert furnished.log.entries() == before


def titled(title: str, created_ms: int = 1_700_000_000_000) -> Conversation:
    return Conversation(Session(SessionId("0123456789"), title, "", created_ms, created_ms), [])


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=300) | st.sampled_from(["../../x", "/etc/passwd", ".hidden", "CON", "a\x00b", "\u202exyz"]))
def test_a_title_never_decides_where_a_file_lies(title: str) -> None:
    name = file_name(titled(title))
    assert name.startswith("2023-11-14-")
    assert name.endswith("-0123456789.md")
    assert Path(name).name == name
    assert len(os.fsencode(name)) < 255
    assert sanitize(name) == name
    assert not set(name) & set("\\:*?\"<>|'$`& \n\t;!")


@pytest.mark.parametrize("created_ms", [0, 253_402_300_799_999, 1 << 62, -(1 << 62)])
def test_a_clock_that_was_wrong_keeps_nothing_from_being_exported(created_ms: int) -> None:
    conversation = titled("t", created_ms)
    assert file_name(conversation).endswith("-t-0123456789.md")
    assert as_markdown(conversation).startswith("# t")


def test_a_file_that_holds_a_fence_is_fenced_by_a_longer_one() -> None:
    from vault.messages import Attachment

    text = "```python\n1\n```\n````"
    session = Session(SessionId("0123456789"), "t", "", 1, 1, MessageId("m"))
    message = Message(MessageId("m"), session.id, None, "user", "see", "cancelled", 1, (Attachment("a.md", text),))
    page = as_markdown(Conversation(session, [message]))
    assert f"`````\n{text}\n`````" in page
    assert "cut off" in page
