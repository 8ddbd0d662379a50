"""Eight people's assistants learn together, end to end, and two of them are killed in the middle.

One orchestrator and its registrar over TLS; eight devices, each a home of its own with a vault, a passphrase slot,
and the examples of other meetings, of one domain each; every step by the commands that a person types.
Then three assistants are compared on meetings that nobody learned from: the model alone, the model with what one
device learns alone in as many steps, and the model with the release.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from agent.adapters import SkillAdapters
from agent.inference import Inference
from agent.models.embedded import EMBEDDED, embedded_file
from agent.models.gguf import read_header
from agent.worker.protocol import ChatMessage, Delta, Sampling
from benchmarks.harness import Bench, median, scratch
from cli.at_work import AsAtWork, base_of
from federation.privacy.planner import Wish
from fl_client.training.example_rows import Text
from fl_client.training.plan import Machine
from fl_client.training.protocol import Order, Recipe, Result, Row
from fl_client.training.sandboxed import train
from skills.sandbox.tiers import best
from vault.adapter_store import AdapterStore
from vault.home import Home
from vault.settings import AssistantSettings, InferenceSettings
from vault.store import Vault

__all__ = ["main"]

_DATA = Path(__file__).parents[2] / "shared" / "data" / "meetings"
_CLAW = str(Path(sys.executable).with_name("claw"))
_PASSPHRASE = "eight horses, one cart"
_SKILL, _TASK = "meeting-summarizer", "minutes"
_DEVICES = 8
_DOMAINS = ("Academic", "Committee", "Product")
_RANK, _LONGEST, _ROWS_A_STEP, _PASSES = 16, 512, 2, 1
_RATE, _PARAMETERS = 1.5e-2, 15_360
_MEMORY_MIB = 2600
_ROUNDS = 3
_WITHIN_S = 1800


class _Weights:
    """The embedded model, as the inference worker is given it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor


def main() -> int:
    """Learn together, and compare."""
    bench = Bench("end_to_end")
    if not _DATA.is_dir():
        bench.note("meetings", "missing: ../shared/data/meetings, which isn't part of the repository")
        return bench.finish()
    rounds, examples, judged_by = (1, 10, 4) if bench.quick else (_ROUNDS, 24, 40)
    with scratch() as folder:
        begun = time.perf_counter()
        with _Operator(Path(folder), rounds) as operator:
            devices = [_Device(Path(folder), number, operator) for number in range(_DEVICES)]
            for device, rows in zip(devices, _meetings(examples), strict=True):
                device.settle_in(rows)
            bench.say(f"{_DEVICES} devices have joined and agreed, after {time.perf_counter() - begun:.0f} s")
            killed = _learn(bench, devices, rounds)
            took = time.perf_counter() - begun
            numbers, released = operator.newest()
        bench.figure(
            "minutes",
            f"{rounds} rounds of {_DEVICES} devices, with all that they set up",
            took / 60,
            "min",
            ("<=", 30),
        )
        bench.figure("killed", "devices that were killed in the middle of a round, and came back", killed)
        _report(bench, released, devices)
        _compare(bench, devices, numbers, rounds, judged_by)
        _swap(bench, devices)
    return bench.finish()


class _Operator:
    """The orchestrator, its registrar, and the task."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self._folder = folder / "federation"
        self._processes: list[subprocess.Popen[bytes]] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._listen = f"127.0.0.1:{free.getsockname()[1]}"
        self._log = (folder / "operator.log").open("ab")
        self._rounds = rounds
        self._task_file = folder / "task.toml"

    def __enter__(self) -> "_Operator":
        self._run("init", "--name", "Eight", "--address", f"https://{self._listen}", "--listen", self._listen)
        self._task_file.write_text(_task(self._rounds))
        self._run("task", "create", str(self._task_file), "--yes")
        for verb in ("serve", "registrar"):
            command = self._command(verb)
            self._processes.append(subprocess.Popen(command, stdout=self._log, stderr=self._log))
        self.invite = self._run("invite", "--uses", str(_DEVICES), "--requests", "100000", "--task", _TASK).strip()
        return self

    def __exit__(self, *_error: object) -> None:
        for process in self._processes:
            process.terminate()
            process.wait()
        self._log.close()

    def newest(self) -> tuple[bytes, list[dict[str, Any]]]:
        """The numbers of the newest release, and all releases."""
        listed = json.loads(self._run("release", "list", _TASK, "--json"))
        content = self._folder / "content" / listed[-1]["content"]
        found = next(path for path in self._folder.rglob(content.name) if path.is_file())
        return found.read_bytes(), listed

    def rounds(self) -> list[dict[str, Any]]:
        """Every round there was."""
        listed: list[dict[str, Any]] = json.loads(self._run("round", "list", _TASK, "--json"))
        return listed

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(self._command(*arguments), capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"claw-orchestrator {arguments[0]} failed: {done.stderr[-500:]}")
        return done.stdout

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "orchestrator.command", "--folder", str(self._folder), *arguments]


def _task(rounds: int) -> str:
    return f"""
