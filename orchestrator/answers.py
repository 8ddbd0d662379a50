"""What is answered: messages as JSON, errors as what a device can act on, and figures of all of it."""

import time
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from federation.api import Failure
from federation.errors import FederationError
from orchestrator.errors import NotAllowed, NotNow, NotThere, OrchestratorError, TooLong, TooMuch, TooSlow
from orchestrator.metrics import Metrics

__all__ = ["Measured", "as_json", "explain_errors"]

_STATUS: dict[type[Exception], int] = {
    NotAllowed: 403,
    NotThere: 404,
    TooSlow: 408,
    NotNow: 409,
    TooLong: 413,
    TooMuch: 429,
}
_AGAIN = (409, 429, 503)
_RETRY_S = b"2"
_MOST_WORDS = 500


def as_json(what: Any, status: int = 200) -> Response:  # noqa: ANN401  any of federation.api
    """An answer."""
    return Response(msgspec.json.encode(what), status, media_type="application/json")


def explain_errors(app: FastAPI) -> None:
    """Have errors of ours answered with what is wrong, and what to do."""

    async def ours(_request: Request, error: Exception) -> Response:
        assert isinstance(error, OrchestratorError | FederationError)
        status = _STATUS.get(type(error), 500 if isinstance(error, OrchestratorError) else 400)
        response = as_json(Failure(error.message[:_MOST_WORDS], getattr(error, "hint", "")), status)
        if isinstance(error, TooSlow | TooLong):
            response.headers["Connection"] = "close"  # the rest of what was sent isn't waited for
        return response

    async def away(_request: Request, _error: Exception) -> Response:
        return as_json(Failure("The database can't be reached right now.", "Try again."), 503)

    async def malformed(_request: Request, _error: Exception) -> Response:
        return as_json(Failure("There is no such address: a part of it is out of its bounds."), 400)

    async def gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=400)  # nobody is there to read it

    for kind, answer in (
        (OrchestratorError, ours),
        (FederationError, ours),
        (SQLAlchemyError, away),
        (OSError, away),
        (RequestValidationError, malformed),
        (ClientDisconnect, gone),
    ):
        app.add_exception_handler(kind, answer)


class Measured:
    """Counts what is answered, and how long that took; who is to come again is told when.

    Args:
        app: What answers.
        metrics: Where it is counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status in _AGAIN:
                    message["headers"] = [*message["headers"], (b"retry-after", _RETRY_S)]
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            self._metrics.request(scope, status, time.perf_counter() - begun)
