"""A million inputs for each parser of the federation and of what sandboxed trainers answer.

Each is read or refused, in time and memory that are bounded. Inputs are messages of a real round, and answers that
are what was ordered, changed at random: bytes flipped, cut, doubled, nested, put in from elsewhere. What isn't one
of the parser's own errors is a crash and ends this.
"""

import contextlib
import random
import resource
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec
import numpy as np

from benchmarks.harness import Bench
from federation.digests import is_signed
from federation.errors import Malformed, Refused
from federation.messages import Message, decode, encode
from federation.plan import propose
from federation.privacy.planner import Wish
from federation.ring import Ring
from federation.secagg.cohort import from_bitmap
from federation.secagg.keys import agree, open_sealed, seal
from federation.secagg.shamir import LIMBS, Elements, combine, split
from federation.secagg.wire import most_bytes
from fl_client.errors import NotTrainable, TrainingFailed
from fl_client.training.factors import Target
from fl_client.training.head_protocol import HeadJudged, HeadOrder, HeadRecipe, HeadResult, Labelled
from fl_client.training.protocol import RESULT, Checkpoint, Factors, Judged, Order, Recipe, Result, Row, Stopped
from fl_client.training.sandboxed import checked_checkpoint, result_of
from fl_client.training.sandboxed_head import head_result_of
from skills.sandbox.job import Ended, Outcome
from tests.federation import rounds

__all__ = ["main"]

FULL, QUICK = 1_000_000, 5_000
MOST = 1 << 16
MEMORY = 1 << 30


class Parser(NamedTuple):
    """One that is tried.

    Attributes:
        name: In words.
        parse: Reads an input that it draws; `None` and `False` are refusals too.
        refusals: The errors that it refuses with.
    """

    name: str
    parse: Callable[[random.Random], object]
    refusals: tuple[type[Exception], ...] = (Malformed,)


def main() -> int:
    """Fuzz them all."""
    bench = Bench("fuzz")
    count = QUICK if bench.quick else FULL
    dice = random.Random(1)
    for parser in (*_messages(), *_parts(), *_answers()):
        bench.say(f"{parser.name}: {count:,} inputs")
        _report(bench, parser.name, count, _tried(parser, count, dice))
    bench.figure(
        "memory_mib", "memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MiB", ("<=", 500)
    )
    return bench.finish()


def _report(bench: Bench, name: str, count: int, ended: tuple[int, float]) -> None:
    read, worst = ended
    bench.note(f"{name}", f"{count:,} inputs, {read:,} read, {count - read:,} refused")
    key = f"worst_ms_{name.lower().replace(' ', '_')}"
    bench.figure(key, f"{name}, the slowest, of the processor's time", worst * 1e3, "ms", ("<=", 1000))


def _tried(parser: Parser, count: int, dice: random.Random) -> tuple[int, float]:
    """How many were read, and the seconds of the slowest."""
    read, worst = 0, 0.0
    for _ in range(count):
        begun = time.thread_time()  # no time of other programs', which a million inputs meet
        with contextlib.suppress(*parser.refusals):
            taken = parser.parse(dice)
            read += taken is not None and taken is not False
        worst = max(worst, time.thread_time() - begun)
    return read, worst


