"""What a GGUF file says of itself, read without trusting a byte of it.

Our own reader, not the `gguf` package's: that one believes the lengths a file states (a forged count makes it
allocate what the file asks for), maps the whole file, and needs numpy, a third of a second and 30 MB to answer
"which architecture is this?". This one reads the header alone, through a bounded window, in time and memory that
the limits below bound, and ends in a `GgufHeader` or in `ModelRefused` for any bytes whatever.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian. Where llama.cpp
is stricter than the page (no nested arrays, tensors one after the other), so is this reader.
"""

import os
from collections import Counter
from dataclasses import dataclass

from agent.errors import ModelRefused
from agent.models.ggml_types import FILE_TYPES, TENSOR_TYPES
from agent.models.metadata import Metadata, read_metadata
from agent.models.window import Window

__all__ = ["GgufHeader", "read_header"]

_MAX_METADATA = 65_536
_MAX_TENSORS = 65_536
_MAX_TENSOR_NAME_BYTES = 63  # GGML_MAX_NAME - 1
_MAX_DIMENSIONS = 4
_MAX_ALIGNMENT = 2**20
_MAX_ELEMENTS = 2**62
_DEFAULT_ALIGNMENT = 32
_F16_BYTES = 2


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF model says of itself. All text is foreign: sanitize it before showing it.

    Attributes:
        architecture: `general.architecture`.
        name: `general.name`; empty when the file gives none.
        context_length: Tokens the model was trained for.
        embedding_length: Width of the residual stream.
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
        file_bytes: Size of the file.
    """

    architecture: str
    name: str
    context_length: int
    embedding_length: int
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
    window = Window(descriptor, os.fstat(descriptor).st_size)
    tensor_count, metadata_count = _read_preamble(window)
    metadata = read_metadata(window, metadata_count)
    _refuse_other_kinds(metadata)
    elements, types = _read_tensors(window, tensor_count, _alignment(metadata))
    return _header(metadata, elements, types, window.size)


def _read_preamble(window: Window) -> tuple[int, int]:
    magic = window.peek(4)
    if magic != b"GGUF":
        kind = "an empty file" if not magic else "a web page" if magic.lstrip()[:1] == b"<" else "something else"
        raise ModelRefused(
            f"The file isn't a GGUF model: it begins like {kind}.",
            hint="Only models in the GGUF format can be used; look for a file that ends in .gguf.",
        )
    window.skip(4)
    version = window.integer(4)
    if version in (2 << 24, 3 << 24):
        raise ModelRefused(
            "The file is a big-endian GGUF model, made for another kind of computer.",
            hint="Use the little-endian one.",
        )
    if version not in (2, 3):
        raise ModelRefused(
            f"The file is of GGUF version {version}; versions 2 and 3 are known.",
            hint="Look for a newer conversion of the model." if version < 2 else "Update OpenClaw Core.",
        )
    tensor_count, metadata_count = window.integer(8), window.integer(8)
    if tensor_count > _MAX_TENSORS or metadata_count > _MAX_METADATA:
        raise ModelRefused(
            f"The GGUF header is damaged: it announces {tensor_count} tensors and {metadata_count} entries."
        )
    if not tensor_count:
        raise ModelRefused("The GGUF file holds no weights; it is perhaps a vocabulary alone.")
    return tensor_count, metadata_count


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


def _alignment(metadata: Metadata) -> int:
    alignment = metadata.value("general.alignment", _DEFAULT_ALIGNMENT)
    if type(alignment) is not int or not 1 <= alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
        raise ModelRefused("The GGUF header is damaged: its alignment isn't a power of two.")
    return alignment


def _read_tensors(window: Window, count: int, alignment: int) -> tuple[int, Counter[str]]:
    """Read where each tensor lies, and check that the file is long enough to hold them all.

    Returns:
        The number of weights, and how many of them are of each type.
    """
    names: set[str] = set()
    types: Counter[str] = Counter()
    used = 0
    for _ in range(count):
        name = window.text(_MAX_TENSOR_NAME_BYTES, "a tensor's name")
        if name in names:
            raise ModelRefused("The GGUF header is damaged: two tensors have the same name.")
        names.add(name)
        elements, row = _read_shape(window)
        type_number, offset = window.integer(4), window.integer(8)
        packing = TENSOR_TYPES.get(type_number)
        if packing is None:
            raise ModelRefused(
                f"The GGUF file holds a tensor of type {type_number}, which this version doesn't know.",
                hint="Look for a newer conversion of the model, or update OpenClaw Core.",
            )
        if row % packing.block:
            raise ModelRefused(f"The GGUF header is damaged: a {packing.name} row has {row} numbers.")
        start = -(-used // alignment) * alignment
        if offset != start:
            raise ModelRefused(f"The GGUF header is damaged: a tensor lies at {offset} and should at {start}.")
        used = start + elements // packing.block * packing.bytes
        types[packing.name] += elements
    needed = -(-window.position // alignment) * alignment + used
    if needed > window.size:
        raise ModelRefused(
            f"The file is cut off: it has {window.size:,} bytes of {needed:,}.", hint="Fetch or copy it again."
        )
    return types.total(), types


def _read_shape(window: Window) -> tuple[int, int]:
    """A tensor's number of elements, and of those in a row."""
    dimensions = window.integer(4)
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise ModelRefused(f"The GGUF header is damaged: a tensor has {dimensions} dimensions.")
    shape = [window.integer(8) for _ in range(dimensions)]
    elements = 1
    for length in shape:
        elements *= length
        if not 1 <= elements <= _MAX_ELEMENTS:
            raise ModelRefused("The GGUF header is damaged: a tensor has an impossible size.")
    return elements, shape[0]


def _header(metadata: Metadata, parameters: int, types: Counter[str], file_bytes: int) -> GgufHeader:
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
        block_count=metadata.positive(f"{architecture}.block_count"),
        head_count=heads,
        head_count_kv=heads_kv,
        key_length=metadata.largest(f"{architecture}.attention.key_length", each),
        value_length=metadata.largest(f"{architecture}.attention.value_length", each),
        parameters=parameters,
        quantization=stated or types.most_common(1)[0][0],
        licence=metadata.text("general.license"),
        chat_template=metadata.text("tokenizer.chat_template") or None,
        tokenizer=metadata.text("tokenizer.ggml.model"),
        file_bytes=file_bytes,
    )
