"""The Merkle tree, against published vectors and the definitions of RFC 6962 written out."""

import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tlog.merkle import (
    EMPTY_ROOT,
    Frontier,
    Head,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# The reference tree of certificate transparency (transparency-dev/merkle, testonly/).
DATA = [
    *("", "00", "10", "2021", "3031", "40414243", "5051525354555657"),
    "606162636465666768696a6b6c6d6e6f",
]
LEAVES = [leaf_hash(bytes.fromhex(data)) for data in DATA]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAF_0 = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
LEAF_1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
LEAF_4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
NODE_0_1 = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
NODE_2_3 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
NODE_4_5 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
NODE_6_7 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
NODE_0_3 = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
NODE_4_7 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
INCLUSION = [
    (0, 1, []),
    (0, 2, [LEAF_1]),
    (1, 2, [LEAF_0]),
    (2, 3, [NODE_0_1]),
    (1, 5, [LEAF_0, NODE_2_3, LEAF_4]),
    (0, 8, [LEAF_1, NODE_2_3, NODE_4_7]),
    (5, 8, [LEAF_4, NODE_6_7, NODE_0_3]),
]
CONSISTENCY = [
    (1, 1, []),
    (1, 8, [LEAF_1, NODE_2_3, NODE_4_7]),
    (2, 5, [NODE_2_3, LEAF_4]),
    (6, 8, [NODE_4_5, NODE_6_7, NODE_0_3]),
]


def head(size: int) -> Head:
    return Head(size, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize("size", range(9))
def test_the_reference_tree_has_its_published_roots(size: int) -> None:
    assert root_of(LEAVES[:size]).hex() == ROOTS[size]


def test_a_frontier_grows_through_the_published_roots() -> None:
    frontier = Frontier()
    assert frontier.head == head(0)
    for size, leaf in enumerate(LEAVES, start=1):
        frontier.append(leaf)
        assert frontier.head == head(size)
        frontier = Frontier.from_bytes(size, frontier.to_bytes())
    assert len(frontier.to_bytes()) == 32


@pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
def test_inclusion_proofs_are_the_published_ones(index: int, size: int, path: list[str]) -> None:
    made = inclusion_proof(LEAVES[:size], index)
    assert [step.hex() for step in made] == path
    assert verify_inclusion(LEAVES[index], index, made, head(size))


@pytest.mark.parametrize(("old", "new", "path"), CONSISTENCY)
def test_consistency_proofs_are_the_published_ones(old: int, new: int, path: list[str]) -> None:
    made = consistency_proof(LEAVES[:new], old)
    assert [step.hex() for step in made] == path
    assert verify_consistency(head(old), head(new), made)


# RFC 6962, section 2.1, word for word.


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(d: list[bytes]) -> bytes:
    if not d:
        return sha(b"")
    if len(d) == 1:
        return sha(b"\x00" + d[0])
    k = split(len(d))
    return sha(b"\x01" + mth(d[:k]) + mth(d[k:]))


def path_of(m: int, d: list[bytes]) -> list[bytes]:
    if len(d) == 1:
        return []
    k = split(len(d))
    if m < k:
        return [*path_of(m, d[:k]), mth(d[k:])]
    return [*path_of(m - k, d[k:]), mth(d[:k])]


def subproof(m: int, d: list[bytes], known: bool) -> list[bytes]:
    if m == len(d):
        return [] if known else [mth(d)]
    k = split(len(d))
    if m <= k:
        return [*subproof(m, d[:k], known), mth(d[k:])]
    return [*subproof(m - k, d[k:], False), mth(d[:k])]


TREES = st.lists(st.binary(max_size=4), min_size=1, max_size=70)


@given(TREES)
def test_roots_are_those_of_the_definition(data: list[bytes]) -> None:
    leaves = [leaf_hash(item) for item in data]
    assert root_of(leaves) == mth(data)
    frontier = Frontier()
    for leaf in leaves:
        frontier = Frontier.from_bytes(frontier.size, frontier.to_bytes())
        frontier.append(leaf)
    assert frontier.head == Head(len(data), mth(data))


@given(TREES, st.data())
def test_inclusion_proofs_are_those_of_the_definition(data: list[bytes], draw: st.DataObject) -> None:
    index = draw.draw(st.integers(0, len(data) - 1))
    leaves = [leaf_hash(item) for item in data]
    path = inclusion_proof(leaves, index)
    assert path == path_of(index, data)
    assert verify_inclusion(leaves[index], index, path, Head(len(data), mth(data)))


@given(TREES, st.data())
def test_consistency_proofs_are_those_of_the_definition(data: list[bytes], draw: st.DataObject) -> None:
    old = draw.draw(st.integers(1, len(data)))
    path = consistency_proof([leaf_hash(item) for item in data], old)
    assert path == subproof(old, data, True)
    assert verify_consistency(Head(old, mth(data[:old])), Head(len(data), mth(data)), path)


@pytest.mark.parametrize("size", range(1, 20))
def test_an_inclusion_proof_holds_for_its_own_leaf_place_and_head_alone(size: int) -> None:
    leaves = [leaf_hash(bytes([n])) for n in range(size)]
    whole = Head(size, root_of(leaves))
    for index in range(size):
        path = inclusion_proof(leaves, index)
        for other in (*range(size), -1, size):
            assert verify_inclusion(leaves[index], other, path, whole) == (other == index)
        assert not verify_inclusion(leaf_hash(b"another"), index, path, whole)
        assert not verify_inclusion(leaves[index], index, path, Head(size, EMPTY_ROOT))
        assert not verify_inclusion(leaves[index], index, [*path, EMPTY_ROOT], whole)
        if path:
            assert not verify_inclusion(leaves[index], index, path[:-1], whole)
            assert not verify_inclusion(leaves[index], index, path[1:], whole)


@pytest.mark.parametrize("new", range(20))
def test_a_consistency_proof_holds_for_its_own_heads_alone(new: int) -> None:
    leaves = [leaf_hash(bytes([n])) for n in range(new)]
    after = Head(new, root_of(leaves))
    for old in range(new + 1):
        before = Head(old, root_of(leaves[:old]))
        path = consistency_proof(leaves, old)
        assert verify_consistency(before, after, path)
        assert not verify_consistency(Head(old, bytes(32)), after, path)
        assert not verify_consistency(before, after, [*path, EMPTY_ROOT])
        if 0 < old < new:
            assert not verify_consistency(before, Head(new, bytes(32)), path)
            assert not verify_consistency(before, after, path[:-1])
            assert not verify_consistency(after, before, path)
            changed = [leaf_hash(b"changed"), *leaves[1:]]
            assert not verify_consistency(before, Head(new, root_of(changed)), consistency_proof(changed, old))


def test_a_leaf_made_of_two_hashes_is_not_their_parent() -> None:
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != root_of(LEAVES[:2])


@pytest.mark.parametrize("index", [-1, 8, 9])
def test_there_is_no_proof_for_what_is_not_there(index: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(LEAVES, index)


@pytest.mark.parametrize("old", [-1, 9])
def test_there_is_no_proof_for_a_size_that_never_was(old: int) -> None:
    with pytest.raises(ValueError, match="never had"):
        consistency_proof(LEAVES, old)


@given(st.integers(-5, 300), st.one_of(st.binary(max_size=200), st.integers(0, 8).map(lambda n: bytes(32 * n))))
@example(-1, bytes(32))
@example(2, bytes(31))
@example(3, bytes(63))
def test_bytes_are_a_frontier_of_that_size_or_refused(size: int, data: bytes) -> None:
    try:
        frontier = Frontier.from_bytes(size, data)
    except ValueError:
        return
    assert len(data) == 32 * size.bit_count()
    assert (frontier.size, frontier.to_bytes()) == (size, data)


@given(
    st.binary(max_size=40),
    st.integers(-3, 2**70),
    st.lists(st.binary(max_size=40), max_size=80),
    st.integers(-3, 2**70),
    st.integers(-3, 2**70),
)
def test_no_made_up_proof_is_more_than_refused(
    root: bytes, index: int, path: list[bytes], old: int, new: int
) -> None:
    assert not verify_inclusion(root, index, path, Head(new, EMPTY_ROOT))
    if old:
        assert not verify_consistency(Head(old, root), Head(new, EMPTY_ROOT), path)
