"""The same ids, keys and times in each run, so that the states of two runs compare."""

import os
import secrets
import time
from itertools import count
from random import Random

from tests.torture.beginnings import EPOCH_MS
from vault import reserve

__all__ = ["make_repeatable"]

_TICK_NS = 10**6
_RESERVE_BYTES = 256 << 10  # each write of it is recorded, failed and replayed; a few are as good as many


def make_repeatable(seed: int) -> None:
    """Replace this process's randomness and clock. For the rig's children: no secret of theirs is one."""
    # Each its own, so that a file that isn't written because of a fault doesn't change the ids of what comes after.
    noise, ids, keys, names = (Random(f"{seed} {use}") for use in ("noise", "ids", "keys", "names"))
    ticks = count(EPOCH_MS * 10**6, _TICK_NS)
    vars(os).update(urandom=noise.randbytes)
    vars(secrets).update(
        choice=ids.choice,
        token_bytes=lambda size=32: keys.randbytes(size),
        token_hex=lambda size=32: names.randbytes(size).hex(),
    )
    vars(time).update(time_ns=lambda: next(ticks))
    vars(reserve).update(_BYTES=_RESERVE_BYTES)
