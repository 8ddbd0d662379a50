"""`claw fl` and `claw consent`: joining, agreeing, seeing the bytes, a round with real training, and leaving."""

import asyncio
import hashlib
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest

from federation.invites import Invite
from federation.privacy.plan import PrivacyPlan
from federation.task import AdapterTraining, Task
from tests.fixtures.command import CLAW, Person
from tests.orchestrator.devices import Device, Lost
from tests.orchestrator.federations import task_of
from tests.orchestrator.replicas import Operator

SKILL = "backwards"
CANARY = "quokka-parliament"
OTHERS = 5
NUMBERS = 64 * 4
LOOSE = {"charger": "off", "idle": "off", "unmetered": "off", "temperature": "off", "cohort": "5", "corrupt": "0"}


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    made = Operator(tmp_path)
    with made.running():
        yield made


@pytest.fixture
def task(tiny_model: Path) -> Task:
    """A task of an adapter for the tiny model."""
    head = task_of(OTHERS + 1, least=5, name="words", seconds=60)
    training = AdapterTraining("ffa", 4, 8.0, ("attn_q",), 1.0, 4, 20, 4, 64, bytes(32))
    privacy = PrivacyPlan(NUMBERS, 1.0, 500.0, 18, 1, bytes(32))
    secagg = msgspec.structs.replace(head.plan.secagg, dimension=privacy.dimension)
    return msgspec.structs.replace(
        head,
        skill=SKILL,
        model=hashlib.sha256(tiny_model.read_bytes()).digest(),
        training=training,
        most_examples=10,
        stages=head.stages._replace(advertise=8),
        plan=msgspec.structs.replace(head.plan, privacy=privacy, secagg=secagg),
    )


@pytest.fixture
def taught(person: Person, tiny_model: Path, tmp_path: Path) -> Person:
    """Somebody with a small model and a dozen examples."""
    assert person.claw("model", "import", str(tiny_model), "--name", "tiny").returncode == 0
    file = tmp_path / "examples.jsonl"
    file.write_text("\n".join(json.dumps({"input": f"{CANARY} {n * 7919}", "output": f"{n}"}) for n in range(12)))
    assert person.claw("skill", "examples", "import", SKILL, str(file)).returncode == 0
    file.unlink()
    return person


def same(update: np.ndarray, _round: int) -> np.ndarray:
    return update


@contextmanager
def company(operator: Operator, invite: Invite) -> Iterator[None]:
    """Other devices, which take part whenever they can."""

    async def keep_on(device: Device) -> None:
        while True:
            try:
                await device.take_part()
            except Lost:
                await asyncio.sleep(0.2)

    async def all_of_them() -> None:
        async with operator.client() as http:
            devices = [Device(http, partial(same, np.full(NUMBERS, 0.001))) for _ in range(OTHERS)]
            await asyncio.gather(*(device.join(invite, "words") for device in devices))
            joined.set()
            await asyncio.gather(*(keep_on(device) for device in devices))

    joined, loop = threading.Event(), asyncio.new_event_loop()

    def run() -> None:
        work = loop.create_task(all_of_them())
        loop.call_soon(lambda: None)
        tasks.append(work)
        try:
            loop.run_until_complete(work)
        except asyncio.CancelledError:
            loop.close()

    tasks: list[asyncio.Task[None]] = []
    thread = threading.Thread(target=run)
    thread.start()
    assert joined.wait(60)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(tasks[0].cancel)
        thread.join()


