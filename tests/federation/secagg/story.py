"""A round with a server of which a test says what it tells: up to some step it is honest."""

from federation.privacy.plan import PrivacyPlan
from federation.secagg.client import Client
from federation.secagg.cohort import to_bitmap
from federation.secagg.plan import SecAggPlan
from federation.secagg.wire import (
    Graph,
    Masked,
    Roster,
    Share,
)
from tests.federation.rounds import Federation, numbers_of

__all__ = [
    "AGREEING",
    "COHORT",
    "EVERYBODY",
    "NEIGHBOURS",
    "PLAN",
    "PRIVACY",
    "THRESHOLD",
    "VICTIM",
    "Story",
    "number_of",
]

COHORT, NEIGHBOURS, THRESHOLD = 12, 8, 6
PRIVACY = PrivacyPlan(64, 1.0, 1000.0, 18, 100, bytes(32))
PLAN = SecAggPlan(64, 18, NEIGHBOURS, THRESHOLD, 10, COHORT, 8, 0, 1)
AGREEING = PLAN.agreeing(COHORT)
EVERYBODY = to_bitmap([True] * COHORT)
VICTIM = 0


class Story:
    """A round up to some step, told by an honest server unless a test changes what it says."""

    def __init__(self, federation: Federation) -> None:
        federation.begin()
        self.federation, self.server, self.devices = federation, federation.server, federation.devices
        self.victim = self.devices[VICTIM]

    def to_roster(self) -> Roster:
        for device in self.devices:
            self.server.take_advert(device.advertise())
        return self.server.roster()

    def to_graph(self) -> Graph:
        roster = self.to_roster()
        for device in self.devices:
            self.server.take_reveal(device.reveal(roster))
        return self.server.graph()

    def to_shares(self) -> list[Share]:
        graph = self.to_graph()
        shares = [device.share(graph) for device in self.devices]
        for share in shares:
            self.server.take_share(share)
        self.server.close_shares()
        return shares

    def to_masked(self) -> list[Masked]:
        self.to_shares()
        self.updates = [self.federation.update(number) for number in range(COHORT)]
        self.truth = PLAN.ring.to_signed(numbers_of(self.updates[VICTIM]))
        masked = [
            device.mask(self.server.deliver(device.device), update).message
            for device, update in zip(self.devices, self.updates, strict=True)
        ]
        for each in masked:
            self.server.take_masked(each)
        return masked


def number_of(story: Story, device: Client) -> int:
    return story.server.devices.index(device.device)
