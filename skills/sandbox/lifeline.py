"""What ends a job whose owner was killed: a shell that waits for our end of a pipe to be closed.

`kill -9` leaves us no time to end anything, and the kernel's own signal for that (PR_SET_PDEATHSIG) comes too late
or not at all: bubblewrap asks for it only once everything is set up, and a thread that becomes another program
loses it. The end of a pipe is closed however its process ends, and nothing of the job's can reach the shell.
"""

import os
import subprocess
from pathlib import Path

from skills.errors import SandboxError
from skills.sandbox.walls import ENVIRONMENT

__all__ = ["Lifeline"]

# A session that ends tells all its processes so; there is still something to do then. The last signal is for the
# whole group, the shell itself among them.
_WAIT = """
trap '' HUP INT TERM
while read -r told; do processes="$processes $told"; done
kill -9 $processes
rm -rf -- "$@"
kill -9 0
"""


class Lifeline:
    """Ends the processes of a job as soon as we have ended, unless it is let go before.

    Attributes:
        group: The process group to start a job in, all of which is ended.
    """

    def __init__(self, *folders: Path, keeps: tuple[int, ...] = ()) -> None:
        """Begin to wait.

        Args:
            folders: To be removed too.
            keeps: Descriptors whose closing the job mustn't notice while it can still go on.

        Raises:
            SandboxError: it can't be begun, and nothing should be then.
        """
        waits, self._ours = os.pipe()
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _WAIT, "sh", *map(str, folders)],
                stdin=waits,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
                process_group=0,
                pass_fds=keeps,
            )
        except OSError as error:
            os.close(self._ours)
            raise SandboxError(f"No shell could be started to watch over it: {error.strerror}.") from error
        finally:
            os.close(waits)
        self.group = self._process.pid

    def tell(self, process: int) -> None:
        """Have a process ended too that may leave the group."""
        os.write(self._ours, b"%d\n" % process)

    def let_go(self) -> None:
        """Wait no longer; called once the job is gone."""
        self._process.kill()
        self._process.wait()
        os.close(self._ours)
