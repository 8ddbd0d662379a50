"""The values in `tests/vectors/federation.json`, which a second implementation can be checked against.

python -m tests.federation.test_vectors     writes them anew
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.digests import digest, labelled, sign
from federation.messages import encode
from federation.privacy.plan import PrivacyPlan
from federation.privacy.rotation import rotate
from federation.privacy.skellam import draw
from federation.ring import Ring
from federation.secagg import keys
from federation.secagg.graph import RandomGraph
from federation.secagg.masks import apply_masks
from federation.secagg.plan import Round, SecAggPlan
from federation.secagg.shamir import split
from federation.secagg.wire import Reveal, Survivors
from federation.stream import Stream
from tests.federation.told_round import told

FILE = Path(__file__).parents[1] / "vectors" / "federation.json"
VIEW = bytes(range(32))
ONE, TWO = b"\x01" * 32, b"\x02" * 32


def packed() -> dict[str, str]:
    numbers = (np.arange(20, dtype=np.uint64) * 2654435761 % 2**32).astype(np.uint32)
    return {str(bits): Ring(bits).pack(numbers).hex() for bits in (8, 12, 16, 18, 31)}


def masked() -> str:
    vector = np.zeros(8, np.uint32)
    apply_masks(vector, add=[ONE], subtract=[TWO])
    return vector.astype("<u4").tobytes().hex()


def shared() -> list[str]:
    stream = Stream(b"\x07" * 32)
    rows = split([VIEW], 3, 2, lambda count: stream.uint32(count // 4).tobytes())
    return [row.astype("<u4").tobytes().hex() for row in rows]


def circle() -> list[list[int]]:
    graph = RandomGraph(digest("circle", VIEW), [bytes([number]) * 32 for number in range(7)], 4)
    return [[place.device for place in graph.neighbours(number)] for number in range(7)]


def whole_round() -> dict[str, str]:
    plan = SecAggPlan(1 << 14, 18, 20, 11, 80, 100, 60, 5, 2)
    this = Round.begin(digest("federation", b"example"), "meetings", 7, plan.digest, ONE)
    return {
        "plan": encode(plan).hex(),
        "plan digest": plan.digest.hex(),
        "round": encode(this).hex(),
        "round digest": this.digest.hex(),
        "reveal": encode(Reveal(ONE, TWO)).hex(),
        "survivors": encode(Survivors(b"\xfe\x03")).hex(),
    }


def privacy() -> dict[str, Any]:
    plan = PrivacyPlan(5, 1.0, 100.0, 18, 9, VIEW)
    rotated = rotate(np.arange(1.0, 6.0), VIEW, plan.dimension)
    return {
        "rotated": [round(float(value), 12) for value in rotated],
        "norm bound": plan.norm_bound,
        "skellam of variance 9": [int(value) for value in draw(9, 12, Stream(ONE))],
        "skellam of variance 10000": [int(value) for value in draw(10_000, 12, Stream(TWO))],
    }


def derived() -> dict[str, str]:
    agreed = keys.agree(ONE, keys.public_half(TWO))
    return {
        "labelled": labelled("purpose", b"a", b"").hex(),
        "digest": digest("purpose", b"a", b"").hex(),
        "signature": sign(Ed25519PrivateKey.from_private_bytes(ONE), "purpose", b"a").hex(),
        "agreed": agreed.hex(),
        "pair mask key": keys.pair_mask_key(agreed, VIEW, ONE, TWO).hex(),
        "own mask key": keys.mask_key(ONE, VIEW, TWO).hex(),
        "sealed": keys.seal(agreed, VIEW, ONE, TWO, b"text").hex(),
        "commitment": keys.commitment("seed", VIEW, ONE, TWO).hex(),
    }


PARTS: dict[str, Callable[[], Any]] = {
    "derived": derived,
    "packed": packed,
    "masked": masked,
    "shared": shared,
    "circle": circle,
    "messages": whole_round,
    "privacy": privacy,
    "upload": told,
}


@pytest.mark.parametrize("part", PARTS)
def test_the_vectors_are_what_is_computed(part: str) -> None:
    assert json.loads(FILE.read_text())[part] == PARTS[part]()


if __name__ == "__main__":
    FILE.write_text(json.dumps({part: made() for part, made in PARTS.items()}, indent=2) + "\n")
