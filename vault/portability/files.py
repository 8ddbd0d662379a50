"""Files and folders that appear whole or not at all, readable by their owner alone."""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from vault.durable import storage_error, sync_folder
from vault.errors import DiskFull, VaultError

if TYPE_CHECKING:
    from vault.home import Home

__all__ = [
    "StagedFile",
    "StagedFolder",
    "check_not_ours",
    "check_replaceable",
    "open_plain",
    "staged_file",
    "staged_folder",
]

_AGE = b"age-encryption.org/v1\n"
_ABANDONED_S = 3600


class StagedFile:
    """A file on its way to its place.

    Attributes:
        bytes: How many were written.
    """

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._file: IO[bytes] = os.fdopen(descriptor, "wb")
        self._hash = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> int:
        """Append."""
        self._hash.update(data)
        self.bytes += len(data)
        return self._file.write(data)

    @property
    def sha256(self) -> str:
        """Of what was written, in hex."""
        return self._hash.hexdigest()

    def flush(self) -> None:
        """Hand all of it to the system, where it may lack room."""
        self._file.flush()

    def sync(self) -> None:
        """Have all of it on the disk."""
        self.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close it, synced or not."""
        with contextlib.suppress(OSError):  # what was never synced is of no use
            self._file.close()


class StagedFolder:
    """A folder on its way to its place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o700)

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[StagedFile]:
        """A new file in it, or in a folder of it."""
        path = self.path / name
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700)
        file = StagedFile(path)
        try:
            yield file
            file.flush()
        finally:
            file.close()

    def sync(self) -> None:
        """Have all of it on the disk. At the end, because the first sync then takes most of the others along."""
        for folder, _, names in os.walk(self.path):
            for name in names:
                _sync(Path(folder) / name)
            _sync_names(Path(folder))


@contextlib.contextmanager
def staged_file(path: Path, *, replace: bool = False) -> Iterator[StagedFile]:
    """Write a file beside its place; it is put there when the block ends well.

    Args:
        path: The place.
        replace: Whether something that is there may go.

    Raises:
        VaultError: something is there, or nothing can be written there.
        DiskFull: there is no room; nothing of it is left.
    """
    path = _named(path)
    with _trouble_told(path):
        if not replace and os.path.lexists(path):
            raise VaultError(f"{path} is there already; it was not touched.", hint="Choose another name.")
        staged = _beside(path)
        file: StagedFile | None = None
        try:
            file = StagedFile(staged)
            yield file
            file.sync()
            file.close()
            staged.replace(path)
        except BaseException:
            if file:
                file.close()
            staged.unlink(missing_ok=True)
            raise
        _sync_names(path.parent)


@contextlib.contextmanager
def staged_folder(path: Path) -> Iterator[StagedFolder]:
    """Fill a folder beside its place; it is put there when the block ends well.

    Args:
        path: The place: nothing, or an empty folder.

    Raises:
        VaultError, DiskFull: as `staged_file` says.
    """
    path = _named(path)
    occupied = VaultError(f"{path} is there already, and isn't an empty folder.", hint="Choose another name.")
    with _trouble_told(path):
        if os.path.lexists(path):
            if path.is_symlink() or not path.is_dir() or any(path.iterdir()):
                raise occupied
            if path.samefile("."):
                raise VaultError("The folder that you are in can't be replaced.", hint="Name another one.")
        staged = _beside(path)
        try:
            folder = StagedFolder(staged)
            yield folder
            folder.sync()
            try:
                staged.rename(path)
            except OSError as error:
                if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise occupied from None
                raise
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        _sync_names(path.parent)


def open_plain(path: Path) -> IO[bytes]:
    """Open a file to read, and nothing else: reading a pipe or a device might never end.

    Raises:
        OSError: it can't be read, or is no plain file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    return os.fdopen(descriptor, "rb")


def check_not_ours(path: Path, home: "Home") -> None:
    """Refuse to write where this program keeps its own files, by whatever name.

    Raises:
        VaultError: it lies in a folder of ours, or is a file of ours.
    """
    folders = (home.vault, home.models, home.data / "run")
    files = (home.data, home.config_file, home.data / "locked", home.data / "paused")
    named = _real(path.parent) / path.name  # a link in our folder is ours too, wherever it leads
    for place in (named, _real(path)):
        if any(map(place.is_relative_to, map(_real, folders))) or place in map(_real, files):
            raise VaultError(
                f"{path} is where the vault keeps its own files; nothing was written.",
                hint=f"Choose a place outside {home.data}.",
            )


def check_replaceable(path: Path) -> None:
    """Refuse to put a backup in the place of anything but one.

    Raises:
        VaultError: something else is there.
    """
    if not os.path.lexists(path):
        return
    try:
        with open_plain(path) as file:
            replaceable = not path.is_symlink() and file.read(len(_AGE)) == _AGE
    except OSError:
        replaceable = False
    if not replaceable:
        raise VaultError(
            f"{path} is there already and is no backup; it was not touched.", hint="Choose another name."
        )


@contextlib.contextmanager
def _trouble_told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        told = storage_error(error, path)
        if isinstance(told, DiskFull):
            raise told from error
        raise VaultError(f"{path} can't be written: {error.strerror}.", hint="Choose another place.") from error


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _named(path: Path) -> Path:
    """The same place by a name of its own: `.` has none."""
    return path.resolve() if path.name in ("", "..") else path


def _beside(path: Path) -> Path:
    """A name of its own in the same folder; those that a killed run left there go."""
    for left in path.parent.glob(f".{_escaped(path.name)}.*.part"):
        with contextlib.suppress(OSError):
            if left.lstat().st_mtime < time.time() - _ABANDONED_S:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_names(folder: Path) -> None:
    try:
        sync_folder(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:  # file systems that have no such thing
            raise
