"""A conversation line by line, on a real terminal and in a pipe, with the real model."""

from pathlib import Path

import pytest

from agent.attachments import MAX_BYTES
from agent.models.embedded import EMBEDDED_NAME
from tests.fixtures.command import CLAW, PROMPT, Person, Terminal
from vault.messages import Message

LONG = "Write a very long story about a dragon and a princess."


def sits_down(person: Person, *arguments: str) -> Terminal:
    """Start a conversation, up to its first prompt."""
    terminal = person.terminal(*(arguments or ("--plain",)))
    terminal.sees(PROMPT)
    return terminal


def hears(terminal: Terminal, question: str) -> str:
    """Ask, and wait for the whole reply; returns it."""
    terminal.says(question)
    shown = terminal.sees(PROMPT)
    return shown.rsplit("\n[", 1)[0].split("\n[cut off", 1)[0]


def leaves(terminal: Terminal) -> None:
    terminal.types("/quit")
    assert terminal.ends() == 0


def conversations(person: Person) -> list[list[Message]]:
    """Every message of each conversation, the one used last first."""
    with person.vault() as vault:
        return [vault.conversations.tree(session.id) for session in vault.conversations.sessions()]


@pytest.mark.parametrize("arguments", [(), ("--plain",)])
def test_a_conversation_is_shown_and_kept(person: Person, arguments: tuple[str, ...]) -> None:
    terminal = person.terminal(*arguments)
    greeting = terminal.sees(PROMPT)
    assert EMBEDDED_NAME in greeting
    assert "often wrong" in greeting
    assert "claw model pull hf:" in greeting
    first = hears(terminal, "Name a colour.")
    second = hears(terminal, "Name another.")
    leaves(terminal)
    (messages,) = conversations(person)
    assert [message.role for message in messages] == ["user", "assistant", "user", "assistant"]
    assert [messages[1].text.strip(), messages[3].text.strip()] == [first.strip(), second.strip()]
    assert messages[3].generation is not None
    assert messages[3].generation.cached_tokens > 0


def test_the_window_that_is_left_is_told_after_each_reply(person: Person) -> None:
    terminal = sits_down(person)
    terminal.says("Hello")
    used = int(terminal.sees_match(r"tokens/s · context (\d+) of 8,192\]")[1])
    terminal.sees(PROMPT)
    terminal.says("Hello again")
    assert int(terminal.sees_match(r"tokens/s · context (\d+) of 8,192\]")[1]) > used
    leaves(terminal)


def test_ctrl_c_stops_a_reply_keeps_its_text_and_the_conversation_goes_on(person: Person) -> None:
    person.set("sampling.max_tokens", "0")
    terminal = sits_down(person)
    terminal.says(LONG)
    shown = terminal.sees_match(r"\w+ ")[0]
    terminal.presses("c")
    terminal.sees("[stopped; the text so far is kept]")
    terminal.sees(PROMPT)
    person.set("sampling.max_tokens", "8")
    terminal.types("/new")
    terminal.sees(PROMPT)
    terminal.says("Name a colour.")
    terminal.sees_match(r"\w+ ")
    terminal.presses_until("c", PROMPT)
    leaves(terminal)
    _, (_, reply) = conversations(person)
    assert reply.status == "cancelled"
    assert shown.strip() in reply.text


def test_a_second_ctrl_c_gives_up_a_worker_that_does_not_listen(person: Person) -> None:
    person.set("sampling.max_tokens", "0")
    terminal = sits_down(person)
    terminal.says(LONG)
    terminal.sees_match(r"\w+ ")
    deaf = terminal.worker
    deaf.suspend()
    terminal.presses_until("c", "[stopped]")
    terminal.sees(PROMPT)
    assert not deaf.is_running()
    terminal.says("Name a colour.")
    terminal.sees_match(r"\w+")
    terminal.presses_until("c", PROMPT)
    leaves(terminal)
    ((_, stopped, question, reply),) = conversations(person)
    assert stopped.status == "interrupted"
    assert stopped.text
    assert question.text == "Name a colour."
    assert reply.text


