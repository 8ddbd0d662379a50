"""The first two of the four kinds of delta: what was trained, and what was cut to a length that all agreed to."""

from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from federation.errors import Malformed
from federation.privacy.plan import PrivacyPlan

__all__ = ["ClippedDelta", "MadeInOnePlace", "RawDelta", "clip"]

_HERE: Final = object()


class MadeInOnePlace:
    """What only one function makes: it has no descendants, and no copy that didn't come from there."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, name):
            raise TypeError(f"A {type(self).__name__} is never changed.")
        object.__setattr__(self, name, value)

    def __init_subclass__(cls) -> None:
        if MadeInOnePlace not in cls.__bases__:
            raise TypeError(f"Nothing can be derived from {cls.__bases__[0].__name__}.")

    def __reduce__(self) -> str:
        raise TypeError(f"A {type(self).__name__} is neither copied nor written down.")


_ROUNDING = 1 - 1e-9
"""Keeps floating point from ending up a hair above the clip norm."""


@final
class RawDelta:
    """What training changed; it stays on the device.

    Args:
        values: Shape (parameters,), finite.

    Raises:
        Malformed: it holds something else than finite numbers in one row.

    Attributes:
        values: `float64`, not to be written.
    """

    __slots__ = ("values",)

    def __init__(self, values: NDArray[np.floating]) -> None:
        kept = np.array(values, np.float64)
        if kept.ndim != 1 or not np.all(np.isfinite(kept)):
            raise Malformed("An update is one row of finite numbers.")
        kept.setflags(write=False)
        self.values: Final = kept


@final
class ClippedDelta(MadeInOnePlace):
    """An update of a bounded length. Only `clip` makes one.

    Attributes:
        values: Shape (parameters,), `float64`, of an L2 norm of at most the plan's clip.
    """

    __slots__ = ("values",)

    def __init__(self, values: NDArray[np.float64], made_here: object) -> None:
        if made_here is not _HERE:
            raise TypeError("A ClippedDelta is made by clip(), of a RawDelta, and in no other way.")
        # Over bytes, which nobody can make writable again.
        self.values: Final[NDArray[np.float64]] = np.frombuffer(values.tobytes(), np.float64)


def clip(raw: RawDelta, plan: PrivacyPlan) -> ClippedDelta:
    """Shorten an update to the plan's clip norm, if it is longer.

    Raises:
        Malformed: it has another number of parameters than the plan.
    """
    if raw.values.size != plan.parameters:
        raise Malformed(f"The update has {raw.values.size:,} numbers; the plan is about {plan.parameters:,}.")
    largest = float(np.max(np.abs(raw.values)))
    if largest == 0:
        return ClippedDelta(np.zeros_like(raw.values), _HERE)
    scaled = raw.values / largest  # squares neither overflow nor vanish
    norm = float(np.linalg.norm(scaled))
    return ClippedDelta(scaled * min(largest, plan.clip * _ROUNDING / norm), _HERE)
