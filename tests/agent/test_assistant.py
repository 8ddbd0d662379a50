"""The assistant with a real vault and a real worker: what is kept, whatever happens."""

import os
import random
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agent import draft as draft_module
from agent.assistant import Assistant, Event, Notice, Saved, Text, TurnEnd, new_sampling
from agent.errors import ContextOverflow, ModelError, WorkerDied
from agent.inference import Inference
from agent.models.embedded import EMBEDDED
from tests.agent.talk import ENDLESS, GREEDY, worker
from tests.tiny_model import tiny_gguf
from vault.conversations import Conversations
from vault.errors import NotFound
from vault.messages import Attachment, Session
from vault.sanitize import sanitize_line
from vault.settings import ContextSettings, InferenceSettings, SamplingSettings, Settings
from vault.store import Vault

LETTER = "The fox went to the river and drank. " * 60


@pytest.fixture(scope="module")
def narrow(smollm: Path) -> Iterator[Inference]:
    """A worker whose window is soon full."""
    with worker(smollm, InferenceSettings(context=512)) as inference:
        yield inference


def assistant_of(vault: Vault, inference: Inference, overflow: str = "drop-oldest") -> Assistant:
    context = msgspec.convert({"overflow": overflow, "reserve_tokens": 64}, ContextSettings)
    return Assistant(vault.conversations, inference, EMBEDDED, Settings(context=context))


@pytest.fixture
def assistant(vault: Vault, shared: Inference) -> Assistant:
    return assistant_of(vault, shared)


def say(
    assistant: Assistant, session: Session, text: str, *attachments: Attachment, max_tokens: int = 12
) -> list[Event]:
    sampling = msgspec.structs.replace(GREEDY, max_tokens=max_tokens)
    return list(assistant.reply(session, text, sampling=sampling, attachments=attachments))


def end_of(events: list[Event]) -> TurnEnd:
    end = events[-1]
    assert isinstance(end, TurnEnd)
    return end


