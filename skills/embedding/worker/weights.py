"""A file of tensors in the safetensors format: a length, a header in JSON, and the numbers (little-endian)."""

import math
import struct

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["Unreadable", "tensors"]

_LENGTH = struct.Struct("<Q")
_MOST_HEADER = 1 << 20
_BYTES = 4

Array = npt.NDArray[np.float32]


class Unreadable(Exception):
    """The bytes aren't tensors that are wanted; the text says why."""


class _Tensor(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def tensors(data: bytes) -> dict[str, Array]:
    """The tensors of 32-bit floating point in a file, by name; views of its bytes.

    Raises:
        Unreadable: the header is damaged, or a tensor doesn't lie within the file.
    """
    if len(data) < _LENGTH.size:
        raise Unreadable("the file is too short")
    (length,) = _LENGTH.unpack_from(data)
    begin = _LENGTH.size + length
    if length > _MOST_HEADER or begin > len(data):
        raise Unreadable("the header is too long")
    try:
        header = msgspec.json.decode(data[_LENGTH.size : begin], type=dict[str, msgspec.Raw])
        header.pop("__metadata__", None)
        found = {name: msgspec.json.decode(raw, type=_Tensor) for name, raw in header.items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable("the header isn't one of this format") from error
    return {name: _view(name, tensor, data, begin) for name, tensor in found.items() if tensor.dtype == "F32"}


def _view(name: str, tensor: _Tensor, data: bytes, begin: int) -> Array:
    first, last = tensor.data_offsets
    count = math.prod(tensor.shape)
    if min(tensor.shape, default=1) < 0 or not 0 <= first <= last <= len(data) - begin:
        raise Unreadable(f"{name} doesn't lie within the file")
    if last - first != count * _BYTES:
        raise Unreadable(f"{name} has another size than its shape says")
    return np.frombuffer(data, "<f4", count, begin + first).reshape(tensor.shape)
