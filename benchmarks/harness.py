"""What every benchmark shares: its arguments, its table, its JSON, and its verdict.

FILE gets `{"name", "machine", "figures": {key: number}, "targets": {key: [">=" or "<=", number]}, "ok": bool}`.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import psutil

__all__ = ["Bench", "keychain_session", "median", "peak_memory", "run_timed", "scratch"]

Comparison = Literal[">=", "<="]


class Bench:
    """One benchmark's figures, collected while it runs.

    Args:
        name: As in the file's name.
        arguments: The command line; `--quick` and `--json FILE` are understood.
    """

    def __init__(self, name: str, arguments: Sequence[str] | None = None) -> None:
        parser = argparse.ArgumentParser(description=f"The {name} benchmark.")
        parser.add_argument("--quick", action="store_true", help="fewer repeats; ends within a minute")
        parser.add_argument("--json", type=Path, metavar="FILE")
        parsed = parser.parse_args(arguments)
        self.quick: bool = parsed.quick
        self._name = name
        self._file: Path | None = parsed.json
        self._figures: dict[str, float] = {}
        self._targets: dict[str, tuple[Comparison, float]] = {}
        self._rows: list[tuple[str, str]] = []

    def say(self, text: str) -> None:
        """Tell what is going on."""
        print(f"  … {text}", flush=True)

    def figure(
        self, key: str, label: str, value: float, unit: str = "", target: tuple[Comparison, float] | None = None
    ) -> None:
        """Add a figure, and what it should reach."""
        self._figures[key] = value
        text = f"{value:,.3f}".rstrip("0").rstrip(".") + (f" {unit}" if unit else "")
        if target is not None:
            self._targets[key] = target
            text += f"   ({target[0]} {target[1]:g}: {'reached' if _holds(value, target) else 'NOT REACHED'})"
        self._rows.append((label, text))

    def note(self, label: str, text: str) -> None:
        """Add a row that isn't a number: a peer that is missing, say."""
        self._rows.append((label, text))

    def finish(self) -> int:
        """Print the table, write the JSON; 0 when every target holds."""
        ok = all(_holds(self._figures[key], target) for key, target in self._targets.items())
        width = max(len(label) for label, _ in self._rows)
        print(f"\n{self._name}{' (quick)' if self.quick else ''} on {_machine()}")
        for label, text in self._rows:
            print(f"  {label.ljust(width)}  {text}")
        print("  every target holds" if ok else "  not every target holds")
        if self._file is not None:
            result = {
                "name": self._name,
                "machine": _machine(),
                "figures": self._figures,
                "targets": {key: list(target) for key, target in self._targets.items()},
                "ok": ok,
            }
            self._file.write_text(json.dumps(result, indent=2) + "\n")
        return 0 if ok else 1


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def run_timed(command: Sequence[str], environment: dict[str, str], stdin: str = "") -> tuple[float, str]:
    """Run a command to its end; seconds of wall time, and what it printed.

    Raises:
        SystemExit: it failed.
    """
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - started
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed ({done.returncode}): {done.stderr[-500:]}")
    return wall, done.stdout


def peak_memory(command: Sequence[str], environment: dict[str, str]) -> float:
    """Largest proportional resident size (PSS) of a command and all its children, in MiB, looked at every 10 ms."""
    process = psutil.Popen(
        list(command),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    peak = 0
    while process.poll() is None:
        total = 0
        for member in _family(process.pid):
            with contextlib.suppress(psutil.Error, OSError):
                total += member.memory_full_info().pss
        peak = max(peak, total)
        time.sleep(0.01)
    return peak / 2**20


def _family(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


@contextlib.contextmanager
def keychain_session(folder: Path) -> Iterator[dict[str, str] | None]:
    """A session bus and an unlocked gnome-keyring; their environment, or `None` where they are missing."""
    if not (shutil.which("dbus-daemon") and shutil.which("gnome-keyring-daemon")):
        yield None
        return
    home = folder / "keychain-home"
    home.mkdir(mode=0o700)
    bus = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert bus.stdout is not None
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_RUNTIME_DIR": str(home),
        "DBUS_SESSION_BUS_ADDRESS": bus.stdout.readline().strip(),
    }
    keyring = subprocess.Popen(
        ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert keyring.stdin is not None
        keyring.stdin.write("a password")
        keyring.stdin.close()
        yield environment
    finally:
        keyring.terminate()
        bus.terminate()
        keyring.wait()
        bus.wait()


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """A folder for one run."""
    return tempfile.TemporaryDirectory(prefix="claw-bench-")


def _holds(value: float, target: tuple[Comparison, float]) -> bool:
    return value >= target[1] if target[0] == ">=" else value <= target[1]


def _machine() -> str:
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    memory = psutil.virtual_memory().total / 2**30
    return f"{model}, {os.cpu_count()} CPUs, {memory:.0f} GiB, Python {platform.python_version()}"
