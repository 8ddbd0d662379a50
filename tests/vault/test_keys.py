"""The master key as an object: it does its work, is wiped for good, and can't be kept anywhere."""

import contextlib
import copy
import pickle
import threading
from collections.abc import Callable

import msgspec
import pytest
import sqlcipher3

from vault.errors import Locked, SecretKept
from vault.keys import KEY_BYTES, MasterKey, VaultId
from vault.memory import SecretBuffer

VAULT = VaultId("a" * 32)
SECRET = bytes(range(KEY_BYTES))


@pytest.fixture
def key() -> MasterKey:
    return MasterKey(SECRET, VAULT)


@pytest.mark.parametrize(
    "keep",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        lambda key: sqlcipher3.connect(":memory:").execute("SELECT ?", (key,)),
    ],
    ids=["pickle", "copy", "deepcopy", "sql"],
)
def test_a_master_key_can_not_be_kept(key: MasterKey, keep: Callable[[object], object]) -> None:
    with pytest.raises(SecretKept, match="nothing was stored"):
        keep(key)


@pytest.mark.parametrize("encode", [msgspec.json.encode, msgspec.msgpack.encode], ids=["json", "msgpack"])
def test_a_master_key_can_not_be_encoded(key: MasterKey, encode: Callable[[object], bytes]) -> None:
    with pytest.raises(TypeError):
        encode({"key": key})


def test_a_key_of_a_buffer_is_the_same_key_and_takes_the_buffer_along(key: MasterKey) -> None:
    buffer = SecretBuffer.of(SECRET)
    other = MasterKey(buffer, VAULT)
    assert other.derive("database") == key.derive("database")
    other.wipe()
    assert buffer.wiped


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_another_length_is_none(length: int) -> None:
    for secret in (bytes(length), SecretBuffer(length)):
        with pytest.raises(ValueError, match=f"32 bytes, not {length}"):
            MasterKey(secret, VAULT)


@pytest.mark.parametrize(
    "use",
    [lambda key: key.derive("database"), lambda key: key.authenticate("keyslots", b"data"), MasterKey.expose],
    ids=["derive", "authenticate", "expose"],
)
def test_a_wiped_key_does_nothing_any_more(key: MasterKey, use: Callable[[MasterKey], bytes]) -> None:
    use(key)
    key.wipe()
    with pytest.raises(Locked) as refused:
        use(key)
    assert refused.value.exit_code == 3


def test_whoever_uses_a_key_while_it_is_wiped_gets_the_true_one_or_none(key: MasterKey) -> None:
    together = threading.Barrier(2)
    derived: list[bytes] = []

    def use() -> None:
        together.wait()
        with contextlib.suppress(Locked):
            while True:
                derived.append(key.derive("database"))

    user = threading.Thread(target=use)
    user.start()
    together.wait()
    key.wipe()
    user.join()
    assert set(derived) <= {MasterKey(SECRET, VAULT).derive("database")}
