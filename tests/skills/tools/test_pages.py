"""Fetching a page: through the door alone, from hosts with public names, and as text."""

import threading
from contextlib import nullcontext
from typing import Any
from urllib.parse import urlsplit

import pytest

from skills.errors import ToolFailed
from skills.tools import pages
from skills.tools.pages import FetchPage, fetch_tool
from skills.tools.tool import Running
from tests.fixtures.doors import network_entries
from tests.fixtures.https_server import HttpsServer
from vault.classes import DataClass
from vault.egress import Egress
from vault.errors import EgressError
from vault.store import Vault

RUNNING = Running(threading.Event())


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "https://user:pw@example.org/",
        "https://example.org:8443/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://localhost/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://router/",
        "https://exämple.org/",
        "https://example.org/a b",
        "https://example.org/\u202e",
        "https://example.org/" + "x" * 2000,
        "https://example.org:99999/",
        "https://-bad.example/",
        "example.org",
        "",
    ],
)
def test_other_addresses_are_refused_before_anybody_is_asked(url: str) -> None:
    def no_door() -> Egress:
        raise AssertionError

    with pytest.raises(ToolFailed):
        fetch_tool(no_door).about(FetchPage(url))


def test_the_whole_address_is_shown_and_each_call_is_asked_about() -> None:
    def no_door() -> Egress:
        raise AssertionError

    tool = fetch_tool(no_door)
    given = FetchPage("https://example.org/a?q=secret")
    plan = tool.plan(given, tool.about(given))
    assert plan.details == "https://example.org/a?q=secret"
    assert plan.dangerous
    assert list(map(str, tool.about(given))) == ["host:example.org"]


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a page of this machine's be asked for, which is refused otherwise."""
    monkeypatch.setattr(pages, "_checked", urlsplit)


def fetch(egress: Egress, url: str) -> str:
    tool, given = fetch_tool(lambda: nullcontext(egress)), FetchPage(url)
    return tool.plan(given, tool.about(given)).work(RUNNING)


@pytest.mark.usefixtures("local")
def test_a_page_comes_back_as_the_text_that_a_person_would_see(egress: Egress, server: HttpsServer) -> None:
    page = b"<html><head><title>t</title></head><body><script>evil()</script><p>One &amp; two</p><p>three\x1b[31m"
    server.serve("/page", page + b"</body>", headers={"Content-Type": "text/html; charset=utf-8"})
    assert fetch(egress, server.url("/page")) == "One & two\nthree[31m"
    (seen,) = server.seen
    assert seen.body == b""
    assert "cookie" not in seen.headers


@pytest.mark.usefixtures("local")
def test_a_malformed_page_is_text_all_the_same(egress: Egress, server: HttpsServer) -> None:
    server.serve("/page", b"<![foo bar]>One<p>two<a " * 3, headers={"Content-Type": "text/html"})
    assert fetch(egress, server.url("/page")) == "One\ntwoOne\ntwoOne\ntwo"


@pytest.mark.usefixtures("local")
def test_a_stop_ends_the_reading_of_a_page(egress: Egress, server: HttpsServer) -> None:
    server.serve("/page", b"<p>" * 500_000, headers={"Content-Type": "text/html"})
    tool, given = fetch_tool(lambda: nullcontext(egress)), FetchPage(server.url("/page"))
    stop = threading.Event()
    stop.set()
    with pytest.raises(ToolFailed, match="stopped"):
        tool.plan(given, tool.about(given)).work(Running(stop))


@pytest.mark.usefixtures("local")
def test_what_passed_the_door_is_in_the_log_with_its_purpose(
    egress: Egress, server: HttpsServer, vault: Vault
) -> None:
    server.serve("/page", b"x", headers={"Content-Type": "text/plain"})
    fetch(egress, server.url("/page"))
    (entry, _) = network_entries(vault)
    assert (entry.purpose, entry.data_class) == ("fetch", DataClass.MEDIUM)
    assert entry.consent.startswith("approval ")


@pytest.mark.usefixtures("local")
def test_a_redirect_is_told_and_not_followed(egress: Egress, server: HttpsServer, elsewhere: HttpsServer) -> None:
    server.redirect("/page", elsewhere.url("/trap"))
    with pytest.raises(ToolFailed, match="elsewhere"):
        fetch(egress, server.url("/page"))
    assert elsewhere.seen == []


@pytest.mark.usefixtures("local")
@pytest.mark.parametrize(
    ("data", "options"),
    [
        (b"x", {"headers": {"Content-Type": "application/octet-stream"}}),
        (b"x", {}),
        (b"x", {"status": 404, "headers": {"Content-Type": "text/plain"}}),
    ],
)
def test_what_is_no_page_isnt_read(
    egress: Egress, server: HttpsServer, data: bytes, options: dict[str, Any]
) -> None:
    server.serve("/page", data, **options)
    with pytest.raises(ToolFailed):
        fetch(egress, server.url("/page"))


@pytest.mark.usefixtures("local")
def test_a_page_without_an_end_is_given_up(egress: Egress, server: HttpsServer) -> None:
    server.serve("/page", b"x" * (3 << 20), chunked=True, headers={"Content-Type": "text/plain"})
    with pytest.raises(EgressError):
        fetch(egress, server.url("/page"))
