"""What a verb of the command line is given: the home, the settings, the vault when it asks, and a place to print.

Data go to stdout, everything else to stderr.
"""

import contextlib
import getpass
import os
import sys
import termios
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from vault.errors import KeychainError, NoVault, PassphraseMissing, VaultError
from vault.home import Home
from vault.sanitize import sanitize

if TYPE_CHECKING:
    from vault.database import Database
    from vault.settings import Settings
    from vault.store import Vault

__all__ = ["Console", "columns", "counted", "passphrase_file_from", "size"]

_TRIES = 3


@dataclass
class Console:
    """One run of the command.

    Attributes:
        home: Where the person's files lie.
        passphrase_file: From `--passphrase-file` or `CLAW_PASSPHRASE_FILE`.
    """

    home: Home = field(default_factory=Home.locate)
    passphrase_file: Path | None = None

    @cached_property
    def settings(self) -> "Settings":
        """The person's settings, read when first asked for."""
        from vault.settings import load_settings

        return load_settings(self.home.config_file)

    @property
    def can_ask(self) -> bool:
        """Whether somebody sits at a terminal who could answer."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    @property
    def can_ask_passphrase(self) -> bool:
        """Whether there is a terminal to type a passphrase at, even while stdin is a pipe or a file."""
        if not sys.stderr.isatty():
            return False
        try:
            os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        except OSError:
            return sys.stdin.isatty()
        return True

    def say(self, text: str = "") -> None:
        """Tell the person something that isn't data."""
        print(sanitize(text), file=sys.stderr, flush=True)

    def confirm(self, question: str) -> bool:
        """Ask a yes-or-no question; *no* where nobody can answer. What was typed before it is no answer to it."""
        if not self.can_ask:
            return False
        with contextlib.suppress(termios.error):
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
        print(f"{sanitize(question)} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def open_vault(self, *, create: bool = False, ask: bool = True, due: bool = False) -> "Vault":
        """Unlock the vault, as `cli.unlocking` says.

        Args:
            create: Make one, with the person's help, where there is none.
            ask: Ask for the passphrase where nothing else opens it.
            due: Do what is due, too: new keys, and letting go of what isn't kept any longer.

        Raises:
            NoVault: there is none, and `create` is false.
            Locked: nothing opened it.
            VaultError: it is damaged, or can't be read.
        """
        from cli.unlocking import Unlocking
        from vault.keyslots import Keyslots
        from vault.memory import harden_process

        try:
            slots = Keyslots.read(self.home.keyslots)
        except NoVault:
            if not create:
                raise
            return self.create_vault()
        harden_process()
        _ = self.settings  # if they are wrong, that is to be known before anybody types a passphrase
        unlocking = Unlocking(self, slots)
        vault = unlocking.open(ask=ask)
        if due:
            from cli.vault.rotate import rotate_if_due

            try:
                vault = rotate_if_due(vault, self)
            except VaultError as error:
                self.say(f"The keys were not rotated. {error.message}")
                vault = unlocking.open(ask=ask)
        return self.ready(vault, due=due)

    def ready(self, vault: "Vault", *, due: bool = False) -> "Vault":
        """Take note of an opening, and tell the person what is wrong with the vault. `due` as in `open_vault`."""
        from vault.guard import ACCEPT
        from vault.lock import LockLimits
        from vault.pause import PauseLatch

        vault.watch.limit(LockLimits(on_suspend=self.settings.vault.lock_on_suspend))
        vault.watch.keep_held = self._keep_held
        if vault.alarm:
            self.say(f"ALARM: {vault.alarm}\n{ACCEPT}")
            return vault
        if vault.disk_full:
            self.say(
                f"The disk that holds {self.home.vault} is full. You can read, back up elsewhere, and erase; "
                "nothing much can be added before you free some room."
            )
        try:
            vault.note_opening()
            if due:
                report = vault.retention.run_if_due()
                if report and report.left:
                    self.say(report.left)
        except VaultError as error:  # a full disk, say, keeps nobody from reading
            self.say(f"What was due could not be done: {error.message}")
        PauseLatch(self.home).fold_into(vault)
        return vault

    def _keep_held(self) -> None:
        from vault.holder import KeyHolder

        KeyHolder(self.home).touch()

    def create_vault(self, fill: "Callable[[Database], object]" = lambda _database: None) -> "Vault":
        """Make the vault: a passphrase, a keychain slot where one answers, and a screen that says what was done.

        Args:
            fill: As `Vault.create` has it.

        Raises:
            PassphraseMissing: nobody can be asked, and no passphrase file was named.
            VaultError: it can't be made here.
        """
        from cli.unlocking import hold_if_possible
        from vault.durable import make_private_folder
        from vault.keychain import SystemKeychain
        from vault.lock import LockLatch
        from vault.memory import harden_process
        from vault.passphrase import read_passphrase_file
        from vault.store import Vault

        harden_process()
        make_private_folder(self.home.data)
        if self.passphrase_file is not None:
            passphrase = read_passphrase_file(self.passphrase_file)
        elif self.can_ask_passphrase:
            passphrase = self._new_passphrase()
        else:
            raise PassphraseMissing(
                "There is no vault yet, and nobody to ask for its passphrase.",
                hint="Set CLAW_PASSPHRASE_FILE to a file of mode 0600 that holds one, or run `claw` in a terminal.",
            )
        try:
            keychain = SystemKeychain()
            vault = Vault.create(self.home, passphrase, keychain=keychain, fill=fill)
            opens = f"your passphrase, and the keychain of your desktop ({keychain.name})"
        except KeychainError as error:
            vault = Vault.create(self.home, passphrase, fill=fill)
            opens = f"your passphrase alone. {error.message}"
        LockLatch(self.home.data).release()  # of a vault that lay here before
        self.say(_ready_screen(self.home, opens))
        if self.passphrase_file is None:
            hold_if_possible(vault, self)
        return self.ready(vault)

    def _new_passphrase(self) -> str:
        from vault.passphrase import MIN_LENGTH

        self.say(
            "Welcome to OpenClaw Core. Everything you say here is encrypted on this machine.\n"
            f"Choose a passphrase of at least {MIN_LENGTH} characters; four random words are good."
        )
        for _ in range(_TRIES):
            first = self.typed_secret("Passphrase: ")
            if len(first) < MIN_LENGTH:
                self.say(f"That has {len(first)} characters; at least {MIN_LENGTH} are needed.")
            elif self.typed_secret("Again: ") == first:
                return first
            else:
                self.say("The two differ.")
        raise PassphraseMissing("No passphrase was chosen.", hint="Start again when you have one.")

    def typed_secret(self, prompt: str) -> str:
        """Ask for a passphrase or a PIN; it isn't shown while it is typed, and no other program reads it here."""
        from vault.memory import harden_process

        harden_process()
        try:
            return getpass.getpass(prompt)
        except EOFError:
            self.say()
            raise PassphraseMissing("No passphrase was given.", hint="Start again when you have it.") from None
        except UnicodeDecodeError:
            self.say()
            raise PassphraseMissing(
                "The passphrase that was typed is not UTF-8 text.", hint="Set the terminal's encoding to UTF-8."
            ) from None


def _ready_screen(home: Home, opens: str) -> str:
    """What a person should know of the vault that was just made; as wide as the narrowest terminal."""
    settings = home.config_file.name if home.config_file.parent == home.data else home.config_file
    return (
        "\nYour vault is ready.\n"
        f"  where      {home.data}\n"
        "  encrypted  what you say and what it answers (SQLCipher, AES-256)\n"
        f"  in clear   {settings} (settings), models/ (public weights)\n"
        f"  opens by   {opens}\n"
        "  leaves     nothing, until you run `claw model pull` or let it fetch pages\n"
        "Write the passphrase down: without it, and without a keychain that knows the\n"
        "vault, nobody can open it. There is no other way in.\n"
    )


def passphrase_file_from(environment: "os._Environ[str]") -> Path | None:
    """The file that `CLAW_PASSPHRASE_FILE` names."""
    name = environment.get("CLAW_PASSPHRASE_FILE")
    if not name:
        return None
    # As the shell would: a ~ that leads nowhere stays part of the name.
    return Path(os.path.expanduser(name))


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text in aligned columns; the last column isn't padded."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        *cells, last = row
        lines.append(
            "  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)), last]).rstrip()
        )
    return "\n".join(lines)


def counted(count: int, name: str) -> str:
    """A number of things for a person."""
    return f"{count:,} {name}{'s' * (count != 1)}"


def size(count: float) -> str:
    """A number of bytes for a person."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
