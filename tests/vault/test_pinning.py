"""Pinned destinations, against real TLS servers: whoever isn't the one that was meant learns nothing."""

import base64
import datetime
import socket
import ssl

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.doors import Send, posting
from tests.fixtures.https_server import Authority
from tests.fixtures.tls_server import Identity, counting
from vault.egress import Pin
from vault.errors import EgressError, EgressRefused, VerificationFailed
from vault.pinning import PinRefused, check_certificate
from vault.settings import NetworkSettings
from vault.tls import client_context

OTHER = Pin(bytes(32))
ME = Identity("localhost", "127.0.0.1")


def test_a_pinned_destination_needs_no_authority(send: Send) -> None:
    with counting(ME.context()) as server:
        reply = send(posting(server.url(), pins=(ME.pin,)))
    assert (reply.answer.status, reply.body) == (200, b"ok")
    assert server.received.endswith(b"hello")


def test_the_second_pin_is_accepted_when_the_key_has_changed(send: Send) -> None:
    with counting(ME.context()) as server:
        assert send(posting(server.url(), pins=(OTHER, ME.pin))).answer.status == 200
    assert server.received


def test_a_destination_named_by_its_address_can_be_pinned(send: Send) -> None:
    with counting(ME.context()) as server:
        assert send(posting(server.url("127.0.0.1"), pins=(ME.pin,))).answer.status == 200


def test_another_key_sees_no_byte_of_a_request(send: Send) -> None:
    with counting(ME.context()) as server, pytest.raises(VerificationFailed, match="another key") as caught:
        send(posting(server.url(), pins=(OTHER,)))
    assert caught.value.exit_code == 6
    assert (server.connections, server.received) == (1, b"")


def test_another_key_with_an_authority_behind_it_sees_no_byte_of_a_request(
    send: Send, authority: Authority
) -> None:
    with counting(authority.context()) as server, pytest.raises(VerificationFailed, match="another key"):
        send(posting(server.url(), pins=(ME.pin,)))
    assert (server.connections, server.received) == (1, b"")


@pytest.mark.parametrize("days", [(-2, -1), (1, 2)], ids=["expired", "not yet valid"])
def test_a_pinned_key_in_a_certificate_of_another_time_sees_no_byte_of_a_request(
    send: Send, days: tuple[int, int]
) -> None:
    stale = Identity("localhost", days=days)
    with counting(stale.context()) as server, pytest.raises(VerificationFailed, match=r"expired|isn't valid yet"):
        send(posting(server.url(), pins=(stale.pin,)))
    assert (server.connections, server.received) == (1, b"")


@pytest.mark.parametrize("names", [(), ("example.org",), ("*.localhost",)], ids=str)
def test_a_pinned_key_in_a_certificate_for_another_host_sees_no_byte_of_a_request(
    send: Send, names: tuple[str, ...]
) -> None:
    other = Identity(*names)  # its common name, which doesn't count, is localhost
    with counting(other.context()) as server, pytest.raises(VerificationFailed, match="another host"):
        send(posting(server.url(), pins=(other.pin,)))
    assert (server.connections, server.received) == (1, b"")


def test_a_pinned_server_of_tls_1_2_sees_no_byte_of_a_request(send: Send) -> None:
    with counting(ME.context(ssl.TLSVersion.TLSv1_2)) as server, pytest.raises(EgressError, match=r"TLS 1\.3"):
        send(posting(server.url(), pins=(ME.pin,)))
    assert (server.connections, server.received) == (1, b"")


def test_without_pins_a_certificate_that_nobody_signed_sees_no_byte_of_a_request(send: Send) -> None:
    with counting(ME.context()) as server, pytest.raises(EgressError, match="isn't trusted"):
        send(posting(server.url()))
    assert (server.connections, server.received) == (1, b"")


def test_without_pins_an_expired_certificate_sees_no_byte_of_a_request(send: Send, authority: Authority) -> None:
    with counting(authority.context(expired=True)) as server, pytest.raises(EgressError, match="expired"):
        send(posting(server.url()))
    assert (server.connections, server.received) == (1, b"")


