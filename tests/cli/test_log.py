"""`claw log`: what was done, shown, proved, verified and exported by the installed command."""

import json
import re
import stat
import sys

import msgspec
import pytest

from tests.fixtures.command import WITH_LITTLE_MEMORY, Person
from vault.classes import DataClass
from vault.log import Action, Entry, Status

PULL = Entry(
    action=Action.NETWORK,
    purpose="model-pull",
    data_class=DataClass.GENERAL,
    description="1 request for public weights",
    destination="huggingface.co",
    bytes=812,
    encryption="TLS 1.3",
    status=Status.PREPARED,
)
ERASE = Entry(
    action=Action.ERASE,
    purpose="asked for \x1b]52;c;aGk=\x07by the person",
    data_class=DataClass.MEDIUM,
    description="1 conversation, 8 messages",
    sensitive=True,
)


@pytest.fixture
def logged(person: Person) -> Person:
    """A person whose log tells of a pull, in two entries, and of something erased."""
    with person.vault() as vault:
        begun = vault.log.append(PULL)
        vault.log.append(ERASE)
        vault.log.append(msgspec.structs.replace(PULL, bytes=815, status=Status.ACKNOWLEDGED, about=begun))
    return person


def tamper(person: Person, sql: str) -> None:
    """Change the vault behind the log's back."""
    with person.vault() as vault:
        vault._database.write(lambda c: c.execute(sql))


