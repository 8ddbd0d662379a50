"""What the assistant keeps: keys, the encrypted store, settings, and the one door out.

The public names are loaded when first used, so that a process that needs one of them (the inference worker, which
must not even be able to open a vault, needs the frames alone) doesn't load the others.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vault.conversations import Conversations
    from vault.errors import ClawError, VaultError
    from vault.home import Home
    from vault.keychain import SystemKeychain
    from vault.messages import Attachment, Generation, Message, Session
    from vault.model_store import ModelRecord, ModelStore
    from vault.settings import Settings, load_settings
    from vault.store import Vault

__all__ = [
    "Attachment",
    "ClawError",
    "Conversations",
    "Generation",
    "Home",
    "Message",
    "ModelRecord",
    "ModelStore",
    "Session",
    "Settings",
    "SystemKeychain",
    "Vault",
    "VaultError",
    "load_settings",
]

_HOMES = {
    "Attachment": "messages",
    "ClawError": "errors",
    "Conversations": "conversations",
    "Generation": "messages",
    "Home": "home",
    "Message": "messages",
    "ModelRecord": "model_store",
    "ModelStore": "model_store",
    "Session": "messages",
    "Settings": "settings",
    "SystemKeychain": "keychain",
    "Vault": "store",
    "VaultError": "errors",
    "load_settings": "settings",
}


def __getattr__(name: str) -> object:
    if module := _HOMES.get(name):
        return getattr(importlib.import_module(f"vault.{module}"), name)
    raise AttributeError(f"module 'vault' has no attribute {name!r}")
