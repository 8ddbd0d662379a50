"""What a person is asked for to open or make a key slot: a new passphrase, a token's PIN, recovery shares."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import Console
from cli.errors import UsageError
from vault.errors import PassphraseMissing, RecoveryRefused, SharesMissing

if TYPE_CHECKING:
    from vault.hardware import Token

__all__ = ["PIN_FILE", "new_passphrase", "ready_token", "typed_shares"]

PIN_FILE = "CLAW_PIN_FILE"
"""Environment variable that names the file with a token's PIN."""

_TRIES = 3


def new_passphrase(console: Console, file: Path | None) -> str:
    """A passphrase for a new slot: from a file, or typed twice.

    Raises:
        PassphraseFileRefused: the file can't be used.
        PassphraseMissing: no file is named, and nobody can be asked; or none was chosen.
        VaultError: it is too short.
    """
    from vault.passphrase import MIN_LENGTH, check_length, read_passphrase_file

    if file is not None:
        passphrase = read_passphrase_file(file)
        check_length(passphrase)
        return passphrase
    if not console.can_ask_passphrase:
        raise PassphraseMissing(
            "Nobody can be asked for the new passphrase.", hint="Name a file: --new-passphrase-file FILE"
        )
    console.say(f"Choose a new passphrase of at least {MIN_LENGTH} characters; four random words are good.")
    for _ in range(_TRIES):
        first = console.typed_secret("New passphrase: ")
        if len(first) < MIN_LENGTH:
            console.say(f"That has {len(first)} characters; at least {MIN_LENGTH} are needed.")
        elif console.typed_secret("Again: ") == first:
            return first
        else:
            console.say("The two differ.")
    raise PassphraseMissing("No passphrase was chosen; nothing was changed.", hint="Start again when you have one.")


def ready_token(console: Console, label: str) -> "Token":
    """A token that is plugged in, with its PIN: from the file that `CLAW_PIN_FILE` names, or typed.

    Raises:
        HardwareError: it isn't plugged in, or is locked.
        PassphraseFileRefused: the file can't be used.
        UsageError: none is named, and nobody can be asked.
    """
    from vault.hardware import Token
    from vault.passphrase import read_pin_file

    module = console.settings.vault.pkcs11_module
    if warning := Token(module, label).warning():
        console.say(warning)
    if name := os.environ.get(PIN_FILE):
        return Token(module, label, read_pin_file(Path(os.path.expanduser(name))))
    if not console.can_ask_passphrase:
        raise UsageError(
            f"Nobody can be asked for the PIN of {label}.",
            hint=f"Set {PIN_FILE} to a file of mode 0600 that holds it.",
        )
    return Token(module, label, console.typed_secret(f"PIN of {label}: "))


def typed_shares(console: Console) -> list[str]:
    """As many shares as are needed, each asked for until it is one.

    Raises:
        SharesMissing: the person leaves.
    """
    from vault.recovery import read_share

    shares: list[str] = []
    needed = 1
    while len(shares) < needed:
        number = len(shares) + 1
        print(f"Share {number}: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise SharesMissing("No further share was given.", hint="Start again when you have them.")
        try:
            needed = read_share(line, number).threshold
        except RecoveryRefused as error:
            console.say(f"{error.message} {error.hint}")
            continue
        shares.append(line)
    return shares
