"""Programs that listen where a desktop's would, and say what no such program says."""

import contextlib
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

__all__ = ["impostor"]


@contextlib.contextmanager
def impostor(name: str, *pieces: bytes, backlog: int = 8) -> Iterator[Path]:
    """One that says these pieces, one after each thing that it is told, and then nothing more.

    Args:
        name: Of its socket.
        pieces: What it says.
        backlog: Connections that wait to be taken, at most.
    """
    with tempfile.TemporaryDirectory(prefix="claw-") as folder, socket.socket(socket.AF_UNIX) as listening:
        path = Path(folder) / name
        listening.bind(str(path))
        listening.listen(backlog)

        def answer() -> None:
            with contextlib.suppress(OSError):
                end, _ = listening.accept()
                with end:
                    for piece in pieces:
                        end.recv(1 << 16)
                        end.sendall(piece)
                    while end.recv(1 << 16):
                        pass

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield path
        finally:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            thread.join()
