"""A verified model that is held open: what was verified and what is used are the same bytes."""

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from vault.model_store import ModelRecord

__all__ = ["OpenModel"]


@dataclass(slots=True)
class OpenModel:
    """A verified model, open for reading. Close it, or use it in a `with` block.

    Attributes:
        record: What it is.
        path: Where it was found; what `descriptor` reads was verified, what lies there later was not.
        descriptor: Open for reading.
    """

    record: ModelRecord
    path: Path
    descriptor: int

    def close(self) -> None:
        """Close the descriptor. Closing twice does nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> "OpenModel":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
