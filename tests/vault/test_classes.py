"""What may never be stored as it is, isn't: by the type checker, by SQLite, and by everything that encodes."""

import copy
import json
import logging
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlcipher3

from tests.fixtures.databases import KEY, decrypted
from tests.fixtures.processes import ROOT
from vault.classes import DataClass, HighlySensitive, TopSecret
from vault.database import Database
from vault.errors import SecretKept

CANARY = "the canary sang of pomegranates"

Secret = TopSecret[str] | HighlySensitive[str]
Bind = Callable[[Secret], Any]  # what mypy would refuse


@pytest.fixture(params=[TopSecret, HighlySensitive], ids=["top secret", "highly sensitive"])
def secret(request: pytest.FixtureRequest) -> Secret:
    wrapped: Secret = request.param(CANARY)
    return wrapped


class Holder(msgspec.Struct):
    held: Any


def test_a_secret_is_given_out_when_asked_for(secret: Secret) -> None:
    assert secret.reveal() == CANARY


@pytest.mark.parametrize("bind", [lambda s: (s,), lambda s: [s], lambda s: ("x", s)[1:]])
def test_a_secret_can_not_be_bound_to_a_statement(path: Path, secret: Secret, bind: Bind) -> None:
    kept = Database.create(path, KEY)
    with pytest.raises(SecretKept, match="nothing was stored") as refused:
        kept.write(lambda c: c.execute("INSERT INTO secrets VALUES ('name', ?)", bind(secret)))
    assert CANARY not in str(refused.value)
    assert kept.read(lambda c: c.execute("SELECT count(*) FROM secrets").fetchone()) == (0,)
    kept.close()
    assert CANARY.encode() not in decrypted(path, KEY)


def test_nor_by_any_other_way_into_sqlite(secret: Secret) -> None:
    connection = sqlcipher3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE kept (value)")
    connection.create_function("leak", 0, lambda: secret)
    with pytest.raises(SecretKept):
        connection.execute("INSERT INTO kept VALUES (:name)", {"name": secret})
    with pytest.raises(SecretKept):
        connection.executemany("INSERT INTO kept VALUES (?)", [("harmless",), (secret,)])
    with pytest.raises(sqlcipher3.OperationalError):
        connection.execute("INSERT INTO kept VALUES (leak())")
    assert connection.execute("SELECT value FROM kept").fetchall() == [("harmless",)]
    connection.close()


@pytest.mark.parametrize(
    "write",
    [
        pickle.dumps,
        lambda s: pickle.dumps({"deep": [s]}, protocol=0),
        copy.copy,
        copy.deepcopy,
        str,
        bytes,
        print,
        "{}".format,
        "{:>40}".format,
        lambda s: f"{s}",
        lambda s: "%s" % s,  # noqa: UP031
        json.dumps,
        lambda s: json.dumps({"deep": [s]}, default=str),
        lambda s: json.dumps(s, default=vars),
        msgspec.json.encode,
        msgspec.msgpack.encode,
        msgspec.to_builtins,
        lambda s: msgspec.json.encode(Holder(s)),
        lambda s: msgspec.msgpack.encode([Holder(s)], enc_hook=str),
        lambda s: msgspec.json.encode(s, enc_hook=lambda value: value.__dict__),
        "".join,
        bytearray,
        memoryview,
        iter,
    ],
)
def test_a_secret_is_not_written_anywhere_by_accident(
    secret: Secret, write: Callable[[object], object], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((SecretKept, TypeError, AttributeError)) as refused:
        write(secret)
    assert CANARY not in str(refused.value)
    assert CANARY not in "".join(capsys.readouterr())


def test_what_describes_a_secret_says_what_it_is_and_not_what_it_holds(
    secret: Secret, caplog: pytest.LogCaptureFixture
) -> None:
    name = type(secret).__name__
    logging.getLogger("test").warning("holding %r", Holder(secret))
    assert repr(secret) == f"{secret!r}" == f"<{name}>"
    assert caplog.messages == [f"holding Holder(held=<{name}>)"]
    assert not hasattr(secret, "__dict__")


def test_the_classes_are_named_strictest_first() -> None:
    assert [*DataClass] == ["top-secret", "highly-sensitive", "medium", "general"]


SNIPPET = """
from vault.classes import HighlySensitive, TopSecret
from vault.connection import Connection
from vault.fields import FieldCipher

def keep(c: Connection, fields: FieldCipher, key: TopSecret[bytes], file: HighlySensitive[bytes]) -> None:
    c.execute("INSERT INTO t VALUES (?)", (b"plain",))
    c.execute("INSERT INTO t VALUES (?)", (fields.seal("t", "1", "a", file),))
    c.execute("INSERT INTO t VALUES (?)", (key,))  # refused
    c.execute("INSERT INTO t VALUES (?)", (file,))  # refused
    c.execute("INSERT INTO t VALUES (?, ?)", [1, key])  # refused
    fields.seal("t", "1", "a", key)  # refused
    fields.seal("t", "1", "a", b"plain")  # refused
    c.execute("INSERT INTO t VALUES (?)", (fields.open("t", "1", "a", b""),))  # refused
"""


def test_the_type_checker_refuses_a_secret_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "snippet.py").write_text(SNIPPET)
    checked = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml"),
            *("--cache-dir", tmp_path / "cache", tmp_path / "snippet.py"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    refused = {int(line.split(":")[1]) for line in checked.stdout.splitlines() if ": error:" in line}
    expected = {n for n, line in enumerate(SNIPPET.splitlines(), 1) if line.endswith("# refused")}
    assert refused == expected, checked.stdout + checked.stderr