def notices(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def said(conversations: Conversations, session: Session) -> list[tuple[str, str, str]]:
    return [(m.role, m.text, m.status) for m in conversations.path(session.id)]


def test_a_turn_is_kept_with_where_it_came_from(vault: Vault, assistant: Assistant) -> None:
    session = assistant.start_session("Name three colours.")
    events = say(assistant, session, "Name three colours.")
    user, reply = vault.conversations.path(session.id)
    made = reply.generation

    assert events[0] == Saved(user.id)
    assert user.text == "Name three colours."
    assert reply.text == "".join(event.text for event in events if isinstance(event, Text))
    assert (reply.id, reply.text) == (end_of(events).message.id, end_of(events).message.text)
    assert made is not None
    assert made.model_sha256 == EMBEDDED.sha256
    assert made.sampling["temperature"] == 0
    assert 0 < made.completion_tokens <= 12
    assert end_of(events).context_used == made.prompt_tokens + made.completion_tokens


def test_a_later_turn_finds_its_cache(assistant: Assistant) -> None:
    session = assistant.start_session("Hi", "You are terse.")
    first = end_of(say(assistant, session, "Name three colours.")).generation
    second = end_of(say(assistant, session, "And two more?")).generation

    assert second.cached_tokens >= first.prompt_tokens + first.completion_tokens - 1


def test_another_models_reply_is_read_as_text(vault: Vault, shared: Inference) -> None:
    other = msgspec.structs.replace(EMBEDDED, sha256="0" * 64, name="other")
    elsewhere = Assistant(vault.conversations, shared, other, Settings())
    session = elsewhere.start_session("Hi")
    say(elsewhere, session, "Name three colours.")
    here = assistant_of(vault, shared)

    _, reply = vault.conversations.path(session.id)
    assert elsewhere._prompt("", [reply])[0].tokens is not None
    assert here._prompt("", [reply])[0].tokens is None
    assert end_of(say(here, session, "And two more?")).message.text


def test_regenerating_adds_a_sibling_and_evaluates_one_token(vault: Vault, assistant: Assistant) -> None:
    session = assistant.start_session("Hi")
    first = end_of(say(assistant, session, "Name three colours."))
    again = end_of(list(assistant.regenerate(session, sampling=GREEDY)))

    assert again.generation.cached_tokens == first.generation.prompt_tokens - 1
    assert vault.conversations.siblings(again.message) == [first.message.id, again.message.id]
    assert vault.conversations.find(session.id).head == again.message.id


def test_there_is_nothing_to_regenerate_in_an_empty_conversation(assistant: Assistant) -> None:
    session = assistant.start_session("Hi")
    with pytest.raises(NotFound, match="no reply to write again"):
        next(assistant.regenerate(session, sampling=GREEDY))


def test_what_a_person_says_is_kept_sanitized(vault: Vault, assistant: Assistant) -> None:
    session = assistant.start_session("a\x1b[2Jb\nc", "sys\x07tem")
    say(assistant, session, "Hi\x1b]52;c;aGk=\x07")

    assert session.title == "a[2Jb c"
    assert session.system_prompt == "system"
    assert vault.conversations.path(session.id)[0].text == "Hi]52;c;aGk="


# Stopping and dying


def test_a_reply_that_is_stopped_keeps_its_text_and_its_provenance(vault: Vault, assistant: Assistant) -> None:
    session = assistant.start_session("Hi")
    events: list[Event] = []
    for event in assistant.reply(session, "Tell me a story.", sampling=ENDLESS):
        events.append(event)
        if isinstance(event, Text):
            assistant.cancel()

    reply = vault.conversations.path(session.id)[-1]
    assert reply.status == "cancelled"
    assert reply.text == "".join(event.text for event in events if isinstance(event, Text)) != ""
    assert reply.generation is not None
    assert reply.generation.finish == "cancelled"


def test_a_turn_that_is_closed_early_keeps_its_text_and_frees_the_worker(
    vault: Vault, assistant: Assistant
) -> None:
    session = assistant.start_session("Hi")
    turn = assistant.reply(session, "Tell me a story.", sampling=ENDLESS)
    text = next(event.text for event in turn if isinstance(event, Text))
    turn.close()

    assert said(vault.conversations, session)[-1] == ("assistant", text, "cancelled")
    assert end_of(say(assistant, session, "Go on.")).message.text


def test_a_worker_killed_in_the_middle_loses_nothing(vault: Vault, shared: Inference, assistant: Assistant) -> None:
    session = assistant.start_session("Hi")
    turn = assistant.reply(session, "Tell me a story.", sampling=ENDLESS)
    text = next(event.text for event in turn if isinstance(event, Text))
    assert shared.process_id is not None
    os.kill(shared.process_id, signal.SIGKILL)
    rest: list[Event] = []
    with pytest.raises(WorkerDied, match="ended unexpectedly") as caught:
        rest.extend(turn)
    text += "".join(event.text for event in rest if isinstance(event, Text))

    assert "Nothing that was said is lost" in caught.value.hint
    assert said(vault.conversations, session) == [
        ("user", "Tell me a story.", "complete"),
        ("assistant", text, "interrupted"),
    ]
    assert end_of(say(assistant, session, "Go on.")).message.status == "complete"


def test_a_worker_killed_before_the_first_word_leaves_the_question_at_the_head(
    vault: Vault, shared: Inference, assistant: Assistant
) -> None:
    session = assistant.start_session("Hi")
    turn = assistant.reply(session, "Tell me a story. " + LETTER * 4, sampling=ENDLESS)
    next(turn)
    next(event for event in turn if not isinstance(event, Saved))
    assert shared.process_id is not None
    os.kill(shared.process_id, signal.SIGKILL)
    with pytest.raises(WorkerDied):
        list(turn)

    assert [role for role, _, _ in said(vault.conversations, session)] == ["user"]


def test_a_worker_that_dies_at_random_moments_never_loses_what_was_said(vault: Vault, tiny: Inference) -> None:
    dice = random.Random(3)
    assistant = assistant_of(vault, tiny)
    kept = []
    for number in range(12):
        session = assistant.start_session(f"{number}")
        patience = dice.randrange(5)
        turn = assistant.reply(session, f"Question {number}", sampling=ENDLESS)
        try:
            for seen, _ in enumerate(turn):
                if seen == patience and tiny.process_id is not None:
                    os.kill(tiny.process_id, signal.SIGKILL)
        except WorkerDied:
            pass
        kept.append(vault.conversations.path(session.id)[0].text)

    assert kept == [f"Question {number}" for number in range(12)]
    assert vault.integrity_errors() == []


def test_a_regeneration_that_fails_leaves_the_old_reply_in_use(
    vault: Vault, shared: Inference, tmp_path: Path
) -> None:
    session = assistant_of(vault, shared).start_session("Hi")
    old = end_of(say(assistant_of(vault, shared), session, "Hi")).message
    base_model = tiny_gguf(tmp_path / "base.gguf", template=None)
    with worker(base_model) as base, pytest.raises(ModelError, match="no chat template"):
        list(assistant_of(vault, base).regenerate(session, sampling=GREEDY))

    assert vault.conversations.find(session.id).head == old.id
    assert len(vault.conversations.tree(session.id)) == 2


def test_a_reply_stopped_before_its_first_word_is_no_part_of_the_next_prompt(
    vault: Vault, assistant: Assistant
) -> None:
    session = assistant.start_session("Hi", "")
    question = vault.conversations.append(session.id, None, "user", "Hi")
    vault.conversations.append(session.id, question.id, "assistant", "", status="cancelled")
    made = end_of(say(assistant, session, "Hello?")).generation
    fresh = assistant.start_session("Hi", "")
    question = vault.conversations.append(fresh.id, None, "user", "Hi")
    expected = end_of(say(assistant, fresh, "Hello?")).generation

    assert made.prompt_tokens == expected.prompt_tokens


def test_a_reply_is_kept_while_it_is_written(
    vault: Vault, assistant: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert draft_module.CHECKPOINT_EVERY_S == 1.0
    monkeypatch.setattr(draft_module, "CHECKPOINT_EVERY_S", 3600)
    session = assistant.start_session("Hi")
    turn = assistant.reply(session, "Tell me a story.", sampling=ENDLESS)
    text = next(event.text for event in turn if isinstance(event, Text))
    assert said(vault.conversations, session)[-1] == ("assistant", "", "streaming")
    monkeypatch.setattr(draft_module, "CHECKPOINT_EVERY_S", 0)  # the second is over
    text += next(event.text for event in turn if isinstance(event, Text))

    assert said(vault.conversations, session)[-1] == ("assistant", text, "streaming")
    turn.close()


# A full window


def fill(assistant: Assistant, session: Session) -> list[list[Event]]:
    return [say(assistant, session, f"Fact {n}: " + "the fox drank. " * 25) for n in range(5)]


def test_the_oldest_turns_are_left_out_with_a_notice_that_names_them(vault: Vault, narrow: Inference) -> None:
    assistant = assistant_of(vault, narrow)
    session = assistant.start_session("Facts")
    turns = fill(assistant, session)
    told = [notices(turn) for turn in turns]
    first = next(index for index, each in enumerate(told) if each)

    assert first > 1
    assert all(len(each) == 1 for each in told[first:])
    left_out = int(re.findall(r"the oldest (\d+) messages are left out", told[first][0])[0])
    last = vault.conversations.path(session.id)[left_out - 1]
    assert told[first][0].endswith(f"(up to “{sanitize_line(last.text, 40)}”).")
    assert len(vault.conversations.path(session.id)) == 10
    assert all(end_of(turn).context_used <= end_of(turn).context_size for turn in turns)


def test_where_the_settings_say_so_a_full_window_is_refused_and_the_message_is_not_added(
    vault: Vault, narrow: Inference
) -> None:
    assistant = assistant_of(vault, narrow, overflow="refuse")
    session = assistant.start_session("Facts")
    with pytest.raises(ContextOverflow, match="the context window has room for") as caught:
        fill(assistant, session)
    kept = vault.conversations.tree(session.id)

    assert caught.value.exit_code == 5
    assert kept
    assert len(kept) % 2 == 0
    assert vault.conversations.find(session.id).head == kept[-1].id


def test_a_message_that_alone_is_too_large_is_refused_and_really_gone(vault: Vault, narrow: Inference) -> None:
    assistant = assistant_of(vault, narrow)
    session = assistant.start_session("Hi")
    before = end_of(say(assistant, session, "Hi")).message
    with pytest.raises(ContextOverflow, match="This message takes") as caught:
        say(assistant, session, "Zanzibar " + LETTER)

    assert "was not added" in caught.value.hint
    assert vault.conversations.find(session.id).head == before.id
    assert len(vault.conversations.tree(session.id)) == 2
    assert vault.conversations.search("Zanzibar") == []


def test_a_file_too_long_for_the_window_is_cut_and_the_person_told_by_how_much(
    vault: Vault, narrow: Inference
) -> None:
    assistant = assistant_of(vault, narrow)
    session = assistant.start_session("Sum up")
    (notice,) = notices(say(assistant, session, "Sum up.", Attachment("letter.txt", LETTER * 2)))
    (kept,) = vault.conversations.path(session.id)[0].attachments

    assert notice == (
        f"letter.txt was cut: the first {len(kept.text):,} of its {len(LETTER * 2):,} characters are given."
    )
    assert (LETTER * 2).startswith(kept.text)
    assert len(kept.text) > 800


def test_every_file_that_was_cut_is_named(vault: Vault, narrow: Inference) -> None:
    assistant = assistant_of(vault, narrow)
    session = assistant.start_session("Compare")
    files = [Attachment("a.txt", "the fox drank. " * 100), Attachment("b.txt", "1 2 3 4 5 6 7 8 " * 90)]
    told = notices(say(assistant, session, "Compare.", *files))
    kept = vault.conversations.path(session.id)[0].attachments

    assert len(told) == sum(before.text != after.text for before, after in zip(files, kept, strict=True)) > 0
    for before, after in zip(files, kept, strict=True):
        cut = f"{before.name} was cut: the first {len(after.text):,} of its {len(before.text):,} characters"
        assert (before.text == after.text) or any(notice.startswith(cut) for notice in told)


def test_files_that_cannot_be_cut_sensibly_are_refused_with_their_message(vault: Vault, narrow: Inference) -> None:
    assistant = assistant_of(vault, narrow)
    session = assistant.start_session("Compare")
    files = [Attachment(f"{number}.txt", "1 2 3 4 5 6 7 8 " * 15) for number in range(12)]
    with pytest.raises(ContextOverflow, match="attached files don't fit"):
        say(assistant, session, "Compare.", *files)

    assert vault.conversations.tree(session.id) == []


def test_going_on_from_an_earlier_place_finds_what_was_left_out_later(vault: Vault, narrow: Inference) -> None:
    assistant = assistant_of(vault, narrow)
    session = assistant.start_session("Facts")
    fill(assistant, session)
    second = vault.conversations.path(session.id)[1]
    vault.conversations.set_head(session.id, second.id)
    events = list(assistant.regenerate(session, sampling=GREEDY))

    assert notices(events) == []
    assert end_of(events).message.parent_id == second.parent_id


# Parameters


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, 2**32, 2**80])
def test_any_seed_is_one_that_can_be_repeated(seed: int) -> None:
    sampling = new_sampling(SamplingSettings(), seed=seed)

    assert 0 <= sampling.seed < 2**32 - 1
    assert sampling == new_sampling(SamplingSettings(), seed=seed)


