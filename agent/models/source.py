"""Where a model can be pulled from, as a person writes it."""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from agent.errors import RequestRefused

__all__ = ["HubFile", "Source", "WebFile", "checked_sha256", "is_https", "parse_source"]

_HUB = re.compile(
    r"hf:(?P<owner>[A-Za-z0-9][\w.-]*)/(?P<repository>[A-Za-z0-9][\w.-]*)/"
    r"(?P<path>.+?\.gguf)(?:@(?P<revision>[\w./-]+))?",
    re.ASCII | re.IGNORECASE,
)
_FORMS = "Write hf:OWNER/REPO/FILE.gguf, perhaps with @REVISION, or https://HOST/FILE.gguf."


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file in a Hugging Face repository.

    Attributes:
        owner: A person or an organisation.
        repository: Its repository.
        path: The file inside it.
        revision: A branch, tag or commit.
    """

    owner: str
    repository: str
    path: str
    revision: str

    @property
    def file_name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def address(self, endpoint: str, revision: str) -> str:
        """Where the hub at `endpoint` serves the file as of `revision`."""
        return (
            f"{endpoint}/{self.owner}/{self.repository}/resolve/{quote(revision, safe='')}/"
            f"{quote(self.path, safe='/')}"
        )

    def at(self, revision: str) -> str:
        """The source again as a person writes it, as of `revision`."""
        return f"hf:{self.owner}/{self.repository}/{self.path}@{revision}"


@dataclass(frozen=True, slots=True)
class WebFile:
    """A file at an https address."""

    url: str

    @property
    def file_name(self) -> str:
        """The last part of the address's path."""
        return unquote(urlsplit(self.url).path).rpartition("/")[2]

    @property
    def shown(self) -> str:
        """The address without its query, which may hold a signature."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


Source = HubFile | WebFile


def parse_source(text: str) -> Source:
    """Read a source.

    Raises:
        RequestRefused: it is neither a hub file nor an https address.
    """
    if match := _HUB.fullmatch(text):
        path = match["path"]
        if any(part in ("", ".", "..") for part in path.split("/")):
            raise RequestRefused("The source's path is none inside a repository.", hint=_FORMS)
        return HubFile(match["owner"], match["repository"], path, match["revision"] or "main")
    if text.lower().startswith("hf:"):
        raise RequestRefused("The source isn't a GGUF file in a Hugging Face repository.", hint=_FORMS)
    if is_https(text):
        return WebFile(text)
    if text.lower().startswith("http://"):
        raise RequestRefused(
            "Models are pulled by https alone: over http, anybody on the way could read and change them.",
            hint="Write https:// instead.",
        )
    raise RequestRefused(
        "The source is neither a Hugging Face file nor an https address.",
        hint=f"{_FORMS} A file on this machine: claw model import FILE",
    )


def is_https(text: str) -> bool:
    """Whether this is an https address with a host in it."""
    try:
        parts = urlsplit(text)
        return parts.scheme == "https" and bool(parts.hostname) and (parts.port or 443) > 0
    except ValueError:
        return False


def checked_sha256(text: str) -> str:
    """A digest as people paste it, in lower case.

    Raises:
        RequestRefused: it isn't 64 hexadecimal digits.
    """
    digest = text.strip().lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", digest, re.ASCII):
        raise RequestRefused("A sha256 has 64 hexadecimal digits; this has not.", hint="Copy it whole.")
    return digest
