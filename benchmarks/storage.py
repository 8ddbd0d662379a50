"""The vault against plain SQLite: the same schema, statements and durability, in turns, warm; and its own promises.

Plain SQLite is Python's `sqlite3`, with WAL, `synchronous=FULL` and the same cache. Ours goes through
`vault.database`: encryption, one thread, and the rollback anchor, which follows every transaction.
"""

import os
import random
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import Bench, keychain_session, median, scratch
from vault.classes import DataClass
from vault.database import Database
from vault.home import Home
from vault.keychain import SystemKeychain
from vault.log.entries import Action, Entry
from vault.migrations import migrations
from vault.passphrase import KdfCost
from vault.store import Vault

_KEY = bytes(range(32))
_CHEAP = KdfCost(memory_kib=64, iterations=1, lanes=1)
_WORDS = ("river", "stone", "window", "letter", "garden", "evening", "paper", "market", "silver")
_MESSAGE = """
    INSERT INTO messages (id, session_id, role, text, status, created_ms) VALUES (?, 's', 'user', ?, 'complete', 0)
"""
_SEARCH = """
    SELECT m.id, snippet(messages_text, 0, '', '', '…', 16)
    FROM messages_text JOIN messages m ON m.n = messages_text.rowid
    WHERE messages_text MATCH ? ORDER BY messages_text.rank LIMIT 20
"""

Work = Callable[[Callable[..., object]], None]
Transaction = Callable[[Work], None]


def main() -> int:
    """Run it."""
    bench = Bench("storage", sys.argv[1:])
    rows, rounds = (4_000, 3) if bench.quick else (20_000, 7)
    with scratch() as name:
        folder = Path(name)
        _against_sqlite(bench, folder, rows, rounds)
        _log(bench, folder / "log", 10_000 if bench.quick else 100_000)
        _opening(bench, folder / "home")
    return bench.finish()


def _against_sqlite(bench: Bench, folder: Path, rows: int, rounds: int) -> None:
    bench.say(f"{rows} messages, {rounds} rounds against plain SQLite")
    times: dict[str, dict[str, list[float]]] = {
        kind: {"ours": [], "plain": []} for kind in ("insert", "read", "search")
    }
    for turn in range(rounds):
        order = [("ours", _ours), ("plain", _plain)]
        for name, opened in order if turn % 2 else reversed(order):
            path = folder / f"{name}-{turn}.db"
            with opened(path) as transaction:
                for kind, measure in (("insert", _insert), ("read", _read), ("search", _search)):
                    seconds = measure(transaction, rows)
                    times[kind][name].append(seconds)
    for kind, label, target in (
        ("insert", "inserts, 100 messages a transaction", 2.1),
        ("read", "point reads", 1.5),
        ("search", "full-text queries", 1.2),
    ):
        ours, plain = median(times[kind]["ours"]), median(times[kind]["plain"])
        bench.note(label, f"ours {ours * 1000:,.0f} ms, plain SQLite {plain * 1000:,.0f} ms")
        bench.figure(f"{kind}_ratio", f"{label}, ours / plain", ours / plain, target=("<=", target))


@contextmanager
def _ours(path: Path) -> Iterator[Transaction]:
    database = Database.create(path, _KEY)

    def transaction(work: Work) -> None:
        database.write(lambda connection: work(connection.execute))

    transaction(lambda run: _session(run))
    yield transaction
    database.close()


@contextmanager
def _plain(path: Path) -> Iterator[Transaction]:
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=128)
    connection.create_function("seal_field", 4, lambda _table, _row, _column, value: value)
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",
        "cache_size=-64000",
    ):
        connection.execute(f"PRAGMA {pragma}")
    for _, script in migrations():
        connection.executescript(_for_older_sqlite(script))

    def transaction(work: Work) -> None:
        connection.execute("BEGIN IMMEDIATE")
        work(connection.execute)
        connection.execute("COMMIT")

    transaction(lambda run: _session(run))
    yield transaction
    connection.close()


def _for_older_sqlite(script: str) -> str:
    """Without what Python's own SQLite may be too old for; none of it is measured."""
    statements = [line for line in script.splitlines() if "'secure-delete'" not in line]
    return "\n".join(statements).replace("unixepoch('subsec')", "0")


