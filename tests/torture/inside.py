"""Attacks by somebody who got hold of the database's key, but not of those of the fields and of the log."""

from collections.abc import Callable, Iterator

from tests.torture.scenes import Attack
from tests.vault.log.test_tampering import rewrite
from vault.connection import Connection
from vault.store import Vault

__all__ = ["inside_attacks"]


def inside_attacks() -> Iterator[Attack]:
    """Sealed fields moved; entries of the transparency log changed, taken away and moved; its checkpoint forged."""
    yield from _moved_fields()
    yield from _forged_entries()


def _moved_fields() -> Iterator[Attack]:
    newest = "(SELECT max(n) FROM attachments)"
    older = f"(SELECT text FROM attachments WHERE n < {newest} ORDER BY n DESC LIMIT 1)"
    key = "(SELECT value FROM secrets WHERE name = 'device-signing-key')"
    for detail, sql in (
        ("to another row", f"UPDATE attachments SET text = {older} WHERE n = {newest}"),
        ("with its row's number", f"UPDATE attachments SET n = n + 1 WHERE n = {newest}"),
        ("to another table", f"UPDATE secrets SET value = {older} WHERE name = 'device-signing-key'"),
        ("from another table", f"UPDATE attachments SET text = {key} WHERE n = {newest}"),
    ):
        yield Attack("sealed field moved", detail, {}, _running(sql))


def _forged_entries() -> Iterator[Attack]:
    edited = "body = CAST(replace(body, 'slot', 'spot') AS BLOB)"
    for seq in (0, 2, 4):
        swap = [
            f"UPDATE log_entries SET seq = -1 WHERE seq = {seq}",
            f"UPDATE log_entries SET seq = {seq} WHERE seq = {seq + 1}",
            f"UPDATE log_entries SET seq = {seq + 1} WHERE seq = -1",
        ]
        for kind, statements in (
            ("log entry edited", [f"UPDATE log_entries SET {edited} WHERE seq = {seq}"]),
            ("log entry deleted", [f"DELETE FROM log_entries WHERE seq = {seq}"]),
            ("log entries reordered", swap),
            ("log cut off", [f"DELETE FROM log_entries WHERE seq > {seq}"]),
        ):
            yield Attack(kind, f"{seq}", {}, _running(*statements))
            yield Attack(kind, f"{seq}, all hashes recomputed", {}, _running(*statements, then=rewrite))
    for detail, checkpoint in (
        ("of another size", "replace(checkpoint, char(10) || size || char(10), char(10) || '1' || char(10))"),
        ("without a signature", "substr(checkpoint, 1, instr(checkpoint, char(10) || char(10)))"),
        ("none", "''"),
    ):
        sql = f"UPDATE log_state SET checkpoint = {checkpoint}"
        yield Attack("log checkpoint forged", detail, {}, _running(sql))


def _nothing_more(_connection: Connection) -> None:
    pass


def _running(*statements: str, then: Callable[[Connection], object] = _nothing_more) -> Callable[[Vault], None]:
    def work(connection: Connection) -> None:
        for statement in statements:
            if not connection.execute(statement).rowcount:
                raise RuntimeError(f"this attack changes nothing: {statement}")
        then(connection)

    return lambda vault: vault.database.write(work)