def test_ctrl_c_at_the_prompt_tells_how_to_leave_and_ctrl_d_leaves(person: Person) -> None:
    terminal = sits_down(person)
    terminal.presses_until("c", "(Ctrl-D leaves)")
    terminal.sees(PROMPT)
    terminal.presses("d")
    assert terminal.ends() == 0
    assert conversations(person) == []


def test_help_names_every_command(person: Person) -> None:
    terminal = sits_down(person)
    terminal.says("/help")
    shown = terminal.sees(PROMPT)
    for command in ("/new", "/open", "/model", "/system", "/regenerate", "/help", "/quit", "Ctrl-C", "Ctrl-D"):
        assert command in shown
    assert max(map(len, shown.splitlines())) < 80
    leaves(terminal)


@pytest.mark.parametrize("line", ["/quit", "/exit", "/q"])
def test_leaving_by_command(person: Person, line: str) -> None:
    terminal = sits_down(person)
    terminal.types(line)
    assert terminal.ends() == 0


def test_an_unknown_command_is_not_said_to_the_model(person: Person) -> None:
    terminal = sits_down(person)
    terminal.says("/etc/passwd is a file")
    assert "There is no command /etc/passwd; /help lists them." in terminal.sees(PROMPT)
    leaves(terminal)
    assert conversations(person) == []


def test_new_begins_another_conversation(person: Person) -> None:
    terminal = sits_down(person)
    hears(terminal, "Name a colour.")
    terminal.says("/new")
    assert "[a new conversation]" in terminal.sees(PROMPT)
    hears(terminal, "Name a tree.")
    leaves(terminal)
    assert [messages[0].text for messages in conversations(person)] == ["Name a tree.", "Name a colour."]


def test_regenerate_adds_a_sibling_and_keeps_the_old_reply(person: Person) -> None:
    terminal = sits_down(person)
    terminal.says("/regenerate")
    assert "no reply to write again" in terminal.sees(PROMPT)
    hears(terminal, "Name a colour.")
    hears(terminal, "/regenerate")
    leaves(terminal)
    ((question, first, second),) = conversations(person)
    assert first.parent_id == second.parent_id == question.id
    with person.vault() as vault:
        session = vault.conversations.newest()
        assert session is not None
        assert [message.id for message in vault.conversations.path(session.id)] == [question.id, second.id]


def test_the_system_prompt_is_shown_and_changed(person: Person) -> None:
    terminal = sits_down(person)
    terminal.says("/system")
    assert "You are a helpful assistant." in terminal.sees(PROMPT)
    terminal.says("/system You are a pirate.")
    terminal.sees(PROMPT)
    hears(terminal, "Who are you?")
    terminal.says("/system")
    assert "You are a pirate." in terminal.sees(PROMPT)
    terminal.says("/system You are a poet.")
    terminal.sees(PROMPT)
    leaves(terminal)
    with person.vault() as vault:
        (session,) = vault.conversations.sessions()
    assert session.system_prompt == "You are a poet."


def test_another_model_takes_over_in_the_middle(person: Person, tiny_model: Path) -> None:
    assert person.claw("model", "import", str(tiny_model), "--name", "mine").returncode == 0
    terminal = sits_down(person)
    terminal.says("/model")
    assert f"[{EMBEDDED_NAME}]" in terminal.sees(PROMPT)
    hears(terminal, "Name a colour.")
    old = terminal.worker
    terminal.says("/model mine")
    assert "[mine]" in terminal.sees(PROMPT)
    assert not old.is_running()
    hears(terminal, "Name another.")
    leaves(terminal)
    ((_, first, _, second),) = conversations(person)
    assert first.generation is not None
    assert second.generation is not None
    assert (first.generation.model_name, second.generation.model_name) == (EMBEDDED_NAME, "mine")


