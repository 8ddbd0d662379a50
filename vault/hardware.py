"""PKCS#11 tokens: a key that never leaves the token encrypts a slot's secret (PKCS#11 2.40, `python-pkcs11`).

AES-256-GCM where the token has it (NIST SP 800-38D), else RSA-OAEP (RFC 8017). OAEP hashes with SHA-1 here, because
that is what every token knows; its security doesn't rest on the hash's resistance to collisions.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vault.errors import HardwareError, WrongPin
from vault.keys import KEY_BYTES
from vault.slot_kinds import NONCE_BYTES, Mechanism

if TYPE_CHECKING:
    from pkcs11 import Session
    from pkcs11._pkcs11 import lib as Library

__all__ = ["SealedSecret", "Token"]

_GCM_TAG_BITS = 128
_RSA_BITS = 3072
_alone = threading.Lock()  # a PKCS#11 library is initialized and finalized for the whole process


class SealedSecret(NamedTuple):
    """A secret that a key on a token encrypted; the fields are those of `HardwareSlot`."""

    serial: str
    mechanism: Mechanism
    nonce: bytes
    secret: bytes


@dataclass(frozen=True, slots=True)
class Token:
    """A token that can be plugged in. Each call logs in, does one thing, and logs out.

    Attributes:
        module: The PKCS#11 library of its maker.
        label: Of the token.
        pin: Its user PIN. A wrong one is never tried again by itself: tokens lock.
    """

    module: str
    label: str
    pin: str = field(default="", repr=False)

    def warning(self) -> str:
        """What the token says of its PIN before one is tried; empty when all is well.

        Raises:
            HardwareError: it isn't plugged in, has no PIN yet, or is locked.
        """
        with self._library() as library:
            return self._pin_state(library)

    def seal(self, key: str, secret: bytes) -> SealedSecret:
        """Make a key on the token and encrypt a secret with it; then decrypt it, to see that it can.

        Args:
            key: The new key's label.
            secret: 32 bytes.

        Raises:
            HardwareError: the token refuses; no key stays on it.
        """
        with self._session(writing=True) as session:
            try:
                sealed = _seal(session, key, secret)
                if sealed is None:
                    raise HardwareError(f"The token {self.label} has neither AES-GCM nor RSA-OAEP.")
                if _decrypt(session, key, sealed) != secret:
                    raise HardwareError(f"The token {self.label} doesn't give back what it was given.")
            except BaseException:
                _destroy(session, key)
                raise
        return sealed

    def unseal(self, key: str, sealed: SealedSecret) -> bytes | None:
        """A slot's secret, or `None` where the token has no such key.

        Raises:
            WrongPin: the PIN is wrong.
            HardwareError: the token isn't plugged in, or refuses.
        """
        with self._session() as session:
            return _decrypt(session, key, sealed)

    def destroy(self, key: str) -> None:
        """Destroy a key on the token, if it is there.

        Raises:
            HardwareError: the token isn't plugged in, the PIN is wrong, or the token refuses.
        """
        with self._session(writing=True) as session:
            _destroy(session, key)

    @contextlib.contextmanager
    def _session(self, *, writing: bool = False) -> Iterator["Session"]:
        import pkcs11

        with self._library() as library:
            self._pin_state(library)
            try:
                session = library.get_token(token_label=self.label).open(rw=writing, user_pin=self.pin)
            except (pkcs11.PinIncorrect, pkcs11.PinLenRange, pkcs11.PinInvalid) as error:
                raise WrongPin("The PIN is wrong.", hint=self._after_a_wrong_one(library)) from error
            with session:
                yield session

    @contextlib.contextmanager
    def _library(self) -> Iterator["Library"]:
        """The token's library, loaded; its errors become ours."""
        try:
            import pkcs11
        except ImportError:
            raise HardwareError(
                "Hardware tokens need a part that isn't installed.", hint="pip install 'openclaw-core[hsm]'"
            ) from None
        with _alone:
            try:
                library = pkcs11.lib(_checked(self.module))
                try:
                    yield library
                finally:
                    library.finalize()
            except pkcs11.NoSuchToken as error:
                raise HardwareError(
                    f"No token called {self.label} is plugged in.", hint="Plug it in and try again."
                ) from error
            except pkcs11.MultipleTokensReturned as error:
                raise HardwareError(
                    f"Several tokens are called {self.label}.", hint="Unplug all but the right one."
                ) from error
            except (pkcs11.DeviceRemoved, pkcs11.TokenNotPresent) as error:
                raise HardwareError(f"The token {self.label} was unplugged.", hint="Try again.") from error
            except pkcs11.PinLocked as error:
                raise _locked(self.label) from error
            except pkcs11.PKCS11Error as error:
                raise HardwareError(f"The token {self.label} refused: {type(error).__name__}.") from error

    def _pin_state(self, library: "Library") -> str:
        from pkcs11 import TokenFlag

        flags = library.get_token(token_label=self.label).flags
        if not flags & TokenFlag.USER_PIN_INITIALIZED:
            raise HardwareError(f"The token {self.label} has no user PIN yet.", hint="Set one with its own tool.")
        if flags & TokenFlag.USER_PIN_LOCKED:
            raise _locked(self.label)
        if flags & TokenFlag.USER_PIN_FINAL_TRY:
            return f"One more wrong PIN locks the token {self.label}."
        if flags & TokenFlag.USER_PIN_COUNT_LOW:
            return f"The token {self.label} has been given a wrong PIN; several in a row lock it."
        return ""

    def _after_a_wrong_one(self, library: "Library") -> str:
        try:
            return self._pin_state(library)
        except HardwareError as locked:  # by this very try
            return f"{locked.message} {locked.hint}"


