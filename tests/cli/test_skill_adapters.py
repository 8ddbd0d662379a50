"""`claw skill adapters`: what was trained is listed, used, rolled back, exported and removed."""

import hashlib
import json
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from agent.models.embedded import EMBEDDED, EMBEDDED_NAME
from tests.fixtures.command import Person
from tests.hermes_model import hermes_gguf
from tests.lora_adapter import TINY, lora_gguf
from vault.adapter_store import AdapterKind, AdapterStore, TrainedAdapter
from vault.classes import HighlySensitive
from vault.example_store import ExampleKind, ExampleStore

SKILL = "document-qa"
TRAINED = TrainedAdapter(SKILL, EMBEDDED.sha256, AdapterKind.FFA, 8, 184_320, (), 3.27, 2.97)


def train(person: Person, content: bytes = b"GGUF weights", **changes: object) -> str:
    """Put an adapter where training puts it."""
    trained = msgspec.structs.replace(TRAINED, **changes)
    with person.vault() as vault:
        store = AdapterStore(vault.database)
        return vault.database.write(lambda c: store.put(c, trained, HighlySensitive(content)))


def listed(person: Person, *skill: str) -> list[dict[str, object]]:
    return list(json.loads(person.claw("skill", "adapters", "list", *skill, "--json").stdout))


def in_use(person: Person) -> list[object]:
    return [record["version"] for record in listed(person, SKILL) if record["active"]]


def test_there_are_none_at_first(newcomer: Person) -> None:
    done = newcomer.claw("skill", "adapters", "list")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "There are no adapters yet.\n")
    assert listed(newcomer) == []


def test_they_are_listed_with_what_they_are(person: Person) -> None:
    first, second = train(person), train(person, loss_before=None)
    record = listed(person)[0]
    assert (record["id"], record["version"], record["active"], record["kind"]) == (first, 1, False, "ffa")
    table = person.claw("skill", "adapters", "list", SKILL).stdout.splitlines()
    assert table[0].split()[:4] == ["ID", "SKILL", "MODEL", "V"]
    assert table[1].startswith(first)
    assert "3.27 > 2.97" in table[1]
    assert EMBEDDED_NAME in table[1]
    assert "in use" not in table[1]
    assert table[2].startswith(second)
    assert "in use" in table[2]
    assert listed(person, "another") == []


def test_the_way_back_is_one_command(person: Person) -> None:
    train(person)
    second = train(person)
    done = person.claw("skill", "adapters", "rollback", SKILL)
    assert done.stderr == f"{SKILL} used version 2. From its next turn on it uses version 1.\n"
    assert in_use(person) == [1]
    done = person.claw("skill", "adapters", "rollback", SKILL, "--model", EMBEDDED_NAME)
    assert done.stderr.endswith("it uses none: the model answers by itself.\n")
    assert in_use(person) == []
    done = person.claw("skill", "adapters", "rollback", SKILL)
    assert done.returncode == 2
    assert "in use" in done.stderr
    assert person.claw("skill", "adapters", "use", second).returncode == 0
    assert in_use(person) == [2]
    done = person.claw("skill", "adapters", "off", SKILL)
    assert f"claw skill adapters use {second}" in done.stderr
    assert in_use(person) == []
    log = person.claw("log", "list", "--json").stdout
    assert "rolled back from version 2 to version 1" in log
    assert SKILL not in log


def test_of_several_models_one_has_to_be_named(person: Person) -> None:
    train(person)
    train(person, base_sha256="cd" * 32)
    done = person.claw("skill", "adapters", "off", SKILL)
    assert done.returncode == 2
    assert "--model" in done.stderr
    assert person.claw("skill", "adapters", "off", SKILL, "-m", "nothing").returncode == 2
    assert person.claw("skill", "adapters", "off", SKILL, "-m", EMBEDDED_NAME).returncode == 0
    assert "cdcdcdcdcdcd" in person.claw("skill", "adapters", "list").stdout


def test_one_is_exported_for_its_owner_alone(person: Person, tmp_path: Path) -> None:
    adapter_id, file = train(person), tmp_path / "mine.gguf"
    done = person.claw("skill", "adapters", "export", adapter_id, str(file))
    assert done.returncode == 0, done.stderr
    assert "in clear" in done.stderr
    assert file.read_bytes() == b"GGUF weights"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert person.claw("skill", "adapters", "export", adapter_id, str(file)).returncode == 1


