"""The assistant: takes what a person says, keeps it, asks the model, and keeps what it answers.

Every message is in the vault before anything is done with it; a reply that is being written is kept every second.
Whatever happens to the worker or to this process, what was shown as saved is there afterwards.
"""

import contextlib
import secrets
import threading
from collections.abc import Generator, Sequence

import msgspec

from agent.adapters import SkillAdapters
from agent.context import Selection, content, cut_attachments, describe_cuts, leave_out
from agent.draft import Draft
from agent.errors import ContextOverflow, WorkerDied
from agent.inference import Inference, Overfull
from agent.tool_turn import Asked, ToolTurn
from agent.tool_use import ToolUse
from agent.turn_events import Event, Notice, Progress, Saved, Text, TurnEnd
from agent.worker.protocol import Called, ChatMessage, Delta, Evaluated, Finished, Sampling
from vault.conversations import Conversations
from vault.errors import NotFound
from vault.messages import TOOL_RESULT, Attachment, Generation, Message, MessageId, Session, SessionId
from vault.model_store import ModelRecord
from vault.sanitize import sanitize, sanitize_line
from vault.settings import SamplingSettings, Settings

__all__ = ["Assistant", "Event", "Notice", "Progress", "Saved", "Text", "TurnEnd", "new_sampling"]

_DRAW_A_SEED = 2**32 - 1  # llama.cpp's sign for a seed of its own choice, which no one could repeat
_MOST_TOKENS = 2**31 - 1


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
        adapters: Those that skills use with this model, looked up for each reply.

    Attributes:
        stopping: Set while the reply that is being written is to end.
    """

    def __init__(
        self,
        conversations: Conversations,
        inference: Inference,
        model: ModelRecord,
        settings: Settings,
        adapters: SkillAdapters | None = None,
    ) -> None:
        self._conversations = conversations
        self._inference = inference
        self._model = model
        self._settings = settings
        self._adapters = adapters
        self._adapter_sha256: str | None = None
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
                was not added, unless tools had been used for it.
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
            path = self._conversations.path(session.id, user.id)
            if not (path and any(kept.name.startswith(TOOL_RESULT) for kept in path[-1].attachments)):
                self._conversations.discard(user.id)  # but what tools have done is done, and is kept
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
            load_s, context_size, tool_form = ready.load_s, ready.context, ready.tool_form
        except WorkerDied:
            if not self.stopping.is_set():
                raise
            load_s, context_size, tool_form = 0.0, 0, "none"  # stopped while it was loaded
        previous = conversations.find(session.id).head
        row = conversations.append(session.id, question.id, "assistant", "", status="streaming")
        draft = Draft(conversations, row, previous)
        try:
            if tools is None:
                generating = self._generate(question, Asked(system_prompt, sampling, schema))
            else:
                turn = ToolTurn(self._conversations, self._generate, tools, tool_form, self.stopping)
                generating = turn.run(question, Asked(system_prompt, sampling))
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
        self, question: Message, asked: Asked
    ) -> Generator[Delta | Evaluated | Called | Finished | Notice]:
        """Ask the worker, leaving out or cutting what doesn't fit, as the settings say, until it does."""
        context = self._settings.context
        # A reply that was stopped before its first word says nothing to go on from.
        path = [m for m in self._conversations.path(question.session_id, question.id) if content(m)]
        known = self._left_out.get(question.session_id, set())
        if question.id in known:  # the conversation goes on from an earlier place
            known = set()
        selection = Selection([m for m in path if m.id not in known], [m for m in path if m.id in known])
        given = path[-1].attachments if path else ()
        adapter = self._adapters.of(asked.skill) if self._adapters is not None else None
        self._adapter_sha256 = adapter.sha256 if adapter is not None else None
        while True:
            prompt = self._prompt(asked.system_prompt, selection.messages, asked.ending)
            events = self._inference.generate(
                prompt,
                asked.sampling,
                reserve=context.reserve_tokens,
                schema=asked.schema,
                tools=asked.tools,
                adapter=adapter,
                stop=self.stopping,
            )
            try:
                first = next(events)
                break
            except Overfull as overfull:
                last = selection.messages[-1]
                begin = len(prompt) - len(selection.messages)
                costs, fixed = overfull.costs[begin:], sum(overfull.costs[:begin]) + overfull.tools
                alone = fixed + costs[-1]
                if alone > overfull.room and last.attachments and context.overflow != "refuse":
                    # Cut a little more than the count says: tokens aren't spread evenly over a text.
                    excess = 1 - overfull.room / alone * 0.97
                    attachments = cut_attachments(last.attachments, excess)
                    last = msgspec.structs.replace(last, attachments=tuple(attachments))
                    selection = Selection([*selection.messages[:-1], last], selection.left_out)
                    continue
                if context.overflow == "refuse" and alone <= overfull.room:
                    raise
                more = leave_out(selection.messages, costs, fixed, overfull.room)
                if not more.left_out:
                    raise
                selection = Selection(more.messages, [*selection.left_out, *more.left_out])
        with contextlib.closing(events):
            self._left_out[question.session_id] = {message.id for message in selection.left_out}
            cuts = describe_cuts(given, selection.messages[-1].attachments)
            if cuts:
                self._conversations.replace_attachments(question.id, selection.messages[-1].attachments)
            for notice in (*cuts, selection.notice()):
                if notice:
                    yield Notice(notice)
            yield first
            yield from events

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
            adapter_sha256=self._adapter_sha256,
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
