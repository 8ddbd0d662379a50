"""Where the limits look: at this machine, or, in a test, at one of its own."""

import datetime
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from fl_client.limits.x_server import Display
from vault.capacity import free_memory, usable_cores
from vault.home import Home

__all__ = ["Sources"]

_SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"


class Sources(NamedTuple):
    """Where to look.

    Attributes:
        sysfs: Where sysfs is mounted.
        procfs: Where procfs is mounted.
        system_bus: Address of the bus that logind and NetworkManager are on.
        session_bus: Address of the desktop's own; empty where there is none.
        display: The X server; without a name where the desktop is none of X.
        disk: A folder on the disk that is written to; it may not be there yet.
        cores: Physical cores that this process may use.
        free_memory: Bytes that programs can still take.
        now: The time where the person is.
    """

    sysfs: Path
    procfs: Path
    system_bus: str
    session_bus: str
    display: Display
    disk: Path
    cores: Callable[[], int] = usable_cores
    free_memory: Callable[[], int] = free_memory
    now: Callable[[], datetime.datetime] = datetime.datetime.now

    @classmethod
    def here(cls, environment: Mapping[str, str] | None = None) -> "Sources":
        """Look at this machine, and the desktop that this process belongs to.

        Nothing is looked at yet.
        """
        environment = os.environ if environment is None else environment
        runtime = environment.get("XDG_RUNTIME_DIR", "")
        return cls(
            sysfs=Path("/sys"),
            procfs=Path("/proc"),
            system_bus=environment.get("DBUS_SYSTEM_BUS_ADDRESS") or _SYSTEM_BUS,
            session_bus=environment.get("DBUS_SESSION_BUS_ADDRESS")
            or (f"unix:path={runtime}/bus" if runtime else ""),
            display=Display(
                "" if _is_wayland(environment) else environment.get("DISPLAY", ""),
                Path(environment.get("XAUTHORITY") or os.path.expanduser("~/.Xauthority")),
            ),
            disk=Home.locate(environment).data,
        )


def _is_wayland(environment: Mapping[str, str]) -> bool:
    """Whether the desktop is one of Wayland: its X server hears nothing of what is typed into other windows."""
    if environment.get("WAYLAND_DISPLAY") or environment.get("XDG_SESSION_TYPE") == "wayland":
        return True
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    return runtime != "" and any(Path(runtime).glob("wayland-*"))
