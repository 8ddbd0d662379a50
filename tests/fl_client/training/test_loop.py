"""The training loop, beside a plain one of torch's over transformers' model: the same steps, to the last digits."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from fl_client.training.base_model import BaseModel
from fl_client.training.factors import MODULES
from fl_client.training.protocol import Checkpoint, Judged, Order, Row, framed, unframed
from fl_client.training.worker.adapter import Adapter
from fl_client.training.worker.base import Unsuitable, load
from fl_client.training.worker.loop import Training
from fl_client.training.worker.turns import order
from tests.fl_client.training.tiny import base_of, order_of

RATE = 0.3


@pytest.fixture
def base(tiny_model: Path) -> BaseModel:
    return base_of(tiny_model)


def begun(work: Order, kept: list[Checkpoint] | None = None) -> tuple[Training, Adapter]:
    weights = load(Path(work.base), work.sha256)
    targets = weights.targets(work.recipe.targets)
    adapter = Adapter(work.recipe, targets, {each.name: weights.of(each.layer, each.kind) for each in targets})
    decoder = weights.decoder(adapter.downs, torch.float32, recompute=work.recompute)
    keep = kept.append if kept is not None else lambda _: None
    return Training(work, decoder, adapter, torch.float32, lambda *_: None, keep), adapter


def work_of(base: BaseModel, steps: int = 4) -> Order:
    made = order_of(base, steps=steps)
    return msgspec.structs.replace(made, recipe=msgspec.structs.replace(made.recipe, learning_rate=RATE))


def loss_of(model: Any, weights: dict[str, Tensor], rows: Sequence[Row]) -> tuple[Tensor, int]:  # noqa: ANN401
    total, count = torch.zeros(()), 0
    for row in rows:
        tokens = torch.from_numpy(np.frombuffer(row.tokens, "<i4").astype(np.int64))
        logits = torch.func.functional_call(model, weights, (), {"input_ids": tokens[None]}).logits[0]
        wanted = tokens[row.answer :]
        total = total + torch.nn.functional.cross_entropy(logits[row.answer - 1 : -1], wanted, reduction="sum")
        count += len(wanted)
    return total, count


def test_steps_losses_and_judgement_are_those_of_a_plain_loop(base: BaseModel) -> None:
    work = work_of(base)
    training, adapter = begun(work)
    judged = training.run()

    plain: Any = AutoModelForCausalLM.from_pretrained(
        base.path.parent, gguf_file=base.path.name, dtype=torch.float32
    ).requires_grad_(False)
    weights = load(base.path, base.sha256)
    targets = weights.targets(work.recipe.targets)
    other = Adapter(work.recipe, targets, {each.name: weights.of(each.layer, each.kind) for each in targets})
    optimizer = torch.optim.AdamW([other.numbers], lr=RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / work.recipe.steps)

    def merged() -> dict[str, Tensor]:
        made = dict(plain.state_dict())
        ups = other.ups(base.layers)
        for target in targets:
            name = f"model.layers.{target.layer}.{MODULES[target.kind]}.weight"
            made[name] = made[name] + ups[target.layer][target.kind] @ other.downs[target.name]
        made["lm_head.weight"] = made["model.embed_tokens.weight"]
        return made

    losses = []
    for chosen in order(len(work.rows), work.recipe.steps, work.recipe.rows_a_step, work.recipe.seed):
        total, count = loss_of(plain, merged(), [work.rows[index] for index in chosen])
        losses.append(total.item() / count)
        (total / count).backward()
        torch.nn.utils.clip_grad_norm_([other.numbers], 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    assert training.losses == pytest.approx(losses, rel=1e-5)
    torch.testing.assert_close(adapter.numbers, other.numbers, rtol=2e-2, atol=2e-3)
    with torch.no_grad():
        total, count = loss_of(plain, merged(), work.held_out)
    assert judged.after == pytest.approx(float(total) / count, rel=1e-5)


def test_a_gradient_that_is_too_long_is_shortened(base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []
    step = torch.optim.AdamW.step

    def noted(self: torch.optim.AdamW, closure: None = None) -> None:
        (numbers,) = self.param_groups[0]["params"]
        lengths.append(float(numbers.grad.norm()))
        step(self, closure)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    monkeypatch.setattr("fl_client.training.worker.loop._CLIP", 0.001)
    training, _ = begun(work_of(base))
    training.run()
    assert lengths == pytest.approx([0.001] * 4, rel=1e-3)


def test_numbers_that_went_astray_end_it_with_words(base: BaseModel) -> None:
    work = work_of(base)
    _, adapter = begun(work)
    far = np.full(len(adapter.numbers), 1e38, "<f4").tobytes()
    training, _ = begun(msgspec.structs.replace(work, numbers=far))
    with pytest.raises(Unsuitable, match="went astray"):
        training.run()


def test_layers_that_are_computed_again_change_nothing(base: BaseModel) -> None:
    work = work_of(base)
    (one, first), (other, second) = begun(work), begun(msgspec.structs.replace(work, recompute=True))
    assert one.run() == other.run()
    assert torch.equal(first.numbers, second.numbers)


def test_there_is_a_checkpoint_before_the_first_step_and_after_the_last(base: BaseModel) -> None:
    kept: list[Checkpoint] = []
    work = msgspec.structs.replace(work_of(base), checkpoint_every=3600.0)
    training, _ = begun(work, kept)
    judged = training.run()
    assert [each.step for each in kept] == [0, 4]
    again, _ = begun(msgspec.structs.replace(work, resume=kept[-1]))
    assert again.run() == judged
    assert again.tokens == 0


def test_without_held_out_rows_nothing_is_judged(base: BaseModel) -> None:
    training, _ = begun(msgspec.structs.replace(work_of(base), held_out=[]))
    assert training.run() == Judged(None, None)


def test_what_is_read_while_it_is_written_is_noticed() -> None:
    whole = framed(b"a checkpoint")
    assert unframed(whole) == b"a checkpoint"
    other = framed(b"b checkpoint")
    for cut in range(len(whole)):
        assert unframed(whole[:cut]) is None or cut == 0
    for cut in range(1, len(whole) - 1):
        assert unframed(whole[:cut] + other[cut:]) in (None, b"a checkpoint", b"b checkpoint")
    torn = [unframed(whole[:cut] + other[cut:]) for cut in range(4, 33)]
    assert not any(torn), list(itertools.compress(torn, torn))
