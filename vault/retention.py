"""How long each kind of thing is kept, and what happens to it then.

The defaults are the strictest that leave the assistant useful. Whoever wants something kept for longer has to say
so twice; each change is logged, and the person is told of it.
"""

import time
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from vault.adapter_store import find_adapters
from vault.classes import DataClass
from vault.connection import Connection
from vault.database import Database
from vault.erasure import Erased, Plan, erase, find_examples, find_sessions
from vault.errors import VaultError
from vault.home import Home
from vault.inventory import Kind
from vault.leftovers import remove_leftovers
from vault.notifications import Notifications, RetentionChanged

if TYPE_CHECKING:
    from vault.log.entries import Entry
    from vault.log.transparency import TransparencyLog

__all__ = ["DEFAULTS", "KEPT_BY", "MOST_DAYS", "Retained", "Retention", "RetentionReport", "Rule", "in_words"]

_DAY_MS = 24 * 3600 * 1000
_RUN = "nothing is kept longer than was said"
_SETTING = "how long things are kept, as was said"
MOST_DAYS = 36_500
"""A hundred years: whoever wants longer wants *until erased*."""


class Retained(StrEnum):
    """A kind of thing that is kept for some time."""

    SESSIONS = "sessions"
    """Conversations, after they were last used; then they are archived."""
    ARCHIVED_SESSIONS = "archived-sessions"
    """Archived conversations; then they are erased."""
    EXAMPLES = "examples"
    """Training examples, after they were kept; then they are erased."""
    ADAPTERS = "adapters"
    """Trained adapters, after they were trained; then they are erased."""
    SENSITIVE_LOG = "sensitive-log"
    """What entries of the transparency log say of sensitive operations; then their leaf alone stays."""
    LOG = "log"
    """What its other entries say."""
    NOTIFICATIONS = "notifications"
    """Notifications, after they were seen."""
    UNFINISHED_RUNS = "unfinished-runs"
    """What runs of skills that were stopped have done so far; until then they can be gone on with."""
    UNFINISHED_DOWNLOADS = "unfinished-downloads"
    """Parts of models, after their download broke off; until then it can be gone on with."""
    TEMPORARY_FILES = "temporary-files"
    """Files that a crash left behind."""


class _Default(NamedTuple):
    days: int | None
    """`None`: until erased."""
    then: str


DEFAULTS: dict[Retained, _Default] = {
    Retained.SESSIONS: _Default(30, "archived"),
    Retained.ARCHIVED_SESSIONS: _Default(None, "erased"),
    Retained.EXAMPLES: _Default(None, "erased"),
    Retained.ADAPTERS: _Default(None, "erased"),
    Retained.SENSITIVE_LOG: _Default(7, "cleared; the leaf stays"),
    Retained.LOG: _Default(90, "cleared; the leaf stays"),
    Retained.NOTIFICATIONS: _Default(30, "removed"),
    Retained.UNFINISHED_RUNS: _Default(7, "removed"),
    Retained.UNFINISHED_DOWNLOADS: _Default(7, "removed"),
    Retained.TEMPORARY_FILES: _Default(0, "removed"),
}
"""Days, and what happens then. Archived conversations, examples and adapters are the person's own."""

KEPT_BY: dict[Kind, tuple[Retained, ...]] = {
    Kind.CONVERSATIONS: (Retained.SESSIONS, Retained.ARCHIVED_SESSIONS),
    Kind.ATTACHMENTS: (Retained.SESSIONS, Retained.ARCHIVED_SESSIONS),
    Kind.EXAMPLES: (Retained.EXAMPLES,),
    Kind.ADAPTERS: (Retained.ADAPTERS,),
    Kind.LOG: (Retained.SENSITIVE_LOG, Retained.LOG),
    Kind.NOTIFICATIONS: (Retained.NOTIFICATIONS,),
    Kind.SKILL_RUNS: (Retained.UNFINISHED_RUNS,),
}
"""Which rules decide over which tables; the others' rows stay until the vault is erased."""


class Rule(NamedTuple):
    """How long one kind is kept.

    Attributes:
        what: The kind.
        days: How long; `None` until erased.
        default: How long without a rule of the person's own.
        then: What happens then.
    """

    what: Retained
    days: int | None
    default: int | None
    then: str

    @property
    def loose(self) -> bool:
        """Whether it is kept for longer than by default."""
        return _longer(self.days, self.default)


class RetentionReport(msgspec.Struct, frozen=True):
    """What went when retention ran.

    Attributes:
        left: Where encrypted copies of what went, now or before, lie still, and until when; empty where nowhere.
    """

    archived: int = 0
    erased: Erased = Erased()
    log_entries: int = 0
    notifications: int = 0
    files: int = 0
    runs: int = 0
    left: str = ""

    @property
    def anything(self) -> bool:
        """Whether something went at all."""
        return self != RetentionReport(left=self.left)

    def __str__(self) -> str:
        parts = [
            f"archived {_count(self.archived, 'conversation')}" if self.archived else "",
            f"erased {self.erased}" if self.erased != Erased() else "",
            f"cleared {_count(self.log_entries, 'log entry', 'log entries')}" if self.log_entries else "",
            f"removed {_count(self.notifications, 'notification')}" if self.notifications else "",
            f"removed {_count(self.files, 'leftover file')}" if self.files else "",
            f"removed {_count(self.runs, 'unfinished run of a skill', 'unfinished runs of skills')}"
            if self.runs
            else "",
        ]
        return "; ".join(part for part in parts if part) or "nothing was due"


