"""A whole round of five devices with nothing left to chance, for the vectors: what one of them sends, and the sum.

The devices stand in the order of their identities. One is lost before it sends its update, so that both kinds of
secrets are put together in the end.
"""

from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.messages import Message, encode
from federation.plan import Plan
from federation.privacy.clip import RawDelta, clip
from federation.privacy.noise import NoisedDelta, add_noise, mean_of
from federation.privacy.plan import PrivacyPlan
from federation.secagg.client import Client
from federation.secagg.cohort import view_of
from federation.secagg.keys import agree, mask_key, pair_mask_key
from federation.secagg.plan import SecAggPlan
from federation.secagg.shamir import PRIME, split
from federation.secagg.wire import Advertise, Consistency, Graph, Masked, Reveal, Roster, Share, Survivors, Unmask
from federation.stream import Stream
from tests.federation.rounds import FEDERATION, Federation, numbers_of, run

__all__ = ["told"]

SIZE, DEVICE, LOST = 5, 2, 1
PLAN = Plan(
    PrivacyPlan(6, 1.0, 4000.0, 18, 50, b"\x05" * 32), SecAggPlan(8, 18, 4, 3, SIZE, SIZE, 4, 0, 0), 1, 1e-5
)
REGISTRAR, SERVER_NONCE = b"\xa0" * 32, b"\xb0" * 32
IDENTITIES = sorted(
    (bytes([number]) * 32 for number in range(1, SIZE + 1)),
    key=lambda private: Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw(),
)


class Dice:
    """Random bytes that are the same each time, and can be told afterwards.

    Args:
        key: Of the stream that they come from.
        first: What comes before that.
    """

    def __init__(self, key: bytes, *first: bytes) -> None:
        self._stream = Stream(key)
        self._first = list(first)
        self.thrown: list[bytes] = []

    def __call__(self, count: int) -> bytes:
        thrown = self._first.pop(0) if self._first else self._stream.uint32(count // 4).astype("<u4").tobytes()
        assert len(thrown) == count
        self.thrown.append(thrown)
        return thrown


class Told(Federation):
    """A federation whose devices each have dice of their own."""

    def client(self, number: int) -> Client:
        self.dice = [*getattr(self, "dice", []), Dice(bytes([0xC0 + number]) * 32)]
        return Client(
            self.identities[number], self.certificates[number], self.round, self.agreed(), self.dice[number]
        )

    def noised(self, number: int) -> NoisedDelta:
        values = np.array([(number + 1) / 16, -0.25, 0.5, number / 8, 0.0, -0.125])
        return add_noise(clip(RawDelta(values), PLAN.privacy), PLAN.privacy, Dice(bytes([0xD0 + number]) * 32))


def told() -> dict[str, Any]:
    """Everything that went in, each message of one device, and what the server opened."""
    federation = Told(SIZE, PLAN, Dice(b"\xee" * 32, REGISTRAR, *IDENTITIES, SERVER_NONCE))
    updates = [federation.noised(number) for number in range(SIZE)]
    numbers = [numbers_of(update).tolist() for update in updates]
    seen: list[Message] = []
    opened = run(federation, updates, {"mask": [LOST]}, seen.append)
    mine = federation.devices[DEVICE].device

    def sent(kind: type[Message], device: bytes = mine) -> str:
        return next(
            encode(one).hex() for one in seen if type(one) is kind and getattr(one, "device", device) == device
        )

    def delivered(place: int, kind: str) -> str:
        return encode([one for one in seen if type(one).__name__ == kind][place]).hex()

    roster = next(one for one in seen if isinstance(one, Roster))
    graph = next(one for one in seen if isinstance(one, Graph))
    view = view_of(roster, graph, federation.round, PLAN.secagg)
    _, mask_private, _, seed, coefficients = federation.dice[DEVICE].thrown
    rows = split([seed, mask_private], 4, 3, lambda _: coefficients)
    neighbours = [place.device for place in view.graph.neighbours(DEVICE)]
    pairs = {}
    for number in neighbours:
        other = view.adverts[number]
        key = pair_mask_key(agree(mask_private, other.mask_key), view.digest, *sorted((mine, other.device))).hex()
        pairs[f"{'+' if mine < other.device else '-'}{number}"] = key
    return {
        "federation": FEDERATION.hex(),
        "registrar": REGISTRAR.hex(),
        "server nonce": SERVER_NONCE.hex(),
        "plan": encode(PLAN).hex(),
        "round": encode(federation.round).hex(),
        "devices": [
            {
                "identity": IDENTITIES[number].hex(),
                **{
                    name: drawn.hex()
                    for name, drawn in zip(
                        ("nonce", "mask private", "seal private", "seed"),
                        federation.dice[number].thrown,
                        strict=False,
                    )
                },
                "update": numbers[number],
            }
            for number in range(SIZE)
        ],
        "device": DEVICE,
        "lost": LOST,
        "advertise": sent(Advertise),
        "roster": encode(roster).hex(),
        "reveal": sent(Reveal),
        "graph": encode(graph).hex(),
        "view": view.digest.hex(),
        "neighbours": neighbours,
        "coefficients": (np.frombuffer(coefficients, "<u4") & np.uint32(PRIME)).reshape(2, -1).tolist(),
        "shares": [row.astype("<u4").tobytes().hex() for row in rows],
        "share": sent(Share),
        "deliver": delivered(DEVICE - 1, "Deliver"),  # the lost one asks for nothing
        "own mask key": mask_key(seed, view.digest, mine).hex(),
        "pair mask keys": pairs,
        "masked": sent(Masked),
        "all masked": [
            sent(Masked, device.device) for number, device in enumerate(federation.devices) if number != LOST
        ],
        "survivors": sent(Survivors),
        "consistency": sent(Consistency),
        "consistent": delivered(DEVICE - 1, "Consistent"),
        "unmask": sent(Unmask),
        "sum": opened.total.tolist(),
        "mean": [round(float(value), 9) for value in mean_of(opened.total, PLAN.privacy, SIZE - 1)],
    }
