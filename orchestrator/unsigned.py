"""Limits for requests that nobody signed: of one address, and of all. Signed ones are counted by device.

Each replica counts for itself, in memory: it is about its own time, and what is forgotten at its end is no harm.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

from orchestrator.errors import TooMuch

__all__ = ["Unsigned"]

_MINUTE_S = 60.0
_ADDRESSES = 10_000
_HOST_BITS = 64
"""Of an IPv6 address: whoever has one has all of them."""


class Unsigned:
    """Counts requests. Whoever was quiet for a minute may make a minute's requests at once.

    Args:
        of_address: How many a minute one address may make; 0 sets no limit. Behind a load balancer all requests
            have its address.
        of_all: How many a minute all may make together.
        now: Seconds, from any beginning.
    """

    def __init__(self, of_address: int, of_all: int, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self.limit(of_address=of_address, of_all=of_all)

    def limit(self, *, of_address: int, of_all: int) -> None:
        """Begin anew with other limits."""
        self._of_address = of_address
        self._of_all = of_all
        self._all = 0.0
        self._addresses: OrderedDict[str, float] = OrderedDict()

    def count(self, host: str) -> None:
        """One more request.

        Args:
            host: The address that it came from.

        Raises:
            TooMuch: it is one too many.
        """
        now = self._now()
        if self._of_address:
            address = _network(host)
            self._addresses[address] = _next(self._addresses.get(address, 0.0), now, self._of_address)
            self._addresses.move_to_end(address)
            if len(self._addresses) > _ADDRESSES:
                self._addresses.popitem(last=False)
        self._all = _next(self._all, now, self._of_all)


def _next(full_at: float, now: float, a_minute: int) -> float:
    """When all that was asked for is earned, at so many a minute, with this request (GCRA, ITU-T I.371).

    Raises:
        TooMuch: more than a minute from now.
    """
    then = max(full_at, now) + _MINUTE_S / a_minute
    if then - now > _MINUTE_S * (1 + 1e-9):
        raise TooMuch("Too many requests that no device signed come from there.", hint="Try again in a minute.")
    return then


def _network(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host  # a socket's name
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((address, _HOST_BITS), strict=False))
    return str(address)
