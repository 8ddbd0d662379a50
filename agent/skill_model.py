"""The model as skills see it (`skills.model.LanguageModel`): a worker that answers each thing by itself."""

import contextlib
import threading
from collections.abc import Callable

from agent.adapters import Adapter
from agent.inference import Inference
from agent.worker.protocol import ChatMessage, Delta, Finished, Sampling
from skills.model import Answer
from vault.model_store import ModelRecord

__all__ = ["SkillModel"]

_TOP_K, _TOP_P, _MIN_P = 40, 0.9, 0.05
_REPEAT_LAST_N = 64


class SkillModel:
    """One model for the skills.

    What the person set for conversations (temperature, length and so on) doesn't count here: a skill knows what its
    questions need.

    Args:
        inference: The model's worker.
        record: What the worker runs.
        adapter: That it answers with.
    """

    def __init__(self, inference: Inference, record: ModelRecord, adapter: Adapter | None = None) -> None:
        self._inference = inference
        self._record = record
        self._adapter = adapter

    @property
    def name(self) -> str:
        """As `claw model list` shows it."""
        return self._record.name

    @property
    def sha256(self) -> str:
        """Digest of the weights, in hex."""
        return self._record.sha256

    @property
    def adapter_sha256(self) -> str | None:
        """Digest of the adapter that it answers with, in hex."""
        return self._adapter.sha256 if self._adapter is not None else None

    @property
    def context(self) -> int:
        """The worker's context window in tokens; waits for the model to be loaded."""
        return self._inference.ready().context

    def count(self, text: str) -> int:
        """How many tokens a text is. Errors as `Inference.count` has them."""
        return self._inference.count(text)

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
        """Ask something, as `skills.model.LanguageModel` says. Errors as `Inference.generate` has them.

        `Inference.cancel` has to be called as well once `stop` is set, as the event alone wakes nobody.
        """
        sampling = Sampling(
            temperature=temperature,
            top_k=_TOP_K,
            top_p=_TOP_P,
            min_p=_MIN_P,
            repeat_penalty=repeat_penalty,
            repeat_last_n=_REPEAT_LAST_N,
            seed=seed,
            max_tokens=max_tokens,
        )
        messages = [ChatMessage("user", text)]
        if system:
            messages.insert(0, ChatMessage("system", system))
        parts: list[str] = []
        events = self._inference.generate(
            messages, sampling, reserve=max_tokens, schema=schema, adapter=self._adapter, stop=stop
        )
        with contextlib.closing(events):
            for event in events:
                match event:
                    case Delta():
                        parts.append(event.text)
                        if on_text is not None:
                            on_text(event.text)
                    case Finished():
                        return Answer("".join(parts), event.finish, event.prompt_tokens, event.completion_tokens)
        raise AssertionError("a reply ends with Finished or an error")
