"""Where a GGUF file's header begins, and where each of its tensors lies."""

from typing import NamedTuple

from agent.errors import ModelRefused
from agent.models.ggml_types import TENSOR_TYPES
from agent.models.metadata import Metadata
from agent.models.window import Window

__all__ = ["Tensor", "read_preamble", "read_tensors"]

_MAX_METADATA = 65_536
_MAX_TENSORS = 65_536
_MAX_TENSOR_NAME_BYTES = 63  # GGML_MAX_NAME - 1
_MAX_DIMENSIONS = 4
_MAX_ALIGNMENT = 2**20
_MAX_ELEMENTS = 2**62
_DEFAULT_ALIGNMENT = 32


class Tensor(NamedTuple):
    """One tensor of a GGUF file.

    Attributes:
        name: Foreign text.
        shape: Its lengths, the fastest first, as GGUF has them: a row's first.
        type: How its numbers are packed, as in `ggml_types`.
        elements: Numbers in it.
        start: Where it begins in the file, in bytes.
        bytes: Its size.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    elements: int
    start: int
    bytes: int


def read_preamble(window: Window) -> tuple[int, int]:
    """How many tensors and metadata entries a file announces.

    Raises:
        ModelRefused: it isn't a GGUF file that is known here, or holds no tensors.
    """
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


def read_tensors(window: Window, count: int, metadata: Metadata) -> list[Tensor]:
    """Read where each tensor lies, and check that the file is long enough to hold them all.

    Raises:
        ModelRefused: it isn't, or llama.cpp couldn't load them.
    """
    alignment = _alignment(metadata)
    names: set[str] = set()
    found: list[Tensor] = []
    used = 0
    for _ in range(count):
        name = window.text(_MAX_TENSOR_NAME_BYTES, "a tensor's name")
        if name in names:
            raise ModelRefused("The GGUF header is damaged: two tensors have the same name.")
        names.add(name)
        shape, elements = _read_shape(window)
        type_number, offset = window.integer(4), window.integer(8)
        packing = TENSOR_TYPES.get(type_number)
        if packing is None:
            raise ModelRefused(
                f"The GGUF file holds a tensor of type {type_number}, which this version doesn't know.",
                hint="Look for a newer conversion of the model, or update OpenClaw Core.",
            )
        if shape[0] % packing.block:
            raise ModelRefused(f"The GGUF header is damaged: a {packing.name} row has {shape[0]} numbers.")
        start = -(-used // alignment) * alignment
        if offset != start:
            raise ModelRefused(f"The GGUF header is damaged: a tensor lies at {offset} and should at {start}.")
        size = elements // packing.block * packing.bytes
        found.append(Tensor(name, shape, packing.name, elements, start, size))
        used = start + size
    data = -(-window.position // alignment) * alignment
    if data + used > window.size:
        raise ModelRefused(
            f"The file is cut off: it has {window.size:,} bytes of {data + used:,}.", hint="Fetch or copy it again."
        )
    return [tensor._replace(start=data + tensor.start) for tensor in found]


def _alignment(metadata: Metadata) -> int:
    alignment = metadata.value("general.alignment", _DEFAULT_ALIGNMENT)
    if type(alignment) is not int or not 1 <= alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
        raise ModelRefused("The GGUF header is damaged: its alignment isn't a power of two.")
    return alignment


def _read_shape(window: Window) -> tuple[tuple[int, ...], int]:
    """A tensor's lengths, and its number of elements."""
    dimensions = window.integer(4)
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise ModelRefused(f"The GGUF header is damaged: a tensor has {dimensions} dimensions.")
    shape = tuple(window.integer(8) for _ in range(dimensions))
    elements = 1
    for length in shape:
        elements *= length
        if not 1 <= elements <= _MAX_ELEMENTS:
            raise ModelRefused("The GGUF header is damaged: a tensor has an impossible size.")
    return shape, elements
