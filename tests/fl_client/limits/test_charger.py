"""Whether the machine is on a charger, by files as the kernel writes them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_client.limits.charger import on_charger

MAINS = {"type": "Mains", "online": "1"}
UNPLUGGED = {"type": "Mains", "online": "0"}
PORT = {"type": "USB", "online": "0"}
MOUSE = {"type": "Battery", "scope": "Device", "status": "Discharging"}


def battery(status: str, **more: str) -> dict[str, str]:
    return {"type": "Battery", "present": "1", "status": status, **more}


def supplies(folder: Path, *given: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for n, attributes in enumerate(given):
        (folder / f"supply{n}").mkdir()
        for name, value in attributes.items():
            (folder / f"supply{n}" / name).write_text(f"{value}\n")
    return folder


@pytest.mark.parametrize(
    "given",
    [
        (),
        (MAINS,),
        (UNPLUGGED,),  # without a battery it would be off
        (MOUSE,),
        (PORT, battery("Unknown", present="0")),
        (MAINS, battery("Charging")),
        (MAINS, battery("Full"), MOUSE),
        (UNPLUGGED, {"type": "USB", "online": "1"}, battery("Not charging")),
        ({"type": "USB", "online": "2"}, battery("Unknown")),
        (battery("Charging"),),
    ],
)
def test_on_a_charger_or_without_a_battery_it_may(tmp_path: Path, given: tuple[dict[str, str], ...]) -> None:
    found = on_charger(supplies(tmp_path / "s", *given))
    assert found.holds
    assert found.why == ""


@pytest.mark.parametrize(
    "given",
    [
        (UNPLUGGED, battery("Discharging")),
        (PORT, UNPLUGGED, battery("Full")),
        (MAINS, battery("Full"), battery("Discharging")),  # a charger that is too weak
        ({"type": "UPS", "status": "Discharging"},),
    ],
)
def test_on_battery_it_may_not(tmp_path: Path, given: tuple[dict[str, str], ...]) -> None:
    found = on_charger(supplies(tmp_path / "s", *given))
    assert found.holds is False
    assert found == (False, "on battery", "This machine runs on its battery.")


@pytest.mark.parametrize(
    "given",
    [
        (battery("Unknown"),),
        (battery("Full"),),
        ({"type": "Mains", "online": "x"}, battery("")),
        (battery("Geladen\u00fc"),),
        ({"online": "1"},),
    ],
)
def test_a_battery_that_does_not_say_is_no_charger(tmp_path: Path, given: tuple[dict[str, str], ...]) -> None:
    found = on_charger(supplies(tmp_path / "s", *given))
    assert found.holds is None
    assert found.why


def test_a_system_that_says_nothing_of_supplies_is_not_known_to_be_on_a_charger(tmp_path: Path) -> None:
    assert on_charger(tmp_path / "nothing").holds is None
    assert on_charger(Path("/dev/null")).holds is None


CONTENT = st.binary(max_size=30) | st.sampled_from([b"1", b"0", b"Mains", b"Battery", b"Discharging", b"9" * 5000])


@given(st.lists(st.dictionaries(st.sampled_from(["type", "online", "status", "scope", "present"]), CONTENT)))
def test_whatever_stands_in_the_files_is_an_answer(
    tmp_path_factory: pytest.TempPathFactory, given: list[dict[str, bytes]]
) -> None:
    folder = supplies(tmp_path_factory.mktemp("s"), *({} for _ in given))
    for n, attributes in enumerate(given):
        for name, content in attributes.items():
            (folder / f"supply{n}" / name).write_bytes(content)
    found = on_charger(folder)
    assert bool(found.why) == (not found.holds)
