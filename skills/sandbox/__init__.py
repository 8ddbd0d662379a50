"""Walls around our own child processes.

`confine_to_descriptors` gives up, for good, everything but computing and the descriptors a process already holds.
"""

from skills.sandbox.seccomp import Unsupported, confine_to_descriptors

__all__ = ["Unsupported", "confine_to_descriptors"]
