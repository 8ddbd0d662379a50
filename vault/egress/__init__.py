"""The one door out: every byte that leaves this device, and every byte fetched from another, passes here.

The door knows the purpose, the destination, the data class and the consent of each request, and asks four things
before it lets one pass: do our rules allow it (`vault.egress.request`), is nothing paused (`vault.pause`), is there
room in the day's budget (`vault.budget`), and has the transparency log taken it down (`vault.egress.journal`)? A
pause, and a lock of the vault, also end what is under way (`vault.egress.stop`).

The door speaks https alone (TLS 1.3 or newer, pinned keys where the destination is pinned), takes no proxy,
credentials or cookies from the environment or from a server, follows a redirect only where the request allows it,
and gives a credential to the origin it was meant for and to no other.

No other module of the device imports a network client or reaches behind the names exported here, and none makes
sockets, starts programs or hides what it imports but those that are listed with the reason;
`tests/vault/test_egress_alone.py` reads the tree to find mistakes. The public names are loaded when first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vault.egress.blocking import Egress
    from vault.egress.door import AsyncEgress
    from vault.egress.journal import Departure, EgressJournal, Journal, Prepared
    from vault.egress.request import COMMAND, Purpose, Reply, Request
    from vault.pinning import Pin
    from vault.transfer import Answer, Transfer

__all__ = [
    "COMMAND",
    "Answer",
    "AsyncEgress",
    "Departure",
    "Egress",
    "EgressJournal",
    "Journal",
    "Pin",
    "Prepared",
    "Purpose",
    "Reply",
    "Request",
    "Transfer",
]

_HOMES = {
    "COMMAND": "vault.egress.request",
    "Answer": "vault.transfer",
    "AsyncEgress": "vault.egress.door",
    "Departure": "vault.egress.journal",
    "Egress": "vault.egress.blocking",
    "EgressJournal": "vault.egress.journal",
    "Journal": "vault.egress.journal",
    "Pin": "vault.pinning",
    "Prepared": "vault.egress.journal",
    "Purpose": "vault.egress.request",
    "Reply": "vault.egress.request",
    "Request": "vault.egress.request",
    "Transfer": "vault.transfer",
}


def __getattr__(name: str) -> object:
    if module := _HOMES.get(name):
        return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'vault.egress' has no attribute {name!r}")
