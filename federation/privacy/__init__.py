"""Distributed differential privacy: updates become integers with noise, and what their sum tells is bounded.

`clip` and `add_noise` make the kinds of delta that may go on; `plan_for` finds the noise for a wished ε, and
`forecast` says what comes of it.
"""

from federation.privacy.clip import ClippedDelta, RawDelta, clip
from federation.privacy.noise import NoisedDelta, add_noise, mean_of
from federation.privacy.plan import PrivacyPlan
from federation.privacy.planner import Forecast, Wish, forecast, plan_for

__all__ = [
    "ClippedDelta",
    "Forecast",
    "NoisedDelta",
    "PrivacyPlan",
    "RawDelta",
    "Wish",
    "add_noise",
    "clip",
    "forecast",
    "mean_of",
    "plan_for",
]
