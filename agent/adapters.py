"""Trained adapters as the assistant uses them: that of the skill at work, as the vault has it at that moment."""

from collections.abc import Callable
from typing import NamedTuple

from vault.adapter_store import AdapterStore
from vault.classes import HighlySensitive
from vault.model_store import ModelRecord

__all__ = ["Adapter", "SkillAdapters"]


class Adapter(NamedTuple):
    """An adapter that a question is answered with.

    Attributes:
        sha256: Digest of its GGUF file, in hex.
        read: Gives that file. Called when a worker hasn't got it, so that it needn't be held in memory here.
    """

    sha256: str
    read: Callable[[], HighlySensitive[bytes]]


class SkillAdapters:
    """The adapters that skills use with one model.

    Args:
        store: The vault's; `None` where no vault is open.
        model: That they belong to.
    """

    def __init__(self, store: AdapterStore | None, model: ModelRecord) -> None:
        self._store = store
        self._model = model

    def of(self, skill: str) -> Adapter | None:
        """The adapter that a skill uses now.

        Args:
            skill: Its name; empty where no skill is at work.
        """
        store = self._store
        record = store.active(skill, self._model.sha256) if store is not None and skill else None
        if store is None or record is None:
            return None
        adapter_id = record.id
        return Adapter(record.sha256, lambda: store.content(adapter_id))
