"""Accuracy round by round, as an SVG that needs nothing to be looked at."""

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

__all__ = ["Curve", "plot"]

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 380, 56, 150, 20, 44
_COLOURS = ("#1b6ca8", "#2a8f5a", "#c2571a", "#7a4fb5")
_LEAST, _MOST = 0.65, 1.0


class Curve(NamedTuple):
    """One line.

    Attributes:
        label: At its end.
        accuracies: Before the first round, and after each.
    """

    label: str
    accuracies: tuple[float, ...]


def plot(curves: Sequence[Curve]) -> str:
    """The lines of some curves above their rounds."""
    longest = max(len(curve.accuracies) for curve in curves) - 1
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def x(round_: int) -> float:
        return _LEFT + (right - _LEFT) * round_ / longest

    def y(accuracy: float) -> float:
        return bottom - (bottom - _TOP) * (max(accuracy, _LEAST) - _LEAST) / (_MOST - _LEAST)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="13" fill="#444">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
    ]
    for percent in range(65, 101, 5):
        at = y(percent / 100)
        parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{percent} %</text>')
    for round_ in range(0, longest + 1, 5):
        parts.append(f'<text x="{x(round_):.1f}" y="{bottom + 18}" text-anchor="middle">{round_}</text>')
    parts.append(f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">rounds</text>')
    for number, curve in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{x(at):.1f},{y(one):.1f}" for at, one in enumerate(curve.accuracies))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        last = curve.accuracies[-1]
        end = x(len(curve.accuracies) - 1) + 8
        words = escape(f"{curve.label}: {last:.1%}")
        parts.append(f'<text x="{end:.1f}" y="{y(last) + 4:.1f}" fill="{colour}">{words}</text>')
    return "\n".join([*parts, "</svg>", ""])
