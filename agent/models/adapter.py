"""Whether a trained adapter fits a model, before llama.cpp sees it: some files make that end its process.

An adapter is a GGUF file of LoRA pairs (Hu et al. 2021): to a weight W of shape (out, in), `lora_a` of (r, in) and
`lora_b` of (out, r) add `alpha / r * B @ A`. What is taken is narrower than what llama.cpp takes: float32, matrices
of layers, no keys but `general.*` and the two that say what it is.
"""

import re
from typing import NamedTuple

from agent.errors import AdapterRefused, ModelRefused
from agent.models.layout import Tensor, read_preamble, read_tensors
from agent.models.metadata import Metadata, read_metadata
from agent.models.window import Window

__all__ = ["AdaptableModel"]

_UINT32, _FLOAT32, _STRING = 4, 6, 8
_TYPES = {
    "general.type": _STRING,
    "general.architecture": _STRING,
    "general.alignment": _UINT32,
    "adapter.type": _STRING,
    "adapter.lora.alpha": _FLOAT32,
}
"""Where llama.cpp asserts that a value is of this type."""
_MOST_ALPHA = 65_536.0
_SMALL = bytes(byte for byte in range(256) if byte & 0x7F < 0x47)
"""The last bytes of float32s (sign, and seven bits of the exponent) whose size is below 32,768.

All else has another, infinities and what is no number included.
"""
_MOST_RANK = 1024
_OF_LAYER = re.compile(r"blk\.\d{1,5}\.\w{1,40}\.weight")


class AdaptableModel(NamedTuple):
    """What of a model decides which adapters fit it.

    Attributes:
        architecture: As its file names it.
        matrices: The shapes of its layers' matrices as GGUF has them, (in, out), by their names.
    """

    architecture: str
    matrices: dict[str, tuple[int, ...]]

    @classmethod
    def read(cls, descriptor: int) -> "AdaptableModel":
        """Read a model's header.

        Args:
            descriptor: Of its file, open for reading.

        Raises:
            ModelRefused: it isn't a complete GGUF file.
        """
        window = Window.of_file(descriptor)
        tensors, entries = read_preamble(window)
        metadata = read_metadata(window, entries)
        return cls(
            metadata.text("general.architecture"),
            {
                tensor.name: tensor.shape
                for tensor in read_tensors(window, tensors, metadata)
                if len(tensor.shape) == 2 and _OF_LAYER.fullmatch(tensor.name)
            },
        )

    def check(self, content: bytes) -> None:
        """See that an adapter fits.

        Args:
            content: Its GGUF file.

        Raises:
            AdapterRefused: it doesn't, or is none; the message says why.
        """
        try:
            window = Window.of_bytes(content)
            if window.peek(4) != b"GGUF":
                raise _refused("it is no GGUF file")
            tensors, entries = read_preamble(window)
            metadata = read_metadata(window, entries)
            self._check_metadata(metadata)
            found = read_tensors(window, tensors, metadata)
        except ModelRefused as error:
            raise _refused(f"it is damaged, or none ({error.message.rstrip('.')})") from None
        self._check_pairs({tensor.name: tensor for tensor in found})
        for tensor in found:
            if content[tensor.start + 3 : tensor.start + tensor.bytes : 4].translate(None, _SMALL):
                raise _refused("it holds values that are no numbers, or beyond all measure")

    def _check_metadata(self, metadata: Metadata) -> None:
        for key, kind in metadata.kinds.items():
            if not key.startswith("general.") and key not in _TYPES:
                raise _refused("it says things of itself that no adapter of ours says")
            if _TYPES.get(key, kind) != kind:
                raise _refused("what it says of itself has another type than it must have")
        if (metadata.text("general.type"), metadata.text("adapter.type")) != ("adapter", "lora"):
            raise _refused("it is no LoRA adapter")
        if metadata.text("general.architecture") != self.architecture:
            raise _refused("it was made for a model of another architecture")
        alpha = metadata.value("adapter.lora.alpha")
        if not isinstance(alpha, float) or not 0 < alpha <= _MOST_ALPHA:
            raise _refused("its alpha makes no sense")

    def _check_pairs(self, tensors: dict[str, Tensor]) -> None:
        names = {name.removesuffix(".lora_a") for name in tensors if name.endswith(".lora_a")}
        if tensors.keys() != {f"{name}.lora_{part}" for name in names for part in "ab"}:
            raise _refused("its tensors aren't pairs")
        for name in names:
            a, b = tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"]
            if name not in self.matrices:
                raise _refused("it changes weights that the model hasn't got")
            inner, outer = self.matrices[name]
            if {a.type, b.type} != {"F32"}:
                raise _refused("its numbers aren't float32")
            if len(a.shape) != 2 or len(b.shape) != 2 or (a.shape[0], b.shape[1]) != (inner, outer):
                raise _refused("its shapes aren't those of the model's weights")
            if a.shape[1] != b.shape[0] or a.shape[1] > _MOST_RANK:
                raise _refused("its two factors don't fit each other")


def _refused(why: str) -> AdapterRefused:
    return AdapterRefused(
        f"The adapter can't be used with this model: {why}.",
        hint="`claw skill adapters rollback SKILL` goes back to the one before; `off` uses none.",
    )
