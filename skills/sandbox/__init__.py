"""Walls around programs that aren't to be trusted, and around our own child processes.

`run` runs one call of one program behind the best walls that work here (`best`): no network, no files but those
that it is given, nothing that lasts. `confine_to_descriptors` has a process of ours give up, for good, all but
computing and the descriptors it already holds.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from skills.sandbox.job import PYTHON, Ended, Job, Limits, Outcome, Progress
    from skills.sandbox.run import run
    from skills.sandbox.seccomp import confine_to_descriptors
    from skills.sandbox.syscalls import Unsupported
    from skills.sandbox.tiers import best

__all__ = [
    "PYTHON",
    "Ended",
    "Job",
    "Limits",
    "Outcome",
    "Progress",
    "Unsupported",
    "best",
    "confine_to_descriptors",
    "run",
]

_HOMES = {
    **dict.fromkeys(("PYTHON", "Ended", "Job", "Limits", "Outcome", "Progress"), "job"),
    "Unsupported": "syscalls",
    "best": "tiers",
    "confine_to_descriptors": "seccomp",
    "run": "run",
}


def __getattr__(name: str) -> object:
    # What is being confined needs a few of the modules, and none of their imports.
    if module := _HOMES.get(name):
        import importlib

        return getattr(importlib.import_module(f"skills.sandbox.{module}"), name)
    raise AttributeError(f"module 'skills.sandbox' has no attribute {name!r}")
