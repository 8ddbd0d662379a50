"""Where a person's files lie."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vault.errors import SettingsError
from vault.sanitize import sanitize_line

__all__ = ["Home"]

APPLICATION = "openclaw-core"


@dataclass(frozen=True, slots=True)
class Home:
    """The folders and files of one person on one machine.

    Attributes:
        data: Everything the assistant keeps; 0700.
        config_file: Settings in clear, without private content: `config.toml`.
    """

    data: Path
    config_file: Path

    @classmethod
    def locate(cls, environment: Mapping[str, str] | None = None) -> "Home":
        """Find the home: `CLAW_HOME` if set, else the platform's data and configuration folders.

        Nothing is made or read.
        """
        environment = os.environ if environment is None else environment
        home = environment.get("CLAW_HOME")
        if home:
            _check_text(home)
            root = _expanded(home).absolute()
            return cls(data=root, config_file=root / "config.toml")
        import platformdirs

        return cls(
            data=platformdirs.user_data_path(APPLICATION, appauthor=False),
            config_file=platformdirs.user_config_path(APPLICATION, appauthor=False) / "config.toml",
        )

    @property
    def vault(self) -> Path:
        """Folder of the vault's own files; made whole or not at all."""
        return self.data / "vault"

    @property
    def database(self) -> Path:
        """The SQLCipher database."""
        return self.vault / "vault.db"

    @property
    def keyslots(self) -> Path:
        """The master key, wrapped once per slot."""
        return self.vault / "keyslots.json"

    @property
    def models(self) -> Path:
        """Weights that were pulled or imported: public files, kept in clear."""
        return self.data / "models"


def _check_text(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:  # what it is told to, the key's holder and JSON among them, takes text alone
        said = name.encode(errors="backslashreplace").decode()
        raise SettingsError(
            f"CLAW_HOME is no UTF-8 text: {sanitize_line(said)}.", hint="Name a folder whose name is."
        ) from None


def _expanded(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError as error:  # ~somebody who isn't here
        raise SettingsError(f"CLAW_HOME names no folder: {name}.", hint="Give a whole path.") from error
