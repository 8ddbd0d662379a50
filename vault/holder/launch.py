"""Starts the process that holds the key."""

import os
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vault.durable import make_private_folder
from vault.errors import FrameError, VaultError
from vault.frames import FrameReader, frame
from vault.holder.protocol import MOST_BYTES, Held, Refused, Setup
from vault.lock import LockLimits

if TYPE_CHECKING:
    from vault.home import Home
    from vault.keys import MasterKey

__all__ = ["launch"]

_READY_WITHIN_S = 20.0


def launch(home: "Home", address: Path, master: "MasterKey", limits: LockLimits) -> Held | None:
    """Start the process and give it the key; returns when it answers.

    It has no environment, no terminal and no open file of ours, and isn't our child: it outlives us.

    Args:
        home: Whose vault.
        address: Where to answer.
        master: The key.
        limits: How long the key may stay.

    Returns:
        What it holds; `None` if another one holds a key already.

    Raises:
        VaultError: it can't be started.
    """
    make_private_folder(address.parent)
    setup = Setup(master.vault_id, str(home.vault), str(home.data), str(address), limits)
    with subprocess.Popen(
        [sys.executable, "-I", "-m", "vault.holder"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
        cwd="/",
        bufsize=0,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with master.opened() as view:
                os.writev(process.stdin.fileno(), [frame(setup), view])
            if not select.select([process.stdout], [], [], _READY_WITHIN_S)[0]:
                raise VaultError("The process that should hold the key does not begin.")
            answer = _answers(process.stdout.fileno()).read()
        except (FrameError, OSError) as error:
            raise VaultError("The process that should hold the key failed as it began.") from error
    if answer is None:
        raise VaultError("The process that should hold the key ended as it began.")
    return answer if isinstance(answer, Held) else None


def _answers(descriptor: int) -> FrameReader[Held | Refused]:
    return FrameReader(descriptor, Held | Refused, most=MOST_BYTES)  # type: ignore[arg-type]
