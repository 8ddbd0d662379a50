"""How many bytes a round moves for each device: the lengths of its very messages, without the requests around."""

from typing import NamedTuple

from federation.messages import encode
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
from federation.task import Task

__all__ = ["Traffic", "traffic_of"]

_KEY, _SIGNATURE, _SEALED, _SHARE = bytes(32), bytes(64), bytes(88), bytes(36)


class Traffic(NamedTuple):
    """Bytes of one device in one round.

    Attributes:
        up: That it sends, if it stays to the end.
        down: That it is sent, the release that the round begins with among them.
    """

    up: int
    down: int


def traffic_of(task: Task, cohort: int) -> Traffic:
    """The bytes of a device's round in a cohort of so many, none of whom is lost."""
    plan, bitmap = task.plan.secagg, bytes(-(-cohort // 8))
    sealed = (_SEALED,) * plan.neighbours
    advert = Advertise(_KEY, _SIGNATURE, _KEY, _KEY, _KEY, _SIGNATURE)
    up = (
        advert,
        Reveal(_KEY, _KEY),
        Share(_KEY, _KEY, sealed),
        Masked(_KEY, bytes(plan.ring.size(plan.dimension)), _SIGNATURE),
        Consistency(_KEY, _SIGNATURE),
        Unmask(_KEY, (_SHARE,) * plan.neighbours),
    )
    down = (
        Roster((advert,) * cohort),
        Graph(_KEY, (_KEY,) * cohort),
        Deliver(bitmap, sealed),
        Survivors(bitmap),
        Consistent((_SIGNATURE,) * cohort, (_SIGNATURE,) * plan.neighbours),
    )
    release = 4 * task.plan.privacy.parameters
    return Traffic(sum(len(encode(one)) for one in up), sum(len(encode(one)) for one in down) + release)
