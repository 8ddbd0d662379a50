"""Where what was trained becomes the first of the four kinds of delta, from which all that may be sent is made.

RawDelta -> ClippedDelta -> NoisedDelta -> MaskedUpdate: the others' only sources are `federation.privacy.clip`,
`federation.privacy.add_noise` and `federation.secagg.Client.mask`.
"""

import numpy as np

from federation.privacy.clip import RawDelta
from fl_client.training.head_protocol import HeadOrder, HeadResult
from fl_client.training.program import finite_numbers
from fl_client.training.protocol import Order, Result

__all__ = ["delta_of", "weighted"]


def delta_of(order: Order | HeadOrder, result: Result | HeadResult) -> RawDelta:
    """What a training changed: the numbers that it made, less those that it began with.

    All kinds of adapters are linear in their numbers, so that the mean of many devices' deltas, added to what they
    all began with, is the adapter that is meant.

    Args:
        order: What was to be trained, from which numbers.
        result: What came of it, looked at.

    Raises:
        TrainingFailed: the result isn't one of this order's.
    """
    count = len(result.numbers) // 4
    after = finite_numbers(result.numbers, count).astype(np.float64)
    return RawDelta(after - finite_numbers(order.numbers, count) if order.numbers else after)


def weighted(delta: RawDelta, examples: int, most: int) -> RawDelta:
    """An update that counts as much as the examples that it was learned from: shorter, where there were fewer.

    The weight is within the clip: what is summed is a mean over devices, and no device tells how many it had.

    Args:
        delta: What training changed.
        examples: From how many.
        most: From so many on, it counts in full.
    """
    return RawDelta(delta.values * min(1.0, examples / most))
