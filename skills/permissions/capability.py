"""Capabilities: short-lived proofs that one very call was permitted.

A capability names the tool, the resources and the digest of the arguments and of what they stand on, says how often
and until when it counts, and carries an HMAC-SHA256 under a key that lives in the broker's memory alone. It goes
from the one who decides to the one who acts, both of this process: never into a sandbox, never to a model.
"""

import hmac
import secrets
import time
from collections.abc import Callable

import msgspec

from skills.errors import CapabilityRefused

__all__ = ["MOST_SECONDS", "Capability", "Mint"]

MOST_SECONDS = 300.0
"""No capability counts for longer."""
_KEY_BYTES = 32
_KEPT = 1_000


class Capability(msgspec.Struct, frozen=True):
    """A proof that a call was permitted.

    Attributes:
        id: Names it.
        tool: Of the call.
        resources: That the call is about.
        digest: Of the call's arguments, and of what they stand on.
        count: How often it may be used.
        until: When it ends, on the clock of `time.monotonic`.
        tag: HMAC-SHA256 over all that, 32 bytes.
    """

    id: bytes
    tool: str
    resources: tuple[str, ...]
    digest: str
    count: int
    until: float
    tag: bytes = b""

    def __repr__(self) -> str:
        return f"<Capability for {self.tool}>"


class Mint:
    """Makes capabilities and takes them back.

    Args:
        clock: In seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = secrets.token_bytes(_KEY_BYTES)
        self._clock = clock
        self._used: dict[bytes, tuple[int, float]] = {}
        self._forget_at = _KEPT

    def make(
        self, tool: str, resources: tuple[str, ...], digest: str, *, count: int = 1, seconds: float = 60.0
    ) -> Capability:
        """A capability for a call; it counts for at most `MOST_SECONDS`."""
        until = self._clock() + min(seconds, MOST_SECONDS)
        bare = Capability(secrets.token_bytes(16), tool, resources, digest, count, until)
        return msgspec.structs.replace(bare, tag=self._tag(bare))

    def spend(self, capability: Capability, tool: str, resources: tuple[str, ...], digest: str) -> None:
        """Use a capability once, for what is about to be done.

        Raises:
            CapabilityRefused: it wasn't made here, isn't for this call, is too old or used up.
        """
        bare = msgspec.structs.replace(capability, tag=b"")
        if not hmac.compare_digest(self._tag(bare), capability.tag):
            raise CapabilityRefused("That capability wasn't made here.")
        if (capability.tool, capability.resources, capability.digest) != (tool, resources, digest):
            raise CapabilityRefused("That capability is for another call.")
        now = self._clock()
        if now >= capability.until:
            raise CapabilityRefused("That capability is too old.")
        used, _ = self._used.get(capability.id, (0, 0.0))
        if used >= capability.count:
            raise CapabilityRefused("That capability is used up.")
        if len(self._used) >= self._forget_at:
            self._used = {name: use for name, use in self._used.items() if use[1] > now}
            self._forget_at = max(_KEPT, 2 * len(self._used))  # so that looking through them stays rare
        self._used[capability.id] = (used + 1, capability.until)

    def revoke(self) -> None:
        """Let no capability that was made so far count any more."""
        self._key = secrets.token_bytes(_KEY_BYTES)
        self._used.clear()

    def _tag(self, bare: Capability) -> bytes:
        return hmac.digest(self._key, msgspec.msgpack.encode(bare), "sha256")
