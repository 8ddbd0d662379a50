"""The age format under a passphrase, as a stream (https://age-encryption.org/v1, the "scrypt recipient").

scrypt (RFC 7914) of the passphrase opens the file key (ChaCha20-Poly1305, RFC 8439); HKDF-SHA-256 (RFC 5869) makes
of that the key of the header's HMAC and the key of the payload, which is a STREAM (Hoang, Reyhanitabar, Rogaway,
Vizár: "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015) of 64 KiB chunks:
altered, exchanged or missing ones are found, the last one included.
"""

import base64
import hmac
import os
import re
import unicodedata
from collections.abc import Iterator
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from vault.errors import VaultError, WrongPassphrase
from vault.portability.age import BY_PASSPHRASE, Sink, Writable, altered

__all__ = ["WORK", "Passphrase"]

WORK = 18
"""Binary logarithm of scrypt's cost: 256 MiB and about a second, as the age tool has it."""

_MOST_WORK = 22  # as age has it: a forged file must not keep us busy for ever
_LABEL = b"age-encryption.org/v1/scrypt"
_HEADER = re.compile(
    re.escape(BY_PASSPHRASE) + rb"([A-Za-z0-9+/]{22}) ([1-9][0-9]?)\n([A-Za-z0-9+/]{43})\n--- ([A-Za-z0-9+/]{43})\n"
)
_HEADER_LINES, _LONGEST_LINE = 4, 100
_CHUNK, _TAG = 1 << 16, 16


class Passphrase:
    """Encrypts and decrypts under one passphrase.

    Args:
        passphrase: As it was typed; it is normalized (NFC), as the vault's own is.
        work: Cost of a new file.
    """

    def __init__(self, passphrase: str, work: int = WORK) -> None:
        self._passphrase = unicodedata.normalize("NFC", passphrase).encode()
        self._work = work
        self._wrapping_keys: dict[tuple[bytes, int], bytes] = {}

    @property
    def described(self) -> str:
        """How it is encrypted."""
        return "age, by a passphrase"

    def seal(self, chunks: Iterator[bytes], file: Writable) -> None:
        """Write the chunks, encrypted."""
        file_key, salt, nonce = os.urandom(16), os.urandom(16), os.urandom(16)
        body = ChaCha20Poly1305(self._wrapping_key(salt, self._work)).encrypt(bytes(12), file_key, None)
        header = BY_PASSPHRASE + _unpadded(salt) + b" %d\n" % self._work + _unpadded(body) + b"\n---"
        file.write(header + b" " + _unpadded(_mac(file_key, header)) + b"\n" + nonce)
        cipher = ChaCha20Poly1305(_derived(file_key, b"payload", nonce))
        counter, pending = 0, bytearray()
        for chunk in chunks:
            pending += chunk
            while len(pending) > _CHUNK:  # the last chunk may be full, but never empty
                file.write(cipher.encrypt(_nonce(counter), bytes(pending[:_CHUNK]), None))
                del pending[:_CHUNK]
                counter += 1
        file.write(cipher.encrypt(_nonce(counter, last=True), bytes(pending), None))

    def check(self, file: IO[bytes]) -> None:
        """Read a file's header, to know at once whether this passphrase opens it.

        Raises:
            WrongPassphrase: it doesn't.
            BackupRefused: the header was altered.
        """
        self._file_key(file)

    def open(self, file: IO[bytes], sink: Sink) -> None:
        """As `Opener` says."""
        for chunk in self._opened(file):
            sink(chunk)

    def _opened(self, file: IO[bytes]) -> Iterator[bytes]:
        cipher = ChaCha20Poly1305(_derived(self._file_key(file), b"payload", file.read(16)))
        counter, chunk = 0, file.read(_CHUNK + _TAG)
        while True:
            following = file.read(_CHUNK + _TAG)
            try:
                plain = cipher.decrypt(_nonce(counter, last=not following), chunk, None)
            except (InvalidTag, ValueError):
                raise altered() from None
            if not plain and counter:
                raise altered()
            yield plain
            if not following:
                return
            counter, chunk = counter + 1, following

    def _file_key(self, file: IO[bytes]) -> bytes:
        header = b"".join(file.readline(_LONGEST_LINE) for _ in range(_HEADER_LINES))
        match = _HEADER.fullmatch(header)
        if not match or int(match[2]) > _MOST_WORK:
            raise altered()
        salt, work, body, mac = _decoded(match[1]), int(match[2]), _decoded(match[3]), _decoded(match[4])
        try:
            file_key = ChaCha20Poly1305(self._wrapping_key(salt, work)).decrypt(bytes(12), body, None)
        except InvalidTag:
            raise WrongPassphrase(
                "That passphrase doesn't open the backup, or the backup's beginning was altered.",
                hint="Nothing was changed. It is the passphrase that was chosen for the backup.",
            ) from None
        if not hmac.compare_digest(mac, _mac(file_key, header[: match.start(4) - 1])):
            raise altered()
        return file_key

    def _wrapping_key(self, salt: bytes, work: int) -> bytes:
        if (salt, work) not in self._wrapping_keys:
            scrypt = Scrypt(_LABEL + salt, length=32, n=1 << work, r=8, p=1)
            try:
                self._wrapping_keys[salt, work] = scrypt.derive(self._passphrase)
            except MemoryError:
                raise VaultError(
                    f"There isn't enough free memory to try the passphrase: that takes {(1 << work) >> 10} MiB.",
                    hint="Close other programs and try again.",
                ) from None
        return self._wrapping_keys[salt, work]


def _derived(file_key: bytes, use: bytes, salt: bytes | None) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt, use).derive(file_key)


def _mac(file_key: bytes, header: bytes) -> bytes:
    return hmac.digest(_derived(file_key, b"header", None), header, "sha256")


def _nonce(counter: int, *, last: bool = False) -> bytes:
    return counter.to_bytes(11, "big") + bytes([last])


def _unpadded(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _decoded(text: bytes) -> bytes:
    data = base64.b64decode(text + b"=" * (-len(text) % 4))
    if _unpadded(data) != text:  # one spelling alone, or a bit of it could be flipped unnoticed
        raise altered()
    return data
