"""A conversation line by line: `claw --plain`, and what `claw` opens. Also the mode for screen readers."""

import argparse
import contextlib
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING

from agent.assistant import Event, new_sampling
from agent.attachments import MAX_BYTES
from agent.errors import ContextOverflow
from agent.models.embedded import EMBEDDED_NAME
from cli import notices
from cli.console import Console
from cli.desk import Desk
from cli.turn import play, stoppable, stopped
from vault.errors import ClawError, Locked
from vault.messages import Session

if TYPE_CHECKING:
    from agent.tool_use import ToolUse

__all__ = ["run"]

_SHOWN_SESSIONS = 10
_HELP = """\
/new              begin another conversation
/open [SESSION]   list the earlier ones, or go on with one (its id or title)
/model [NAME]     say which model answers, or switch to another
/system [TEXT]    say, or change, the system prompt
/regenerate       answer the last question again
/tools [on|off]   let it use tools, as `claw permission` says
/skill [NAME]     follow a skill, or none any more
/help             this list
/quit             leave (Ctrl-D too)
Ctrl-C stops a reply; what was said so far is kept."""


def run(_arguments: argparse.Namespace, console: Console) -> int:
    """Converse until the person leaves."""
    with Desk(console, None, idle=True) as desk:
        return _Conversation(desk, console).run()


