"""A trained adapter, and the two files that it can be: llama.cpp's GGUF, and the folder that peft loads.

Both hold A and B of each target, such that B·A·scale is added to its weights. GGUF has the rows of queries and keys
in another order than transformers: its converter interleaves the two halves of each head
(llama.cpp, `convert_hf_to_gguf.py`, `LlamaModel.permute`).
"""

import io
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from fl_client.training.base_model import BaseModel
from fl_client.training.factors import MODULES, Target, numbers_of, seeded
from fl_client.training.program import LARGEST_NUMBER, unexpected
from fl_client.training.protocol import Recipe, Result

__all__ = ["Trained", "as_gguf", "as_peft"]

Matrix = NDArray[np.float32]


class Trained(NamedTuple):
    """An adapter.

    Attributes:
        base: The model that it belongs to.
        recipe: How it was trained.
        numbers: Shape (count,), float32.
        frozen: Of `core`, the factors A and B of each target by its name.
    """

    base: BaseModel
    recipe: Recipe
    numbers: Matrix
    frozen: dict[str, tuple[Matrix, Matrix]]

    @classmethod
    def of(cls, base: BaseModel, recipe: Recipe, result: Result) -> "Trained":
        """What a result that was looked at is.

        Args:
            base: The model that was trained on.
            recipe: How.
            result: With factors, where the recipe is for `core`.
        """

        def matrix(data: bytes) -> Matrix:
            return np.frombuffer(data, "<f4").astype(np.float32)

        frozen = {
            one.name: (matrix(one.down).reshape(recipe.rank, -1), matrix(one.up).reshape(-1, recipe.rank))
            for one in result.factors
        }
        return cls(base, recipe, matrix(result.numbers), frozen)

    def matrices(self) -> Iterator[tuple[Target, Matrix, Matrix]]:
        """Each target with A, shape (rank, in), and B, shape (out, rank), in transformers' order of rows.

        Raises:
            TrainingFailed: they are beyond what any model computes with.
        """
        targets = self.base.targets(self.recipe.targets)
        for target, numbers in numbers_of(targets, self.recipe, self.numbers):
            if self.recipe.kind == "ffa":
                yield target, seeded(self.recipe.seed, target, self.recipe.rank), numbers
            else:
                down, up = self.frozen[target.name]
                product = up @ numbers
                if not np.all(np.abs(product) < LARGEST_NUMBER):  # each factor may have been small enough
                    raise unexpected()
                yield target, down, product


def as_gguf(trained: Trained) -> bytes:
    """The adapter as llama.cpp loads it (`general.type` adapter, `adapter.type` lora).

    Its `general.description` is the recipe: with the same rows it makes the same adapter.
    """
    from gguf import GGUFWriter
    from gguf.gguf_writer import WriterState

    base, recipe = trained.base, trained.recipe
    writer = GGUFWriter(None, base.architecture)
    writer.add_type("adapter")
    writer.add_description(msgspec.json.encode(msgspec.to_builtins(recipe) | {"seed": recipe.seed.hex()}).decode())
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", recipe.scale * recipe.rank)
    tensors = []
    for target, down, up in trained.matrices():
        if target.kind in ("attn_q", "attn_k"):
            up = _interleaved(up, base.heads if target.kind == "attn_q" else base.kv_heads)
        tensors += [(f"{target.name}.lora_a", down), (f"{target.name}.lora_b", up)]
    for name, tensor in tensors:
        writer.add_tensor_info(name, tensor.shape, tensor.dtype, tensor.nbytes)
    # A file that the writer opens is on the disk, in clear; and it writes tensors to such files alone.
    memory = io.BytesIO()
    writer.fout, writer.state = [memory], WriterState.EMPTY
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.write_padding(memory, memory.tell())
    for _, tensor in tensors:
        memory.write(np.ascontiguousarray(tensor).tobytes())
        writer.write_padding(memory, tensor.nbytes)
    return memory.getvalue()


def as_peft(trained: Trained) -> dict[str, bytes]:
    """The adapter as a folder that peft loads: the contents of each file by its name."""
    from safetensors.numpy import save

    recipe = trained.recipe
    tensors = {}
    for target, down, up in trained.matrices():
        module = f"base_model.model.model.layers.{target.layer}.{MODULES[target.kind]}"
        tensors[f"{module}.lora_A.weight"] = np.ascontiguousarray(down)
        tensors[f"{module}.lora_B.weight"] = np.ascontiguousarray(up)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": trained.base.name,
        "r": recipe.rank,
        "lora_alpha": recipe.scale * recipe.rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": [MODULES[kind].rpartition(".")[2] for kind in recipe.targets],
    }
    written = msgspec.json.format(msgspec.json.encode(config), indent=2)
    return {"adapter_config.json": written, "adapter_model.safetensors": save(tensors)}


def _interleaved(rows: Matrix, heads: int) -> Matrix:
    """Rows of each head's two halves, in turns."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(rows.shape)
