"""The door through proxies: those of the settings, never those of the environment."""

import pytest

from tests.fixtures.doors import Send, network_entries, posting
from tests.fixtures.https_server import Authority
from tests.fixtures.proxies import Asked, BrokenSocksProxy, ConnectProxy, SocksProxy, running_proxy
from tests.fixtures.tls_server import Identity, counting
from vault.egress import EgressJournal, Pin
from vault.errors import EgressError, SettingsError, VerificationFailed
from vault.settings import NetworkSettings
from vault.store import Vault

HIDDEN = "hidden.example"  # by RFC 2606 no name server knows it


def settings(authority: Authority, proxy: str) -> NetworkSettings:
    return NetworkSettings(ca_file=str(authority.ca_file), proxy=proxy, timeout_s=10)


def test_a_socks_proxy_is_asked_for_the_name_and_resolves_it_itself(send: Send, authority: Authority) -> None:
    with counting(authority.context(HIDDEN)) as server, running_proxy(SocksProxy) as proxy:
        through = settings(authority, f"socks5h://127.0.0.1:{proxy.port}")
        assert send(posting(server.url(HIDDEN)), settings=through).body == b"ok"
    assert proxy.asked == [Asked(named=True, host=HIDDEN, port=server.port)]
    assert server.received.endswith(b"hello")


def test_a_pinned_destination_is_checked_through_a_socks_proxy_too(send: Send, authority: Authority) -> None:
    me = Identity(HIDDEN)
    with counting(me.context()) as server, running_proxy(SocksProxy) as proxy:
        through = settings(authority, f"socks5h://127.0.0.1:{proxy.port}")
        assert send(posting(server.url(HIDDEN), pins=(me.pin,)), settings=through).body == b"ok"
        right = len(server.received)
        with pytest.raises(VerificationFailed, match="another key"):
            send(posting(server.url(HIDDEN), pins=(Pin(bytes(32)),)), settings=through)
    assert len(server.received) == right


def test_a_pinned_destination_is_checked_inside_an_http_tunnel_and_the_tunnel_is_counted(
    send: Send, authority: Authority, vault: Vault, journal: EgressJournal
) -> None:
    me = Identity(HIDDEN)
    with counting(me.context()) as server, running_proxy(ConnectProxy) as proxy:
        through = settings(authority, f"http://127.0.0.1:{proxy.port}")
        assert send(posting(server.url(HIDDEN), pins=(me.pin,)), settings=through).body == b"ok"
        with pytest.raises(VerificationFailed, match="another key"):
            send(posting(server.url(HIDDEN), pins=(Pin(bytes(32)),)), settings=through)
    assert [asked.host for asked in proxy.asked] == [HIDDEN, HIDDEN]
    *_, refused = network_entries(vault)
    assert refused.bytes == proxy.greeted // 2  # the proxy learned where to, the destination nothing
    assert journal.sent_today().sent == proxy.greeted + len(server.received)


@pytest.mark.parametrize(
    "name", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]
)
def test_a_proxy_of_the_environment_has_no_effect(
    send: Send, authority: Authority, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with counting(authority.context()) as server, running_proxy(ConnectProxy) as proxy:
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert send(posting(server.url())).body == b"ok"
    assert proxy.asked == []


def test_socks5_without_an_h_is_refused_as_ambiguous(send: Send, authority: Authority) -> None:
    with pytest.raises(SettingsError) as caught:
        send(posting("https://localhost/"), settings=settings(authority, "socks5://127.0.0.1:9"))
    assert "socks5h://" in caught.value.hint


def test_a_proxy_that_speaks_something_else_is_named_as_the_fault(send: Send, authority: Authority) -> None:
    with (
        running_proxy(BrokenSocksProxy) as proxy,
        pytest.raises(EgressError, match="proxy"),
    ):
        send(posting("https://localhost/"), settings=settings(authority, f"socks5h://127.0.0.1:{proxy.port}"))