class _Conversation:
    """One sitting at the terminal."""

    def __init__(self, desk: Desk, console: Console) -> None:
        self._desk = desk
        self._console = console
        self._session: Session | None = None
        self._system: str | None = None
        self._tools: ToolUse | None = None
        self._skill: str | None = None
        self._waiting = False
        desk.when_locked = self._tell_locked

    def run(self) -> int:
        self._greet()
        if self._console.settings.tools.enabled:
            self._tools = self._desk.tools()
        if sys.stdin.isatty():
            # Line editing, and a history that lives in memory alone.
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401
        while (line := self._read()) is not None:
            if self._desk.locked:
                self._unlock()
            try:
                if line.startswith("/"):
                    if not self._command(line):
                        break
                elif line.strip():
                    self._say(line)
            except ClawError as error:
                if self._desk.locked:
                    if self._desk.erased or not sys.stdin.isatty():
                        raise
                    self._console.say(f"\n[{error.message} What was said so far is kept. Enter unlocks the vault.]")
                else:
                    self._console.say(f"{error.message} {error.hint}".strip())
            except KeyboardInterrupt:
                self._console.say("\n[stopped]")
        return 0

    def _greet(self) -> None:
        self._console.say(f"{self._desk.model.name} answers, on this machine alone. /help lists the commands.")
        if self._desk.model.name == EMBEDDED_NAME:
            self._console.say(
                "It comes with the program; it is small, and often wrong. To get a better one:\n"
                "claw model pull hf:Qwen/Qwen2.5-1.5B-Instruct-GGUF/qwen2.5-1.5b-instruct-q4_k_m.gguf"
            )
        if self._desk.vault is not None:
            notices.show(self._desk.vault, self._console)

    def _tell_locked(self, why: str) -> None:
        if self._waiting and sys.stdin.isatty():
            self._console.say(f"\n[{why} Enter unlocks it, Ctrl-D leaves.]")

    def _unlock(self) -> None:
        """Open the vault again, and go on where the conversation was.

        Raises:
            Locked: nobody unlocked it.
        """
        if self._desk.erased or not sys.stdin.isatty():
            raise Locked(self._desk.locked, hint="" if self._desk.erased else "What was said before is kept.")
        self._desk.unlock()
        if self._tools is not None:
            self._tools = self._desk.tools(self._skill)
        if self._session is not None and self._desk.still_there(self._session):
            self._desk.conversations.mark_interrupted(self._session.id)

    def _read(self) -> str | None:
        """The next line; `None` at the end."""
        self._waiting = True
        try:
            return self._read_line()
        finally:
            self._waiting = False

    def _read_line(self) -> str | None:
        while True:
            try:
                if not sys.stdin.isatty():
                    return self._read_piped()
                if sys.stdout.isatty():
                    return input("\nyou> ")
                print("\nyou> ", end="", file=sys.stderr, flush=True)  # the replies go elsewhere
                return input()
            except EOFError:
                self._console.say()
                return None
            except KeyboardInterrupt:
                if not sys.stdin.isatty():
                    raise
                self._console.say("\n(Ctrl-D leaves)")
            except UnicodeDecodeError:
                self._console.say("That line is not UTF-8 text; it was not read.")

    def _read_piped(self) -> str | None:
        # Line by line from the bytes: a line that isn't text must not take the ones behind it along.
        while len(line := sys.stdin.buffer.readline(MAX_BYTES + 1)) > MAX_BYTES:
            while line and not line.endswith(b"\n"):
                line = sys.stdin.buffer.readline(MAX_BYTES)
            self._console.say(f"That line is longer than {MAX_BYTES >> 20} MiB; it was not read.")
        return line.decode("utf-8").rstrip("\r\n") if line else None

    def _say(self, text: str) -> None:
        if self._session is not None and not self._desk.still_there(self._session):
            self._console.say("[this conversation was deleted elsewhere; here begins another]")
            self._session = None
        if self._session is None:
            self._session = self._desk.assistant.start_session(text, self._system)
        sampling = new_sampling(self._console.settings.sampling)
        try:
            self._play(self._desk.assistant.reply(self._session, text, sampling=sampling, tools=self._tools))
        except ContextOverflow:
            if self._desk.forget_if_empty(self._session):
                self._session = None
            raise

    def _play(self, turn: Generator[Event]) -> None:
        with stoppable(self._desk.assistant.cancel):
            end, _ = play(turn, self._console, show=True)
        made = end.generation
        if made.finish == "cancelled":
            self._console.say(stopped(end, kept=True))
        elif made.finish == "length":
            self._console.say("[cut off: the reply met its limit, or the context window is full]")
        if sys.stderr.isatty():
            speed = f"{made.tokens_per_second:.0f} tokens/s · " if made.tokens_per_second else ""
            self._console.say(f"[{speed}context {end.context_used:,} of {end.context_size:,}]")

    def _command(self, line: str) -> bool:
        """Carry out a command; false to leave."""
        name, _, rest = line[1:].strip().partition(" ")
        rest = rest.strip()
        match name:
            case "help" | "h" | "?":
                self._console.say(_HELP)
            case "quit" | "q" | "exit":
                return False
            case "new":
                self._session = None
                if self._tools is not None:  # what was agreed to ends with the session
                    self._tools = self._desk.tools(self._skill)
                self._console.say("[a new conversation]")
            case "open":
                self._open(rest)
            case "model":
                if rest:
                    self._desk.use(rest)
                self._console.say(f"[{self._desk.model.name}]")
            case "system":
                self._set_system(rest)
            case "tools":
                self._set_tools(rest)
            case "skill":
                self._set_skill(rest)
            case "regenerate":
                self._regenerate()
            case _:
                self._console.say(
                    f"There is no command /{name}; /help lists them.\n"
                    "To say it to the model, put a space before it."
                )
        return True

    def _open(self, wanted: str) -> None:
        conversations = self._desk.conversations
        if not wanted:
            newest = conversations.sessions(_SHOWN_SESSIONS)
            self._console.say("\n".join(f"/open {s.id}  {s.title}" for s in newest) or "There is none yet.")
            return
        session = conversations.find(wanted)
        conversations.mark_interrupted(session.id)
        self._session = session
        self._console.say(f"[{session.title}]")
        for message in conversations.path(session.id)[-2:]:
            self._console.say(f"{'you' if message.role == 'user' else 'claw'}> {message.text}")

    def _set_system(self, text: str) -> None:
        if text:
            self._system = text
            if self._session is not None:
                self._desk.conversations.set_system_prompt(self._session.id, text)
            self._console.say("[system prompt changed]")
        elif self._session is not None:
            self._console.say(self._desk.conversations.find(self._session.id).system_prompt)
        else:
            self._console.say(self._console.settings.assistant.system if self._system is None else self._system)

    def _set_tools(self, wanted: str) -> None:
        if wanted not in ("", "on", "off"):
            self._console.say("/tools on, or /tools off")
            return
        if wanted:
            self._skill = None
            self._tools = self._desk.tools() if wanted == "on" else None
        names = ", ".join(self._tools.broker.tools) if self._tools else "none"
        self._console.say(f"[tools: {names}]")

    def _set_skill(self, name: str) -> None:
        tools = self._desk.tools(name) if name else None
        self._skill, self._tools = name or None, tools
        self._console.say(f"[follows the skill {name}]" if name else "[follows no skill, and has no tools]")

    def _regenerate(self) -> None:
        if self._session is None:
            self._console.say("There is no reply to write again yet.")
            return
        sampling = new_sampling(self._console.settings.sampling)
        self._play(self._desk.assistant.regenerate(self._session, sampling=sampling, tools=self._tools))