class Retention:
    """The rules of one vault, and their execution."""

    def __init__(self, database: Database, home: Home, log: "Callable[[], TransparencyLog]") -> None:
        self._database = database
        self._home = home
        self._log = log

    def rules(self) -> list[Rule]:
        """How long everything is kept."""
        return self._database.read(_rules)

    def set(self, what: Retained, days: int | None, *, confirmed: bool = False) -> Rule:
        """Keep a kind for another time.

        Args:
            what: The kind.
            days: How long; `None` until erased.
            confirmed: Whether the person knows that this is longer than now.

        Raises:
            VaultError: that is loosening, and wasn't confirmed; or no such number of days.
        """
        if days is not None and not 0 <= days <= MOST_DAYS:
            raise VaultError(f"Between 0 and {MOST_DAYS:,} days can be asked for, or “forever”.")
        if not confirmed and self.loosens(what, days):
            raise VaultError(f"That keeps {what} longer than now, which has to be confirmed.")

        def change(connection: Connection) -> None:
            if days == DEFAULTS[what].days:
                connection.execute("DELETE FROM retention WHERE kind = ?", (what,))
            else:
                connection.execute("INSERT OR REPLACE INTO retention VALUES (?, ?)", (what, days))
            self._log().record(connection, _entry(f"{what}: kept {in_words(days)}", _SETTING))
            Notifications(self._database).raise_(RetentionChanged(what, days), connection)

        self._database.write(change)
        return next(rule for rule in self.rules() if rule.what is what)

    def loosens(self, what: Retained, days: int | None) -> bool:
        """Whether that would be longer than now: what is soon to go is promised to go, whatever the default is."""
        return _longer(days, next(rule.days for rule in self.rules() if rule.what is what))

    def run(self, now_ms: int | None = None) -> RetentionReport:
        """Let go of whatever was kept long enough.

        Args:
            now_ms: The time, in milliseconds since 1970.

        Raises:
            RolledBack: the vault isn't the newest; nothing in it was changed.
            LogDamaged: the transparency log can't be gone on with; nothing in the vault was changed.
        """
        now = _now_ms() if now_ms is None else now_ms
        before = {rule.what: _before(now, rule.days) for rule in self.rules()}
        files = remove_leftovers(
            self._home, before[Retained.TEMPORARY_FILES], before[Retained.UNFINISHED_DOWNLOADS], now
        )

        def work(connection: Connection) -> RetentionReport:
            report = self._let_go(connection, before, now, files)
            if report.anything:
                self._log().record(connection, _entry(str(report), _RUN))
            connection.execute("UPDATE vault_state SET retained_ms = ?", (now,))
            return report

        report = self._database.write(work)
        return msgspec.structs.replace(report, left=self._database.clear_away())

    def run_if_due(self, now_ms: int | None = None) -> RetentionReport | None:
        """Run, unless that was done within a day, or the vault is open for reading alone."""
        now = _now_ms() if now_ms is None else now_ms
        if self._database.alarm:
            return None
        row = self._database.read(lambda c: c.execute("SELECT retained_ms FROM vault_state").fetchone())
        if row and 0 <= now - row[0] < _DAY_MS:
            return None
        return self.run(now)

    def _let_go(
        self, connection: Connection, before: dict[Retained, int | None], now: int, files: int
    ) -> RetentionReport:
        archived, erased, cleared, removed, runs = 0, Erased(), 0, 0, 0
        # First those that had been archived before: nothing is archived and erased on one day.
        if (limit := before[Retained.ARCHIVED_SESSIONS]) is not None:
            sessions = find_sessions(connection, "archived_ms < ?", limit)
            erased = erase(connection, Plan(sessions=sessions), now)
        if (limit := before[Retained.SESSIONS]) is not None:
            archived = connection.execute(
                "UPDATE sessions SET archived_ms = ? WHERE archived_ms IS NULL AND updated_ms < ?", (now, limit)
            ).rowcount
        if (limit := before[Retained.EXAMPLES]) is not None:
            erased += erase(connection, Plan(examples=find_examples(connection, "created_ms < ?", limit)), now)
        if (limit := before[Retained.ADAPTERS]) is not None:
            erased += erase(connection, Plan(adapters=find_adapters(connection, "created_ms < ?", limit)), now)
        for what, sensitive in ((Retained.SENSITIVE_LOG, True), (Retained.LOG, False)):
            if (limit := before[what]) is not None:
                cleared += self._log().expire(connection, limit, sensitive)
        if (limit := before[Retained.NOTIFICATIONS]) is not None:
            removed = connection.execute("DELETE FROM notifications WHERE seen_ms < ?", (limit,)).rowcount
        if (limit := before[Retained.UNFINISHED_RUNS]) is not None:
            runs = connection.execute("DELETE FROM skill_runs WHERE updated_ms < ?", (limit,)).rowcount
        return RetentionReport(archived, erased, cleared, removed, files, runs)


def in_words(days: int | None) -> str:
    """How long, as a person would say it."""
    if days is None:
        return "until erased"
    return "not at all" if days == 0 else _count(days, "day")


def _count(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _rules(connection: Connection) -> list[Rule]:
    own: dict[str, int | None] = dict(connection.execute("SELECT kind, days FROM retention").fetchall())
    return [Rule(what, own.get(what, days), days, then) for what, (days, then) in DEFAULTS.items()]


def _longer(days: int | None, than: int | None) -> bool:
    return than is not None and (days is None or days > than)


def _before(now: int, days: int | None) -> int | None:
    return None if days is None else now - days * _DAY_MS


def _entry(description: str, purpose: str) -> "Entry":
    from vault.log.entries import Action, Entry

    return Entry(
        action=Action.RETENTION,
        purpose=purpose,
        data_class=DataClass.MEDIUM,
        description=description,
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
