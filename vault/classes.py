"""How strictly a value is kept, as types: what may never be stored can't be handed to a statement by accident.

`TopSecret` and `HighlySensitive` hold a value that only `reveal()` gives out. Neither is a value that the database
takes: mypy refuses it (`vault.connection.SqlValue`), and SQLite's adaptation protocol, pickling, formatting and
encoding refuse it at run time. A highly sensitive value is stored after `vault.fields` has sealed it, a top-secret
one never.
"""

from enum import StrEnum
from typing import Generic, NoReturn, TypeVar, final

from vault.errors import SecretKept

__all__ = ["DataClass", "HighlySensitive", "TopSecret"]

Value = TypeVar("Value")


class DataClass(StrEnum):
    """How strictly something is kept, strictest first."""

    TOP_SECRET = "top-secret"  # noqa: S105  the name of a class
    """In memory alone: keys, passphrases."""
    HIGHLY_SENSITIVE = "highly-sensitive"
    """On this device alone, sealed field by field: attached files, signing keys."""
    MEDIUM = "medium"
    """On this device, encrypted; may be synchronised, encrypted, if the person enables that: conversations."""
    GENERAL = "general"
    """Says nothing about a person: digests of public weights, counters. Encrypted all the same."""


class _Guarded(Generic[Value]):
    """Holds a value that doesn't get out by accident."""

    __slots__ = ("_value",)
    _refusal = "must not be stored as it is"

    def __init__(self, value: Value) -> None:
        self._value = value

    def reveal(self) -> Value:
        """The value itself. Where this is called, a reader can see that a secret is handled."""
        return self._value

    def _refuse(self) -> NoReturn:
        raise SecretKept(f"A {type(self).__name__} value {self._refusal}; nothing was stored.")

    def __conform__(self, protocol: object) -> NoReturn:
        """SQLite's adaptation of a bound parameter (PEP 246)."""
        self._refuse()

    def __reduce__(self) -> NoReturn:
        self._refuse()

    def __bytes__(self) -> NoReturn:
        self._refuse()

    def __str__(self) -> NoReturn:
        self._refuse()

    def __format__(self, spec: str) -> NoReturn:
        self._refuse()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


@final
class TopSecret(_Guarded[Value]):
    """A value that lives in memory alone."""

    __slots__ = ()
    _refusal = "lives in memory alone"


@final
class HighlySensitive(_Guarded[Value]):
    """A value that is stored only after it was sealed."""

    __slots__ = ()
    _refusal = "is stored only sealed"
