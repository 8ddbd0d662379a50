"""A federation of a dozen devices, and a round of it."""

import pytest

from tests.federation.rounds import Federation, plan_of
from tests.federation.secagg.story import COHORT, PLAN, PRIVACY, Story


@pytest.fixture(scope="module")
def federation() -> Federation:
    return Federation(COHORT, plan_of(PLAN, PRIVACY))


@pytest.fixture
def story(federation: Federation) -> Story:
    return Story(federation)
