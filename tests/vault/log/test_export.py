"""The log as a file: complete, private, verified without the vault, and anything else refused."""

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.vault.log.kept import START_MS, Kept
from tlog.note import Checkpoint
from vault.classes import TopSecret
from vault.errors import ClawError, LogDamaged, VaultError
from vault.log import verify_export
from vault.log.checkpoint import signer_of


@pytest.fixture
def exported(filled: Kept, tmp_path: Path) -> Path:
    """An export of a log whose first entries have gone."""
    filled.database.write(lambda c: filled.log.expire(c, START_MS + 5_001))
    file = tmp_path / "log.jsonl"
    with file.open("wb") as out:
        assert filled.log.export(out) == 20
    return file


def test_an_export_is_verified_by_itself_and_by_a_key_one_has(filled: Kept, exported: Path) -> None:
    verifier = filled.log.verifier()
    whole = filled.log.verify()
    assert verify_export(exported) == (whole, verifier)
    assert verify_export(exported, verifier) == (whole, verifier)
    with pytest.raises(LogDamaged, match="isn't signed by that key"):
        verify_export(exported, signer_of(TopSecret(bytes(32))).verifier)


def test_another_tool_can_verify_it_by_the_words_of_the_format(exported: Path) -> None:
    header, *lines = [json.loads(line) for line in exported.read_text().splitlines()]
    hashes = []
    for line in lines:
        commitment = base64.b64decode(line["commitment"])
        if line["salt"] is not None:
            opened = hmac.new(base64.b64decode(line["salt"]), line["body"].encode(), hashlib.sha256).digest()
            assert opened == commitment
            assert json.loads(line["body"])["seq"] == line["seq"]
        hashes.append(hashlib.sha256(b"\x00" + commitment).digest())

    def root(leaves: list[bytes]) -> bytes:
        if len(leaves) == 1:
            return leaves[0]
        half = 1 << ((len(leaves) - 1).bit_length() - 1)
        return hashlib.sha256(b"\x01" + root(leaves[:half]) + root(leaves[half:])).digest()

    assert [line["body"] is None for line in lines] == [True] * 5 + [False] * 15
    assert header["checkpoint"].split("\n")[1:3] == ["20", base64.b64encode(root(hashes)).decode()]


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda lines: lines[:8] + lines[9:], "Entry 7 is missing."),
        (lambda lines: lines[:-1], "The log was cut: 19 entries are there, the checkpoint says 20."),
        (lambda lines: [*lines[:8], lines[9], lines[8], *lines[10:]], "Entry 7 is missing."),
        (lambda lines: [*lines, lines[1]], "Entry 0 stands where entry 20 belongs."),
        (lambda lines: [*lines[:8], lines[8].replace(b"model 7", b"model 8"), *lines[9:]], "Entry 7 was changed."),
        (
            lambda lines: [lines[0], lines[2].replace(b":1,", b":0,"), *lines[2:]],
            "The checkpoint was signed for other entries than those that are there.",
        ),
        (lambda lines: [*lines[:8], b"\n", *lines[8:]], "its line 9 is something else"),
        (lambda lines: [*lines[:8], b"x" * 2**20, *lines[8:]], "its line 9 is something else"),
        (lambda lines: [*lines[:-1], lines[-1][:-1]], "its line 21 is something else"),
        (lambda lines: lines[1:], "its first line is something else"),
        (lambda lines: lines[:0], "its first line is something else"),
    ],
)
def test_an_edited_export_is_refused(exported: Path, edit: object, named: str) -> None:
    assert callable(edit)
    exported.write_bytes(b"".join(edit(exported.read_bytes().splitlines(keepends=True))))
    with pytest.raises(LogDamaged) as refused:
        verify_export(exported)
    assert named in refused.value.message


def test_an_export_signed_by_somebody_else_is_whole_but_not_ours(filled: Kept, exported: Path) -> None:
    signer = signer_of(TopSecret(bytes(32)))
    header, *lines = exported.read_bytes().splitlines(keepends=True)
    said = json.loads(header)
    said["verifier_key"] = str(signer.verifier)
    said["checkpoint"] = signer.sign(str(Checkpoint(signer.verifier.name, filled.log.verify().head)))
    exported.write_bytes(b"".join([json.dumps(said).encode() + b"\n", *lines]))
    assert verify_export(exported)[1] == signer.verifier
    with pytest.raises(LogDamaged, match="isn't signed by that key"):
        verify_export(exported, filled.log.verifier())


def test_an_export_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="can't be read"):
        verify_export(tmp_path / "nowhere")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_bytes_and_no_change_make_more_than_a_refusal(exported: Path, data: st.DataObject) -> None:
    real = exported.read_bytes()
    at = data.draw(st.integers(0, len(real) - 1))
    changed = data.draw(
        st.one_of(
            st.binary(max_size=200),
            st.binary(max_size=3).map(lambda put: real[:at] + put + real[at:]),
            st.binary(max_size=3).map(lambda put: real[:at] + put + real[at + 1 :]),
            st.just(real[:at]),
        )
    )
    file = exported.with_name("changed.jsonl")
    file.write_bytes(changed)
    try:
        verified, _ = verify_export(file)
    except ClawError:
        return
    finally:
        file.unlink()
    assert verified.head.size == 20
    assert json.loads(changed.splitlines()[0]) == json.loads(real.splitlines()[0])
