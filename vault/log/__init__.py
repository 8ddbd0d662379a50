"""The transparency log: what was done with a person's data, in a form that nobody can change unnoticed.

Each entry is committed to by a leaf of an RFC 6962 Merkle tree whose head the device signs, so that every copy of
an old head catches a log that was edited, cut or reordered since. The public names are loaded when first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vault.log.entries import Action, Entry, Operation, Status, StoredEntry, fold
    from vault.log.export import verify_export
    from vault.log.transparency import InclusionProof, TransparencyLog
    from vault.log.verify import Verified

__all__ = [
    "Action",
    "Entry",
    "InclusionProof",
    "Operation",
    "Status",
    "StoredEntry",
    "TransparencyLog",
    "Verified",
    "fold",
    "verify_export",
]

_HOMES = {
    "Action": "entries",
    "Entry": "entries",
    "InclusionProof": "transparency",
    "Operation": "entries",
    "Status": "entries",
    "StoredEntry": "entries",
    "TransparencyLog": "transparency",
    "Verified": "verify",
    "fold": "entries",
    "verify_export": "export",
}


def __getattr__(name: str) -> object:
    if module := _HOMES.get(name):
        return getattr(importlib.import_module(f"vault.log.{module}"), name)
    raise AttributeError(f"module 'vault.log' has no attribute {name!r}")
