"""ChatGPT's form of conversations: trees followed by parent, odd content kept or counted, nothing that crashes."""

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vault.errors import ImportRefused
from vault.messages import Attachment, Message, MessageId, Role, Session, SessionId
from vault.portability.chatgpt import Reading, read_conversation, write_conversations
from vault.portability.checks import means_something
from vault.portability.json_array import elements
from vault.portability.trees import Conversation

NOW = 1_795_000_000_000


def read(conversation: object) -> Reading:
    return read_conversation(json.dumps(conversation).encode(), "import:conversations.json", NOW)


def kept(conversation: object) -> Conversation:
    reading = read(conversation)
    assert reading.conversation is not None
    return reading.conversation


def node(
    role: str | None, *parts: object, parent: str | None = None, at: float | None = None, **message: object
) -> dict[str, Any]:
    """A node as ChatGPT writes it; without a role, one without a message."""
    if role is None:
        return {"message": None, "parent": parent, "children": []}
    content = {"content_type": "text", "parts": list(parts)}
    said = {
        "author": {"role": role, "name": None},
        "create_time": at,
        "content": content,
        "metadata": {},
        **message,
    }
    return {"message": said, "parent": parent, "children": []}


def conversation(mapping: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"title": "A title", "create_time": 1700000000.5, "update_time": 1700000900, "mapping": mapping, **more}


TREE = conversation(
    {
        "client-created-root": node(None),
        "s": node("system", "", parent="client-created-root"),
        "q": node("user", "A question?", parent="s", at=1700000001),
        "a1": node("assistant", "One answer.", parent="q", at=1700000002),
        "a2": node("assistant", "Another.", "In two parts.", parent="q", at=1700000003),
        "q2": node("user", "More?", parent="a1", at=1700000004),
    },
    current_node="a2",
    conversation_id="6f0a6f8e-0000-4000-8000-000000000001",
)


def test_the_tree_is_followed_by_parents_with_every_branch() -> None:
    session, messages = kept(TREE)
    assert [(m.role, m.text) for m in messages] == [
        ("user", "A question?"),
        ("assistant", "One answer."),
        ("assistant", "Another.\nIn two parts."),
        ("user", "More?"),
    ]
    question, one, another, more = messages
    assert [m.parent_id for m in messages] == [None, question.id, question.id, one.id]
    assert session.head == another.id
    assert more.created_ms == 1700000004000
    assert (session.title, session.created_ms, session.updated_ms) == ("A title", 1700000000500, 1700000900000)
    assert (session.source, session.archived_ms, session.messages) == ("import:conversations.json", None, 4)


def test_foreign_ids_become_ours_the_same_each_time() -> None:
    first, second = kept(TREE), kept(TREE)
    assert first == second
    assert re.fullmatch("[0-9a-z]{10}", first.session.id)
    assert all(re.fullmatch("[0-9a-z]{16}", message.id) for message in first.messages)
    assert kept({**TREE, "conversation_id": "another"}).session.id != first.session.id
    assert kept({**TREE, "conversation_id": None}).session.id == kept({**TREE, "conversation_id": None}).session.id


def test_parents_come_before_their_answers_however_the_file_is_ordered() -> None:
    chain = {f"n{i}": node("user", str(i), parent=f"n{i - 1}" if i else None, at=2000 - i) for i in range(1000)}
    _, messages = kept(conversation(dict(reversed(chain.items()))))
    assert [message.text for message in messages] == [str(i) for i in range(1000)]


def test_a_system_prompt_is_kept_as_such_and_once() -> None:
    mapping = {
        "s": node("system", "Be brief."),
        "q": node("user", "?", parent="s"),
        "s2": node("system", "Be brief.", parent="q"),
        "s3": node("system", "Be kind.", parent="q"),
    }
    assert kept(conversation(mapping)).session.system_prompt == "Be brief.\n\nBe kind."


def test_many_notes_of_the_system_are_kept_once_each_and_in_order() -> None:
    mapping = {str(i): node("system", f"note {i % 10_000}") for i in range(20_000)}
    mapping["q"] = node("user", "?")
    prompt = kept(conversation(mapping)).session.system_prompt
    assert prompt.split("\n\n") == [f"note {i}" for i in range(10_000)]


