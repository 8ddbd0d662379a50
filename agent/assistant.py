"""The assistant: takes what a person says, keeps it, asks the model, and keeps what it answers.

Every message is in the vault before anything is done with it; a reply that is being written is kept every second.
Whatever happens to the worker or to this process, what was shown as saved is there afterwards.
"""

import contextlib
import secrets
import threading
import time
from collections.abc import Generator, Sequence

import msgspec

from agent.context import Selection, content, cut_attachments, describe_cuts, leave_out
from agent.errors import ContextOverflow, WorkerDied
from agent.inference import Inference, Overfull
from agent.tool_choice import ANSWER, WantedCall, read_choice
from agent.tool_use import ToolUse
from agent.worker.protocol import ChatMessage, Delta, Evaluated, Finished, Sampling
from vault.conversations import Conversations
from vault.errors import NotFound
from vault.messages import Attachment, Generation, Message, MessageId, Session, SessionId, Status
from vault.model_store import ModelRecord
from vault.sanitize import sanitize, sanitize_line
from vault.settings import SamplingSettings, Settings

__all__ = ["Assistant", "Event", "Notice", "Progress", "Saved", "Text", "TurnEnd", "new_sampling"]

_CHECKPOINT_EVERY_S = 1.0
_DRAW_A_SEED = 2**32 - 1  # llama.cpp's sign for a seed of its own choice, which no one could repeat
_MOST_TOKENS = 2**31 - 1


class Saved(msgspec.Struct, frozen=True):
    """The person's message is in the vault."""

    message_id: MessageId


class Notice(msgspec.Struct, frozen=True):
    """Something the person has to know about this turn."""

    text: str


class Progress(msgspec.Struct, frozen=True):
    """A long prompt is being evaluated: so many of its new tokens are done."""

    done: int
    total: int


class Text(msgspec.Struct, frozen=True):
    """More of the reply; sanitized."""

    text: str


class TurnEnd(msgspec.Struct, frozen=True):
    """The reply is complete and in the vault.

    Attributes:
        message: The reply.
        generation: Where it came from.
        context_used: Tokens of the window that are in use now.
        context_size: Tokens of the window.
    """

    message: Message
    generation: Generation
    context_used: int
    context_size: int


Event = Saved | Notice | Progress | Text | TurnEnd


def new_sampling(
    settings: SamplingSettings,
    *,
    temperature: float | None = None,
    max_tokens: int | None = None,
    seed: int | None = None,
    stop: tuple[str, ...] = (),
) -> Sampling:
    """The parameters of one reply: the settings, but for what is given here; without a seed, one is drawn."""
    return Sampling(
        temperature=settings.temperature if temperature is None else temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        min_p=settings.min_p,
        repeat_penalty=settings.repeat_penalty,
        repeat_last_n=settings.repeat_last_n,
        seed=(secrets.randbits(32) if seed is None else seed) % _DRAW_A_SEED,
        max_tokens=min(settings.max_tokens if max_tokens is None else max_tokens, _MOST_TOKENS),
        stop=stop,
    )


