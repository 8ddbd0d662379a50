"""The adapter in training: one row of numbers, and the maps that they make of it for each layer."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fl_client.training.factors import Target, count, seeded, size
from fl_client.training.protocol import Recipe
from fl_client.training.worker.decoder import Ups

__all__ = ["Adapter", "principal"]


class Adapter:
    """Numbers in training beside factors that stand still.

    Args:
        recipe: What it is like.
        targets: In their order.
        weights: Of each target by its name, float32, shape (out, in).

    Attributes:
        numbers: Shape (count,), float32, zeros at first: they change nothing.
        downs: Frozen, of each target by its name: A, shape (rank, in), float32.
        frozen_ups: Of `core`, the same: B, shape (out, rank).
    """

    def __init__(self, recipe: Recipe, targets: Sequence[Target], weights: dict[str, Tensor]) -> None:
        self._recipe = recipe
        self._targets = targets
        self.numbers = torch.zeros(count(targets, recipe), requires_grad=True)
        self.downs: dict[str, Tensor] = {}
        self.frozen_ups: dict[str, Tensor] = {}
        for target in targets:
            if recipe.kind == "ffa":
                self.downs[target.name] = torch.from_numpy(seeded(recipe.seed, target, recipe.rank))
            else:
                down, up = principal(weights[target.name], recipe.rank)
                self.downs[target.name], self.frozen_ups[target.name] = down, up

    def ups(self, layers: int) -> list[Ups]:
        """The trained side of each layer's maps, differentiable in the numbers."""
        made: list[Ups] = [{} for _ in range(layers)]
        parts = self.numbers.split([size(target, self._recipe) for target in self._targets])
        for target, part in zip(self._targets, parts, strict=True):
            up = part.view(-1, self._recipe.rank) * self._recipe.scale
            if self._recipe.kind == "core":
                up = self.frozen_ups[target.name] @ up
            made[target.layer][target.kind] = up
        return made


def principal(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The frozen factors of `core`: A = V_rᵀ and B = U_r·Σ_r of the truncated singular value decomposition.

    Singular vectors have no sign of their own. Here the largest number of each row of A is positive, so that
    everybody who computes them has the same ones, but for rounding.

    Args:
        weight: Shape (out, in).
        rank: At most the smaller of the two.

    Returns:
        A, shape (rank, in), and B, shape (out, rank); float32.
    """
    left, values, right = torch.linalg.svd(weight.double(), full_matrices=False)
    left, values, right = left[:, :rank], values[:rank], right[:rank]
    largest = right.gather(1, right.abs().argmax(1, keepdim=True)).sign()
    return (right * largest).float(), (left * values * largest.T).float()
