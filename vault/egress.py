"""The one door out: every byte that leaves this device, and every byte fetched from another, passes here.

The door knows the purpose and the destination of each request. It speaks https alone (TLS 1.3 or newer), takes no
proxy, credentials or cookies from the environment or from a server, follows a redirect only where the request
allows it, and gives a credential to the origin it was meant for and to no other.

No other module of the device imports a network client; `tests/vault/test_egress.py` walks the tree to make sure.
"""

import contextlib
import http.cookiejar
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING

from vault.errors import EgressError, EgressRefused, SettingsError
from vault.settings import NetworkSettings
from vault.tls import client_context
from vault.transfer import Answer, Broken, Transfer

if TYPE_CHECKING:
    import httpx

__all__ = ["Answer", "Egress", "Purpose", "Request", "Transfer"]

_HOST = re.compile(r"[a-z0-9._:-]+", re.ASCII | re.IGNORECASE)
_MAX_HOPS = 5
_TRIES_WITHOUT_PROGRESS = 5
_FIRST_PAUSE_S = 0.25
_TRY_AGAIN = "Check the network and run the same command again; what has arrived is kept."

# Not the version, not the system: who we are is nobody's business beyond what a server's log needs.
_USER_AGENT = "openclaw-core"


class Purpose(StrEnum):
    """What a request is for."""

    MODEL_PULL = "model-pull"


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to ask of one destination.

    Attributes:
        purpose: What it is for.
        url: An https address; it may carry a signature in its query, so it is never shown.
        token: A bearer token for the address's own origin (host and port); a redirect elsewhere doesn't get it.
        redirects: Whether redirects to other https addresses are followed, at most five.
    """

    purpose: Purpose
    url: str = field(repr=False)
    token: str = field(default="", repr=False)
    redirects: bool = False


class Egress:
    """The door. It holds a connection pool: close it, or use it in a `with` block.

    Args:
        settings: How to reach the network.
        pause: Waits that many seconds before a broken transfer is tried again.

    Raises:
        SettingsError: a network setting can't be used.
    """

    def __init__(self, settings: NetworkSettings, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._client = _client(settings)
        self._pause = pause

    def describe(self, request: Request) -> Answer:
        """Ask what a GET would find (HEAD). Redirects are reported, not followed.

        Raises:
            EgressRefused: the door's rules forbid the request.
            EgressError: the destination can't be reached, or isn't who it says.
        """
        with self._exchange("HEAD", request, {}, follow=False) as response:
            return _answer(response)

    def download(self, request: Request, transfer: Transfer) -> None:
        """Fetch a file, going on where an earlier try ended, until all of it is there.

        A broken connection is tried again, ever later, until five tries in a row brought nothing new. Whatever
        ends this call, the file is a prefix of what was served, so that a later call can go on.

        Raises:
            EgressRefused: the door's rules forbid the request.
            VerificationFailed: the server's size isn't the promised one, or it sends more.
            DiskFull: there is no room for the next bytes.
            EgressError: the destination can't be reached, refuses, or kept breaking off.
        """
        failures = 0
        while not transfer.complete:
            reached = transfer.furthest
            try:
                self._attempt(request, transfer)
            except Broken as error:
                failures = 0 if transfer.furthest > reached else failures + 1
                if failures >= _TRIES_WITHOUT_PROGRESS:
                    raise EgressError(error.message, hint=error.hint) from error
                self._pause(_FIRST_PAUSE_S * 2**failures)

    def _attempt(self, request: Request, transfer: Transfer) -> None:
        with self._exchange("GET", request, transfer.headers(), follow=request.redirects) as response:
            if transfer.begin(_answer(response)):
                # As they arrive: gathered into larger chunks, the last ones would be lost with the connection.
                for chunk in response.iter_raw():
                    transfer.write(chunk)
                transfer.end()

    @contextlib.contextmanager
    def _exchange(
        self, method: str, request: Request, headers: Mapping[str, str], *, follow: bool
    ) -> "Iterator[httpx.Response]":
        """Send a request and give the response with its body unread; errors of reading it become ours too."""
        url = _destination(request.url)
        sent = {**headers, **_authorization(request.token)}
        origin = _origin(url)
        for _ in range(_MAX_HOPS + 1):
            with _translated(_host(url)):
                response = self._client.send(self._client.build_request(method, url, headers=sent), stream=True)
            with contextlib.closing(response):
                if not (follow and response.has_redirect_location):
                    with _translated(_host(url)):
                        yield response
                    return
                url = _destination(_location(response))
                if _origin(url) != origin:
                    # For good: a later hop back to the first origin was chosen by somebody else.
                    sent = dict(headers)
        raise EgressRefused(f"{_host(url)} redirects more than {_MAX_HOPS} times; the request was given up.")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> "Egress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _client(settings: NetworkSettings) -> "httpx.Client":
    import httpx

    context = client_context(settings)
    # A jar that takes no cookie: a server can't recognise this device from one request to the next.
    jar = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    try:
        proxy = httpx.Proxy(settings.proxy) if settings.proxy else None
        if proxy and proxy.url.scheme == "https":
            proxy = httpx.Proxy(settings.proxy, ssl_context=context)
        return httpx.Client(
            verify=context,
            trust_env=False,
            follow_redirects=False,
            proxy=proxy,
            timeout=settings.timeout_s,
            cookies=jar,
            # Bytes are counted, resumed and digested as served, so no transfer compression.
            headers={"User-Agent": _USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"},
        )
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        # The address may hold a password, so it isn't repeated.
        raise SettingsError(
            "network.proxy is no proxy address that can be used.",
            hint="Correct it: claw config set network.proxy http://HOST:PORT (empty for none)",
        ) from error


def _destination(address: "str | httpx.URL") -> "httpx.URL":
    """The parsed address, if the door lets requests go there."""
    import httpx

    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        raise EgressRefused("The address isn't a valid URL.", hint="It looks like https://HOST/FILE.") from None
    if url.scheme != "https" or not _HOST.fullmatch(_host(url)):
        raise EgressRefused(
            "Only addresses of the form https://HOST/… are asked; nothing was sent.",
            hint="Use an https:// address.",
        )
    if url.userinfo:
        raise EgressRefused(f"The address of {_host(url)} carries a user name or password; nothing was sent.")
    return url


def _host(url: "httpx.URL") -> str:
    # In ASCII, as it is resolved: letters of other scripts could pass for another host on a screen.
    return url.raw_host.decode("ascii")


def _origin(url: "httpx.URL") -> str:
    return f"{_host(url)}:{url.port or 443}"


def _authorization(token: str) -> dict[str, str]:
    if not token:
        return {}
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise EgressRefused(
            "The token holds a space or a character that no token has; nothing was sent.", hint="Copy it again."
        )
    return {"Authorization": f"Bearer {token}"}


def _location(response: "httpx.Response") -> "httpx.URL":
    import httpx

    try:
        return response.url.join(response.headers["location"])
    except httpx.InvalidURL:
        raise EgressError(f"{_host(response.url)} redirects to something that is no address.") from None


def _answer(response: "httpx.Response") -> Answer:
    return Answer(
        status=response.status_code,
        headers={name.lower(): value for name, value in response.headers.items()},
        host=_host(response.url),
        origin=_origin(response.url),
        location=str(_location(response)) if response.has_redirect_location else "",
    )


@contextlib.contextmanager
def _translated(host: str) -> Iterator[None]:
    """Turn the client's errors into ours, without the address in them."""
    import httpx

    try:
        yield
    except httpx.TimeoutException as error:
        raise Broken(f"{host} does not answer.", hint=_TRY_AGAIN) from error
    except httpx.ProxyError as error:
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
    if isinstance(cause, ssl.SSLCertVerificationError):
        return EgressError(
            f"The certificate of {host} isn't trusted: {cause.verify_message}.",
            hint="Nothing was sent. Behind a company's gateway, name its authority: "
            "claw config set network.ca_file FILE",
        )
    if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
        return Broken(f"The connection to {host} broke.", hint=_TRY_AGAIN)
    if cause is not None:
        return EgressError(f"{host} doesn't speak TLS 1.3; nothing was sent.")
    return Broken(f"{host} can't be reached.", hint=_TRY_AGAIN)
