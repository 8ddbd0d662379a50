"""Searching conversations: words are found as a person types them, and nothing typed is query syntax."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vault.conversations import Conversations
from vault.database import Database
from vault.messages import MessageId, Session


@pytest.fixture
def kept() -> Iterator[Conversations]:
    database = Database.in_memory()
    yield Conversations(database)
    database.close()


@pytest.fixture
def session(kept: Conversations) -> Session:
    return kept.start("Rainbows", "Be brief.")


def found(kept: Conversations, words: str) -> list[str]:
    return [hit.message_id for hit in kept.search(words)]


@pytest.fixture
def library(kept: Conversations, session: Session) -> dict[str, MessageId]:
    kept_texts = {
        "rainbow": "The rainbow's colours are red, orange and yellow.",
        "café": "Le Café de l'Élysée serves crème brûlée à la Việt.",
        "code": 'Use SELECT "name" FROM t WHERE a NEAR b AND NOT c; x-ray is (one) {word} ^2.',
        "漢字": "漢字 and ASCII",
    }
    return {name: kept.append(session.id, None, "user", text).id for name, text in kept_texts.items()}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("rainbow", "rainbow"),
        ("RAINBOW Red", "rainbow"),
        ("red rain", "rainbow"),
        ("yellow, red.", "rainbow"),
        ("cafe", "café"),
        ("CAFÉ élysée", "café"),
        ("cafe\u0301", "café"),
        ("creme brulee", "café"),
        ("caf\udce9", "café"),
        ("viet", "café"),
        ("rainbow !", "rainbow"),
        ("? rainbow", "rainbow"),
        ("rainbow — red", "rainbow"),
        ("rainbow\x00red", "rainbow"),
        ("\x00rainbow\x00", "rainbow"),
        ('"name"', "code"),
        ('say"name', "code"),
        ("NOT AND NEAR", "code"),
        ("x-ray", "code"),
        ("(one)", "code"),
        ("^2", "code"),
        ("漢字", "漢字"),
    ],
)
def test_words_are_found_as_a_person_types_them(
    kept: Conversations, library: dict[str, MessageId], words: str, name: str
) -> None:
    expected = [] if words == 'say"name' else [library[name]]
    assert found(kept, words) == expected


@pytest.mark.parametrize(
    "words",
    ["", "  ", "\x00", '"', '""', "*", "!?", "^", "()", "text:rainbow", "rainbow OR zebra", "rainbow NOT red",
     "ainbow", "NEAR(rainbow red)", "{text}: rainbow", "ra inbow", "'; DROP TABLE messages; --", "rain* colours"],
)  # fmt: skip
def test_nothing_typed_is_taken_for_query_syntax(
    kept: Conversations, library: dict[str, MessageId], words: str
) -> None:
    assert found(kept, words) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=())) | st.text(st.sampled_from("\"'*^:(){}-+ANDORT rainbow\x00\\")))
def test_no_search_is_an_error(kept: Conversations, library: dict[str, MessageId], words: str) -> None:
    assert {*found(kept, words)} <= {*library.values()}


def test_a_hit_says_where_it_is(kept: Conversations, session: Session) -> None:
    message = kept.append(session.id, None, "assistant", "much before " * 20 + "the rainbow" + " much after" * 20)
    (hit,) = kept.search("rainbow")
    assert (hit.session_id, hit.session_title, hit.message_id, hit.role, hit.created_ms) == (
        *(session.id, "Rainbows", message.id, "assistant", message.created_ms),
    )
    assert "rainbow" in hit.snippet
    assert len(hit.snippet) < len(message.text)


def test_a_search_is_limited(kept: Conversations, session: Session) -> None:
    for _ in range(5):
        kept.append(session.id, None, "user", "rainbow")
    assert len(kept.search("rainbow", limit=3)) == 3


def test_a_reply_is_found_by_its_last_text_and_not_by_its_drafts(kept: Conversations, session: Session) -> None:
    reply = kept.append(session.id, None, "assistant", "", status="streaming")
    kept.checkpoint(reply.id, "a quokka")
    assert found(kept, "quokka") == [reply.id]
    kept.finish(reply.id, "an axolotl", "complete", None)
    assert found(kept, "quokka") == []
    assert found(kept, "axolotl") == [reply.id]
