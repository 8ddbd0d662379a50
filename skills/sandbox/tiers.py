"""Which walls work here, seen by running something behind them that tries to get out.

A system may have bubblewrap and keep it from working (AppArmor on Ubuntu, containers without user namespaces): only
a run tells. Where no tier works, nothing is run at all.
"""

import functools
import json
import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from skills.errors import NoSandbox, SandboxError
from skills.sandbox.bubblewrap import Bubblewrap
from skills.sandbox.job import PYTHON, Job, Limits
from skills.sandbox.landlocked import Landlocked
from skills.sandbox.run import run
from skills.sandbox.seatbelt import Seatbelt
from skills.sandbox.walls import Walls

__all__ = ["MEND", "Tried", "attempt", "best", "tried", "until_one_works"]

_TIERS: tuple[type[Walls], ...] = (Seatbelt,) if sys.platform == "darwin" else (Bubblewrap, Landlocked)
"""The strongest first."""
MEND = (
    "macOS has a sandbox of its own, and on this Mac it doesn't work as it should; please report that."
    if sys.platform == "darwin"
    else "Install bubblewrap (apt install bubblewrap, dnf install bubblewrap); "
    "`claw doctor` then says what is missing."
)
"""What to do where a tier doesn't work."""
_OUTPUT = "seen.json"
_TRIALS = """
import json, os, socket, sys

given = json.load(open("in/given.json"))
out = []

def trial(name, attempt):
    try:
        attempt()
    except OSError:
        return
    out.append(name)

def reach():
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if sys.platform == "darwin":  # there it can be made, and must reach nothing
        made.sendto(b"", ("127.0.0.1", 9))

trial("a file could be read", lambda: open(given["canary"]).read())
trial("a file could be changed", lambda: open(given["canary"], "a").close())
trial("a file could be made", lambda: open(given["canary"] + ".new", "w").close())
trial("a socket could be made", reach)
trial("a process could be signalled", lambda: os.kill(given["pid"], 0))
trial("a process could be started", os.fork)
json.dump(out, open("out/seen.json", "w"))
"""


class Tried(NamedTuple):
    """One tier, tried on this system.

    Attributes:
        walls: The tier.
        wrong: Why it isn't used; empty where it works.
    """

    walls: Walls
    wrong: str


@functools.cache
def attempt(tier: type[Walls]) -> Tried:
    """Try one tier, once in the life of this process."""
    walls = tier()
    return Tried(walls, walls.why_not() or _try(walls))


def tried() -> tuple[Tried, ...]:
    """Every tier there is, the strongest first."""
    return tuple(map(attempt, _TIERS))


def until_one_works() -> tuple[Tried, ...]:
    """The tiers down to the first that works, which is the last of them; all where none does."""
    found: list[Tried] = []
    for tier in _TIERS:
        found.append(attempt(tier))
        if not found[-1].wrong:
            break
    return tuple(found)


def best() -> Walls:
    """The strongest walls that work here; the weaker ones aren't tried.

    Raises:
        NoSandbox: there are none.
    """
    attempts = until_one_works()
    if attempts and not attempts[-1].wrong:
        return attempts[-1].walls
    if sys.platform not in ("linux", "darwin"):
        raise NoSandbox(f"Nothing can be confined on {sys.platform} yet, and nothing is run without that.")
    reasons = "; ".join(f"{walls.name}: {wrong}" for walls, wrong in attempts)
    raise NoSandbox(f"No sandbox works here, and nothing is run without one. {reasons}.", hint=MEND)


def _try(walls: Walls) -> str:
    """What is wrong with a tier, as a trial shows."""
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder) / secrets.token_hex(8)
        canary.write_text("outside")
        given = json.dumps({"canary": str(canary), "pid": os.getpid()}).encode()
        job = Job(
            (*PYTHON, "in/trials.py"),
            {"trials.py": _TRIALS.encode(), "given.json": given},
            (_OUTPUT,),
            limits=Limits(wall_s=10.0, cpu_s=5, memory=256 << 20, scratch=0),
        )
        try:
            outcome = run(job, walls)
        except (SandboxError, OSError) as error:
            return str(error).rstrip(".")
        if not outcome.ok:
            said = outcome.stderr.decode(errors="replace").strip().splitlines()
            return f"it could not be started: {said[-1] if said else outcome.ended}"
        try:
            out = json.loads(outcome.outputs[_OUTPUT])
        except (KeyError, ValueError):
            return "its trial said nothing"
        return "; ".join(out)
