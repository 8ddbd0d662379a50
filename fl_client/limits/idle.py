"""Whether the machine is idle: nobody has used it for a while, and it has nothing else to do.

How long it hasn't been used is asked where it is known best: GNOME's compositor (Mutter), or the X server; only
where neither says, systemd-logind, to which not every desktop tells it. KDE's `GetSessionIdleTime` isn't asked:
under Wayland it always says zero, and under X the server knows.
"""

import time
from pathlib import Path

from fl_client.limits.bus import Call, Reply, ask, property_of
from fl_client.limits.found import Found
from fl_client.limits.pressure import MOST_PRESSURE, cpu_pressure
from fl_client.limits.x_server import Display, since_last_input_s

__all__ = ["idle"]

_MUTTER = "org.gnome.Mutter.IdleMonitor"
_GET_IDLETIME = Call(_MUTTER, "/org/gnome/Mutter/IdleMonitor/Core", _MUTTER, "GetIdletime")
_LOGIND = "org.freedesktop.login1"
_LOGIND_SAYS = [
    property_of(_LOGIND, "/org/freedesktop/login1", f"{_LOGIND}.Manager", name)
    for name in ("IdleHint", "IdleSinceHint", "BlockInhibited")
]
_FOREVER = float("inf")


def idle(session_bus: str, system_bus: str, display: Display, pressure: Path, minutes: int) -> Found:
    """Whether the machine is idle.

    Args:
        session_bus: Of the desktop; empty where there is none.
        system_bus: Of logind.
        display: Of the X server, where the desktop is one of X.
        pressure: What the kernel says of the processor.
        minutes: Without use from which on it is.
    """
    hint, since, inhibited = ask(system_bus, *_LOGIND_SAYS)
    unused_s = _shortest(_by_mutter(session_bus), since_last_input_s(display))
    if unused_s is None:
        unused_s = _by_logind(hint, since, time.time())
    if unused_s is None:
        return Found(None, "unknown", "No desktop here says when this machine was last used.")
    if _is_kept_awake(inhibited):
        return Found(False, "kept awake", "A program keeps this machine awake, as a film does.")
    now = "nobody is logged in" if unused_s == _FOREVER else f"unused for {_in_words(unused_s)}"
    if unused_s < minutes * 60:
        return Found(False, now, f"This machine is in use: it has been {now}, not for {minutes} min.")
    waited = cpu_pressure(pressure)
    if waited is None:
        return Found(None, now, "This kernel doesn't say how busy the processor is (it says so with psi=1).")
    if waited > MOST_PRESSURE:
        return Found(False, f"busy, {waited:.0f} %", f"Programs wait for the processor {waited:.0f} % of the time.")
    return Found(True, now)


def _by_mutter(session_bus: str) -> float | None:
    """Seconds since the last input to GNOME."""
    match ask(session_bus, _GET_IDLETIME):
        case [(int(idle_ms),)] if idle_ms >= 0:
            return idle_ms / 1000
    return None


def _by_logind(hint: Reply, since: Reply, now: float) -> float | None:
    """Seconds since all sessions became idle; none where one isn't, and for ever where there is no session."""
    match hint, since:
        case ((("b", False),), _):
            return 0.0
        case ((("b", True),), (("t", 0),)):
            return _FOREVER
        case ((("b", True),), (("t", int(since_us)),)):
            return max(0.0, now - since_us / 1e6)
    return None


def _is_kept_awake(inhibited: Reply) -> bool:
    """Whether a program asked logind that the machine doesn't count as idle."""
    match inhibited:
        case (("s", str(what)),):
            return "idle" in what.split(":")
    return False


def _shortest(*times: float | None) -> float | None:
    return min((known for known in times if known is not None), default=None)


def _in_words(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds // 1:.0f} s"
    return f"{seconds // 60:.0f} min" if seconds < 7200 else f"{seconds // 3600:.0f} h"
