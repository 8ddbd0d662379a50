"""The round of the vectors, made again from docs/protocol.md with nothing of `federation`: the page is enough."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TOLD: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "federation.json").read_text())["upload"]
PRIME, BITS, MOD = 2**31 - 1, 18, 2**32
ME, LOST = TOLD["device"], TOLD["lost"]


def given(name: str) -> bytes:
    return bytes.fromhex(TOLD[name])


def of(device: int, name: str) -> bytes:
    return bytes.fromhex(TOLD["devices"][device][name])


def labelled(purpose: str, *parts: bytes) -> bytes:
    whole = (b"openclaw-core federation 1", purpose.encode(), *parts)
    return b"".join(len(part).to_bytes(8, "big") + part for part in whole)


def digest(purpose: str, *parts: bytes) -> bytes:
    return hashlib.sha256(labelled(purpose, *parts)).digest()


def signed(private: bytes, purpose: str, *parts: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(private).sign(digest(purpose, *parts))


def kdf(secret: bytes, purpose: str, *parts: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=given("view"), info=labelled(purpose, *parts)).derive(secret)


def agreed(private: bytes, public: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


def message(name: str, *fields: object) -> str:
    return (b"\x01" + msgspec.msgpack.encode([name, *fields])).hex()


def fields(encoded: str) -> list[Any]:
    read: list[Any] = msgspec.msgpack.decode(bytes.fromhex(encoded)[1:])
    return read[1:]


def stream(key: bytes, count: int) -> list[int]:
    data = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor().update(bytes(4 * count))
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


ROUND = digest("round", given("round"))
DEVICES = [
    Ed25519PrivateKey.from_private_bytes(of(number, "identity")).public_key().public_bytes_raw()
    for number in range(5)
]
ADVERTS = [advert[1:] for advert in fields(TOLD["roster"])[0]]
MASK_KEYS, SEAL_KEYS = [advert[2] for advert in ADVERTS], [advert[3] for advert in ADVERTS]


def pair_key(one: int, other: int) -> bytes:
    """Of the mask that two devices share."""
    lower, higher = sorted((DEVICES[one], DEVICES[other]))
    return kdf(agreed(of(one, "mask private"), MASK_KEYS[other]), "pair mask", lower, higher)


def packed(numbers: list[int]) -> bytes:
    """Of 18 bits: a plane of 16, and one of 2."""
    low = b"".join((number & 0xFFFF).to_bytes(2, "little") for number in numbers)
    size = -(-2 * len(numbers) // 8)
    high = bytearray(size)
    for place, number in enumerate(numbers):
        high[place % size] |= (number >> 16 & 3) << (2 * (place // size))
    return low + bytes(high)


def unpacked(data: bytes, count: int) -> list[int]:
    size = -(-2 * count // 8)
    low = [int.from_bytes(data[2 * place : 2 * place + 2], "little") for place in range(count)]
    high = [data[2 * count + place % size] >> (2 * (place // size)) & 3 for place in range(count)]
    return [number | top << 16 for number, top in zip(low, high, strict=True)]


def test_advertise() -> None:
    public = [
        X25519PrivateKey.from_private_bytes(of(ME, name)).public_key().public_bytes_raw()
        for name in ("mask private", "seal private")
    ]
    certificate = signed(given("registrar"), "enrolment", given("federation"), DEVICES[ME])
    commitment = digest("nonce", ROUND, DEVICES[ME], of(ME, "nonce"))
    signature = signed(of(ME, "identity"), "advertise", ROUND, DEVICES[ME], *public, commitment)
    assert message("advertise", DEVICES[ME], certificate, *public, commitment, signature) == TOLD["advertise"]


def test_the_round_is_the_plans_and_committed_to_the_servers_nonce() -> None:
    federation, task, number, plan, commitment = fields(TOLD["round"])
    assert (federation, task, number) == (given("federation"), "test", 2)
    assert plan == digest("plan", given("plan"))
    assert commitment == digest("server nonce", given("server nonce"))


def test_the_graph_and_its_digest() -> None:
    nonces = [of(number, "nonce") for number in range(5)]
    assert message("reveal", DEVICES[ME], nonces[ME]) == TOLD["reveal"]
    assert message("graph", given("server nonce"), nonces) == TOLD["graph"]
    assert [advert[0] for advert in ADVERTS] == sorted(DEVICES) == DEVICES
    view = digest("graph", digest("roster", ROUND, given("roster")), given("graph"))
    assert view == given("view")
    key = digest("circle", view)
    circle = sorted(range(5), key=lambda number: hmac.digest(key, DEVICES[number], "sha256"))
    at = circle.index(ME)
    assert [circle[(at + step) % 5] for step in (-2, -1, 1, 2)] == TOLD["neighbours"]


def test_share() -> None:
    limbs = [
        int.from_bytes(of(ME, name), "little") >> (30 * place) & (2**30 - 1)
        for name in ("seed", "mask private")
        for place in range(9)
    ]
    squares, straight = TOLD["coefficients"]
    rows = [
        [(a * x * x + b * x + c) % PRIME for a, b, c in zip(squares, straight, limbs, strict=True)]
        for x in range(1, 5)
    ]
    shares = [b"".join(value.to_bytes(4, "little") for value in row) for row in rows]
    assert [share.hex() for share in shares] == TOLD["shares"]
    sealed = [
        AESGCM(kdf(agreed(of(ME, "seal private"), SEAL_KEYS[other]), "seal", DEVICES[ME], DEVICES[other])).encrypt(
            bytes(12), share, given("view")
        )
        for other, share in zip(TOLD["neighbours"], shares, strict=True)
    ]
    commitment = digest("seed", given("view"), DEVICES[ME], of(ME, "seed"))
    assert message("share", DEVICES[ME], commitment, sealed) == TOLD["share"]


def test_masked_upload() -> None:
    own = kdf(of(ME, "seed"), "own mask", DEVICES[ME])
    assert own.hex() == TOLD["own mask key"]
    masked = [number + mask for number, mask in zip(TOLD["devices"][ME]["update"], stream(own, 8), strict=True)]
    for other in TOLD["neighbours"]:
        sign = 1 if DEVICES[ME] < DEVICES[other] else -1
        assert pair_key(ME, other).hex() == TOLD["pair mask keys"][f"{'+' if sign > 0 else '-'}{other}"]
        masked = [n + sign * mask for n, mask in zip(masked, stream(pair_key(ME, other), 8), strict=True)]
    shared = fields(TOLD["deliver"])[0]
    assert shared == b"\x1f"
    signature = signed(of(ME, "identity"), "upload", given("view"), shared)
    assert message("masked", DEVICES[ME], packed([n % 2**BITS for n in masked]), signature) == TOLD["masked"]


def test_consistency_and_unmask() -> None:
    shared, sealed = fields(TOLD["deliver"])
    alive = bytes([0b11111 ^ 1 << LOST])
    assert message("survivors", alive) == TOLD["survivors"]
    signature = signed(of(ME, "identity"), "survivors", given("view"), shared, alive)
    assert message("consistency", DEVICES[ME], signature) == TOLD["consistency"]
    given_up = []
    for other, box in zip(TOLD["neighbours"], sealed, strict=True):
        key = kdf(agreed(of(ME, "seal private"), SEAL_KEYS[other]), "seal", DEVICES[other], DEVICES[ME])
        opened = AESGCM(key).decrypt(bytes(12), box, given("view"))
        given_up.append(opened[36:] if other == LOST else opened[:36])
    assert message("unmask", DEVICES[ME], given_up) == TOLD["unmask"]
    signatures, uploads = fields(TOLD["consistent"])
    assert signatures[ME] == signature
    assert [bool(one) for one in signatures] == [number != LOST for number in range(5)]
    assert [bool(one) for one in uploads] == [number != LOST for number in TOLD["neighbours"]]


@pytest.mark.parametrize("points", [(1, 2, 3), (2, 3, 4), (4, 1, 2)])
def test_three_shares_give_both_secrets(points: tuple[int, ...]) -> None:
    limbs = [0] * 18
    for point in points:
        weight = 1
        for other in points:
            if other != point:
                weight = weight * other * pow(other - point, -1, PRIME) % PRIME
        row = bytes.fromhex(TOLD["shares"][point - 1])
        for place in range(18):
            value = int.from_bytes(row[4 * place : 4 * place + 4], "little")
            limbs[place] = (limbs[place] + weight * value) % PRIME
    secrets = [
        sum(limb << (30 * place) for place, limb in enumerate(part)).to_bytes(32, "little")
        for part in (limbs[:9], limbs[9:])
    ]
    assert secrets == [of(ME, "seed"), of(ME, "mask private")]


def test_the_sum() -> None:
    alive = [number for number in range(5) if number != LOST]
    total = [0] * 8
    for device, encoded in zip(alive, TOLD["all masked"], strict=True):
        sender, data, _ = fields(encoded)
        assert sender == DEVICES[device]
        own = stream(kdf(of(device, "seed"), "own mask", sender), 8)
        sign = 1 if sender < DEVICES[LOST] else -1  # all are neighbours of one another here
        pair = stream(pair_key(LOST, device), 8)
        numbers = unpacked(data, 8)
        total = [t + n - o - sign * p for t, n, o, p in zip(total, numbers, own, pair, strict=True)]
    assert [number % 2**BITS for number in total] == TOLD["sum"]
    updates = [TOLD["devices"][device]["update"] for device in alive]
    assert TOLD["sum"] == [sum(column) % 2**BITS for column in zip(*updates, strict=True)]


def test_the_mean() -> None:
    (_, parameters, _, scale, _, _, seed), *_ = fields(TOLD["plan"])
    steps = [number - 2**BITS if number >= 2 ** (BITS - 1) else number for number in TOLD["sum"]]
    bits = stream(digest("rotation", seed), 1)[0]
    rotated = [
        sum((-1) ** (row & column).bit_count() * step for column, step in enumerate(steps)) / 8**0.5
        for row in range(8)
    ]
    mean = [(-1) ** (bits >> place & 1) * value / scale / 4 for place, value in enumerate(rotated)]
    assert mean[:parameters] == pytest.approx(TOLD["mean"], abs=1e-8)
    # What the devices had is off by their noise alone: four times a variance of 50 steps squared.
    clipped = [[(number + 1) / 16, -0.25, 0.5, number / 8, 0.0, -0.125] for number in range(5) if number != LOST]
    true = [sum(column) / 4 for column in zip(*clipped, strict=True)]
    assert mean[:parameters] == pytest.approx(true, abs=5 * (4 * 50) ** 0.5 / scale / 4)
