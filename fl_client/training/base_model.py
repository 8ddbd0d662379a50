"""What the device knows of a model that is trained on: its file, and the shapes of its weights."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from fl_client.errors import NotTrainable
from fl_client.training.factors import Target
from fl_client.training.protocol import TARGETS
from vault.sanitize import sanitize_line

__all__ = ["BaseModel"]

_ARCHITECTURE = "llama"
_KNOWN = {
    "token_embd.weight",
    "output.weight",
    "output_norm.weight",
    "blk.attn_norm.weight",
    "blk.ffn_norm.weight",
    *(f"blk.{kind}.weight" for kind in TARGETS),
}


class BaseModel(msgspec.Struct, frozen=True):
    """A verified model file of this device.

    Attributes:
        path: Where it lies.
        sha256: Its digest, in hex.
        name: What a person calls it.
        architecture: As the file names it.
        parameters: Weights, counted over all tensors.
        layers: How many.
        width: Of what goes from layer to layer.
        inner: Of the feed-forward part of a layer.
        heads: Of queries.
        kv_heads: Of keys and values.
        head_size: Numbers of each.
        tensor_kinds: What its tensors are called, without the numbers of their layers.
        rope_scaling: How positions are scaled, as the file names it; empty where they aren't.
    """

    path: Path
    sha256: str
    name: str
    architecture: str
    parameters: int
    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head_size: int
    tensor_kinds: tuple[str, ...] = ()
    rope_scaling: str = ""

    def check(self) -> None:
        """See that it is of a kind that can be trained on.

        Raises:
            NotTrainable: it isn't.
        """
        if self.architecture != _ARCHITECTURE:
            raise NotTrainable(
                f"{self.name} is a model of the architecture {self.architecture}, which can't be trained on yet.",
                hint="Models of the Llama family can be: `claw model list` shows yours.",
            )
        # Transformers passes over what of a GGUF file it doesn't know, and would train another model than answers.
        if unknown := sorted(set(self.tensor_kinds) - _KNOWN):
            raise NotTrainable(f"{self.name} can't be trained on yet: it has {sanitize_line(unknown[0], 60)}.")
        if self.rope_scaling not in ("", "none"):
            scaling = sanitize_line(self.rope_scaling, 20)
            raise NotTrainable(f"{self.name} can't be trained on yet: its positions are scaled ({scaling}).")

    def targets(self, kinds: Sequence[str]) -> list[Target]:
        """The weights of such kinds in all layers, in the order of an adapter's numbers."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        shapes = {
            "attn_q": (queries, self.width),
            "attn_k": (keys, self.width),
            "attn_v": (keys, self.width),
            "attn_output": (self.width, queries),
            "ffn_gate": (self.inner, self.width),
            "ffn_up": (self.inner, self.width),
            "ffn_down": (self.width, self.inner),
        }
        chosen = [kind for kind in TARGETS if kind in kinds]
        return [Target(layer, kind, *shapes[kind]) for layer in range(self.layers) for kind in chosen]
