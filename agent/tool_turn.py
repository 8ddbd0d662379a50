"""A reply with tools: the model wants calls, one at a time, until it answers.

What came of each call is kept with the question, and read from there as data. Where the model's chat template has a
form for calls, one generation either wants a call or is the answer; else it is asked in our own form what it wants,
and then answers in another.
"""

import contextlib
import threading
from collections.abc import Callable, Generator
from typing import NamedTuple

import msgspec

from agent.context import named
from agent.errors import ContextOverflow
from agent.tool_choice import ANSWER, WantedCall, read_call, read_choice
from agent.tool_use import ToolUse
from agent.turn_events import Notice
from agent.worker.protocol import Called, Delta, Evaluated, Finished, OfferedTool, Sampling, ToolForm
from vault.classes import DataClass
from vault.conversations import Conversations
from vault.errors import NotFound
from vault.messages import BROUGHT_FROM, Attachment, Message

__all__ = ["Asked", "Generating", "ToolTurn"]

_MOST_CHOICE_TOKENS = 2048
_NOT_GIVEN = "It is too long for the context window, and isn't given here. Say so."


class Asked(NamedTuple):
    """What a generation is asked, beside what was said.

    Attributes:
        system_prompt: What stands before the conversation.
        sampling: How tokens are chosen.
        schema: A JSON schema that the reply must fit.
        ending: Put behind everything that was said.
        tools: That may be called in the model's own form.
        skill: The name of the skill that is at work; empty for none.
    """

    system_prompt: str
    sampling: Sampling
    schema: str | None = None
    ending: str = ""
    tools: tuple[OfferedTool, ...] = ()
    skill: str = ""


Generating = Generator[Delta | Evaluated | Called | Finished | Notice]


class ToolTurn:
    """One reply.

    Args:
        conversations: Where results are kept.
        generate: Asks the model.
        tools: That it may call.
        form: In which form the model calls tools.
        stop: Set when the reply is to end.
    """

    def __init__(
        self,
        conversations: Conversations,
        generate: Callable[[Message, Asked], Generating],
        tools: ToolUse,
        form: ToolForm,
        stop: threading.Event,
    ) -> None:
        self._conversations = conversations
        self._generate = generate
        self._tools = tools
        self._own = form == "none"
        self._stop = stop
        self._told: set[str] = set()

    def run(self, question: Message, asked: Asked) -> Generating:
        """Let the model call tools, and then answer.

        Raises:
            ContextOverflow: it doesn't fit, even without the tools and without what came of the last of them.
            NotFound: the conversation was deleted meanwhile.
            VaultError: the vault can't be written, or everything is paused.
        """
        suggested_was = ""
        steps, newest, answering = self._tools.steps(), None, not self._tools.broker.tools
        suggested = self._tools.suggested(question.text) if self._own and not answering else ""
        while True:
            if steps.over and not answering:
                yield Notice(f"No more tools are used for this reply: {steps.over}.")
                answering = True
            try:
                wanted = yield from self._ask(question, asked, suggested, answering=answering)
                suggested, suggested_was = "", suggested
            except ContextOverflow:
                if newest is not None:
                    yield Notice(f"{named(newest)} doesn't fit the context window, and wasn't read.")
                    told = f"{_call_of(newest)[1]}\n{_NOT_GIVEN}"
                    question = self._keep(question, Attachment(newest.name, told), steps.taken, again=True)
                    newest = None
                elif not answering:
                    yield Notice("The tools don't fit the context window: this is answered without them.")
                else:
                    raise
                answering = True
                continue
            if wanted is None:
                return
            if wanted.tool == ANSWER and self._own:
                answering = True
                continue
            if suggested_was and not wanted.tool:
                continue  # the model could not call what it was to call; it may choose by itself
            newest = steps.take(wanted, self._stop)
            self._tools.broker.trust.has_kept(newest.name, newest.text)
            question = self._keep(question, newest, steps.taken)

    def _note_what_was_read(self, question: Message) -> None:
        """What others wrote and stands in the conversation: files, results, imported messages, what skills say."""
        trust, activation = self._tools.broker.trust, self._tools.activation
        for message in self._conversations.path(question.session_id, question.id):
            for attachment in message.attachments:
                trust.has_before_it(attachment.name, attachment.text, DataClass.HIGHLY_SENSITIVE)
            if message.source:
                trust.has_before_it(f"what was imported from {message.source}", message.text, DataClass.MEDIUM)
        for skill in activation.foreign_offers:
            trust.has_before_it(f"what the skill {skill} says of itself", "", DataClass.MEDIUM)
        if skill := activation.foreign:
            trust.has_before_it(f"the skill {skill}", "", DataClass.MEDIUM)

    def _ask(
        self, question: Message, asked: Asked, suggested: str, *, answering: bool
    ) -> Generator[Delta | Evaluated | Finished | Notice, None, WantedCall | None]:
        """Ask once; `None` when that was the answer, or was stopped."""
        if gone := self._tools.activation.let_go():
            yield Notice(gone)
        self._note_what_was_read(question)
        choosing = self._own and not answering
        # A step may take up a skill.
        asked = asked._replace(
            system_prompt=self._tools.system(asked.system_prompt), skill=self._tools.activation.name
        )
        if choosing:
            sampling = msgspec.structs.replace(asked.sampling, max_tokens=_MOST_CHOICE_TOKENS, stop=())
            asked = asked._replace(
                sampling=sampling, schema=self._tools.schema(suggested), ending=self._tools.question(suggested)
            )
        elif not answering:
            asked = asked._replace(
                system_prompt=self._tools.with_care(asked.system_prompt), tools=self._tools.offered
            )
        chosen: list[str] = []
        wanted: WantedCall | None = None
        with contextlib.closing(self._generate(question, asked)) as events:
            for event in events:
                match event:
                    case Delta() if choosing:
                        chosen.append(event.text)
                    case Called():
                        wanted = read_call(event.text) or WantedCall("")
                    case Finished() if choosing or wanted is not None:
                        if event.finish == "cancelled":
                            yield msgspec.structs.replace(event, tokens=None)
                            return None
                    case Notice() if event.text in self._told:
                        pass
                    case Notice():
                        self._told.add(event.text)
                        yield event
                    case _:
                        yield event
        return read_choice("".join(chosen)) or WantedCall("") if choosing else wanted

    def _keep(self, question: Message, result: Attachment, step: int, *, again: bool = False) -> Message:
        """Keep what came of a step with the question.

        What an earlier reply to it was told of the same call gives way; its other results stay, before those of
        this reply.

        Args:
            question: The question.
            result: What came of the step.
            step: Its number in this reply.
            again: Whether it was kept before, and is to stand in the place of that.
        """
        path = self._conversations.path(question.session_id, question.id)
        if not path:
            raise NotFound("The conversation was deleted while its reply was being written.")
        kept = path[-1].attachments[:-1] if again else path[-1].attachments
        begin = len(kept) - (step - 1)  # each step before it has kept one
        stay = [each for each in kept[:begin] if _call_of(each) != _call_of(result)] + [*kept[begin:]]
        self._conversations.replace_attachments(question.id, [*stay, result])
        return msgspec.structs.replace(question, attachments=(*stay, result))


def _call_of(result: Attachment) -> tuple[str, str]:
    """Which call a result came of: the tool's name, and the line that says the arguments."""
    return result.name.partition(BROUGHT_FROM)[0].rpartition(" ")[0], result.text.partition("\n")[0]
