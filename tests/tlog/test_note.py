"""Signed notes and checkpoints: published ones verify, ours are like them, and nothing else passes."""

import base64
import contextlib
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from tlog.errors import BadNote
from tlog.merkle import EMPTY_ROOT, Head
from tlog.note import Checkpoint, Signer, Verifier, origin_of

# golang.org/x/mod/sumdb/note, note_test.go
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SECRET = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
NOTE = f"{TEXT}\n{PETER_LINE}"

# The key of Go's checksum database, and two of the checkpoints it published.
SUMDB = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
SUMDB_CHECKPOINTS = [
    (
        31700353,
        "go.sum database tree\n31700353\nqINS1GRFhWHwdkUeqLEoP4yEMkTBBzxBkGwGQlVlVcs=\n\n"
        "— sum.golang.org "
        "Az3grnmrIUEDFqHzAElIQCPNoRFRAAdFo47fooyWKMHb89k11GJh5zHIfNCOBmwn/C3YI8oW9/C8DJ87F61QqspBYwM=\n",
    ),
    (
        65209736,
        "go.sum database tree\n65209736\n5+uGFjx6xBZG8ip1+wi77v+grwbhhukIrxEUS8PXvRo=\n\n"
        "— sum.golang.org "
        "Az3grnbssgK7ubgFX36gVETtNv0U23qxyAhAMai2QUfeGa3nB/akvkMdlUErfcZz7l/R3cVtYspg3dxXABkGZZKdsQ8=\n",
    ),
]


def signer(seed: bytes, name: str) -> Signer:
    return Signer(Ed25519PrivateKey.from_private_bytes(seed), name)


SIGNER = signer(bytes(range(32)), "openclaw-core/device/56475aa75463474c")


def peter() -> Signer:
    return signer(base64.b64decode(PETER_SECRET)[1:], "PeterNeumann")


def test_the_published_note_verifies_and_is_signed_the_same_way() -> None:
    assert Verifier.parse(PETER).open(NOTE) == TEXT
    assert str(peter().verifier) == PETER
    assert peter().sign(TEXT) == NOTE


@pytest.mark.parametrize(("size", "note"), SUMDB_CHECKPOINTS)
def test_checkpoints_of_a_public_log_are_read(size: int, note: str) -> None:
    text = Verifier.parse(SUMDB).open(note)
    checkpoint = Checkpoint.parse(text)
    assert (checkpoint.origin, checkpoint.head.size) == ("go.sum database tree", size)
    assert str(checkpoint) == text


def test_signatures_of_other_keys_are_passed_over() -> None:
    for order in (PETER_LINE + ENOCH_LINE, ENOCH_LINE + PETER_LINE):
        assert Verifier.parse(PETER).open(f"{TEXT}\n{order}") == TEXT
        assert Verifier.parse(ENOCH).open(f"{TEXT}\n{order}") == TEXT
    with pytest.raises(BadNote, match="isn't signed by that key"):
        Verifier.parse(PETER).open(f"{TEXT}\n{ENOCH_LINE}")


def test_a_key_of_the_same_name_is_another_key() -> None:
    other = signer(bytes(32), "PeterNeumann")
    with pytest.raises(BadNote, match="isn't signed by that key"):
        Verifier.parse(PETER).open(other.sign(TEXT))


def test_one_false_signature_of_the_key_spoils_the_note() -> None:
    false = PETER_LINE.replace("x08go/ZJ", "x08go/ZK")
    for lines in (false, PETER_LINE + false, false + PETER_LINE):
        with pytest.raises(BadNote, match="signature is false"):
            Verifier.parse(PETER).open(f"{TEXT}\n{lines}")


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        TEXT,
        f"{TEXT}\n",
        NOTE[:-1],
        f"\x01{NOTE}",
        NOTE.replace("\n", "\r\n"),
        f"\udcff{NOTE}",
        f"{TEXT}\n— Bad Name {PETER_LINE.split()[2]}\n",
        f"{TEXT}\n— Bad+Name {PETER_LINE.split()[2]}\n",
        f"{TEXT}\n— Bad\u2003Name {PETER_LINE.split()[2]}\n",
        f"{NOTE}Unexpected line.\n",
        f"{TEXT}\n{PETER_LINE.replace('— ', '- ')}",
        f"{TEXT}\n— PeterNeumann x08go/ZJ=\n",
        f"{TEXT}\n— PeterNeumann x08gow==\n",
        f"{TEXT}\n{PETER_LINE * 101}",
        f"{'x' * 2**20}\n{NOTE}",
    ],
)
def test_what_is_no_signed_note_is_refused(note: str) -> None:
    with pytest.raises(BadNote, match="no signed note"):
        Verifier.parse(PETER).open(note)


