"""A log in a real SQLCipher database, with a clock of its own, and whoever tampers with it."""

from pathlib import Path

from vault.classes import DataClass
from vault.database import Connection, Database
from vault.log import Action, Entry, Status, TransparencyLog

__all__ = ["DAY_MS", "KEY", "START_MS", "Clock", "Kept", "entry"]

KEY = bytes(range(32))
DAY_MS = 86_400_000
START_MS = 1_700_000_000_000


class Clock:
    """Goes on by a second at each look, and further when told to."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def __call__(self) -> int:
        self.now_ms += 1000
        return self.now_ms


class Kept:
    """A log, its database, and what an attacker with the database's key can do to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self.database = Database.create(path, KEY)
        self.log = TransparencyLog(self.database, now_ms=self.clock)

    def fill(self, count: int) -> None:
        """Log so many different entries."""
        for number in range(count):
            self.log.append(entry(f"model {number}", sensitive=number % 3 == 1))

    def sql(self, *statements: str) -> None:
        """Write to the database behind the log's back."""

        def work(connection: Connection) -> None:
            for statement in statements:
                connection.execute(statement)

        self.database.write(work)

    def swap(self, one: int, other: int) -> None:
        """Let two rows change places."""
        self.sql(
            f"UPDATE log_entries SET seq = -1 WHERE seq = {one}",
            f"UPDATE log_entries SET seq = {one} WHERE seq = {other}",
            f"UPDATE log_entries SET seq = {other} WHERE seq = -1",
        )

    def reopen(self) -> None:
        """Another process."""
        self.database.close()
        self.database = Database.open(self.path, KEY)
        self.log = TransparencyLog(self.database, now_ms=self.clock)


def entry(
    purpose: str, *, sensitive: bool = False, status: Status = Status.DONE, about: int | None = None
) -> Entry:
    return Entry(
        action=Action.NETWORK,
        purpose=purpose,
        data_class=DataClass.GENERAL,
        description="1 request",
        destination="example.com",
        status=status,
        about=about,
        sensitive=sensitive,
    )
