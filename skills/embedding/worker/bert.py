"""A BERT encoder (Devlin et al. 2018, arXiv:1810.04805) with mean pooling: token ids in, one unit vector out.

It computes what sentence-transformers' all-MiniLM-L6-v2 does, in float32. Texts of the same number of tokens go
through together, so that nothing is padded and no text's vector hangs on what it was embedded with.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Bert"]

_HEADS = 12
_EPSILON = np.float32(1e-12)
_BATCH_TOKENS = 256
_PANEL, _PANEL_OF_MANY, _MANY = 64, 32, 1024
"""Columns of a panel, and where a layer has more inputs than the last."""

Array = npt.NDArray[np.float32]


class _Norm(NamedTuple):
    scale: Array
    shift: Array

    def __call__(self, x: Array) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        variance = np.einsum("...i,...i->...", centred, centred)[..., None] / np.float32(x.shape[-1])
        normed: Array = centred / np.sqrt(variance + _EPSILON) * self.scale + self.shift
        return normed


class _Dense(NamedTuple):
    """A linear layer, its weight cut into panels of columns: `(panels, inputs, outputs / panels)`.

    For the few rows of one text OpenBLAS copies a large matrix before it multiplies, but not a small one: with
    panels the multiplications of a text of 11 tokens take 3.0 ms instead of 7.6 (AVX-512, one thread), and those of
    a batch of 1,024 tokens 250 ms instead of 220.
    """

    panels: Array
    bias: Array

    def __call__(self, x: Array) -> Array:
        # As one matrix: numpy would multiply the texts of a batch one after another.
        rows = x.reshape(-1, x.shape[-1])
        flat = (rows @ self.panels).transpose(1, 0, 2).reshape(len(rows), -1)
        flat += self.bias
        return flat.reshape(*x.shape[:-1], -1)


class _Layer(NamedTuple):
    attend: _Dense
    merge: _Dense
    after_attention: _Norm
    widen: _Dense
    narrow: _Dense
    after_feeding: _Norm


class Bert:
    """The encoder.

    Args:
        tensors: Its weights, by the names of Hugging Face's `BertModel`; they are copied.
        threads: How many batches are computed at once, where there are several.

    Attributes:
        dimension: Numbers in a vector.

    Raises:
        KeyError, ValueError: a tensor is missing, or has a shape that doesn't fit.
    """

    def __init__(self, tensors: dict[str, Array], threads: int) -> None:
        self._words = tensors["embeddings.word_embeddings.weight"].copy()
        self._places = (
            tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
        )
        self._first_norm = _norm(tensors, "embeddings.LayerNorm")
        count = len({name.split(".")[2] for name in tensors if name.startswith("encoder.layer.")})
        self._layers = [_layer(tensors, f"encoder.layer.{number}") for number in range(count)]
        self._threads = threads
        self.dimension = int(self._words.shape[1])

    def embed(self, texts: Sequence[Sequence[int]]) -> Array:
        """The vectors of some texts.

        Args:
            texts: The ids of each one's tokens.

        Returns:
            float32, `(len(texts), dimension)`; each row has length 1.
        """
        vectors = np.empty((len(texts), self.dimension), np.float32)
        batches = list(_batches(texts))

        def work(places: list[int]) -> None:
            vectors[places] = self._forward(np.array([texts[place] for place in places]))

        if self._threads == 1 or len(batches) == 1:
            for places in batches:
                work(places)
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                list(pool.map(work, batches))
        return vectors

    def _forward(self, ids: npt.NDArray[np.int64]) -> Array:
        """`(texts, tokens)` to `(texts, dimension)`."""
        x = self._first_norm(self._words[ids] + self._places[: ids.shape[1]])
        for layer in self._layers:
            x = layer.after_attention(x + layer.merge(_attention(layer.attend(x))))
            x = layer.after_feeding(x + layer.narrow(_gelu(layer.widen(x))))
        pooled = x.mean(1)
        unit: Array = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return unit


def _batches(texts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """The places of texts of one length each, as many as are computed together."""
    of_length: dict[int, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        of_length[len(text)].append(place)
    for length, places in of_length.items():
        most = max(1, _BATCH_TOKENS // length)
        yield from (places[start : start + most] for start in range(0, len(places), most))


def _attention(x: Array) -> Array:
    """`(texts, tokens, 3 * dimension)`, queries, keys and values beside each other, to what each token gathers."""
    texts, tokens, width = x.shape
    size = width // (3 * _HEADS)
    queries, keys, values = x.reshape(texts, tokens, 3, _HEADS, size).transpose(2, 0, 3, 1, 4)
    scores = queries @ keys.swapaxes(-1, -2)
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(-1, keepdims=True)
    return np.asarray((scores @ values).transpose(0, 2, 1, 3).reshape(texts, tokens, width // 3))


def _gelu(x: Array) -> Array:
    """x·Φ(x), with erf as in Abramowitz and Stegun, 7.1.26 (off by at most 1.5e-7)."""
    size = np.abs(x) * np.float32(math.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * size)
    series = np.full_like(t, 1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series *= t
        series += np.float32(factor)
    series *= t
    series *= np.exp(-size * size)  # 1 - erf(size)
    return np.asarray(np.maximum(x, 0) - np.float32(0.5) * np.abs(x) * series)


def _layer(tensors: dict[str, Array], name: str) -> _Layer:
    own = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
    weight, bias = (np.concatenate([tensors[f"{part}.{what}"] for part in own]) for what in ("weight", "bias"))
    width = len(bias) // 3
    size = np.float32(1 / math.sqrt(width // _HEADS))
    weight[:width] *= size
    bias[:width] *= size
    return _Layer(
        attend=_paneled(weight, bias),
        merge=_dense(tensors, f"{name}.attention.output.dense"),
        after_attention=_norm(tensors, f"{name}.attention.output.LayerNorm"),
        widen=_dense(tensors, f"{name}.intermediate.dense"),
        narrow=_dense(tensors, f"{name}.output.dense"),
        after_feeding=_norm(tensors, f"{name}.output.LayerNorm"),
    )


def _dense(tensors: dict[str, Array], name: str) -> _Dense:
    return _paneled(tensors[f"{name}.weight"], tensors[f"{name}.bias"].copy())


def _paneled(weight: Array, bias: Array) -> _Dense:
    """A layer of a weight of `(outputs, inputs)`."""
    outputs, inputs = weight.shape
    width = _PANEL if inputs <= _MANY else _PANEL_OF_MANY
    panels = weight.reshape(outputs // width if outputs % width == 0 else 1, -1, inputs)
    return _Dense(np.ascontiguousarray(panels.swapaxes(1, 2)), bias)


def _norm(tensors: dict[str, Array], name: str) -> _Norm:
    return _Norm(tensors[f"{name}.weight"].copy(), tensors[f"{name}.bias"].copy())
