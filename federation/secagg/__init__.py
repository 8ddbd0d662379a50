"""Secure aggregation: a server learns the sum of many devices' updates and nothing else about any of them.

`Client` and `Server` are state machines over the messages of `wire`; `find` says how many neighbours and which
threshold are safe. The names are loaded when first used: a plan needs some of them, and a client needs a plan.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from federation.secagg.client import Agreed, Client, MaskedUpdate
    from federation.secagg.finder import Adversity, Choice, find
    from federation.secagg.plan import Round, SecAggPlan
    from federation.secagg.server import Server

__all__ = ["Adversity", "Agreed", "Choice", "Client", "MaskedUpdate", "Round", "SecAggPlan", "Server", "find"]

_HOMES = {
    "Adversity": "finder",
    "Agreed": "client",
    "Choice": "finder",
    "Client": "client",
    "MaskedUpdate": "client",
    "Round": "plan",
    "SecAggPlan": "plan",
    "Server": "server",
    "find": "finder",
}


def __getattr__(name: str) -> object:
    if module := _HOMES.get(name):
        return getattr(importlib.import_module(f"federation.secagg.{module}"), name)
    raise AttributeError(f"module 'federation.secagg' has no attribute {name!r}")
