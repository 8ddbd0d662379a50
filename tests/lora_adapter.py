"""A GGUF LoRA with random numbers, for the embedded model or the tiny one, and what makes it unfit."""

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

__all__ = ["SMOLLM", "TINY", "lora_gguf"]

Array = npt.NDArray[np.float32]

SMOLLM = {f"blk.{n}.attn_{which}.weight": (out, 576) for n in range(30) for which, out in (("q", 576), ("v", 192))}
"""Of the embedded model, the weights that are adapted, with their shapes (out, in)."""
TINY = {"blk.0.attn_q.weight": (64, 64), "blk.0.attn_v.weight": (32, 64)}
"""Of the tiny one."""


def lora_gguf(
    path: Path,
    weights: Mapping[str, tuple[int, int]] = SMOLLM,
    *,
    scale: float = 0.2,
    rank: int = 8,
    seed: int = 1,
    architecture: str = "llama",
    kind: str = "adapter",
    form: str = "lora",
    alpha: float = 16.0,
    changed: Mapping[str, Array | None] | None = None,
    more: Mapping[str, str] | None = None,
) -> bytes:
    """Write an adapter, and return its bytes.

    Args:
        path: Where.
        weights: What it adapts.
        scale: Of the numbers in B: with 0 it changes nothing, with 0.2 whatever is said.
        rank: Of its matrices.
        seed: Of its numbers.
        architecture: As it names the model's.
        kind: Its `general.type`.
        form: Its `adapter.type`.
        alpha: Its scale; left out when negative.
        changed: Tensors in the place of its own, or beside them; `None` leaves one out.
        more: Further texts, by their keys.
    """
    random = np.random.default_rng(seed)
    tensors: dict[str, Array | None] = {}
    for name, (out, inner) in weights.items():
        tensors[f"{name}.lora_a"] = (random.standard_normal((rank, inner)) * 0.05).astype(np.float32)
        tensors[f"{name}.lora_b"] = (random.standard_normal((out, rank)) * scale).astype(np.float32)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(kind)
    writer.add_string("adapter.type", form)
    if alpha >= 0:
        writer.add_float32("adapter.lora.alpha", alpha)
    for key, text in (more or {}).items():
        writer.add_string(key, text)
    for tensor, numbers in {**tensors, **(changed or {})}.items():
        if numbers is not None:
            writer.add_tensor(tensor, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()
