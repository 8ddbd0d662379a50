"""`claw config`: show and change the settings in `config.toml`."""

import argparse
import contextlib
import os
import secrets
import shlex
import subprocess
from pathlib import Path

import msgspec

from cli.console import Console
from cli.errors import UsageError
from vault.errors import SettingsError
from vault.settings import get_setting, load_settings, read_settings_file, set_setting, setting_names

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    verbs = parser.add_subparsers(dest="config_verb", metavar="VERB", required=True)
    verbs.add_parser("path", help="where the file lies")
    get = verbs.add_parser("get", help="one setting, or all of them")
    get.add_argument("name", metavar="NAME", nargs="?", help="such as sampling.temperature")
    get.add_argument("--json", action="store_true")
    change = verbs.add_parser("set", help="change one setting")
    change.add_argument("name", metavar="NAME")
    change.add_argument("value", metavar="VALUE")
    verbs.add_parser("edit", help="edit the file; it is checked before it takes effect")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry out the sub-verb."""
    match arguments.config_verb:
        case "path":
            print(console.home.config_file)
        case "get":
            names = [arguments.name] if arguments.name else list(setting_names())
            found = {name: get_setting(console.settings, name) for name in names}
            if arguments.json:
                print(msgspec.json.encode(found).decode())
            elif arguments.name:
                print(found[arguments.name])
            else:
                for name, value in found.items():
                    print(f"{name} = {msgspec.json.encode(value).decode()}")
        case "set":
            value = set_setting(console.home.config_file, arguments.name, arguments.value)
            console.say(f"{arguments.name} = {msgspec.json.encode(value).decode()}")
        case "edit":
            _edit(console)
    return 0


def _edit(console: Console) -> None:
    """Edit a copy until it is right or given up, then put it in the file's place."""
    from vault.durable import make_private_folder, replace_file

    path = console.home.config_file
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise UsageError("No editor is set.", hint=f"Set EDITOR, or edit {path} yourself.")
    try:
        command = shlex.split(editor)
    except ValueError:
        raise UsageError(f"EDITOR={editor} is no command.", hint="Set it to one, such as nano.") from None
    make_private_folder(path.parent)
    draft = path.with_name(f".{secrets.token_hex(4)}.toml")
    try:
        before = read_settings_file(path)
        replace_file(draft, _template().encode() if before is None else before)
        while True:
            if _edited(command, draft) != 0:
                raise SettingsError("The editor failed; the settings are unchanged.")
            try:
                load_settings(draft)
            except SettingsError as error:
                console.say(f"{error.message.replace(str(draft), 'The file')} {error.hint}".strip())
                if console.confirm("Edit again?"):
                    continue
                raise SettingsError("The settings are unchanged.") from error
            replace_file(path.resolve(), draft.read_bytes())
            console.say(f"Saved {path}.")
            return
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def _edited(command: list[str], draft: Path) -> int:
    try:
        return subprocess.call([*command, str(draft)])
    except OSError as error:
        raise UsageError(
            f"The editor {shlex.join(command)} can't be started: {error.strerror}.",
            hint="Set EDITOR to one that can.",
        ) from error


def _template() -> str:
    """Every setting with its default, commented out."""
    from vault.settings import Settings

    lines, section = ["# OpenClaw Core. Take away a # to change a setting.", ""], ""
    for name in setting_names():
        table, key = name.split(".")
        if table != section:
            lines += ["", f"[{table}]"] if section else [f"[{table}]"]
            section = table
        lines.append(f"# {key} = {msgspec.json.encode(get_setting(Settings(), name)).decode()}")
    return "\n".join(lines) + "\n"