@pytest.mark.parametrize("name", ["smollm2-135m-instrukt", "it's"])
def test_a_model_that_is_not_there_changes_nothing(person: Person, name: str) -> None:
    terminal = sits_down(person)
    terminal.says(f"/model {name}")
    shown = terminal.sees(PROMPT)
    assert "There is no model" in shown
    assert "claw model list" in shown
    assert (EMBEDDED_NAME in shown) == name.startswith("smollm2")
    assert hears(terminal, "Name a colour.").strip()
    leaves(terminal)


def test_an_earlier_conversation_is_listed_opened_and_gone_on_with(person: Person) -> None:
    with person.vault() as vault:
        session = vault.conversations.start("About colours", "")
        question = vault.conversations.append(session.id, None, "user", "Name a colour.")
        vault.conversations.append(session.id, question.id, "assistant", "Blue.", status="streaming")
    terminal = sits_down(person)
    terminal.says("/open")
    assert f"/open {session.id}  About colours" in terminal.sees(PROMPT)
    terminal.says("/open nowhere")
    assert "nowhere" in terminal.sees(PROMPT)
    terminal.says("/open About colours")
    terminal.sees("[About colours]\r\nyou> Name a colour.\r\nclaw> Blue.\r\n")
    terminal.sees(PROMPT)
    hears(terminal, "Name another.")
    leaves(terminal)
    ((_, cut_off, second, _),) = conversations(person)
    assert cut_off.status == "interrupted"
    assert second.parent_id == cut_off.id


def test_a_question_that_exceeds_the_window_is_refused_and_the_conversation_goes_on(person: Person) -> None:
    person.set("inference.context", "512")
    done = person.claw("--plain", stdin="many words " * 500 + "\nName a colour.\n")
    assert done.returncode == 0
    assert "larger window" in done.stderr
    assert done.stdout.strip()
    ((question, _),) = conversations(person)
    assert question.text == "Name a colour."


def test_in_a_pipe_each_line_is_a_message_and_only_replies_are_printed(person: Person) -> None:
    done = person.claw("--plain", stdin="Name a colour.\n\n/system\r\nName another.\n")
    assert done.returncode == 0
    ((_, first, _, second),) = conversations(person)
    assert done.stdout == f"{first.text}\n{second.text}\n"
    assert "You are a helpful assistant." in done.stderr


def test_a_line_that_is_not_utf8_is_not_read_and_the_next_one_is(person: Person) -> None:
    done = person.claw("--plain", stdin=b"caf\xe9\nName a colour.\n")
    assert "not UTF-8" in done.stderr
    ((question, _),) = conversations(person)
    assert question.text == "Name a colour."


def test_a_line_that_is_too_long_is_not_read_and_the_next_one_is(person: Person) -> None:
    done = person.claw("--plain", stdin=b"x" * (3 * MAX_BYTES) + b"\nName a colour.\n")
    assert done.returncode == 0
    assert done.stderr.count("longer than 1 MiB; it was not read.") == 1
    ((question, _),) = conversations(person)
    assert question.text == "Name a colour."


def test_when_replies_go_to_a_file_the_prompt_stays_on_the_terminal(person: Person, tmp_path: Path) -> None:
    terminal = person.terminal("-c", f"{CLAW} --plain >{tmp_path}/replies", program="/bin/sh")
    terminal.sees(PROMPT)
    terminal.says("Name a colour.")
    terminal.sees(PROMPT)
    leaves(terminal)
    ((_, reply),) = conversations(person)
    assert (tmp_path / "replies").read_text() == f"{reply.text}\n"


def test_what_is_typed_is_remembered_in_no_file(person: Person) -> None:
    terminal = sits_down(person)
    hears(terminal, "Name a colour.")
    before = {path for path in person.folder.rglob("*") if path.is_file()}
    leaves(terminal)
    assert {path for path in person.folder.rglob("*") if path.is_file()} <= before
    assert not [path for path in before if "history" in path.name]