def test_without_pins_a_certificate_for_another_host_sees_no_byte_of_a_request(
    send: Send, authority: Authority
) -> None:
    with counting(authority.context("example.org")) as server, pytest.raises(EgressError) as refused:
        send(posting(server.url()))
    assert "isn't trusted: " in refused.value.message
    assert refused.value.message.endswith("'.")  # a sentence, with one full stop
    assert (server.connections, server.received) == (1, b"")


def test_without_pins_a_server_of_tls_1_2_sees_no_byte_of_a_request(send: Send, authority: Authority) -> None:
    context = authority.context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    with counting(context) as server, pytest.raises(EgressError, match=r"TLS 1\.3"):
        send(posting(server.url()))
    assert (server.connections, server.received) == (1, b"")


def test_a_third_pin_is_refused(send: Send) -> None:
    with counting(ME.context()) as server, pytest.raises(EgressRefused, match="at most 2"):
        send(posting(server.url(), pins=(OTHER, OTHER, ME.pin)))
    assert server.connections == 0


def test_a_blocking_socket_checks_the_pin_in_its_handshake() -> None:
    with counting(ME.context()) as server:
        for pin, accepted in ((ME.pin, True), (OTHER, False)):
            context = client_context(NetworkSettings(), (pin,))
            with socket.create_connection(("127.0.0.1", server.port)) as plain:
                if accepted:
                    context.wrap_socket(plain, server_hostname="localhost").close()
                else:
                    with pytest.raises(PinRefused, match="another key"):
                        context.wrap_socket(plain, server_hostname="localhost")
    assert (server.connections, server.received) == (2, b"")


@pytest.mark.parametrize(
    ("name", "host", "same"),
    [
        ("example.org", "example.org", True),
        ("Example.ORG", "example.org.", True),
        ("*.example.org", "a.example.org", True),
        ("*.example.org", "a.b.example.org", False),
        ("*.example.org", "example.org", False),
        ("*.org", "example.org", False),
        ("*", "localhost", False),
        ("a*.example.org", "ab.example.org", False),
        ("example.org", "example.org.evil.org", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
    ],
)
def test_a_certificate_names_its_hosts_and_no_others(name: str, host: str, same: bool) -> None:
    identity = Identity(name)
    if same:
        check_certificate(identity.certificate, host, (identity.pin,))
    else:
        with pytest.raises(PinRefused, match="another host"):
            check_certificate(identity.certificate, host, (identity.pin,))


def test_a_certificate_ends_when_it_says() -> None:
    end = x509.load_der_x509_certificate(ME.certificate).not_valid_after_utc
    minute = datetime.timedelta(minutes=1)
    check_certificate(ME.certificate, "localhost", (ME.pin,), end - minute)
    with pytest.raises(PinRefused, match="expired"):
        check_certificate(ME.certificate, "localhost", (ME.pin,), end + minute)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")  # odd, but read
@given(st.integers(0, len(ME.certificate) - 1), st.integers(1, 255), st.integers(0, len(ME.certificate)))
def test_a_certificate_that_was_altered_is_refused_or_still_of_the_pinned_key(
    at: int, flip: int, length: int
) -> None:
    altered = bytearray(ME.certificate)
    altered[at] ^= flip
    for candidate in (bytes(altered), ME.certificate[:length]):
        try:
            check_certificate(candidate, "localhost", (ME.pin,))
        except PinRefused:
            continue
        assert Pin.of(candidate) == ME.pin


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@given(st.binary(max_size=300))
def test_bytes_that_are_no_certificate_are_refused(data: bytes) -> None:
    with pytest.raises(PinRefused):
        check_certificate(data, "localhost", (ME.pin,))


def test_a_pin_is_read_as_people_write_it() -> None:
    text = base64.b64encode(ME.pin.digest).decode()
    for written in (text, f" {text}\n", f"sha256/{text}", f"pin-sha256={text}", f"sha256//{text}"):
        assert Pin.parse(written) == ME.pin
    for written in (ME.pin.digest.hex(), ME.pin.digest.hex().upper(), f"sha256:{ME.pin.digest.hex()}"):
        assert Pin.parse(written) == ME.pin
    assert str(ME.pin) == text


@given(st.text(max_size=80))
def test_what_is_no_pin_is_refused(text: str) -> None:
    try:
        pin = Pin.parse(text)
    except EgressRefused:
        return
    assert Pin.parse(str(pin)) == pin