def _changed(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """Some bytes of a message changed, or something else altogether."""
    changed = bytearray(data)
    for _ in range(dice.choice((0, 1, 1, 1, 2, 4, 16))):
        at = dice.randrange(len(changed) + 1)
        match dice.randrange(7):
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
            case 6:  # lists of lists of lists
                changed[at:at] = b"\x91" * dice.choice((1, 10, 1000, 5000))
    return bytes(changed)


def _messages() -> Iterator[Parser]:
    """One of each kind of message, of a round that was run."""
    plan = propose(Wish(60, 12, dropout=0.2, corrupt=0.1, epsilon=50), bytes(32))
    federation = rounds.Federation(12, plan)
    agreed: dict[type[Message], bytes] = {
        type(part): encode(part) for part in (plan, plan.secagg, plan.privacy, federation.round)
    }
    seen: dict[type[Message], bytes] = {}
    rounds.run(
        federation,
        [federation.update(number) for number in range(12)],
        {},
        lambda message: seen.setdefault(type(message), encode(message)),
    )
    for kind, data in seen.items():
        if len(data) > most_bytes(kind, plan.secagg):
            raise SystemExit(f"{kind.__name__} is longer than it can be.")
    others = [*agreed.values(), *seen.values()]
    for kind, data in (agreed | seen).items():
        yield _message(kind, data, others)


def _message(kind: type[Message], data: bytes, others: list[bytes]) -> Parser:
    return Parser(kind.__name__, lambda dice: decode(_changed(data, others, dice), kind, MOST))


def _parts() -> Iterator[Parser]:
    """What is within messages, and read by itself."""
    ring, packed = Ring(18), Ring(18).pack(np.arange(60, dtype=np.uint32))
    one, view = b"\x01" * 32, bytes(32)
    sealed = seal(one, view, one, view, bytes(72))
    shared = split([view], 4, 2, random.Random(2).randbytes)
    yield Parser("packed vector", lambda dice: ring.unpack(_changed(packed, [packed], dice), 60))
    yield Parser("bitmap", lambda dice: from_bitmap(dice.randbytes(dice.randrange(4)), dice.randrange(1, 24)))
    yield Parser("shares", lambda dice: _put_together(shared, dice))
    yield Parser("signature", lambda dice: is_signed(_bytes(32, dice), _bytes(64, dice), "advertise", view))
    yield Parser("public key", lambda dice: agree(one, _bytes(32, dice)), (Refused,))
    yield Parser("sealed", lambda dice: open_sealed(one, view, one, view, _changed(sealed, [sealed], dice)))


def _put_together(shared: Elements, dice: random.Random) -> list[bytes]:
    """Shares of holders that may be none, or twice the same, some of them changed."""
    points = tuple(dice.randrange(5) for _ in range(2))
    shares = shared[[max(point, 1) - 1 for point in points]]
    if dice.randrange(2):
        shares[dice.randrange(2), dice.randrange(LIMBS)] = dice.randrange(1 << 32)
    return combine(points, shares)


def _bytes(count: int, dice: random.Random) -> bytes:
    """So many, at random or all alike: keys of small order are among them."""
    return dice.randbytes(count) if dice.randrange(4) else bytes([dice.choice((0, 1, 255))]) + bytes(count - 1)


def _answers() -> Iterator[Parser]:
    """What sandboxed trainers write, through the checks that stand before anybody believes it."""
    matrix, refusals = np.arange(4, dtype="<f4").tobytes(), (NotTrainable, TrainingFailed)
    recipe = Recipe("core", 2, 1.0, ("attn_q",), 3, 1, 1e-2, 64, bytes(32))
    order = Order("", "", recipe, [], [Row(bytes(8), 1)], 1, 256)
    target = Target(0, "attn_q", 6, 4)
    factors = Factors(target.name, bytes(32), bytes(48))
    result = Result(matrix, Judged(2.0, 1.5), (2.0, 1.9, 1.8), 9, 0.1, 0.1, "float32", 1, (factors,))
    checkpoint = Checkpoint(2, matrix, matrix, matrix, (2.0, 1.9), 2.0, "float32")
    rows = Labelled(bytes(24), b"\0\0\1\0")
    head_order = HeadOrder(HeadRecipe(("a", "b"), 2, 1, 1.0, 0.0, bytes(32)), 3, rows, rows)
    head_result = HeadResult(matrix + matrix, HeadJudged(0.7, 0.5), HeadJudged(0.2, 1.0), (0.7, 0.5), 0.1)
    encoded = [msgspec.msgpack.encode(one) for one in (result, Stopped("no"), checkpoint, head_result)]

    def outcome(answer: bytes, dice: random.Random) -> Outcome:
        return Outcome(Ended.EXITED, 0, b"", b"", {RESULT: _changed(answer, encoded, dice)}, 0.1, "none")

    def read(answer: bytes) -> Callable[[random.Random], object]:
        return lambda dice: result_of(outcome(answer, dice), order, [target], MEMORY)

    def read_head(dice: random.Random) -> object:
        return head_result_of(outcome(encoded[3], dice), head_order, MEMORY)

    def read_checkpoint(dice: random.Random) -> object:
        return checked_checkpoint(_changed(encoded[2], encoded, dice), 4, order.recipe)

    yield Parser("Result", read(encoded[0]), refusals)
    yield Parser("Stopped", read(encoded[1]), refusals)
    yield Parser("Checkpoint", read_checkpoint, refusals)
    yield Parser("HeadResult", read_head, refusals)


if __name__ == "__main__":
    raise SystemExit(main())
