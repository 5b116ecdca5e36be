"""The planned comparisons: errors relative to another strategy's, over groups."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.analysis.effects import AGAINST
from experiments.analysis.planned import PLANNED
from experiments.analysis.study import Study
from experiments.figures import ratios
from experiments.figures.style import (
    NAMES,
    Sketch,
    at_left,
    dots,
    look,
    panels,
    percent,
    row_labels,
    width_of,
)

HEIGHT = 0.36  # inches of a row
Interval = tuple[float, float, float]  # value, low, high; NaN: no such end
Row = tuple[Interval, Sequence[float], str]
"""A log ratio with its interval, those of the groups, and what is said of them."""


def planned(of: Study) -> Sketch | None:
    """What each comparison gave, a panel a backbone."""
    found: dict[str, dict[str, Row]] = {}
    for one in of.comparisons:
        if of.choice.shows(one.strategy):
            share = of.never_start(one.backbone, one.strategy)
            said = one.verdict + f"\n{percent(share)} % never start" * (share > 0)
            values = [effect.value for effect in one.effects.values()]
            row = one.center, values, said
            found.setdefault(one.backbone, {})[one.strategy] = row
    if not found:
        return None
    counts = sorted({one.pooled.groups for one in of.comparisons})
    return Sketch(
        name="planned_comparisons",
        figure=forest(found),
        title=f"Error relative to {AGAINST}: the planned comparisons",
        caption=(
            f"By how much the mse differs from that of `{AGAINST}`, by rank over "
            f"{' or '.join(map(str, counts))} groups, with its 95 % interval; each group is a "
            "small dot, left is better, an arrow lies beyond the axis. In the shaded band (5 %) a "
            "difference does not count; at the right is the verdict, by signed-rank tests "
            "adjusted for all comparisons."
        ),
    )


def forest(found: Mapping[str, Mapping[str, Row]]) -> Figure:
    """A panel for each key, a row for each strategy."""
    names = [name for name in PLANNED if any(name in rows for rows in found.values())]
    size = (3.0, HEIGHT * len(names))
    figure, grid = panels(len(found), 2, size, left=NAMES, right=1.15, top=0.3, gap=(1.25, 0.6))
    ends = ratios.reach(
        value
        for rows in found.values()
        for interval, values, _ in rows.values()
        for value in (*interval, *values)
    )
    for axes, (title, rows) in zip(grid, found.items(), strict=True):
        ratios.band(axes, "x")
        for name, (interval, values, said) in rows.items():
            row, color = names.index(name), look(name)["color"]
            dots(axes, row + 0.24, values, ends, color, spread=0)
            mean(axes, row - 0.1, name, interval, ends)
            place = (1 + 0.08 / width_of(axes), row)
            axes.text(*place, said, transform=axes.get_yaxis_transform(), fontsize=8, va="center")
        axes.set_title(title)
        row_labels(axes, names)
        axes.tick_params(labelleft=at_left(axes))
        ratios.percent_axis(axes, "x", ends)
    figure.supxlabel(f"mse relative to {AGAINST}")
    return figure


def mean(axes: Axes, row: float, name: str, interval: Interval, ends: tuple[float, float]) -> None:
    """A strategy's mark with its interval; beyond an end it is an arrow there."""
    value, low, high = np.clip(interval, *ends)
    style = look(name)
    if interval[0] != value:
        style = style | {"marker": "<" if value == ends[0] else ">"}
    axes.plot([low, high], [row, row], color=style["color"], linewidth=1.6)
    mark = {"linestyle": "", "markersize": 5.5, "zorder": 3, "clip_on": False}
    axes.plot(value, row, label=name, **mark, **style)
