"""The HTTP interface: addresses, sizes, and errors as answers. What is done stands in the modules behind it."""

import hashlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

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
from federation.errors import FederationError
from federation.secagg.wire import Masked, Share, most_bytes
from federation.task import Task
from orchestrator.errors import NotAllowed, NotNow, NotThere, OrchestratorError, TooMuch
from orchestrator.metrics import Metrics
from orchestrator.service import Service
from orchestrator.tables import tasks

__all__ = ["application"]

_SMALL = 4096
_STATUS: dict[type[Exception], int] = {NotAllowed: 403, NotThere: 404, NotNow: 409, TooMuch: 429}
_BINARY = "application/octet-stream"
_RETRY_S = "2"
_REFERENCE = "#/components/schemas/{name}"
_MESSAGES = (Admitted, AskToJoin, Consistency, Failure, Joined, Leaf, ReleaseInfo, State, TaskInfo, Wait)

TaskName = Annotated[str, Path(max_length=64, pattern=r"^[a-z0-9-]+$")]
Number = Annotated[int, Path(ge=0, lt=1 << 53)]
Step = Annotated[str, Path(max_length=16, pattern=r"^[a-z]+$")]
Hex = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Query(ge=0, lt=1 << 53)]


def application(service: Service) -> FastAPI:
    """The interface of one replica."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = _Interface(
        title="OpenClaw Core orchestrator", version="1", lifespan=lifespan, docs_url=None, redoc_url=None
    )
    metrics = Metrics()
    limits = _Limits(service)

    @app.middleware("http")
    async def answered(request: Request, then: Callable[[Request], Awaitable[Response]]) -> Response:
        begun = time.perf_counter()
        try:
            response = await then(request)
        except (OrchestratorError, FederationError) as error:
            status = _STATUS.get(type(error), 500 if isinstance(error, OrchestratorError) else 400)
            response = _json(Failure(error.message[:500], getattr(error, "hint", "")), status)
        except (SQLAlchemyError, OSError):
            response = _json(Failure("The database can't be reached right now.", "Try again."), 503)
        if response.status_code in (409, 429, 503):
            response.headers["Retry-After"] = _RETRY_S
        metrics.request(request, response.status_code, time.perf_counter() - begun)
        return response

    @app.exception_handler(RequestValidationError)
    async def malformed(_request: Request, _error: Exception) -> Response:
        return _json(Failure("There is no such address: a part of it is out of its bounds."), 400)

    @app.get("/v1/health", responses=_answers(None))
    async def health() -> Response:
        """Whether this replica can work."""
        async with service.database.transaction() as connection:
            await connection.execute(select(1))
        return Response(status_code=204)

    @app.get("/metrics", responses=_answers(None))
    async def measured() -> Response:
        """For Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    @app.post("/v1/devices", status_code=202, responses=_answers(None), openapi_extra=_body(AskToJoin))
    async def ask(request: Request) -> Response:
        """A device asks to be admitted."""
        asked = _decoded(await _read(request, _SMALL), AskToJoin)
        await service.enrolment.ask(asked.device, asked.invite, asked.proof)
        return Response(status_code=202)

    @app.get("/v1/devices/{device}/certificate", responses=_answers(Admitted))
    async def certificate(device: Hex) -> Response:
        """The registrar's answer to a device."""
        return _json(Admitted(await service.enrolment.answer(bytes.fromhex(device))))

    @app.get("/v1/tasks", responses=_answers(list[TaskInfo]))
    async def all_tasks() -> Response:
        """Every task."""
        async with service.database.transaction() as connection:
            rows = (await connection.execute(select(tasks).order_by(tasks.c.place))).all()
        return _json([_task_info(row) for row in rows])

    @app.get("/v1/tasks/{name}", responses=_answers(TaskInfo))
    async def one_task(name: TaskName) -> Response:
        """A task."""
        async with service.database.transaction() as connection:
            row = (await connection.execute(select(tasks).where(tasks.c.name == name))).first()
        if row is None:
            raise NotThere("There is no such task.")
        return _json(_task_info(row))

    @app.get("/v1/tasks/{name}/releases/{number}", responses=_answers(ReleaseInfo))
    async def release(name: TaskName, number: Number) -> Response:
        """A release of a task."""
        async with service.database.transaction() as connection:
            found = await service.releases.release(connection, name, number)
        return _json(ReleaseInfo(found.message, found.place))

    @app.get("/v1/content/{digest}", responses=_answers(bytes))
    async def content(digest: Hex) -> Response:
        """Released numbers: float32, little-endian."""
        return Response(await service.content.get(bytes.fromhex(digest)), media_type=_BINARY)

    @app.get("/v1/log/checkpoint", responses=_answers(str))
    async def checkpoint() -> Response:
        """The signed head of the log of releases."""
        async with service.database.transaction() as connection:
            note = await service.releases.log.checkpoint(connection)
        return Response(note, media_type="text/plain; charset=utf-8")

    @app.get("/v1/log/leaves/{place}", responses=_answers(Leaf))
    async def leaf(place: Number, size: Size) -> Response:
        """An entry of the log, as it was with so many entries."""
        async with service.database.transaction() as connection:
            message, path = await service.releases.log.leaf(connection, place, size)
        return _json(Leaf(message, path))

    @app.get("/v1/log/consistency", responses=_answers(Consistency))
    async def consistency(old: Size, size: Size) -> Response:
        """What shows that the log with so many entries begins with an older one."""
        async with service.database.transaction() as connection:
            return _json(Consistency(await service.releases.log.consistency(connection, old, size)))

    @app.post("/v1/tasks/{name}/check-ins", responses=_answers(Wait | Joined))
    async def check_in(name: TaskName, request: Request) -> Response:
        """A device is ready for a round."""
        device, _ = await _signed(service, request, 0)
        return _json(await service.rounds.check_in(name, device))

    @app.get("/v1/tasks/{name}/rounds/{number}", responses=_answers(State))
    async def state(name: TaskName, number: Number) -> Response:
        """How far a round is."""
        return _json(await service.rounds.state(name, number))

    @app.put(
        "/v1/tasks/{name}/rounds/{number}/{step}",
        status_code=204,
        responses=_answers(None),
        openapi_extra=_body(bytes),
    )
    async def take(name: TaskName, number: Number, step: Step, request: Request) -> Response:
        """A device's message of a step."""
        device, body = await _signed(service, request, await limits.of(name, step))
        maybe = await service.rounds.take(name, number, step, device, body)
        if maybe is not None:
            service.may_be_complete(maybe)
        return Response(status_code=204)

    @app.get("/v1/tasks/{name}/rounds/{number}/{step}", responses=_answers(bytes))
    async def tell(name: TaskName, number: Number, step: Step, request: Request) -> Response:
        """What a device is told at the beginning of a step."""
        device, _ = await _signed(service, request, 0)
        return Response(await service.rounds.tell(name, number, step, device), media_type=_BINARY)

    return app


