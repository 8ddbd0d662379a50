"""The rollback anchor's second home, the OS keychain: it stays where it is when all files are put back.

One item per vault holds the epoch and the head of the transparency log, with a MAC under a key of the vault's. It
is written when the vault is closed, not at each commit: a keychain takes a fifth of a second. It says "at least".
Not on macOS: there, writing an item takes back the person's "Always Allow" for it.
"""

import base64
import hmac
import sys

import msgspec

from vault.anchor import LogHead
from vault.guard import Newest
from vault.keychain import Keychain
from vault.keys import MasterKey, VaultId

__all__ = ["Mirror", "mirror_account"]

_USE = "anchor-mirror"
_NOT_OURS = Newest(0, LogHead(0, b""), ours=False)


class _Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    epoch: int
    size: int
    root: bytes
    state: bytes
    mac: bytes


def mirror_account(vault_id: VaultId) -> str:
    """The keychain's account name of a vault's mirror."""
    return f"vault {vault_id[:12]} anchor"


class Mirror:
    """One vault's item in the keychain.

    Args:
        keychain: Where it is kept.
        master: The vault's key.
    """

    POSSIBLE = sys.platform != "darwin"

    def __init__(self, keychain: Keychain, master: MasterKey) -> None:
        self.keychain = keychain
        self._key = master.derive(_USE)
        self._account = mirror_account(master.vault_id)

    @classmethod
    def where_possible(cls, keychain: Keychain | None, master: MasterKey) -> "Mirror | None":
        """The mirror, if a keychain answers whose items can be written often."""
        return cls(keychain, master) if keychain and cls.POSSIBLE else None

    def of(self, master: MasterKey) -> "Mirror":
        """The mirror of another key of the same vault."""
        return Mirror(self.keychain, master)

    def read(self) -> Newest | None:
        """What the keychain remembers; `None` when it holds nothing of this vault's.

        Raises:
            KeychainError: the keychain can't be asked.
        """
        text = self.keychain.get(self._account)
        if text is None:
            return None
        try:
            records = msgspec.msgpack.decode(base64.b64decode(text, validate=True), type=list[_Record])
        except (ValueError, msgspec.DecodeError):
            return _NOT_OURS
        own = [record for record in records if hmac.compare_digest(record.mac, self._mac(record))]
        newest = max(own, key=lambda record: record.epoch, default=None)
        if newest is None:
            return _NOT_OURS
        return Newest(newest.epoch, LogHead(newest.size, newest.root), newest.state)

    def write(self, newest: Newest, *, also: "Mirror | None" = None) -> None:
        """Remember a state.

        Args:
            newest: The state.
            also: The mirror of the key that is about to take this one's place: whichever of the two opens the vault
                after a crash finds its own.

        Raises:
            KeychainError: the keychain didn't take it.
        """
        records = [self._record(newest), *([also._record(newest._replace(state=b""))] if also else [])]
        self.keychain.set(self._account, base64.b64encode(msgspec.msgpack.encode(records)).decode())

    def advance(self, newest: Newest) -> None:
        """Remember a state, unless a newer one, or a newer key's, is remembered already; errors as in `write`."""
        known = self.read()
        if known is None or (known.ours and known.epoch <= newest.epoch):
            self.write(newest)

    def _record(self, newest: Newest) -> _Record:
        record = _Record(newest.epoch, newest.log.size, newest.log.root, newest.state, b"")
        return msgspec.structs.replace(record, mac=self._mac(record))

    def _mac(self, record: _Record) -> bytes:
        return hmac.digest(self._key, msgspec.msgpack.encode(msgspec.structs.replace(record, mac=b"")), "sha256")
