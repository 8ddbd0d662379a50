"""What goes wrong for people: each time one message, what to do about it, the right exit code, and no traceback."""

import json
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from agent.attachments import MAX_BYTES
from agent.models.embedded import EMBEDDED_NAME
from tests.fixtures.command import CLAW, Person
from tests.tiny_model import tiny_gguf
from vault.reserve import RESERVE

FIFTY_MB = 50 * 10**6


@pytest.fixture
def own_mounts() -> tuple[str, ...]:
    """A prefix that runs a command where it may mount a file system of its own."""
    for prefix in (("unshare", "-m"), ("unshare", "-Urm")):
        trial = [*prefix, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if shutil.which("unshare") and subprocess.run(trial, capture_output=True).returncode == 0:
            return prefix
    pytest.skip("this machine lets nobody mount a file system: neither root nor user namespaces")


def read_only(mounts: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """A prefix that runs a command to which a folder is read-only, even when it is root's."""
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    return (*mounts, "sh", "-c", script, str(folder))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_wrong_passphrase_names_its_file_and_changes_nothing(person: Person) -> None:
    person.passphrase_file.write_text("not the right one")
    before = contents(person.home.data)
    done = person.claw("ask", "Hello")
    assert done.returncode == 3
    assert f"The passphrase in {person.passphrase_file} doesn't open this vault." in done.stderr
    assert "Name the right file" in done.stderr
    assert "not the right one" not in done.stderr
    after = contents(person.home.data)
    assert after.pop(str(person.home.vault / "attempts"))  # that a key didn't fit is counted
    assert after == before


def test_a_passphrase_that_an_altered_slot_does_not_open_by_may_be_the_right_one(person: Person) -> None:
    content = json.loads(person.home.keyslots.read_bytes())
    content["slots"][0]["cost"]["iterations"] += 1
    person.home.keyslots.write_text(json.dumps(content))
    done = person.claw("chat", "list")
    assert done.returncode == 3
    assert f"The passphrase in {person.passphrase_file} doesn't open this vault." in done.stderr
    assert "Name the right file" in done.stderr
    assert "whether keyslots.json differs from keyslots.json.backup beside it" in done.stderr


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ("missing", "No such file"),
        ("for everybody", "chmod 600"),
        ("empty", "is empty"),
        ("a folder", "not a plain file"),
        ("not UTF-8", "not UTF-8"),
    ],
)
def test_a_passphrase_file_that_will_not_do_is_named_with_the_reason(person: Person, made: str, says: str) -> None:
    path = person.passphrase_file
    match made:
        case "missing":
            path.unlink()
        case "for everybody":
            path.chmod(0o644)
        case "empty":
            path.write_text("\n")
        case "a folder":
            path.unlink()
            path.mkdir(mode=0o700)
        case "not UTF-8":
            path.write_bytes(b"\xff\xfe\xfd")
    done = person.claw("chat", "list")
    assert done.returncode == 3
    assert str(path) in done.stderr
    assert says in done.stderr


def test_without_a_vault_nothing_is_listed_and_the_way_to_one_is_told(newcomer: Person) -> None:
    done = newcomer.claw("chat", "list")
    assert done.returncode == 3
    assert "`claw vault init`" in done.stderr
    assert not newcomer.home.data.exists()


def test_a_first_question_without_a_terminal_or_a_passphrase_says_how_to_give_one(newcomer: Person) -> None:
    done = newcomer.claw("ask", "Hello", CLAW_PASSPHRASE_FILE="")
    assert done.returncode == 3
    assert "CLAW_PASSPHRASE_FILE" in done.stderr
    assert not newcomer.home.vault.exists()


def test_a_new_passphrase_that_is_too_short_makes_no_vault(newcomer: Person) -> None:
    newcomer.passphrase_file.write_text("short")
    done = newcomer.claw("vault", "init")
    assert done.returncode == 1
    assert "at least 8 characters" in done.stderr
    assert not newcomer.home.vault.exists()


def test_a_vault_is_never_made_over_another(person: Person) -> None:
    before = contents(person.home.data)
    done = person.claw("vault", "init")
    assert done.returncode == 1
    assert "already" in done.stderr
    assert contents(person.home.data) == before


