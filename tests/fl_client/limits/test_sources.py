"""Which desktop is asked, by the environment of this process."""

from pathlib import Path

from fl_client.limits.sources import Sources


def test_buses_and_display_are_those_of_the_environment() -> None:
    found = Sources.here(
        {
            "CLAW_HOME": "/home/me/claw",
            "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/a",
            "DBUS_SESSION_BUS_ADDRESS": "unix:path=/b",
            "DISPLAY": ":1",
            "XAUTHORITY": "/c",
        }
    )
    assert (found.system_bus, found.session_bus) == ("unix:path=/a", "unix:path=/b")
    assert found.display[:2] == (":1", Path("/c"))
    assert found.disk == Path("/home/me/claw")


def test_without_any_the_places_are_the_usual_ones(tmp_path: Path) -> None:
    found = Sources.here({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert found.system_bus == "unix:path=/run/dbus/system_bus_socket"
    assert found.session_bus == f"unix:path={tmp_path}/bus"
    assert found.display.name == ""
    assert found.display.authority.name == ".Xauthority"
    assert Sources.here({}).session_bus == ""


def test_under_wayland_no_x_server_is_asked_for_it_hears_nothing_of_other_windows(tmp_path: Path) -> None:
    x = {"DISPLAY": ":0", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert Sources.here(x).display.name == ":0"
    assert Sources.here({**x, "XDG_SESSION_TYPE": "x11"}).display.name == ":0"
    assert Sources.here({**x, "XDG_SESSION_TYPE": "wayland"}).display.name == ""
    assert Sources.here({**x, "WAYLAND_DISPLAY": "wayland-0"}).display.name == ""
    (tmp_path / "wayland-0").touch()
    assert Sources.here(x).display.name == ""
