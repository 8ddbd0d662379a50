"""What the trainer writes while it works, and in the end: how far it is, checkpoints, its result."""

import json
import os
from pathlib import Path

import msgspec

from fl_client.training.protocol import CHECKPOINTS, RESULT, Checkpoint, framed

__all__ = ["Reports"]

_OUT = Path("out")
_TELLINGS = 1000
"""How often it says how far it is, from its beginning to its end."""


class Reports:
    """Our end of what the sandbox passes on.

    Args:
        progress: A descriptor to write lines to.
    """

    def __init__(self, progress: int) -> None:
        self._progress = progress
        self._told = ""
        self._checkpoints = 0

    def tell(self, done: int, total: int, note: str) -> None:
        """Say how far it is, where that has changed by much."""
        much = f"{done * _TELLINGS // total if total else 0}"
        if much != self._told:
            self._told = much
            self._say({"done": done, "total": total, "note": note})

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and say so once it is whole."""
        name = CHECKPOINTS[self._checkpoints % len(CHECKPOINTS)]
        self._checkpoints += 1
        _write(name, framed(msgspec.msgpack.encode(checkpoint)))
        self._say({"written": name})

    def end(self, answer: msgspec.Struct) -> None:
        """Write what came of the order."""
        _write(RESULT, msgspec.msgpack.encode(answer))

    def _say(self, what: dict[str, object]) -> None:
        os.write(self._progress, json.dumps(what).encode() + b"\n")


def _write(name: str, data: bytes) -> None:
    with open(_OUT / name, "r+b") as file:
        file.write(data)
        file.truncate()
