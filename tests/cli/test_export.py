"""`claw vault export` and `claw vault import`, as a person runs them."""

import json
import re
from pathlib import Path

from tests.fixtures.command import Person


def say(person: Person, *texts: str) -> None:
    with person.vault() as vault:
        for text in texts:
            session = vault.conversations.start(text, "")
            vault.conversations.append(session.id, None, "user", text)


def test_at_a_terminal_it_warns_and_asks_first(person: Person) -> None:
    say(person, "a question")
    folder = person.folder / "out"
    terminal = person.terminal("vault", "export", str(folder))
    terminal.sees("NOT ENCRYPTED")
    terminal.sees("Write it? [y/N] ")
    terminal.types("n")
    terminal.sees("Nothing was written.")
    assert terminal.ends() == 1
    assert not folder.exists()
    terminal = person.terminal("vault", "export", str(folder))
    terminal.sees("Write it? [y/N] ")
    terminal.types("y")
    terminal.sees("lie in the clear")
    assert terminal.ends() == 0
    assert (folder / "README.md").exists()


def test_without_a_terminal_it_wants_to_be_told(person: Person) -> None:
    folder = person.folder / "out"
    done = person.claw("vault", "export", str(folder))
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert not folder.exists()
    done = person.claw("vault", "export", str(folder), "--yes", "--json")
    assert json.loads(done.stdout)["conversations"] == 0
    assert person.claw("vault", "export", str(folder), "--yes").returncode == 1


def test_an_export_is_imported_into_another_vault(person: Person) -> None:
    say(person, "first", "second \x1b[31m")
    folder = str(person.folder / "out")
    assert person.claw("vault", "export", folder, "--yes").returncode == 0
    there = str(person.folder / "there")
    assert person.claw("vault", "init", CLAW_HOME=there).returncode == 0
    done = person.claw("vault", "import", folder, CLAW_HOME=there)
    assert done.returncode == 0, done.stderr
    assert "2  conversations added" in done.stderr
    assert "first" in person.claw("chat", "search", "first", CLAW_HOME=there).stdout
    again = person.claw("vault", "import", folder, "--json", CLAW_HOME=there)
    assert json.loads(again.stdout)["known"] == 2


def test_chatgpts_export_is_imported_and_what_isnt_taken_is_said(person: Person, tmp_path: Path) -> None:
    def message(role: str, text: str, **more: object) -> dict[str, object]:
        return {"author": {"role": role}, "content": {"content_type": "text", "parts": [text], **more}}

    mapping = {
        "root": {"message": None, "parent": None},
        "q": {"message": message("user", "Is it \x1b]52;c;AAAA\x07 safe?"), "parent": "root"},
        "t": {"message": message("assistant", "hm", content_type="thoughts"), "parent": "q"},
        "a": {"message": message("assistant", "It is."), "parent": "t"},
    }
    file = tmp_path / "conversations.json"
    file.write_text(json.dumps([{"title": "Safety", "mapping": mapping, "current_node": "a", "id": "x"}]))
    done = person.claw("vault", "import", str(file))
    assert done.returncode == 0, done.stderr
    assert "1  conversation added" in done.stderr
    assert "1  left out: the model's notes to itself" in done.stderr
    shown = person.claw("chat", "show", "Safety")
    assert "Is it ]52;c;AAAA safe?" in shown.stdout
    assert "It is." in shown.stdout


def test_what_cant_be_imported_is_refused_with_a_way_on(person: Person, tmp_path: Path) -> None:
    file = tmp_path / "conversations.json"
    for text in ("", "hello", "[1]", '[{"mapping": {"a": {"parent": "a"}}}]'):
        file.write_text(text)
        done = person.claw("vault", "import", str(file))
        assert done.returncode == 2
        assert done.stderr.startswith("claw: ")
    assert person.claw("vault", "import", str(tmp_path / "missing")).returncode == 2
    assert person.claw("vault", "import", str(tmp_path)).returncode == 2


def test_the_sub_verb_is_called_import_though_a_module_cant_be(person: Person) -> None:
    assert "conversations.json" in person.claw("vault", "import", "--help").stdout
    script = person.claw("completion", "bash").stdout
    assert {"backup", "restore", "export", "import"} <= set(re.findall(r"\w+", script))


def test_an_export_never_lies_in_the_vaults_folder(person: Person) -> None:
    done = person.claw("vault", "export", str(person.home.vault / "out"), "--yes")
    assert done.returncode == 1
    assert "keeps its own files" in done.stderr
    assert not (person.home.vault / "out").exists()
