"""How many neighbours and which threshold are safe for a cohort, and with what probability they fail.

The graph is the random regular one of `graph`; of the devices some are corrupt, some are lost. After Bell et
al. 2020, section 3 (theorems 3.6 to 3.10), all by exact hypergeometric tails and a union bound over the
devices:

- *together*: no device's corrupt neighbours can put its secrets together. With a server that does as it likes, they
  also can't with the help of honest ones of which some were told that the device is alive, and some that it was
  lost.
- *connected*: what is left of the graph holds together, so that masks hide all honest updates among one another.
- *complete*: enough neighbours of each device are left to open the sum.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from federation.errors import Malformed

__all__ = ["Adversity", "Choice", "failure", "find"]


@dataclass(frozen=True, slots=True)
class Adversity:
    """What is to be withstood.

    Attributes:
        cohort: Devices.
        corrupt: How many of them work with the server, at most.
        lost: How many may be lost, at most; an active server chooses which.
        active: Whether the server does as it likes, or only looks.
        roster: From how many the cohort was left; 0 is from just these.
        silent: How many may keep back their part of the graph's randomness, and so choose among graphs.
        security: Less than all may be opened together with a probability of 2^-security.
        completeness: A sum may be lost with a probability of 2^-completeness, where as many are lost by chance.
    """

    cohort: int
    corrupt: int
    lost: int
    active: bool = True
    roster: int = 0
    silent: int = 0
    security: int = 40
    completeness: int = 20

    @property
    def graphs(self) -> int:
        """Among how many graphs those that may be silent can choose."""
        roster = self.roster or self.cohort
        return sum(math.comb(roster, count) for count in range(self.silent + 1))


@dataclass(frozen=True, slots=True)
class Choice:
    """What was found.

    Attributes:
        neighbours: Of each device; even.
        threshold: How many of them put a secret together.
        exposed: Probability that an update may be opened, as a power of two.
        incomplete: Probability that a sum is lost, as a power of two.
    """

    neighbours: int
    threshold: int
    exposed: float
    incomplete: float


def find(adversity: Adversity, *others: Adversity) -> Choice:
    """The fewest neighbours that are safe, with the lowest threshold.

    Args:
        adversity: What is to be withstood.
        others: The same for other cohorts, which the same graph has to withstand too.

    Raises:
        Malformed: there is none for so few devices, or so many that are corrupt or lost.
    """
    every = (adversity, *others)
    for neighbours in range(2, min(one.cohort for one in every), 2):
        for threshold in range(neighbours // 2 + 1 if adversity.active else 2, neighbours + 1):
            failures = [failure(one, neighbours, threshold) for one in every]
            exposed, incomplete = (max(of_each) for of_each in zip(*failures, strict=True))
            if exposed <= -adversity.security and incomplete <= -adversity.completeness:
                return Choice(neighbours, threshold, exposed, incomplete)
            if incomplete > -adversity.completeness:
                break  # a higher threshold is lost more often
    raise Malformed(
        f"No graph is safe for {adversity.cohort:,} devices of which {adversity.corrupt:,} may be corrupt "
        f"and {adversity.lost:,} lost. Ask for a larger cohort."
    )


def failure(adversity: Adversity, neighbours: int, threshold: int) -> tuple[float, float]:
    """The probabilities that an update may be opened, and that a sum is lost, as powers of two (`-inf`: never)."""
    devices, others = adversity.cohort, adversity.cohort - 1
    corrupt, lost = adversity.corrupt, adversity.lost
    # Of k neighbours with x corrupt, an active server gets (k - x + 2x) answers for both of a device's secrets
    # together: it needs 2t.
    enough = max(1, 2 * threshold - neighbours) if adversity.active else threshold
    together = devices * _at_least(enough, others, corrupt, neighbours)
    apart = _apart(adversity, neighbours, threshold)
    left = devices * _at_most(threshold - 1, others, others - lost, neighbours)
    return _power((together + apart) * adversity.graphs), _power(left)


def _apart(adversity: Adversity, neighbours: int, threshold: int) -> Fraction:
    """Probability that those who are left fall apart: two gaps of k/2 in a row have to be on the circle.

    Who is lost doesn't depend on the graph, unless the server is active: that one can make gaps wherever it
    likes. But the seed of an honest device beside a gap is put together only with t neighbours that are left,
    of which k/2 at most are on its other side: so t - k/2 of those in the gap have to be corrupt, and as many
    in the gap at the other end. Two disjoint sets drawn from one are negatively associated, so the product
    bounds both.
    """
    devices, half = adversity.cohort, neighbours // 2
    missing = adversity.corrupt + adversity.lost
    if missing < 2 * half:
        return Fraction(0)
    if adversity.active:
        return (devices * _at_least(threshold - half, devices - 1, adversity.corrupt, half)) ** 2
    return math.comb(devices, 2) * _all_of(2 * half, devices, missing)


def _all_of(drawn: int, population: int, marked: int) -> Fraction:
    """Probability that all of so many places, none twice, are marked."""
    if drawn > marked:
        return Fraction(0)
    return Fraction(math.comb(population - drawn, marked - drawn), math.comb(population, marked))


def _at_least(least: int, population: int, marked: int, drawn: int) -> Fraction:
    """Probability that of so many drawn, none twice, at least so many are marked."""
    return sum((_just(count, population, marked, drawn) for count in range(least, drawn + 1)), Fraction(0))


def _at_most(most: int, population: int, marked: int, drawn: int) -> Fraction:
    """Probability that of so many drawn, none twice, at most so many are marked."""
    return sum((_just(count, population, marked, drawn) for count in range(most + 1)), Fraction(0))


@lru_cache(maxsize=1 << 16)
def _just(count: int, population: int, marked: int, drawn: int) -> Fraction:
    if count > marked or drawn - count > population - marked:
        return Fraction(0)
    ways = math.comb(marked, count) * math.comb(population - marked, drawn - count)
    return Fraction(ways, math.comb(population, drawn))


def _power(probability: Fraction) -> float:
    """The binary logarithm, also of numbers too small for a float."""
    if probability == 0:
        return -math.inf
    return math.log2(probability.numerator) - math.log2(probability.denominator)
