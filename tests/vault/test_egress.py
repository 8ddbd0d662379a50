"""The one door out, against a real HTTPS server."""

import io
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.doors import network_entries
from tests.fixtures.https_server import Authority, HttpsServer, running
from vault.classes import DataClass
from vault.egress import COMMAND, Answer, Egress, Purpose, Request, Transfer
from vault.errors import EgressError, EgressRefused, SettingsError, VerificationFailed
from vault.settings import NetworkSettings
from vault.store import Vault

DATA = bytes(range(256)) * 2000


@pytest.fixture
def arriving(tmp_path: Path) -> Iterator[io.FileIO]:
    with io.FileIO(tmp_path / "arriving", "w+") as file:
        yield file


Opener = Callable[[NetworkSettings], Egress]


def request(url: str, **options: Any) -> Request:  # noqa: ANN401  those of Request
    return Request(Purpose.MODEL_PULL, url, DataClass.GENERAL, COMMAND, "a model's file", **options)


def transfer(
    file: io.FileIO,
    *,
    size: int | None = None,
    limit: int = 10**9,
    digest_follows: bool = True,
    inspect: Callable[[Answer], None] = lambda _answer: None,
    progress: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> Transfer:
    return Transfer(
        file,
        path=Path(str(file.name)),
        size=size,
        limit=limit,
        digest_follows=digest_follows,
        inspect=inspect,
        progress=progress,
    )


def content(file: io.FileIO) -> bytes:
    return Path(str(file.name)).read_bytes()


def test_a_file_arrives_whole(egress: Egress, server: HttpsServer, arriving: io.FileIO) -> None:
    server.serve("/file", DATA)
    steps: list[tuple[int, int | None]] = []
    egress.download(request(server.url("/file")), transfer(arriving, progress=lambda *step: steps.append(step)))
    assert content(arriving) == DATA
    assert steps[-1] == (len(DATA), len(DATA))


def test_nothing_is_sent_over_plain_http(egress: Egress) -> None:
    with pytest.raises(EgressRefused, match="https://HOST"):
        egress.describe(request("http://localhost/file"))


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "https://", "https://[", "https://a\nb/"])
def test_what_is_no_https_address_is_refused(egress: Egress, url: str) -> None:
    with pytest.raises(EgressRefused):
        egress.describe(request(url))


def test_a_host_by_more_characters_than_a_name_can_have_is_refused_and_not_repeated(egress: Egress) -> None:
    for url in ("https://{}.example/", "https://me:hush@{}.example/"):
        with pytest.raises(EgressRefused, match="more characters") as caught:
            egress.describe(request(url.format("a" * 12_000)))
        assert "aaa" not in caught.value.message + caught.value.hint
    with pytest.raises(EgressError, match="can't be reached"):
        egress.describe(request(f"https://{'a.' * 122}invalid/"))  # as long as one may be


def test_an_address_with_a_password_is_refused_and_not_repeated(egress: Egress) -> None:
    with pytest.raises(EgressRefused) as caught:
        egress.describe(request("https://me:hush@localhost/file"))
    assert "hush" not in caught.value.message + caught.value.hint


def test_a_certificate_that_nobody_trusts_sees_no_request(open_egress: Opener, server: HttpsServer) -> None:
    server.serve("/file", DATA)
    with open_egress(NetworkSettings(timeout_s=5)) as egress, pytest.raises(EgressError) as caught:
        egress.describe(request(server.url("/file")))
    assert "isn't trusted" in caught.value.message
    assert "network.ca_file" in caught.value.hint
    assert server.seen == []


def test_a_server_of_tls_1_2_sees_no_request(
    open_egress: Opener, authority: Authority, network: NetworkSettings
) -> None:
    context = authority.context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with running(context) as old, open_egress(network) as egress:
        with pytest.raises(EgressError, match=r"TLS 1\.3"):
            egress.describe(request(old.url("/file")))
        assert old.seen == []


