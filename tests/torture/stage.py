"""Where a workload runs: it tells the trace what was begun, and what must last from then on."""

from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import msgspec

from tests.torture.beginnings import home_in
from tests.torture.recorder import mark
from tests.torture.state import Mark, State, observe
from vault.home import Home
from vault.store import Vault

__all__ = ["Stage"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Stage:
    """One run of a workload.

    Args:
        root: Its folder.
        before: What the vault in it holds.
        observing: Whether to look at what it holds after each step.

    Attributes:
        root: As above.
        home: The vault's, inside that folder.
        now: What has been reached; what wasn't looked at is as it was before.
    """

    def __init__(self, root: Path, before: State, *, observing: bool) -> None:
        self.root = root
        self.home: Home = home_in(root)
        self.now = before
        self._observing = observing
        self._steps = 0
        self._vault: Vault | None = None

    def step(self, work: Callable[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs) -> Result:
        """Do something that must last once it returned, and of which a crash leaves all or nothing."""
        return self._do(lambda: work(*args, **named), self.now)

    def gradually(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Do something that must last once it returned, and of which a crash may leave a part."""
        return self._do(lambda: work(*args, **named), self.now, atomic=False)

    def reach(self, state: State, work: Callable[[], Result], *, atomic: bool = True) -> Result:
        """Do something after which more has changed than the rows of an open vault."""
        return self._do(work, state, atomic=atomic)

    def open(self) -> Vault:
        """Open the vault, which is a step."""
        return self.step(Vault.open_with_passphrase, self.home, self.now.passphrase)

    def last(self, work: Callable[[], Result]) -> Result:
        """Do something, as in `step`, that closes the vault."""
        self._vault = None
        return self.step(work)

    def close(self) -> None:
        """Close it, which is a step too."""
        self.last(self.vault.close)

    def leave(self) -> None:
        """Close what is open, as a command does that ends with an error."""
        if self._vault is not None:
            self._vault.close()

    @property
    def vault(self) -> Vault:
        """The vault that is open."""
        assert self._vault is not None
        return self._vault

    def _do(self, work: Callable[[], Result], after: State, *, atomic: bool = True) -> Result:
        self._steps += 1
        _note(Mark(self._steps))
        result = work()
        if isinstance(result, Vault):
            self._vault = result
        if self._vault and self._observing and after.rows is not None:
            after = msgspec.structs.replace(after, rows=observe(self._vault))
        self.now = msgspec.structs.replace(after, atomic=atomic)
        _note(Mark(self._steps, self.now))
        return result


def _note(what: Mark) -> None:
    mark(msgspec.json.encode(what).decode())