def test_an_empty_log_is_said_to_be_empty(person: Person) -> None:
    listed = person.claw("log", "list")
    assert (listed.returncode, listed.stdout) == (0, "")
    assert "Nothing" in listed.stderr
    assert person.claw("log", "list", "--json").stdout == "[]\n"
    assert person.claw("log", "verify").stdout == "The log is whole: 0 entries.\n"
    for arguments in (("show",), ("show", "0"), ("export", str(person.folder / "log.jsonl"))):
        done = person.claw("log", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "Nothing was logged yet" in done.stderr


def test_list_shows_one_line_for_each_thing_that_was_done(logged: Person) -> None:
    heading, erased, pulled = logged.claw("log", "list").stdout.splitlines()
    assert heading.split() == ["ENTRY", "TIME", "ACTION", "PURPOSE", "DESTINATION", "BYTES", "CLASS", "STATUS"]
    assert erased.startswith("1 ")
    assert re.split("  +", erased)[2:] == ["erase", "asked for ]52;c;aGk=by the pe…", "-", "-", "medium", "done"]
    assert pulled.split()[3:] == ["network", "model-pull", "huggingface.co", "815", "general", "acknowledged"]


def test_list_can_be_narrowed(logged: Person) -> None:
    assert [item["seq"] for item in json.loads(logged.claw("log", "list", "-n", "2", "--json").stdout)] == [2, 1]
    assert len(logged.claw("log", "list", "--match", "HUGGING").stdout.splitlines()) == 2
    assert logged.claw("log", "list", "--match", "nothing of the kind").stdout == ""
    assert len(json.loads(logged.claw("log", "list", "--since", "1", "--json").stdout)) == 3
    assert json.loads(logged.claw("log", "list", "--since", "0", "--json").stdout) == []
    assert logged.claw("log", "list", "--limit", "0").returncode == 2


def test_list_for_programs_has_every_field(logged: Person) -> None:
    newest, *_, oldest = json.loads(logged.claw("log", "list", "--json").stdout)
    assert list(oldest) == ["seq", "at_ms", "entry", "unreadable"]
    assert oldest["entry"] == {
        "action": "network",
        "purpose": "model-pull",
        "data_class": "general",
        "description": "1 request for public weights",
        "destination": "huggingface.co",
        "bytes": 812,
        "encryption": "TLS 1.3",
        "status": "prepared",
        "consent": "",
        "payload_sha256": "",
        "about": None,
        "sensitive": False,
    }
    assert newest["entry"]["about"] == 0


def test_show_gives_an_entry_with_its_proof(logged: Person) -> None:
    shown = logged.claw("log", "show", "2").stdout
    assert "entry           2, of 3\n" in shown
    assert "destination     huggingface.co\n" in shown
    assert "about           0\n" in shown
    assert "sensitive       no\n" in shown
    assert "step 1  " in shown
    assert "\nopenclaw-core/device/" in shown
    assert "— openclaw-core/device/" in shown
    proved = json.loads(logged.claw("log", "show", "1", "--json").stdout)
    assert (proved["seq"], proved["size"], len(proved["proof"])) == (1, 3, 2)
    assert proved["entry"]["sensitive"] is True
    done = logged.claw("log", "show", "3")
    assert done.returncode == 2
    assert "no entry 3" in done.stderr


def test_a_head_kept_elsewhere_is_compared_with_the_log(logged: Person) -> None:
    kept = logged.folder / "head"
    shown = logged.claw("log", "show")
    assert json.loads(logged.claw("log", "show", "--json").stdout)["checkpoint"] == shown.stdout
    kept.write_text(shown.stdout)
    with logged.vault() as vault:
        vault.log.append(ERASE)
    assert logged.claw("log", "verify", "--head", str(kept)).returncode == 0
    kept.write_text(shown.stdout.replace("\n3\n", "\n4\n"))
    done = logged.claw("log", "verify", "--head", str(kept))
    assert done.returncode == 6
    assert "signature is false" in done.stderr
    assert logged.claw("log", "verify", "--head", str(logged.folder / "nowhere")).returncode == 1


def test_a_log_cut_and_grown_again_is_found_by_a_head_kept_elsewhere(logged: Person) -> None:
    kept = logged.folder / "head"
    kept.write_text(logged.claw("log", "show").stdout)
    tamper(logged, "DELETE FROM log_entries")
    tamper(logged, "DELETE FROM log_state")
    with logged.vault() as vault:
        for _ in range(5):
            vault.log.append(ERASE)
    assert logged.claw("log", "verify").returncode == 0
    done = logged.claw("log", "verify", "--head", str(kept))
    assert done.returncode == 6
    assert "The first 3 entries aren't those whose head was remembered outside the log." in done.stderr


@pytest.mark.parametrize(
    ("file", "says"),
    [("/dev/zero", "too large"), ("/nowhere", "No such file"), ("/dev/null", "no signed note"), (".", "directory")],
)
def test_a_head_that_is_no_checkpoint_is_refused_however_long_it_is(logged: Person, file: str, says: str) -> None:
    done = logged.claw("log", "verify", "--head", file, prefix=WITH_LITTLE_MEMORY)
    assert done.returncode in (1, 2, 6)
    assert says in done.stderr


def test_verify_says_that_the_log_is_whole_and_by_which_key(logged: Person) -> None:
    said = logged.claw("log", "verify").stdout.splitlines()
    assert said[0] == "The log is whole: 3 entries."
    assert [line.split()[0] for line in said[1:]] == ["root", "signed"]
    as_json = json.loads(logged.claw("log", "verify", "--json").stdout)
    assert (as_json["ok"], as_json["size"], as_json["cleared"]) == (True, 3, 0)
    assert said[1].split()[1] == as_json["root"]


def test_verify_names_what_is_wrong(logged: Person) -> None:
    tamper(logged, "DELETE FROM log_entries WHERE seq = 1")
    done = logged.claw("log", "verify")
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr.startswith("claw: Entry 1 is missing.\n")


def test_the_log_of_a_vault_put_back_to_an_older_file_is_whole_and_still_refused(logged: Person) -> None:
    older = logged.home.database.read_bytes()
    with logged.vault() as vault:
        vault.log.append(ERASE)
    logged.home.database.write_bytes(older)
    done = logged.claw("log", "verify")
    assert done.returncode == 6
    assert "3 entries" in done.stdout
    assert "older" in done.stderr


def test_an_entry_that_can_not_be_read_does_not_hide_the_others(logged: Person) -> None:
    tamper(logged, "UPDATE log_entries SET body = x'ff' WHERE seq = 1")
    listed = logged.claw("log", "list")
    assert listed.returncode == 0
    assert "huggingface.co" in listed.stdout
    assert "claw log verify" in listed.stderr
    assert "can't be read" in logged.claw("log", "show", "1").stdout


def test_what_has_gone_is_counted_and_still_proved(logged: Person) -> None:
    with logged.vault() as vault:
        vault._database.write(lambda c: vault.log.expire(c, 2**53, True))
    listed = logged.claw("log", "list")
    assert len(listed.stdout.splitlines()) == 2
    assert "What 1 entry said has gone" in listed.stderr
    shown = logged.claw("log", "show", "1").stdout
    assert "has gone, its time being over" in shown
    assert "step 1" in shown
    assert "what 1 entry said has gone" in logged.claw("log", "verify").stdout


def test_an_export_is_verified_without_the_vault(logged: Person) -> None:
    file = logged.folder / "log.jsonl"
    done = logged.claw("log", "export", str(file))
    assert (done.returncode, done.stdout) == (0, "")
    assert "in the clear" in done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    newest = json.loads(logged.claw("log", "list", "-n", "1", "--json").stdout)[0]
    assert (newest["seq"], newest["entry"]["action"], newest["entry"]["bytes"]) == (
        4,
        "export",
        file.stat().st_size,
    )
    assert logged.claw("log", "export", str(file)).returncode == 1
    key = json.loads(logged.claw("log", "show", "--json").stdout)["verifier_key"]
    logged.home.vault.rename(logged.folder / "away")
    alone = logged.claw("log", "verify", "--export", str(file))
    assert alone.returncode == 0
    assert alone.stdout.startswith("The log is whole: 4 entries.")
    assert "--key" in alone.stderr
    assert logged.claw("log", "verify", "--export", str(file), "--key", key).stderr == ""
    assert logged.claw("log", "verify", "--export", str(file), "--key", key[:-4]).returncode == 6
    file.write_text(file.read_text().replace("huggingface.co", "elsewhere.net!"))
    changed = logged.claw("log", "verify", "--export", str(file), "--key", key)
    assert changed.returncode == 6
    assert "Entry 0 was changed." in changed.stderr


@pytest.mark.parametrize(
    "arguments", [("verify", "--key", "a+b+c"), ("verify", "--head", "a", "--export", "b"), ("show", "x"), ()]
)
def test_a_wrong_call_is_exit_code_2(person: Person, arguments: tuple[str, ...]) -> None:
    assert person.claw("log", *arguments).returncode == 2


def test_a_long_verification_shows_a_bar_on_a_terminal_alone(logged: Person) -> None:
    with logged.vault() as vault:
        log = vault.log
        vault._database.write(lambda c: [log.record(c, ERASE) for _ in range(2_500)])
    impatient = logged.folder / "impatient.py"
    impatient.write_text("import sys, cli.log, cli.main; cli.log._SILENT_S = 0; sys.exit(cli.main.main())")
    terminal = logged.terminal(str(impatient), "log", "verify", program=sys.executable, TERM="xterm")
    terminal.sees("verifying")
    terminal.sees("The log is whole: 2,503 entries.")
    assert terminal.ends() == 0
    assert "verifying" not in logged.claw("log", "verify").stderr


def test_the_log_is_never_exported_into_the_vaults_folder(logged: Person) -> None:
    done = logged.claw("log", "export", str(logged.home.vault / "log.jsonl"))
    assert done.returncode == 1
    assert "keeps its own files" in done.stderr
    assert not (logged.home.vault / "log.jsonl").exists()
