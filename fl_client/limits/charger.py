"""Whether the machine is on a charger, as the kernel says (`/sys/class/power_supply`)."""

from pathlib import Path

from fl_client.limits.found import Found, number_in, text_in

__all__ = ["on_charger"]

_CHARGERS = frozenset({"Mains", "USB", "Wireless"})
_BATTERIES = frozenset({"Battery", "UPS"})


def on_charger(supplies: Path) -> Found:
    """Whether the machine is on a charger. One without any battery is: it would be off otherwise.

    Args:
        supplies: The folder that has one for each supply.
    """
    try:
        folders = sorted(supplies.iterdir())
    except OSError:
        return Found(None, "unknown", "Nothing here says whether this machine is on a charger.")
    # A mouse or a headset has a battery, too; it says nothing of the machine.
    own = [folder for folder in folders if text_in(folder / "scope") != "Device"]
    kinds = {folder: text_in(folder / "type") for folder in own}
    batteries = [folder for folder in own if kinds[folder] in _BATTERIES and number_in(folder / "present") != 0]
    states = {text_in(battery / "status") for battery in batteries}
    chargers = [number_in(folder / "online") for folder in own if kinds[folder] in _CHARGERS]
    if not batteries and "" not in kinds.values():
        return Found(True, "no battery")
    if "Discharging" in states:
        return Found(False, "on battery", "This machine runs on its battery.")
    if any(online and online > 0 for online in chargers) or "Charging" in states:
        return Found(True, "on a charger")
    if chargers and set(chargers) == {0}:
        return Found(False, "on battery", "This machine runs on its battery.")
    return Found(None, "unknown", "Its battery doesn't say whether this machine is on a charger.")
