"""`claw skill train`: an adapter is learned from a skill's examples, used, and taken back."""

import dataclasses
import json
from pathlib import Path

import pytest

from agent.models.gguf import read_header
from cli.at_work import base_of
from tests.fixtures.command import Person

SKILL = "backwards"


@pytest.fixture
def taught(person: Person, tiny_model: Path, tmp_path: Path) -> Person:
    """Somebody with a small model and a dozen examples."""
    assert person.claw("model", "import", str(tiny_model), "--name", "tiny").returncode == 0
    lines = [json.dumps({"q": f"turn {n * 7919} round", "a": f"{n * 7919}"[::-1]}) for n in range(12)]
    file = tmp_path / "examples.jsonl"
    file.write_text("\n".join(lines))
    given = ("--input-field", "q", "--output-field", "a")
    assert person.claw("skill", "examples", "import", SKILL, str(file), *given).returncode == 0
    return person


def adapters(person: Person) -> list[dict[str, object]]:
    return list(json.loads(person.claw("skill", "adapters", "list", "--json").stdout))


def test_what_was_learned_is_said_used_and_taken_back(taught: Person, tmp_path: Path) -> None:
    folder = tmp_path / "peft"
    done = taught.claw("skill", "train", SKILL, "-m", "tiny", "--json", "--peft", str(folder))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["examples"] == {"learned_from": 10, "held_out": 2, "cut": 0}
    assert told["recipe"]["kind"] == "ffa"
    assert len(told["loss"]["steps"]) == told["recipe"]["steps"] >= 20
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "adapter_config.json": 0o600,
        "adapter_model.safetensors": 0o600,
    }
    (record,) = adapters(taught)
    assert (record["id"], record["skill"], record["active"]) == (told["adapter"], SKILL, told["used"])
    log = taught.claw("log", "list", "--json").stdout
    assert "nothing was sent" in log
    assert "a trained adapter as a folder, not encrypted" in log
    assert "7919" not in log

    if told["used"]:
        assert taught.claw("skill", "adapters", "rollback", SKILL).returncode == 0
        assert [record["active"] for record in adapters(taught)] == [False]


def test_others_than_one_s_own_examples_can_be_what_it_is_judged_by(taught: Person, tmp_path: Path) -> None:
    file = tmp_path / "others.jsonl"
    file.write_text('{"q": "turn 12 round", "a": "21"}\n')
    fields = ("--input-field", "q", "--output-field", "a")
    done = taught.claw("skill", "train", SKILL, "-m", "tiny", "--held-out", str(file), *fields)
    assert done.returncode == 0
    assert "Learned from 12 examples" in done.stderr
    assert "On 1 example that it didn't learn from, the loss was" in done.stderr
    assert done.stdout == ""


def test_core_is_twelve_numbers_where_ffa_is_a_hundred(taught: Person) -> None:
    done = taught.claw("skill", "train", SKILL, "-m", "tiny", "--kind", "core", "--json")
    assert json.loads(done.stdout)["parameters"] == 2 * 16 * 16


def test_what_cannot_be_is_refused_with_what_to_do(taught: Person, tmp_path: Path) -> None:
    done = taught.claw("skill", "train", "nothing-yet", "-m", "tiny")
    assert done.returncode == 1
    assert "nothing-yet has 0 examples; training takes 10 at least" in done.stderr
    assert "claw skill examples add" in done.stderr
    assert taught.claw("skill", "train", SKILL, "-m", "tiny", "--passes", "0").returncode == 2
    assert taught.claw("skill", "train", SKILL, "-m", "tiny", "--input-field", "q").returncode == 2
    assert taught.claw("skill", "train", SKILL, "-m", "tiny", "--peft", str(tmp_path)).returncode == 2
    for place in ("/no/such/folder/peft", str(taught.home.vault / "peft")):
        assert taught.claw("skill", "train", SKILL, "-m", "tiny", "--peft", place).returncode in (1, 2)
    missing = taught.claw("skill", "train", SKILL, "-m", "tiny", "--held-out", str(tmp_path / "none"))
    assert (missing.returncode, "can't be read" in missing.stderr) == (2, True)
    assert taught.claw("skill", "train", "No Such Name", "-m", "tiny").returncode == 2
    assert adapters(taught) == []


