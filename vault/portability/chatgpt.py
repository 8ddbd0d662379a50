"""Conversations as ChatGPT exports them: a list, each a mapping from ids to nodes that name their parent.

Nobody publishes that format; what is read here is what exports were seen to hold, and what is written is the part
of it that others read as well. The tree is followed by `parent` alone. A node that isn't kept (an empty beginning,
the system's notes) is passed over: what answers it then answers what it answered.
"""

import heapq
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from vault.errors import ImportRefused
from vault.messages import Message, MessageId, Session, SessionId
from vault.portability.chatgpt_content import ForeignMessage, Said, said
from vault.portability.checks import YEAR_10000_MS
from vault.portability.trees import Conversation, derived_id
from vault.sanitize import sanitize_line

__all__ = ["Reading", "read_conversation", "write_conversations"]

_OURS = {10: re.compile("[0-9a-hjkmnp-tv-z]{10}"), 16: re.compile("[0-9a-hjkmnp-tv-z]{16}")}
_SESSION, _MESSAGE = 10, 16
_TITLE = 60
_SURROGATES = re.compile("[\ud800-\udfff]")


class _Node(msgspec.Struct):
    message: ForeignMessage | None = None
    parent: str | None = None


class _Foreign(msgspec.Struct):
    mapping: dict[str, _Node]
    id: str | None = None
    conversation_id: str | None = None
    title: str | None = None
    create_time: float | None = None
    update_time: float | None = None
    current_node: str | None = None
    is_archived: bool | None = None


class Reading(NamedTuple):
    """One conversation that was read.

    Attributes:
        conversation: It; `None` when there is nothing in it to keep.
        skipped: How many of its messages weren't kept, by the reason.
    """

    conversation: Conversation | None
    skipped: Counter[str]


def read_conversation(element: bytes, source: str, now_ms: int) -> Reading:
    """Read one conversation.

    Ids of our own form are kept; from others, ours are made, the same each time.

    Args:
        element: Its JSON, of bounded length and depth (`vault.portability.json_array`).
        source: What it is imported from.
        now_ms: The time that is taken where it names none.

    Raises:
        ImportRefused: it isn't one, or its messages answer one another in a circle.
    """
    try:
        loaded = json.loads(element, object_pairs_hook=_object, parse_constant=lambda _: None)
        foreign = msgspec.convert(loaded, _Foreign)
    except msgspec.ValidationError as error:
        raise ImportRefused(f"that is no conversation: {error}") from None
    except (ValueError, OverflowError, RecursionError):
        raise ImportRefused("that is no JSON") from None
    return _Reader(foreign, element, source, now_ms).read()


class _Reader:
    def __init__(self, foreign: _Foreign, element: bytes, source: str, now_ms: int) -> None:
        self._foreign = foreign
        self._source = source
        self._nodes = foreign.mapping
        self._own_id = foreign.id or foreign.conversation_id or derived_id(32, element.decode(errors="replace"))
        self._begun_ms = _ms(foreign.create_time)
        self._now_ms = now_ms
        self._skipped: Counter[str] = Counter()

    def read(self) -> Reading:
        session_id = SessionId(_id(_SESSION, "conversation", self._own_id))
        begun = self._begun_ms if self._begun_ms is not None else self._first_time()
        nearest: dict[str, MessageId | None] = {}  # of each node, itself or the next above it that is kept
        times: dict[str, int] = {}
        messages: list[Message] = []
        system: dict[str, None] = {}  # each once, in order
        for key in self._in_order():
            node = self._nodes[key]
            above = self._parent(key)
            times[key] = _time(node, times[above] if above else begun)
            nearest[key] = nearest[above] if above else None
            kept = said(node.message) if node.message else Said()
            if kept.skipped:
                self._skipped[kept.skipped] += 1
            elif kept.role is None:
                if kept.text:
                    system[kept.text] = None
            else:
                message_id = MessageId(_id(_MESSAGE, self._own_id, key))
                messages.append(
                    Message(
                        message_id,
                        session_id,
                        nearest[key],
                        kept.role,
                        kept.text,
                        "complete",
                        times[key],
                        kept.attachments,
                        source=self._source or None,
                    )
                )
                nearest[key] = message_id
        if not messages:
            return Reading(None, self._skipped)
        head = nearest.get(self._foreign.current_node or "") or messages[-1].id
        updated = _ms(self._foreign.update_time)
        updated = max(times.values()) if updated is None else updated
        session = Session(
            id=session_id,
            title=self._title(messages),
            system_prompt="\n\n".join(system),
            created_ms=begun,
            updated_ms=updated,
            head=head,
            archived_ms=updated if self._foreign.is_archived else None,
            source=self._source,
            messages=len(messages),
        )
        return Reading(Conversation(session, messages), self._skipped)

    def _parent(self, key: str) -> str | None:
        """The node that a node answers; one whose parent isn't there begins a tree of its own."""
        above = self._nodes[key].parent
        return above if above in self._nodes else None

    def _first_time(self) -> int:
        stated = (_ms(node.message.create_time) for node in self._nodes.values() if node.message)
        return min((time for time in stated if time is not None), default=self._now_ms)

    def _in_order(self) -> Iterator[str]:
        """Every node after its parent, and otherwise as they were written, by time and then by place.

        Raises:
            ImportRefused: some answer one another in a circle.
        """
        below: dict[str | None, list[tuple[int, int, str]]] = {}
        for place, (key, node) in enumerate(self._nodes.items()):
            below.setdefault(self._parent(key), []).append((_time(node, 0), place, key))
        ready = below.get(None, [])
        heapq.heapify(ready)
        passed = 0
        while ready:
            _, _, key = heapq.heappop(ready)
            passed += 1
            yield key
            for item in below.get(key, []):
                heapq.heappush(ready, item)
        if passed < len(self._nodes):
            raise ImportRefused("its messages answer one another in a circle")

    def _title(self, messages: list[Message]) -> str:
        return sanitize_line(self._foreign.title or "") or sanitize_line(messages[0].text, _TITLE) or "Untitled"