def test_tools_and_other_content_are_labelled_or_counted() -> None:
    hidden: dict[str, object] = {"is_visually_hidden_from_conversation": True}
    mapping = {
        "q": node("user", "Draw.", {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}),
        "t": node("assistant", parent="q", content={"content_type": "thoughts", "thoughts": [{"content": "hm"}]}),
        "c": node("assistant", parent="t", content={"content_type": "code", "language": "python", "text": "1+1"}),
        "o": node(
            "tool",
            parent="c",
            author={"role": "tool", "name": "python"},
            content={"content_type": "execution_output", "text": "2"},
        ),
        "h": node("user", "a note", parent="o", metadata=hidden),
        "m": node(
            "user",
            parent="h",
            content={"content_type": "user_editable_context", "user_profile": "x", "user_instructions": "y"},
        ),
        "v": node("user", {"content_type": "audio_transcription", "text": "spoken"}, {"a": 1}, [1], 5, parent="m"),
        "x": node("critic", "who?", parent="v"),
        "f": node("user", "See.", parent="x", metadata={"attachments": [{"name": "report.pdf", "id": "1"}, {}]}),
        "e": node("assistant", "", parent="f"),
        "r": node("assistant", parent="e", content={"content_type": "web", "result": "a page"}),
    }
    reading = read(conversation(mapping, current_node="r"))
    assert reading.conversation is not None
    assert [(m.role, m.text) for m in reading.conversation.messages] == [
        ("user", "Draw.\n[image]"),
        ("assistant", "[code]\n1+1"),
        ("assistant", "[python]\n2"),
        ("user", "spoken\n[something that is no text]\n[something that is no text]"),
        ("user", "See.\n[attached: report.pdf]"),
        ("assistant", "[web]\na page"),
    ]
    messages = reading.conversation.messages
    assert [m.parent_id for m in messages] == [None, *(m.id for m in messages[:-1])]
    assert reading.conversation.session.head == messages[-1].id
    assert reading.skipped == {
        "the model's notes to itself": 1,
        "hidden messages": 1,
        "notes about the person": 1,
        "messages of unknown authors": 1,
    }


def test_the_head_is_the_nearest_message_that_is_kept() -> None:
    mapping = {"q": node("user", "?"), "e": node("assistant", "", parent="q"), "late": node("user", "!", at=9e9)}
    found = kept(conversation(mapping, current_node="e"))
    assert found.session.head == found.messages[0].id
    for missing in (None, "nowhere"):
        found = kept(conversation(mapping, current_node=missing))
        assert found.session.head == found.messages[-1].id


def test_a_message_whose_parent_is_missing_begins_a_branch() -> None:
    _, messages = kept(
        conversation({"a": node("user", "?", parent="lost"), "b": node("assistant", "!", parent="a")})
    )
    assert [message.parent_id for message in messages] == [None, messages[0].id]


@pytest.mark.parametrize(
    "mapping",
    [
        {"a": node("user", "?", parent="a")},
        {"a": node("user", "?", parent="b"), "b": node("assistant", "!", parent="a")},
        {
            "r": node("user", "ok"),
            "a": node(None, parent="c"),
            "b": node(None, parent="a"),
            "c": node(None, parent="b"),
        },
    ],
)
def test_messages_that_answer_one_another_in_a_circle_are_refused(mapping: dict[str, Any]) -> None:
    with pytest.raises(ImportRefused, match="circle"):
        read(conversation(mapping))


def test_an_id_that_is_there_twice_is_refused() -> None:
    text = json.dumps(TREE).replace('"a2": ', '"a1": ', 1)
    with pytest.raises(ImportRefused, match="twice"):
        read_conversation(text.encode(), "", NOW)


def test_a_conversation_without_anything_to_keep_is_none() -> None:
    for mapping in ({}, {"r": node(None)}, {"s": node("system", "only this")}, {"u": node("user", "  ")}):
        assert read(conversation(mapping)).conversation is None


@pytest.mark.parametrize("stated", [None, -5, 1e300, float("nan"), float("inf"), 253402300800, 10**40])
def test_times_that_no_calendar_names_are_taken_from_what_is_near(stated: float | None) -> None:
    mapping = {"q": node("user", "?", at=stated), "a": node("assistant", "!", parent="q", at=1700000002)}
    found = kept(conversation(mapping, create_time=stated, update_time=stated))
    assert [m.created_ms for m in found.messages] == [1700000002000, 1700000002000]
    assert (found.session.created_ms, found.session.updated_ms) == (1700000002000, 1700000002000)
    alone = kept(conversation({"q": node("user", "?", at=stated)}, create_time=stated, update_time=stated))
    assert alone.messages[0].created_ms == NOW


def test_a_missing_title_is_made_of_the_first_words_and_is_one_line() -> None:
    mapping = {"q": node("user", "What is\nthis?")}
    assert kept(conversation(mapping, title=None)).session.title == "What is this?"
    assert (
        kept(conversation(mapping, title="two\nlines \u202e\x1b]52;c;x\x07")).session.title == "two lines ]52;c;x"
    )


