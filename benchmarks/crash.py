"""Kill -9 at random moments of a conversation: is everything that was acknowledged on screen there afterwards?

In turns the app (`claw --plain`, on a real terminal) and its inference worker are killed. A message of the person's
is acknowledged when the first text of its reply is on the screen; a reply, when the next prompt is. After each kill
the vault is opened, its pages are verified after a checkpoint, and every acknowledged message is looked for. After
the worker's death the app must say so, answer the next question, and leave in the ordinary way.
"""

import contextlib
import os
import random
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pexpect
import psutil

from agent.models.embedded import EMBEDDED_NAME
from benchmarks.harness import Bench, scratch
from vault.conversations import Conversations
from vault.home import Home
from vault.passphrase import KdfCost
from vault.settings import set_setting
from vault.store import Vault

__all__ = ["Sitting", "gone", "prepare"]

PASSPHRASE = "a passphrase for crash tests"
CONVERSATION_S = 2.0
PROMPT = "you> "


def main() -> int:
    """Kill, look, repeat."""
    bench = Bench("crash")
    runs = 20 if bench.quick else 200
    seed = int(os.environ.get("CLAW_CRASH_SEED", str(time.time_ns())))
    dice = random.Random(seed)
    bench.note("seed", str(seed))
    lost = damaged = orphans = replies = questions = 0
    with scratch() as folder:
        home, secret = prepare(Path(folder))
        for number in range(runs):
            session = Sitting(home, secret, number, dice)
            worker = session.run(kill_app=number % 2 == 0)
            orphans += not gone(worker)
            with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
                damaged += bool(vault.integrity_errors())
                lost += session.lost(vault.conversations)
            questions += len(session.asked)
            replies += len(session.answered)
            if number % 10 == 9:
                bench.say(f"{number + 1} of {runs}: {questions} messages and {replies} replies acknowledged")
    bench.figure("kills", "kill -9 of the app and of the worker, in turns", runs)
    # Fewer would mean that the kills came before anything was said, and prove nothing.
    bench.figure(
        "acknowledged", "messages and replies acknowledged on screen", questions + replies, target=(">=", runs)
    )
    bench.figure("lost", "acknowledged and not there afterwards", lost, target=("<=", 0))
    bench.figure("damaged", "vaults with a damaged page", damaged, target=("<=", 0))
    bench.figure("orphans", "workers that outlived their app", orphans, target=("<=", 0))
    return bench.finish()


def prepare(folder: Path) -> tuple[Home, Path]:
    """A home with a vault, and the file with its passphrase."""
    home = Home.locate({"CLAW_HOME": f"{folder}/home"})
    secret = folder / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text(PASSPHRASE)
    Vault.create(home, PASSPHRASE, cost=KdfCost(memory_kib=64, iterations=1, lanes=1)).close()
    set_setting(home.config_file, "sampling.max_tokens", "30")
    return home, secret


class Sitting:
    """One conversation on a terminal, ended by a kill."""

    def __init__(self, home: Home, secret: Path, number: int, dice: random.Random) -> None:
        self.asked: list[str] = []
        self.answered: list[str] = []
        self._number = number
        self._dice = dice
        environment = {
            "PATH": os.environ["PATH"],
            "TERM": "dumb",
            "CLAW_HOME": str(home.data),
            "CLAW_PASSPHRASE_FILE": str(secret),
        }
        claw = str(Path(sys.executable).with_name("claw"))
        self._app: Any = pexpect.spawn(
            claw, ["--plain"], env=environment, encoding="utf-8", timeout=60, dimensions=(50, 400), echo=False
        )

    def run(self, *, kill_app: bool) -> int:
        """Converse until the moment of the kill has come; the worker's process id."""
        app = self._app
        app.expect_exact(PROMPT)
        worker = psutil.Process(app.pid).children()[0].pid
        end = time.monotonic() + self._dice.uniform(0, CONVERSATION_S)
        turn = 0
        while self._say(f"Message {self._number}-{turn}: name one colour.", end):
            turn += 1
        if kill_app:
            app.kill(signal.SIGKILL)
            app.wait()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
            self._go_on()
        app.close(force=True)
        return worker

    def _say(self, text: str, end: float) -> bool:
        """Say something and read its reply; false when the time is up before the next prompt."""
        if (left := end - time.monotonic()) <= 0:
            return False
        self._app.sendline(text)
        screen = ""
        acknowledged = False
        while True:
            try:
                left = end - time.monotonic()
                screen += self._app.read_nonblocking(4096, timeout=max(left, 0))
            except pexpect.TIMEOUT:
                return False
            shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", screen).strip()
            if shown and not acknowledged:
                acknowledged = True
                self.asked.append(text)
            if PROMPT in screen:
                self.answered.append(_reply(shown))
                return True
            if left <= 0:
                return False

    def _go_on(self) -> None:
        """The worker is dead: the app must go on, answer the next question, and leave in the ordinary way."""
        app = self._app
        app.sendline("/model")  # its answer tells where the old output ends
        app.expect_exact(f"[{EMBEDDED_NAME}]")
        app.expect_exact(PROMPT)
        app.sendline(f"After the kill {self._number}: name one colour.")
        app.expect_exact("tokens/s")
        app.expect_exact(PROMPT)
        app.sendline("/quit")
        app.expect(pexpect.EOF)
        app.wait()
        if app.exitstatus != 0:
            raise SystemExit(f"after its worker was killed, the app ended with {app.exitstatus}: {app.before}")

    def lost(self, conversations: Conversations) -> int:
        """How many acknowledged messages aren't in the vault."""
        kept: list[tuple[str, str]] = []
        for session in conversations.sessions():
            kept += [(message.role, _squeezed(message.text)) for message in conversations.tree(session.id)]
        missing = [text for text in self.asked if ("user", text) not in kept]
        missing += [text for text in self.answered if ("assistant", _squeezed(text)) not in kept]
        for text in missing:
            print(f"    LOST: {text!r}")
        return len(missing)


def _reply(shown: str) -> str:
    """The reply on the screen: up to the line of figures."""
    return re.split(r"\n\[(?:\d+ tokens/s|cut off|stopped|context )", shown)[0]


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def gone(pid: int) -> bool:
    """Whether a process ends within ten seconds."""
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(timeout=10)
    return not psutil.pid_exists(pid)


if __name__ == "__main__":
    raise SystemExit(main())