def _session(run: Callable[..., object]) -> None:
    run("INSERT INTO sessions (id, title, system_prompt, created_ms, updated_ms) VALUES ('s', '', '', 0, 0)")


def _insert(transaction: Transaction, rows: int) -> float:
    chance = random.Random(1)
    texts = [" ".join(chance.choices(_WORDS, k=30)) for _ in range(rows)]

    def some(first: int) -> Work:
        def work(run: Callable[..., object]) -> None:
            for number in range(first, first + 100):
                run(_MESSAGE, (f"m{number}", texts[number]))

        return work

    began = time.perf_counter()
    for first in range(0, rows, 100):
        transaction(some(first))
    return time.perf_counter() - began


def _read(transaction: Transaction, rows: int) -> float:
    chance = random.Random(2)
    wanted = [f"m{chance.randrange(rows)}" for _ in range(rows)]

    def work(run: Callable[..., object]) -> None:
        for name in wanted:
            run("SELECT text FROM messages WHERE id = ?", (name,)).fetchone()  # type: ignore[attr-defined]

    transaction(work)  # warm
    began = time.perf_counter()
    transaction(work)
    return time.perf_counter() - began


def _search(transaction: Transaction, _rows: int) -> float:
    pairs = [f"{first} {second}" for first in _WORDS for second in _WORDS if first < second]

    def work(run: Callable[..., object]) -> None:
        for words in pairs:
            run(_SEARCH, (words,)).fetchall()  # type: ignore[attr-defined]

    transaction(work)  # warm
    began = time.perf_counter()
    transaction(work)
    return time.perf_counter() - began


def _log(bench: Bench, folder: Path, entries: int) -> None:
    bench.say(f"a log of {entries} entries")
    folder.mkdir()
    home = Home.locate({"CLAW_HOME": str(folder)})
    entry = Entry(
        action=Action.NETWORK,
        purpose="benchmark",
        data_class=DataClass.GENERAL,
        description="an entry of usual length",
    )
    with Vault.create(home, "four random words", cost=_CHEAP) as vault:
        vault.log.append(entry)

        def many(count: int, *, logged: bool) -> float:
            def work(connection: object) -> None:
                for _ in range(count):
                    if logged:
                        vault.log.record(connection, entry)  # type: ignore[arg-type]

            began = time.perf_counter()
            vault._database.write(work)
            return time.perf_counter() - began

        alone = median([many(1, logged=False) for _ in range(50)])
        logged = median([many(1, logged=True) for _ in range(50)])
        bench.figure(
            "log_entry_ms", "a log entry adds to its transaction", (logged - alone) * 1000, "ms", ("<=", 1.0)
        )
        many(entries, logged=True)
        began = time.perf_counter()
        vault.log.verify()
        seconds = time.perf_counter() - began
        bench.figure(
            "log_verify_s", f"verifying {entries:,} entries", seconds, "s", ("<=", 10.0 * entries / 100_000)
        )


def _opening(bench: Bench, folder: Path) -> None:
    folder.mkdir()
    with keychain_session(folder) as environment:
        if environment is None:
            bench.note("opening by keychain", "no gnome-keyring here: not measured")
            return
        os.environ.update(environment)
        home = Home.locate({"CLAW_HOME": str(folder)})
        keychain = SystemKeychain()
        vault = Vault.create(home, "four random words", keychain=keychain, cost=_CHEAP)
        session = vault.conversations.start("", "")
        for number in range(500):
            vault.conversations.append(session.id, None, "user", f"message {number} " + " ".join(_WORDS))
        vault.close()
        whole, answers = [], []
        for _ in range(15):
            began = time.perf_counter()
            Vault.open_with_keychain(home, keychain).close()
            whole.append(time.perf_counter() - began)
            # What the keychain itself takes of that: the key, the anchor's mirror, and nothing else of ours.
            began = time.perf_counter()
            keychain.get("vault benchmark slot")
            keychain.get("vault benchmark anchor")
            answers.append(time.perf_counter() - began)
        beyond = (median(whole) - median(answers)) * 1000
        bench.note(
            "opening by keychain",
            f"{median(whole) * 1000:.0f} ms, of which the keychain {median(answers) * 1000:.0f}",
        )
        bench.figure("open_ms", "opening and closing beyond the keychain's answers", beyond, "ms", ("<=", 50.0))


if __name__ == "__main__":
    sys.exit(main())
