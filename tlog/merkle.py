"""The Merkle tree of RFC 6962 (section 2.1): hashing, appending, inclusion and consistency proofs.

Leaves and nodes are hashed with different first bytes, so that neither can pose as the other. Proofs are made over
a sequence of leaf hashes and verified by the algorithms of RFC 9162, sections 2.1.3.2 and 2.1.4.2.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "Frontier",
    "Head",
    "consistency_proof",
    "inclusion_proof",
    "leaf_hash",
    "node_hash",
    "root_of",
    "verify_consistency",
    "verify_inclusion",
]

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


class Head(NamedTuple):
    """The head of a tree: with it, everything below is fixed.

    Attributes:
        size: How many leaves.
        root: 32 bytes.
    """

    size: int
    root: bytes


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf: SHA-256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """All that appending needs: the roots of the perfect subtrees under the right edge, the largest first.

    There is one for each bit that is set in `size`; an append touches at most log2(size) of them.

    Args:
        size: How many leaves there are.
        subtrees: Their perfect subtrees' roots.

    Raises:
        ValueError: there are more or fewer roots than that size has, or they aren't hashes.
    """

    __slots__ = ("_subtrees", "size")

    def __init__(self, size: int = 0, subtrees: Iterable[bytes] = ()) -> None:
        self.size = size
        self._subtrees = list(subtrees)
        if size < 0 or len(self._subtrees) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves doesn't have {len(self._subtrees)} perfect subtrees")
        if any(len(root) != HASH_BYTES for root in self._subtrees):
            raise ValueError(f"a hash has {HASH_BYTES} bytes")

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> "Frontier":
        """What `to_bytes` made; `size` is kept beside it.

        Raises:
            ValueError: the bytes aren't a frontier of a tree of that size.
        """
        return cls(size, (data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)))

    def to_bytes(self) -> bytes:
        """The roots, one behind the other: 32 bytes each."""
        return b"".join(self._subtrees)

    def append(self, leaf: bytes) -> None:
        """Add the hash of a leaf."""
        carried, level = leaf, self.size
        while level & 1:
            carried = node_hash(self._subtrees.pop(), carried)
            level >>= 1
        self._subtrees.append(carried)
        self.size += 1

    @property
    def root(self) -> bytes:
        """The root of the whole tree."""
        if not self._subtrees:
            return EMPTY_ROOT
        *left, root = self._subtrees
        for subtree in reversed(left):
            root = node_hash(subtree, root)
        return root

    @property
    def head(self) -> Head:
        """Size and root."""
        return Head(self.size, self.root)


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes (RFC 6962's MTH)."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes that lead from a leaf to the root, the leaf's sibling first (RFC 6962's PATH).

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise ValueError(f"a tree of {len(leaves)} leaves has no leaf {index}")
    path = []
    low, high = 0, len(leaves)
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(root_of(leaves[middle:high]))
            high = middle
        else:
            path.append(root_of(leaves[low:middle]))
            low = middle
    return path[::-1]


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """The hashes that show that the first `old_size` leaves are still the same (RFC 6962's PROOF).

    Raises:
        ValueError: the tree never had that size.
    """
    if not 0 <= old_size <= len(leaves):
        raise ValueError(f"a tree of {len(leaves)} leaves never had {old_size}")
    if old_size == 0:
        return []
    path = []
    low, high = 0, len(leaves)
    while high != old_size:
        middle = low + _split(high - low)
        if old_size <= middle:
            path.append(root_of(leaves[middle:high]))
            high = middle
        else:
            path.append(root_of(leaves[low:middle]))
            low = middle
    if low:  # else the old root itself, which the verifier has
        path.append(root_of(leaves[low:high]))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, path: Sequence[bytes], head: Head) -> bool:
    """Whether `path` leads from a leaf hash at `index` to `head` (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < head.size:
        return False
    at, last, root = index, head.size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            root = node_hash(sibling, root)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and root == head.root


def verify_consistency(old: Head, new: Head, path: Sequence[bytes]) -> bool:
    """Whether `path` shows that the tree of head `new` begins with that of `old` (RFC 9162, section 2.1.4.2)."""
    if not 0 <= old.size <= new.size:
        return False
    if old.size == 0:
        return not path and old.root == EMPTY_ROOT
    if old.size == new.size:
        return not path and old.root == new.root
    if old.size.bit_count() == 1:
        path = [old.root, *path]
    if not path:
        return False
    at, last = old.size - 1, new.size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old_root = new_root = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old_root, new_root = node_hash(sibling, old_root), node_hash(sibling, new_root)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            new_root = node_hash(new_root, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and (old_root, new_root) == (old.root, new.root)


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << ((count - 1).bit_length() - 1)
