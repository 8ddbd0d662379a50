"""Kinds of arguments that several verbs take: numbers with their bounds."""

import argparse
from collections.abc import Callable

__all__ = ["number_at_least", "temperature"]

_MOST = 2**32 - 1


def number_at_least(least: int) -> Callable[[str], int]:
    """A kind of argument: a whole number that isn't below `least`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if not least <= number <= _MOST:
            raise argparse.ArgumentTypeError(f"it lies between {least} and {_MOST:,}")
        return number

    return parse


def temperature(text: str) -> float:
    """A kind of argument: a sampling temperature."""
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= number <= 10:
        raise argparse.ArgumentTypeError("it lies between 0 and 10")
    return number
