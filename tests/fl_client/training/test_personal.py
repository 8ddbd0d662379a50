"""A personal adapter, from a skill's examples to the vault: used when it is better, gone with what it came from."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fl_client.errors import NotTrainable, TrainingStopped
from fl_client.training import personal
from fl_client.training.base_model import BaseModel
from fl_client.training.example_rows import FEWEST, Rows, Text, read_rows
from fl_client.training.personal import Learned, PersonalTraining
from fl_client.training.plan import PERSONAL, Machine, Range, TrainingPlan
from fl_client.training.protocol import Checkpoint, Judged, Result
from skills.examples import Examples
from skills.sandbox.job import Progress
from tests.fl_client.training.tiny import base_of
from vault.adapter_store import AdapterStore
from vault.classes import HighlySensitive
from vault.errors import NotFound, Paused
from vault.log.entries import Action
from vault.pause import PauseLatch
from vault.run_store import RunStore, training_of
from vault.settings import SkillSettings
from vault.store import Vault

SKILL = "backwards"
NOTHING = Rows((), [], [])
CANARY = "quokka-parliament"
MACHINE = Machine(6 << 30, 1)
PLAN = msgspec.structs.replace(
    PERSONAL, rank=Range(4, 4), longest=Range(32, 64), steps=Range(8, 8), learning_rate=1.0, scale=8.0
)


class Bytes:
    """Tokens of the tiny model, which knows bytes alone."""

    def encode(self, text: Text) -> tuple[Sequence[int], Sequence[int]]:
        given, wanted = ([3 + byte for byte in part.encode()] for part in text)
        return [1, *given, 3 + 58], [*wanted, 2]


@pytest.fixture
def base(tiny_model: Path) -> BaseModel:
    return base_of(tiny_model)


@pytest.fixture
def examples(vault: Vault) -> Examples:
    made = Examples(vault, SkillSettings())
    for number in range(FEWEST + 2):
        text = f"{CANARY} {number * 7919}"
        made.add(SKILL, text, text[::-1], source="notes.txt" if number == 3 else "")
    return made


def training(vault: Vault, base: BaseModel, plan: TrainingPlan = PLAN) -> PersonalTraining:
    given = read_rows(vault, SKILL, Bytes())
    return PersonalTraining(vault, SKILL, base, given, MACHINE, plan=plan, precision="float32")


def entries(vault: Vault) -> list[str]:
    found = [stored.entry for stored in vault.log.entries() if stored.entry is not None]
    return [entry.description for entry in reversed(found) if entry.action is Action.TRAIN]


def test_what_was_learned_is_used_sealed_and_logged(vault: Vault, base: BaseModel, examples: Examples) -> None:
    told: list[Progress] = []
    learned = training(vault, base).run(on_progress=told.append)
    store = AdapterStore(vault.database)
    record = store.active(SKILL, base.sha256)
    assert record is not None
    assert (record.id, record.examples, record.version) == (learned.adapter, FEWEST, 1)
    assert learned.used
    assert (learned.rows, learned.held_out) == (FEWEST, 2)
    assert record.loss_after is not None
    assert record.loss_before is not None
    assert record.loss_after < record.loss_before
    assert store.content(record.id).reveal().startswith(b"GGUF")
    assert told[-1].done == told[-1].total
    first, last = entries(vault)
    assert f"{FEWEST} examples of {SKILL} read by the trainer, behind" in first
    assert "used from now on; nothing was sent" in last
    assert CANARY not in first + last


def test_the_same_examples_make_the_same_adapter(vault: Vault, base: BaseModel, examples: Examples) -> None:
    first, again = (training(vault, base).run() for _ in range(2))
    assert first.result.numbers == again.result.numbers
    records = AdapterStore(vault.database).records(SKILL)
    assert [record.version for record in records] == [1, 2]
    assert records[0].sha256 == records[1].sha256


def stopped_after_a_checkpoint(vault: Vault, base: BaseModel, plan: TrainingPlan) -> None:
    stop = threading.Event()
    begun = training(vault, base, plan)
    keep = begun._keep

    def kept(run: str, checkpoint: Checkpoint) -> None:
        keep(run, checkpoint)
        if checkpoint.step:
            stop.set()

    begun._keep = kept  # type: ignore[method-assign]
    with pytest.raises(TrainingStopped):
        begun.run(stop=stop)


def ids(examples: Examples) -> set[str]:
    return {record.id for record in examples.records(SKILL)}


LONG = msgspec.structs.replace(PLAN, steps=Range(400, 400))


def unfinished(vault: Vault) -> int:
    query = "SELECT count(*) FROM skill_runs WHERE skill = ?"
    row = vault.database.read(lambda c: c.execute(query, (training_of(SKILL),)).fetchone())
    assert row is not None
    return int(row[0])


def test_one_that_was_stopped_goes_on_and_ends_as_if_it_had_not_been(
    vault: Vault, base: BaseModel, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fl_client.training.personal.CHECKPOINT_EVERY_S", 0.0)
    whole = training(vault, base, LONG).run()
    assert unfinished(vault) == 0
    stopped_after_a_checkpoint(vault, base, LONG)
    assert unfinished(vault) == 1
    again = training(vault, base, LONG).run()
    assert again.result.numbers == whole.result.numbers
    assert again.result.tokens < whole.result.tokens
    assert unfinished(vault) == 0
    assert "read again" in entries(vault)[-2]


def test_deleting_an_example_takes_along_what_an_unfinished_training_learned_of_it(
    vault: Vault, base: BaseModel, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fl_client.training.personal.CHECKPOINT_EVERY_S", 0.0)
    stopped_after_a_checkpoint(vault, base, LONG)
    examples.delete([examples.records(SKILL)[0].id])
    assert unfinished(vault) == 0


def test_an_example_deleted_during_a_training_ends_it_and_nothing_of_it_is_kept(
    vault: Vault, base: BaseModel, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fl_client.training.personal.CHECKPOINT_EVERY_S", 0.0)
    begun = training(vault, base, LONG)

    def delete(now: Progress) -> None:
        first = begun._given.learned_from[0]
        if now.done > 20 and first in ids(examples):
            examples.delete([first])

    with pytest.raises(NotFound, match="removed meanwhile"):
        begun.run(on_progress=delete)
    assert unfinished(vault) == 0
    assert AdapterStore(vault.database).records(SKILL) == []


def test_nothing_is_learned_while_everything_is_paused(vault: Vault, base: BaseModel, examples: Examples) -> None:
    latch = PauseLatch(vault.home)
    latch.engage("a test")
    with pytest.raises(Paused):
        training(vault, base).run()
    latch.release("a test")

    def pause(_: Progress) -> None:
        latch.engage("a test")

    with pytest.raises(Paused):
        training(vault, base, LONG).run(on_progress=pause)
    assert AdapterStore(vault.database).records(SKILL) == []


def test_an_adapter_that_is_no_better_is_kept_and_not_used(
    vault: Vault, base: BaseModel, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = training(vault, base).run()

    def train(*given: Any, **more: Any) -> Result:  # noqa: ANN401
        return msgspec.structs.replace(first.result, judged=Judged(5.0, 5.0))

    monkeypatch.setattr(personal, "train", train)
    learned = training(vault, base).run()
    assert not learned.used
    active = AdapterStore(vault.database).active(SKILL, base.sha256)
    assert active is not None
    assert active.id == first.adapter
    assert "not used, for it is no better" in entries(vault)[-1]


def test_too_few_examples_are_refused_with_what_to_do(vault: Vault, base: BaseModel) -> None:
    Examples(vault, SkillSettings()).add(SKILL, "one", "eno")
    with pytest.raises(NotTrainable, match="has 1 example; training takes 10") as caught:
        training(vault, base)
    assert "claw skill examples add" in (caught.value.hint or "")


def test_a_model_of_another_architecture_is_refused(vault: Vault, base: BaseModel) -> None:
    with pytest.raises(NotTrainable, match="architecture gpt2"):
        PersonalTraining(vault, SKILL, msgspec.structs.replace(base, architecture="gpt2"), NOTHING, MACHINE)


def test_a_machine_with_too_little_memory_is_told_how_much_it_takes(
    vault: Vault, base: BaseModel, examples: Examples
) -> None:
    given = read_rows(vault, SKILL, Bytes())
    begun = PersonalTraining(vault, SKILL, base, given, Machine(100 << 20, 1), plan=PLAN)
    with pytest.raises(NotTrainable, match=r"takes about [\d,]+ MiB of memory; 100 may be taken"):
        begun.run()


def test_those_to_judge_by_are_none_of_those_to_learn_from(vault: Vault, examples: Examples) -> None:
    given = read_rows(vault, SKILL, Bytes())
    assert len(given.rows) == FEWEST
    assert not {row.tokens for row in given.rows} & {row.tokens for row in given.held_out}
    known = [Text(f"{CANARY} {number * 7919}", f"{CANARY} {number * 7919}"[::-1]) for number in range(3)]
    assert len(read_rows(vault, SKILL, Bytes(), [*known, Text("abc", "cba")]).held_out) == 1
    with pytest.raises(NotTrainable, match="All of the examples to judge by are among those to learn from"):
        read_rows(vault, SKILL, Bytes(), known)


def test_what_another_version_kept_of_a_training_is_begun_anew(
    vault: Vault, base: BaseModel, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = training(vault, base).run()
    monkeypatch.setattr(personal, "RunStore", Forgotten)
    again = training(vault, base).run()
    assert again.result.numbers == whole.result.numbers
    assert again.result.tokens == whole.result.tokens


class Forgotten(RunStore):
    """Remembers of every run what nobody understands."""

    def answers(self, run: str) -> dict[str, HighlySensitive[bytes]]:
        return {personal._CHECKPOINT: HighlySensitive(b"\x93")}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tensor_kinds": ("blk.attn_q.weight", "rope_freqs.weight")}, "it has rope_freqs.weight"),
        ({"tensor_kinds": ("blk.attn_q.bias",)}, "it has blk.attn_q.bias"),
        ({"rope_scaling": "yarn"}, "its positions are scaled .yarn."),
    ],
)
def test_a_model_that_would_be_trained_as_another_is_refused(
    vault: Vault, base: BaseModel, change: dict[str, object], said: str
) -> None:
    with pytest.raises(NotTrainable, match=said):
        PersonalTraining(vault, SKILL, msgspec.structs.replace(base, **change), NOTHING, MACHINE)


def test_given_texts_are_what_it_is_judged_by(vault: Vault, base: BaseModel, examples: Examples) -> None:
    given = read_rows(vault, SKILL, Bytes(), [Text("abc", "cba")])
    learned: Learned = PersonalTraining(vault, SKILL, base, given, MACHINE, plan=PLAN, precision="float32").run()
    assert (learned.rows, learned.held_out) == (FEWEST + 2, 1)


def test_nothing_of_an_example_is_on_the_disk_in_clear(vault: Vault, base: BaseModel, examples: Examples) -> None:
    training(vault, base).run()
    assert RunStore(vault.database).answers("0" * 64) == {}
    for path in vault.home.data.rglob("*"):
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes()
            assert b"GGUF" not in path.read_bytes()
