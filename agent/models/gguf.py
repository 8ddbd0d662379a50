"""What a GGUF file says of itself, read without trusting a byte of it.

Our own reader, not the `gguf` package's: that one believes the lengths a file states (a forged count makes it
allocate what the file asks for), maps the whole file, and needs numpy, a third of a second and 30 MB to answer
"which architecture is this?". This one reads the header alone, through a bounded window, in time and memory that
the limits below bound, and ends in a `GgufHeader` or in `ModelRefused` for any bytes whatever.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian. Where llama.cpp
is stricter than the page (no nested arrays, tensors one after the other), so is this reader.
"""

import os
import struct
from collections import Counter
from dataclasses import dataclass

from agent.errors import ModelRefused
from agent.models.ggml_types import FILE_TYPES, TENSOR_TYPES
from agent.models.window import Window

__all__ = ["GgufHeader", "read_header"]

_MAX_METADATA = 65_536
_MAX_TENSORS = 65_536
_MAX_KEY_BYTES = 65_535
_MAX_TEXT_BYTES = 4 * 2**20  # a chat template or licence text of more than this is no such thing
_MAX_ARRAY_KEPT = 65_536  # per-layer numbers are kept, vocabularies aren't
_MAX_TENSOR_NAME_BYTES = 63  # GGML_MAX_NAME - 1
_MAX_DIMENSIONS = 4
_MAX_ALIGNMENT = 2**20
_MAX_ELEMENTS = 2**62
_DEFAULT_ALIGNMENT = 32
_F16_BYTES = 2

_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}

Value = int | float | bool | str | list[int]


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
    metadata = _read_metadata(window, metadata_count)
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


def _read_metadata(window: Window, count: int) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    seen: set[str] = set()
    for _ in range(count):
        key = window.text(_MAX_KEY_BYTES, "a key")
        if key in seen:
            raise ModelRefused("The GGUF header is damaged: a key occurs twice.")
        seen.add(key)
        value = _read_value(window, key, window.integer(4))
        if value is not None:
            metadata[key] = value
    return metadata


def _read_value(window: Window, key: str, kind: int) -> Value | None:
    """Read one value, or skip it if it is of no use here."""
    if kind == _STRING:
        if key.startswith(("general.", "tokenizer.chat_template", "tokenizer.ggml.model")):
            return window.text(_MAX_TEXT_BYTES, "a text")
        window.skip_strings(1)
        return None
    if scalar := _SCALARS.get(kind):
        value: Value = scalar.unpack(window.take(scalar.size))[0]
        return value
    if kind != _ARRAY:
        raise ModelRefused(f"The GGUF header is damaged: a value is of type {kind}, which there isn't.")
    item, count = window.integer(4), window.integer(8)
    if item == _STRING:
        window.skip_strings(count)
        return None
    if item not in _SCALARS:
        raise ModelRefused(f"The GGUF header is damaged: an array holds items of type {item}.")
    scalar = _SCALARS[item]
    if not (".attention.head_count" in key and count <= _MAX_ARRAY_KEPT and item in (4, 5)):
        window.skip(count * scalar.size)
        return None
    return [number for (number,) in scalar.iter_unpack(window.take(count * scalar.size))]


def _refuse_other_kinds(metadata: dict[str, Value]) -> None:
    kind = metadata.get("general.type", "model")
    if kind != "model":
        known = {"adapter": "a LoRA adapter", "mmproj": "an image projector", "imatrix": "an importance matrix"}
        raise ModelRefused(
            f"The GGUF file isn't a language model but {known.get(str(kind), 'something else')}.",
            hint="Look for the model's own file.",
        )
    parts = metadata.get("split.count", 1)
    if isinstance(parts, int) and parts > 1:
        raise ModelRefused(
            f"The file is one of {parts} parts of a model.",
            hint="Join them first: llama-gguf-split --merge FIRST_PART OUTPUT",
        )


def _alignment(metadata: dict[str, Value]) -> int:
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
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


def _header(metadata: dict[str, Value], parameters: int, types: Counter[str], file_bytes: int) -> GgufHeader:
    architecture = _text(metadata, "general.architecture")
    if not architecture:
        raise ModelRefused("The GGUF file doesn't say which architecture the model has.")
    embedding = _positive(metadata, f"{architecture}.embedding_length")
    heads = _largest(metadata, f"{architecture}.attention.head_count")
    heads_kv = _largest(metadata, f"{architecture}.attention.head_count_kv", heads)
    each = embedding // heads if heads else 0
    file_type = metadata.get("general.file_type")
    stated = FILE_TYPES.get(file_type & 1023) if type(file_type) is int else None  # 1024 marks a guess
    return GgufHeader(
        architecture=architecture,
        name=_text(metadata, "general.name"),
        context_length=_positive(metadata, f"{architecture}.context_length"),
        embedding_length=embedding,
        block_count=_positive(metadata, f"{architecture}.block_count"),
        head_count=heads,
        head_count_kv=heads_kv,
        key_length=_largest(metadata, f"{architecture}.attention.key_length", each),
        value_length=_largest(metadata, f"{architecture}.attention.value_length", each),
        parameters=parameters,
        quantization=stated or types.most_common(1)[0][0],
        licence=_text(metadata, "general.license"),
        chat_template=_text(metadata, "tokenizer.chat_template") or None,
        tokenizer=_text(metadata, "tokenizer.ggml.model"),
        file_bytes=file_bytes,
    )


def _text(metadata: dict[str, Value], key: str) -> str:
    value = metadata.get(key, "")
    if not isinstance(value, str):
        raise ModelRefused(f"The GGUF header is damaged: {_short(key)} is no text.")
    return value


def _positive(metadata: dict[str, Value], key: str) -> int:
    """A whole number that llama.cpp needs of every architecture."""
    if not (value := _largest(metadata, key)):
        raise ModelRefused(f"The GGUF file doesn't say the model's {_short(key)}.")
    return value


def _largest(metadata: dict[str, Value], key: str, otherwise: int = 0) -> int:
    """A whole number, or the largest of an array with one number per layer."""
    value = metadata.get(key, otherwise)
    numbers = value if isinstance(value, list) else [value]
    largest = max((number for number in numbers if type(number) is int), default=-1)
    if not 0 <= largest < 2**31:
        raise ModelRefused(f"The GGUF header is damaged: its {_short(key)} is out of bounds.")
    return largest


def _short(key: str) -> str:
    return key.rpartition(".")[2].replace("_", " ")
