"""Secure aggregation: a server learns the sum of many devices' updates and nothing else about any of them.

`Client` and `Server` are state machines over the messages of `wire`; `find` says how many neighbours and which
threshold are safe.
"""

from federation.secagg.client import Agreed, Client, MaskedUpdate
from federation.secagg.finder import Adversity, Choice, find
from federation.secagg.plan import Round, SecAggPlan
from federation.secagg.server import Server

__all__ = ["Adversity", "Agreed", "Choice", "Client", "MaskedUpdate", "Round", "SecAggPlan", "Server", "find"]
