"""What taking part costs in privacy: Rényi differential privacy of the Skellam mechanism, composed and converted.

The neighbouring case: one device's updates are there, or zeros are in their place (the device's noise is there
in both). Nothing is claimed for chance in who takes part: a device's participations all count in full.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from federation.errors import Malformed

__all__ = ["ORDERS", "Sensitivity", "epsilon", "gaussian_rdp", "skellam_rdp"]

ORDERS = (*range(2, 65), *range(68, 129, 4), *range(136, 513, 8), *range(576, 2049, 64), 4096, 8192)
"""The orders α that are tried; whole numbers, for which the bound is proven."""


class Sensitivity(NamedTuple):
    """How much one device can change a sum of integer vectors.

    Attributes:
        l1: In the L1 norm.
        l2_squared: In the L2 norm, squared.
    """

    l1: float
    l2_squared: float

    @classmethod
    def of(cls, l2_squared: float, dimension: int) -> "Sensitivity":
        """Of integer vectors of a bounded L2 norm: each entry is at most its own square, and Cauchy-Schwarz."""
        return cls(min(l2_squared, math.sqrt(l2_squared * dimension)), l2_squared)


def skellam_rdp(order: int, sensitivity: Sensitivity, variance: float) -> float:
    """Rényi divergence of order α of a sum with Skellam noise (Agarwal, Kairouz, Liu 2021, theorem 3.5).

    Args:
        order: α, a whole number above 1.
        sensitivity: Of the sum.
        variance: Of the noise in the sum.
    """
    gaussian = gaussian_rdp(order, sensitivity, variance)
    more = ((2 * order - 1) * sensitivity.l2_squared + 6 * sensitivity.l1) / (4 * variance**2)
    return gaussian + min(more, 3 * sensitivity.l1 / (2 * variance))


def gaussian_rdp(order: float, sensitivity: Sensitivity, variance: float) -> float:
    """The same with Gaussian noise (Mironov 2017, proposition 7), which Skellam noise approaches as it grows."""
    return order * sensitivity.l2_squared / (2 * variance)


def epsilon(rdp: Sequence[float], delta: float, orders: Sequence[float] = ORDERS) -> float:
    """The ε of (ε, δ)-differential privacy (Canonne, Kamath, Steinke 2020, proposition 12).

    Args:
        rdp: The divergence at each order, summed over all participations.
        delta: δ, above 0 and below 1.
        orders: The orders.
    """
    if not 0 < delta < 1:
        raise Malformed("δ is a probability above 0 and below 1.")
    found = min(
        divergence + math.log1p(-1 / order) - math.log(delta * order) / (order - 1)
        for order, divergence in zip(orders, rdp, strict=True)
    )
    if not math.isfinite(found):
        raise Malformed("The cost in privacy can't be computed from such numbers.")
    return max(0.0, found)
