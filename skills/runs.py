"""Runs of skills that ask a model many things: each answer is kept in the vault until the run is finished.

A run that is stopped, or killed, is gone on with by running the same again: what was answered is there already.
Answers are kept by digests of the skill, its input, the question, the model, its adapter, and of what exactly was
asked, so that nothing that changed meanwhile is taken for what it was. They are highly sensitive, and sealed one by
one.
"""

import hashlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from skills.bundled.task import Task
from skills.errors import RunStopped
from skills.model import Answer, LanguageModel
from vault.classes import DataClass, HighlySensitive
from vault.database import Connection
from vault.run_store import RunStore

if TYPE_CHECKING:
    from vault.store import Vault

__all__ = ["Run", "Usage", "forget_runs"]


class Usage(msgspec.Struct):
    """What a run has taken so far.

    Attributes:
        asked: How often the model was asked.
        kept: Of how many of them the answer was known from before.
        prompt_tokens: Of what it was asked this time.
        completion_tokens: Of what it answered this time.
    """

    asked: int = 0
    kept: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Run:
    """One run of a skill; also the model as that skill sees it.

    Args:
        vault: Open; where answers are kept and the run is logged.
        skill: The skill's name.
        digest: Of its files.
        task: What it is given.
        model: Asked what isn't known yet.
        stop: Set by another thread to end the run.

    Attributes:
        usage: What it has taken so far.
        resumed: Whether there were answers from before.
        input_digest: Of the texts and the question, in hex.
    """

    def __init__(
        self, vault: "Vault", skill: str, digest: str, task: Task, model: LanguageModel, stop: threading.Event
    ) -> None:
        self._vault = vault
        self._store = RunStore(vault.database)
        self._skill = skill
        self._model = model
        self._stop = stop
        self.input_digest = _digest([_digest([source.text for source in task.sources]), task.question])
        self.id = _digest([skill, digest, self.input_digest, model.sha256, model.adapter_sha256])
        self._answers = self._store.answers(self.id)
        self.resumed = bool(self._answers)
        self.usage = Usage()

    @property
    def name(self) -> str:
        """The model's."""
        return self._model.name

    @property
    def sha256(self) -> str:
        """The model's."""
        return self._model.sha256

    @property
    def adapter_sha256(self) -> str | None:
        """The model's."""
        return self._model.adapter_sha256

    @property
    def context(self) -> int:
        """The model's."""
        return self._model.context

    @property
    def known(self) -> int:
        """How many answers are kept."""
        return len(self._answers)

    def count(self, text: str) -> int:
        """How many tokens a text is.

        Raises:
            RunStopped: the run was stopped.
        """
        self._go_on()
        return self._model.count(text)

    def ask(
        self,
        system: str,
        text: str,
        *,
        schema: str | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        repeat_penalty: float = 1.0,
        seed: int = 0,
        on_text: Callable[[str], object] | None = None,
        stop: threading.Event | None = None,
    ) -> Answer:
        """Ask the model, unless the answer is kept; as `LanguageModel.ask` has it.

        Raises:
            RunStopped: the run was stopped; what was answered before is kept.
        """
        self._go_on()
        request = _digest([system, text, schema, max_tokens, temperature, repeat_penalty, seed])
        self.usage.asked += 1
        if kept := self._answers.get(request):
            self.usage.kept += 1
            return msgspec.json.decode(kept.reveal(), type=Answer)
        answer = self._model.ask(
            system,
            text,
            schema=schema,
            max_tokens=max_tokens,
            temperature=temperature,
            repeat_penalty=repeat_penalty,
            seed=seed,
            on_text=on_text,
            stop=stop or self._stop,
        )
        if answer.finish == "cancelled":
            raise RunStopped("The run was stopped.")
        sealed = HighlySensitive(msgspec.json.encode(answer))
        self._store.keep(self.id, self._skill, request, sealed)
        self._answers[request] = sealed
        self.usage.prompt_tokens += answer.prompt_tokens
        self.usage.completion_tokens += answer.completion_tokens
        return answer

    def finish(self, sources: int, size: int) -> None:
        """Log that it is finished, and remove what was kept for it.

        Args:
            sources: How many texts it read.
            size: Bytes of them.
        """

        def work(connection: Connection) -> None:
            self._store.remove(connection, self.id)
            self._log(connection, sources, size, "finished")

        self._vault.database.write(work)

    def interrupt(self, sources: int, size: int) -> None:
        """Log that it was stopped; what was answered is kept. Arguments as in `finish`."""
        self._vault.database.write(
            lambda connection: self._log(connection, sources, size, "stopped before its end")
        )

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise RunStopped("The run was stopped.")

    def _log(self, connection: Connection, sources: int, size: int, how: str) -> None:
        from vault.log.entries import Action, Entry

        usage = self.usage
        texts = f"{sources:,} text{'s' * (sources != 1)}, {size:,} bytes"
        asked = f"{usage.asked:,} question{'s' * (usage.asked != 1)} to the model, {usage.kept:,} answered before"
        self._vault.log.record(
            connection,
            Entry(
                action=Action.SKILL,
                purpose=f"run of {self._skill}",
                data_class=DataClass.HIGHLY_SENSITIVE,
                description=f"a bundled skill read {texts}; {asked}; {how}",
                payload_sha256=self.input_digest,
                sensitive=True,
            ),
        )


def forget_runs(vault: "Vault", skill: str) -> tuple[int, str]:
    """Remove what is kept of unfinished runs of a skill.

    Returns:
        How many runs there were; and where encrypted copies of it lie still, and until when, empty where nowhere.
    """
    from vault.log.entries import Action, Entry

    def work(connection: Connection) -> int:
        if count := RunStore.remove_all(connection, skill):
            entry = Entry(
                action=Action.SKILL,
                purpose=f"run of {skill}",
                data_class=DataClass.HIGHLY_SENSITIVE,
                description=f"what was kept of {count:,} unfinished run{'s' * (count != 1)} was removed",
            )
            vault.log.record(connection, entry)
        return count

    count = vault.database.write(work)
    return count, vault.database.clear_away() if count else ""


def _digest(what: object) -> str:
    return hashlib.sha256(msgspec.json.encode(what)).hexdigest()
