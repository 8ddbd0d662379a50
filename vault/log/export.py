"""The log as a file that other tools can verify: JSON Lines, in the clear.

The first line says what it is, with the checkpoint and the key that checks it. Each further line is an entry: its
commitment, and, unless its time is over, the salt and the exact bytes that open it. Binary values are base64. So

    leaf hash = SHA-256(0x00 || commitment)        commitment = HMAC-SHA256(salt, body)
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import msgspec

from tlog.note import Verifier
from vault.connection import Row
from vault.errors import LogDamaged, VaultError
from vault.log.checkpoint import verifier_of
from vault.log.verify import Leaf, Verified, Walk

__all__ = ["Out", "verify_export", "write_export"]

_MAX_LINE = 1 << 20

Kind = TypeVar("Kind")


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["openclaw-core-log"]
    version: Literal[1]
    verifier_key: str
    checkpoint: str


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    seq: int
    commitment: bytes
    salt: bytes | None
    body: str | None


class Out(Protocol):
    """Takes an export, piece by piece."""

    def write(self, data: bytes, /) -> int:
        """Append."""
        ...


def write_export(out: Out, verifier_key: str, checkpoint: str, rows: Iterable[Row]) -> int:
    """Write an export.

    Args:
        out: Where to.
        verifier_key: Checks the checkpoint.
        checkpoint: The log's signed head.
        rows: Seq, commitment, salt and body of each entry.

    Returns:
        How many entries were written.

    Raises:
        OSError: they can't be.
    """
    out.write(msgspec.json.encode(_Header("openclaw-core-log", 1, verifier_key, checkpoint)) + b"\n")
    count = 0
    for seq, commitment, salt, body in rows:
        text = None if body is None else bytes(body).decode(errors="replace")
        out.write(msgspec.json.encode(_Line(seq, commitment, salt, text)) + b"\n")
        count += 1
    return count


def verify_export(file: Path, verifier: Verifier | None = None) -> tuple[Verified, Verifier]:
    """Verify an export without the vault that it came from.

    Args:
        file: The export.
        verifier: The key that must have signed it; the one that the file itself names if not given. That alone
            says no more than that the file agrees with itself.

    Returns:
        What was verified, and by which key.

    Raises:
        LogDamaged: it names the first thing that is wrong.
    """
    try:
        with file.open("rb") as lines:
            header = _read(lines.readline(_MAX_LINE), _Header, "first line")
            named = verifier_of(header.verifier_key)
            walk = Walk()
            for leaf in _leaves(iter(lambda: lines.readline(_MAX_LINE), b"")):
                walk.take(leaf)
    except OSError as error:
        raise VaultError(f"{file} can't be read: {error.strerror}.") from error
    return walk.finish(header.checkpoint, verifier or named), verifier or named


def _leaves(lines: Iterator[bytes]) -> Iterator[Leaf]:
    for number, line in enumerate(lines, start=2):
        read = _read(line, _Line, f"line {number}")
        yield Leaf(read.seq, read.commitment, read.salt, None if read.body is None else read.body.encode())


def _read(line: bytes, kind: type[Kind], which: str) -> Kind:
    try:
        if line.endswith(b"\n"):
            return msgspec.json.decode(line, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    raise LogDamaged(
        f"That is no export of a transparency log: its {which} is something else.",
        hint="`claw log export` makes them.",
    )