class _Interface(FastAPI):
    """Describes itself with the messages of `federation.api`, of which FastAPI knows nothing."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        _, parts = msgspec.json.schema_components(_MESSAGES, ref_template=_REFERENCE)
        document["components"] = {"schemas": parts}
        for address in document["paths"].values():
            for operation in address.values():
                operation["responses"].pop("422", None)  # it is answered with 400, as all that is malformed
        return document


class _Limits:
    """How long a message of a task's rounds can be. Tasks never change, so that they are looked up once."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._known: dict[str, Task] = {}

    async def of(self, name: str, step: str) -> int:
        if name not in self._known:
            async with self._service.database.transaction() as connection:
                self._known[name], _ = await self._service.releases.task(connection, name)
        kind = Masked if step == "mask" else Share
        return most_bytes(kind, self._known[name].plan.secagg)


async def _read(request: Request, most: int) -> bytes:
    """The body, of at most so many bytes: more aren't waited for."""
    told = request.headers.get("content-length", "0")
    if re.fullmatch("[0-9]{1,12}", told) and int(told) > most:
        raise NotAllowed("That is longer than such a message can be.")
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > most:
            raise NotAllowed("That is longer than such a message can be.")
        parts.append(part)
    return b"".join(parts)


async def _signed(service: Service, request: Request, most: int) -> tuple[bytes, bytes]:
    """The device that signed a request, and the request's body."""
    body = await _read(request, most)
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    headers = {name.lower(): value for name, value in request.headers.items()}
    digest = hashlib.sha256(body).digest()
    return await service.authentication.device(request.method, target, headers, digest), body


def _decoded(data: bytes, kind: type[AskToJoin]) -> AskToJoin:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise NotAllowed("That is no request of this interface.") from None


def _json(what: Any, status: int = 200) -> Response:  # noqa: ANN401  any of federation.api
    return Response(msgspec.json.encode(what), status, media_type="application/json")


def _task_info(row: Any) -> TaskInfo:  # noqa: ANN401  a row of tasks
    return TaskInfo(row.name, row.state, bytes(row.message), row.place, row.in_use, row.promotion or 0)


@lru_cache
def _schema(kind: Any) -> dict[str, Any]:  # noqa: ANN401  any of federation.api
    if kind is bytes:
        return {_BINARY: {"schema": {"type": "string", "format": "binary"}}}
    if kind is str:
        return {"text/plain": {"schema": {"type": "string"}}}
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    return {"application/json": {"schema": schema}}


def _answers(kind: Any) -> dict[int | str, dict[str, Any]]:  # noqa: ANN401  any of federation.api
    failure = {"description": "Not done, and why", "content": _schema(Failure)}
    answers: dict[int | str, dict[str, Any]] = dict.fromkeys((400, 403, 404, 409, 429, 503), failure)
    if kind is not None:
        answers[200] = {"description": "Done", "content": _schema(kind)}
    return answers


def _body(kind: Any) -> dict[str, Any]:  # noqa: ANN401  any of federation.api
    return {"requestBody": {"required": True, "content": _schema(kind)}}
