"""Digests and signatures: none stands for anything else, and nobody signs but who holds the key."""

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from federation.digests import digest, is_signed, sign

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()

NOTHING = b"\x01" + bytes(63)
"""A signature that takes no key: the neutral point, and the number zero."""
SMALL_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    *(bytes([low]) + b"\xff" * 30 + b"\x7f" for low in (0xEC, 0xED, 0xEE)),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
]


def test_parts_can_not_run_together_and_a_purpose_is_a_part_of_what_is_signed() -> None:
    assert len({digest("a", b"b", b"c"), digest("a", b"bc"), digest("ab", b"c"), digest("a", b"b", b"c", b"")}) == 4
    signature = sign(KEY, "advertise", b"one", b"two")
    assert is_signed(PUBLIC, signature, "advertise", b"one", b"two")
    assert not is_signed(PUBLIC, signature, "upload", b"one", b"two")
    assert not is_signed(PUBLIC, signature, "advertise", b"onetwo")
    assert not is_signed(PUBLIC, signature[:-1], "advertise", b"one", b"two")
    assert not is_signed(PUBLIC[:-1], signature, "advertise", b"one", b"two")


def verifies(key: bytes, message: bytes) -> bool:
    """What the library says of a signature that nobody made."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(NOTHING, digest("advertise", message))
    except (InvalidSignature, ValueError):
        return False
    return True


@pytest.mark.parametrize("key", [*SMALL_ORDER, *(key[:31] + bytes([key[31] | 0x80]) for key in SMALL_ORDER)])
def test_keys_of_small_order_that_anybody_can_sign_for_sign_nothing(key: bytes) -> None:
    messages = [bytes([number]) for number in range(200)]
    assert not any(is_signed(key, NOTHING, "advertise", message) for message in messages)


def test_that_is_needed_for_the_library_takes_some_of_them() -> None:
    taken = [key for key in SMALL_ORDER if any(verifies(key, bytes([number])) for number in range(200))]
    assert len(taken) >= 5
