"""A tiny model to train on, orders for it, and the device's side of it."""

import hashlib
from pathlib import Path

import msgspec
import numpy as np

from fl_client.training.base_model import BaseModel
from fl_client.training.protocol import Kind, Order, Recipe, Row

__all__ = ["ROWS", "base_of", "order_of"]

KINDS: tuple[Kind, ...] = ("ffa", "core")


def base_of(path: Path) -> BaseModel:
    """What there is to know of `tests.tiny_model`'s file."""
    return BaseModel(
        path=path,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        name="tiny",
        architecture="llama",
        parameters=60_000,
        layers=1,
        width=64,
        inner=128,
        heads=4,
        kv_heads=2,
        head_size=16,
    )


def _row(number: int) -> Row:
    """A few bytes, answered by the same ones backwards: something that can be learned."""
    given = [3 + (7 * number + step) % 40 for step in range(6 + number % 5)]
    return Row(np.array([1, *given, 40, *reversed(given), 2], "<i4").tobytes(), len(given) + 2)


ROWS = [_row(number) for number in range(24)]


def order_of(base: BaseModel, *, kind: Kind = "ffa", steps: int = 6, **changed: object) -> Order:
    """An order that takes a second or two, most of it for loading torch."""
    recipe = Recipe(kind, 4, 8.0, ("attn_q", "attn_v", "ffn_down"), steps, 4, 1.0, 64, b"tiny".ljust(32))
    order = Order(
        base=str(base.path),
        sha256=base.sha256,
        recipe=recipe,
        rows=ROWS[:16],
        held_out=ROWS[16:],
        threads=1,
        tokens_at_once=128,
        precision="float32",
    )
    return msgspec.structs.replace(order, **changed)