def test_the_environment_chooses_neither_proxy_nor_key_log(
    open_egress: Opener,
    network: NetworkSettings,
    server: HttpsServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    server.serve("/file", DATA)
    with open_egress(network) as egress:
        assert egress.describe(request(server.url("/file"))).status == 200
    assert not (tmp_path / "keys").exists()


def test_the_proxy_of_the_settings_is_used(
    open_egress: Opener, network: NetworkSettings, server: HttpsServer
) -> None:
    through = NetworkSettings(ca_file=network.ca_file, timeout_s=5, proxy="http://127.0.0.1:9")
    with open_egress(through) as egress, pytest.raises(EgressError):
        egress.describe(request(server.url("/file")))
    assert server.seen == []


def test_a_proxy_that_is_no_address_is_named_without_its_password(
    open_egress: Opener, network: NetworkSettings
) -> None:
    with pytest.raises(SettingsError) as caught:
        open_egress(NetworkSettings(proxy="gopher://me:hush@proxy"))
    assert "network.proxy" in caught.value.message
    assert "hush" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_named(open_egress: Opener, tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError, match=r"network\.ca_file"):
        open_egress(NetworkSettings(ca_file=str(path)))


def test_a_server_that_cannot_be_reached_is_named_without_the_query(egress: Egress) -> None:
    with pytest.raises(EgressError) as caught:
        egress.describe(request("https://localhost:9/file?signature=hush", token="hush"))
    assert caught.value.message == "localhost can't be reached."
    assert "hush" not in repr(request("https://localhost:9/file?signature=hush", token="hush"))


def test_describe_reports_a_redirect_and_does_not_follow_it(
    egress: Egress, server: HttpsServer, elsewhere: HttpsServer
) -> None:
    server.redirect("/file", elsewhere.url("/blob"), X_Linked_Size="7")
    answer = egress.describe(request(server.url("/file"), redirects=True))
    assert (answer.status, answer.location) == (302, elsewhere.url("/blob"))
    assert answer.headers["x-linked-size"] == "7"
    assert elsewhere.seen == []


def test_a_redirect_is_followed_only_where_the_request_allows_it(
    egress: Egress, server: HttpsServer, arriving: io.FileIO
) -> None:
    server.redirect("/file", "/blob")
    server.serve("/blob", DATA)
    with pytest.raises(EgressError, match="HTTP 302"):
        egress.download(request(server.url("/file")), transfer(arriving))
    egress.download(request(server.url("/file"), redirects=True), transfer(arriving))
    assert content(arriving) == DATA


def test_a_redirect_to_plain_http_is_refused(egress: Egress, server: HttpsServer, arriving: io.FileIO) -> None:
    server.redirect("/file", server.url("/blob").replace("https:", "http:"))
    with pytest.raises(EgressRefused, match="https://HOST"):
        egress.download(request(server.url("/file"), redirects=True), transfer(arriving))


def test_a_redirect_to_a_host_by_more_characters_than_a_name_can_have_is_refused(
    egress: Egress, server: HttpsServer, vault: Vault, arriving: io.FileIO
) -> None:
    server.redirect("/file", f"https://{'a' * 12_000}.example/blob")
    with pytest.raises(EgressRefused, match="more characters"):
        egress.download(request(server.url("/file"), redirects=True), transfer(arriving))
    assert [entry.status for entry in network_entries(vault)] == ["prepared", "acknowledged"]


def test_five_redirects_are_followed_and_six_are_not(
    egress: Egress, server: HttpsServer, arriving: io.FileIO
) -> None:
    for hop in range(6):
        server.redirect(f"/{hop}", f"/{hop + 1}")
    server.serve("/6", DATA)
    with pytest.raises(EgressRefused, match="more than 5 times"):
        egress.download(request(server.url("/0"), redirects=True), transfer(arriving))
    egress.download(request(server.url("/1"), redirects=True), transfer(arriving))
    assert content(arriving) == DATA


def test_a_token_goes_to_its_own_origin_alone_even_when_redirected_back(
    egress: Egress, server: HttpsServer, elsewhere: HttpsServer, arriving: io.FileIO
) -> None:
    server.redirect("/file", "/same")
    server.redirect("/same", elsewhere.url("/other"))
    elsewhere.redirect("/other", server.url("/back"))
    server.serve("/back", DATA)
    egress.download(request(server.url("/file"), token="hf_hush", redirects=True), transfer(arriving))
    sent = {seen.path: seen.headers.get("authorization") for seen in [*server.seen, *elsewhere.seen]}
    assert sent == {"/file": "Bearer hf_hush", "/same": "Bearer hf_hush", "/other": None, "/back": None}


def test_a_token_with_a_line_end_is_refused_and_not_repeated(egress: Egress, server: HttpsServer) -> None:
    with pytest.raises(EgressRefused) as caught:
        egress.describe(request(server.url("/file"), token="hush\r\nX-Evil: 1"))
    assert "hush" not in caught.value.message
    assert server.seen == []


def test_no_cookie_is_taken(egress: Egress, server: HttpsServer) -> None:
    server.serve("/file", DATA, headers={"Set-Cookie": "id=1; Path=/"})
    egress.describe(request(server.url("/file")))
    egress.describe(request(server.url("/file")))
    assert "cookie" not in server.seen[1].headers


def test_a_broken_transfer_goes_on_where_it_ended(
    egress: Egress, server: HttpsServer, arriving: io.FileIO, pauses: list[float]
) -> None:
    server.serve("/file", DATA, headers={"ETag": '"one"'}, breaks=[100_000, 50_000, 1])
    egress.download(request(server.url("/file")), transfer(arriving, size=len(DATA)))
    assert content(arriving) == DATA
    ranges = [seen.headers.get("range") for seen in server.seen]
    assert ranges == [None, "bytes=100000-", "bytes=150000-", "bytes=150001-"]
    assert {seen.headers.get("if-range") for seen in server.seen[1:]} == {'"one"'}
    assert len(pauses) == 3


def test_a_beginning_that_is_there_already_is_not_fetched_again(
    egress: Egress, server: HttpsServer, arriving: io.FileIO
) -> None:
    server.serve("/file", DATA)
    arriving.write(DATA[:1000])
    egress.download(request(server.url("/file")), transfer(arriving, size=len(DATA)))
    assert content(arriving) == DATA
    assert server.seen[0].headers["range"] == "bytes=1000-"


def test_a_complete_file_asks_for_nothing(egress: Egress, server: HttpsServer, arriving: io.FileIO) -> None:
    arriving.write(DATA)
    egress.download(request(server.url("/file")), transfer(arriving, size=len(DATA)))
    assert server.seen == []


def test_a_server_that_ignores_ranges_starts_the_file_anew(
    egress: Egress, server: HttpsServer, arriving: io.FileIO
) -> None:
    server.serve("/file", DATA, ranges=False, breaks=[100_000])
    egress.download(request(server.url("/file")), transfer(arriving, size=len(DATA)))
    assert content(arriving) == DATA


def test_a_server_that_always_breaks_at_the_same_place_is_given_up(
    egress: Egress, server: HttpsServer, arriving: io.FileIO, pauses: list[float]
) -> None:
    server.serve("/file", DATA, ranges=False, breaks=[100_000] * 50)
    with pytest.raises(EgressError) as caught:
        egress.download(request(server.url("/file")), transfer(arriving, size=len(DATA)))
    assert "kept" in caught.value.hint
    assert content(arriving) == DATA[:100_000]
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0]