def test_text_is_kept_as_it_is_but_for_what_utf8_cant_write() -> None:
    (message,) = kept(conversation({"q": node("user", "\x1b[31m \x00 \u202e 😀 \ud800")})).messages
    assert message.text == "\x1b[31m \x00 \u202e 😀 \ufffd"


@pytest.mark.parametrize(
    "element",
    [
        b"{}",
        b'{"mapping": null}',
        b'{"mapping": []}',
        b'{"mapping": {"a": 5}}',
        b'{"mapping": {"a": {"message": {"author": 5}}}}',
        b'{"mapping": {"a": {"parent": 5}}}',
        b'{"mapping": {}, "title": 5}',
        b"{",
        b"\xff\xfe",
        b'{"mapping": {}, "create_time": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_conversation_is_refused(element: bytes) -> None:
    with pytest.raises(ImportRefused):
        read_conversation(element, "", NOW)


def ours() -> Conversation:
    def message(n: int, parent: int | None, role: Role, text: str, *files: Attachment) -> Message:
        above = MessageId(f"{parent:016}") if parent is not None else None
        session_id = SessionId("0123456789")
        return Message(MessageId(f"{n:016}"), session_id, above, role, text, "complete", 1700000000123 + n, files)

    messages = [
        message(0, None, "user", "question", Attachment("a.txt", "the file's text")),
        message(1, 0, "assistant", "one"),
        message(2, 0, "assistant", "another"),
        message(3, None, "user", "another beginning"),
    ]
    session = Session(SessionId("0123456789"), "title", "system", 1700000000001, 1700000000999, messages[1].id)
    return Conversation(session, messages)


def test_what_we_write_is_read_again_with_its_ids_branches_and_files() -> None:
    (element,) = elements(write_conversations([ours()]))
    again = read_conversation(element, "", NOW).conversation
    assert again is not None
    assert again.messages == ours().messages
    assert again.session == msgspec.structs.replace(ours().session, messages=4)


def test_what_we_write_is_laid_out_as_others_expect() -> None:
    (written,) = json.loads(b"".join(write_conversations([ours()])))
    assert {"id", "title", "create_time", "update_time", "mapping", "current_node"} <= set(written)
    roots = [key for key, found in written["mapping"].items() if found["parent"] is None]
    assert len(roots) == 1
    for key, found in written["mapping"].items():
        assert found["id"] == key
        assert all(written["mapping"][child]["parent"] == key for child in found["children"])
    last = written["mapping"][written["current_node"]]["message"]
    assert last["author"]["role"] == "assistant"
    assert last["content"] == {"content_type": "text", "parts": ["one"]}
    assert json.loads(b"".join(write_conversations([]))) == []


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["a", "b", "user"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
contents = st.fixed_dictionaries(
    {},
    optional={
        "content_type": st.sampled_from(["text", "code", "thoughts", "multimodal_text", "x\x1b"]) | anything,
        "parts": st.lists(st.text(max_size=5) | anything, max_size=3) | anything,
        "text": anything,
        "result": anything,
    },
)
messages = st.fixed_dictionaries(
    {
        "author": st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "tool", "system", "x"])})
        | anything
    },
    optional={
        "content": contents | anything,
        "create_time": st.floats() | st.integers() | anything,
        "metadata": st.fixed_dictionaries({"attachments": anything}) | anything,
    },
)
nodes = st.fixed_dictionaries(
    {}, optional={"message": messages | anything, "parent": st.sampled_from(["a", "b", "c", None]) | anything}
)
conversations = st.fixed_dictionaries(
    {"mapping": st.dictionaries(st.sampled_from(["a", "b", "c", "\ud800"]), nodes, max_size=4) | anything},
    optional=dict.fromkeys(("id", "title", "create_time", "update_time", "current_node", "is_archived"), anything),
)


@settings(max_examples=1500, deadline=None)
@given(conversations)
def test_json_near_the_format_is_read_or_refused(written: dict[str, Any]) -> None:
    try:
        reading = read(written)
    except ImportRefused:
        return
    if reading.conversation is None:
        return
    session, found = reading.conversation
    ids = {message.id for message in found}
    assert session.head in ids
    assert len(ids) == len(found)
    seen: set[str] = set()
    for message in found:
        assert message.parent_id is None or message.parent_id in seen
        seen.add(message.id)
        message.text.encode()
        assert means_something("messages", "id", message.id)
        assert means_something("messages", "created_ms", message.created_ms)
    assert means_something("sessions", "id", session.id)
    assert means_something("sessions", "updated_ms", session.updated_ms)
