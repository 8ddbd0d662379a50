"""What came of a simulation, for a person: whole in itself, and harmless to a browser."""

import functools
import struct
from itertools import islice

import msgspec
import numpy as np

from federation.messages import encode
from federation.secagg.wire import Masked
from fl_client.simulation.report import Report, page_of, picture_of
from fl_client.simulation.run import Chances, RoundEnded, rounds
from fl_client.simulation.traffic import traffic_of
from tests.fl_client.simulation.worlds import JUDGED, Here, task_of, world_of

TASK = task_of()


@functools.cache
def report_of(count: int = 3, stopped: bool = False) -> Report:
    world = world_of(TASK)
    done: list[RoundEnded] = list(islice(rounds(world, JUDGED, Chances(), Here(world)), count))
    nothing = bytes(4 * world.frame.numbers)
    gains = world.gains(done[-1].release if done else nothing)
    return Report(TASK, {"devices": "40"}, world.judge(nothing, JUDGED), tuple(done), gains, stopped)


def test_a_page_needs_nothing_else_and_runs_nothing() -> None:
    report = report_of()
    page = page_of(report, picture_of(report))
    assert "http:" not in page.replace("http-equiv", "")
    assert "https:" not in page
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert "&lt;request&gt;" in page
    assert "<request>" not in page
    assert f"{report.after[1]:.1%}" in page


def test_the_picture_is_a_png_and_the_same_each_time() -> None:
    report = report_of()
    one = picture_of(report)
    assert one[:8] == b"\x89PNG\r\n\x1a\n"
    assert min(struct.unpack(">II", one[16:24])) > 500
    assert one == picture_of(report)


def test_what_was_stopped_before_its_first_round_is_reported_as_that() -> None:
    report = report_of(0, stopped=True)
    page = page_of(report, picture_of(report))
    assert "stopped before its end" in page
    assert report.after == report.before
    assert (report.sent, report.better) == (0, 0.0)


def test_devices_that_hold_nothing_out_are_not_counted_as_better_off() -> None:
    report = report_of()._replace(gains=np.array([0.5, -0.5, 0.1, 0.2]))
    assert report.better == 0.75
    assert report._replace(gains=np.empty(0)).better == 0.0


def test_the_bytes_are_those_of_the_messages() -> None:
    traffic, plan = traffic_of(TASK, 20), TASK.plan.secagg
    upload = len(encode(Masked(bytes(32), bytes(plan.ring.size(plan.dimension)), bytes(64))))
    assert upload < traffic.up < upload + 88 * plan.neighbours + 36 * plan.neighbours + 2000
    assert traffic_of(TASK, 40).up == traffic.up
    assert traffic_of(TASK, 40).down > traffic.down > 4 * TASK.plan.privacy.parameters
    wider = msgspec.structs.replace(TASK, version=2)
    assert traffic_of(wider, 20) == traffic
