"""Append-only logs that nobody can change unnoticed: the Merkle trees of RFC 6962, and the signed notes of C2SP.

Pure, and of use to both ends: the vault's transparency log and a federation's log of releases are such logs.
"""

from tlog.errors import BadNote
from tlog.merkle import Head
from tlog.note import Checkpoint, Signer, Verifier

__all__ = ["BadNote", "Checkpoint", "Head", "Signer", "Verifier"]
