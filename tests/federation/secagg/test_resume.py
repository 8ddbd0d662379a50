"""A round whose server is another one for each message: what is kept of it is enough, and opens nothing."""

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings

from federation.errors import Aborted
from federation.ring import Vector
from federation.secagg.server import STEPS, Kept, Server
from federation.secagg.wire import (
    Advertise,
    Consistency,
    Consistent,
    Deliver,
    Graph,
    Masked,
    Reveal,
    Roster,
    Share,
    Survivors,
    Unmask,
)
from tests.federation.rounds import Federation, Lost, run
from tests.federation.secagg.test_round import rounds


class HandedOn:
    """A server that forgets everything after each message, but for what is kept of the round."""

    def __init__(self, make: Callable[[], Server], dimension: int) -> None:
        self._make = make
        self._step = 0
        self._kept = Kept({}, {}, {}, {}, {}, {})
        self._total = np.zeros(dimension, np.uint32)

    def _now(self) -> Server:
        server = self._make()
        server.resume(STEPS[self._step], self._kept, self._total)
        return server

    def _closing(self) -> Server:
        server = self._now()
        self._step += 1
        return server

    def take_advert(self, advert: Advertise) -> None:
        self._now().take_advert(advert)
        self._kept = self._kept._replace(adverts={**self._kept.adverts, advert.device: advert})

    def roster(self) -> Roster:
        return self._closing().roster()

    def take_reveal(self, reveal: Reveal) -> None:
        self._now().take_reveal(reveal)
        self._kept = self._kept._replace(nonces={**self._kept.nonces, reveal.device: reveal.nonce})

    def graph(self) -> Graph:
        return self._closing().graph()

    def take_share(self, share: Share) -> None:
        self._now().take_share(share)
        self._kept = self._kept._replace(shares={**self._kept.shares, share.device: share})

    def close_shares(self) -> None:
        self._closing().close_shares()

    def deliver(self, device: bytes) -> Deliver:
        return self._now().deliver(device)

    def take_masked(self, masked: Masked) -> None:
        self._now().take_masked(masked)
        self._kept = self._kept._replace(uploads={**self._kept.uploads, masked.device: masked.signature})

    def survivors(self) -> Survivors:
        return self._closing().survivors()

    def take_consistency(self, consistency: Consistency) -> None:
        self._now().take_consistency(consistency)
        signatures = {**self._kept.signatures, consistency.device: consistency.signature}
        self._kept = self._kept._replace(signatures=signatures)

    def close_consistency(self) -> None:
        self._closing().close_consistency()

    def consistent(self, device: bytes) -> Consistent:
        return self._now().consistent(device)

    def take_unmask(self, unmask: Unmask) -> None:
        self._now().take_unmask(unmask)
        self._kept = self._kept._replace(unmasked={**self._kept.unmasked, unmask.device: unmask})

    def sum(self) -> Vector:
        return self._now().sum()


@settings(max_examples=60, deadline=None)
@given(rounds())
def test_any_server_can_go_on_with_what_another_kept(given_: tuple[Federation, Lost]) -> None:
    federation, lost = given_
    federation.begin()
    # Servers of one round differ in nothing but what they have taken.
    fresh = federation.server
    handed = HandedOn(
        lambda: Server(fresh._plan, fresh._round, fresh._nonce, fresh._registrar, fresh._random),
        federation.plan.secagg.dimension,
    )
    federation.server = handed  # type: ignore[assignment]  # it does what a server does
    updates = [federation.update(number) for number in range(federation.size)]
    try:
        opened = run(federation, updates, lost)
    except Aborted:
        assert any(lost.values())
    else:
        assert opened.is_right
