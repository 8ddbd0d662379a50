"""A device in a process of its own, which stops before it says what it says at a step, and waits to be killed."""

import asyncio
import sys
import time
from pathlib import Path

import numpy as np

from fl_client.participation.consents import Consents, task_of
from fl_client.participation.link import Link
from tests.fl_client.participation.people import Person, Pupil
from tests.fl_client.participation.test_taking_part import take_part

__all__ = ["main"]


def main(folder: Path, step: str) -> None:
    """Take part until then."""
    person = Person.back(folder)
    say, upload = Link.say, Link.upload

    def stop(at: str) -> None:
        if at == step:
            print(step, flush=True)
            time.sleep(600)

    async def saying(self: Link, task: str, number: int, at: str, message: object) -> None:
        stop(at)
        await say(self, task, number, at, message)  # type: ignore[arg-type]

    async def uploading(self: Link, task: str, number: int, masked: object, what: str) -> None:
        stop("mask")
        await upload(self, task, number, masked, what)  # type: ignore[arg-type]

    Link.say, Link.upload = saying, uploading  # type: ignore[method-assign, assignment]
    (consent,) = [one for one in Consents(person.vault).store.held() if one.task]
    pupil = Pupil(task_of(consent), lambda _round: np.full(40, 0.01))
    asyncio.run(take_part(person, consent, pupil))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
