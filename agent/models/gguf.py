"""What a GGUF file says of itself, read without trusting a byte of it.

Our own reader, not the `gguf` package's: that one believes the lengths a file states (a forged count makes it
allocate what the file asks for), maps the whole file, and needs numpy, a third of a second and 30 MB to answer
"which architecture is this?". This one reads the header alone, through a bounded window, in time and memory that
the limits below bound, and ends in a `GgufHeader` or in `ModelRefused` for any bytes whatever.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian. Where llama.cpp
is stricter than the page (no nested arrays, tensors one after the other), so is this reader.
"""

import re
from collections import Counter
from dataclasses import dataclass

from agent.errors import ModelRefused
from agent.models.ggml_types import FILE_TYPES
from agent.models.layout import read_preamble, read_tensors
from agent.models.metadata import Metadata, read_metadata
from agent.models.window import Window

__all__ = ["GgufHeader", "read_header"]

_F16_BYTES = 2
_OF_LAYER = re.compile(r"blk\.\d+\.")


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF model says of itself. All text is foreign: sanitize it before showing it.

    Attributes:
        architecture: `general.architecture`.
        name: `general.name`; empty when the file gives none.
        context_length: Tokens the model was trained for.
        embedding_length: Width of the residual stream.
        feed_forward_length: Width inside a layer's feed-forward part, of the layer that has most; 0 without one.
        block_count: Layers.
        head_count: Attention heads, of the layer that has most; 0 for a model without attention.
        head_count_kv: Key and value heads, of the layer that has most.
        key_length: Numbers in one head's key.
        value_length: Numbers in one head's value.
        parameters: Weights, counted over all tensors.
        quantization: The file type, as in file names (`Q4_K_M`); the commonest tensor type when none is stated.
        licence: `general.license`; empty when the file gives none.
        chat_template: `tokenizer.chat_template`, if there is one.
        tokenizer: `tokenizer.ggml.model`; empty when the file gives none.
        rope_scaling: `rope.scaling.type`; empty when the file gives none.
        tensor_kinds: What the tensors are called, without the numbers of their layers, sorted.
        file_bytes: Size of the file.
    """

    architecture: str
    name: str
    context_length: int
    embedding_length: int
    feed_forward_length: int
    block_count: int
    head_count: int
    head_count_kv: int
    key_length: int
    value_length: int
    parameters: int
    quantization: str
    licence: str
    chat_template: str | None
    tokenizer: str
    rope_scaling: str
    tensor_kinds: tuple[str, ...]
    file_bytes: int

    def kv_bytes_per_token(self) -> int:
        """Bytes that one token takes in an f16 cache of keys and values.

        An upper bound: every layer is counted with as many heads as the one that has most, though some models
        have layers with fewer, or with a sliding window.
        """
        return self.block_count * self.head_count_kv * (self.key_length + self.value_length) * _F16_BYTES


def read_header(descriptor: int) -> GgufHeader:
    """Read and check a GGUF file's header; the descriptor's position doesn't matter and stays as it is.

    Args:
        descriptor: A regular file, open for reading.

    Raises:
        ModelRefused: it isn't a complete GGUF model that llama.cpp could load; the message says why.
    """
    window = Window.of_file(descriptor)
    tensor_count, metadata_count = read_preamble(window)
    metadata = read_metadata(window, metadata_count)
    _refuse_other_kinds(metadata)
    types: Counter[str] = Counter()
    kinds = set()
    for tensor in read_tensors(window, tensor_count, metadata):
        types[tensor.type] += tensor.elements
        kinds.add(_OF_LAYER.sub("blk.", tensor.name))
    return _header(metadata, types, tuple(sorted(kinds)), window.size)


def _refuse_other_kinds(metadata: Metadata) -> None:
    kind = metadata.value("general.type", "model")
    if kind != "model":
        known = {"adapter": "a LoRA adapter", "mmproj": "an image projector", "imatrix": "an importance matrix"}
        raise ModelRefused(
            f"The GGUF file isn't a language model but {known.get(str(kind), 'something else')}.",
            hint="Look for the model's own file.",
        )
    parts = metadata.value("split.count", 1)
    if isinstance(parts, int) and parts > 1:
        raise ModelRefused(
            f"The file is one of {parts} parts of a model.",
            hint="Join them first: llama-gguf-split --merge FIRST_PART OUTPUT",
        )


def _header(metadata: Metadata, types: Counter[str], kinds: tuple[str, ...], file_bytes: int) -> GgufHeader:
    architecture = metadata.text("general.architecture")
    if not architecture:
        raise ModelRefused("The GGUF file doesn't say which architecture the model has.")
    embedding = metadata.positive(f"{architecture}.embedding_length")
    heads = metadata.largest(f"{architecture}.attention.head_count")
    heads_kv = metadata.largest(f"{architecture}.attention.head_count_kv", heads)
    each = embedding // heads if heads else 0
    file_type = metadata.value("general.file_type")
    stated = FILE_TYPES.get(file_type & 1023) if type(file_type) is int else None  # 1024 marks a guess
    return GgufHeader(
        architecture=architecture,
        name=metadata.text("general.name"),
        context_length=metadata.positive(f"{architecture}.context_length"),
        embedding_length=embedding,
        feed_forward_length=metadata.largest(f"{architecture}.feed_forward_length"),
        block_count=metadata.positive(f"{architecture}.block_count"),
        head_count=heads,
        head_count_kv=heads_kv,
        key_length=metadata.largest(f"{architecture}.attention.key_length", each),
        value_length=metadata.largest(f"{architecture}.attention.value_length", each),
        parameters=types.total(),
        quantization=stated or types.most_common(1)[0][0],
        licence=metadata.text("general.license"),
        chat_template=metadata.text("tokenizer.chat_template") or None,
        tokenizer=metadata.text("tokenizer.ggml.model"),
        rope_scaling=metadata.text(f"{architecture}.rope.scaling.type"),
        tensor_kinds=kinds,
        file_bytes=file_bytes,
    )
