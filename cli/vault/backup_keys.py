"""What encrypts a backup, and what opens it: a passphrase of its own, or age's recipients and identities."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import Console
from cli.errors import UsageError
from vault.errors import PassphraseMissing, WrongPassphrase

if TYPE_CHECKING:
    from vault.portability.age import Opener, Sealer
    from vault.portability.age_passphrase import Passphrase

__all__ = ["add_passphrase_file", "opener", "sealer"]

_TRIES = 3


def add_passphrase_file(parser: argparse.ArgumentParser) -> None:
    """Declare the argument that names a file with the backup's own passphrase."""
    parser.add_argument(
        "--backup-passphrase-file",
        type=Path,
        metavar="FILE",
        help="a 0600 file that holds the passphrase of the backup, which is another than the vault's",
    )


def sealer(console: Console, recipients: list[str], passphrase_file: Path | None) -> "Sealer":
    """What encrypts a new backup: the recipients if there are any, else a passphrase.

    Raises:
        UsageError: both are named.
        PassphraseMissing: there is none, and nobody to ask.
    """
    if recipients:
        if passphrase_file:
            raise UsageError("A backup opens by its recipients' identities or by a passphrase, not by either.")
        from vault.portability.age_recipients import Recipients

        return Recipients(recipients)
    from vault.passphrase import MIN_LENGTH, read_passphrase_file
    from vault.portability.age_passphrase import Passphrase

    if passphrase_file:
        chosen = read_passphrase_file(passphrase_file)
        if len(chosen) < MIN_LENGTH:
            raise UsageError(f"A backup's passphrase has at least {MIN_LENGTH} characters.")
        return Passphrase(chosen)
    _require_somebody(console, "Name a file: --backup-passphrase-file FILE, or recipients: --recipient age1…")
    console.say(
        "The backup gets a passphrase of its own. Whoever has the file and that passphrase has everything in it;\n"
        "without the passphrase nobody can open it. Write it down, and keep it where the vault isn't."
    )
    for _ in range(_TRIES):
        first = console.typed_secret("Passphrase of the backup: ")
        if len(first) < MIN_LENGTH:
            console.say(f"That has {len(first)} characters; at least {MIN_LENGTH} are needed.")
        elif console.typed_secret("Again: ") == first:
            return Passphrase(first)
        else:
            console.say("The two differ.")
    raise PassphraseMissing("No passphrase was chosen.", hint="Start again when you have one.")


def opener(console: Console, file: Path, identity: Path | None, passphrase_file: Path | None) -> "Opener":
    """What opens a backup, as the backup itself asks for.

    Raises:
        ImportRefused: it can't be read.
        BackupRefused: it is no backup.
        UsageError: it opens by an identity, and none is named.
        WrongPassphrase: another passphrase opens it.
        PassphraseMissing: there is none, and nobody to ask.
    """
    from vault.portability.age import opens_by_passphrase

    if not opens_by_passphrase(file):
        if not identity:
            raise UsageError(
                f"{file} was encrypted to a recipient of age.",
                hint="Name the file of the identity: --identity FILE",
            )
        from vault.portability.age_recipients import Identities

        return Identities.read(identity)
    from vault.passphrase import read_passphrase_file
    from vault.portability.age_passphrase import Passphrase

    if passphrase_file:
        return _checked(file, Passphrase(read_passphrase_file(passphrase_file)))
    _require_somebody(console, "Name a file: --backup-passphrase-file FILE")
    for left in range(_TRIES - 1, -1, -1):
        try:
            return _checked(file, Passphrase(console.typed_secret("Passphrase of the backup: ")))
        except WrongPassphrase as error:
            if not left:
                raise
            console.say(error.message)
    raise AssertionError("unreachable")


def _checked(file: Path, passphrase: "Passphrase") -> "Passphrase":
    with file.open("rb") as encrypted:
        passphrase.check(encrypted)
    return passphrase


def _require_somebody(console: Console, hint: str) -> None:
    if not console.can_ask_passphrase:
        raise PassphraseMissing("Nobody can be asked for the passphrase of the backup.", hint=hint)
