"""What came of a simulation, for a person: a page that needs nothing else to be looked at, and a picture."""

import base64
import html
import io
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from federation.task import Task
from fl_client.errors import SimulationRefused
from fl_client.simulation.run import RoundEnded
from fl_client.simulation.traffic import traffic_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Report", "check_installed", "page_of", "picture_of"]

_MIB = 2.0**20
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .15rem .7rem; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left }
img { max-width: 100% }
"""


class Report(NamedTuple):
    """A simulation that ended.

    Attributes:
        task: That was learned.
        setting: What it was done with, by name.
        before: Loss and accuracy on the held-out examples before anything was learned; no accuracy where nothing is
            right or wrong.
        rounds: That were done.
        gains: Of each device that holds examples out, by how much their loss fell, in nats.
        stopped: Whether somebody stopped it.
    """

    task: Task
    setting: dict[str, str]
    before: tuple[float, float | None]
    rounds: tuple[RoundEnded, ...]
    gains: NDArray[np.float64]
    stopped: bool

    @property
    def after(self) -> tuple[float, float | None]:
        """Loss and accuracy in the end."""
        return (self.rounds[-1].loss, self.rounds[-1].accuracy) if self.rounds else self.before

    @property
    def better(self) -> float:
        """Share of the devices that hold examples out whose loss fell; 0 where none does."""
        return float(np.mean(self.gains > 0)) if self.gains.size else 0.0

    @property
    def sent(self) -> int:
        """Bytes that all devices together sent, but for requests around the messages."""
        return sum(traffic_of(self.task, one.cohort).up * one.survivors for one in self.rounds)


def check_installed() -> None:
    """See that pictures can be made, before there is anything to be shown.

    Raises:
        SimulationRefused: they can't.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise SimulationRefused(
            "The report's picture needs matplotlib, which isn't installed.",
            hint="pip install 'openclaw-core[sim]'",
        ) from None


def picture_of(report: Report) -> bytes:
    """The report's curves, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(2, 3)
    numbers = [0, *(one.number for one in report.rounds)]
    if report.before[1] is None:
        axes[0, 0].set_axis_off()
    else:
        right = [report.before[1], *(one.accuracy or 0.0 for one in report.rounds)]
        _line(axes[0, 0], "accuracy on held-out examples", numbers, right)
    _line(
        axes[0, 1],
        "loss on held-out examples, nats",
        numbers,
        [report.before[0], *(one.loss for one in report.rounds)],
    )
    _line(axes[0, 2], "ε spent, of who took part most", numbers, [0.0, *(one.epsilon for one in report.rounds)])
    sent = [traffic_of(report.task, one.cohort).up * one.survivors / _MIB for one in report.rounds]
    _line(axes[1, 0], "sent by all devices, MiB", numbers, [0.0, *np.cumsum(sent).tolist()])
    lost = [one.cohort - one.survivors for one in report.rounds]
    axes[1, 1].bar(numbers[1:], lost, color="#c2571a")
    axes[1, 1].set_title("devices lost in a round", fontsize=10)
    if report.gains.size:
        axes[1, 2].hist(report.gains, bins=40, color="#2a8f5a")
        axes[1, 2].axvline(0, color="#222", linewidth=1)
    axes[1, 2].set_title("devices by what they gain, nats", fontsize=10)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def _line(axes: "Axes", title: str, numbers: list[int], values: list[float]) -> None:
    axes.plot(numbers, values, color="#1b6ca8")
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("round", fontsize=9)
    axes.grid(visible=True, color="#e5e5e5")


def page_of(report: Report, picture: bytes) -> str:
    """The report, as one page of HTML with the picture in it."""
    task = report.task
    rows = [
        (
            str(one.number),
            f"{one.cohort:,}",
            f"{one.survivors:,}" + ("" if one.opened else " (too few)"),
            f"{one.loss:.3f}",
            _share(one.accuracy),
            f"{one.epsilon:.2f}",
            f"{one.clipped:.0%}",
            "the same sum" if one.masked else "",
        )
        for one in report.rounds
    ]
    heads = ("round", "cohort", "updates", "loss", "accuracy", "ε spent", "clipped", "through all masks")
    told = "".join(f"<tr><td>{_safe(name)}</td><td>{_safe(value)}</td></tr>" for name, value in _facts(report))
    image = base64.b64encode(picture).decode()
    stopped = "<p><strong>It was stopped before its end.</strong></p>" if report.stopped else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{_safe(task.name)}, simulated</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>{_STYLE}</style></head><body>
<h1>{_safe(task.name)}, simulated</h1>
<p>{_safe(task.purpose)}</p>{stopped}
<p>Devices and server ran the code that real ones run. What is left to chance came from a seed, so that its noise
hides nothing: these releases are for looking at, and for nothing else.</p>
<table>{told}</table>
<p><img alt="Accuracy, loss, ε, bytes, lost devices and gains" src="data:image/png;base64,{image}"></p>
<table>{_row("th", heads)}{"".join(_row("td", row) for row in rows)}</table>
</body></html>
"""


def _facts(report: Report) -> list[tuple[str, str]]:
    plan = report.task.plan
    spent = report.rounds[-1].epsilon if report.rounds else 0.0
    gains = report.gains
    return [
        *report.setting.items(),
        ("accuracy before, and after", f"{_share(report.before[1])}, {_share(report.after[1])}"),
        ("loss before, and after", f"{report.before[0]:.3f}, {report.after[0]:.3f} nats"),
        ("ε spent, of who took part most", f"{spent:.2f} at δ = {plan.delta:g}"),
        ("ε that the plan allows", f"{plan.epsilon():.2f}, in {plan.participations} participations"),
        ("sent by all devices", f"{report.sent / _MIB:,.1f} MiB"),
        ("devices that hold examples out", f"{gains.size:,}"),
        (
            "of them better off, median gain",
            f"{report.better:.0%}, {np.median(gains):.3f} nats" if gains.size else "none to judge by",
        ),
    ]


def _row(kind: str, cells: tuple[str, ...]) -> str:
    return "<tr>" + "".join(f"<{kind}>{_safe(cell)}</{kind}>" for cell in cells) + "</tr>"


def _share(accuracy: float | None) -> str:
    return "–" if accuracy is None else f"{accuracy:.1%}"


def _safe(text: str) -> str:
    return html.escape(text)
