"""The key-value part of a GGUF header: what is of use is kept, vocabularies are passed over."""

import struct

from agent.errors import ModelRefused
from agent.models.window import Window

__all__ = ["Metadata", "Value", "read_metadata"]

_MAX_KEY_BYTES = 65_535
_MAX_TEXT_BYTES = 4 * 2**20  # a chat template or licence text of more than this is no such thing
_MAX_ARRAY_KEPT = 65_536
_MAX_NUMBER = 2**31 - 1

_KEPT_TEXTS = ("general.", "adapter.", "tokenizer.chat_template", "tokenizer.ggml.model")
_KEPT_OF_ARCHITECTURE = ".rope.scaling.type"
_KEPT_ARRAYS = ".attention.head_count"  # one number per layer

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


class Metadata:
    """The values that were kept, by key; each reader refuses a value of another kind than it should be.

    Attributes:
        kinds: Of every entry, kept or not, the number of its type in GGUF.
    """

    def __init__(self, values: dict[str, Value], kinds: dict[str, int]) -> None:
        self._values = values
        self.kinds = kinds

    def value(self, key: str, otherwise: Value | None = None) -> Value | None:
        """The value as it stands in the file."""
        return self._values.get(key, otherwise)

    def text(self, key: str) -> str:
        """A text; empty when the file has none."""
        value = self._values.get(key, "")
        if not isinstance(value, str):
            raise ModelRefused(f"The GGUF header is damaged: its {_short(key)} is no text.")
        return value

    def positive(self, key: str) -> int:
        """A whole number that every model has."""
        if not (value := self.largest(key)):
            raise ModelRefused(f"The GGUF file doesn't say the model's {_short(key)}.")
        return value

    def largest(self, key: str, otherwise: int = 0) -> int:
        """A whole number, or the largest of an array with one number per layer."""
        value = self._values.get(key, otherwise)
        numbers = value if isinstance(value, list) else [value]
        if not numbers or not all(type(number) is int and 0 <= number <= _MAX_NUMBER for number in numbers):
            raise ModelRefused(f"The GGUF header is damaged: its {_short(key)} is out of bounds.")
        return max(int(number) for number in numbers)


def read_metadata(window: Window, count: int) -> Metadata:
    """Read `count` entries.

    Raises:
        ModelRefused: they are none that the format allows, or end too early.
    """
    values: dict[str, Value] = {}
    kinds: dict[str, int] = {}
    for _ in range(count):
        key = window.text(_MAX_KEY_BYTES, "a key")
        if key in kinds:
            raise ModelRefused("The GGUF header is damaged: a key occurs twice.")
        kinds[key] = window.integer(4)
        value = _read_value(window, key, kinds[key])
        if value is not None:
            values[key] = value
    return Metadata(values, kinds)


def _read_value(window: Window, key: str, kind: int) -> Value | None:
    """Read one value, or pass over it if it is of no use here."""
    if kind == _STRING:
        if key.startswith(_KEPT_TEXTS) or key.endswith(_KEPT_OF_ARCHITECTURE):
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
    if _KEPT_ARRAYS not in key or count > _MAX_ARRAY_KEPT:
        window.skip(count * scalar.size)
        return None
    return [number for (number,) in scalar.iter_unpack(window.take(count * scalar.size))]


def _short(key: str) -> str:
    return key.rpartition(".")[2].replace("_", " ")