def test_a_file_that_changed_meanwhile_is_fetched_anew_as_a_whole(
    egress: Egress, server: HttpsServer, arriving: io.FileIO
) -> None:
    served = server.serve("/file", DATA, headers={"ETag": '"one"'}, breaks=[100_000])
    other = bytes(reversed(DATA))

    def change(answer: Answer) -> None:
        served.data, served.headers["ETag"] = other, '"two"'

    egress.download(
        request(server.url("/file")), transfer(arriving, size=len(DATA), digest_follows=False, inspect=change)
    )
    assert content(arriving) == other


def test_without_digest_and_entity_tag_parts_are_never_joined(
    egress: Egress, server: HttpsServer, arriving: io.FileIO
) -> None:
    server.serve("/file", DATA, headers={"ETag": 'W/"weak"'}, breaks=[100_000])
    egress.download(request(server.url("/file")), transfer(arriving, digest_follows=False))
    assert content(arriving) == DATA
    assert [seen.headers.get("range") for seen in server.seen] == [None, None]


def test_more_on_disk_than_the_file_has_starts_anew(
    egress: Egress, server: HttpsServer, arriving: io.FileIO
) -> None:
    server.serve("/file", DATA)
    arriving.write(DATA + b"more")
    egress.download(request(server.url("/file")), transfer(arriving))
    assert content(arriving) == DATA
    assert [seen.headers.get("range") for seen in server.seen] == [f"bytes={len(DATA) + 4}-", None]


def test_an_unsatisfiable_range_at_the_very_end_means_that_all_is_there(
    egress: Egress, server: HttpsServer, arriving: io.FileIO
) -> None:
    server.serve("/file", DATA)
    arriving.write(DATA)
    egress.download(request(server.url("/file")), transfer(arriving))
    assert content(arriving) == DATA
    assert len(server.seen) == 1


