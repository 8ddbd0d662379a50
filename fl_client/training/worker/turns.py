"""Whose turn it is: which rows each step of a training is made of, the same ones for the same seed."""

from collections.abc import Iterator

import numpy as np

__all__ = ["order"]


def order(rows: int, steps: int, rows_a_step: int, seed: bytes) -> Iterator[list[int]]:
    """Which rows each step is made of: all of them in some order, then all again in another.

    Args:
        rows: How many there are.
        steps: How many steps.
        rows_a_step: How many rows each.
        seed: 32 bytes.
    """
    dice = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "little")))
    waiting: list[int] = []
    for _ in range(steps):
        while len(waiting) < rows_a_step:
            waiting += dice.permutation(rows).tolist()
        yield waiting[:rows_a_step]
        del waiting[:rows_a_step]
