"""The interface's description (OpenAPI): made of the messages of `federation.api`, which FastAPI doesn't know."""

from functools import lru_cache
from typing import Any

import msgspec
from fastapi import FastAPI

from federation.api import (
    Admitted,
    AskToJoin,
    Consistency,
    Failure,
    Joined,
    Leaf,
    ReleaseInfo,
    State,
    TaskInfo,
    Wait,
)

__all__ = ["BINARY", "Interface", "answers", "body"]

BINARY = "application/octet-stream"
_REFERENCE = "#/components/schemas/{name}"
_MESSAGES = (Admitted, AskToJoin, Consistency, Failure, Joined, Leaf, ReleaseInfo, State, TaskInfo, Wait)
_FAILURES = (400, 403, 404, 408, 409, 413, 429, 503)


class Interface(FastAPI):
    """Addresses, and what describes them."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        _, parts = msgspec.json.schema_components(_MESSAGES, ref_template=_REFERENCE)
        document["components"] = {"schemas": parts}
        for address in document["paths"].values():
            for operation in address.values():
                operation["responses"].pop("422", None)  # it is answered with 400, as all that is malformed
        return document


def answers(kind: Any) -> dict[int | str, dict[str, Any]]:  # noqa: ANN401  any of federation.api
    """What an address answers: something of this kind, or why not."""
    failure = {"description": "Not done, and why", "content": _schema(Failure)}
    described: dict[int | str, dict[str, Any]] = dict.fromkeys(_FAILURES, failure)
    if kind is not None:
        described[200] = {"description": "Done", "content": _schema(kind)}
    return described


def body(kind: Any) -> dict[str, Any]:  # noqa: ANN401  any of federation.api
    """What an address is sent."""
    return {"requestBody": {"required": True, "content": _schema(kind)}}


@lru_cache
def _schema(kind: Any) -> dict[str, Any]:  # noqa: ANN401  any of federation.api
    if kind is bytes:
        return {BINARY: {"schema": {"type": "string", "format": "binary"}}}
    if kind is str:
        return {"text/plain": {"schema": {"type": "string"}}}
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    return {"application/json": {"schema": schema}}
