"""A child process of ours that works for us behind its own walls: how it is started, spoken to, and ended.

It is a module of the tree, run by the same Python: nothing of the person's environment, folders or open files
reaches it but the descriptors that it is given, and what it prints reaches neither the terminal nor the disk.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import BinaryIO, Generic, NamedTuple, TypeVar

from vault.errors import FrameError
from vault.frames import MAX_FRAME, FrameReader, FrameWriter
from vault.sanitize import sanitize

__all__ = ["Child", "Ending"]

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")

_ENDS_WITHIN_S = 0.5
"""One that closed its pipe is about to end; how it does is waited for so long."""
_LAST_WORDS = 400


class Ending(NamedTuple):
    """How a child ended.

    Attributes:
        code: Its exit code, or minus the signal's number; `None` for one that had to be ended.
        last_words: The last line that it wrote to its standard error; sanitized.
        between: Whether it ended between two messages, rather than in one, or after one that made no sense.
    """

    code: int | None
    last_words: str
    between: bool

    @property
    def signalled(self) -> bool:
        """Whether a signal ended it."""
        return self.code is not None and self.code < 0

    def __str__(self) -> str:
        if self.code is None:
            how = "it answered nonsense"
        else:
            how = f"signal {_signal_name(-self.code)}" if self.signalled else f"exit code {self.code}"
        return f"{how}: {self.last_words}" if self.last_words else how


class Child(ABC, Generic[Asked, Answered]):
    """One child, from its start to its end; it is never started again.

    Only `write` and `kill` may be called from another thread than the one that reads.

    Args:
        module: That it runs.
        answers: The messages that come from it, a tagged struct or a union of them.
        environment: All of its environment.
        inherited: Descriptors that it is given; they stay the caller's.
        most: Largest frame that is taken from it, in bytes.

    Attributes:
        discarded: Whether it was ended and let go of, by its holder or after an error; it answers no more.
    """

    def __init__(
        self,
        module: str,
        answers: type[Answered],
        *,
        environment: Mapping[str, str],
        inherited: Sequence[int],
        most: int = MAX_FRAME,
    ) -> None:
        self._writing = threading.Lock()
        self.discarded = False
        # Crash messages of native code go to a file without a name: nothing of them reaches terminal or disk.
        self._stderr = _nameless_file(module)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=environment,
            cwd="/",
            pass_fds=inherited,
            start_new_session=True,  # Ctrl-C is for us to handle: it stops a piece of work, not the child
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._writer: FrameWriter[Asked] | None = FrameWriter(self._process.stdin.fileno())
        self._reader = FrameReader(self._process.stdout.fileno(), answers, most=most)

    @property
    def process_id(self) -> int | None:
        """Its process id, while it runs."""
        return self._process.pid if self._process.poll() is None else None

    def send(self, message: Asked) -> None:
        """Send a message, and discard the child if that fails half-way.

        Raises:
            FrameError: the message is too large; the child goes on.
            Exception: it doesn't listen any more; which, `error` says.
        """
        try:
            self.write(message)
        except BrokenPipeError as error:
            raise self._gone(between=True) from error
        except FrameError:  # too large: nothing was written
            raise
        except BaseException:  # an interrupt, perhaps in the middle of a frame
            self.discard()
            raise

    def write(self, message: Asked) -> None:
        """Send a message from any thread; the child stays as it is if that fails.

        Raises:
            BrokenPipeError: it doesn't listen any more.
        """
        with self._writing:
            if self._writer is None:
                raise BrokenPipeError
            self._writer.write(message)

    def receive(self) -> Answered:
        """Wait for the next message.

        Raises:
            Exception: it ended instead, or sent what is no message; which, `error` says.
        """
        try:
            answer = None if self.discarded else self._reader.read()  # the descriptor may be another file's by then
        except (FrameError, OSError) as error:
            raise self.give_up() from error
        except BaseException:  # an interrupt: what came next would be read out of step
            self.discard()
            raise
        if answer is None:
            raise self._gone(between=True)
        return answer

    def kill(self) -> None:
        """End it from any thread; whoever waits for its next message learns of it."""
        self._process.kill()

    def give_up(self) -> Exception:
        """End what is left of it, for it makes no sense; the error that says how it ended."""
        return self._gone(between=False)

    def discard(self) -> None:
        """End it and let go of it; again is without effect."""
        if self.discarded:
            return
        self.discarded = True
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        with self._writing:  # a thread that cancels must never write to what may be another file by then
            self._writer = None
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            if pipe is not None:
                pipe.close()

    @abstractmethod
    def error(self, ending: Ending) -> Exception:
        """What is raised when the child has ended; each kind of child says it in its own words."""

    def _gone(self, *, between: bool) -> Exception:
        code, last_words = None, ""
        if not self.discarded:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(timeout=_ENDS_WITHIN_S)
            self._stderr.seek(0)
            said = sanitize(self._stderr.read()[-_LAST_WORDS:].decode("utf-8", "replace")).strip().splitlines()
            last_words = said[-1] if said else ""
        self.discard()
        return self.error(Ending(code, last_words, between))


def _nameless_file(module: str) -> BinaryIO:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create(f"{module}-stderr"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)  # closed when the child is discarded


def _signal_name(number: int) -> str:
    return next((known.name for known in signal.Signals if known == number), str(number))  # real-time ones vary
