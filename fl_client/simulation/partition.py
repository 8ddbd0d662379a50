"""Who has which examples: the ways to deal a set of examples to devices, each device its own and none twice.

`by=FIELD` keeps together what has the same value in a field of the data, a meeting or a domain: what real people
have is alike. `dirichlet(α)` gives each device its own mixture of the labels (Hsu, Qi, Brown 2019, "Measuring the
Effects of Non-Identical Data Distribution"): the smaller α, the fewer labels a device knows.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fl_client.errors import SimulationRefused

__all__ = [
    "MOST_EXAMPLES",
    "ByField",
    "Dirichlet",
    "Owned",
    "deal",
    "deal_by_group",
    "deal_by_label",
    "read_partition",
]

MOST_EXAMPLES = 15
"""Of a device that is dealt a mixture of labels; half of them have one or two."""

_BY = re.compile(r"by=([A-Za-z0-9_.-]{1,64})\Z")
_DIRICHLET = re.compile(r"dirichlet\(\s*([0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)\s*\)\Z")

Owned = NDArray[np.intp]
"""The places of a device's examples among all."""


class ByField(NamedTuple):
    """Devices have examples of one value of a field.

    Attributes:
        field: Of the data.
    """

    field: str


class Dirichlet(NamedTuple):
    """Devices have mixtures of labels.

    Attributes:
        alpha: Concentration of the mixtures, above 0.
    """

    alpha: float


def read_partition(text: str) -> ByField | Dirichlet:
    """What a person wrote: `by=meeting`, `dirichlet(0.3)`.

    Raises:
        SimulationRefused: it is neither.
    """
    if by := _BY.match(text):
        return ByField(by[1])
    if (mixture := _DIRICHLET.match(text)) and 1e-3 <= float(mixture[1]) <= 1e6:
        return Dirichlet(float(mixture[1]))
    raise SimulationRefused(
        f"{text!r} is no way to deal examples to devices.", hint="Say by=meeting, by=domain, or dirichlet(0.3)."
    )


def deal(
    how: ByField | Dirichlet, groups: Sequence[str], labels: Sequence[int], devices: int, dice: np.random.Generator
) -> list[Owned]:
    """Deal all examples that find a place.

    Args:
        how: In which way.
        groups: Of each example its value of the field; for `ByField`.
        labels: Of each example its label; for `Dirichlet`.
        devices: How many there are to be.
        dice: Chance.

    Returns:
        Of each device what it has, at least one example.

    Raises:
        SimulationRefused: there are fewer examples than devices.
    """
    count = len(groups) if isinstance(how, ByField) else len(labels)
    if not 1 <= devices <= count:
        raise SimulationRefused(
            f"{count:,} examples are too few for {devices:,} devices: each has one at least.",
            hint=f"--devices {count} is the most with these data.",
        )
    if isinstance(how, ByField):
        return deal_by_group(groups, devices, dice)
    return deal_by_label(labels, devices, how.alpha, dice)


def deal_by_group(groups: Sequence[str], devices: int, dice: np.random.Generator) -> list[Owned]:
    """Devices have examples of one group each, or, where there are fewer devices than groups, whole groups.

    A group's share of the devices is as large as its share of the examples.
    """
    members: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    dealt = [dice.permutation(members[group]) for group in sorted(members)]
    if devices <= len(dealt):
        hands: list[list[Owned]] = [[] for _ in range(devices)]
        for number, place in enumerate(dice.permutation(len(dealt))):
            hands[number % devices].append(dealt[place])
        return [np.sort(np.concatenate(hand)) for hand in hands]
    shares = np.ones(len(dealt), np.intp)
    sizes = np.array([len(part) for part in dealt])
    for _ in range(devices - len(dealt)):
        shares[int(np.argmax(sizes / shares))] += 1
    return [np.sort(part[at::share]) for part, share in zip(dealt, shares, strict=True) for at in range(share)]


def deal_by_label(labels: Sequence[int], devices: int, alpha: float, dice: np.random.Generator) -> list[Owned]:
    """Each device draws its examples by a mixture of its own, out of what is left.

    How many one has is geometric, with all examples dealt if none has more than `MOST_EXAMPLES`.
    """
    known = np.asarray(labels)
    names = np.unique(known)
    pools = [dice.permutation(np.flatnonzero(known == name)).tolist() for name in names]
    left = np.array([len(pool) for pool in pools])
    hands: list[Owned] = [np.empty(0, np.intp)] * devices
    sizes = _sizes(len(known), devices, dice)
    for device in dice.permutation(devices):
        mixture, hand = dice.dirichlet(np.full(len(names), alpha)), []
        for _ in range(sizes[device]):
            odds = mixture * (left > 0)
            if odds.sum() < 1e-12:  # of the labels that it would have nothing is left
                odds = left.astype(np.float64)
            place = int(dice.choice(len(names), p=odds / odds.sum()))
            hand.append(pools[place].pop())
            left[place] -= 1
        hands[device] = np.sort(np.array(hand, np.intp))
    return hands


def _sizes(examples: int, devices: int, dice: np.random.Generator) -> NDArray[np.intp]:
    most = min(examples, MOST_EXAMPLES * devices)
    sizes = np.minimum(dice.geometric(devices / most, devices), MOST_EXAMPLES)
    while (missing := most - int(sizes.sum())) != 0:
        for device in dice.integers(devices, size=abs(missing)):
            changed = sizes[device] + (1 if missing > 0 else -1)
            if 1 <= changed <= MOST_EXAMPLES:
                sizes[device] = changed
    return sizes