def test_removing_asks_and_says_what_answers_then(person: Person) -> None:
    adapter_id = train(person)
    done = person.claw("skill", "adapters", "delete", adapter_id)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    terminal = person.terminal("skill", "adapters", "delete", adapter_id)
    terminal.sees("Remove 1 adapter for good? [y/N] ")
    terminal.types("n")
    assert terminal.ends() == 1
    done = person.claw("skill", "adapters", "delete", adapter_id, "--yes")
    assert done.stderr == f"1 adapter removed.\n{SKILL} used version 1; from its next turn on it uses none.\n"
    assert listed(person) == []
    assert person.claw("skill", "adapters", "delete", adapter_id, "--yes").returncode == 2


def test_removing_examples_names_what_learned_from_them(person: Person) -> None:
    with person.vault() as vault:
        store = ExampleStore(vault.database)
        example = vault.database.write(lambda c: store.put(c, SKILL, ExampleKind.ADDED, ("in", "out"), "a.txt"))
    adapter_id = train(person, learned_from=(example,))
    done = person.claw("skill", "examples", "delete", example, "--yes")
    assert f"What was learned from them stays: {SKILL} 1 ({adapter_id})." in done.stderr
    done = person.claw("vault", "erase", "--source", "a.txt", "--yes")
    assert f"1 trained adapter that learned from it: {SKILL} 1." in done.stderr
    assert listed(person) == []


# In the running assistant: with a model that is quick, and says nothing that makes sense


@pytest.fixture
def quick(person: Person, tmp_path: Path) -> str:
    """The digest of the model that the person has chosen."""
    model = hermes_gguf(tmp_path / "m.gguf", eager=False, context=16_384)
    assert person.claw("model", "import", str(model), "--name", "quick").returncode == 0
    person.set("model.default", "quick")
    return hashlib.sha256(model.read_bytes()).hexdigest()


@pytest.fixture
def loud(tmp_path: Path) -> bytes:
    """An adapter of it that changes what it says."""
    return lora_gguf(tmp_path / "loud", TINY, scale=2)


def asked(person: Person, *more: str) -> tuple[str, object]:
    done = person.claw("ask", "Name three colours.", "--temperature", "0", "--json", *more)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return answer["text"], answer["model"]["adapter"]


def test_a_skill_that_is_followed_answers_with_its_adapter_until_it_is_rolled_back(
    person: Person, quick: str, loud: bytes
) -> None:
    plain, none = asked(person, "--skill", SKILL)
    assert none is None
    train(person, loud, base_sha256=quick)
    other, digest = asked(person, "--skill", SKILL)
    assert digest == listed(person)[0]["sha256"]
    assert other != plain
    assert asked(person, "--skill", SKILL, "--no-save")[1] == digest
    assert asked(person)[1] is None  # where no skill is at work
    person.claw("skill", "adapters", "rollback", SKILL)
    assert asked(person, "--skill", SKILL) == (plain, None)


def test_a_run_of_a_skill_answers_with_its_adapter(person: Person, quick: str, loud: bytes, tmp_path: Path) -> None:
    report = tmp_path / "report.txt"
    report.write_text("The bridge over the river was built in 1921. It was painted green in 1950.\n")

    def run() -> object:
        done = person.claw("skill", "run", SKILL, "When was the bridge built?", "-f", str(report), "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["model"]["adapter"]

    assert run() is None
    train(person, loud, base_sha256=quick)
    assert run() == listed(person)[0]["sha256"]


def test_one_that_does_not_fit_is_refused_with_the_way_out(person: Person, quick: str) -> None:
    train(person, b"no adapter at all", base_sha256=quick)
    done = person.claw("ask", "--skill", SKILL, "Hello")
    assert done.returncode == 6
    assert "no GGUF file" in done.stderr
    assert "claw skill adapters rollback" in done.stderr


def test_a_running_conversation_takes_up_what_was_trained_at_its_next_turn(
    person: Person, quick: str, loud: bytes
) -> None:
    terminal = person.terminal("--plain")
    terminal.sees("you> ")
    terminal.says(f"/skill {SKILL}")
    digests: list[str | None] = []
    changes: list[Callable[[], object]] = [
        lambda: None,
        lambda: train(person, loud, base_sha256=quick),
        lambda: person.claw("skill", "adapters", "rollback", SKILL),
    ]
    for change in changes:
        terminal.sees("you> ")
        change()
        terminal.says("Hello")
        terminal.sees("context ")
        with person.vault() as vault:
            (session,) = vault.conversations.sessions()
            made = vault.conversations.path(session.id)[-1].generation
            digests.append(made.adapter_sha256 if made else "nothing was generated")
    terminal.sees("you> ")
    terminal.types("/quit")
    assert terminal.ends() == 0
    assert digests == [None, listed(person)[0]["sha256"], None]
