"""What is said to the process that holds the key, and what it answers: one request and one answer a connection.

The key itself is in no message: its bytes follow a `Setup` and a `Key` as they are, from one pinned page into
another, so that no copy of them is left in Python's memory.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from vault.lock import LockLimits

__all__ = [
    "HELD_BYTES",
    "MOST_BYTES",
    "MOST_SETUP_BYTES",
    "VERSION",
    "Done",
    "Get",
    "Held",
    "Key",
    "Lock",
    "Refused",
    "Reply",
    "Request",
    "Setup",
    "Status",
    "Touch",
]

VERSION = 1
HELD_BYTES = 32
"""Length of the key that follows a message."""
MOST_BYTES = 512
"""Largest request and reply."""
MOST_SETUP_BYTES = 64 * 1024

_VaultId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]


class Setup(msgspec.Struct, frozen=True, tag="setup", forbid_unknown_fields=True):
    """The first and only message on the process's standard input; the key follows.

    Attributes:
        vault_id: The vault whose key it is.
        vault: The vault's folder; when that is gone, so is the key.
        data: The person's data folder, in which a lock is told.
        address: Where to answer; its folder is there and private.
        limits: How long the key may stay.
    """

    vault_id: _VaultId
    vault: str
    data: str
    address: str
    limits: LockLimits


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int = VERSION


class Get(_Request, frozen=True, tag="get", kw_only=True):
    """Asks for the key of a vault. Answered by `Key`, or `Refused` if it is another vault's."""

    vault_id: _VaultId


class Touch(_Request, frozen=True, tag="touch"):
    """Says that the person is there: the time until the key goes begins anew. Answered by `Held`."""


class Status(_Request, frozen=True, tag="status"):
    """Asks how long the key stays. Answered by `Held`."""


class Lock(_Request, frozen=True, tag="lock"):
    """Ends the process, whatever the version. Answered by `Done` when the key is wiped."""


Request = Get | Touch | Status | Lock


class Key(msgspec.Struct, frozen=True, tag="key"):
    """The key follows."""


class Held(msgspec.Struct, frozen=True, tag="held"):
    """A key is held.

    Attributes:
        vault_id: Of this vault.
        left_s: Seconds until it goes if it isn't used; `None` if it stays until the vault is locked.
        hardened: Whether the process leaves no core dump.
        pinned: Whether the key is kept out of swap.
    """

    vault_id: str
    left_s: float | None
    hardened: bool
    pinned: bool


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The key is wiped."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Nothing was done: another version's request, another vault's key, or another process holds it already."""

    why: Literal["version", "vault", "held"]


Reply = Key | Held | Done | Refused
