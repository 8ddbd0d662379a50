"""The OS keychain, by exact backend: never a chain, a plaintext file, or whatever a configuration names.

`keyring.get_keyring()` picks a backend by priority from everything installed, plaintext ones included; so each
accepted class is imported by name and asked directly.
"""

import contextlib
import importlib
import sys
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar, cast

from vault.errors import KeychainError, KeychainLocked, NoKeychain

__all__ = ["SERVICE", "Keychain", "SystemKeychain"]

SERVICE = "openclaw-core"
"""Service name of every item of ours."""

_ANSWER_WITHIN_S = 10.0
"""A session bus that accepts a call and never answers must not hang the app."""

_FREEDESKTOP = "Secret Service"
_ACCEPTED: dict[str, tuple[tuple[str, str, str], ...]] = {
    "linux": (
        ("keyring.backends.SecretService", "Keyring", _FREEDESKTOP),
        ("keyring.backends.kwallet", "DBusKeyring", "KWallet"),
    ),
    "darwin": (("keyring.backends.macOS", "Keyring", "macOS Keychain"),),
    "win32": (("keyring.backends.Windows", "WinVaultKeyring", "Windows Credential Locker"),),
}

Answer = TypeVar("Answer")


class Keychain(Protocol):
    """Keeps one small secret per account name."""

    @property
    def name(self) -> str:
        """What to call it before a person."""
        ...

    def get(self, account: str) -> str | None:
        """The secret of an account, or `None`."""
        ...

    def set(self, account: str, secret: str) -> None:
        """Store a secret, replacing the account's old one."""
        ...

    def delete(self, account: str) -> None:
        """Remove an account's secret, if there is one."""
        ...


class _Backend(Protocol):
    def get_password(self, service: str, username: str) -> str | None: ...
    def set_password(self, service: str, username: str, password: str) -> None: ...
    def delete_password(self, service: str, username: str) -> None: ...


class SystemKeychain:
    """The keychain of this desktop session.

    Raises:
        NoKeychain: none of the accepted kinds answers here.
        KeychainLocked: one answers, but is locked.
    """

    def __init__(self) -> None:
        self._backend, self.name = _within(_find)
        if self.name == _FREEDESKTOP:
            _within(_refuse_if_locked)

    def get(self, account: str) -> str | None:
        """The secret of an account, or `None`.

        Raises:
            KeychainLocked: it was locked since.
            KeychainError: it refused, or did not answer in time.
        """
        return self._ask(lambda: self._backend.get_password(SERVICE, account))

    def set(self, account: str, secret: str) -> None:
        """Store a secret, replacing the account's old one; errors as in `get`."""
        self._ask(lambda: self._backend.set_password(SERVICE, account, secret))

    def delete(self, account: str) -> None:
        """Remove an account's secret, if there is one; errors as in `get`."""

        def remove() -> None:
            if self._backend.get_password(SERVICE, account) is not None:
                self._backend.delete_password(SERVICE, account)

        self._ask(remove)

    def _ask(self, ask: Callable[[], Answer]) -> Answer:
        def call() -> Answer:
            if self.name == _FREEDESKTOP:
                _refuse_if_locked()
            return ask()

        return _within(call)


def _find() -> tuple[_Backend, str]:
    for module_name, class_name, name in _ACCEPTED.get(sys.platform, ()):
        try:
            keyring_class = getattr(importlib.import_module(module_name), class_name)
            _ = keyring_class.priority  # raises one of these where such a keychain doesn't answer
        except (ImportError, AttributeError, RuntimeError, OSError):
            continue
        return cast(_Backend, keyring_class()), name
    raise NoKeychain(
        "No keychain answers in this session.",
        hint="Use the passphrase; on a desktop, start gnome-keyring, KWallet or KeePassXC's Secret Service.",
    )


def _refuse_if_locked() -> None:
    # keyring would raise a prompt on the desktop and wait for it; here we only ask whether it is open.
    import secretstorage

    # For the same reason not by get_default_collection(), which offers to make one where there is none.
    with contextlib.closing(secretstorage.dbus_init()) as bus:
        try:
            locked = secretstorage.Collection(bus).is_locked()
        except secretstorage.ItemNotFoundException:
            raise NoKeychain(
                "The Secret Service holds no keyring yet.",
                hint="Make a default one (log in to the desktop, or open its manager), or use the passphrase.",
            ) from None
    if locked:
        raise _locked()


def _locked() -> KeychainLocked:
    return KeychainLocked(
        "The keychain is locked.",
        hint="Unlock it (log in to the desktop, or open its manager), or use the passphrase.",
    )


def _within(ask: Callable[[], Answer]) -> Answer:
    """Run a call to the keychain in a thread, and give it up when it doesn't answer."""
    answers: list[Answer] = []
    errors: list[Exception] = []

    def call() -> None:
        try:
            answers.append(ask())
        except Exception as error:  # noqa: BLE001  re-raised below, in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=call, name="keychain", daemon=True)
    thread.start()
    thread.join(_ANSWER_WITHIN_S)
    if answers:
        return answers[0]
    if not errors:
        raise KeychainError(
            f"The keychain did not answer within {_ANSWER_WITHIN_S:.0f} seconds.", hint="Use the passphrase."
        )
    error = errors[0]
    if isinstance(error, KeychainError):
        raise error
    if type(error).__name__ in ("KeyringLocked", "LockedException", "PromptDismissedException"):
        raise _locked() from error
    raise KeychainError(f"The keychain refused: {type(error).__name__}.", hint="Use the passphrase.") from error