class Assistant:
    """Holds conversations with one model.

    Args:
        conversations: Where they are kept.
        inference: The model's worker.
        model: What the worker runs, for the provenance of replies.
        settings: The person's settings.

    Attributes:
        stopping: Set while the reply that is being written is to end.
    """

    def __init__(
        self, conversations: Conversations, inference: Inference, model: ModelRecord, settings: Settings
    ) -> None:
        self._conversations = conversations
        self._inference = inference
        self._model = model
        self._settings = settings
        self._left_out: dict[SessionId, set[MessageId]] = {}
        self.stopping = threading.Event()

    def start_session(self, first_words: str, system_prompt: str | None = None) -> Session:
        """Begin a conversation, titled by its first words."""
        title = sanitize_line(first_words, 60) or "Untitled"
        prompt = self._settings.assistant.system if system_prompt is None else sanitize(system_prompt)
        return self._conversations.start(title, prompt)

    def reply(
        self,
        session: Session,
        text: str,
        *,
        sampling: Sampling,
        attachments: Sequence[Attachment] = (),
        schema: str | None = None,
        tools: ToolUse | None = None,
    ) -> Generator[Event]:
        """Say something at the session's head, and yield the reply as it comes.

        Closing the iterator, or `cancel`, ends the reply; the text so far is kept. With tools, what came of each
        call is kept with the message, and read from there.

        Raises:
            ContextOverflow: it doesn't fit, and the settings or the message itself allow no way out; the message
                was not added.
            AgentError: the model or its worker failed; the message, and the reply so far, are kept.
            VaultError: the vault can't be written.
        """
        self.stopping.clear()
        head = self._conversations.find(session.id).head
        user = self._conversations.append(session.id, head, "user", sanitize(text), attachments=attachments)
        yield Saved(user.id)
        try:
            yield from self._answer(session, user, sampling, schema, tools)
        except ContextOverflow:
            self._conversations.discard(user.id)
            raise

    def regenerate(self, session: Session, *, sampling: Sampling, tools: ToolUse | None = None) -> Generator[Event]:
        """Answer the last question again; the new reply is a sibling of the old one. Errors as in `reply`.

        Raises:
            NotFound: there is no question to answer yet.
        """
        self.stopping.clear()
        path = self._conversations.path(session.id)
        while path and path[-1].role == "assistant":
            path.pop()
        if not path:
            raise NotFound("There is no reply to write again yet.")
        yield from self._answer(session, path[-1], sampling, None, tools)

    def cancel(self) -> None:
        """Stop the reply that is being written. May be called from any thread."""
        self.stopping.set()
        self._inference.cancel()

    def _answer(
        self, session: Session, question: Message, sampling: Sampling, schema: str | None, tools: ToolUse | None
    ) -> Generator[Event]:
        conversations = self._conversations
        system_prompt = conversations.find(session.id).system_prompt
        try:
            ready = self._inference.ready()  # a model that can't be loaded fails before anything is written
            load_s, context_size = ready.load_s, ready.context
        except WorkerDied:
            if not self.stopping.is_set():
                raise
            load_s, context_size = 0.0, 0  # stopped while it was loaded
        previous = conversations.find(session.id).head
        row = conversations.append(session.id, question.id, "assistant", "", status="streaming")
        draft = _Draft(conversations, row, previous)
        try:
            if tools is None:
                generating = self._generate(system_prompt, question, sampling, schema)
            else:
                generating = self._generate_with_tools(system_prompt, question, sampling, tools)
            with contextlib.closing(generating) as events:
                for event in events:
                    match event:
                        case Delta():
                            draft.add(event.text)
                            yield Text(event.text)
                        case Evaluated() if event.done:
                            yield Progress(event.done, event.total)
                        case Finished():
                            generation = self._provenance(event, sampling, load_s)
                            message = draft.finish(
                                "cancelled" if event.finish == "cancelled" else "complete", generation
                            )
                            used = event.prompt_tokens + event.completion_tokens
                            yield TurnEnd(message, generation, used, context_size)
                        case Notice():
                            yield event
        except GeneratorExit:
            draft.close("cancelled")
            raise
        except BaseException:
            draft.close("interrupted")
            raise

    def _generate(
        self, system_prompt: str, question: Message, sampling: Sampling, schema: str | None, ending: str = ""
    ) -> Generator[Delta | Evaluated | Finished | Notice]:
        """Ask the worker, leaving out or cutting what doesn't fit, as the settings say, until it does.

        `ending` is put behind everything that was said.
        """
        context = self._settings.context
        # A reply that was stopped before its first word says nothing to go on from.
        path = [m for m in self._conversations.path(question.session_id, question.id) if content(m)]
        known = self._left_out.get(question.session_id, set())
        if question.id in known:  # the conversation goes on from an earlier place
            known = set()
        selection = Selection([m for m in path if m.id not in known], [m for m in path if m.id in known])
        while True:
            prompt = self._prompt(system_prompt, selection.messages, ending)
            fixed = len(prompt) - len(selection.messages)
            events = self._inference.generate(
                prompt, sampling, reserve=context.reserve_tokens, schema=schema, stop=self.stopping
            )
            try:
                first = next(events)
                break
            except Overfull as overfull:
                last = selection.messages[-1]
                alone = sum(overfull.costs[:fixed]) + overfull.costs[-1]
                if alone > overfull.room and last.attachments and context.overflow != "refuse":
                    # Cut a little more than the count says: tokens aren't spread evenly over a text.
                    excess = 1 - overfull.room / alone * 0.97
                    attachments = cut_attachments(last.attachments, excess)
                    last = msgspec.structs.replace(last, attachments=tuple(attachments))
                    selection = Selection([*selection.messages[:-1], last], selection.left_out)
                    continue
                if context.overflow == "refuse" and alone <= overfull.room:
                    raise
                more = leave_out(
                    selection.messages, overfull.costs[fixed:], sum(overfull.costs[:fixed]), overfull.room
                )
                if not more.left_out:
                    raise
                selection = Selection(more.messages, [*selection.left_out, *more.left_out])
        with contextlib.closing(events):
            self._left_out[question.session_id] = {message.id for message in selection.left_out}
            cuts = describe_cuts(question.attachments, selection.messages[-1].attachments)
            if cuts:
                self._conversations.replace_attachments(question.id, selection.messages[-1].attachments)
            for notice in (*cuts, selection.notice()):
                if notice:
                    yield Notice(notice)
            yield first
            yield from events

    def _generate_with_tools(
        self, system_prompt: str, question: Message, sampling: Sampling, tools: ToolUse
    ) -> Generator[Delta | Evaluated | Finished | Notice]:
        """Let the model call tools, one at a time, and keep what came of each; then let it answer."""
        steps = tools.steps()
        while not steps.over:
            system = tools.system(system_prompt)  # a step may have taken up a skill
            choosing = self._generate(system, question, sampling, tools.schema, tools.question)
            said = yield from self._choice(choosing)
            if said is None:
                return
            if said.tool == ANSWER:
                break
            result = steps.take(said, self.stopping)
            kept = self._conversations.path(question.session_id, question.id)[-1].attachments
            self._conversations.replace_attachments(question.id, [*kept, result])
            question = msgspec.structs.replace(question, attachments=(*kept, result))
        if steps.over:
            yield Notice(f"No more tools are used for this reply: {steps.over}.")
        yield from self._generate(tools.system(system_prompt), question, sampling, None)

    @staticmethod
    def _choice(
        choosing: Generator[Delta | Evaluated | Finished | Notice],
    ) -> Generator[Evaluated | Finished | Notice, None, WantedCall | None]:
        """Read which tool the model wants; `None` when it was stopped, which is then the end."""
        parts: list[str] = []
        with contextlib.closing(choosing) as events:
            for event in events:
                match event:
                    case Delta():
                        parts.append(event.text)
                    case Finished() if event.finish == "cancelled":
                        yield msgspec.structs.replace(event, tokens=None)
                        return None
                    case Finished():
                        pass
                    case _:
                        yield event
        return read_choice("".join(parts)) or WantedCall("")

    def _prompt(self, system_prompt: str, path: Sequence[Message], ending: str = "") -> list[ChatMessage]:
        prompt = [ChatMessage("system", system_prompt)] if system_prompt else []
        for message in path:
            made = message.generation
            own = made.tokens if made is not None and made.model_sha256 == self._model.sha256 else None
            prompt.append(ChatMessage(message.role, content(message), own))
        if ending:
            last = prompt[-1]
            prompt[-1] = msgspec.structs.replace(last, text=f"{last.text}\n\n{ending}", tokens=None)
        return prompt

    def _provenance(self, finished: Finished, sampling: Sampling, load_s: float) -> Generation:
        return Generation(
            model_name=self._model.name,
            model_sha256=self._model.sha256,
            adapter_sha256=None,
            sampling=msgspec.to_builtins(sampling),
            finish=finished.finish,
            prompt_tokens=finished.prompt_tokens,
            cached_tokens=finished.cached_tokens,
            completion_tokens=finished.completion_tokens,
            load_s=load_s,
            prefill_s=finished.prefill_s,
            decode_s=finished.decode_s,
            first_token_s=finished.first_token_s,
            tokens=finished.tokens,
        )


class _Draft:
    """A reply while it is written: kept in the vault once a second, so that a crash costs a second at most."""

    def __init__(self, conversations: Conversations, message: Message, previous_head: MessageId | None) -> None:
        self.message = message
        self._previous_head = previous_head
        self._conversations = conversations
        self._parts: list[str] = []
        self._kept_at = time.monotonic()
        self._open = True

    def add(self, text: str) -> None:
        self._parts.append(text)
        if time.monotonic() - self._kept_at >= _CHECKPOINT_EVERY_S:
            self._conversations.checkpoint(self.message.id, "".join(self._parts))
            self._kept_at = time.monotonic()

    def finish(self, status: Status, generation: Generation | None) -> Message:
        text = "".join(self._parts)
        self._conversations.finish(self.message.id, text, status, generation)
        self._open = False
        return msgspec.structs.replace(self.message, text=text, status=status, generation=generation)

    def close(self, status: Status) -> None:
        """Keep the text so far, unless the reply is finished; a reply without a word of text is no message."""
        if not self._open:
            return
        if self._parts:
            self.finish(status, None)
        else:
            self._conversations.discard(self.message.id)
            self._conversations.set_head(self.message.session_id, self._previous_head)
            self._open = False