name = "{_TASK}"
skill = "{_SKILL}"
purpose = "Better minutes of meetings, for all eight of us."
data = "Meetings for which you kept a summary. They stay on your device."
model_sha256 = "{EMBEDDED.sha256}"

[training]
kind = "adapter"
parameterization = "core"
parameters = {_PARAMETERS}
rank = {_RANK}
scale = 1.0
learning_rate = {_RATE}
passes = {_PASSES}
rows_a_step = {_ROWS_A_STEP}
longest = {_LONGEST}

[privacy]
# With eight devices no noise that leaves anything to learn makes ε small: this is a demonstration, and says so.
epsilon = {_EPSILON}
delta = 1e-5
participations = {rounds}
clip = {_CLIP}
dropout = 0.25
corrupt = 0.1

[rounds]
cohort = {_DEVICES}
count = {rounds + 4}
most_examples = 10
stages = {{ advertise = 40, reveal = 60, share = 60, mask = 420, confirm = 60, unmask = 60 }}

[combining]
rule = "fedavg"
rate = 1.0
momentum = 0.5
"""


_EPSILON, _CLIP = 20_000.0, 4.0


class _Device:
    """One person's assistant: a home, and the commands that the person types."""

    def __init__(self, folder: Path, number: int, operator: _Operator) -> None:
        self.number = number
        self._home = folder / f"device-{number}"
        self._home.mkdir(mode=0o700)
        passphrase = self._home / "passphrase"
        passphrase.touch(mode=0o600)
        passphrase.write_text(_PASSPHRASE)
        self._operator = operator
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "CLAW_HOME": str(self._home / "claw"),
            "CLAW_PASSPHRASE_FILE": str(passphrase),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        }
        self.rows: list[dict[str, str]] = []

    def settle_in(self, rows: list[dict[str, str]]) -> None:
        """Make the vault, bring the examples, set the limits, join, agree."""
        self.rows = rows
        self.claw("vault", "init")
        file = self._home / "examples.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        fields = ("--input-field", "query", "--input-field", "excerpt", "--output-field", "summary")
        self.claw("skill", "examples", "import", *fields, _SKILL, str(file))
        file.unlink()
        for name, value in (
            ("charger", "off"),
            ("idle", "off"),
            ("unmetered", "off"),
            ("temperature", "off"),
            ("threads", "1"),
            ("memory", str(_MEMORY_MIB)),
            ("cohort", "6"),
            ("minutes", "600"),
            ("epsilon", "1000000"),
        ):
            self.claw("limits", "set", name, value, "--yes")
        self.claw("fl", "join", "--yes", "--wait", "60", self._operator.invite)
        self.claw("consent", "grant", "--yes", _TASK)

    def claw(self, *arguments: str) -> str:
        """A command to its end; what it printed."""
        done = subprocess.run(
            [_CLAW, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"device {self.number}: claw {arguments[0]} failed: {done.stderr[-800:]}")
        return done.stdout

    def learning(self, rounds: int) -> "subprocess.Popen[str]":
        """Taking part, in a process of its own."""
        with (self._home / "log").open("a") as log:
            return subprocess.Popen(
                [
                    _CLAW,
                    "fl",
                    "run",
                    _TASK,
                    "--rounds",
                    str(rounds),
                    "--wait",
                    "--json",
                ],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def log(self) -> str:
        """What taking part has told so far."""
        return (self._home / "log").read_text()

    @contextmanager
    def vault(self) -> Iterator[Vault]:
        """The device's vault."""
        vault = Vault.open_with_passphrase(Home.locate(self.environment), _PASSPHRASE)
        try:
            yield vault
        finally:
            vault.close()


def _meetings(count: int) -> list[list[dict[str, str]]]:
    """Each device's examples: so many questions about meetings of one domain, which no other device has."""
    by_domain: dict[str, dict[str, list[dict[str, str]]]] = {domain: {} for domain in _DOMAINS}
    for line in (_DATA / "qmsum-train.jsonl").read_text().splitlines():
        row = json.loads(line)
        by_domain[row["domain"]].setdefault(row["meeting"], []).append(row)
    chance = random.Random(1)
    left = {domain: chance.sample(sorted(meetings), len(meetings)) for domain, meetings in by_domain.items()}
    made = []
    for number in range(_DEVICES):
        domain, rows = _DOMAINS[number % len(_DOMAINS)], list[dict[str, str]]()
        while len(rows) < count:
            rows += by_domain[domain][left[domain].pop()]
        made.append([{key: row[key] for key in ("query", "excerpt", "summary")} for row in rows[:count]])
    return made


def _learn(bench: Bench, devices: Sequence[_Device], rounds: int) -> int:
    """All of them take part; two are killed while they learn for the second round, and started again."""
    running = {device.number: device.learning(rounds) for device in devices}
    victims = [] if rounds < 2 else list(devices[:2])
    killed, lost = 0, dict.fromkeys(running, 0)
    while running:
        time.sleep(1.0)
        for victim in [one for one in victims if "round 2: learning" in one.log()]:
            victims.remove(victim)
            process = running[victim.number]
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed, lost[victim.number] = killed + 1, 1
            bench.say(f"device {victim.number} was killed while it learned for round 2")
            running[victim.number] = victim.learning(rounds - 2)
        for number, process in list(running.items()):
            if process.poll() is not None:
                if process.returncode:
                    raise SystemExit(
                        f"device {number} ended with {process.returncode}: {devices[number].log()[-800:]}"
                    )
                said = process.stdout.read() if process.stdout else ""
                bench.say(f"device {number} is done: {said.strip()}")
                del running[number]
    return killed


def _report(bench: Bench, released: list[dict[str, Any]], devices: Sequence[_Device]) -> None:
    """What it cost, honestly."""
    bench.figure("releases", "releases, beside the first", len(released) - 1)
    bench.note("cohorts", ", ".join(f"{one['survivors']} of {one['cohort']}" for one in released[1:]))
    bench.figure("epsilon", "ε of all of it for one device, at δ = 1e-5", released[-1]["epsilon"])
    bench.figure(
        "epsilon_8_at",
        "devices in a cohort at which the same plan, with the same noise in a mean, has ε ≤ 8",
        _cohort_for(8.0),
    )
    status = json.loads(devices[-1].claw("fl", "status", "--json"))
    bench.note(
        "a device's account", f"{status['tasks'][0]['times']} times, {status['tasks'][0]['bytes']:,} bytes sent"
    )


def _cohort_for(epsilon: float) -> int:
    """How many devices it takes for a small ε, where the mean has as little noise for its length as here."""
    here = _noise(_DEVICES, _EPSILON)
    cohort = _DEVICES
    while cohort < 10_000_000 and _noise(cohort, epsilon) > here:
        cohort = int(cohort * 1.1) + 1
    return cohort


def _noise(cohort: int, epsilon: float) -> float:
    from federation.privacy.planner import forecast, plan_for

    bits = 18 if cohort < 100_000 else 24
    wish = Wish(_PARAMETERS, cohort, 0.25, 0.1, _ROUNDS, epsilon, 1e-5, _CLIP, bits)
    return forecast(wish, plan_for(wish, bytes(32))).noise_to_clip


def _compare(bench: Bench, devices: Sequence[_Device], numbers: bytes, rounds: int, judged_by: int) -> None:
    """The model alone, what one device learns alone, and the release, on meetings that nobody learned from."""
    with open(embedded_file(), "rb") as weights:
        header = read_header(weights.fileno())
        base = base_of(header, Path(embedded_file()).resolve(), EMBEDDED.name, EMBEDDED.sha256)
        with Inference(_Weights(weights.fileno()), InferenceSettings()) as inference:
            encoder = AsAtWork(inference, AssistantSettings().system)
            encoder.stand_behind(None, _LONGEST)
            rows = {0: _rows(encoder, _validation(judged_by))} | {
                device.number + 1: _rows(encoder, device.rows) for device in devices
            }
    seed = _seed_of(devices[0])

    def run(given: list[Row], steps: int, begins: bytes) -> Result:
        recipe = Recipe("core", _RANK, 1.0, ("attn_q", "attn_v"), steps, _ROWS_A_STEP, _RATE, _LONGEST, seed)
        order = Order(
            str(base.path),
            base.sha256,
            recipe,
            given,
            rows[0],
            Machine.here().threads,
            1024,
            numbers=begins,
            factors=False,
        )
        memory = Machine.here().memory
        return train(order, base.targets(recipe.targets), best(), memory=memory, wall_s=_WITHIN_S)

    together = run([], 0, numbers).judged.after or 0.0
    bench.say("what one device learns alone, in as many steps")
    alone = []
    for number in range(1, _DEVICES + 1):
        own = rows[number]
        kept = own[: len(own) - max(len(own) // 10, 2)]
        result = run(kept, rounds * max(1, _PASSES * len(kept) // _ROWS_A_STEP), b"")
        alone.append(result.judged.after or 0.0)
        base_loss = result.judged.before or 0.0
    bench.figure("loss_base", f"loss on {judged_by} held-out rows: the model alone", base_loss)
    bench.figure("loss_alone", "what one device learns alone, the best of eight", min(alone))
    bench.figure("loss_alone_median", "the median of eight", median(alone))
    bench.figure("loss_together", "the release", together)
    bench.figure("gain", "the release, below the model alone", base_loss - together, "nats", (">=", 0.15))
    bench.figure(
        "gain_alone",
        "the release, below what the best device learns alone",
        min(alone) - together,
        "nats",
        (">=", 0),
    )


def _seed_of(device: _Device) -> bytes:
    """The seed of the task, as a device agreed to it."""
    from federation.task import AdapterTraining
    from fl_client.participation.consents import Consents, task_of

    with device.vault() as vault:
        (consent,) = [one for one in Consents(vault).store.held() if one.task]
        training = task_of(consent).training
        assert isinstance(training, AdapterTraining)
        return training.seed


def _validation(count: int) -> list[dict[str, str]]:
    lines = (_DATA / "qmsum-val.jsonl").read_text().splitlines()[:count]
    return [json.loads(line) for line in lines]


def _rows(encoder: AsAtWork, rows: list[dict[str, str]]) -> list[Row]:
    made = []
    for row in rows:
        before, reply = encoder.encode(Text(f"{row['query']}\n{row['excerpt']}", row["summary"]))
        made.append(Row(np.array([*before, *reply], "<i4").tobytes(), len(before)))
    return made


def _swap(bench: Bench, devices: Sequence[_Device]) -> None:
    """Each device's own inference answers with the release that its vault has."""
    sampling = Sampling(
        temperature=0, top_k=0, top_p=1, min_p=0, repeat_penalty=1, repeat_last_n=0, seed=0, max_tokens=24
    )
    question = [ChatMessage("user", "Summarize: Ann: we ship on Friday. Bob: then I write the notes today.")]
    swapped, used, changed = [], 0, 0
    with (
        open(embedded_file(), "rb") as weights,
        Inference(_Weights(weights.fileno()), InferenceSettings()) as inference,
    ):
        for device in devices:
            with device.vault() as vault:
                adapter = SkillAdapters(AdapterStore(vault.database), EMBEDDED).of(_SKILL)
                if adapter is None:
                    continue
                used += 1
                plain = _answer(inference, question, sampling, None)
                begun = time.perf_counter()
                events = inference.generate(question, sampling, reserve=64, adapter=adapter)
                next(events)
                swapped.append((time.perf_counter() - begun) * 1000)
                changed += plain != "".join(event.text for event in events if isinstance(event, Delta))
    bench.figure("devices_using", "devices that use a release from then on", used)
    if swapped:
        bench.figure("swap_ms", "to answer with it in a running worker, median", median(swapped), "ms")
        bench.figure("changed", "of them, answer otherwise than the model alone", changed)


def _answer(inference: Inference, question: list[ChatMessage], sampling: Sampling, adapter: None) -> str:
    events = inference.generate(question, sampling, reserve=64, adapter=adapter)
    next(events)
    return "".join(event.text for event in events if isinstance(event, Delta))


if __name__ == "__main__":
    raise SystemExit(main())
