"""An assistant at work: vault, verified model, worker and conversations, opened and closed together."""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from agent.adapters import SkillAdapters
from agent.assistant import Assistant
from agent.inference import Inference
from agent.models.catalogue import Catalogue
from agent.models.embedded import EMBEDDED_NAME
from cli.console import Console
from vault.adapter_store import AdapterStore
from vault.conversations import Conversations
from vault.errors import NotFound
from vault.lock import LockLimits

if TYPE_CHECKING:
    from agent.tool_use import ToolUse
    from skills.suggestion import Suggestion
    from vault.database import Database
    from vault.messages import Session
    from vault.model_store import ModelRecord
    from vault.store import Vault

__all__ = ["Desk"]

ERASED = "The vault was erased."


def _in_memory() -> "Database":
    from vault.database import Database

    return Database.in_memory()


class Desk:
    """What a conversation needs.

    Args:
        console: The run of the command.
        model: Name of the model; the settings' default if `None`.
        keep: Whether conversations are kept in the vault. If not, they live in memory, and the vault is opened
            only when the model, or `needs_history`, asks for it.
        needs_history: Whether an earlier conversation will be read.
        idle: Whether the vault locks when it wasn't used for a while: where a person may have left.

    Attributes:
        when_locked: Called with the reason when the vault locks, from another thread.

    Raises:
        ClawError: the vault, or the model, can't be opened.
    """

    def __init__(
        self,
        console: Console,
        model: str | None,
        *,
        keep: bool = True,
        needs_history: bool = False,
        idle: bool = False,
    ) -> None:
        self.console = console
        self.when_locked: Callable[[str], object] = lambda _why: None
        self._keep, self._idle = keep, idle
        name = model or console.settings.model.default
        self.vault: Vault | None = None
        self.inference: Inference | None = None
        self._unkept: Database | None = None
        self._suggestion: Suggestion | None = None
        if keep or needs_history or name != EMBEDDED_NAME:
            self.vault = console.open_vault(create=keep, due=keep)
        try:
            if keep and self.vault is not None:
                self.conversations = self.vault.conversations
            else:
                self._unkept = _in_memory()
                self.conversations = Conversations(self._unkept)
            self.use(name)
        except BaseException:
            self.close()
            raise
        self._watch()

    def tools(self, skill: str | None = None) -> "ToolUse":
        """Tools for a conversation, whose calls are asked about at this terminal.

        Args:
            skill: Name of the skill that is used, if any.

        Raises:
            NotFound, SkillRefused: there is no such skill, or it can't be used.
        """
        from agent.tool_use import ToolUse
        from cli.approvals import Narrator, TerminalApprover
        from skills.sandbox.noted import noted_best
        from skills.suggestion import Suggestion
        from skills.toolbox import begin

        vault = self.vault
        assert vault is not None
        approver = TerminalApprover(self.console, self._nobody_waits)
        closed = [self.console.passphrase_file] if self.console.passphrase_file else []
        session = begin(vault, self.console.settings.network, approver, lambda: noted_best(vault), skill, closed)
        session.bus.listen(Narrator(self.console).hear)
        if self._suggestion is not None:
            self._suggestion.close()
        tools = session.broker.tools
        self._suggestion = Suggestion({name: tool.description for name, tool in tools.items()})
        return ToolUse(session.broker, session.activation, suggest=self._suggestion.of)

    def _nobody_waits(self) -> bool:
        """Whether the reply was stopped, everything is paused, or the vault locked."""
        from vault.pause import PauseLatch

        return self.assistant.stopping.is_set() or PauseLatch(self.console.home).engaged or bool(self.locked)

    def use(self, name: str) -> None:
        """Switch to another model; the old one's worker ends only when the new model is there.

        Raises:
            NotFound, ModelRefused: the model isn't there, or isn't what it was; the old one stays in use.
        """
        store = self.vault.models if self.vault is not None else None
        with Catalogue(self.console.home, store).open_verified(name) as weights:
            inference = Inference(weights, self.console.settings.inference)
            model = weights.record
        try:
            inference.start()
            if self.inference is not None:  # the first one loads while a person reads and types
                inference.ready()
        except BaseException:  # an interrupt, too
            inference.close()
            raise
        if self.inference is not None:
            self.inference.close()
        self.inference = inference
        self.model: ModelRecord = model
        self.assistant = self._assistant(inference)

    @property
    def locked(self) -> str:
        """Why the vault locked while it was in use, as a sentence; empty while it is open."""
        why = self.vault.watch.why if self.vault is not None and self._keep else ""
        return ERASED if why and self.erased else why

    @property
    def erased(self) -> bool:
        """Whether another process destroyed the vault: then nothing opens it, and nothing of it is kept."""
        return not self.console.home.keyslots.exists()

    def unlock(self) -> None:
        """Open the vault again after it locked; whatever was kept is there.

        Raises:
            Locked: nothing opened it.
        """
        assert self.vault is not None
        assert self.inference is not None
        self.vault.close()
        self.vault = self.console.open_vault()
        self.conversations = self.vault.conversations
        self.assistant = self._assistant(self.inference)
        self._watch()

    def _assistant(self, inference: Inference) -> Assistant:
        return Assistant(self.conversations, inference, self.model, self.console.settings, self.adapters)

    @property
    def adapters(self) -> SkillAdapters:
        """The adapters that skills use with the model; none without a vault."""
        return SkillAdapters(AdapterStore(self.vault.database) if self.vault is not None else None, self.model)

    def _watch(self) -> None:
        """Have the worker forget what was said when the vault locks, and the vault lock when nobody is there."""
        if self.vault is None or not self._keep:
            return
        if self._idle:
            self.vault.watch.limit(LockLimits.of(self.console.settings.vault))
        self.vault.watch.told = self._forget

    def _forget(self, why: str) -> None:
        self.assistant.cancel()
        if self.inference is not None:
            self.inference.kill("the vault was locked")
        if self.vault is not None:
            self.vault.close()
        self.when_locked(why)

    def still_there(self, session: "Session") -> bool:
        """Whether a conversation exists; another process may have deleted it."""
        try:
            self.conversations.find(session.id)
        except NotFound:
            return False
        return True

    def forget_if_empty(self, session: "Session") -> bool:
        """Remove a conversation whose first message was refused; whether it was such a one."""
        empty = not self.conversations.tree(session.id)
        if empty:
            self.conversations.delete(session.id)
        return empty

    def close(self) -> None:
        """End the worker and close the vault."""
        if self.inference is not None:
            self.inference.close()
        if self._suggestion is not None:
            self._suggestion.close()
        if self._unkept is not None:
            self._unkept.close()
        if self.vault is not None:
            self.vault.close()

    def __enter__(self) -> "Desk":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
