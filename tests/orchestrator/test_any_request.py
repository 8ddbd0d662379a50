"""Whatever is asked, in a form that the description allows or doesn't, is answered, and never as a failure."""

import asyncio
import contextlib
import os
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from federation.requests import sign_request
from tests.orchestrator.devices import Device
from tests.orchestrator.federations import task_of
from tests.orchestrator.replicas import Operator

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what it stands on
    import requests
    import schemathesis
    from schemathesis.generation import GenerationMode

DESCRIPTION = Path(__file__).parents[2] / "docs" / "openapi.json"
TASK = task_of(20)
EXAMPLES = 10
SERVER_S_OWN = 500


class Signs:
    """Signs what is sent, as a device."""

    def __init__(self, identity: Ed25519PrivateKey) -> None:
        self._identity = identity
        self._counter = 1_000

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        self._counter += 1
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        signed = sign_request(
            self._identity, request.method, request.path_url, body, self._counter, time.time(), os.urandom
        )
        request.headers.update(signed)
        return request


async def joined(operator: Operator) -> Device:
    invite = await asyncio.to_thread(operator.invite, 1)
    async with operator.client() as http:
        device = Device(http, lambda _round: np.zeros(40))
        await device.join(invite, TASK.name)
        assert (await device.signed("POST", f"/v1/tasks/{TASK.name}/check-ins")).status_code == 200
        return device


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.filterwarnings("ignore")
def test_nothing_that_is_asked_has_the_orchestrator_fail(tmp_path: Path, mode: GenerationMode) -> None:
    operator = Operator(tmp_path)
    answered = set[int]()
    with operator.running(), requests.Session() as session:
        operator.open(TASK)
        signs = Signs(asyncio.run(joined(operator)).identity)
        trusted = str(operator.certificate)

        def send(case: schemathesis.Case, auth: Signs | None) -> None:
            if "name" in case.path_parameters and len(case.path_parameters["name"]) % 2:
                case.path_parameters["name"] = TASK.name  # so that it isn't merely another task that there isn't
            got = case.call(base_url=operator.addresses[0], session=session, auth=auth, verify=trusted)
            assert got.status_code < SERVER_S_OWN, got.content
            answered.add(got.status_code)

        for found in schemathesis.openapi.from_path(str(DESCRIPTION)).get_all_operations():
            cases = found.ok().as_strategy(generation_mode=mode)
            for auth in (None, signs):
                send_so = partial(send, auth=auth)

                @settings(
                    max_examples=EXAMPLES,
                    deadline=None,
                    database=None,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )
                @given(case=cases)
                def any_case(case: schemathesis.Case) -> None:
                    send_so(case)  # noqa: B023  it is called below

                with contextlib.suppress(Unsatisfiable):  # there is no other form of what has no parts
                    any_case()
        assert session.get(f"{operator.addresses[0]}/v1/health", verify=trusted).status_code == 204
    assert {200, 403, 404} <= answered if mode is GenerationMode.POSITIVE else {400, 404} <= answered
