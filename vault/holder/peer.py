"""Who is at the other end of a local socket."""

import socket
import struct

__all__ = ["peer"]

_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid


def peer(connection: socket.socket) -> tuple[int, int]:
    """Process id and user id of the other end of a local socket, as the kernel knows them.

    Of the end that listens they are those of the time when it began to.
    """
    pid, uid, _ = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    return pid, uid
