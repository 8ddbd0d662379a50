"""What a federation offers, and a preview of what would leave: before anybody agreed to a task.

Both need the consent to belong to the federation, and nothing more; nothing of one's own is sent.
"""

import asyncio
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from federation.messages import encode
from fl_client.errors import NotBelieved
from fl_client.limits.judge import Limits, Spent
from fl_client.participation.bounds import Bounds
from fl_client.participation.consents import described
from fl_client.participation.desk import door_of
from fl_client.participation.learning import Learner, OpenModel, Told
from fl_client.participation.membership import Membership
from fl_client.participation.offers import Offer, offer_of, offers_of, release_in_use
from fl_client.participation.preview import Preview, preview_of
from fl_client.participation.seen_log import SeenLog
from fl_client.participation.stopping import Stopping, ended
from vault.consent_store import ConsentStore
from vault.errors import NotFound
from vault.example_store import ExampleStore
from vault.federation_store import FederationRecord, find_federation

if TYPE_CHECKING:
    from vault.settings import Settings
    from vault.store import Vault

__all__ = ["Offered", "Previewed", "offered", "preview"]

_WITHIN_S = 7 * 24 * 3600.0


class Offered(NamedTuple):
    """A task that a federation offers, as a person is told of it.

    Attributes:
        federation: Which.
        offer: The task, and how it is.
        message: The task as the federation encodes it.
        text: All that a person should know.
    """

    federation: FederationRecord
    offer: Offer
    message: bytes
    text: str


class Previewed(NamedTuple):
    """A preview.

    Attributes:
        task: Its name.
        rows: Examples that were learned from.
        preview: What would leave.
    """

    task: str
    rows: int
    preview: Preview


async def offered(vault: "Vault", settings: "Settings", wanted: str | None = None) -> list[Offered]:
    """What federations offer: one task, `TASK` or `FEDERATION/TASK`, or all tasks of all federations.

    Raises:
        NotFound: this device belongs to no federation, or to none that offers such a task.
        NotBelieved: what one says isn't in its log.
        Unreachable: one doesn't answer.
    """
    membership, found = Membership(vault), list[Offered]()
    named, _, task = (wanted or "").rpartition("/")
    known = membership.store.all()
    for federation in [find_federation(known, named)] if named else known:
        async with door_of(vault, settings) as door:
            link = membership.link(door, federation)
            log = SeenLog(link, membership.store, federation.id)
            offers = await offers_of(link, log)
        for offer in offers:
            if not task or offer.task.name == task:
                examples = len(ExampleStore(vault.database).records(offer.task.skill))
                text = described(federation, offer.task, examples)
                found.append(Offered(federation, offer, encode(offer.task), text))
    if not known:
        find_federation(known, None)
    if wanted and not found:
        raise NotFound(f"No federation of yours offers {wanted}.", hint="`claw consent show` lists what they do.")
    if wanted and len(found) > 1:
        names = ", ".join(f"{one.federation.name}/{one.offer.task.name}" for one in found)
        raise NotFound(f"More than one federation offers {wanted}.", hint=f"Say which: {names}.")
    return found


async def preview(
    vault: "Vault",
    settings: "Settings",
    wanted: str,
    open_model: OpenModel,
    ends: threading.Event,
    told: Told | None = None,
) -> Previewed:
    """Learn for real, on the release that is in use, and make what would be sent of it; it stays here.

    A person asked for it, so that only what training may take of the machine is limited.

    Args:
        vault: Open.
        settings: The person's.
        wanted: `TASK` or `FEDERATION/TASK`.
        open_model: Opens the model that the task is for.
        ends: Ends it, when set.
        told: Told how far it is.

    Raises:
        NotFound, NotBelieved, Unreachable: as `offered`.
        NotTrainable, TrainingStopped, TrainingFailed: nothing could be learned.
    """
    (one,) = await offered(vault, settings, wanted)
    membership = Membership(vault)
    belongs = next(c for c in ConsentStore(vault.database).held(one.federation.id) if not c.task)
    stop = Stopping(vault, belongs, ends)
    # As a person asked for it, now: how much of the machine it may take is limited, and when it may isn't.
    asked = msgspec.structs.replace(
        settings.limits, charger=False, idle_minutes=0, unmetered=False, hours="00:00-24:00"
    )
    limits = Limits(asked)
    learner = Learner(vault, one.offer.task, open_model, limits.machine)
    async with door_of(vault, settings) as door, stop.unless(ended):
        link = membership.link(door, one.federation)
        log = SeenLog(link, membership.store, one.federation.id)
        offer = await offer_of(link, log, one.offer.task.name)
        if offer.task.digest != one.offer.task.digest:
            raise NotBelieved("The task changed while it was looked at.")
        released = await release_in_use(link, log, offer)
        bounds = Bounds(limits, lambda: Spent(0, 0.0), lambda _seconds: None)
        until = time.monotonic() + _WITHIN_S
        learned = await asyncio.to_thread(
            lambda: learner.learn(released.numbers, 0, until=until, stop=stop, bounds=bounds, told=told)
        )
        made = await asyncio.to_thread(preview_of, one.offer.task, learned.delta)
    return Previewed(one.offer.task.name, learned.rows, made)
