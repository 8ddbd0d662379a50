"""The data of a simulation: a file of JSON lines, as `claw skill examples` takes them, and where each came from."""

from pathlib import Path
from typing import NamedTuple

from fl_client.errors import SimulationRefused
from skills.example_lines import Fields, Reader, numbered_lines
from vault.portability.files import open_plain
from vault.sanitize import sanitize_line

__all__ = ["Labelled", "read_examples"]


class Labelled(NamedTuple):
    """Examples.

    Attributes:
        texts: That were said.
        labels: Of each what was wanted.
        groups: Of each the value of the field that devices are made by; empty without one.
    """

    texts: list[str]
    labels: list[str]
    groups: list[str]


def read_examples(path: Path, fields: Fields, group: str | None) -> Labelled:
    """Read a file.

    Args:
        path: To it.
        fields: With the text and its label.
        group: The field that devices are made by.

    Raises:
        SimulationRefused: it can't be read, or has nothing in it.
        ExampleRefused: a line lacks a field.
    """
    name = sanitize_line(path.name, 100)
    reader = Reader(fields)
    groups = Reader(Fields((group,), fields.output)) if group is not None else None
    found = Labelled([], [], [])
    try:
        with open_plain(path) as file:
            for number, line in numbered_lines(file, name):
                place = f"{name}, line {number}"
                text, label = reader.read(line, place)
                found.texts.append(text)
                found.labels.append(label)
                if groups is not None:
                    found.groups.append(groups.read(line, place)[0])
    except OSError as error:
        raise SimulationRefused(f"{path} can't be read: {error.strerror}.") from error
    if not found.texts:
        raise SimulationRefused(f"There is nothing in {name}.")
    return found
