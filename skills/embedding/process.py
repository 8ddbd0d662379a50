"""The embedder as a process: how it is started, and what is found out of why it ended."""

from skills.embedding.files import OpenFiles
from skills.embedding.protocol import MOST_REPLY, Reply, Request, Setup
from skills.errors import EmbedderDied
from vault.child import Child, Ending

__all__ = ["EmbedderProcess", "Retired"]

_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    # Huge pages for what malloc gives out: each decision walks through all the weights; about a tenth of its time.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    # One thread a product: texts are short, and OpenBLAS's threads spin. On two busy cores, two of them took half a
    # second for what takes one 57 milliseconds.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


class Retired(Exception):
    """It has ended as it should, because nobody asked for a while; another has to be started."""


class EmbedderProcess(Child[Request, Reply]):
    """One embedder.

    Args:
        files: What it loads; the descriptors stay the caller's.
        threads: Batches that are computed at once.
        idle_s: Seconds without a request after which it ends.

    Raises:
        EmbedderDied, Retired: it ended at once.
    """

    def __init__(self, files: OpenFiles, *, threads: int, idle_s: float) -> None:
        super().__init__(
            "skills.embedding.worker",
            Reply,  # type: ignore[arg-type]
            environment=_ENVIRONMENT,
            inherited=(files.weights, files.vocabulary),
            most=MOST_REPLY,
        )
        self.send(Setup(files.weights, files.vocabulary, threads, idle_s))

    def error(self, ending: Ending) -> EmbedderDied | Retired:
        """What is raised when it has ended."""
        if ending.between and ending.code == 0:
            return Retired()
        return EmbedderDied(
            f"The embedder ended unexpectedly ({ending}).",
            hint="Nothing is lost; ask again and it is started anew.",
        )
