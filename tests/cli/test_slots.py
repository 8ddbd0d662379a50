"""`claw vault slots` and `claw vault passwd`: the ways in, as a person adds, tries and removes them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.command import Done, Person, Terminal
from tests.fixtures.keychain import Desktop
from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.fixtures.slots import Notebook, opens, version_1
from tests.fixtures.softhsm import PIN, SoftToken
from vault.attempts import FailedUnlocks
from vault.keyslots import Keyslots
from vault.mirror import mirror_account
from vault.recovery import RecoveryKit
from vault.slot_kinds import kind_of
from vault.store import Vault

NEW = "four random words here"


def slots(person: Person) -> Keyslots:
    return Keyslots.read(person.home.keyslots)


def ids(person: Person) -> dict[str, str]:
    """The id of the slot of each kind."""
    return {kind_of(slot): slot.id for slot in slots(person).slots}


def listed(person: Person) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(person.claw("vault", "slots", "--json").stdout)["slots"]
    return found


def outcomes(person: Person, *arguments: str) -> tuple[int, dict[str, str]]:
    """The exit code, and the outcome of each kind."""
    done = person.claw("vault", "slots", "test", "--json", *arguments)
    return done.returncode, {trial["kind"]: trial["outcome"] for trial in json.loads(done.stdout)}


@pytest.fixture
def new_file(person: Person) -> Path:
    """A file with another passphrase."""
    path = person.folder / "new"
    path.touch(mode=0o600)
    path.write_text(NEW)
    return path


@pytest.fixture
def with_token(person: Person, soft_token: SoftToken) -> Person:
    """A person with a hardware token, and a file with its PIN."""
    person.set("vault.pkcs11_module", soft_token.module)
    path = person.folder / "pin"
    path.touch(mode=0o600)
    path.write_text(PIN + "\n")
    person.environment |= {"SOFTHSM2_CONF": str(soft_token.configuration), "CLAW_PIN_FILE": str(path)}
    return person


def succeeded(done: Done) -> Done:
    assert done.returncode == 0, done.stderr
    return done


def test_the_list_says_what_opens_the_vault_without_opening_it(person: Person) -> None:
    person.passphrase_file.write_text("wrong")
    (slot,) = slots(person).slots
    done = succeeded(person.claw("vault", "slots"))
    assert done.stdout.splitlines()[0].split() == ["ID", "KIND", "MADE", "OPENED", "BY"]
    assert f"{slot.id}  passphrase" in done.stdout
    (facts,) = listed(person)
    assert (facts["id"], facts["kind"], facts["rotatable"]) == (slot.id, "passphrase", True)
    assert facts["cost"]["memory_kib"] == CHEAP.memory_kib
    assert not facts.keys() & {"sealed", "held", "public", "tag", "salt"}


def test_what_a_forged_file_says_is_no_command_to_the_terminal(person: Person) -> None:
    content = json.loads(person.home.keyslots.read_bytes())
    forged = {**content["slots"][0], "kind": "hardware", "token": "\x1b]0;x\x07", "serial": "\x1b[2J", "key": "k"}
    forged |= {"mechanism": "rsa-oaep", "nonce": "", "secret": "", "created": 10**18}
    for field in ("salt", "cost"):
        del forged[field]
    content["slots"] = [forged]
    person.home.keyslots.write_text(json.dumps(content))
    done = succeeded(person.claw("vault", "slots"))
    assert "the token" in done.stdout
    assert "?" in done.stdout


# Passphrases


def test_a_passphrase_is_changed_at_once_and_the_old_one_opens_nothing(person: Person, new_file: Path) -> None:
    before = person.home.database.stat().st_ino
    done = succeeded(person.claw("vault", "passwd", "--new-passphrase-file", str(new_file)))
    assert "by the old one no more" in done.stderr
    assert "claw vault rotate" in done.stderr
    assert person.claw("chat", "list").returncode == 3
    person.passphrase_file.write_text(NEW)
    succeeded(person.claw("chat", "list"))
    assert person.home.database.stat().st_ino == before
    (slot,) = listed(person)
    assert slot["cost"]["memory_kib"] == 256 * 1024  # whatever it was before


def test_a_passphrase_is_typed_twice(person: Person) -> None:
    terminal = person.terminal("vault", "passwd")
    terminal.sees("New passphrase: ")
    terminal.types("short")
    terminal.sees("at least 8 are needed")
    terminal.types(NEW)
    terminal.sees("Again: ")
    terminal.types(NEW + "?")
    terminal.sees("The two differ.")
    terminal.types(NEW)
    terminal.sees("Again: ")
    terminal.types(NEW)
    terminal.sees("opens by the new passphrase")
    assert terminal.ends() == 0
    assert NEW not in terminal.screen
    with Vault.open_with_passphrase(person.home, NEW) as vault:
        assert vault.opened_by == "passphrase"


def test_no_new_passphrase_and_nobody_to_ask_changes_nothing(person: Person) -> None:
    before = person.home.keyslots.read_bytes()
    done = person.claw("vault", "passwd")
    assert done.returncode == 3
    assert "--new-passphrase-file" in done.stderr
    short = person.folder / "short"
    short.touch(mode=0o600)
    short.write_text("1234567")
    done = person.claw("vault", "passwd", "--new-passphrase-file", str(short))
    assert "at least 8 characters" in done.stderr
    assert person.home.keyslots.read_bytes() == before


def test_of_several_passphrases_one_is_named(person: Person, new_file: Path) -> None:
    with person.vault() as vault:
        first = vault.slots.read().slots[0].id
        second = vault.slots.add_passphrase("a second passphrase", CHEAP)
    done = person.claw("vault", "passwd", "--new-passphrase-file", str(new_file))
    assert done.returncode == 2
    assert f"{first}, {second}" in done.stderr
    succeeded(person.claw("vault", "passwd", second, "--new-passphrase-file", str(new_file)))
    assert opens(slots(person), slots(person).open_with_passphrase(PASSPHRASE).master, NEW)
    succeeded(person.claw("vault", "slots", "test", first))


def test_another_passphrase_is_added_and_removed(person: Person, new_file: Path) -> None:
    done = succeeded(person.claw("vault", "slots", "add", "passphrase", "--new-passphrase-file", str(new_file)))
    match = re.search(r"opened the vault by it: the passphrase slot ([0-9a-f]{8})\.", done.stderr)
    assert match
    unsure = person.claw("vault", "slots", "remove", match[1])
    assert unsure.returncode == 2
    assert "--yes" in unsure.stderr
    succeeded(person.claw("vault", "slots", "remove", match[1], "--yes"))
    assert len(listed(person)) == 1
    log = succeeded(person.claw("log", "list")).stdout
    assert log.count("slot") >= 2


def test_the_last_way_in_is_not_removed(person: Person) -> None:
    (slot_id,) = ids(person).values()
    done = person.claw("vault", "slots", "remove", slot_id, "--yes")
    assert done.returncode == 1
    assert "doesn't need the desktop's keychain" in done.stderr
    assert "claw vault slots add" in done.stderr
    assert person.claw("vault", "slots", "remove", "00000000", "--yes").returncode == 2


# The keychain


def test_a_keychain_is_added_tried_and_removed_with_its_item(person: Person, unlocked_desktop: Desktop) -> None:
    from vault.keychain import SystemKeychain

    person.environment.update(unlocked_desktop.environment)
    succeeded(person.claw("vault", "slots", "add", "keychain"))
    (slot,) = (slot for slot in listed(person) if slot["kind"] == "keychain")
    remembered = mirror_account(slots(person).vault_id)
    assert SystemKeychain().get(slot["account"])
    assert SystemKeychain().get(remembered)
    assert outcomes(person) == (0, {"passphrase": "opens", "keychain": "opens"})

    SystemKeychain().set(slot["account"], "c29tZXRoaW5nIGVsc2U=")
    assert outcomes(person) == (3, {"passphrase": "opens", "keychain": "FAILED"})

    refused = person.claw("vault", "slots", "remove", ids(person)["passphrase"], "--yes")
    assert refused.returncode == 1
    succeeded(person.claw("vault", "slots", "remove", slot["id"], "--yes"))
    assert SystemKeychain().get(slot["account"]) is None
    assert SystemKeychain().get(remembered) is None


def test_one_keychain_is_one_way_in(person: Person, unlocked_desktop: Desktop) -> None:
    person.environment.update(unlocked_desktop.environment)
    succeeded(person.claw("vault", "slots", "add", "keychain"))
    done = person.claw("vault", "slots", "add", "keychain")
    assert done.returncode == 1
    assert "opens the vault already" in done.stderr
    assert len(listed(person)) == 2


def test_a_slot_is_not_removed_unasked(person: Person, new_file: Path) -> None:
    succeeded(person.claw("vault", "slots", "add", "passphrase", "--new-passphrase-file", str(new_file)))
    done = person.claw("vault", "slots", "remove", listed(person)[-1]["id"])
    assert (done.returncode, len(listed(person))) == (2, 2)
    assert "--yes" in done.stderr


def test_without_a_keychain_none_is_added(person: Person) -> None:
    done = person.claw("vault", "slots", "add", "keychain")
    assert done.returncode == 3
    assert "No keychain answers" in done.stderr
    assert len(listed(person)) == 1


# Recovery


def printed_shares(done: Done) -> list[str]:
    paragraphs = done.stdout.strip().split("\n\n")
    assert [paragraph.split("\n")[0] for paragraph in paragraphs] == [
        f"share {n} of {len(paragraphs)}" for n in range(1, len(paragraphs) + 1)
    ]
    return [paragraph.split("\n")[1] for paragraph in paragraphs]


def test_shares_for_a_program_are_printed_once_and_open_the_vault(person: Person) -> None:
    done = succeeded(person.claw("vault", "slots", "add", "recovery", "--threshold", "3", "--shares", "5"))
    shares = printed_shares(done)
    assert len(shares) == 5
    opening = slots(person).open_with_shares([shares[4], shares[0], shares[2]])
    with Vault.open_by(person.home, opening) as vault:
        assert vault.opened_by == "recovery"
    everything = b"".join(path.read_bytes() for path in person.folder.rglob("*") if path.is_file())
    for share in shares:
        assert " ".join(share.split()[4:9]).encode() not in everything
        assert share.split()[10] not in done.stderr.split()


def test_shares_are_not_written_to_a_file(person: Person) -> None:
    out = person.folder / "out"
    done = person.claw("vault", "slots", "add", "recovery", prefix=("sh", "-c", f'exec "$@" >{out}', "sh"))
    assert done.returncode == 2
    assert "aren't written to a file" in done.stderr
    assert out.read_bytes() == b""
    assert ids(person).keys() == {"passphrase"}


@pytest.mark.parametrize(("threshold", "shares"), [("0", "3"), ("4", "3"), ("1", "3"), ("2", "17")])
def test_sets_that_make_no_sense_are_not_made(person: Person, threshold: str, shares: str) -> None:
    done = person.claw("vault", "slots", "add", "recovery", "--threshold", threshold, "--shares", shares)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert ids(person).keys() == {"passphrase"}


def copy_share(terminal: Terminal, title: str) -> list[str]:
    """Read a share off the screen, as with a pencil."""
    terminal.sees("Press Enter when nobody looks")
    terminal.types("")
    return copy_words(terminal, title)


def copy_words(terminal: Terminal, title: str) -> list[str]:
    terminal.sees(title)
    shown = terminal.sees("Press Enter when you have written it down.")
    terminal.types("")
    words = dict(re.findall(r"(\d+) ([a-z]+)", shown))
    return [words[str(n)] for n in range(1, 34)]


def answer(terminal: Terminal, words: list[str], count: int = 3) -> None:
    for _ in range(count):
        place = int(terminal.sees_match(r"Word (\d+) of share \d of 3: ")[1])
        terminal.types(words[place - 1].upper())


@pytest.mark.parametrize("term", ["dumb", "xterm-256color"])
def test_at_a_terminal_each_share_is_shown_alone_and_asked_back(person: Person, term: str) -> None:
    terminal = person.terminal("vault", "slots", "add", "recovery", TERM=term)
    terminal.sees("any 2 of which open the vault")
    shares = []
    for number in (1, 2, 3):
        words = copy_share(terminal, f"share {number} of 3")
        if number == 2:  # one is misread
            terminal.sees_match(r"Word \d+ of share 2 of 3: ")
            terminal.types("mistyke")
            terminal.sees("Here it is again.")
            assert copy_words(terminal, "share 2 of 3") == words
        answer(terminal, words)
        shares.append(" ".join(words))
    terminal.sees("opened the vault by it: the recovery slot")
    assert terminal.ends() == 0
    if term == "dumb":
        assert "\x1b" not in terminal.screen
    else:  # each on the second screen, of which nothing can be scrolled back to
        first, *screens = terminal.screen.split("\x1b[?1049h")
        assert len(screens) == 4
        rest = first + "".join(screen.split("\x1b[?1049l")[1] for screen in screens)
        assert not any(f" {place} {word}" in rest for place, word in enumerate(shares[0].split(), 1))

    trial = person.terminal("vault", "slots", "test", ids(person)["recovery"])
    for number, share in ((1, shares[2]), (2, shares[0])):
        trial.sees(f"Share {number}: ")
        trial.types(share)
    trial.sees("opens")
    assert trial.ends() == 0


def test_whoever_leaves_before_writing_them_down_has_no_slot(person: Person) -> None:
    terminal = person.terminal("vault", "slots", "add", "recovery")
    copy_share(terminal, "share 1 of 3")
    terminal.sees("Word ")
    terminal.presses("c")
    assert terminal.ends() == 130
    assert ids(person).keys() == {"passphrase"}


# A token


def test_a_token_is_added_tried_and_removed_with_its_key(with_token: Person, soft_token: SoftToken) -> None:
    person = with_token
    succeeded(person.claw("vault", "slots", "add", "hardware", "--token", soft_token.label))
    assert outcomes(person) == (0, {"passphrase": "opens", "hardware": "opens"})
    slot_id = ids(person)["hardware"]
    assert f"the token {soft_token.label} (serial " in person.claw("vault", "slots").stdout

    soft_token.unplug()
    assert outcomes(person) == (0, {"passphrase": "opens", "hardware": "not tried"})
    assert outcomes(person, slot_id) == (1, {"hardware": "not tried"})
    soft_token.plug_in()

    (person.folder / "pin").write_text("000000")
    assert outcomes(person, slot_id) == (3, {"hardware": "FAILED"})
    assert FailedUnlocks(person.home).read().count == 1
    (person.folder / "pin").write_text(PIN)
    done = succeeded(person.claw("vault", "slots", "remove", slot_id, "--yes"))
    assert "could not be deleted" not in done.stderr
    assert ids(person).keys() == {"passphrase"}


def test_a_pin_is_asked_for_and_never_shown(with_token: Person, soft_token: SoftToken) -> None:
    person = with_token
    del person.environment["CLAW_PIN_FILE"]
    headless = person.claw("vault", "slots", "add", "hardware", "--token", soft_token.label)
    assert headless.returncode == 2
    assert "CLAW_PIN_FILE" in headless.stderr
    terminal = person.terminal("vault", "slots", "add", "hardware", "--token", soft_token.label)
    terminal.sees(f"PIN of {soft_token.label}: ")
    terminal.types("000000")
    terminal.sees("The PIN is wrong.")
    assert terminal.ends() == 3  # not asked again: tokens lock
    terminal = person.terminal("vault", "slots", "add", "hardware", "--token", soft_token.label)
    terminal.sees("several in a row lock it")
    terminal.types(PIN)
    terminal.sees("opened the vault by it: the hardware slot")
    assert terminal.ends() == 0
    assert PIN not in terminal.screen


def test_without_the_setting_it_is_named(person: Person) -> None:
    done = person.claw("vault", "slots", "add", "hardware", "--token", "any")
    assert done.returncode == 3
    assert "claw config set vault.pkcs11_module" in done.stderr


# Trying and bringing up to date


def test_a_wrong_passphrase_is_a_failure_and_counts_as_one(person: Person) -> None:
    person.passphrase_file.write_text("not this one")
    assert outcomes(person) == (3, {"passphrase": "FAILED"})
    assert FailedUnlocks(person.home).read().count == 1


def test_shares_that_nobody_gives_are_no_failure(person: Person) -> None:
    with person.vault() as vault:
        slot_id = vault.slots.add_recovery(RecoveryKit.generate(2, 3))
    terminal = person.terminal("vault", "slots", "test", slot_id)
    terminal.sees("Share 1: ")
    terminal.presses("d")
    terminal.sees("not tried")
    assert terminal.ends() == 1
    assert FailedUnlocks(person.home).read().count == 0


def test_shares_that_do_not_open_it_are_a_failure_and_count_as_one(person: Person) -> None:
    with person.vault() as vault:
        slot_id = vault.slots.add_recovery(RecoveryKit.generate(2, 3))
    terminal = person.terminal("vault", "slots", "test", slot_id)
    for number, share in enumerate(RecoveryKit.generate(2, 3).shares[:2], 1):
        terminal.sees(f"Share {number}: ")
        terminal.types(share)
    terminal.sees("FAILED")
    assert terminal.ends() == 3
    assert FailedUnlocks(person.home).read().count == 1


def test_with_nothing_to_try_it_by_nothing_is_proven(person: Person) -> None:
    del person.environment["CLAW_PASSPHRASE_FILE"]
    assert outcomes(person) == (1, {"passphrase": "not tried"})


def test_slots_of_version_1_are_named_and_brought_up_to_date(person: Person, unlocked_desktop: Desktop) -> None:
    from vault.keychain import SystemKeychain

    person.environment.update(unlocked_desktop.environment)
    kept = Notebook()
    with person.vault() as vault:
        version_1(vault._master, kept).write(person.home.keyslots)
    SystemKeychain().set("account", kept.items["account"])
    done = succeeded(person.claw("vault", "slots"))
    assert done.stdout.count("not rotatable yet") == 2
    assert "claw vault slots upgrade" in done.stderr

    done = succeeded(person.claw("vault", "slots", "upgrade"))
    assert "costs more to guess" in done.stderr
    assert {(slot["kind"], slot["rotatable"]) for slot in listed(person)} == {
        ("passphrase", True),
        ("keychain", True),
    }
    assert {slot["cost"]["memory_kib"] for slot in listed(person) if "cost" in slot} == {256 * 1024}
    assert outcomes(person) == (0, {"passphrase": "opens", "keychain": "opens"})
    again = succeeded(person.claw("vault", "slots", "upgrade"))
    assert again.stderr == "Every slot is up to date.\n"


def test_what_cannot_be_brought_up_to_date_is_named(person: Person) -> None:
    with person.vault() as vault:
        version_1(vault._master, Notebook()).write(person.home.keyslots)
    done = person.claw("vault", "slots", "upgrade")
    assert done.returncode == 1
    assert "The keychain slot 00000002 stays as it is. No keychain answers" in done.stderr
