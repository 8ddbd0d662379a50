"""What stays of a conversation, and what the person is told about the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.context import content, cut_attachments, describe_cuts, leave_out
from agent.errors import ContextOverflow
from vault.messages import Attachment, Message, MessageId, Role, SessionId

SESSION = SessionId("session")


def message(role: Role, text: str, *attachments: Attachment) -> Message:
    return Message(MessageId(text), SESSION, None, role, text, "complete", 0, attachments)


conversations = st.lists(
    st.tuples(st.sampled_from(["user", "assistant"]), st.integers(1, 60)), min_size=0, max_size=12
).map(lambda turns: [*turns, ("user", 10)])


def path_of(turns: list[tuple[Role, int]]) -> list[Message]:
    return [message(role, f"message {number}") for number, (role, _) in enumerate(turns)]


@given(conversations, st.integers(0, 40), st.integers(50, 400))
def test_what_stays_is_the_end_of_the_conversation_and_fits(
    turns: list[tuple[Role, int]], fixed: int, room: int
) -> None:
    path, costs = path_of(turns), [cost for _, cost in turns]
    selection = leave_out(path, costs, fixed, room)

    assert [*selection.left_out, *selection.messages] == path
    assert selection.messages[-1] is path[-1]
    assert fixed + sum(costs[len(selection.left_out) :]) <= room


@given(conversations, st.integers(0, 40), st.integers(50, 400))
def test_a_reply_is_not_left_without_its_question(turns: list[tuple[Role, int]], fixed: int, room: int) -> None:
    selection = leave_out(path_of(turns), [cost for _, cost in turns], fixed, room)

    assert not selection.left_out or selection.messages[0].role == "user"


@given(conversations, st.integers(50, 400))
def test_no_more_is_left_out_than_makes_room_for_the_turns_to_come(
    turns: list[tuple[Role, int]], room: int
) -> None:
    costs = [cost for _, cost in turns]
    selection = leave_out(path_of(turns), costs, 0, room)

    dropped = len(selection.left_out)
    while dropped and turns[dropped - 1][0] == "assistant":
        dropped -= 1
    if dropped:
        assert sum(costs[dropped - 1 :]) > room * 0.75 - 1


@given(st.integers(0, 100), st.integers(1, 100), st.integers(1, 150))
def test_a_message_that_alone_does_not_fit_is_refused_and_another_is_not(fixed: int, cost: int, room: int) -> None:
    path = [message("user", "old"), message("user", "new")]
    if fixed + cost <= room:
        assert leave_out(path, [1000, cost], fixed, room).messages == path[1:]
    else:
        with pytest.raises(ContextOverflow, match=f"takes {cost} tokens; .* room for {max(0, room - fixed)}"):
            leave_out(path, [1000, cost], fixed, room)


def test_a_conversation_that_fits_is_left_whole_and_nothing_is_said() -> None:
    path = path_of([("user", 5), ("assistant", 5), ("user", 5)])
    selection = leave_out(path, [5, 5, 5], 5, 100)

    assert selection.messages == path
    assert selection.notice() == ""


def test_the_notice_says_how_many_messages_and_up_to_which() -> None:
    path = [message("user", "first"), message("assistant", "a reply\nof two lines"), message("user", "last")]
    selection = leave_out(path, [50, 50, 10], 0, 60)

    assert selection.notice() == (
        "The context window is full: the oldest 2 messages are left out (up to “a reply of two lines”)."
    )
    assert (
        "the oldest message is left out"
        in leave_out([message("user", "x"), message("user", "y")], [90, 5], 0, 60).notice()
    )


@given(st.text(max_size=60), st.lists(st.text("ab`\n", max_size=30), max_size=3))
def test_what_the_model_reads_holds_the_text_and_each_file_whole_and_fenced(text: str, files: list[str]) -> None:
    attachments = [Attachment(f"file{number}.txt", each) for number, each in enumerate(files)]
    read = content(message("user", text, *attachments))

    assert read.startswith(text)
    for attachment in attachments:
        _, _, after = read.partition(f"File {attachment.name}:\n")
        fence, _, rest = after.partition("\n")
        assert set(fence) == {"`"}
        assert fence not in attachment.text
        assert rest.startswith(f"{attachment.text}\n{fence}")


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=4), st.floats(0.01, 0.99))
def test_cutting_takes_the_share_from_the_ends_of_the_longest_files_or_refuses(
    lengths: list[int], excess: float
) -> None:
    whole = [Attachment(f"{number}", "x" * length) for number, length in enumerate(lengths)]
    try:
        given_now = cut_attachments(whole, excess)
    except ContextOverflow:
        assert sum(min(length, 200) for length in lengths) > sum(lengths) * (1 - excess) - len(lengths)
        return

    kept = [len(attachment.text) for attachment in given_now]
    share = sum(lengths) * (1 - excess)
    assert share - len(lengths) - 1 <= sum(kept) <= share
    assert kept == [min(length, max(kept)) for length in lengths]
    assert all(before.text.startswith(after.text) for before, after in zip(whole, given_now, strict=True))
    assert len(describe_cuts(whole, given_now)) == sum(length > max(kept) for length in lengths)


def test_a_file_that_was_cut_twice_is_described_by_its_whole_length() -> None:
    whole = [Attachment("a.txt", "x" * 4000), Attachment("b.txt", "y" * 100)]
    twice = cut_attachments(cut_attachments(whole, 0.3), 0.3)

    assert describe_cuts(whole, twice) == [
        f"a.txt was cut: the first {len(twice[0].text):,} of its 4,000 characters are given."
    ]
