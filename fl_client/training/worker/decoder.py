"""A decoder of the Llama family with frozen weights, over rows that lie one behind the other without padding.

Transformers loads the weights (`fl_client.training.worker.base`). The pass is ours, since what an adapter needs of
it is little: no cache, no masks, no gradients of weights, and the output layer at answers alone.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fl_client.training.worker.fused import adapted, attention, cross_entropy, rms_norm, swiglu

__all__ = ["GROUPS", "Batch", "Decoder", "Layer", "Shape", "Ups"]

GROUPS = {
    "attention": ("attn_q", "attn_k", "attn_v"),
    "output": ("attn_output",),
    "gates": ("ffn_gate", "ffn_up"),
    "down": ("ffn_down",),
}
"""Weights of a layer that have their input in common, and are multiplied by it at once."""

Ups = dict[str, Tensor]
"""The trained side of one layer's adapter by target: shape (out, rank), the scale in it."""


class Shape(NamedTuple):
    """What the weights don't say of themselves.

    Attributes:
        heads: Of queries.
        kv_heads: Of keys and values.
        head_size: Numbers of each.
        epsilon: Of the normalizations.
        inverse_frequencies: Of the rotary embedding, shape (head_size / 2,).
    """

    heads: int
    kv_heads: int
    head_size: int
    epsilon: float
    inverse_frequencies: Tensor


class Layer(NamedTuple):
    """The frozen weights of one layer.

    Attributes:
        norms: Before attention, and before the gates; float32.
        sizes: Outputs of each weight of each group.
        weights: Of each group: its weights one below the other, and the frozen downward factors below them.
    """

    norms: tuple[Tensor, Tensor]
    sizes: dict[str, list[int]]
    weights: dict[str, Tensor]


class Batch(NamedTuple):
    """Rows one behind the other.

    Attributes:
        tokens: Shape (T,), int64.
        lengths: Of each row; together T.
        asked: Positions of which the next token is one of an answer, shape (answers,), int64.
        wanted: Those next tokens, the same.
    """

    tokens: Tensor
    lengths: list[int]
    asked: Tensor
    wanted: Tensor


class Decoder:
    """The frozen weights and how they are put to use.

    Args:
        shape: Of the model.
        embedding: Shape (vocabulary, D).
        layers: The first one first.
        norm: Before the output layer; float32.
        output: Shape (vocabulary, D).
        recompute: Whether layers are computed again on the way back.
    """

    def __init__(
        self,
        shape: Shape,
        embedding: Tensor,
        layers: list[Layer],
        norm: Tensor,
        output: Tensor,
        *,
        recompute: bool = False,
    ) -> None:
        self._shape = shape
        self._embedding = embedding
        self._layers = layers
        self._norm = norm
        self._output = output
        self._recompute = recompute

    @property
    def depth(self) -> int:
        """How many layers it has."""
        return len(self._layers)

    def loss(self, batch: Batch, ups: list[Ups]) -> Tensor:
        """The sum of -log p over the tokens of all answers, in nats.

        Args:
            batch: At least one answer.
            ups: Of each layer.
        """
        return cross_entropy(self.answering(batch, ups), self._output, batch.wanted)

    def logits(self, batch: Batch, ups: list[Ups]) -> Tensor:
        """The logits at the positions that are asked, shape (answers, vocabulary), float32."""
        return torch.nn.functional.linear(self.answering(batch, ups), self._output).float()

    def answering(self, batch: Batch, ups: list[Ups]) -> Tensor:
        """What the output layer is given at the positions that are asked, shape (answers, D)."""
        x = torch.nn.functional.embedding(batch.tokens, self._embedding).float()
        turned = self._turned(batch.lengths)
        last = len(self._layers) - 1
        for number, layer in enumerate(self._layers):
            asked = batch.asked if number == last else None
            if self._recompute and torch.is_grad_enabled():
                x = checkpoint(
                    self._through, x, layer, ups[number], turned, batch.lengths, asked, use_reentrant=False
                )
            else:
                x = self._through(x, layer, ups[number], turned, batch.lengths, asked)
        return rms_norm(x, self._norm, self._shape.epsilon).to(self._output.dtype)

    def _turned(self, lengths: list[int]) -> tuple[Tensor, Tensor]:
        positions = torch.cat([torch.arange(length) for length in lengths])
        angles = (positions[:, None].float() * self._shape.inverse_frequencies).unsqueeze(1)
        kind = self._output.dtype
        return angles.cos().to(kind), angles.sin().to(kind)

    def _through(
        self,
        x: Tensor,
        layer: Layer,
        ups: Ups,
        turned: tuple[Tensor, Tensor],
        lengths: list[int],
        asked: Tensor | None,
    ) -> Tensor:
        """One layer; where positions are asked, the rest of it is computed at these alone, after attention."""

        def group(name: str, of: Tensor) -> Tensor:
            chosen = [ups.get(target) for target in GROUPS[name]]
            return adapted(of, layer.weights[name], layer.sizes[name], chosen)

        kind = self._output.dtype
        normed = rms_norm(x, layer.norms[0], self._shape.epsilon).to(kind)
        seen = attention(group("attention", normed), *turned, self._shape.heads, lengths)
        if asked is not None:
            seen, x = seen[asked], x[asked]
        x = x + group("output", seen)
        normed = rms_norm(x, layer.norms[1], self._shape.epsilon).to(kind)
        return x + group("down", swiglu(group("gates", normed)))