def test_without_a_seed_one_is_drawn() -> None:
    assert len({new_sampling(SamplingSettings()).seed for _ in range(4)}) > 1


def test_what_is_given_goes_before_the_settings() -> None:
    sampling = new_sampling(SamplingSettings(temperature=0.3, max_tokens=9), temperature=0.0, max_tokens=0)

    assert (sampling.temperature, sampling.max_tokens) == (0.0, 0)
    assert new_sampling(SamplingSettings(temperature=0.3, max_tokens=9)).temperature == 0.3
    assert msgspec.msgpack.encode(new_sampling(SamplingSettings(), max_tokens=10**30))


def test_a_stop_that_comes_before_the_worker_has_the_question_ends_the_turn(
    vault: Vault, assistant: Assistant
) -> None:
    session = assistant.start_session("Hi")
    turn = assistant.reply(session, "Count to a thousand.", sampling=ENDLESS)
    assert isinstance(next(turn), Saved)
    assistant.cancel()

    assert end_of(list(turn)).generation.finish == "cancelled"
    assert said(vault.conversations, session)[0] == ("user", "Count to a thousand.", "complete")
    assert end_of(say(assistant, session, "Name three colours.")).message.text


def test_a_stop_while_a_long_text_is_tokenized_ends_the_turn_and_not_the_conversation(
    vault: Vault, smollm: Path
) -> None:
    with worker(smollm) as inference:
        assistant = assistant_of(vault, inference)
        session = assistant.start_session("Hi")
        turn = assistant.reply(session, " " * 1_000_000 + "x", sampling=ENDLESS)
        next(turn)
        started = threading.Thread(target=_cancel_when_running, args=(assistant, inference))
        started.start()
        assert end_of(list(turn)).generation.finish == "cancelled"
        started.join()
        assert end_of(say(assistant, assistant.start_session("Hi"), "Name three colours.")).message.text


def _cancel_when_running(assistant: Assistant, inference: Inference) -> None:
    while inference._running is None:
        os.sched_yield()
    assistant.cancel()
