"""Whether the machine is idle, by real services on a real bus, an X server, and the kernel's pressure file."""

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fl_client.limits.found import Found
from fl_client.limits.idle import idle
from fl_client.limits.pressure import cpu_pressure
from fl_client.limits.sources import Sources
from tests.fl_client.limits.desktop import Answer, Bus

FIVE_MINUTES_MS = 5 * 60_000
BUSY = "some avg10=61.25 avg60=1.90 avg300=2.06 total=15999949584\n"


def found_on(machine: Sources, minutes: int = 5) -> Found:
    return idle(machine.session_bus, machine.system_bus, machine.display, machine.procfs / "pressure/cpu", minutes)


def us_ago(seconds: float) -> int:
    return int((time.time() - seconds) * 1e6)


def test_gnome_says_how_long_it_was_not_used(bus: Bus, machine: Sources) -> None:
    with bus.mutter(FIVE_MINUTES_MS):
        assert found_on(machine) == (True, "unused for 5 min", "")
    with bus.mutter(FIVE_MINUTES_MS - 1):
        assert found_on(machine) == (
            False,
            "unused for 4 min",
            "This machine is in use: it has been unused for 4 min, not for 5 min.",
        )
    with bus.mutter(3_000):
        found = found_on(machine)
    assert found.why == "This machine is in use: it has been unused for 3 s, not for 5 min."


def test_where_the_desktop_says_when_logind_is_not_asked_whether(bus: Bus, machine: Sources) -> None:
    with bus.logind(idle=False), bus.mutter(FIVE_MINUTES_MS):
        assert found_on(machine).holds
    with bus.logind(idle=True, since_us=us_ago(3600)), bus.mutter(3_000):
        assert not found_on(machine).holds


def test_where_no_desktop_says_logind_does(bus: Bus, machine: Sources) -> None:
    with bus.logind(idle=False):
        assert found_on(machine).holds is False
    with bus.logind(idle=True, since_us=us_ago(60)):
        assert found_on(machine).holds is False
    with bus.logind(idle=True, since_us=us_ago(3600)):
        assert found_on(machine) == (True, "unused for 60 min", "")
    with bus.logind(idle=True, since_us=us_ago(-3600)):  # the clock was put back
        assert found_on(machine).holds is False


def test_where_nobody_is_logged_in_nobody_uses_it(bus: Bus, machine: Sources) -> None:
    with bus.logind(idle=True, since_us=0):
        assert found_on(machine) == (True, "nobody is logged in", "")


def test_a_program_may_keep_it_from_counting_as_idle(bus: Bus, machine: Sources) -> None:
    with bus.logind(idle=False, inhibited="sleep:idle"), bus.mutter(FIVE_MINUTES_MS):
        assert found_on(machine) == (False, "kept awake", "A program keeps this machine awake, as a film does.")
    with bus.logind(idle=True, inhibited="handle-lid-switch-idle-like"), bus.mutter(FIVE_MINUTES_MS):
        assert found_on(machine).holds


def test_programs_that_wait_for_the_processor_make_it_busy(bus: Bus, machine: Sources) -> None:
    with bus.mutter(FIVE_MINUTES_MS):
        (machine.procfs / "pressure/cpu").write_text(BUSY)
        assert found_on(machine) == (False, "busy, 61 %", "Programs wait for the processor 61 % of the time.")
        (machine.procfs / "pressure/cpu").unlink()
        found = found_on(machine)
    assert found.holds is None
    assert "psi=1" in found.why


def test_who_says_nothing_is_not_known_to_be_idle(bus: Bus, machine: Sources, nowhere: Sources) -> None:
    assert found_on(machine).holds is None
    assert found_on(nowhere).why == "No desktop here says when this machine was last used."


@pytest.mark.parametrize(
    "answer", [None, ("s", ("300000",)), ("x", (-1,)), ("", ()), ("d", (3e5,)), ("tt", (1, 2))]
)
def test_what_gnome_never_says_is_no_answer(bus: Bus, machine: Sources, answer: Answer) -> None:
    with bus.service("org.gnome.Mutter.IdleMonitor", {"GetIdletime": answer}):
        assert found_on(machine).holds is None


@pytest.mark.parametrize("hint", [("v", (("s", "true"),)), ("v", (("t", 1),)), ("b", (True,)), None])
def test_what_logind_never_says_is_no_answer(bus: Bus, machine: Sources, hint: Answer) -> None:
    with bus.service("org.freedesktop.login1", {"IdleHint": hint, "IdleSinceHint": ("v", (("x", -5),))}):
        assert found_on(machine).holds is None


VARIANTS = st.one_of(
    st.booleans().map(lambda value: ("b", value)),
    st.integers(0, 2**64 - 1).map(lambda value: ("t", value)),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: ("x", value)),
    st.floats().map(lambda value: ("d", value)),
    st.sampled_from(["idle", "idle:sleep", ":", "", "()"]).map(lambda value: ("s", value)),
    st.lists(st.integers(0, 9)).map(lambda value: ("ai", value)),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.lists(VARIANTS, min_size=4, max_size=4))
def test_whatever_logind_and_gnome_say_is_an_answer(
    bus: Bus, machine: Sources, said: list[tuple[str, object]]
) -> None:
    names = ("IdleHint", "IdleSinceHint", "BlockInhibited")
    of_logind: dict[str, Answer] = {name: ("v", (value,)) for name, value in zip(names, said, strict=False)}
    kind, value = said[3]
    with (
        bus.service("org.freedesktop.login1", of_logind),
        bus.service("org.gnome.Mutter.IdleMonitor", {"GetIdletime": (kind, (value,))}),
    ):
        found = found_on(machine)
    assert bool(found.why) == (not found.holds)


@given(
    st.binary(max_size=80) | st.from_regex(r"some avg10=[0-9]{1,4}\.[0-9]{2} avg60", fullmatch=True).map(str.encode)
)
def test_whatever_the_kernel_says_of_pressure_is_a_share_or_no_answer(
    tmp_path_factory: pytest.TempPathFactory, said: bytes
) -> None:
    file = tmp_path_factory.mktemp("p") / "cpu"
    file.write_bytes(said)
    found = cpu_pressure(file)
    assert found is None or 0 <= found <= 100


def test_the_real_kernels_pressure_can_be_read() -> None:
    if not Path("/proc/pressure/cpu").exists():
        pytest.skip("this kernel doesn't say how busy the processor is")
    assert cpu_pressure(Path("/proc/pressure/cpu")) is not None
