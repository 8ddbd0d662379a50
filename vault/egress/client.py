"""The network client, and its addresses, answers and errors in our words. Nothing else in the tree makes one."""

import contextlib
import http.cookiejar
import re
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vault.errors import EgressError, EgressRefused, SettingsError, VerificationFailed
from vault.pinning import Pin, PinRefused
from vault.settings import NetworkSettings
from vault.tls import client_context
from vault.transfer import Answer, Broken

if TYPE_CHECKING:
    import httpx

__all__ = [
    "answer_of",
    "authorization",
    "destination",
    "head_bytes",
    "host_of",
    "open_client",
    "origin_of",
    "redirected_to",
    "shown",
    "translated",
]

_HOST = re.compile(r"[a-z0-9._:-]+", re.ASCII | re.IGNORECASE)
_LONGEST_HOST = 253
"""In characters (RFC 1035, section 2.3.4, without the lengths and the root's label)."""
_SHOWN_PATH = 300
_TRY_AGAIN = "Check the network and run the same command again; what has arrived is kept."
_PROXY_SCHEMES = ("http", "https", "socks5h")

# Not the version, not the system: who we are is nobody's business beyond what a server's log needs.
_USER_AGENT = "openclaw-core"


def open_client(settings: NetworkSettings, pins: tuple[Pin, ...] = ()) -> "httpx.AsyncClient":
    """A client that takes nothing from the environment or from servers.

    Args:
        settings: Proxy, authorities and time limit.
        pins: Of the destination's key.

    Raises:
        SettingsError: a network setting can't be used.
    """
    import httpx

    context = client_context(settings, pins)
    # A jar that takes no cookie: a server can't recognise this device from one request to the next.
    jar = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    try:
        return httpx.AsyncClient(
            verify=context,
            trust_env=False,
            follow_redirects=False,
            proxy=_proxy(settings),
            timeout=settings.timeout_s,
            cookies=jar,
            # Bytes are counted, resumed and digested as served, so no transfer compression.
            headers={"User-Agent": _USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"},
        )
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        # The address may hold a password, so it isn't repeated.
        raise SettingsError(
            "network.proxy is no proxy address that can be used.",
            hint="Correct it: claw config set network.proxy http://HOST:PORT, or socks5h://HOST:PORT for Tor "
            "(empty for none)",
        ) from error


def _proxy(settings: NetworkSettings) -> "httpx.Proxy | None":
    import httpx

    if not settings.proxy:
        return None
    proxy = httpx.Proxy(settings.proxy)
    if proxy.url.scheme not in _PROXY_SCHEMES:
        # With plain socks5 people expect that names are resolved here, which would tell them to a name server.
        raise ValueError("another kind of proxy")
    if proxy.url.scheme == "https":  # by a public authority, also on the way to a pinned destination
        proxy = httpx.Proxy(settings.proxy, ssl_context=client_context(settings))
    return proxy


def destination(address: "str | httpx.URL") -> "httpx.URL":
    """The parsed address, if the door lets requests go there.

    Raises:
        EgressRefused: it doesn't.
    """
    import httpx

    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        raise EgressRefused("The address isn't a valid URL.", hint="It looks like https://HOST/FILE.") from None
    if url.scheme != "https" or not _HOST.fullmatch(host_of(url)):
        raise EgressRefused(
            "Only addresses of the form https://HOST/… are asked; nothing was sent.",
            hint="Use an https:// address.",
        )
    if len(host_of(url)) > _LONGEST_HOST:  # before it is repeated: nobody's log or screen is to be filled by it
        raise EgressRefused("The address names a host by more characters than a name can have; nothing was sent.")
    if url.userinfo:
        raise EgressRefused(f"The address of {host_of(url)} carries a user name or password; nothing was sent.")
    return url


def host_of(url: "httpx.URL") -> str:
    """The host, in ASCII, as it is resolved: letters of other scripts could pass for another one on a screen."""
    return url.raw_host.decode("ascii")


def origin_of(url: "httpx.URL") -> str:
    """Host and port."""
    return f"{host_of(url)}:{url.port or 443}"


def shown(url: "httpx.URL") -> str:
    """The address as the log keeps it: host and path, without the query, which may hold a signature."""
    path = url.raw_path.partition(b"?")[0].decode("ascii", "replace")
    cut = path if len(path) <= _SHOWN_PATH else f"{path[:_SHOWN_PATH]}…"
    port = f":{url.port}" if url.port not in (None, 443) else ""
    return f"{host_of(url)}{port}{cut}"


def authorization(token: str) -> dict[str, str]:
    """The header that carries a token.

    Raises:
        EgressRefused: no header could.
    """
    if not token:
        return {}
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise EgressRefused(
            "The token holds a space or a character that no token has; nothing was sent.", hint="Copy it again."
        )
    return {"Authorization": f"Bearer {token}"}


def head_bytes(method: bytes, target: bytes, headers: "list[tuple[bytes, bytes]]") -> int:
    """How long the head of a request is on the wire (RFC 9112, sections 3 and 5)."""
    return len(method) + len(target) + len("  HTTP/1.1\r\n\r\n") + sum(len(n) + len(v) + 4 for n, v in headers)


def redirected_to(response: "httpx.Response") -> "httpx.URL":
    """Where a redirect leads.

    Raises:
        EgressError: to nothing that is an address.
    """
    import httpx

    try:
        return response.url.join(response.headers["location"])
    except httpx.InvalidURL:
        raise EgressError(f"{host_of(response.url)} redirects to something that is no address.") from None


def answer_of(response: "httpx.Response") -> Answer:
    """The head of a response."""
    return Answer(
        status=response.status_code,
        headers={name.lower(): value for name, value in response.headers.items()},
        host=host_of(response.url),
        origin=origin_of(response.url),
        location=str(redirected_to(response)) if response.has_redirect_location else "",
    )


@contextlib.contextmanager
def translated(host: str) -> Iterator[None]:
    """Turn the client's errors into ours, without the address in them."""
    import httpx
    from socksio.exceptions import SOCKSError

    try:
        yield
    except (httpx.TimeoutException, TimeoutError) as error:
        raise Broken(f"{host} does not answer.", hint=_TRY_AGAIN) from error
    except (httpx.ProxyError, SOCKSError) as error:
        raise EgressError(
            "The proxy refuses the connection.", hint="`claw config get network.proxy` shows which one is set."
        ) from error
    except httpx.ConnectError as error:
        raise _connect_error(error, host) from error
    except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
        raise Broken(f"The connection to {host} broke.", hint=_TRY_AGAIN) from error
    except httpx.HTTPError as error:
        raise EgressError(f"The request to {host} failed ({type(error).__name__}).") from error


def _connect_error(error: Exception, host: str) -> EgressError:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, PinRefused):
        return VerificationFailed(
            f"{host} {cause.why}; nothing was sent.",
            hint="Whoever runs the destination can say which key it has. Somebody may stand in between.",
        )
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = cause.verify_message.rstrip(".")  # OpenSSL's have none, Python's own does
        return EgressError(
            f"The certificate of {host} isn't trusted: {why}.",
            hint="Nothing was sent. Behind a company's gateway, name its authority: "
            "claw config set network.ca_file FILE",
        )
    if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
        return Broken(f"The connection to {host} broke.", hint=_TRY_AGAIN)
    if cause is not None:
        return EgressError(f"{host} doesn't speak TLS 1.3; nothing was sent.")
    return Broken(f"{host} can't be reached.", hint=_TRY_AGAIN)
