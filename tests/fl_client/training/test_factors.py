"""The order of an adapter's numbers, and the factors beside them that everybody makes alike."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fl_client.training.factors import Target, count, numbers_of, seeded
from fl_client.training.protocol import Kind, Recipe
from fl_client.training.worker.adapter import principal

TARGETS = [Target(0, "attn_q", 12, 8), Target(0, "attn_v", 4, 8), Target(1, "attn_q", 12, 8)]

PINNED = "48723b388dc39f45920fd4a48ed96a6cc782c66b21a5997ad09a6a00ea8986c1"


def recipe(kind: Kind, rank: int = 2) -> Recipe:
    return Recipe(kind, rank, 1.0, ("attn_q", "attn_v"), 1, 1, 1e-3, 64, bytes(32))


def test_the_seeded_factor_is_the_published_one_to_the_last_bit() -> None:
    made = seeded(bytes(range(32)), Target(3, "attn_q", 576, 576), 8)
    assert made.shape == (8, 576)
    assert made.dtype == np.float32
    assert hashlib.sha256(made.tobytes()).hexdigest() == PINNED
    assert abs(float(made.var()) * 3 * 576 - 1) < 0.1
    assert float(np.abs(made).max()) <= 1 / 24


def test_other_seeds_layers_and_targets_have_other_factors() -> None:
    drawn = [
        seeded(seed, Target(layer, kind, 8, 8), 2).tobytes()
        for seed in (bytes(32), b"1" * 32)
        for layer in (0, 1)
        for kind in ("attn_q", "attn_v")
    ]
    assert len(set(drawn)) == 8


@pytest.mark.parametrize(("kind", "total"), [("ffa", 2 * (12 + 4 + 12)), ("core", 3 * 4)])
def test_numbers_come_layer_by_layer_and_row_by_row(kind: Kind, total: int) -> None:
    assert count(TARGETS, recipe(kind)) == total
    parts = list(numbers_of(TARGETS, recipe(kind), np.arange(total, dtype=np.float32)))
    assert [target for target, _ in parts] == TARGETS
    assert np.array_equal(np.concatenate([part.ravel() for _, part in parts]), np.arange(total))
    assert parts[0][1][1, 0] == 2


@given(st.integers(1, 6), st.integers(6, 20), st.integers(6, 20), st.integers(0, 2**32 - 1))
def test_principal_factors_are_the_best_of_their_rank_and_have_one_sign(
    rank: int, rows: int, columns: int, seed: int
) -> None:
    weight = torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32))
    down, up = principal(weight, rank)
    values = torch.linalg.svdvals(weight)
    assert abs(torch.linalg.norm(weight - up @ down) - torch.linalg.norm(values[rank:])) < 1e-3
    largest = down.gather(1, down.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()
    same = principal(-weight, rank)
    assert torch.allclose(same[0], down, atol=1e-4)
    assert torch.allclose(same[1], -up, atol=1e-3)
