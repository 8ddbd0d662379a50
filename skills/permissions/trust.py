"""What a session has read, and what that means for what it may do next.

Text that a tool brought in may have been written to make the assistant do something. So once a session has read
such text, or something highly sensitive, whatever was agreed to before doesn't count any more for what runs, sends
or remembers: the person is asked again, and told why.
"""

from skills.tools.tool import Effect, digest_of
from vault.classes import DataClass
from vault.sanitize import sanitize_line

__all__ = ["Trust"]

_WARY = {Effect.REMEMBER, Effect.WRITE, Effect.RUN, Effect.SEND}
_SHOWN = 3


class Trust:
    """Of one session.

    Attributes:
        reading: Grows with everything that was read; what was agreed to at an earlier reading was agreed to by
            somebody who couldn't know of it.
    """

    def __init__(self) -> None:
        self.reading = 0
        self._foreign: list[str] = []
        self._sensitive: list[str] = []
        self._known: set[str] = set()

    def take_in(self, source: str, data_class: DataClass, *, foreign: bool) -> None:
        """Something was read.

        Args:
            source: Where it came from, for the person: a path, a host, a script.
            data_class: Of it.
            foreign: Whether somebody else may have written it.
        """
        sensitive = data_class in (DataClass.HIGHLY_SENSITIVE, DataClass.TOP_SECRET)
        for kept, counts in ((self._foreign, foreign), (self._sensitive, sensitive)):
            if counts and source not in kept:
                kept.append(source)
        self.reading += foreign or sensitive

    def has_before_it(self, source: str, text: str, data_class: DataClass) -> None:
        """Something foreign stands in the conversation; told again and again, the same text counts once."""
        if (key := digest_of(source, text)) not in self._known:
            self._known.add(key)
            self.take_in(source, data_class, foreign=True)

    def has_kept(self, source: str, text: str) -> None:
        """What came of a call was put into the conversation; that it was read is known already."""
        self._known.add(digest_of(source, text))

    def reasons(self, effect: Effect) -> tuple[str, ...]:
        """Why somebody should look twice at a call with this effect; nothing where there is no reason."""
        if effect not in _WARY:
            return ()
        said = (
            ("It has read text that somebody else may have written to make it do this", self._foreign),
            ("It has read what is highly sensitive", self._sensitive),
        )
        return tuple(f"{why}: {_names(sources)}." for why, sources in said if sources)


def _names(sources: list[str]) -> str:
    shown = ", ".join(sanitize_line(source, 100) for source in sources[-_SHOWN:])
    return shown + (f", and {len(sources) - _SHOWN} more" if len(sources) > _SHOWN else "")
