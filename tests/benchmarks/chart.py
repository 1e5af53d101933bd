"""Draws figures as bars and as lines, in SVG, with Matplotlib.

The same figures give the same bytes: there is no date in them, and no random id.
Text stays text, so a diff shows which figure changed. The white ground keeps a chart readable on a dark page.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.typing import RcKeyType

WIDTH = 10.0
"""A chart's width, in inches."""
BAR, PANEL, TITLE = 0.26, 1.75, 0.7
"""The height of each, in inches."""
OURS, OTHERS = "#0b7285", "#adb5bd"
COLOURS = (OURS, "#e8590c", "#5f3dc4", "#2b8a3e")
STYLE: dict[RcKeyType, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": OTHERS,
    "svg.fonttype": "none",
    "svg.hashsalt": "sweephand",
}


def bars(title: str, rows: Sequence[tuple[str, float]], unit: str) -> str:
    """Return an SVG document with a bar for each (name, value), the first on top; Sweephand's own stand out."""
    names = [name for name, _ in rows]
    values = [value for _, value in rows]
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, BAR * len(rows) + TITLE), layout=_layout())
        axes = figure.subplots()
        colours = [OURS if name.startswith("Sweephand") else OTHERS for name in names]
        drawn = axes.barh(range(len(rows)), values, height=0.75, color=colours)
        axes.bar_label(drawn, [f"{value:,.0f} {unit}" for value in values], padding=4)
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(left=False, bottom=False, labelbottom=False)
        axes.spines["bottom"].set_visible(False)
        figure.suptitle(title, fontweight="bold")
        return _svg(figure)


def lines(title: str, panels: Sequence[tuple[str, Mapping[str, Sequence[float]]]], minutes: Sequence[float]) -> str:
    """Return an SVG document with a panel for each (name, {series: values}), one below the other."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, PANEL * len(panels) + TITLE), layout=_layout())
        grid = figure.subplots(len(panels), sharex=True, squeeze=False)
        for axes, (name, series) in zip(grid[:, 0], panels, strict=True):
            for (label, values), colour in zip(series.items(), COLOURS, strict=False):
                axes.plot(minutes, values, color=colour, linewidth=1.2, label=label)
            axes.set_title(name)
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_formatter("{x:,.0f}")
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
        grid[-1, 0].set_xlim(0, minutes[-1])
        grid[-1, 0].set_xlabel("minute")
        figure.suptitle(title, fontweight="bold")
        return _svg(figure)


def _layout() -> ConstrainedLayoutEngine:
    # A viewer may set the text in a font that is wider than the one that it was measured in.
    return ConstrainedLayoutEngine(w_pad=0.25, h_pad=0.1)


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())