def _checked(module: str) -> str:
    """The library's path. It becomes a part of this process: hence no search for it, and no stranger's file."""
    if not module:
        raise HardwareError(
            "No PKCS#11 library is set.", hint="claw config set vault.pkcs11_module /path/to/the/library.so"
        )
    path = Path(module)
    if not path.is_absolute():
        raise HardwareError(f"vault.pkcs11_module needs the library's whole path, not {module}.")
    try:
        status = path.stat()
    except OSError as error:
        raise HardwareError(f"The PKCS#11 library {path} can't be read: {error.strerror}.") from error
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
        raise HardwareError(f"The PKCS#11 library {path} can be changed by others.", hint=f"chmod go-w {path}")
    return str(path)


def _seal(session: "Session", key: str, secret: bytes) -> SealedSecret | None:
    from pkcs11 import Attribute, GCMParams, KeyType, MechanismFlag
    from pkcs11 import Mechanism as Pkcs11

    kept = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.PRIVATE: True}
    mechanisms = session.token.slot.get_mechanisms()
    serial = session.token.serial.decode("ascii", "replace")
    if {Pkcs11.AES_GCM, Pkcs11.AES_KEY_GEN} <= mechanisms:
        use = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT
        made = session.generate_key(
            KeyType.AES, 8 * KEY_BYTES, label=key, store=True, capabilities=use, template=kept
        )
        nonce = os.urandom(NONCE_BYTES)
        how = GCMParams(nonce, None, _GCM_TAG_BITS)
        return SealedSecret(
            serial, "aes-gcm", nonce, made.encrypt(secret, mechanism=Pkcs11.AES_GCM, mechanism_param=how)
        )
    if {Pkcs11.RSA_PKCS_OAEP, Pkcs11.RSA_PKCS_KEY_PAIR_GEN} <= mechanisms:
        most = session.token.slot.get_mechanism_info(Pkcs11.RSA_PKCS_KEY_PAIR_GEN).max_key_length
        public, _private = session.generate_keypair(
            KeyType.RSA,
            min(_RSA_BITS, most),
            label=key,
            store=True,
            capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
            private_template=kept,
        )
        return SealedSecret(serial, "rsa-oaep", b"", public.encrypt(secret, mechanism=Pkcs11.RSA_PKCS_OAEP))
    return None


def _decrypt(session: "Session", key: str, sealed: SealedSecret) -> bytes | None:
    from pkcs11 import GCMParams, NoSuchKey, ObjectClass
    from pkcs11 import Mechanism as Pkcs11

    gcm = sealed.mechanism == "aes-gcm"
    try:
        found = session.get_key(object_class=ObjectClass.SECRET_KEY if gcm else ObjectClass.PRIVATE_KEY, label=key)
    except NoSuchKey:
        return None
    how = GCMParams(sealed.nonce, None, _GCM_TAG_BITS) if gcm else None
    mechanism = Pkcs11.AES_GCM if gcm else Pkcs11.RSA_PKCS_OAEP
    return bytes(found.decrypt(sealed.secret, mechanism=mechanism, mechanism_param=how))


def _destroy(session: "Session", key: str) -> None:
    from pkcs11 import Attribute

    for found in list(session.get_objects({Attribute.LABEL: key})):
        found.destroy()


def _locked(label: str) -> HardwareError:
    return HardwareError(
        f"The token {label} is locked: too many wrong PINs.",
        hint="Unlock it with its own tool and the security officer's PIN, or open the vault another way.",
    )