def write_conversations(conversations: Iterable[Conversation]) -> Iterator[bytes]:
    """The list, in pieces: every conversation with its whole tree."""
    separator = b"[\n"
    for conversation in conversations:
        yield separator + msgspec.json.encode(_written(conversation))
        separator = b",\n"
    yield b"[]\n" if separator == b"[\n" else b"\n]\n"


def _written(conversation: Conversation) -> dict[str, Any]:
    session = conversation.session
    root = f"{session.id}-system"
    mapping: dict[str, dict[str, Any]] = {
        root: {"id": root, "message": None, "parent": None, "children": []},
    }
    if session.system_prompt:
        mapping[root]["message"] = _message(root, "system", session.system_prompt, session.created_ms)
    for message in conversation.messages:
        written = _message(message.id, message.role, message.text, message.created_ms)
        if message.attachments:
            written["metadata"]["attachments"] = message.attachments
        if message.generation:
            written["metadata"]["model_slug"] = message.generation.model_name
        above = message.parent_id or root
        mapping[message.id] = {"id": message.id, "message": written, "parent": above, "children": []}
    for key, node in mapping.items():
        if node["parent"] is not None:
            mapping[node["parent"]]["children"].append(key)
    return {
        "id": session.id,
        "conversation_id": session.id,
        "title": session.title,
        "create_time": session.created_ms / 1000,
        "update_time": session.updated_ms / 1000,
        "is_archived": session.archived_ms is not None,
        "mapping": mapping,
        "current_node": session.head or root,
    }


def _message(key: str, role: str, text: str, created_ms: int) -> dict[str, Any]:
    return {
        "id": key,
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": created_ms / 1000,
        "content": {"content_type": "text", "parts": [text]},
        "status": "finished_successfully",
        "metadata": {},
        "recipient": "all",
    }


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, without what UTF-8 can't write.

    Raises:
        ValueError: it names something twice.
    """
    found = {_writable(key): _writable(value) if isinstance(value, str) else value for key, value in pairs}
    if len(found) != len(pairs):
        raise msgspec.ValidationError("an id, or another name, is there twice")
    for value in found.values():
        if isinstance(value, list):
            value[:] = [_writable(item) if isinstance(item, str) else item for item in value]
    return found


def _writable(text: str) -> str:
    return _SURROGATES.sub("\ufffd", text)


def _id(length: int, *parts: str) -> str:
    return parts[-1] if _OURS[length].fullmatch(parts[-1]) else derived_id(length, *parts)


def _time(node: _Node, otherwise: int) -> int:
    stated = _ms(node.message.create_time) if node.message else None
    return otherwise if stated is None else stated


def _ms(seconds: float | None) -> int | None:
    """Milliseconds since 1970; `None` for no time, or one that no calendar of ours names."""
    if seconds is None or not math.isfinite(seconds) or not 0 <= seconds * 1000 < YEAR_10000_MS - 1:
        return None
    return round(seconds * 1000)
