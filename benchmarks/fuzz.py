"""A million inputs for each parser of the federation: each is read or refused, in time and memory that are bounded.

Inputs are messages of a real round, changed at random: bytes flipped, cut, doubled, put in from elsewhere. What
isn't `Malformed` is a crash and ends this with the input.
"""

import random
import resource
import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.harness import Bench
from federation.errors import Malformed
from federation.messages import Message, decode, encode
from federation.plan import Plan, propose
from federation.privacy.planner import Wish
from federation.ring import Ring
from federation.secagg.cohort import from_bitmap
from federation.secagg.plan import Round, SecAggPlan
from federation.secagg.shamir import LIMBS, combine
from federation.secagg.wire import most_bytes
from tests.federation import rounds

__all__ = ["main"]

FULL, QUICK = 1_000_000, 5_000
MOST = 1 << 16


def main() -> int:
    """Fuzz them all."""
    bench = Bench("fuzz")
    count = QUICK if bench.quick else FULL
    seeds = list(_messages())
    dice = random.Random(1)
    for kind, data in seeds:
        bench.say(f"{kind.__name__}: {count:,} inputs")
        _report(bench, kind.__name__, count, _fuzzed(kind, data, [data for _, data in seeds], count, dice))
    for name, parse in _others().items():
        bench.say(f"{name}: {count:,} inputs")
        _report(bench, name, count, _tried(parse, count, dice))
    bench.figure(
        "memory_mib", "memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MiB", ("<=", 500)
    )
    return bench.finish()


def _report(bench: Bench, name: str, count: int, ended: tuple[int, float]) -> None:
    read, worst = ended
    bench.note(f"{name}", f"{count:,} inputs, {read:,} read, {count - read:,} refused")
    bench.figure(f"worst_ms_{name.lower()}", f"{name}, the slowest", worst * 1e3, "ms", ("<=", 1000))


def _fuzzed(
    kind: type[Message], data: bytes, others: list[bytes], count: int, dice: random.Random
) -> tuple[int, float]:
    """How many were read, and the seconds of the slowest."""
    return _tried(lambda _dice: decode(_changed(data, others, _dice), kind, MOST), count, dice)


def _tried(parse: Callable[[random.Random], object], count: int, dice: random.Random) -> tuple[int, float]:
    read, worst = 0, 0.0
    for _ in range(count):
        begun = time.perf_counter()
        try:
            parse(dice)
            read += 1
        except Malformed:
            pass
        worst = max(worst, time.perf_counter() - begun)
    return read, worst


def _changed(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """Some bytes of a message changed, or something else altogether."""
    changed = bytearray(data)
    for _ in range(dice.choice((0, 1, 1, 1, 2, 4, 16))):
        at = dice.randrange(len(changed) + 1)
        match dice.randrange(6):
            case 0:
                changed[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                del changed[at : at + dice.randrange(1, 40)]
            case 2:
                changed[at:at] = dice.randbytes(dice.randrange(1, 10))
            case 3:
                other = dice.choice(others)
                begin = dice.randrange(len(other))
                changed[at:at] = other[begin : begin + dice.randrange(1, 60)]
            case 4:  # the beginnings of long things
                changed[at : at + 5] = bytes([dice.choice((0xC6, 0xDD, 0xDF, 0xDB, 0xDC, 0xCF))]) + dice.randbytes(
                    4
                )
            case 5:
                changed[at:at] = changed[max(0, at - 30) : at] * dice.randrange(1, 5)
    return bytes(changed)


def _messages() -> Iterator[tuple[type[Message], bytes]]:
    """One message of each kind, of a round that was run."""
    plan = propose(Wish(60, 12, dropout=0.2, corrupt=0.1, epsilon=50), bytes(32))
    federation = rounds.Federation(12, plan)
    seen: dict[type[Message], bytes] = {
        Plan: encode(plan),
        SecAggPlan: encode(plan.secagg),
        Round: encode(federation.round),
    }

    rounds.run(
        federation,
        [federation.update(number) for number in range(12)],
        {},
        lambda message: seen.setdefault(type(message), encode(message)),
    )
    for kind, data in seen.items():
        if kind not in (Plan, SecAggPlan, Round) and len(data) > most_bytes(kind, plan.secagg):
            raise SystemExit(f"{kind.__name__} is longer than it can be.")
        yield kind, data


def _others() -> dict[str, Callable[[random.Random], object]]:
    ring, packed = Ring(18), Ring(18).pack(np.arange(60, dtype=np.uint32))
    return {
        "packed vector": lambda dice: ring.unpack(_changed(packed, [packed], dice), 60),
        "bitmap": lambda dice: from_bitmap(dice.randbytes(dice.randrange(4)), dice.randrange(1, 24)),
        "shares": lambda dice: combine(
            tuple(dice.randrange(20) for _ in range(3)),
            np.frombuffer(dice.randbytes(4 * 3 * LIMBS), np.uint32).reshape(3, LIMBS)
            >> np.uint32(dice.randrange(3)),
        ),
    }


if __name__ == "__main__":
    raise SystemExit(main())
