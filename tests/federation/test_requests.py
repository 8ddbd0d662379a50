"""Signed requests: what a device signed is taken, and nothing else, in no other form, at no other time."""

import base64
import hashlib
import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from federation import requests
from federation.errors import Refused
from federation.requests import HOLDS_S, content_digest, sign_request, verify_request

IDENTITY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
DEVICE = IDENTITY.public_key().public_bytes_raw()
NOW = 1_800_000_000.0
TARGET = "/v1/tasks/minutes/check-ins?model=1"
BODY = b"a body"
SHA256 = hashlib.sha256(BODY).digest()


def signed(counter: int = 7, target: str = TARGET, identity: Ed25519PrivateKey = IDENTITY) -> dict[str, str]:
    headers = sign_request(identity, "POST", target, BODY, counter, NOW, os.urandom)
    return {name.lower(): value for name, value in headers.items()}


def verify(headers: dict[str, str], now: float = NOW, method: str = "POST", target: str = TARGET) -> bytes:
    return verify_request(method, target, headers, SHA256, now).device


def test_who_signed_is_known_with_the_counter() -> None:
    for target in (TARGET, "/v1/a", "/v1/a%20b?x=%C3%A4&y"):
        found = verify_request("POST", target, signed(7, target), SHA256, NOW)
        assert found == (DEVICE, 7)


def test_the_signature_is_the_one_that_the_standard_makes() -> None:
    """RFC 9421, section 2.5: built here once more, by hand."""
    headers = signed()
    parameters = headers["signature-input"].removeprefix("claw=")
    base = (
        f'"@method": POST\n"@path": /v1/tasks/minutes/check-ins\n"@query": ?model=1\n'
        f'"content-digest": sha-256=:{base64.b64encode(SHA256).decode()}:\n"claw-counter": 7\n'
        f'"@signature-params": {parameters}'
    )
    signature = base64.b64decode(headers["signature"].removeprefix("claw=:").removesuffix(":"))
    IDENTITY.public_key().verify(signature, base.encode())
    assert parameters.startswith('("@method" "@path" "@query" "content-digest" "claw-counter");created=1800000000;')


def test_another_method_path_query_or_body_is_refused() -> None:
    headers = signed()
    with pytest.raises(Refused):
        verify(headers, method="PUT")
    for target in ("/v1/tasks/other/check-ins?model=1", "/v1/tasks/minutes/check-ins?model=2", TARGET[:-8]):
        with pytest.raises(Refused):
            verify(headers, target=target)
    with pytest.raises(Refused, match="body"):
        verify_request("POST", TARGET, headers, hashlib.sha256(b"another").digest(), NOW)
    other = content_digest(hashlib.sha256(b"another").digest())
    with pytest.raises(Refused, match="false"):
        verify_request(
            "POST", TARGET, {**headers, "content-digest": other}, hashlib.sha256(b"another").digest(), NOW
        )


def test_it_holds_for_a_minute_and_a_clock_may_be_a_little_wrong() -> None:
    headers = signed()
    for now in (NOW - 29, NOW + HOLDS_S + 29):
        assert verify(headers, now) == DEVICE
    for now in (NOW - 31, NOW + HOLDS_S + 31, 0.0):
        with pytest.raises(Refused, match="another time"):
            verify(headers, now)


@pytest.mark.parametrize("counter", ["0", "-1", "07", "7.0", "1e3", "", "8", "٧", "1" * 17])
def test_a_counter_that_was_not_signed_is_refused(counter: str) -> None:
    with pytest.raises(Refused):
        verify({**signed(), "claw-counter": counter})


def test_a_signature_of_less_or_for_something_else_is_refused() -> None:
    headers = signed()
    for old, new in (
        (' "claw-counter"', ""),
        ('"@query"', '"@query";x=1'),
        ("openclaw-core-1", "other"),
        ("created=1800000000", "created=1800000001"),
        (";expires=1800000060", ""),
        ("nonce=", "nonc="),
        (DEVICE.hex(), bytes(32).hex()),
        (DEVICE.hex(), "ff" * 32),
        (DEVICE.hex(), "x"),
        ('alg="ed25519"', 'alg="hmac-sha256"'),
    ):
        assert old in headers["signature-input"]
        with pytest.raises(Refused):
            verify({**headers, "signature-input": headers["signature-input"].replace(old, new)})
    for name in headers:
        with pytest.raises(Refused):
            verify({key: value for key, value in headers.items() if key != name})


def test_a_key_of_small_order_signs_nothing() -> None:
    headers = signed()
    small = (b"\x01" + bytes(31)).hex()
    headers["signature-input"] = headers["signature-input"].replace(DEVICE.hex(), small)
    headers["signature"] = "claw=:" + base64.b64encode(b"\x01" + bytes(63)).decode() + ":"
    with pytest.raises(Refused):
        verify(headers)


@given(st.data())
def test_the_form_that_devices_send_is_read_as_the_library_reads_it(data: st.DataObject) -> None:
    """What isn't in that form goes to the library; what is, is taken or refused just as there."""
    headers = signed()
    name = data.draw(st.sampled_from(sorted(headers)))
    at = data.draw(st.integers(0, len(headers[name])))
    put = data.draw(st.sampled_from(["", "0", "1", "A", "=", ":", '"', "ed25519", "?1"]))
    headers[name] = headers[name][:at] + put + headers[name][at + data.draw(st.integers(0, 2)) :]
    method = data.draw(st.sampled_from(["POST", "post", "PUT"]))
    target = data.draw(st.sampled_from([TARGET, "/v1/tasks/minutes/check-ins", "/v1/a/../tasks", "/v1//a", "/"]))
    if data.draw(st.booleans()):
        headers = signed(7, target)
    now = NOW + data.draw(st.sampled_from([-31, 0, 91]))
    with pytest.MonkeyPatch.context() as patch:
        ours = outcome(method, target, headers, now)
        patch.setattr(requests, "_plain", lambda *_: None)
        assert outcome(method, target, headers, now) == ours


def outcome(method: str, target: str, headers: dict[str, str], now: float) -> object:
    """What comes of a request: who signed it, or that it is refused."""
    try:
        return verify_request(method, target, headers, SHA256, now)
    except Refused:
        return None


@given(st.data())
def test_any_headers_are_a_device_s_or_refused(data: st.DataObject) -> None:
    headers = signed()
    name = data.draw(st.sampled_from(sorted(headers)))
    value = headers[name]
    at = data.draw(st.integers(0, len(value)))
    put = data.draw(
        st.one_of(st.text(max_size=8), st.sampled_from(["claw=", ",", ";", "(", ")", '"', ":", "\r\n"]))
    )
    changed = data.draw(st.sampled_from([value[:at] + put + value[at:], value[:at] + put + value[at + 1 :], put]))
    try:
        assert verify({**headers, name: changed}) == DEVICE
    except Refused:
        return
    assert name == "signature" or changed.strip() == value
