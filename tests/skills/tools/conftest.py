"""The vault and the session of the broker's tests."""

from tests.skills.permissions.conftest import session, vault

__all__ = ["session", "vault"]
