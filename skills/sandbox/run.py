"""Running a job behind walls: heard to the end, ended when it exceeds a limit, and never believed."""

import os
import selectors
import threading
import time
from collections.abc import Callable

import msgspec

from skills.sandbox.channel import Channel, channel
from skills.sandbox.ending import end_of
from skills.sandbox.job import Ended, Job, Outcome, Progress
from skills.sandbox.walls import Running, Walls
from vault.sanitize import sanitize_line

__all__ = ["run"]

_CHUNK = 1 << 16
_LINE = 4096
_LOOK_EVERY_S = 0.05
_NOTE_LENGTH = 120
_MOST_TOLD = 10_000


def run(
    job: Job,
    walls: Walls,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    on_written: Callable[[str, bytes], None] | None = None,
    stop: threading.Event | None = None,
) -> Outcome:
    """Run a job and wait for it.

    Args:
        job: What to run.
        walls: What to run it behind.
        on_progress: Told how far it says it is.
        on_written: Given an output that it says is whole, while it goes on; its word, as all the rest.
        stop: Ends it, at once, when set.

    Raises:
        JobRefused: the job can't be run as it is described.
        SandboxError: it could not be started.
    """
    job.check()
    began = time.monotonic()
    with channel(job) as given:
        running = walls.start(job, given)
        given.started()
        hearing = _Hearing(job, given, on_progress, on_written)
        try:
            ended = _hear(hearing, running, began + job.limits.wall_s, stop)
        finally:
            running.process.kill()  # the group too is gone when its first process is
            status = running.process.wait()
            running.gone()
        hearing.rest()
        if ended is Ended.EXITED and (status < 0 or status > 128):
            ended = Ended.KILLED
        return Outcome(
            ended,
            status,
            bytes(hearing.said[0]),
            bytes(hearing.said[1]),
            given.written(job.limits.file_bytes),
            time.monotonic() - began,
            walls.name,
        )


class _Hearing:
    """What a job says, until it says too much."""

    def __init__(
        self,
        job: Job,
        given: Channel,
        on_progress: Callable[[Progress], None] | None,
        on_written: Callable[[str, bytes], None] | None,
    ) -> None:
        self.said = bytearray(), bytearray()
        self._most = job.limits.stream
        self._most_written = job.limits.file_bytes
        self._given = given
        self._on_progress = on_progress
        self._on_written = on_written
        self._line = b""
        self._told = 0
        self._ends = given.heard
        self.open = set(given.heard)
        for end in given.heard:
            os.set_blocking(end, False)

    def take(self, end: int) -> bool:
        """Read what is there; whether it is still within its limits."""
        try:
            data = os.read(end, _CHUNK)
        except BlockingIOError:
            return True
        if not data:
            self.open.discard(end)
            return True
        stream = self._ends.index(end)
        if stream < len(self.said):
            room = self._most - len(self.said[stream])
            self.said[stream].extend(data[:room])
            return len(data) <= room
        return self._progress(data)

    def rest(self) -> None:
        """Take what was said last, of a job that is gone."""
        for end in tuple(self.open):
            while end in self.open:
                before = sum(map(len, self.said)) + self._told + len(self._line)
                if not self.take(end) or before == sum(map(len, self.said)) + self._told + len(self._line):
                    break

    def _progress(self, data: bytes) -> bool:
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self._told += 1
            try:
                told = msgspec.json.decode(line, type=Progress)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
            self._tell(told)
        return len(self._line) <= _LINE

    def _tell(self, told: Progress) -> None:
        if self._told > _MOST_TOLD:
            return
        if told.written:
            if self._on_written and told.written in self._given.outputs:
                self._on_written(told.written, self._given.read(told.written, self._most_written))
        elif self._on_progress:
            self._on_progress(msgspec.structs.replace(told, note=sanitize_line(told.note, _NOTE_LENGTH)))


def _hear(hearing: _Hearing, running: Running, until: float, stop: threading.Event | None) -> Ended:
    """Hear a job until it has ended, or has to."""
    with selectors.DefaultSelector() as selector, end_of(running.process) as end:
        for heard in (end, *hearing.open):
            selector.register(heard, selectors.EVENT_READ)
        while True:
            if stop and stop.is_set():
                return Ended.STOPPED
            if time.monotonic() > until:
                return Ended.WALL
            if running.exceeds():
                return Ended.KILLED
            for key, _ in selector.select(_LOOK_EVERY_S):
                if key.fd == end:
                    return Ended.EXITED
                if not hearing.take(key.fd):
                    return Ended.OVERRAN
                if key.fd not in hearing.open:
                    selector.unregister(key.fd)
