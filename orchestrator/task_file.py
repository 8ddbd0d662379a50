"""A task as an operator writes it, from its file."""

import os
from pathlib import Path

from federation.errors import Malformed
from federation.task_file import Proposed, propose_task
from orchestrator.errors import OrchestratorError

__all__ = ["Proposed", "read_task_file"]


def read_task_file(path: Path) -> Proposed:
    """Read a task, and find the plan for it.

    Raises:
        OrchestratorError: it can't be read, or no plan gives what it asks for.
    """
    try:
        return propose_task(path.read_text(), os.urandom)
    except OSError as error:
        raise OrchestratorError(f"{path} can't be read: {error.strerror}.") from None
    except UnicodeError as error:
        raise OrchestratorError(f"{path} is no text: {error}.") from None
    except Malformed as error:
        raise OrchestratorError(
            f"{path}: {error.message}", hint="`claw-orchestrator task example` prints one."
        ) from None
