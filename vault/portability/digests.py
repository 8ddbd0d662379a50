"""What a list of lines was: how many, how long, and their digest."""

import hashlib

import msgspec

__all__ = ["Digest", "Tally"]


class Digest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows, bytes and SHA-256 (in hex) of a table as JSON lines."""

    rows: int
    bytes: int
    sha256: str


class Tally:
    """Counts and digests lines as they pass.

    Attributes:
        rows: How many have.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._bytes = 0
        self._hash = hashlib.sha256()

    def add(self, line: bytes) -> None:
        """Count one, the end of its line included."""
        self.rows += 1
        self._bytes += len(line)
        self._hash.update(line)

    @property
    def digest(self) -> Digest:
        """Of what passed so far."""
        return Digest(self.rows, self._bytes, self._hash.hexdigest())
