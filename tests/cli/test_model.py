"""`claw model`, as a person runs it: the installed command, a real vault, a real HTTPS server."""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from agent.models.embedded import EMBEDDED_NAME
from tests.fixtures.https_server import Authority, HttpsServer
from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.tiny_model import tiny_gguf
from vault.home import Home
from vault.settings import load_settings, set_setting
from vault.store import Vault

CLAW = str(Path(sys.executable).with_name("claw"))
FILE = "owner/repo/Tiny.gguf"
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(home: Home, tmp_path: Path, authority: Authority, server: HttpsServer) -> dict[str, str]:
    """A home with a vault, a passphrase file, and a hub on this machine."""
    Vault.create(home, PASSPHRASE, cost=CHEAP).close()
    set_setting(home.config_file, "network.ca_file", str(authority.ca_file))
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE)
    passphrase.chmod(0o600)
    return {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "CLAW_HOME": str(home.data),
        "CLAW_PASSPHRASE_FILE": str(passphrase),
        "HF_ENDPOINT": server.address,
    }


@pytest.fixture
def claw(environment: dict[str, str]) -> Command:
    """Run `claw model …`."""

    def run(*arguments: str, prefix: tuple[str, ...] = (), **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefix, CLAW, "model", *arguments],
            env={**environment, **extra},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def own_mounts() -> tuple[str, ...]:
    """A prefix that runs a command where it may mount a file system of its own."""
    for prefix in (("unshare", "-m"), ("unshare", "-Urm")):
        trial = [*prefix, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if shutil.which("unshare") and subprocess.run(trial, capture_output=True).returncode == 0:
            return prefix
    pytest.skip("this machine lets nobody mount a file system: neither root nor user namespaces")


def files_in(home: Home) -> list[str]:
    return sorted(path.name for path in home.models.rglob("*") if path.is_file())


def names(claw: Command) -> list[str]:
    return [row["name"] for row in json.loads(claw("list", "--json").stdout)]


def on_a_small_disk(
    claw: Command, mounts: tuple[str, ...], home: Home, size: str, *arguments: str
) -> tuple[int, str]:
    """Run `claw model …` with the models folder on a disk of its own; the exit code, and everything it said.

    What lies on that disk afterwards is said too, since the disk ends with the command.
    """
    home.models.mkdir(mode=0o700)
    script = f'mount -t tmpfs -o size={size} tmpfs "$0" && {{ "$@"; code=$?; find "$0" -type f; exit $code; }}'
    done = claw(*arguments, prefix=(*mounts, "sh", "-c", script, str(home.models)))
    return done.returncode, done.stdout + done.stderr


def left_on_disk(said: str, home: Home) -> list[str]:
    return [line for line in said.splitlines() if line.startswith(str(home.models))]


def test_a_pull_over_a_connection_that_breaks_three_times_ends_verified(
    claw: Command, home: Home, server: HttpsServer, elsewhere: HttpsServer, tiny_model: Path
) -> None:
    data = tiny_model.read_bytes()
    served = server.serve_as_hub(FILE, data, elsewhere, breaks=[50_000, 60_000, 1])
    done = claw("pull", f"hf:{FILE}", HF_TOKEN="hf_hush")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "tiny\n"
    assert served.breaks == []
    for shown in ("llama", "F32", "512 tokens", "apache-2.0", "yes", hashlib.sha256(data).hexdigest()):
        assert shown in done.stderr
    assert files_in(home) == ["tiny.gguf"]
    assert {seen.headers.get("authorization") for seen in elsewhere.seen} == {None}
    verified = claw("verify", "tiny")
    assert verified.returncode == 0
    assert "tiny: verified" in verified.stdout


def test_a_pull_with_one_flipped_byte_is_exit_code_6_and_registers_nothing(
    claw: Command, home: Home, server: HttpsServer, elsewhere: HttpsServer, tiny_model: Path
) -> None:
    data = tiny_model.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    server.serve_as_hub(FILE, data, elsewhere, sends=bytes(flipped))
    done = claw("pull", f"hf:{FILE}")
    assert done.returncode == 6
    assert "isn't the promised file" in done.stderr
    assert names(claw) == [EMBEDDED_NAME]
    assert files_in(home) == []


def test_a_disk_that_fills_up_during_a_pull_is_named_and_keeps_nothing(
    claw: Command, home: Home, own_mounts: tuple[str, ...], server: HttpsServer
) -> None:
    # A server that doesn't say how much is coming: only the disk itself can tell.
    server.serve("/endless.gguf", bytes(48 * 2**20), chunked=True)
    url = server.url("/endless.gguf")
    code, said = on_a_small_disk(claw, own_mounts, home, "40m", "pull", url, "--unverified")
    assert code == 1
    assert f"The disk that holds {home.models}" in said
    assert "is full" in said
    assert "Traceback" not in said
    assert not left_on_disk(said, home)
    assert names(claw) == [EMBEDDED_NAME]


def test_a_disk_that_is_too_small_is_named_before_the_first_byte(
    claw: Command,
    home: Home,
    own_mounts: tuple[str, ...],
    server: HttpsServer,
    elsewhere: HttpsServer,
    tiny_model: Path,
) -> None:
    server.serve_as_hub(FILE, tiny_model.read_bytes(), elsewhere)
    code, said = on_a_small_disk(claw, own_mounts, home, "1m", "pull", f"hf:{FILE}")
    assert code == 1
    assert "Free some room" in said
    assert not left_on_disk(said, home)
    assert names(claw) == [EMBEDDED_NAME]


def test_an_import_that_does_not_fit_the_disk_keeps_nothing(
    claw: Command, home: Home, own_mounts: tuple[str, ...], tiny_model: Path
) -> None:
    code, said = on_a_small_disk(claw, own_mounts, home, "1m", "import", str(tiny_model))
    assert code == 1
    assert "Free some room" in said
    assert not left_on_disk(said, home)


def test_a_plain_address_without_a_digest_is_a_usage_error_that_says_why(
    claw: Command, server: HttpsServer, tiny_model: Path
) -> None:
    server.serve("/Tiny.gguf", tiny_model.read_bytes())
    done = claw("pull", server.url("/Tiny.gguf"))
    assert done.returncode == 2
    assert "--sha256" in done.stderr
    digest = hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    assert claw("pull", server.url("/Tiny.gguf"), "--sha256", digest).returncode == 0
    assert claw("pull", server.url("/Tiny.gguf"), "--name", "again", "--unverified").returncode == 0
    assert names(claw) == [EMBEDDED_NAME, "again", "tiny"]


def test_a_gated_model_says_to_set_a_token(claw: Command, server: HttpsServer) -> None:
    server.serve("/owner/repo/resolve/main/Tiny.gguf", status=401, headers={"X-Error-Code": "GatedRepo"})
    done = claw("pull", f"hf:{FILE}")
    assert done.returncode == 1
    assert "HF_TOKEN" in done.stderr


def test_a_hub_that_is_not_https_is_refused(claw: Command) -> None:
    done = claw("pull", f"hf:{FILE}", HF_ENDPOINT="http://localhost:9")
    assert done.returncode == 2
    assert "HF_ENDPOINT" in done.stderr


def test_an_import_shows_what_was_accepted(claw: Command, tiny_model: Path) -> None:
    done = claw("import", str(tiny_model), "--name", "mine")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "mine\n"
    for label in ("architecture", "weights", "context", "size", "licence", "chat template", "sha256"):
        assert label in done.stderr
    listed = claw("list")
    assert "mine" in listed.stdout
    assert "\x1b" not in listed.stdout


def test_an_import_of_an_unknown_architecture_says_so(claw: Command, home: Home, tmp_path: Path) -> None:
    done = claw("import", str(tiny_gguf(tmp_path / "alien.gguf", architecture="klingon")))
    assert done.returncode == 6
    assert "klingon" in done.stderr
    assert files_in(home) == []


def test_text_of_a_model_cannot_reach_the_terminal(claw: Command, tmp_path: Path) -> None:
    evil = tiny_gguf(tmp_path / "evil.gguf", licence="\x1b]52;c;aGk=\x07mit\u202e")
    done = claw("import", str(evil))
    listed = claw("list")
    raw = claw("list", "--json")
    for text in (done.stdout, done.stderr, listed.stdout, raw.stdout):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert json.loads(raw.stdout)[1]["licence"] == "]52;c;aGk=mit"


def test_a_truncated_file_is_refused_with_both_sizes(claw: Command, tmp_path: Path, tiny_model: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_model.read_bytes()[:-100])
    done = claw("import", str(cut))
    assert done.returncode == 6
    assert "cut off" in done.stderr


def test_a_changed_model_fails_verification_and_the_others_are_checked_all_the_same(
    claw: Command, home: Home, tiny_model: Path
) -> None:
    claw("import", str(tiny_model), "--name", "a-changed")
    claw("import", str(tiny_model), "--name", "b-whole")
    with (home.models / "a-changed.gguf").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    one = claw("verify", "a-changed")
    assert one.returncode == 6
    assert "a-changed have changed" in one.stderr
    every = claw("verify", "--all")
    assert every.returncode == 6
    assert "a-changed" in every.stderr
    assert "b-whole: verified" in every.stdout


def test_use_makes_a_model_the_default(claw: Command, home: Home, tiny_model: Path) -> None:
    claw("import", str(tiny_model), "--name", "mine")
    assert claw("use", "mine").returncode == 0
    assert load_settings(home.config_file).model.default == "mine"
    rows = json.loads(claw("list", "--json").stdout)
    assert [(row["name"], row["default"]) for row in rows] == [(EMBEDDED_NAME, False), ("mine", True)]


def test_use_of_an_unknown_model_names_the_nearest_and_changes_nothing(claw: Command, home: Home) -> None:
    done = claw("use", "smollm2-135m-instrukt")
    assert done.returncode == 2
    assert EMBEDDED_NAME in done.stderr
    assert load_settings(home.config_file).model.default == EMBEDDED_NAME


def test_rm_without_anybody_to_ask_needs_yes(claw: Command, home: Home, tiny_model: Path) -> None:
    claw("import", str(tiny_model), "--name", "mine")
    done = claw("rm", "mine")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert names(claw) == [EMBEDDED_NAME, "mine"]
    assert claw("rm", "mine", "--yes").returncode == 0
    assert names(claw) == [EMBEDDED_NAME]
    assert files_in(home) == []


def test_rm_in_a_terminal_asks_first(
    claw: Command, environment: dict[str, str], home: Home, tiny_model: Path
) -> None:
    claw("import", str(tiny_model), "--name", "mine")
    for answer, code, left in (("n", 1, ["mine.gguf"]), ("y", 0, [])):
        with pexpect.spawn(CLAW, ["model", "rm", "mine"], env=environment, timeout=60) as child:
            child.expect_exact("Remove mine (0.2 MB)?")
            child.sendline(answer)
            child.expect(pexpect.EOF)
        assert child.exitstatus == code
        assert files_in(home) == left


def test_rm_of_the_default_goes_back_to_the_embedded_model(claw: Command, home: Home, tiny_model: Path) -> None:
    claw("import", str(tiny_model), "--name", "mine")
    claw("use", "mine")
    done = claw("rm", "mine", "--yes")
    assert EMBEDDED_NAME in done.stderr
    assert load_settings(home.config_file).model.default == EMBEDDED_NAME


def test_rm_of_the_embedded_model_is_refused(claw: Command) -> None:
    assert claw("rm", EMBEDDED_NAME, "--yes").returncode == 2


def test_without_a_vault_the_embedded_model_is_listed_and_verified(claw: Command, home: Home) -> None:
    shutil.rmtree(home.data)
    assert names(claw) == [EMBEDDED_NAME]
    done = claw("verify")
    assert done.returncode == 0
    assert f"{EMBEDDED_NAME}: verified" in done.stdout
    assert not home.data.exists()


def test_the_models_folder_is_the_owners_alone(claw: Command, home: Home, tiny_model: Path) -> None:
    claw("import", str(tiny_model))
    assert stat.S_IMODE(home.models.stat().st_mode) == 0o700
