"""The base weights: the GGUF file that inference uses, as transformers reads it."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from fl_client.training.factors import MODULES, Target
from fl_client.training.protocol import TARGETS
from fl_client.training.worker.decoder import GROUPS, Decoder, Layer, Shape

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

__all__ = ["Base", "Unsuitable", "load", "shape_of"]

_ARCHITECTURE = "llama"
_CHUNK = 1 << 20


class Unsuitable(Exception):
    """These weights can't be trained on; the text says why."""


class Base(NamedTuple):
    """Loaded weights.

    Attributes:
        shape: Of the model.
        weights: By the names that transformers has; float32.
        layers: How many there are.
    """

    shape: Shape
    weights: dict[str, Tensor]
    layers: int

    def of(self, layer: int, kind: str) -> Tensor:
        """The weights of one target, shape (out, in)."""
        return self.weights[f"model.layers.{layer}.{MODULES[kind]}.weight"]

    def targets(self, kinds: tuple[str, ...]) -> list[Target]:
        """The targets of such kinds in all layers, in their order."""
        chosen = [kind for kind in TARGETS if kind in kinds]
        return [Target(n, kind, *self.of(n, kind).shape) for n in range(self.layers) for kind in chosen]

    def decoder(self, downs: dict[str, Tensor], kind: torch.dtype, *, recompute: bool) -> Decoder:
        """The model with room for an adapter; the float32 weights are let go as they are taken over.

        Args:
            downs: The frozen downward factors of the targets, by their names.
            kind: What matrices are multiplied in.
            recompute: Whether layers are computed again on the way back.
        """
        layers = [self._layer(number, downs, kind) for number in range(self.layers)]
        embedding = self.weights.pop("model.embed_tokens.weight").to(kind)
        output = self.weights.pop("lm_head.weight", None)
        return Decoder(
            self.shape,
            embedding,
            layers,
            self.weights.pop("model.norm.weight"),
            embedding if output is None else output.to(kind),
            recompute=recompute,
        )

    def _layer(self, number: int, downs: dict[str, Tensor], kind: torch.dtype) -> Layer:
        sizes, weights = {}, {}
        for group, names in GROUPS.items():
            parts = [self.weights.pop(f"model.layers.{number}.{MODULES[name]}.weight") for name in names]
            sizes[group] = [len(part) for part in parts]
            below = [
                downs[f"blk.{number}.{name}.weight"] for name in names if f"blk.{number}.{name}.weight" in downs
            ]
            weights[group] = torch.cat([*parts, *below]).to(kind)
        norms = [
            self.weights.pop(f"model.layers.{number}.{name}_layernorm.weight")
            for name in ("input", "post_attention")
        ]
        return Layer((norms[0], norms[1]), sizes, weights)


def load(path: Path, sha256: str) -> Base:
    """Load the weights.

    Args:
        path: Of a GGUF file.
        sha256: What its digest has to be, in hex.

    Raises:
        Unsuitable: it is another file, or a model that can't be trained on here.
    """
    if _digest(path) != sha256:
        raise Unsuitable("the model's file isn't what it was when it was added")
    os.environ["HF_HUB_OFFLINE"] = "1"
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    except (ValueError, KeyError, NotImplementedError) as error:
        raise Unsuitable(f"transformers can't read this model ({error})") from error
    config = model.config
    if config.model_type != _ARCHITECTURE:
        raise Unsuitable(f"its architecture is {config.model_type}; models of the Llama family can be trained on")
    shape = shape_of(model)
    weights = dict(model.state_dict())
    if config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    return Base(shape, weights, config.num_hidden_layers)


def shape_of(model: "LlamaForCausalLM") -> Shape:
    """What transformers knows of a model beside its weights.

    Raises:
        Unsuitable: its positions are scaled.
    """
    config: Any = model.config
    rotary = model.model.rotary_emb
    if rotary.rope_type != "default":
        raise Unsuitable(f"its positions are scaled ({rotary.rope_type}), which isn't known here")
    return Shape(
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_size=config.head_dim,
        epsilon=config.rms_norm_eps,
        inverse_frequencies=rotary.inv_freq.float(),
    )


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(_CHUNK):
            digest.update(part)
    return digest.hexdigest()
