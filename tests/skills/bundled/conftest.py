"""The embedded model as skills see it, loaded once."""

from collections.abc import Iterator

import pytest

from agent.models.embedded import EMBEDDED_NAME, embedded_file
from agent.skill_model import SkillModel
from tests.agent.talk import worker
from vault.model_store import ModelRecord


@pytest.fixture(scope="session")
def model() -> Iterator[SkillModel]:
    """The real embedded model, in a worker of its own."""
    record = ModelRecord(EMBEDDED_NAME, "", "ab" * 32, 0, "", "llama", 8192, 0, "Q4_1", "", 0)
    with worker(embedded_file()) as inference:
        yield SkillModel(inference, record)