def test_the_daemon_takes_part_by_itself_and_ends_in_order(taught: Person, operator: Operator, task: Task) -> None:
    operator.open(task)
    invite = operator.invite(OTHERS + 1)
    assert taught.claw("fl", "join", str(invite), "--yes").returncode == 0
    for name, value in (LOOSE | {"epsilon": "1000000"}).items():
        assert taught.claw("limits", "set", name, value, "--yes").returncode == 0
    assert taught.claw("consent", "grant", "words", "--yes").returncode == 0
    daemon = subprocess.Popen(
        [CLAW, "fl", "daemon"], env=taught.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert daemon.stderr is not None
    try:
        with company(operator, invite):
            told = iter(daemon.stderr.readline, "")
            assert any("release 1, of" in line for line in told)
        assert "on right now" in taught.claw("status").stdout
        assert "Another process takes part" in taught.claw("fl", "run").stderr
        daemon.terminate()
        assert daemon.wait(20) == 0
    finally:
        daemon.kill()
        daemon.wait()
        daemon.stderr.close()
    assert json.loads(taught.claw("fl", "status", "--json").stdout)["rounds"][-1]["outcome"] == "summed"


def test_from_an_invite_to_a_release_and_out_again(taught: Person, operator: Operator, task: Task) -> None:
    operator.open(task)
    invite = operator.invite(OTHERS + 1)

    asked = taught.claw("fl", "join", str(invite))
    assert asked.returncode == 2
    assert "What leaves: a public key" in asked.stderr
    assert taught.claw("fl", "join", "-", "--yes", stdin=str(invite)).returncode == 0

    shown = taught.claw("consent", "show")
    assert "test/words" in shown.stdout
    assert "not agreed" in shown.stdout
    assert taught.claw("fl", "run").returncode == 4
    refused = taught.claw("consent", "grant", "words", "--yes")
    assert refused.returncode == 5
    assert "claw limits set cohort 5" in refused.stderr
    for name, value in LOOSE.items():
        assert taught.claw("limits", "set", name, value, "--yes").returncode == 0
    assert taught.claw("limits", "set", "epsilon", "1000000", "--yes").returncode == 0

    preview = taught.claw("fl", "preview", "words", "--json")
    assert preview.returncode == 0, preview.stderr
    made = json.loads(preview.stdout)
    assert made["bytes"] > NUMBERS * 18 // 8
    assert made["length"]["clipped"] <= 1 + 1e-6
    assert abs(made["share_of_ones"] - 0.5) < 0.05
    assert "/rounds/" not in taught.claw("log", "list", "--json").stdout

    granted = taught.claw("consent", "grant", "words", "--yes", "--json")
    assert granted.returncode == 0, granted.stderr
    assert json.loads(granted.stdout)["digest"] == task.digest.hex()
    with company(operator, invite):
        done = taught.claw("fl", "run", "words", "--json")
    assert done.returncode == 0, done.stderr
    (round_,) = json.loads(done.stdout)["words"]
    assert (round_["outcome"], round_["examples"]) == ("summed", 10)
    assert "release 1, of 6 devices" in done.stderr

    status = json.loads(taught.claw("fl", "status", "--json").stdout)
    assert status["tasks"][0]["times"] == 1
    assert status["rounds"][0]["outcome"] == "summed"
    assert status["releases"][0]["decision"] in ("accepted", "refused")
    log = taught.claw("log", "list", "--json", "-n", "500").stdout
    assert status["rounds"][0]["sha256"] in log
    assert CANARY not in log
    assert taught.claw("log", "verify").returncode == 0

    for folder in (taught.home.data, operator.certificate.parents[1]):
        found = [file for file in folder.rglob("*") if file.is_file() and CANARY.encode() in file.read_bytes()]
        assert not found

    assert taught.claw("consent", "withdraw", "words").returncode == 0
    assert taught.claw("fl", "run").returncode == 4
    history = json.loads(taught.claw("consent", "history", "--json").stdout)
    assert [one["withdrawn_ms"] is not None for one in history] == [True, False]
    assert taught.claw("fl", "leave", "--yes", "--forget").returncode == 0
    assert json.loads(taught.claw("consent", "history", "--json").stdout) == []
    assert taught.claw("vault", "check").returncode == 0


def test_somebody_who_never_joined_is_told_that_it_is_off(person: Person) -> None:
    done = person.claw("fl", "status")
    assert done.returncode == 0
    assert "off" in done.stderr
    assert person.claw("consent", "show").returncode == 0
    assert person.claw("consent", "history").returncode == 0
    assert person.claw("fl", "join", "claw-join:nonsense", "--yes").returncode == 2


def test_a_unit_for_the_daemon_names_the_command(person: Person) -> None:
    done = person.claw("fl", "daemon", "--unit")
    assert done.returncode == 0
    assert "claw fl daemon" in done.stdout
