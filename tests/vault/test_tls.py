"""Which authorities are believed, against real TLS servers: those that SECURITY.md says, and no others."""

import contextlib
import hashlib
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.fixtures.doors import Send, posting
from tests.fixtures.https_server import Authority
from tests.fixtures.tls_server import Identity, counting
from vault.errors import EgressError
from vault.settings import NetworkSettings

SYSTEM = NetworkSettings(timeout_s=5)
IN_A_FOLDER = Identity("localhost")
HASH_OF_ITS_SUBJECT = hashlib.sha1(b"\x31\x12\x30\x10\x06\x03\x55\x04\x03\x0c\x09localhost", usedforsecurity=False)
"""Of the one name that it has, `CN=localhost`, as X509_NAME_hash of OpenSSL canonicalizes it."""


@pytest.fixture
def in_a_file(authority: Authority) -> ssl.SSLContext:
    """A server whose certificate is signed by the authority in `authority.ca_file`."""
    return authority.context()


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A folder of authorities, whose file is named for its subject, as `openssl rehash` names it."""
    certificate = x509.load_der_x509_certificate(IN_A_FOLDER.certificate)
    number = int.from_bytes(HASH_OF_ITS_SUBJECT.digest()[:4], "little")
    (tmp_path / f"{number:08x}.0").write_bytes(certificate.public_bytes(Encoding.PEM))
    return str(tmp_path)


def believes(send: Send, server: ssl.SSLContext, settings: NetworkSettings = SYSTEM) -> bool:
    """Whether a body is sent to it."""
    with counting(server) as listening:
        with contextlib.suppress(EgressError):
            send(posting(listening.url()), settings=settings)
        return listening.received.endswith(b"hello")


def test_a_file_and_a_folder_of_authorities_named_in_the_environment_each_leave_the_other(
    send: Send, monkeypatch: pytest.MonkeyPatch, authority: Authority, in_a_file: ssl.SSLContext, folder: str
) -> None:
    def believed() -> tuple[bool, bool]:
        return believes(send, in_a_file), believes(send, IN_A_FOLDER.context())

    assert believed() == (False, False)
    monkeypatch.setenv("SSL_CERT_DIR", folder)
    assert believed() == (False, True)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    assert believed() == (True, True)
    monkeypatch.delenv("SSL_CERT_DIR")
    assert believed() == (True, False)


def test_authorities_in_the_settings_take_the_place_of_all_others(
    send: Send,
    monkeypatch: pytest.MonkeyPatch,
    authority: Authority,
    in_a_file: ssl.SSLContext,
    folder: str,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    monkeypatch.setenv("SSL_CERT_DIR", folder)
    another = tmp_path / "another.pem"
    trustme.CA().cert_pem.write_to_path(str(another))
    alone = NetworkSettings(ca_file=str(another), timeout_s=5)
    assert not believes(send, in_a_file, alone)
    assert not believes(send, IN_A_FOLDER.context(), alone)


def test_whatever_names_authorities_is_told_to_who_reads_about_security() -> None:
    said = (Path(__file__).parents[2] / "SECURITY.md").read_text()
    for name in ("network.ca_file", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        assert f"`{name}`" in said
