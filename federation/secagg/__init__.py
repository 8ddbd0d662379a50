"""Secure aggregation: a server learns the sum of many devices' updates and nothing else about any of them.

`Client` and `Server` are state machines over messages; `finder` says how many neighbours and which threshold
are safe.
"""

__all__: list[str] = []