def test_a_home_that_cannot_be_made_is_named(newcomer: Person, own_mounts: tuple[str, ...]) -> None:
    done = newcomer.claw("ask", "Hello", prefix=read_only(own_mounts, newcomer.folder))
    assert done.returncode == 1
    assert str(newcomer.home.data) in done.stderr
    assert "point CLAW_HOME at one that is" in done.stderr


def test_a_home_that_is_read_only_is_named_and_untouched(person: Person, own_mounts: tuple[str, ...]) -> None:
    before = contents(person.home.data)
    done = person.claw("ask", "Hello", prefix=read_only(own_mounts, person.home.data))
    assert done.returncode == 1
    assert str(person.home.data) in done.stderr
    assert "point CLAW_HOME at one that is" in done.stderr
    changed = person.claw("config", "set", "sampling.top_k", "1", prefix=read_only(own_mounts, person.home.data))
    assert changed.returncode == 1
    assert "point CLAW_HOME at one that is" in changed.stderr
    assert contents(person.home.data) == before


def test_a_home_that_is_a_file_is_named(newcomer: Person) -> None:
    newcomer.home.data.write_text("mine")
    done = newcomer.claw("ask", "Hello")
    assert done.returncode == 2
    assert str(newcomer.home.data) in done.stderr
    assert newcomer.home.data.read_text() == "mine"


@pytest.mark.parametrize("damage", ["cut off", "a slot altered", "missing", "another format"])
def test_damaged_key_slots_are_told_and_mended_as_told(person: Person, damage: str) -> None:
    path = person.home.keyslots
    whole = path.read_bytes()
    match damage:
        case "cut off":
            path.write_bytes(whole[:-40])
        case "a slot altered":
            path.write_bytes(whole.replace(b'"epoch": 1', b'"epoch": 2'))
        case "missing":
            path.unlink()
        case "another format":
            path.write_text('{"format": "something else"}')
    done = person.claw("chat", "list")
    assert done.returncode == 6
    assert "keyslots.json" in done.stderr
    assert "keyslots.json.backup" in done.stderr
    shutil.copy(f"{path}.backup", path)
    assert person.claw("chat", "list").returncode == 0


def test_key_slots_missing_with_their_backup_are_told_as_such(person: Person) -> None:
    person.home.keyslots.unlink()
    person.home.keyslots.with_name("keyslots.json.backup").unlink()
    done = person.claw("ask", "Hello")
    assert done.returncode == 6
    assert "Restore it from a backup" in done.stderr
    assert not person.home.keyslots.exists()


def test_a_plaintext_database_in_the_vaults_place_is_neither_opened_nor_changed(person: Person) -> None:
    person.home.database.unlink()
    with sqlite3.connect(person.home.database) as plain:
        plain.execute("CREATE TABLE messages (text)")
        plain.execute("INSERT INTO messages VALUES ('in clear')")
    plain.close()
    before = contents(person.home.vault)
    done = person.claw("ask", "Hello")
    assert done.returncode == 6
    assert "unencrypted SQLite file" in done.stderr
    assert "Move it away" in done.stderr
    assert contents(person.home.vault) == before


@pytest.mark.parametrize("damage", ["missing", "empty", "noise", "a flipped page"])
def test_a_damaged_database_is_told_and_not_made_anew(person: Person, damage: str) -> None:
    path = person.home.database
    match damage:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "noise":
            path.write_bytes(os.urandom(path.stat().st_size))
        case "a flipped page":
            whole = bytearray(path.read_bytes())
            whole[100] ^= 1
            path.write_bytes(whole)
    before = contents(person.home.vault)
    done = person.claw("ask", "Hello")
    assert done.returncode == 6
    assert str(path) in done.stderr
    assert "backup" in done.stderr
    assert contents(person.home.vault) == before


