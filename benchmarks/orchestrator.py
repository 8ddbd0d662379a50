"""The orchestrator under load: check-ins a second beside Flower's SuperLink, and a round of a thousand devices.

Both servers run as an operator starts them, over TLS, with every request authenticated, and are asked by the same
client over as many connections, in turns. Client, server and database share this machine's cores. Where
`CLAW_FLOWER_PYTHON` names a Python that has Flower, it is measured; else it is missing, and said to be. Flower's
state is in its memory; ours is in PostgreSQL, where a check-in is on the disk before it is answered.
"""

import asyncio
import contextlib
import os
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import psutil

from benchmarks.cohort import Cohort, learn
from benchmarks.harness import Bench, median, scratch
from benchmarks.signed_load import Load, Served, http_request
from benchmarks.superlink import superlink
from federation.plan import Plan, propose
from federation.privacy.plan import PrivacyPlan
from federation.privacy.planner import Wish
from federation.requests import sign_request
from federation.task import Stages, Task
from tests.fixtures.postgresql import running_postgresql
from tests.orchestrator.devices import Device
from tests.orchestrator.federations import task_of
from tests.orchestrator.replicas import Operator

__all__ = ["main"]

CONNECTIONS = 32
TASK = "intents"
CHECK_INS = f"/v1/tasks/{TASK}/check-ins"
TIMES_FLOWER = 3.0
MOST_SECONDS, MOST_GIB = 300.0, 1.0
ADVERTISE_S = 60
"""A cohort of all devices that there are is waited for so long: nobody knows that no more come."""
_ALMOST = 0.02


def main() -> int:
    """Measure."""
    bench = Bench("orchestrator")
    with running_postgresql() as database, scratch() as folder:
        _check_ins(bench, database.url, Path(folder))
    with running_postgresql() as database, scratch() as folder:
        devices, parameters = (60, 15_360) if bench.quick else (1_000, 184_320)
        _cohort(bench, database.url, Path(folder), devices, parameters)
    return bench.finish()


def _check_ins(bench: Bench, url: str, folder: Path) -> None:
    """Check-ins a second, in turns with Flower's polls."""
    turns, each = (3, 50) if bench.quick else (7, 200)
    operator = Operator(folder, 1, url)
    ours, theirs, cpu, latencies = list[float](), list[float](), list[float](), list[float]()
    python = os.environ.get("CLAW_FLOWER_PYTHON")
    with operator.running(), contextlib.ExitStack() as stack:
        operator.open(task_of(1_000, least=20, name=TASK, seconds=3600))
        devices = asyncio.run(_joined(operator))
        peer = stack.enter_context(superlink(python, folder, CONNECTIONS)) if python else None
        for turn in range(turns + 1):  # the first one warms both up
            bench.say(f"check-ins, turn {turn} of {turns}")
            requests = [_signed(device, turn * each, each) for device in devices]
            before = _cpu_s(operator.pid(0))
            served = _send(operator.addresses[0], operator.certificate, requests)
            used = _cpu_s(operator.pid(0)) - before
            polled = _send(peer.address, peer.certificate, [[one] * each for one in peer.polls]) if peer else None
            if turn:
                ours.append(served.a_second)
                cpu.append(used / len(served.latencies) * 1e3)
                latencies += served.latencies
                theirs += [polled.a_second] if polled else []
    bench.figure("check_ins_a_second", f"check-ins a second, {CONNECTIONS} connections", median(ours))
    bench.figure("check_in_cpu_ms", "the replica's CPU time for one", median(cpu), "ms")
    bench.figure(
        "check_in_p99_ms", "time to its answer, 99 of 100", float(np.quantile(latencies, 0.99)) * 1e3, "ms"
    )
    if not theirs:
        bench.note("Flower", "missing: set CLAW_FLOWER_PYTHON to a Python that has flwr")
        return
    times = median([one / other for one, other in zip(ours, theirs, strict=True)])
    bench.figure("flower_polls_a_second", "polls of Flower's SuperLink a second", median(theirs))
    bench.figure("check_ins_x", "times as many", times, "x", (">=", TIMES_FLOWER))


async def _joined(operator: Operator) -> list[Device]:
    invite = operator.invite(CONNECTIONS)
    async with operator.client() as http:
        devices = [Device(http, lambda _round: np.zeros(40)) for _ in range(CONNECTIONS)]
        await asyncio.gather(*(one.join(invite, TASK) for one in devices))
        return devices


def _signed(device: Device, first: int, count: int) -> list[bytes]:
    """A device's next check-ins."""
    return [
        http_request(
            "POST", CHECK_INS, sign_request(device.identity, "POST", CHECK_INS, b"", n, time.time(), os.urandom)
        )
        for n in range(first + 1, first + count + 1)
    ]


def _send(address: str, certificate: Path, requests: list[list[bytes]]) -> Served:
    """All requests, answered."""
    to = urllib.parse.urlsplit(address)
    assert to.hostname
    assert to.port
    served = asyncio.run(Load(to.hostname, to.port, str(certificate)).send(requests))
    if set(served.statuses) != {200}:
        raise SystemExit(f"{address} answered {dict(served.statuses)}.")
    return served


def _cohort(bench: Bench, url: str, folder: Path, devices: int, parameters: int) -> None:
    """One round, from the first check-in to the release; how long it takes, and how much memory the server."""
    bench.say(f"a cohort of {devices:,} devices, d = {parameters:,}: they join")
    operator = Operator(folder, 1, url)
    with operator.running():
        task = _task(devices, parameters)
        operator.open(task)
        invite = operator.invite(devices)
        before = _cpu_s(operator.pid(0))
        with _largest(operator.pid(0)) as peak:
            who = Cohort(operator.addresses[0], operator.certificate, str(invite), task.name, devices, parameters)
            learned = learn(who)
        used = _cpu_s(operator.pid(0)) - before
        numbers = asyncio.run(operator.released(task.name, 1))
    if float(np.abs(numbers - learned.mean).max()) > _ALMOST:
        raise SystemExit("The sum is wrong.")
    case = f"n={devices:,}, d={parameters:,}, {task.plan.secagg.neighbours} neighbours"
    bench.figure("cohort_s", f"{case}: from check-in to release", learned.seconds, "s", ("<=", MOST_SECONDS))
    bench.figure("cohort_server_cpu_s", f"{case}: the replica's CPU time", used, "s")
    bench.figure(
        "cohort_server_gib", f"{case}: the replica's memory at most", peak[0] / 2**30, "GiB", ("<=", MOST_GIB)
    )


def _task(devices: int, parameters: int) -> Task:
    """As the planner proposes it, but for noise so small that the sum can be told from a wrong one."""
    secagg = propose(Wish(parameters, devices), bytes(32)).secagg
    privacy = PrivacyPlan(parameters, 1.0, 500.0, secagg.bits, 1, bytes(32))
    stages = Stages(ADVERTISE_S, *([240] * 5))
    return msgspec.structs.replace(task_of(devices), plan=Plan(privacy, secagg, 8, 1e-5), rounds=1, stages=stages)


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@contextlib.contextmanager
def _largest(pid: int) -> Iterator[list[int]]:
    """Bytes that a process has resident at most, until the end."""
    process, peak, ended = psutil.Process(pid), [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            peak[0] = max(peak[0], process.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield peak
    finally:
        ended.set()
        watching.join()


if __name__ == "__main__":
    raise SystemExit(main())
