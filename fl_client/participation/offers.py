"""What a federation offers: tasks and releases, each seen to stand in the log before anything is done with it."""

import hashlib
from typing import NamedTuple

from federation.api import TaskInfo
from federation.messages import decode
from federation.releases import Promotion, Release
from federation.task import Task, read_task
from fl_client.errors import NotBelieved, TrainingFailed
from fl_client.participation.link import Link
from fl_client.participation.seen_log import SeenLog, believed
from fl_client.training.program import finite_numbers

__all__ = ["Offer", "Released", "offer_of", "offers_of", "release_in_use", "release_of"]

_MOST_RELEASE = 1024


class Offer(NamedTuple):
    """A task that stands in the log.

    Attributes:
        task: The task.
        info: How the orchestrator says that it is.
    """

    task: Task
    info: TaskInfo


class Released(NamedTuple):
    """A release that stands in the log, with its numbers.

    Attributes:
        release: The release.
        numbers: Little-endian float32, all finite.
    """

    release: Release
    numbers: bytes


async def offers_of(link: Link, log: SeenLog) -> list[Offer]:
    """Every task that a federation offers.

    Raises:
        NotBelieved: one isn't in the log, or is none.
    """
    await log.advance()
    return [await _offer(info, log) for info in await link.tasks()]


async def offer_of(link: Link, log: SeenLog, name: str) -> Offer:
    """One task.

    Raises:
        NotBelieved: it isn't in the log, or is none.
        Declined: there is none of this name.
    """
    await log.advance()
    return await _offer(await link.task(name), log)


async def _offer(info: TaskInfo, log: SeenLog) -> Offer:
    with believed("The federation"):
        task = read_task(info.message)
    if task.name != info.name:
        raise NotBelieved("The orchestrator calls a task by another name than its own.")
    await log.check(task, info.place)
    return Offer(task, info)


async def release_in_use(link: Link, log: SeenLog, offer: Offer) -> Released:
    """The release of a task that is in use, as the log says so.

    Raises:
        NotBelieved: the log doesn't say so, or the numbers aren't its own.
    """
    release = await _release(link, log, offer.task, offer.info.in_use)
    await log.check(Promotion(offer.task.digest, release.digest), offer.info.promotion)
    return Released(release, await _numbers(link, offer.task, release))


async def release_of(link: Link, log: SeenLog, task: Task, number: int) -> Released:
    """A release of a task: what a round begins with.

    Raises:
        NotBelieved: it isn't in the log, or the numbers aren't its own.
    """
    release = await _release(link, log, task, number)
    return Released(release, await _numbers(link, task, release))


async def _release(link: Link, log: SeenLog, task: Task, number: int) -> Release:
    info = await link.release(task.name, number)
    with believed("The federation"):
        release = decode(info.message, Release, _MOST_RELEASE)
    if release.task != task.digest or release.number != number:
        raise NotBelieved("The orchestrator gave out a release of something else than was asked for.")
    least = task.plan.secagg.min_cohort, task.plan.secagg.min_survivors
    if number and (release.cohort < least[0] or release.survivors < least[1]):
        raise NotBelieved("A release is said to be of fewer devices than its task ever sums.")
    await log.check(release, info.place)
    return release


async def _numbers(link: Link, task: Task, release: Release) -> bytes:
    count = task.plan.privacy.parameters
    numbers = await link.content(release.content, 4 * count)
    if hashlib.sha256(numbers).digest() != release.content:
        raise NotBelieved("The numbers of a release aren't those that the log says.")
    try:
        finite_numbers(numbers, count)
    except TrainingFailed:
        raise NotBelieved("The numbers of a release are none that an adapter can have.") from None
    return numbers
