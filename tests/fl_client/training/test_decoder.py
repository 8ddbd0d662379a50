"""The decoder that is trained on, beside the one of transformers: the same loss, logits and gradients."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from fl_client.training.factors import MODULES, Target
from fl_client.training.protocol import TARGETS, Kind, Recipe
from fl_client.training.worker.adapter import Adapter
from fl_client.training.worker.base import Base, Unsuitable, shape_of
from fl_client.training.worker.decoder import Batch, Decoder

LENGTHS = (9, 1, 23, 2)
VOCABULARY = 61
RECIPE = Recipe("ffa", 3, 1.7, TARGETS, 1, 1, 1e-3, 64, b"seed".ljust(32))


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        yield


def reference(*, tied: bool = True, theirs: dict[str, Any] | None = None) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        rope_parameters=theirs or {"rope_type": "default", "rope_theta": 10_000.0},
    )
    model = LlamaForCausalLM(config)
    model.eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.normal_(0, 0.2)
    return model


def base_of(model: LlamaForCausalLM) -> Base:
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        weights.pop("lm_head.weight")
    return Base(shape_of(model), weights, model.config.num_hidden_layers)


def prepared(
    model: LlamaForCausalLM, recipe: Recipe, *, recompute: bool = False, kind: torch.dtype = torch.float32
) -> tuple[Adapter, Decoder, list[Target]]:
    base = base_of(model)
    targets = base.targets(recipe.targets)
    adapter = Adapter(recipe, targets, {target.name: base.of(target.layer, target.kind) for target in targets})
    with torch.no_grad():
        adapter.numbers.normal_(0, 0.1)
    return adapter, base.decoder(adapter.downs, kind, recompute=recompute), targets


def rows() -> list[Tensor]:
    return [torch.randint(0, VOCABULARY, (length,)) for length in LENGTHS]


def packed(given: list[Tensor]) -> Batch:
    """All rows; asked is the second half of each, at least one token of the longer ones."""
    asked, wanted, begin = [], [], 0
    for row in given:
        for position in range(len(row) // 2, len(row) - 1):
            asked.append(begin + position)
            wanted.append(row[position + 1])
        begin += len(row)
    return Batch(torch.cat(given), [len(row) for row in given], torch.tensor(asked), torch.stack(wanted))


def theirs(model: LlamaForCausalLM, given: list[Tensor], merged: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The summed loss and the logits of transformers, one row at a time, with other weights put in."""
    logits, wanted = [], []
    for row in given:
        made = torch.func.functional_call(model, merged, (), {"input_ids": row[None]}).logits[0]
        logits.append(made[len(row) // 2 : len(row) - 1])
        wanted.append(row[len(row) // 2 + 1 :])
    together = torch.cat(logits)
    return torch.nn.functional.cross_entropy(together, torch.cat(wanted), reduction="sum"), together


def merged(model: LlamaForCausalLM, adapter: Adapter, targets: list[Target]) -> dict[str, Tensor]:
    weights = dict(model.state_dict())
    ups = adapter.ups(model.config.num_hidden_layers)
    for target in targets:
        name = f"model.layers.{target.layer}.{MODULES[target.kind]}.weight"
        weights[name] = weights[name] + ups[target.layer][target.kind] @ adapter.downs[target.name]
    if model.config.tie_word_embeddings:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    return weights


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["ffa", "core"])
def test_loss_logits_and_gradient_are_those_of_transformers(kind: Kind, tied: bool, recompute: bool) -> None:
    model, given = reference(tied=tied), rows()
    recipe = Recipe(kind, 3, 1.7, TARGETS, 1, 1, 1e-3, 64, b"seed".ljust(32))
    adapter, decoder, targets = prepared(model, recipe, recompute=recompute)
    expected, their_logits = theirs(model, given, merged(model, adapter, targets))
    expected.backward()
    assert adapter.numbers.grad is not None
    their_gradient = adapter.numbers.grad.clone()
    adapter.numbers.grad = None

    loss = decoder.loss(packed(given), adapter.ups(decoder.depth))
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(adapter.numbers.grad, their_gradient, rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        logits = decoder.logits(packed(given), adapter.ups(decoder.depth))
    torch.testing.assert_close(logits, their_logits, rtol=1e-4, atol=1e-4)


def test_scaled_positions_are_refused() -> None:
    scaled = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}
    with pytest.raises(Unsuitable, match=r"scaled .linear."):
        base_of(reference(theirs=scaled))


def test_rows_beside_each_other_know_nothing_of_each_other() -> None:
    model, given = reference(), rows()
    adapter, decoder, _ = prepared(model, RECIPE)
    with torch.no_grad():
        together = decoder.loss(packed(given), adapter.ups(decoder.depth))
        alone = sum(decoder.loss(packed([row]), adapter.ups(decoder.depth)) for row in given if len(row) > 2)
    assert isinstance(alone, Tensor)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_zeros_change_nothing() -> None:
    model, given = reference(), rows()
    adapter, decoder, _ = prepared(model, RECIPE)
    with torch.no_grad():
        adapter.numbers.zero_()
        loss = decoder.loss(packed(given), adapter.ups(decoder.depth))
        expected, _ = theirs(model, given, merged(model, adapter, []))
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)


def test_shorter_numbers_come_close() -> None:
    model, given = reference(), rows()
    adapter, decoder, targets = prepared(model, RECIPE, kind=torch.bfloat16)
    expected, _ = theirs(model, given, merged(model, adapter, targets))
    loss = decoder.loss(packed(given), adapter.ups(decoder.depth))
    torch.testing.assert_close(loss, expected, rtol=2e-2, atol=2e-2)


def test_gradients_reach_the_numbers_alone_and_little_is_kept_for_them() -> None:
    model, given = reference(), rows()
    adapter, decoder, _ = prepared(model, RECIPE)
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * (tensor.dim() == 2 and tensor.shape[1] == VOCABULARY)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = decoder.loss(packed(given), adapter.ups(decoder.depth))
    loss.backward()
    assert adapter.numbers.grad is not None
    assert adapter.numbers.grad.isfinite().all()
    assert kept == 0  # no logits
