"""Tasks and invites as messages: one encoding, bounds, and a digest that hangs on every word."""

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.combining import Adam
from federation.errors import Malformed
from federation.invites import PREFIX, Invite, proof_of
from federation.messages import encode
from federation.task import AdapterTraining, Task, read_task
from tests.orchestrator.federations import task_of

TASK = task_of()
ADAPTER = AdapterTraining("core", 16, 1.0, ("attn_q", "attn_v"), 0.01, 1, 100, 4, 1024, bytes(32))
INVITE = Invite("ours", "https://host:1", (bytes(32), b"\x01" * 32), b"r" * 32, b"l" * 32, b"s" * 32, ("minutes",))


@pytest.mark.parametrize("task", [TASK, msgspec.structs.replace(TASK, training=ADAPTER, combining=Adam())])
def test_a_task_comes_back_as_it_was(task: Task) -> None:
    assert read_task(encode(task)) == task


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "other"},
        {"version": 2},
        {"purpose": "To tell what a request wants!"},
        {"data": "Everything."},
        {"model": b"\x01" * 32},
        {"training": ADAPTER},
        {"combining": Adam()},
        {"rounds": 101},
        {"most_examples": 9},
        {"stages": TASK.stages._replace(mask=7)},
        {"plan": msgspec.structs.replace(TASK.plan, participations=99)},
    ],
)
def test_a_changed_word_or_number_is_another_task(changed: dict[str, object]) -> None:
    assert msgspec.structs.replace(TASK, **changed).digest != TASK.digest


@given(st.data())
def test_any_bytes_are_a_task_or_refused(data: st.DataObject) -> None:
    whole = encode(TASK)
    at, put = data.draw(st.integers(0, len(whole))), data.draw(st.binary(max_size=6))
    changed = whole[:at] + put + whole[at + data.draw(st.integers(0, 3)) :]
    try:
        assert encode(read_task(changed)) == changed
    except Malformed:
        assert changed != whole


def test_an_invite_comes_back_from_its_text_and_a_cut_one_does_not() -> None:
    text = str(INVITE)
    assert Invite.parse(f"  {text}\n") == INVITE
    assert Invite.parse(text).federation == INVITE.federation
    for end in range(len(text)):
        with pytest.raises(Malformed):
            Invite.parse(text[:end])


@given(
    st.one_of(st.text(), st.binary(max_size=300).map(lambda data: PREFIX + base64.urlsafe_b64encode(data).decode()))
)
def test_any_text_is_an_invite_or_refused(text: str) -> None:
    with pytest.raises(Malformed):
        Invite.parse(text)


@pytest.mark.parametrize(
    "address", ["http://host", "https://host/path", "https://a b", "https://u@h", "https://h?q"]
)
def test_an_invite_leads_to_an_address_and_nothing_else(address: str) -> None:
    changed = msgspec.structs.replace(INVITE, address=address)
    with pytest.raises(Malformed):
        Invite.parse(str(changed))


def test_a_proof_is_good_for_one_federation_and_one_device() -> None:
    proof = proof_of(b"s" * 32, b"f" * 32, b"d" * 32)
    assert proof != proof_of(b"t" * 32, b"f" * 32, b"d" * 32)
    assert proof != proof_of(b"s" * 32, b"g" * 32, b"d" * 32)
    assert proof != proof_of(b"s" * 32, b"f" * 32, b"e" * 32)
