"""The HTTP interface: addresses, and who may ask for what. What is done stands in the modules behind it."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from sqlalchemy import bindparam, select

from federation.api import Admitted, AskToJoin, Consistency, Joined, Leaf, ReleaseInfo, State, TaskInfo, Wait
from federation.requests import Signed
from federation.secagg.wire import Masked, Share, most_bytes
from federation.task import Task
from orchestrator.answers import Measured, as_json, explain_errors
from orchestrator.bodies import SMALL, Bodies
from orchestrator.description import BINARY, Interface, answers, body
from orchestrator.errors import NotAllowed, NotThere
from orchestrator.metrics import Metrics
from orchestrator.recent import Recent
from orchestrator.service import Service
from orchestrator.tables import tasks
from orchestrator.unsigned import Unsigned

__all__ = ["application"]

TaskName = Annotated[str, Path(max_length=64, pattern=r"^[a-z0-9-]+$")]
Number = Annotated[int, Path(ge=0, lt=1 << 53)]
Step = Annotated[str, Path(max_length=16, pattern=r"^[a-z]+$")]
Hex = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Query(ge=0, lt=1 << 53)]


def application(service: Service, unsigned: Unsigned) -> FastAPI:
    """The interface of one replica.

    Args:
        service: What it does.
        unsigned: How much it does for those who don't sign.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = Interface(
        title="OpenClaw Core orchestrator",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    metrics = Metrics()
    app.add_middleware(Measured, metrics=metrics)
    explain_errors(app)
    _of_devices(app, service, unsigned)  # first: an address is looked for in this order
    app.include_router(_of_everybody(service, unsigned))
    _of_operators(app, service, metrics)
    return app


def _of_operators(app: FastAPI, service: Service, metrics: Metrics) -> None:
    """What a load balancer and Prometheus look at: worked out once a second, whoever asks."""

    async def works() -> None:
        async with service.database.transaction() as connection:
            await connection.execute(select(1))

    async def figures() -> bytes:
        return metrics.text()

    recent_health, recent_figures = Recent(works), Recent(figures)

    @app.get("/v1/health", status_code=204, responses=answers(None))
    async def health() -> Response:
        """Whether this replica can work."""
        await recent_health.get()
        return Response(status_code=204)

    @app.get("/metrics", responses=answers(str))
    async def measured() -> Response:
        """For Prometheus."""
        return Response(await recent_figures.get(), media_type="text/plain; version=0.0.4")


def _of_everybody(service: Service, unsigned: Unsigned) -> APIRouter:
    """What needs no signature: joining, and all that is public."""

    async def counted(request: Request) -> None:
        unsigned.count(_host(request))

    public = APIRouter(dependencies=[Depends(counted)])
    bodies = Bodies()

    @public.post("/v1/devices", status_code=202, responses=answers(None), openapi_extra=body(AskToJoin))
    async def ask(request: Request) -> Response:
        """A device asks to be admitted."""
        async with bodies.read(request, SMALL) as data:
            asked = _decoded(data, AskToJoin)
        await service.enrolment.ask(asked.device, asked.invite, asked.proof)
        return Response(status_code=202)

    @public.get("/v1/devices/{device}/certificate", responses=answers(Admitted))
    async def certificate(device: Hex) -> Response:
        """The registrar's answer to a device."""
        return as_json(Admitted(await service.enrolment.answer(bytes.fromhex(device))))

    @public.get("/v1/tasks", responses=answers(list[TaskInfo]))
    async def all_tasks() -> Response:
        """Every task."""
        async with service.database.transaction() as connection:
            rows = (await connection.execute(_TASKS)).all()
        return as_json([_task_info(row) for row in rows])

    @public.get("/v1/tasks/{name}", responses=answers(TaskInfo))
    async def one_task(name: TaskName) -> Response:
        """A task."""
        async with service.database.transaction() as connection:
            row = (await connection.execute(_TASK, {"called": name})).first()
        if row is None:
            raise NotThere("There is no such task.")
        return as_json(_task_info(row))

    @public.get("/v1/tasks/{name}/releases/{number}", responses=answers(ReleaseInfo))
    async def release(name: TaskName, number: Number) -> Response:
        """A release of a task."""
        async with service.database.transaction() as connection:
            found = await service.releases.release(connection, name, number)
        return as_json(ReleaseInfo(found.message, found.place))

    @public.get("/v1/tasks/{name}/rounds/{number}", responses=answers(State))
    async def state(name: TaskName, number: Number) -> Response:
        """How far a round is."""
        return as_json(await service.rounds.state(name, number))

    @public.get("/v1/content/{digest}", responses=answers(bytes))
    async def content(digest: Hex) -> Response:
        """Released numbers: float32, little-endian."""
        return Response(await service.content.get(bytes.fromhex(digest)), media_type=BINARY)

    @public.get("/v1/log/checkpoint", responses=answers(str))
    async def checkpoint() -> Response:
        """The signed head of the log of releases."""
        async with service.database.transaction() as connection:
            note = await service.releases.log.checkpoint(connection)
        return Response(note, media_type="text/plain; charset=utf-8")

    @public.get("/v1/log/leaves/{place}", responses=answers(Leaf))
    async def leaf(place: Number, size: Size) -> Response:
        """An entry of the log, as it was with so many entries."""
        async with service.database.transaction() as connection:
            message, path = await service.releases.log.leaf(connection, place, size)
        return as_json(Leaf(message, path))

    @public.get("/v1/log/consistency", responses=answers(Consistency))
    async def consistency(old: Size, size: Size) -> Response:
        """What shows that the log with so many entries begins with an older one."""
        async with service.database.transaction() as connection:
            return as_json(Consistency(await service.releases.log.consistency(connection, old, size)))

    return public


