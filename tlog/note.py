"""Signed heads of the log: a C2SP tlog-checkpoint (https://c2sp.org/tlog-checkpoint) in a C2SP signed note.

A signed note (https://c2sp.org/signed-note) is a text, an empty line, and a line for each signature:

    — <key name> base64(key id || signature)

where the key id is the first four bytes of SHA-256(name || 0x0A || 0x01 || public key) and the signature is
Ed25519's (RFC 8032) over the text. Witnesses, monitors and other tools of that family read what is written here.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlog.errors import BadNote
from tlog.merkle import HASH_BYTES, Head

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["Checkpoint", "Signer", "Verifier", "origin_of"]

_PUBLIC_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_KEY_ID_BYTES = 4
_ED25519 = b"\x01"
_MAX_NOTE = 1 << 20
_MAX_SIGNATURES = 100
_FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\ud800-\udfff]")  # controls, and what UTF-8 can't write
_SIGNATURE = re.compile("— ([^ ]+) ([^ ]+)")
_VERIFIER_KEY = re.compile(r"([^+]+)\+([0-9a-f]{8})\+(.+)", re.ASCII)
_SIZE = re.compile("0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks the signatures of one key.

    Attributes:
        name: Of the key; the origin of the log that it signs.
        public_key: 32 bytes, Ed25519.
    """

    name: str
    public_key: bytes

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """What `str()` of a verifier made: `name+<key id in hex>+base64(0x01 || public key)`.

        Raises:
            BadNote: it is no verifier key, or one of another kind than Ed25519.
        """
        match = _VERIFIER_KEY.fullmatch(text)
        key = _decoded(match[3]) if match else None
        if not match or not key or key[:1] != _ED25519 or len(key) != 1 + _PUBLIC_KEY_BYTES:
            raise BadNote("That is no Ed25519 verifier key.", hint="It looks like NAME+12345678+AbCd…=")
        verifier = cls(match[1], key[1:])
        if not _is_name(verifier.name) or verifier.key_id.hex() != match[2]:
            raise BadNote("The parts of that verifier key don't belong together.", hint="Copy it once more.")
        return verifier

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_encoded(_ED25519 + self.public_key)}"

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell keys of the same name apart."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public_key).digest()[:_KEY_ID_BYTES]

    def open(self, note: str) -> str:
        """The text of a note that this key signed.

        Raises:
            BadNote: it is no signed note, or this key didn't sign it.
        """
        text, signatures = _split(note)
        signed = False
        for name, blob in signatures:
            if (name, blob[:_KEY_ID_BYTES]) == (self.name, self.key_id):
                if not self._signed(text, blob[_KEY_ID_BYTES:]):
                    raise BadNote("The checkpoint's signature is false: the checkpoint was altered.")
                signed = True
        if not signed:
            raise BadNote("The checkpoint isn't signed by that key.")
        return text

    def _signed(self, text: str, signature: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer:
    """Signs notes with an Ed25519 key that stays in memory.

    Args:
        key: Signs.
        name: Of the key; the origin of the log that it signs.

    Attributes:
        verifier: Checks what this signs.
    """

    def __init__(self, key: "Ed25519PrivateKey", name: str) -> None:
        self.verifier = Verifier(name, key.public_key().public_bytes_raw())
        if not _is_name(name):
            raise ValueError("a key's name has neither spaces nor a plus")
        self._key = key

    def __reduce__(self) -> str:
        raise TypeError("A signer's key stays in memory.")

    def sign(self, text: str) -> str:
        """A note of this text.

        Raises:
            ValueError: the text can't be the text of a note.
        """
        if not text.endswith("\n") or _FORBIDDEN.search(text):
            raise ValueError("the text of a note ends with a newline and holds no other controls")
        signature = self._key.sign(text.encode())
        return f"{text}\n— {self.verifier.name} {_encoded(self.verifier.key_id + signature)}\n"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is signed: the head of a log, and which log.

    Attributes:
        origin: Names the log.
        head: Its size and root.
        extensions: Lines that other logs add; ours never does.
    """

    origin: str
    head: Head
    extensions: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read the text of a note that was opened.

        Raises:
            BadNote: it is no checkpoint.
        """
        lines = text.split("\n")
        if len(lines) >= 4 and all(lines[:-1]) and not lines[-1]:
            root = _decoded(lines[2])
            if _SIZE.fullmatch(lines[1]) and root and len(root) == HASH_BYTES:
                return cls(lines[0], Head(int(lines[1]), root), tuple(lines[3:-1]))
        raise BadNote("What is signed is no checkpoint of a log.")

    def __str__(self) -> str:
        return "".join(
            f"{line}\n" for line in (self.origin, self.head.size, _encoded(self.head.root), *self.extensions)
        )


def origin_of(kind: str, public_key: bytes) -> str:
    """A name for a log that says nothing of whose it is, and that no two keys share."""
    return f"{kind}/{hashlib.sha256(public_key).hexdigest()[:16]}"


def _split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Text, and the name and the bytes of each signature."""
    malformed = BadNote("The checkpoint is no signed note.")
    # By the last empty line: the text may hold others.
    text, separator, lines = note.rpartition("\n\n")
    if not separator or not lines.endswith("\n") or len(note) > _MAX_NOTE or _FORBIDDEN.search(note):
        raise malformed
    found = lines[:-1].split("\n")
    if len(found) > _MAX_SIGNATURES:
        raise malformed
    signatures = []
    for line in found:
        match = _SIGNATURE.fullmatch(line)
        blob = _decoded(match[2]) if match else None
        if not match or not _is_name(match[1]) or blob is None or len(blob) <= _KEY_ID_BYTES:
            raise malformed
        signatures.append((match[1], blob))
    return text + "\n", signatures


def _is_name(text: str) -> bool:
    return bool(text) and "+" not in text and not any(map(str.isspace, text)) and not _FORBIDDEN.search(text)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: str) -> bytes | None:
    """The bytes; nothing when it isn't the one way to write them in base64."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if _encoded(data) == text else None
