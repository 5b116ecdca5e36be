"""Axes of log ratios of errors, read in per cent, and labels at the ends of lines."""

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.axes import Axes

from experiments.analysis.planned import MARGIN
from experiments.figures.style import FORBIDDEN, LINE, height_of, look, short, width_of

LEAST, MOST = np.log(1.2), np.log(2.0)  # that an axis reaches, either way
TICKS = np.log1p([-0.6, -0.4, -0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0])
LABEL = 0.14  # inches from one label to the next
LETTER = 0.064  # inches of a label
Ends = tuple[float, float]


def reach(values: Iterable[float], most: float = MOST) -> Ends:
    """Of an axis that shows values as far as it may."""
    known = [value for value in values if np.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    return max(min(1.08 * low, -LEAST), -MOST), min(max(1.08 * high, LEAST), most)


def percent_axis(axes: Axes, which: str, ends: Ends) -> None:
    """Limits and ticks of the axis "x" or "y", with a line at 0."""
    room, size = (0.38, width_of(axes)) if which == "x" else (0.2, height_of(axes))
    apart = (ends[1] - ends[0]) * room / size  # for a label
    shown = [0.0]
    for tick in sorted(TICKS, key=abs)[1:]:
        if ends[0] <= tick <= ends[1] and min(abs(tick - one) for one in shown) >= apart:
            shown.append(float(tick))
    axes.set(**{f"{which}lim": ends})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(sorted(shown), [percent_text(tick) for tick in sorted(shown)])
    line = axes.axvline if which == "x" else axes.axhline
    line(0, color=LINE, linewidth=0.8, zorder=0.6)


def band(axes: Axes, which: str) -> None:
    """Shades what is too little to count."""
    span = axes.axvspan if which == "x" else axes.axhspan
    span(-MARGIN, MARGIN, color=FORBIDDEN, linewidth=0, zorder=0.4)


def percent_text(logarithm: float) -> str:
    value = 100 * np.expm1(logarithm)
    return "0" if logarithm == 0 else f"{value:+.0f} %".replace("-", "−")


def label_ends(axes: Axes, ends: Mapping[str, float]) -> None:
    """Strategies' names at the right of a panel, each near its height, behind its marker; limits
    must be set."""
    names = sorted(ends, key=lambda name: ends[name])
    to_share = axes.transData + axes.transAxes.inverted()
    shares = [to_share.transform((axes.get_xlim()[1], ends[name]))[1] for name in names]
    heights = apart(shares, LABEL / height_of(axes))
    inch = 1 / width_of(axes)
    for name, height in zip(names, heights, strict=True):
        mark = {"markersize": 4, "clip_on": False, "transform": axes.transAxes}
        axes.plot(1 + 0.1 * inch, height, **mark, **look(name))
        at = {"transform": axes.transAxes, "fontsize": 8, "va": "center_baseline"}
        axes.text(1 + 0.18 * inch, height, short(name), **at)


def room_for(names: Iterable[str]) -> float:
    """Inches that such labels take."""
    return 0.25 + LETTER * max(len(short(name)) for name in names)


def apart(values: Iterable[float], least: float) -> list[float]:
    """Rising values moved apart to that distance at least, as little as may be: those that touch
    lie around their mean."""
    blocks: list[list[float]] = []  # of values that touch
    for value in values:
        blocks.append([value])
        while len(blocks) > 1 and _bottom(blocks[-1], least) - _top(blocks[-2], least) < least:
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    return [
        _bottom(block, least) + least * place for block in blocks for place in range(len(block))
    ]


def _bottom(block: list[float], least: float) -> float:
    return float(np.mean(block)) - least * (len(block) - 1) / 2


def _top(block: list[float], least: float) -> float:
    return float(np.mean(block)) + least * (len(block) - 1) / 2
