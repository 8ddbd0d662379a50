"""When learning may use this machine, and how much of it: the limits of `[limits]`, judged against what is so now.

One module a probe; each is told where to look, believes nothing of what it reads there, and says so where it can't
tell. What nobody can tell doesn't hold. `judge` puts them together, `watch` keeps asking while something trains.
"""

from fl_client.limits.judge import Limits, Reading, Spent
from fl_client.limits.sources import Sources
from fl_client.limits.watch import LimitWatch

__all__ = ["LimitWatch", "Limits", "Reading", "Sources", "Spent"]