def test_what_a_model_has_beside_the_known_is_handed_on(tiny_model: Path) -> None:
    with tiny_model.open("rb") as file:
        header = dataclasses.replace(read_header(file.fileno()), rope_scaling="yarn")
    base = base_of(header, tiny_model, "tiny", "0" * 64)
    assert (base.rope_scaling, base.tensor_kinds) == ("yarn", header.tensor_kinds)
    assert (base.inner, base.head_size, base.kv_heads) == (128, 16, 2)


def test_ctrl_c_ends_it_and_leaves_things_whole(taught: Person) -> None:
    terminal = taught.terminal("skill", "train", SKILL, "-m", "tiny", "--passes", "100", TERM="xterm-256color")
    terminal.sees("loading the model")
    terminal.presses("c")
    terminal.sees("[stopped; run the same again to go on")
    assert terminal.ends() == 130
    assert adapters(taught) == []
    assert taught.claw("vault", "check").returncode == 0


def test_the_skill_s_instructions_stand_before_each_example_as_they_do_at_work(
    taught: Person, tmp_path: Path
) -> None:
    folder = tmp_path / SKILL
    folder.mkdir()

    def loss_before(instructions: str) -> float:
        (folder / "SKILL.md").write_text(f"---\nname: {SKILL}\ndescription: Turns.\n---\n{instructions}\n")
        assert taught.claw("skill", "import", str(folder), "--yes").returncode == 0
        done = taught.claw("skill", "train", SKILL, "-m", "tiny", "--json")
        assert done.returncode == 0, done.stderr
        assert ("the instructions of backwards are too long" in done.stderr) is (len(instructions) > 1000)
        return float(json.loads(done.stdout)["loss"]["before"])

    plain = json.loads(taught.claw("skill", "train", SKILL, "-m", "tiny", "--json").stdout)["loss"]["before"]
    assert loss_before("Say it from behind.") != plain
    assert loss_before("Say it from behind. " * 100) == plain


def test_what_is_too_long_or_disabled_is_trained_without_and_said(taught: Person, tmp_path: Path) -> None:
    folder = tmp_path / SKILL
    folder.mkdir()
    (folder / "SKILL.md").write_text(f"---\nname: {SKILL}\ndescription: Turns.\n---\nFrom behind.\n")
    assert taught.claw("skill", "import", str(folder), "--yes").returncode == 0
    assert taught.claw("skill", "disable", SKILL).returncode == 0
    done = taught.claw("skill", "train", SKILL, "-m", "tiny")
    assert done.returncode == 0
    assert "is disabled. It is trained without its instructions." in done.stderr
    assert taught.claw("config", "set", "assistant.system", "Be brief. " * 60).returncode == 0
    done = taught.claw("skill", "train", SKILL, "-m", "tiny", "--json")
    assert "your system prompt is too long to be trained with" in done.stderr
    assert json.loads(done.stdout)["examples"]["cut"] == 0


def test_rows_to_judge_by_are_not_cut_to_those_to_learn_from(taught: Person, tmp_path: Path) -> None:
    file = tmp_path / "others.jsonl"
    file.write_text(json.dumps({"q": "turn " * 100, "a": "12"}) + "\n")
    fields = ("--input-field", "q", "--output-field", "a")
    done = taught.claw("skill", "train", SKILL, "-m", "tiny", "--held-out", str(file), *fields, "--json")
    told = json.loads(done.stdout)
    assert told["recipe"]["longest"] > 500
    assert told["examples"]["cut"] == 0
