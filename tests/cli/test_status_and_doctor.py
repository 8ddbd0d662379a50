"""`claw status`, `claw doctor` and `claw vault`: what there is, whether it works, and how to mend what doesn't."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from agent.models.embedded import EMBEDDED_NAME
from tests.fixtures.command import Done, Person

COMPONENTS = ["python", "home", "settings", "encryption", "keychain", "vault", "model", "sandbox"]


def broken(done: Done) -> dict[str, tuple[str, str]]:
    """What `claw doctor --json` found broken: text and mend by component."""
    return {
        finding["component"]: (finding["text"], finding["mend"])
        for finding in json.loads(done.stdout)
        if finding["state"] == "broken"
    }


def test_status_says_what_is_where_and_opens_nothing(person: Person) -> None:
    person.passphrase_file.unlink()
    shown = person.claw("status").stdout
    assert str(person.home.data) in shown
    assert str(person.home.config_file) in shown
    assert "opens by passphrase" in shown
    assert EMBEDDED_NAME in shown
    assert "learning  off" in shown


def test_status_as_json_has_stable_keys(person: Person, tiny_model: Path) -> None:
    person.claw("model", "import", str(tiny_model), "--name", "mine")
    person.claw("model", "use", "mine")
    found = json.loads(person.claw("status", "--json").stdout)
    assert list(found) == ["version", "data", "config", "vault", "lock", "model", "models", "sandbox", "learning"]
    assert list(found["vault"]) == ["folder", "exists", "slots", "bytes"]
    assert found["version"] == version("openclaw-core")
    assert found["vault"]["exists"] is True
    assert found["vault"]["slots"] == ["passphrase"]
    assert found["vault"]["bytes"] > 4096
    assert found["model"] == "mine"
    assert found["models"] == {
        "folder": str(person.home.models),
        "files": 1,
        "bytes": tiny_model.stat().st_size,
    }


def test_status_says_what_programs_are_run_behind_as_the_doctor_does(person: Person) -> None:
    found = json.loads(person.claw("status", "--json").stdout)["sandbox"]
    assert list(found) == ["tier", "failed"]
    shown = person.claw("status").stdout
    seen = next(f for f in json.loads(person.claw("doctor", "--json").stdout) if f["component"] == "sandbox")
    if found["tier"] is None:
        assert "no skill runs a program" in shown
        assert "none works here" in seen["text"]
    else:
        assert f"sandbox   programs run behind {found['tier']}" in shown
        assert seen["text"].startswith(f"programs run behind {found['tier']}")
    assert list((person.folder / "temp").iterdir()) == []


def test_status_before_the_first_run_makes_nothing(newcomer: Person) -> None:
    done = newcomer.claw("status")
    assert done.returncode == 0
    assert "none yet: run `claw`" in done.stdout
    assert json.loads(newcomer.claw("status", "--json").stdout)["vault"]["exists"] is False
    assert newcomer.claw("vault", "status").stdout.startswith("There is no vault")
    assert not newcomer.home.data.exists()


def test_status_tells_of_damaged_key_slots(person: Person) -> None:
    person.home.keyslots.write_text("{}")
    done = person.claw("status")
    assert done.returncode == 0
    assert "damaged" in done.stdout
    assert "damaged" in json.loads(person.claw("vault", "status", "--json").stdout)["problem"]


def test_vault_check_verifies_every_page(person: Person) -> None:
    assert person.claw("vault", "check").stderr == "Everything in the vault is whole.\n"
    data = bytearray(person.home.database.read_bytes())
    data[-2000] ^= 1
    person.home.database.write_bytes(data)
    done = person.claw("vault", "check")
    assert done.returncode == 6
    assert "backup" in done.stderr


def test_the_doctor_finds_everything_well_and_says_what_was_checked(person: Person) -> None:
    done = person.claw("doctor", "--json")
    assert done.returncode == 0, done.stdout
    findings = json.loads(done.stdout)
    assert [list(finding) for finding in findings] == [["component", "state", "text", "mend"]] * len(findings)
    assert list(dict.fromkeys(finding["component"] for finding in findings)) == COMPONENTS
    texts = " ".join(finding["text"] for finding in findings)
    for seen in ("every page is whole", "digest as published", "tokens a second", "no network and no files"):
        assert seen in texts
    assert list((person.folder / "temp").iterdir()) == []


def test_the_doctor_before_the_first_run_makes_nothing(newcomer: Person) -> None:
    done = newcomer.claw("doctor")
    assert done.returncode == 0
    assert "isn't there yet" in done.stdout
    assert not newcomer.home.data.exists()


def test_the_doctor_with_a_locked_vault_says_what_was_not_checked(person: Person) -> None:
    done = person.claw("doctor", CLAW_PASSPHRASE_FILE="")
    assert done.returncode == 0
    assert "note    vault: locked, so its pages were not checked" in done.stdout


def test_the_doctor_marks_what_is_broken_and_says_how_to_mend_it(person: Person) -> None:
    person.home.data.chmod(0o755)
    done = person.claw("doctor")
    assert done.returncode == 1
    assert f"BROKEN  home: {person.home.data} can be entered by others" in done.stdout
    assert f"        chmod 700 '{person.home.data}'" in done.stdout
    person.home.data.chmod(0o700)
    assert person.claw("doctor").returncode == 0


@pytest.mark.parametrize("what", ["settings", "key slots", "passphrase", "page", "model's file"])
def test_the_doctor_names_a_broken(person: Person, tiny_model: Path, what: str) -> None:
    match what:
        case "settings":
            person.home.config_file.write_text("[sampling]\ntemprature = 1\n")
            expected = ("settings", "sampling.temprature", "Did you mean sampling.temperature?")
        case "key slots":
            person.home.keyslots.write_text("{}")
            expected = ("vault", "keyslots.json", "cp ")
        case "passphrase":
            person.passphrase_file.write_text("another one")
            expected = ("vault", str(person.passphrase_file), "Name the right file")
        case "page":
            data = bytearray(person.home.database.read_bytes())
            data[-2000] ^= 1
            person.home.database.write_bytes(data)
            expected = ("vault", "damaged", "backup")
        case _:
            person.claw("model", "import", str(tiny_model), "--name", "mine")
            person.claw("model", "use", "mine")
            (person.home.models / "mine.gguf").write_bytes(b"something else")
            expected = ("vault", "mine", "claw model rm mine")
    done = person.claw("doctor", "--json")
    component, text, mend = expected
    assert done.returncode == 1
    assert text in broken(done)[component][0]
    assert mend in broken(done)[component][1]