def test_no_other_spelling_of_a_published_verifier_key_is_taken() -> None:
    others = {PETER[start:end] for start in range(len(PETER)) for end in range(start + 1, len(PETER) + 1)} - {PETER}
    others |= {PETER[:at] + chr(ord(PETER[at]) + 1) + PETER[at + 1 :] for at in range(len(PETER))}
    others |= {
        "",
        PETER + "\n",
        PETER.replace("c74f20a3", "C74F20A3"),
        PETER.replace("Peter", "\udcff"),
        # With key ids that fit: a key too long, and one of an unknown kind.
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    }
    for text in others:
        with pytest.raises(BadNote):
            Verifier.parse(text)
    assert str(Verifier.parse(PETER)) == PETER


def test_a_device_is_named_after_its_key_alone() -> None:
    verifier = SIGNER.verifier
    assert (
        verifier.name
        == origin_of("openclaw-core/device", verifier.public_key)
        == "openclaw-core/device/56475aa75463474c"
    )
    assert Verifier.parse(str(verifier)) == verifier


def test_our_checkpoint_is_what_the_specification_shows() -> None:
    checkpoint = Checkpoint("example.com/behind-the-sofa", Head(0, EMPTY_ROOT))
    assert str(checkpoint) == "example.com/behind-the-sofa\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    note = SIGNER.sign(str(checkpoint))
    assert note.startswith(f"{checkpoint}\n— openclaw-core/device/56475aa75463474c ")
    assert Checkpoint.parse(SIGNER.verifier.open(note)) == checkpoint


ROOT = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@pytest.mark.parametrize(
    "text",
    [
        *("", "\n", "o\n", "o\n1\n", f"o\n1\n{ROOT}", f"o\n1\n{ROOT}\n\n", f"o\n1\n{ROOT}\n\nx\n"),
        *(f"\n1\n{ROOT}\n", f"o\n\n{ROOT}\n", f"o\n01\n{ROOT}\n", f"o\n-1\n{ROOT}\n", f"o\n+1\n{ROOT}\n"),
        *(f"o\n 1\n{ROOT}\n", f"o\n1_0\n{ROOT}\n", f"o\n١\n{ROOT}\n", f"o\n{10**19}\n{ROOT}\n", "o\n1\nAAAA\n"),
        *(f"o\n1\n{ROOT[:-2]}V=\n", f"o\n1\n{ROOT[:-1]}\n", f"o\n1\n {ROOT}\n"),
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(BadNote, match="no checkpoint"):
        Checkpoint.parse(text)


def test_lines_that_other_logs_add_are_kept() -> None:
    text = f"o\n7\n{ROOT}\none\ntwo\n"
    assert Checkpoint.parse(text).extensions == ("one", "two")
    assert str(Checkpoint.parse(text)) == text


@pytest.mark.parametrize("text", ["", "no end", "a\tb\n", "a\x00\n", "\ud800\n"])
def test_what_would_not_be_a_note_is_not_signed(text: str) -> None:
    with pytest.raises(ValueError, match="text of a note"):
        SIGNER.sign(text)
    with pytest.raises(ValueError, match="name"):
        signer(bytes(32), "a name")


def test_the_key_does_not_leave_its_signer() -> None:
    with pytest.raises(TypeError, match="stays in memory"):
        pickle.dumps(SIGNER)


# Foreign text


LINES = st.lists(
    st.one_of(
        st.sampled_from([*NOTE.split("\n"), *str(Checkpoint("o", Head(3, EMPTY_ROOT))).split("\n"), "", "— ", "—"]),
        st.text(max_size=30),
    ),
    max_size=12,
).map("\n".join)


@given(st.one_of(st.text(), LINES))
@example(NOTE)
def test_any_text_is_a_signed_note_or_refused(note: str) -> None:
    try:
        text = Verifier.parse(PETER).open(note)
    except BadNote:
        return
    assert (text, note) == (TEXT, NOTE)


@given(st.one_of(st.text(), LINES))
def test_any_text_is_a_checkpoint_or_refused(text: str) -> None:
    with contextlib.suppress(BadNote):
        assert str(Checkpoint.parse(text)) == text


@given(st.one_of(st.text(), st.builds("+".join, st.lists(st.sampled_from(PETER.split("+")), max_size=4))))
def test_any_text_is_a_verifier_key_or_refused(text: str) -> None:
    with contextlib.suppress(BadNote):
        assert str(Verifier.parse(text)) == text


@given(st.data())
def test_no_change_to_a_signed_note_passes(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(NOTE) - 1))
    put = data.draw(st.one_of(st.just(""), st.characters()))
    changed = data.draw(st.sampled_from([NOTE[:at] + put + NOTE[at + 1 :], NOTE[:at] + put + NOTE[at:], NOTE[:at]]))
    if changed != NOTE:
        with pytest.raises(BadNote):
            Verifier.parse(PETER).open(changed)