def test_a_model_of_an_unknown_architecture_is_refused_with_its_name(person: Person, tmp_path: Path) -> None:
    alien = tiny_gguf(tmp_path / "alien.gguf", architecture="klingon")
    done = person.claw("model", "import", str(alien))
    assert done.returncode == 6
    assert "klingon" in done.stderr
    assert "\n      " in done.stderr, "nothing says what to do"
    asked = person.claw("ask", "-m", "alien", "Hello")
    assert asked.returncode == 2


def test_a_model_changed_since_it_was_registered_answers_nothing(person: Person, tiny_model: Path) -> None:
    person.claw("model", "import", str(tiny_model), "--name", "mine")
    with (person.home.models / "mine.gguf").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    done = person.claw("ask", "-m", "mine", "Hello")
    assert done.returncode == 6
    assert "claw model rm mine" in done.stderr


def test_an_unknown_model_is_refused_with_the_nearest_name(person: Person) -> None:
    done = person.claw("ask", "-m", "smollm2-135m-instrukt", "Hello")
    assert done.returncode == 2
    assert f"Did you mean {EMBEDDED_NAME}?" in done.stderr
    assert "claw model list" in done.stderr
    with person.vault() as vault:
        assert vault.conversations.sessions() == []


def test_an_unknown_default_model_is_refused_with_the_nearest_name(person: Person) -> None:
    person.set("model.default", "smollm2")
    for arguments in (("ask", "Hello"), ("--plain",)):
        done = person.claw(*arguments)
        assert done.returncode == 2
        assert f"Did you mean {EMBEDDED_NAME}?" in done.stderr


@pytest.mark.parametrize("way", ["a file", "standard input"])
def test_a_prompt_of_50_megabytes_is_refused_with_what_to_do(person: Person, tmp_path: Path, way: str) -> None:
    if way == "a file":
        (tmp_path / "huge.txt").write_bytes(b"a line of text\n" * (FIFTY_MB // 15))
        done = person.claw("ask", "-f", str(tmp_path / "huge.txt"), "What is this?")
    else:
        done = person.claw("ask", "-", stdin=b"a line of text\n" * (FIFTY_MB // 15))
    assert done.returncode == 2
    assert f"too large: more than {MAX_BYTES // 2**20} MiB" in done.stderr
    assert "head, grep, split" in done.stderr
    with person.vault() as vault:
        assert vault.conversations.sessions() == []


@pytest.mark.parametrize("arguments", [("-",), ("-f", "-", "What is this?")])
def test_invalid_utf8_on_stdin_is_refused_with_what_to_do(person: Person, arguments: tuple[str, ...]) -> None:
    done = person.claw("ask", *arguments, stdin=b"a caf\xe9, please")
    assert done.returncode == 2
    assert "byte 5" in done.stderr
    assert "iconv" in done.stderr
    with person.vault() as vault:
        assert vault.conversations.sessions() == []


def test_a_memory_limit_that_is_too_low_names_the_setting(person: Person) -> None:
    person.set("inference.memory_limit_mb", "60")
    done = person.claw("ask", "Hello")
    assert done.returncode == 5
    assert "inference.memory_limit_mb" in done.stderr


@pytest.mark.parametrize(("reserve", "code"), [(True, 0), (False, 1)])
def test_a_full_disk_is_told_and_the_vault_stays_whole(
    person: Person, own_mounts: tuple[str, ...], *, reserve: bool, code: int
) -> None:
    copy = person.folder / "copy"
    shutil.copytree(person.home.data, copy)
    os.truncate(copy / "vault" / RESERVE, 256 << 10)  # as much as a disk of this size would have spared
    if not reserve:
        (copy / "vault" / RESERVE).unlink()
    script = (
        'mount -t tmpfs -o size=700k tmpfs "$0" && cp -a "$1/." "$0" && shift || exit 98\n'
        'dd if=/dev/zero of="$0/filler" 2>/dev/null; "$@"; code=$?\n'
        'rm "$0/filler"; "$CLAW" vault check >&2 || code=99; exit $code'
    )
    prefix = (*own_mounts, "sh", "-c", script, str(person.home.data), str(copy))
    done = person.claw("chat", "list", prefix=prefix, CLAW=CLAW)
    assert done.returncode == code
    assert "is full" in done.stderr
    assert "Everything in the vault is whole." in done.stderr
