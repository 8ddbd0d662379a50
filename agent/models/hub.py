"""What the Hugging Face hub promises of a file: its digest, its size, and the commit that fixes both.

For a file in large-file storage the hub answers a HEAD of `/OWNER/REPO/resolve/REVISION/FILE` with a redirect to
the storage, and with `X-Linked-Etag` (the file's sha256), `X-Linked-Size` and `X-Repo-Commit` of its own. These
come from the hub's origin itself and are read before any redirect to another is followed.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from agent.errors import RequestRefused
from agent.models.source import HubFile, is_https
from vault.classes import DataClass
from vault.egress import COMMAND, Answer, Egress, Purpose, Request
from vault.errors import EgressError

__all__ = ["DEFAULT_ENDPOINT", "Hub", "HubPromise"]

DEFAULT_ENDPOINT = "https://huggingface.co"
_MAX_HOPS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class HubPromise:
    """What the hub says of a file.

    Attributes:
        address: Where this very version of it is served.
        source: The file and its commit, as a person writes it.
        sha256: Its digest; empty for a file outside large-file storage.
        size: Its bytes; `None` where the hub doesn't say.
    """

    address: str
    source: str
    sha256: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub, or a mirror of it.

    Attributes:
        endpoint: Its address; https.
        token: The person's access token; empty for none. It goes to the endpoint's origin alone.
    """

    endpoint: str = DEFAULT_ENDPOINT
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not is_https(self.endpoint):
            raise RequestRefused(
                "HF_ENDPOINT isn't an https address.", hint="Unset it, or set it to https://HOST of a mirror."
            )
        object.__setattr__(self, "endpoint", self.endpoint.rstrip("/"))

    @property
    def host(self) -> str:
        """Who speaks for the hub."""
        return urlsplit(self.endpoint).hostname or ""

    def look_up(self, file: HubFile, egress: Egress) -> HubPromise:
        """Ask what the file's digest, size and commit are.

        Raises:
            EgressError: the hub can't be reached, or doesn't have or give the file.
        """
        answer = self._head(file.address(self.endpoint, file.revision), egress)
        self.inspect(answer)
        commit = answer.headers.get("x-repo-commit", "")
        if not re.fullmatch(r"[0-9a-f]{40}", commit, re.ASCII):
            raise EgressError(
                f"{answer.host} doesn't say which commit the file is of; it isn't a Hugging Face hub.",
                hint="Check HF_ENDPOINT, or pull the file by its https address.",
            )
        digest = answer.headers.get("x-linked-etag", "").strip('"').lower()
        size = answer.headers.get("x-linked-size", "")
        return HubPromise(
            address=file.address(self.endpoint, commit),
            source=file.at(commit),
            sha256=digest if re.fullmatch(r"[0-9a-f]{64}", digest, re.ASCII) else "",
            size=int(size) if re.fullmatch(r"\d{1,18}", size, re.ASCII) else None,
        )

    def _head(self, address: str, egress: Egress) -> Answer:
        """Ask, following a renamed repository inside the same origin, but no way out of it."""
        for _ in range(_MAX_HOPS):
            answer = egress.describe(
                Request(
                    Purpose.MODEL_PULL,
                    address,
                    DataClass.GENERAL,
                    consent=COMMAND,
                    description="which model's file is wanted",
                    token=self.token,
                )
            )
            inside = answer.location.startswith(f"{self.endpoint}/")
            if answer.status not in _REDIRECTS or not inside or "x-linked-etag" in answer.headers:
                return answer
            address = answer.location
        raise EgressError(f"{answer.host} redirects more than {_MAX_HOPS} times.")

    def inspect(self, answer: Answer) -> None:
        """Put a refusal of the hub's into words.

        Raises:
            EgressError: the answer is a refusal.
        """
        reason = answer.headers.get("x-error-code", "")
        if answer.status == 404 or reason in ("RepoNotFound", "EntryNotFound", "RevisionNotFound"):
            what = {"RevisionNotFound": "revision", "RepoNotFound": "repository"}.get(reason, "file")
            raise EgressError(
                f"{answer.host} has no such {what}, or doesn't show it to you (HTTP {answer.status}).",
                hint="Check the spelling; for a private repository set HF_TOKEN to an access token.",
            )
        if answer.status in (401, 403):
            raise EgressError(
                f"{answer.host} gives this file only to people who were granted access (HTTP {answer.status}).",
                hint="Your HF_TOKEN isn't allowed to read it: accept the model's terms with that account."
                if self.token
                else "Accept the model's terms on its page, then set HF_TOKEN to an access token of your account.",
            )
        if answer.status >= 400:
            raise EgressError(f"{answer.host} can't say what the file is (HTTP {answer.status}).")
