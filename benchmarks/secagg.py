"""Secure aggregation: our round beside Flower's SecAgg+, on one core, with the same devices, neighbours and drops.

Flower isn't a dependency: it brings a server of its own along. Where `CLAW_FLOWER_PYTHON` names a Python that has
it (`python -m venv F && F/bin/pip install flwr`), or this one does, it is measured in the same run; else it is
missing, and said to be. Our figures include what Flower doesn't do: admitted identities, signatures, commitments.
"""

import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Bench, median
from federation.privacy.planner import Wish, plan_for
from federation.secagg.plan import SecAggPlan
from tests.federation.rounds import Federation, numbers_of, plan_of

__all__ = ["main"]

BITS = 18
NEIGHBOURS, THRESHOLD = 20, 11
"""As many as Flower's 21 shares, of which a device keeps one."""
PEER = Path(__file__).parent / "flower_secagg.py"
MOST_MEMORY_GIB = 2.0


def main() -> int:
    """Measure both, and compare."""
    bench = Bench("secagg")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    peer = _peer()
    if peer is None:
        bench.note("Flower", "missing: set CLAW_FLOWER_PYTHON to a Python that has flwr")
    else:
        found = _ask(peer, "ATTACK", devices=12, dimension=64, shares=9, threshold=6)
        bench.figure("flower_attack", "Flower, a victim named alive and dead: correlation", found["correlation"])
    sizes = [(30, 60_000)] if bench.quick else [(100, 500_000), (100, 1_000_000)]
    for devices, dimension in sizes:
        for drops in (0, 5):
            _compare(bench, peer, devices, dimension, drops)
    if not bench.quick:
        _large(bench)
    return bench.finish()


def _compare(bench: Bench, peer: str | None, devices: int, dimension: int, drops: int) -> None:
    case = f"n={devices}, d={dimension:,}, {drops} lost"
    key = f"{dimension}_{drops}"
    bench.say(case)
    server, client, met, upload = _ours(devices, dimension, drops)
    aim = dimension == 1_000_000
    bench.figure(f"server_s_{key}", f"{case}: server", server, "s", ("<=", 0.5) if aim else None)
    bench.figure(f"client_ms_{key}", f"{case}: client", client * 1e3, "ms", ("<=", 50) if aim else None)
    bench.figure(f"client_met_ms_{key}", f"{case}: client that met the others before", met * 1e3, "ms")
    bench.figure(f"upload_{key}", f"{case}: upload a parameter", upload / dimension, "bytes", ("<=", 2.5))
    if peer is None:
        return
    theirs = _ask(
        peer, "ROUND", devices=devices, dimension=dimension, shares=NEIGHBOURS + 1, threshold=THRESHOLD, drops=drops
    )
    bench.figure(f"server_s_flower_{key}", f"{case}: Flower's server", theirs["server_s"], "s")
    bench.figure(f"client_ms_flower_{key}", f"{case}: Flower's client", theirs["client_s"] * 1e3, "ms")
    bench.figure(
        f"upload_flower_{key}", f"{case}: Flower's upload a parameter", theirs["upload_bytes"] / dimension, "bytes"
    )
    bench.figure(f"server_x_{key}", f"{case}: server, times faster", theirs["server_s"] / server, "x", (">=", 10))
    bench.figure(f"client_x_{key}", f"{case}: client, times faster", theirs["client_s"] / client, "x", (">=", 3))
    met_x = theirs["client_s"] / met
    bench.figure(f"client_met_x_{key}", f"{case}: client that met the others, times faster", met_x, "x")


def _ours(devices: int, parameters: int, drops: int) -> tuple[float, float, float, int]:
    """Seconds of the server, of a median client in its first round and in its next, and bytes of an upload.

    From its second round on with the same others, a device has looked at their certificates before.
    """
    privacy = plan_for(Wish(parameters, devices), bytes(32))
    least = devices - drops - 1
    secagg = SecAggPlan(privacy.dimension, BITS, NEIGHBOURS, THRESHOLD, least, devices, least, 0, 1)
    federation = Federation(devices, plan_of(secagg, privacy))
    first, upload = _timed_round(federation, set(range(drops)))
    federation.begin()
    later, _ = _timed_round(federation, set(range(drops)))
    client, met = (median([seconds[number] for number in range(drops, devices)]) for seconds in (first, later))
    return first[-1], client, met, upload


def _timed_round(federation: Federation, lost: set[int]) -> tuple[dict[int, float], int]:
    """Run a round; the seconds of each device, those of the server under -1, and the bytes of an upload."""
    seconds: dict[int, float] = defaultdict(float)

    def timed(who: int, work: Callable[..., Any], *given: object) -> Any:  # noqa: ANN401
        begun = time.perf_counter()
        found = work(*given)
        seconds[who] += time.perf_counter() - begun
        return found

    server, devices = federation.server, list(enumerate(federation.devices))
    upload, expected = 0, np.zeros(federation.plan.secagg.dimension, np.uint32)
    for number, device in devices:
        advert = timed(number, device.advertise)
        timed(-1, server.take_advert, advert)
    roster = timed(-1, server.roster)
    for number, device in devices:
        reveal = timed(number, device.reveal, roster)
        timed(-1, server.take_reveal, reveal)
    graph = timed(-1, server.graph)
    for number, device in devices:
        share = timed(number, device.share, graph)
        timed(-1, server.take_share, share)
    timed(-1, server.close_shares)
    left = [(number, device) for number, device in devices if number not in lost]
    for number, device in left:
        deliver = timed(-1, server.deliver, device.device)
        update = federation.update(number)
        expected += numbers_of(update)
        masked = timed(number, device.mask, deliver, update).message
        timed(-1, server.take_masked, masked)
        upload = len(masked.packed)
    survivors = timed(-1, server.survivors)
    for number, device in left:
        consistency = timed(number, device.confirm, survivors)
        timed(-1, server.take_consistency, consistency)
    timed(-1, server.close_consistency)
    for number, device in left:
        consistent = timed(-1, server.consistent, device.device)
        unmask = timed(number, device.unmask, consistent)
        timed(-1, server.take_unmask, unmask)
    total = timed(-1, server.sum)
    if not np.array_equal(total, expected & federation.plan.secagg.ring.mask):
        raise SystemExit("The sum is wrong.")
    return dict(seconds), upload


def _large(bench: Bench) -> None:
    """A thousand devices, each an object here: the server takes them as they come."""
    devices, parameters = 1000, 200_000
    bench.say(f"n={devices:,}, d={parameters:,}")
    privacy = plan_for(Wish(parameters, devices), bytes(32))
    plan = plan_of(SecAggPlan(privacy.dimension, BITS, 50, 26, 900, devices, 800, 0, 2), privacy)
    seconds, _ = _timed_round(Federation(devices, plan, one_registrar=True), set(range(20)))
    bench.figure("server_s_large", f"n={devices:,}, d={parameters:,}, 20 lost: server", seconds[-1], "s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    bench.figure(
        "memory_gib_large",
        "memory of the server and all devices in one process",
        peak,
        "GiB",
        ("<=", MOST_MEMORY_GIB),
    )


def _peer() -> str | None:
    """A Python that has Flower."""
    if named := os.environ.get("CLAW_FLOWER_PYTHON"):
        return named
    return sys.executable if importlib.util.find_spec("flwr") else None


def _ask(peer: str, what: str, **given: int) -> dict[str, float]:
    done = subprocess.run(
        [peer, str(PEER), what, json.dumps(given)], capture_output=True, text=True, check=True, timeout=3600
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    raise SystemExit(main())
