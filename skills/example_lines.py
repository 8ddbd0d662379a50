"""Training examples in a file of JSON lines: which fields of a line are which, and nothing else made of it."""

import codecs
from collections.abc import Iterator
from typing import IO, NamedTuple

import msgspec

from skills.errors import ExampleRefused
from vault.sanitize import sanitize, sanitize_line

__all__ = [
    "FIELDS",
    "MOST_BYTES",
    "MOST_LINE",
    "MOST_LINES",
    "MOST_TEXT",
    "Fields",
    "Reader",
    "checked",
    "numbered_lines",
]

MOST_TEXT = 1 << 20
"""Most bytes of what goes in, and of what comes out: as much as a file that is attached may have."""
MOST_LINE = 16 << 20
"""Most bytes of a line: both texts in the longest way that JSON has to write them, and some more."""
MOST_LINES = 100_000
MOST_BYTES = 1 << 30
"""Of a file."""
_JOINED_BY = "\n\n"


class Fields(NamedTuple):
    """Which fields of a line an example is made of; of several, the texts are put one below the other.

    Attributes:
        input: What goes in.
        output: What should come out.
    """

    input: tuple[str, ...] = ("input",)
    output: tuple[str, ...] = ("output",)


FIELDS = Fields()
"""The fields that a file of examples has unless the person names others."""


class Reader:
    """Reads lines.

    Args:
        fields: Of each line. What else a line holds is passed over, and never built.

    Raises:
        ExampleRefused: no field has such a name.
    """

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._names = tuple(dict.fromkeys(fields.input + fields.output))
        attributes = [f"field_{number}" for number in range(len(self._names))]
        try:
            line = msgspec.defstruct(
                "Line",
                [(attribute, msgspec.Raw, msgspec.Raw()) for attribute in attributes],
                rename=dict(zip(attributes, self._names, strict=True)),
            )
        except ValueError:
            raise ExampleRefused(
                "The name of a field has a quotation mark, a backslash or a control character.", hint=_HINT
            ) from None
        self._line = msgspec.json.Decoder(line)
        self._text = msgspec.json.Decoder(str)

    def read(self, line: bytes, place: str) -> tuple[str, str]:
        """What goes in, and what should come out.

        Args:
            line: One JSON object.
            place: Where it stands, for the person.

        Raises:
            ExampleRefused: it is no such object, lacks a field, or has too much or nothing in it.
        """
        try:
            found = msgspec.structs.astuple(self._line.decode(line))
        except _NO_JSON:
            raise ExampleRefused(f"{place}: that is no JSON object.", hint=_HINT) from None
        texts = {name: self._read(raw, name, place) for name, raw in zip(self._names, found, strict=True)}
        return (
            checked(_JOINED_BY.join(texts[name] for name in self._fields.input), f"{place}: what goes in"),
            checked(_JOINED_BY.join(texts[name] for name in self._fields.output), f"{place}: what comes out"),
        )

    def _read(self, raw: msgspec.Raw, name: str, place: str) -> str:
        try:
            return self._text.decode(raw)
        except _NO_JSON:
            raise ExampleRefused(
                f"{place}: it has no text in a field {sanitize_line(name, 60)!r}.", hint=_HINT
            ) from None


_NO_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_HINT = "Nothing was taken. --input-field NAME and --output-field NAME say which fields are meant."


def checked(text: str, what: str) -> str:
    """A text of an example, made harmless to a terminal.

    Args:
        text: It.
        what: What to call it before the person.

    Raises:
        ExampleRefused: there is nothing in it, or too much.
    """
    text = sanitize(text)
    if not text.strip():
        raise ExampleRefused(f"{what} is empty.")
    if len(text.encode()) > MOST_TEXT:
        raise ExampleRefused(f"{what} is longer than {MOST_TEXT >> 20} MiB.")
    return text


def numbered_lines(file: IO[bytes], name: str) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that aren't blank, with their numbers.

    Args:
        file: At its beginning.
        name: What to call it before the person.

    Raises:
        ExampleRefused: a line is too long, or there are too many.
    """
    number = 0
    while line := file.readline(MOST_LINE + 1):
        number += 1
        if len(line) > MOST_LINE:
            raise ExampleRefused(f"{name}, line {number}: it is longer than {MOST_LINE >> 20} MiB.")
        if number > MOST_LINES:
            raise ExampleRefused(
                f"{name} has more than {MOST_LINES:,} lines.", hint="Nothing was taken. Take a part of it."
            )
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield number, line
