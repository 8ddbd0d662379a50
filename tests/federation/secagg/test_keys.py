"""What is derived from keys: something else for another purpose, graph, party, or direction."""

import pytest

from federation.errors import Refused
from federation.secagg.keys import agree, commitment, mask_key, open_sealed, pair_mask_key, public_half, seal

ONE, TWO, THREE = (bytes([number]) * 32 for number in (1, 2, 3))
VIEW, OTHER = b"v" * 32, b"w" * 32


def test_both_sides_agree_and_nobody_else() -> None:
    assert agree(ONE, public_half(TWO)) == agree(TWO, public_half(ONE)) != agree(THREE, public_half(ONE))
    with pytest.raises(Refused):
        agree(ONE, bytes(32))


def test_each_key_is_of_one_graph_one_purpose_and_its_parties_in_their_order() -> None:
    agreed = agree(ONE, public_half(TWO))
    keys = [
        pair_mask_key(agreed, VIEW, ONE, TWO),
        pair_mask_key(agreed, OTHER, ONE, TWO),
        pair_mask_key(agreed, VIEW, TWO, ONE),
        pair_mask_key(agreed, VIEW, ONE, THREE),
        mask_key(agreed, VIEW, ONE),
        mask_key(agreed, OTHER, ONE),
        mask_key(agreed, VIEW, TWO),
        commitment("seed", VIEW, ONE, agreed),
        commitment("seed", OTHER, ONE, agreed),
        commitment("nonce", VIEW, ONE, agreed),
    ]
    assert len(set(keys)) == len(keys)


def test_a_seal_is_opened_by_its_receiver_from_its_sender_in_its_graph() -> None:
    agreed = agree(ONE, public_half(TWO))
    sealed = seal(agreed, VIEW, ONE, TWO, b"shares")
    assert open_sealed(agreed, VIEW, ONE, TWO, sealed) == b"shares"
    for wrong in (
        (agreed, OTHER, ONE, TWO, sealed),
        (agreed, VIEW, TWO, ONE, sealed),
        (agree(THREE, public_half(TWO)), VIEW, ONE, TWO, sealed),
        (agreed, VIEW, ONE, TWO, bytes([sealed[0] ^ 1]) + sealed[1:]),
        (agreed, VIEW, ONE, TWO, sealed[:10]),
    ):
        assert open_sealed(*wrong) is None
