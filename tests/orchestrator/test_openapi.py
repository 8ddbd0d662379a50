"""docs/openapi.json describes the interface that there is."""

import json
from pathlib import Path

from orchestrator.openapi import described

KEPT = Path(__file__).parents[2] / "docs" / "openapi.json"


def test_the_description_in_the_repository_is_of_this_interface(tmp_path: Path) -> None:
    """FastAPI's own words differ from version to version: what has to agree are addresses, answers and messages."""
    kept, found = json.loads(KEPT.read_text()), json.loads(described(tmp_path))
    assert kept["components"] == found["components"]
    assert _answers(kept) == _answers(found)


def _answers(document: dict[str, dict[str, dict[str, dict[str, object]]]]) -> dict[tuple[str, str], object]:
    return {
        (address, method): (operation["responses"], operation.get("requestBody"))
        for address, methods in document["paths"].items()
        for method, operation in methods.items()
    }
