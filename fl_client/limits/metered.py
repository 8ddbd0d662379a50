"""Whether the network counts bytes, as NetworkManager says of the one that is used (`NMMetered`)."""

from fl_client.limits.bus import ask, property_of
from fl_client.limits.found import Found

__all__ = ["unmetered"]

_SERVICE = "org.freedesktop.NetworkManager"
_METERED = property_of(_SERVICE, "/org/freedesktop/NetworkManager", _SERVICE, "Metered")
_SAYS = {
    1: Found(False, "metered", "The network counts bytes."),
    2: Found(True, "not metered"),
    3: Found(False, "metered, probably", "The network probably counts bytes, as a phone's does."),
    4: Found(True, "not metered, probably"),
}


def unmetered(system_bus: str) -> Found:
    """Whether the network doesn't count bytes. NetworkManager's guess is enough: most networks say nothing.

    Args:
        system_bus: That NetworkManager is on.
    """
    (reply,) = ask(system_bus, _METERED)
    match reply:
        case (("u", int(says)),) if says in _SAYS:
            return _SAYS[says]
        case (("u", int()),):
            return Found(None, "unknown", "NetworkManager doesn't know whether the network counts bytes.")
    return Found(None, "unknown", "NetworkManager, which would know whether the network counts bytes, isn't there.")
