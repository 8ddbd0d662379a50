"""The command itself: help, version, exit codes, streams, completion, and how little is loaded for how little."""

import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from cli.verbs import VERBS
from tests.fixtures.command import CLAW, Person

HEAVY = ("sqlcipher3", "httpx", "llama_cpp", "jinja2", "keyring", "cryptography", "rich", "shtab")


def test_help_shows_every_verb_in_eighty_columns(newcomer: Person) -> None:
    done = newcomer.claw("--help", COLUMNS="80")
    assert done.returncode == 0
    assert done.stderr == ""
    for verb in VERBS:
        assert f"\n    {verb}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not newcomer.home.data.exists()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(newcomer: Person, verb: str) -> None:
    done = newcomer.claw(verb, "--help", COLUMNS="80")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: claw {verb}")
    assert f"{VERBS[verb][:20].capitalize()}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not newcomer.home.data.exists()


def test_version_is_the_installed_one(newcomer: Person) -> None:
    assert newcomer.claw("--version").stdout == f"claw {version('openclaw-core')}\n"


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("status", "--help")])
def test_help_loads_no_more_than_it_shows(newcomer: Person, arguments: tuple[str, ...]) -> None:
    newcomer.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    done = newcomer.claw(*arguments)
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "cli.main" in loaded
    verbs = {f"cli.{verb}" for verb in VERBS} - {f"cli.{arguments[0]}"}
    assert not loaded & {*HEAVY, *verbs, "agent", "asyncio"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("ak",), "did you mean ask?"),
        (("zzzzz",), "there is no verb 'zzzzz'"),
        (("How are you?",), 'claw ask "'),
        (("--unknown",), "--unknown"),
        (("ask", "--unknown", "x"), "--unknown"),
        (("chat",), "required: VERB"),
        (("completion", "powershell"), "bash"),
    ],
)
def test_a_wrong_call_is_exit_code_2_with_the_usage(
    newcomer: Person, arguments: tuple[str, ...], says: str
) -> None:
    done = newcomer.claw(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("usage: claw")
    assert says in done.stderr


def test_a_file_may_be_called_like_a_verb(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    (person.folder / "ask").touch(mode=0o600)
    (person.folder / "ask").write_text(person.passphrase_file.read_text())
    monkeypatch.chdir(person.folder)
    done = person.claw("--passphrase-file", "ask", "chat", "list", CLAW_PASSPHRASE_FILE="")
    assert done.returncode == 0, done.stderr


def test_a_reader_that_is_gone_is_no_error_to_tell(person: Person) -> None:
    with person.vault() as vault:
        vault.conversations.start("A title", "")
    for arguments in (("--help",), ("chat", "list"), ("status",), ("config", "get")):
        reading, writing = os.pipe()
        os.close(reading)
        with open(writing, "wb") as pipe:
            done = subprocess.run(
                [CLAW, *arguments], env=person.environment, stdout=pipe, stderr=subprocess.PIPE, timeout=60
            )
        assert (done.returncode, done.stderr) == (141, b"")


def test_output_that_finds_no_room_is_told(person: Person) -> None:
    done = person.claw("status", prefix=("sh", "-c", 'exec "$0" "$@" >/dev/full'))
    assert done.returncode == 1
    assert done.stderr == "claw: The system refused: No space left on device.\n"


@pytest.mark.parametrize(
    ("arguments", "closed", "code"),
    [
        (("status",), ">&-", 0),
        (("chat", "list"), "2>&-", 0),
        (("ask", "Hello"), ">&- 2>&-", 0),
        (("ask", "-"), "<&-", 2),
        (("--plain",), "<&-", 0),
    ],
)
def test_closed_streams_are_no_trouble(person: Person, arguments: tuple[str, ...], closed: str, code: int) -> None:
    done = person.claw(*arguments, prefix=("sh", "-c", f'exec "$0" "$@" {closed}'))
    assert done.returncode == code, done.stderr
    assert person.claw("vault", "check").returncode == 0


def test_a_terminal_without_unicode_gets_question_marks_and_no_error(person: Person) -> None:
    with person.vault() as vault:
        vault.conversations.start("Æther", "")
    done = person.claw("chat", "list", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "?ther" in done.stdout


def test_an_interrupt_is_exit_code_130_and_no_traceback(newcomer: Person) -> None:
    terminal = newcomer.terminal("vault", "init", CLAW_PASSPHRASE_FILE="")
    terminal.sees("Passphrase: ")
    terminal.presses("c")
    assert terminal.ends() == 130
    assert not newcomer.home.vault.exists()


def test_an_error_nobody_thought_of_is_one_line_without_private_text(
    newcomer: Person, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import cli.main
    import cli.status

    def fail(*_: object) -> int:
        raise RuntimeError("a private sentence")

    monkeypatch.setattr(cli.status, "run", fail)
    monkeypatch.delenv("CLAW_DEBUG", raising=False)
    assert cli.main.main(["status"]) == 1
    said = capfd.readouterr()
    assert "RuntimeError" in said.err
    assert "CLAW_DEBUG=1" in said.err
    assert "private" not in said.err + said.out
    monkeypatch.setenv("CLAW_DEBUG", "1")
    with pytest.raises(RuntimeError):
        cli.main.main(["status"])


BASH = r"""
source "$1"
COMP_WORDS=("${@:2}"); COMP_CWORD=$(($# - 2)); COMP_LINE="${*:2}"; COMP_POINT=${#COMP_LINE}
complete -p claw >/dev/null || exit 9
function=$(complete -p claw | sed 's/.*-F \([^ ]*\).*/\1/')
compopt() { :; }
"$function" claw "${@: -1}" "${@: -2:1}"
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("claw", "c"), {"chat", "config", "completion"}),
        (("claw", "chat", "re"), {"rename"}),
        (("claw", "ask", "--max"), {"--max-tokens"}),
        (("claw", "completion", ""), {"bash", "zsh", "fish"}),
        (("claw", "ask", "-f", "no"), {"notes.txt"}),
    ],
)
def test_bash_completes(newcomer: Person, tmp_path: Path, typed: tuple[str, ...], offered: set[str]) -> None:
    script = tmp_path / "claw.bash"
    script.write_text(newcomer.claw("completion", "bash").stdout)
    (tmp_path / "notes.txt").touch()
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH, "bash", script, *typed], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert offered <= {word.strip() for word in done.stdout.splitlines()}


ZSH = "fpath=($0 $fpath); autoload -U compinit && compinit -u -D && [ $_comps[claw] = _claw ] && autoload +X _claw"
FISH = "source $argv[1]/claw.fish; complete -C 'claw c' | string match -rq ^completion"


@pytest.mark.parametrize(
    ("shell", "file", "check"),
    [("zsh", "_claw", ("zsh", "-f", "-c", ZSH)), ("fish", "claw.fish", ("fish", "--no-config", "-c", FISH))],
)
def test_other_shells_load_their_script(
    newcomer: Person, tmp_path: Path, shell: str, file: str, check: tuple[str, ...]
) -> None:
    (tmp_path / file).write_text(newcomer.claw("completion", shell).stdout)
    assert "max-tokens" in (tmp_path / file).read_text()
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} isn't installed")
    done = subprocess.run([*check, tmp_path], env=newcomer.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_completion_loads_nothing_of_the_vault_or_the_model(newcomer: Person) -> None:
    newcomer.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    done = newcomer.claw("completion", "bash")
    assert done.returncode == 0
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"sqlcipher3", "httpx", "llama_cpp"}
    assert not newcomer.home.data.exists()


@pytest.mark.parametrize("action", ["skill adapters use", "skill examples list", "skill inspect"])
def test_a_word_that_is_no_text_is_a_wrong_call(person: Person, action: str) -> None:
    done = person.claw(*action.split(), os.fsdecode(b"\xff"))
    assert done.returncode == 2
    assert "isn't text" in done.stderr
