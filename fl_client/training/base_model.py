"""What the device knows of a model that is trained on: its file, and the shapes of its weights."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from fl_client.errors import NotTrainable
from fl_client.training.factors import Target
from fl_client.training.protocol import TARGETS

__all__ = ["BaseModel"]

_ARCHITECTURE = "llama"


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
