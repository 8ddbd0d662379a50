"""A small process that holds the unlocked master key, so that later commands of this person need no passphrase.

It answers at a Unix socket that only its owner can reach, to processes of the same user alone, and ends with the
key when the vault locks. `KeyHolder` is how the rest of the program sees it.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vault.holder.client import KeyHolder
    from vault.holder.protocol import Held

__all__ = ["Held", "KeyHolder"]

_HOMES = {"Held": "protocol", "KeyHolder": "client"}


def __getattr__(name: str) -> object:
    # The process itself needs neither: it starts faster, and is smaller, without.
    if module := _HOMES.get(name):
        return getattr(importlib.import_module(f"vault.holder.{module}"), name)
    raise AttributeError(f"module 'vault.holder' has no attribute {name!r}")