def _of_devices(app: FastAPI, service: Service, unsigned: Unsigned) -> None:
    """What a device that was admitted does, by requests that it signs."""
    bodies, lengths = Bodies(), _Lengths(service)

    @contextlib.asynccontextmanager
    async def signed(request: Request, most: int) -> AsyncIterator[tuple[Signed, bytes]]:
        """Who signed a request, and its body, which is just what was signed."""
        try:
            by, body_sha256 = service.authentication.signed(request.method, _target(request), request.headers)
        except NotAllowed:
            unsigned.count(_host(request))
            raise
        if bodies.waits(request, most) and not await service.authentication.knows(by.device):
            raise NotAllowed("This device isn't admitted, or was revoked.")
        async with bodies.read(request, most) as data:
            if hashlib.sha256(data).digest() != body_sha256:
                raise NotAllowed("The request's body isn't the one that was signed.")
            yield by, data

    async def asking(request: Request) -> bytes:
        """The device that asks for something, once."""
        async with signed(request, 0) as (by, _):
            await service.authentication.use_up(by)
        return by.device

    @app.post("/v1/tasks/{name}/check-ins", responses=answers(Wait | Joined))
    async def check_in(name: TaskName, request: Request) -> Response:
        """A device is ready for a round."""
        return as_json(await service.check_ins.check_in(name, await asking(request)))

    @app.put(
        "/v1/tasks/{name}/rounds/{number}/{step}",
        status_code=204,
        responses=answers(None),
        openapi_extra=body(bytes),
    )
    async def take(name: TaskName, number: Number, step: Step, request: Request) -> Response:
        """A device's message of a step."""
        async with (
            signed(request, await lengths.of(name, step)) as (by, data),
            service.authentication.request(by) as connection,
        ):
            maybe = await service.rounds.take(connection, name, number, step, by.device, data)
        if maybe is not None:
            service.may_be_complete(maybe)
        return Response(status_code=204)

    @app.get("/v1/tasks/{name}/rounds/{number}/{step}", responses=answers(bytes))
    async def tell(name: TaskName, number: Number, step: Step, request: Request) -> Response:
        """What a device is told at the beginning of a step."""
        device = await asking(request)
        async with service.database.transaction() as connection:
            told = await service.rounds.tell(connection, name, number, step, device)
        return Response(told, media_type=BINARY)


class _Lengths:
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


def _target(request: Request) -> str:
    """Path and query, as they came."""
    path: bytes = request.scope.get("raw_path") or request.url.path.encode()
    query: bytes = request.scope["query_string"]
    return (path + (b"?" + query if query else b"")).decode("latin-1")


def _host(request: Request) -> str:
    return request.client.host if request.client else ""


def _decoded(data: bytes, kind: type[AskToJoin]) -> AskToJoin:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise NotAllowed("That is no request of this interface.") from None


def _task_info(row: Any) -> TaskInfo:  # noqa: ANN401  a row of tasks
    return TaskInfo(row.name, row.state, bytes(row.message), row.place, row.in_use, row.promotion or 0)


_TASKS = select(tasks).order_by(tasks.c.place)
_TASK = select(tasks).where(tasks.c.name == bindparam("called"))
