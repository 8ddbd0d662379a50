"""An orchestrator's folder: its configuration, and the keys that `init` made."""

import os
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.invites import federation_digest
from orchestrator.content import Content
from orchestrator.database import Database
from orchestrator.errors import OrchestratorError
from orchestrator.tls import pin_of
from orchestrator.unsigned import Unsigned

__all__ = ["CONFIGURATION", "DEFAULT_FOLDER", "Home", "Settings"]

CONFIGURATION = "orchestrator.toml"
DEFAULT_FOLDER = Path("federation")
_SEED_BYTES = 32


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the configuration.

    Attributes:
        name: Of the federation, for people.
        address: Where devices reach it: `https://HOST:PORT`.
        listen: Address and port that `serve` listens on.
        database: `sqlite:///FILE` (relative to the folder), or `postgresql://…`.
        content: Where released numbers go: a folder (relative too), or `s3://BUCKET/PREFIX`.
        connections: How many a replica keeps at a time.
        unsigned_a_minute: How many requests that no device signed a replica answers in a minute.
        unsigned_a_minute_of_address: How many of them from one address; 0 sets no limit, as behind a load balancer
            that passes TLS through: all requests come from its address.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    address: Annotated[str, msgspec.Meta(pattern=r"^https://[^\s/?#@]+$")]
    listen: Annotated[str, msgspec.Meta(pattern=r"^\S+:[0-9]{1,5}$")] = "0.0.0.0:8470"
    database: str = "sqlite:///orchestrator.db"
    content: str = "content"
    connections: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 2_000
    unsigned_a_minute: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 60_000
    unsigned_a_minute_of_address: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] = 6_000


class Home:
    """An orchestrator's folder.

    Args:
        folder: That `init` made.

    Raises:
        OrchestratorError: it isn't one, or its configuration can't be read.

    Attributes:
        folder: The same.
        settings: What stands in the configuration.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / CONFIGURATION
        try:
            found = tomllib.loads(path.read_text())
            self.settings = msgspec.convert(found, Settings)
        except FileNotFoundError:
            raise OrchestratorError(
                f"{folder} is no orchestrator's folder.",
                hint="`claw-orchestrator init` makes one; --folder names it.",
            ) from None
        except (OSError, UnicodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise OrchestratorError(f"{path} can't be used: {error}") from None

    def database(self) -> Database:
        """The database that the configuration names, or `CLAW_ORCHESTRATOR_DATABASE` (it may hold a password)."""
        url = os.environ.get("CLAW_ORCHESTRATOR_DATABASE") or self.settings.database
        begins = "sqlite:///"
        if url.startswith(begins) and not Path(url.removeprefix(begins)).is_absolute():
            url = f"{begins}{(self.folder / url.removeprefix(begins)).absolute()}"
        return Database(url)

    def unsigned(self) -> Unsigned:
        """How much is done for those who don't sign."""
        return Unsigned(self.settings.unsigned_a_minute_of_address, self.settings.unsigned_a_minute)

    def content(self) -> Content:
        """Where released numbers go."""
        place = self.settings.content
        return Content(place if "://" in place else str((self.folder / place).absolute()))

    @property
    def registrar_folder(self) -> Path:
        """The registrar's; it can be moved to another machine, with the configuration."""
        return self.folder / "registrar"

    @property
    def certificate(self) -> Path:
        """The TLS certificate."""
        return self.folder / "keys" / "tls.crt"

    @property
    def certificate_key(self) -> Path:
        """Its key."""
        return self.folder / "keys" / "tls.key"

    def log_key(self) -> Ed25519PrivateKey:
        """Signs the log of releases."""
        return _key(self.folder / "keys" / "log.key")

    def registrar_key(self) -> Ed25519PrivateKey:
        """Vouches for devices."""
        return _key(self.registrar_folder / "registrar.key")

    def registrar(self) -> bytes:
        """The registrar's public key, 32 bytes."""
        return _public(self.folder / "keys" / "registrar.pub")

    def log(self) -> bytes:
        """The public key of the log of releases, 32 bytes."""
        return _public(self.folder / "keys" / "log.pub")

    def pins(self) -> tuple[bytes, bytes]:
        """SHA-256 of the public keys that devices take: the certificate's, and a spare one's."""
        return pin_of(self.certificate_key), pin_of(self.folder / "keys" / "spare.key")

    def federation(self) -> bytes:
        """What stands for the federation in everything that is signed; 32 bytes."""
        return federation_digest(self.registrar(), self.log())


def _key(path: Path) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(_bytes(path))


def _public(path: Path) -> bytes:
    return _bytes(path)


def _bytes(path: Path) -> bytes:
    try:
        data = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise OrchestratorError(
            f"{path} can't be read: {getattr(error, 'strerror', None) or 'it holds no key'}.",
            hint="Put it back from a backup of the folder.",
        ) from None
    if len(data) != _SEED_BYTES:
        raise OrchestratorError(f"{path} holds no key.", hint="Put it back from a backup of the folder.")
    return data