def test_another_part_than_was_asked_for_is_refused(
    egress: Egress, server: HttpsServer, arriving: io.FileIO
) -> None:
    server.serve("/file", DATA, range_shift=1)
    arriving.write(DATA[:1000])
    with pytest.raises(EgressError, match="another part"):
        egress.download(request(server.url("/file")), transfer(arriving, size=len(DATA)))
    assert content(arriving) == DATA[:1000]


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
def test_another_size_than_was_promised_is_refused_before_the_first_byte(
    egress: Egress, server: HttpsServer, arriving: io.FileIO, size: int
) -> None:
    server.serve("/file", DATA)
    with pytest.raises(VerificationFailed, match="were promised"):
        egress.download(request(server.url("/file")), transfer(arriving, size=size))
    assert content(arriving) == b""


def test_more_bytes_than_were_promised_are_not_written(
    egress: Egress, server: HttpsServer, arriving: io.FileIO
) -> None:
    server.serve("/file", DATA, chunked=True)
    with pytest.raises(VerificationFailed, match="sends more"):
        egress.download(request(server.url("/file")), transfer(arriving, size=1000))
    assert len(content(arriving)) <= 1000


def test_a_stream_without_end_stops_at_the_limit(egress: Egress, server: HttpsServer, arriving: io.FileIO) -> None:
    server.serve("/file", DATA, chunked=True)
    with pytest.raises(VerificationFailed, match="sends more"):
        egress.download(request(server.url("/file")), transfer(arriving, limit=1000))
    assert len(content(arriving)) <= 1000


def test_a_stated_size_beyond_the_limit_is_refused(
    egress: Egress, server: HttpsServer, arriving: io.FileIO
) -> None:
    server.serve("/file", DATA)
    with pytest.raises(VerificationFailed, match="more than can be accepted"):
        egress.download(request(server.url("/file")), transfer(arriving, limit=1000))


def test_a_stream_that_ends_early_without_a_stated_size_is_resumed(
    egress: Egress, server: HttpsServer, arriving: io.FileIO
) -> None:
    server.serve("/file", DATA, chunked=True, breaks=[1000])
    egress.download(request(server.url("/file")), transfer(arriving, size=len(DATA)))
    assert content(arriving) == DATA
    assert server.seen[-1].headers["range"] == "bytes=1000-"


def test_an_encoding_that_nobody_asked_for_is_refused(
    egress: Egress, server: HttpsServer, arriving: io.FileIO
) -> None:
    server.serve("/file", DATA, headers={"Content-Encoding": "gzip"})
    with pytest.raises(EgressError, match="encoding"):
        egress.download(request(server.url("/file")), transfer(arriving))
    assert server.seen[0].headers["accept-encoding"] == "identity"


def test_an_overloaded_server_is_asked_again(
    egress: Egress, server: HttpsServer, arriving: io.FileIO, pauses: list[float]
) -> None:
    server.serve("/file", DATA, status=503)
    with pytest.raises(EgressError, match="HTTP 503"):
        egress.download(request(server.url("/file")), transfer(arriving))
    assert len(server.seen) == 5
    assert pauses == [0.5, 1.0, 2.0, 4.0]


def test_a_refusal_is_shown_to_the_caller_first(egress: Egress, server: HttpsServer, arriving: io.FileIO) -> None:
    statuses: list[int] = []
    with pytest.raises(EgressError, match="HTTP 404"):
        egress.download(
            request(server.url("/none")),
            transfer(arriving, inspect=lambda answer: statuses.append(answer.status)),
        )
    assert statuses == [404]


def test_an_interruption_leaves_a_beginning_that_can_be_resumed(
    egress: Egress, server: HttpsServer, arriving: io.FileIO
) -> None:
    server.serve("/file", DATA)

    def interrupt(done: int, total: int | None) -> None:
        if done < len(DATA):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        egress.download(request(server.url("/file")), transfer(arriving, size=len(DATA), progress=interrupt))
    beginning = content(arriving)
    assert 0 < len(beginning) < len(DATA)
    assert beginning == DATA[: len(beginning)]
    egress.download(request(server.url("/file")), transfer(arriving, size=len(DATA)))
    assert content(arriving) == DATA
    assert server.seen[-1].headers["range"] == f"bytes={len(beginning)}-"
