"""One file on its way in: where it stands, what to ask for next, and what an answer may do to it (RFC 9110, 14).

No network here: `vault.egress` carries the requests, this module decides. A file that is being fetched is at every
moment a prefix of what was served, so that any interruption can be followed by a resumption.
"""

import io
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vault.durable import storage_error
from vault.errors import EgressError, VerificationFailed

__all__ = ["Answer", "Broken", "Transfer"]

_OK, _PARTIAL, _RANGE_NOT_SATISFIABLE = 200, 206, 416
_TRY_AGAIN_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,19})-(\d{1,19})|\*)/(\d{1,19}|\*)", re.ASCII)


class Broken(EgressError):
    """The connection broke, or the server is overloaded: a later try may succeed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of a response.

    Attributes:
        status: HTTP status.
        headers: By lower-case name.
        host: Who answered.
        origin: `host:port` of who answered.
        location: The absolute address redirected to; empty when there is none. May carry a signature: never shown.
    """

    status: int
    headers: Mapping[str, str]
    host: str
    origin: str
    location: str = field(default="", repr=False)

    @property
    def size(self) -> int | None:
        """Bytes of the whole file, where the server states them."""
        if self.status in (_PARTIAL, _RANGE_NOT_SATISFIABLE):
            match = _CONTENT_RANGE.fullmatch(self.headers.get("content-range", ""))
            return int(match[3]) if match and match[3] != "*" else None
        length = self.headers.get("content-length", "")
        return int(length) if re.fullmatch(r"\d{1,19}", length, re.ASCII) else None

    @property
    def range_start(self) -> int | None:
        """First byte of the part in a 206 answer."""
        match = _CONTENT_RANGE.fullmatch(self.headers.get("content-range", ""))
        return int(match[1]) if match and match[1] else None

    @property
    def strong_etag(self) -> str:
        """The entity tag, if two parts under the same tag may be joined."""
        tag = self.headers.get("etag", "")
        return tag if tag.startswith('"') else ""


class Transfer:
    """A file on its way in.

    Args:
        file: Open for writing, unbuffered; what it holds already is taken for the beginning.
        path: Its name, for error messages.
        size: The promised number of bytes; `None` when nobody promised one.
        limit: Most bytes to accept when neither a promise nor the server says how many there are.
        digest_follows: Whether the caller checks a digest of the whole afterwards. If not, a part is joined to
            what is there only when the server proves (by a strong entity tag) that the file is still the same.
        inspect: Sees each answer, refusals included, before any byte of it is written; it may raise.
        progress: Told the bytes that are there, and of how many (`None`: unknown).

    Attributes:
        complete: Whether all of it is there.
        furthest: Most bytes that were there at any time; what counts as progress.
        received: Bytes written by this transfer, thrown away ones included.
    """

    def __init__(
        self,
        file: io.FileIO,
        *,
        path: Path,
        size: int | None,
        limit: int,
        digest_follows: bool,
        inspect: Callable[[Answer], None],
        progress: Callable[[int, int | None], None],
    ) -> None:
        self._file = file
        self._path = path
        self._promised = size
        self._limit = limit
        self._digest_follows = digest_follows
        self._inspect = inspect
        self._progress = progress
        self._etag = ""
        self._total: int | None = size
        self._host = ""
        self._offset = file.seek(0, os.SEEK_END)
        self.received = 0
        self.complete = False
        if size is not None and self._offset > size:
            self._restart()
        elif size is not None and self._offset == size:
            self.complete = True
        self.furthest = self._offset

    def headers(self) -> dict[str, str]:
        """What the next request must say to go on from here."""
        if self._offset and not (self._etag or self._digest_follows):
            self._restart()
        if not self._offset:
            return {}
        condition = {"If-Range": self._etag} if self._etag else {}
        return {"Range": f"bytes={self._offset}-", **condition}

    def begin(self, answer: Answer) -> bool:
        """Take the head of an answer; whether its body is to be written.

        Raises:
            Broken: the server asks to try again later.
            VerificationFailed: it states another size than the promised one, or more than the limit.
            EgressError: it refuses, or answers with something else than was asked.
        """
        self._host = answer.host
        if answer.status in _TRY_AGAIN_STATUSES:
            raise Broken(f"{answer.host} can't serve the file now (HTTP {answer.status}).", hint="Try again later.")
        if answer.status == _RANGE_NOT_SATISFIABLE and self._offset:
            # Everything is here already, or what is here is more than the file has.
            if self._promised is None and answer.size == self._offset:
                self.complete = True
                return False
            self._restart()
            raise Broken(f"{answer.host} has no such part of the file.")
        self._inspect(answer)
        if answer.status not in (_OK, _PARTIAL):
            raise EgressError(f"{answer.host} does not serve the file (HTTP {answer.status}).")
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise EgressError(f"{answer.host} sends the file in another encoding than was asked for.")
        if answer.status == _OK and self._offset:
            self._restart()
        if answer.status == _PARTIAL and answer.range_start != self._offset:
            raise EgressError(f"{answer.host} sends another part of the file than was asked for.")
        self._etag = answer.strong_etag
        self._take_size(answer)
        return True

    def _take_size(self, answer: Answer) -> None:
        if self._promised is not None and answer.size not in (None, self._promised):
            raise VerificationFailed(
                f"{answer.host} serves {answer.size} bytes, but {self._promised} were promised; nothing was taken."
            )
        self._total = self._promised if self._promised is not None else answer.size
        if self._total is not None and self._total > self._limit:
            raise VerificationFailed(f"{answer.host} serves {self._total} bytes, more than can be accepted.")

    def write(self, chunk: bytes) -> None:
        """Append bytes of the body.

        Raises:
            VerificationFailed: there are more than there should be.
            DiskFull: there is no room for them.
            VaultError: the file can't be written.
        """
        most = self._limit if self._total is None else self._total
        if self._offset + len(chunk) > most:
            raise VerificationFailed(f"{self._host} sends more than the {most} bytes that the file should have.")
        rest = memoryview(chunk)
        while rest:
            try:
                written = self._file.write(rest)
            except OSError as error:
                raise storage_error(error, self._path) from error
            # An interruption may fall between the two lines; the next transfer asks the file for its size again.
            self._offset += written or 0
            self.received += written or 0
            rest = rest[written or 0 :]
        self.furthest = max(self.furthest, self._offset)
        self._progress(self._offset, self._total)

    def end(self) -> None:
        """The body has ended.

        Raises:
            Broken: too early.
        """
        if self._total is not None and self._offset < self._total:
            raise Broken(f"{self._host} broke off after {self._offset} of {self._total} bytes.")
        self.complete = True

    def _restart(self) -> None:
        self._file.truncate(0)
        self._file.seek(0)
        self._offset = 0
        self._etag = ""
