"""Pulling models from a real HTTPS server that behaves in every way servers do."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.errors import ModelError, ModelRefused, RequestRefused
from agent.inference import probe
from agent.models.catalogue import Catalogue, Registered
from agent.models.hub import Hub
from agent.models.pull import Pull, pull_model
from agent.models.source import HubFile, WebFile, checked_sha256, parse_source
from agent.models.weights import Progress
from tests.fixtures.https_server import COMMIT, HttpsServer
from tests.tiny_model import tiny_gguf
from vault.egress import Egress
from vault.errors import DiskFull, EgressError, EgressRefused, VerificationFailed
from vault.home import Home
from vault.settings import NetworkSettings
from vault.store import Vault

FILE = "owner/repo/sub/Tiny.gguf"
Puller = Callable[..., Registered]


@pytest.fixture
def data(tiny_model: Path) -> bytes:
    return tiny_model.read_bytes()


@pytest.fixture
def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def catalogue(home: Home, vault: Vault) -> Catalogue:
    return Catalogue(home, vault.models)


@pytest.fixture
def pull(catalogue: Catalogue, egress: Egress, server: HttpsServer) -> Puller:
    """Pull from the test server, which is also the hub."""

    def run(
        source: str = f"hf:{FILE}",
        *,
        name: str | None = "tiny",
        sha256: str = "",
        unverified: bool = False,
        token: str = "",
        progress: Progress | None = None,
        door: Egress = egress,
    ) -> Registered:
        return pull_model(
            Pull(parse_source(source), name=name, sha256=sha256, unverified=unverified),
            catalogue=catalogue,
            egress=door,
            hub=Hub(server.address, token),
            probe=probe,
            progress=progress,
        )

    return run


def files_in(home: Home) -> list[Path]:
    return [path.relative_to(home.models) for path in home.models.rglob("*") if path.is_file()]


def nothing_was_kept(home: Home, catalogue: Catalogue) -> bool:
    return not files_in(home) and len(catalogue.all()) == 1


def test_a_hub_file_is_pulled_verified_and_pinned_to_its_commit(
    pull: Puller, catalogue: Catalogue, home: Home, server: HttpsServer, elsewhere: HttpsServer, data: bytes
) -> None:
    server.serve_as_hub(FILE, data, elsewhere)
    steps: list[str] = []
    record = pull(progress=lambda doing, *_: steps.append(doing)).record
    assert record == catalogue.get("tiny")
    assert record.source == f"hf:{FILE}@{COMMIT}"
    assert [(seen.method, seen.path) for seen in server.seen] == [
        ("HEAD", "/owner/repo/resolve/main/sub/Tiny.gguf"),
        ("GET", f"/owner/repo/resolve/{COMMIT}/sub/Tiny.gguf"),
    ]
    assert files_in(home) == [Path("tiny.gguf")]
    assert (home.models / "tiny.gguf").read_bytes() == data
    assert list(dict.fromkeys(steps)) == ["Pulling", "Verifying"]
    catalogue.verify("tiny")


def test_three_breaks_end_with_a_verified_model(
    pull: Puller,
    catalogue: Catalogue,
    server: HttpsServer,
    elsewhere: HttpsServer,
    data: bytes,
    pauses: list[float],
) -> None:
    served = server.serve_as_hub(FILE, data, elsewhere, breaks=[50_000, 60_000, 1])
    pull()
    catalogue.verify("tiny")
    assert served.breaks == []
    assert [seen.headers.get("range") for seen in elsewhere.seen] == [
        None,
        "bytes=50000-",
        "bytes=110000-",
        "bytes=110001-",
    ]
    assert len(pauses) == 3


def test_a_pull_that_was_given_up_goes_on_where_it_ended(
    pull: Puller, home: Home, server: HttpsServer, elsewhere: HttpsServer, data: bytes
) -> None:
    served = server.serve_as_hub(FILE, data, elsewhere, breaks=[50_000])

    def interrupt(doing: str, done: int, total: int | None) -> None:
        if done >= 50_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(progress=interrupt)
    (partial,) = files_in(home)
    assert partial.parent == Path("partial")
    assert (home.models / partial).read_bytes() == data[:50_000]
    served.breaks.clear()
    pull()
    assert elsewhere.seen[-1].headers["range"] == "bytes=50000-"
    assert files_in(home) == [Path("tiny.gguf")]


def test_one_flipped_byte_is_exit_code_6_and_nothing_is_registered(
    pull: Puller, catalogue: Catalogue, home: Home, server: HttpsServer, elsewhere: HttpsServer, data: bytes
) -> None:
    flipped = bytearray(data)
    flipped[-1000] ^= 1
    server.serve_as_hub(FILE, data, elsewhere, sends=bytes(flipped))
    with pytest.raises(VerificationFailed) as caught:
        pull()
    assert caught.value.exit_code == 6
    assert nothing_was_kept(home, catalogue)


def test_a_hub_that_lies_about_the_digest_is_refused(
    pull: Puller, catalogue: Catalogue, home: Home, server: HttpsServer, elsewhere: HttpsServer, data: bytes
) -> None:
    server.serve_as_hub(FILE, data, elsewhere, sha256="0" * 64)
    with pytest.raises(VerificationFailed, match="isn't the promised file"):
        pull()
    assert nothing_was_kept(home, catalogue)


def test_a_digest_of_the_persons_that_differs_from_the_hubs_ends_before_the_fetch(
    pull: Puller, server: HttpsServer, elsewhere: HttpsServer, data: bytes
) -> None:
    server.serve_as_hub(FILE, data, elsewhere)
    with pytest.raises(VerificationFailed, match="not the one you gave"):
        pull(sha256="1" * 64)
    assert elsewhere.seen == []


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_storage_that_states_another_size_is_refused(
    pull: Puller,
    catalogue: Catalogue,
    home: Home,
    server: HttpsServer,
    elsewhere: HttpsServer,
    data: bytes,
    difference: int,
) -> None:
    served = server.serve_as_hub(FILE, data, elsewhere)
    served.data = data[:-1] if difference < 0 else data + b"x"
    with pytest.raises(VerificationFailed, match="were promised"):
        pull()
    assert nothing_was_kept(home, catalogue)


def test_a_storage_that_states_the_size_and_ends_early_is_given_up_and_resumable(
    pull: Puller, home: Home, server: HttpsServer, elsewhere: HttpsServer, data: bytes
) -> None:
    served = server.serve_as_hub(
        FILE, data, elsewhere, sends=data[:1000], ranges=False, headers={"Content-Length": str(len(data))}
    )
    with pytest.raises(EgressError, match="broke"):
        pull()
    assert [(home.models / path).stat().st_size for path in files_in(home)] == [1000]
    served.sends, served.ranges, served.headers = None, True, {}
    pull()
    assert elsewhere.seen[-1].headers["range"] == "bytes=1000-"


def test_the_token_reaches_the_hub_alone(
    pull: Puller, server: HttpsServer, elsewhere: HttpsServer, data: bytes
) -> None:
    server.serve_as_hub(FILE, data, elsewhere)
    pull(token="hf_hush")
    assert {seen.headers.get("authorization") for seen in server.seen} == {"Bearer hf_hush"}
    assert {seen.headers.get("authorization") for seen in elsewhere.seen} == {None}


def test_the_token_is_not_sent_to_a_plain_address(
    pull: Puller, server: HttpsServer, data: bytes, sha256: str
) -> None:
    server.serve("/Tiny.gguf", data)
    pull(server.url("/Tiny.gguf"), sha256=sha256, token="hf_hush")
    assert {seen.headers.get("authorization") for seen in server.seen} == {None}


def test_a_renamed_repository_is_followed_inside_the_hub(
    pull: Puller, server: HttpsServer, elsewhere: HttpsServer, data: bytes
) -> None:
    server.serve_as_hub(FILE, data, elsewhere)
    for revision in ("main", COMMIT):
        server.redirect(
            f"/old/repo/resolve/{revision}/sub/Tiny.gguf", f"/owner/repo/resolve/{revision}/sub/Tiny.gguf", 307
        )
    assert pull("hf:old/repo/sub/Tiny.gguf").record.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("status", "headers", "token", "message", "hint"),
    [
        (401, {}, "", "granted access", "set HF_TOKEN"),
        (403, {"X-Error-Code": "GatedRepo"}, "hf_x", "granted access", "isn't allowed"),
        (404, {"X-Error-Code": "EntryNotFound"}, "", "no such file", "spelling"),
        (401, {"X-Error-Code": "RepoNotFound"}, "", "no such repository", "spelling"),
        (404, {"X-Error-Code": "RevisionNotFound"}, "", "no such revision", "spelling"),
        (500, {}, "", "HTTP 500", ""),
        (200, {}, "", "isn't a Hugging Face hub", "HF_ENDPOINT"),
    ],
)
def test_a_refusal_of_the_hub_is_a_sentence(
    pull: Puller, server: HttpsServer, status: int, headers: dict[str, str], token: str, message: str, hint: str
) -> None:
    server.serve("/owner/repo/resolve/main/sub/Tiny.gguf", b"x", status=status, headers=headers)
    with pytest.raises(EgressError) as caught:
        pull(token=token)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "hf_x" not in caught.value.message + caught.value.hint


def test_a_hub_file_without_a_digest_needs_one(pull: Puller, server: HttpsServer, data: bytes, sha256: str) -> None:
    for revision in ("main", COMMIT):
        server.serve(
            f"/owner/repo/resolve/{revision}/sub/Tiny.gguf", data, headers={"X-Repo-Commit": COMMIT, "ETag": '"a1"'}
        )
    with pytest.raises(RequestRefused, match="sha256"):
        pull()
    assert pull(sha256=sha256).record.sha256 == sha256


def test_a_plain_address_needs_a_digest_or_an_explicit_word(
    pull: Puller, catalogue: Catalogue, server: HttpsServer, data: bytes, sha256: str
) -> None:
    server.serve("/Tiny.gguf", data)
    url = server.url("/Tiny.gguf?signature=hush")
    with pytest.raises(RequestRefused) as caught:
        pull(url)
    assert caught.value.exit_code == 2
    assert "--sha256" in caught.value.hint
    assert server.seen == []
    assert pull(url, sha256=sha256).record.source == server.url("/Tiny.gguf")
    assert pull(url, name="again", unverified=True).record.sha256 == sha256


def test_a_name_is_made_of_the_address(pull: Puller, server: HttpsServer, data: bytes, sha256: str) -> None:
    server.serve("/a/My%20Model.gguf", data)
    assert pull(server.url("/a/My%20Model.gguf"), name=None, sha256=sha256).record.name == "my-model"


def test_an_unverified_pull_never_joins_an_old_beginning(
    pull: Puller, server: HttpsServer, data: bytes, tmp_path: Path
) -> None:
    served = server.serve("/Tiny.gguf", data)

    def interrupt(doing: str, done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(server.url("/Tiny.gguf"), unverified=True, progress=interrupt)
    served.data = tiny_gguf(tmp_path / "other.gguf", seed=2).read_bytes()
    pull(server.url("/Tiny.gguf"), unverified=True)
    assert "range" not in server.seen[-1].headers


def test_a_login_page_is_no_model(
    pull: Puller, catalogue: Catalogue, home: Home, server: HttpsServer, sha256: str
) -> None:
    server.serve("/Tiny.gguf", b"<html>", headers={"Content-Type": "text/html; charset=utf-8"})
    with pytest.raises(EgressError, match="web page"):
        pull(server.url("/Tiny.gguf"), sha256=sha256)
    assert nothing_was_kept(home, catalogue)


@pytest.mark.parametrize(("status", "message"), [(401, "everybody"), (403, "everybody"), (404, "no such file")])
def test_a_refusal_of_a_plain_server_is_a_sentence(
    pull: Puller, catalogue: Catalogue, home: Home, server: HttpsServer, status: int, message: str
) -> None:
    server.serve("/Tiny.gguf", status=status)
    with pytest.raises(EgressError) as caught:
        pull(server.url("/Tiny.gguf?signature=hush"), unverified=True)
    assert message in caught.value.message
    assert "hush" not in caught.value.message + caught.value.hint
    assert nothing_was_kept(home, catalogue)


def test_a_file_that_is_promised_but_no_model_is_refused_and_removed(
    pull: Puller, catalogue: Catalogue, home: Home, server: HttpsServer
) -> None:
    junk = b"PK\x03\x04" + bytes(5000)
    server.serve("/Tiny.gguf", junk)
    with pytest.raises(ModelRefused, match="isn't a GGUF model"):
        pull(server.url("/Tiny.gguf"), sha256=hashlib.sha256(junk).hexdigest())
    assert nothing_was_kept(home, catalogue)


def test_an_architecture_that_llama_cpp_does_not_know_is_refused_and_removed(
    pull: Puller, catalogue: Catalogue, home: Home, server: HttpsServer, elsewhere: HttpsServer, tmp_path: Path
) -> None:
    alien = tiny_gguf(tmp_path / "alien.gguf", architecture="klingon").read_bytes()
    server.serve_as_hub(FILE, alien, elsewhere)
    with pytest.raises(ModelRefused, match="klingon"):
        pull()
    assert nothing_was_kept(home, catalogue)


def test_too_little_room_is_noticed_before_the_first_byte(
    pull: Puller, catalogue: Catalogue, home: Home, server: HttpsServer
) -> None:
    served = server.serve("/Tiny.gguf", b"x", headers={"Content-Length": str(2**41)})
    with pytest.raises(DiskFull):
        pull(server.url("/Tiny.gguf"), unverified=True)
    assert nothing_was_kept(home, catalogue)
    assert served.breaks == []


def test_a_name_that_is_taken_ends_before_the_network(
    pull: Puller, catalogue: Catalogue, server: HttpsServer, tiny_model: Path
) -> None:
    catalogue.import_file(tiny_model, name="tiny", probe=probe)
    with pytest.raises(RequestRefused, match="registered already"):
        pull()
    assert server.seen == []


def test_two_pulls_of_the_same_file_do_not_meet(
    pull: Puller,
    open_egress: Callable[[NetworkSettings], Egress],
    network: NetworkSettings,
    server: HttpsServer,
    elsewhere: HttpsServer,
    data: bytes,
) -> None:
    server.serve_as_hub(FILE, data, elsewhere)
    refusals: list[str] = []

    def pull_second() -> None:
        with open_egress(network) as door, pytest.raises(ModelError) as caught:
            pull(name="second", door=door)
        refusals.append(caught.value.message)

    def pull_again(doing: str, done: int, total: int | None) -> None:
        if not refusals:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(pull_second).result()

    pull(progress=pull_again)
    assert refusals == ["Another `claw` pulls this file right now."]


def test_a_link_in_place_of_the_partial_file_is_not_followed(
    pull: Puller, home: Home, server: HttpsServer, elsewhere: HttpsServer, data: bytes, tmp_path: Path
) -> None:
    served = server.serve_as_hub(FILE, data, elsewhere, breaks=[1000])

    def interrupt(doing: str, done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(progress=interrupt)
    served.breaks.clear()
    (partial,) = files_in(home)
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    (home.models / partial).unlink()
    (home.models / partial).symlink_to(precious)
    with pytest.raises(Exception, match="can't be written"):
        pull()
    assert precious.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("hf:o/r/f.gguf", HubFile("o", "r", "f.gguf", "main")),
        ("hf:o/r.x/a b/F.GGUF@refs/pr/1", HubFile("o", "r.x", "a b/F.GGUF", "refs/pr/1")),
        ("https://host:8443/f.gguf?a=b", WebFile("https://host:8443/f.gguf?a=b")),
    ],
)
def test_sources_are_read(text: str, source: HubFile | WebFile) -> None:
    assert parse_source(text) == source


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hf:o/f.gguf",
        "hf:o/r/f.bin",
        "hf:o/r/../../f.gguf",
        "hf:o/r//f.gguf",
        "hf:../r/f.gguf",
        "http://host/f.gguf",
        "https://",
        "https://[/f.gguf",
        "https://host:99999/f.gguf",
        "/home/me/f.gguf",
    ],
)
def test_what_is_no_source_is_refused_with_the_forms_there_are(text: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_source(text)
    assert caught.value.exit_code == 2
    assert caught.value.hint


def test_a_hub_address_is_quoted() -> None:
    file = HubFile("o", "r", "a b/ü#?.gguf", "refs/pr/1")
    assert file.address("https://hub", file.revision) == (
        "https://hub/o/r/resolve/refs%2Fpr%2F1/a%20b/%C3%BC%23%3F.gguf"
    )


def test_a_hub_is_asked_by_https_alone() -> None:
    with pytest.raises(RequestRefused, match="HF_ENDPOINT"):
        Hub("http://mirror")


def test_an_address_with_a_password_is_refused(pull: Puller) -> None:
    with pytest.raises(EgressRefused):
        pull("https://me:hush@localhost/f.gguf", unverified=True)


def test_digests_are_read_as_people_paste_them(sha256: str) -> None:
    assert checked_sha256(f" sha256:{sha256.upper()}\n") == sha256
    for wrong in ("", "abc", sha256[:-1], sha256 + "0", "g" * 64):
        with pytest.raises(RequestRefused):
            checked_sha256(wrong)
