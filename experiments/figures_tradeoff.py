"""Error or skill against violation, one mark a strategy, with the Pareto front."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import linear_sum_assignment

from experiments.drawing import (
    LEAST_LOSS,
    MOST_LOSS,
    NAMES,
    PALE,
    ROW,
    Sketch,
    Spreads,
    apart,
    draw_lines,
    foot,
    inches,
    listed,
    log_axis,
    look,
    loss_ends,
    number,
    panels,
    short,
    slug,
    whole,
)

LEAST_SKILL = -0.5


class Mark(NamedTuple):
    """A strategy in the plane: its score with an interval (NaN: none), and violation rate."""

    x: float
    low: float
    high: float
    rate: float


Marks = Mapping[str, Mark]


def pareto(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Those that no other equals in both and beats in one, lower being better; by the second."""
    front = [
        name
        for name, (x, y) in points.items()
        if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points.values())
    ]
    return sorted(front, key=lambda name: points[name][::-1])


def loss_violation(dataset: str, backbones: Mapping[str, Spreads]) -> Sketch:
    """Test loss against violation rate on one dataset, a panel a backbone."""
    marks: dict[str, dict[str, Mark]] = {}
    for backbone, found in backbones.items():
        marks[backbone] = {}
        for name, metrics in found.items():
            loss, rate = metrics["mse"], metrics["violation_rate"]
            if math.isfinite(loss.mean) and math.isfinite(rate.mean):
                marks[backbone][name] = Mark(max(loss.mean, LEAST_LOSS), *loss.interval, rate.mean)
    ends = loss_ends(whole(mark.x for found in marks.values() for mark in found.values()))

    def scale(axes: Axes) -> None:
        axes.set_xscale("log")
        axes.set_xlim(ends)
        log_axis(axes.xaxis, *ends)

    figure, fronts = _draw(marks, scale, less_is_better=True)
    foot(figure, "Test loss: mean squared error")
    return Sketch(
        name=f"loss_violation_{slug(dataset)}",
        figure=figure,
        title=f"Loss against violation: {short(dataset)}",
        caption=(
            "Mean squared error on test (left is better) against the share of outputs outside the "
            "bounds, as means over seeds; bars: 95 % interval of the mean loss over seeds. Those "
            "that never violate stand below, best first; ringed, and joined by the dark line, is "
            "the Pareto front: no other strategy is better in one and as good in the other. "
            f"Losses below {LEAST_LOSS:g} or above {MOST_LOSS:g} are drawn there."
        ),
        alt=_alt(f"Loss and violation rate on {short(dataset)}.", marks, fronts, "loss"),
        dataset=dataset,
    )


def skill_violation(
    skills: Mapping[str, Mapping[str, tuple[float, float, float]]],
    rates: Mapping[str, Mapping[str, float]],
    counted: str,
) -> Sketch:
    """Skill across groups against mean violation rate.

    Args:
      skills: by backbone and strategy, the mean with its interval.
      rates: by backbone and strategy, averaged as the skills are.
      counted: how many groups there are, in words.
    """
    marks = {
        backbone: {
            name: Mark(*skill, rates[backbone][name])
            for name, skill in found.items()
            if math.isfinite(rates[backbone][name])  # not one whose every cell of a dataset failed
        }
        for backbone, found in skills.items()
    }
    every = [mark for found in marks.values() for mark in found.values()]

    def scale(axes: Axes) -> None:
        low = max(min(0.0, *(mark.low for mark in every)), LEAST_SKILL)
        axes.set_xlim(low - 0.05, max(0.1, *(mark.high for mark in every)) + 0.05)
        axes.axvline(0, color="#888888", linewidth=0.8, zorder=0.6)

    figure, fronts = _draw(marks, scale, less_is_better=False)
    foot(figure, "Mean skill (1: perfect; 0: clipped climatology)")
    return Sketch(
        name="skill_violation",
        figure=figure,
        title="Skill against violation, across the study",
        caption=(
            f"Mean skill over {counted} (right is better; left of the line at "
            "0 a strategy loses to the clipped mean of the training data) against the mean share "
            "of outputs outside the bounds; bars: 95 % bootstrap over seeds. Those that never "
            "violate stand below, best first; ringed, and joined by the dark line, is the Pareto "
            f"front. Skills below {LEAST_SKILL:g} are drawn at the left edge."
        ),
        alt=_alt("Skill and violation rate across the study.", marks, fronts, "skill"),
    )


def _draw(
    marks: Mapping[str, Marks], scale: Callable[[Axes], None], less_is_better: bool
) -> tuple[Figure, dict[str, list[str]]]:
    """A panel a backbone; below, a row each for those that never violate.

    The y axis counts rows: 0 and less for those, above it the logarithm of the rate.
    """
    sign = 1 if less_is_better else -1
    never = {
        backbone: sorted(
            (name for name, mark in found.items() if mark.rate == 0),
            key=lambda name: sign * found[name].x,
        )
        for backbone, found in marks.items()
    }
    most = max(len(found) - len(never[backbone]) for backbone, found in marks.items())
    depth = max(7.0, 1.1 * most) if most else 0.0
    bottom, top = 0.4 - max(map(len, never.values())), depth + 1.2
    figure, grid = panels(
        len(marks),
        2,
        (2.75 if len(marks) > 1 else 4.0, ROW * (top - bottom)),
        left=NAMES,
        right=0.6,
        gap=(NAMES + 0.65, 0.6),
    )

    rates = [mark.rate for found in marks.values() for mark in found.values() if mark.rate > 0]
    decades = min(max(math.floor(math.log10(min(rates))), -3), -1) if rates else -3

    def height(rate: float) -> float:
        return 1.0 + (1 - max(math.log10(rate), decades) / decades) * (depth - 0.3)

    fronts = {}
    for axes, (backbone, found) in zip(grid, marks.items(), strict=True):
        fronts[backbone] = pareto({n: (sign * mark.x, mark.rate) for n, mark in found.items()})
        rows = {name: -float(row) for row, name in enumerate(never[backbone])}
        others = [name for name in found if name not in rows]
        scale(axes)
        axes.set_ylim(bottom, top)
        heights = {name: height(found[name].rate) for name in others}
        points = {name: (_inside(axes, found[name].x), heights[name]) for name in others}
        labels = rows | _slots(axes, points, depth)
        rows |= heights
        axes.axhspan(bottom, 0.5, color="#f4f4f4", zorder=0)
        axes.set_yticks(list(labels.values()), [short(name) for name in labels])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        if depth:
            _rates(axes, height, decades)
        _marks(axes, found, rows, labels)
        _front(axes, [(_inside(axes, found[name].x), rows[name]) for name in fronts[backbone]])
        axes.set_title(backbone)
    return figure, fronts


def _slots(axes: Axes, points: Mapping[str, tuple[float, float]], depth: float) -> dict[str, float]:
    """Where the names of marks stand at the left, a row apart. The lines from names to marks are
    the shortest in sum, and so none crosses another."""
    if not points:
        return {}
    x, y = np.array(list(points.values())).T
    slots = np.sort(apart(y, 1.0, 1.0, depth + 0.9))
    to_axes = axes.transData + axes.transAxes.inverted()
    across = to_axes.transform(np.column_stack([x, y]))[:, 0] * inches(axes)[0]
    lengths = np.hypot(across[:, None], ROW * (y[:, None] - slots[None]))
    _, chosen = linear_sum_assignment(lengths)
    return dict(zip(points, slots[chosen].tolist(), strict=True))


def _inside(axes: Axes, x: float) -> float:
    return float(np.clip(x, *axes.get_xlim()))


def _marks(
    axes: Axes, found: Marks, rows: Mapping[str, float], labels: Mapping[str, float]
) -> None:
    """Each mark with its interval, and a line to its name at the left."""
    edge = axes.get_xlim()[0]
    leaders = [[(edge, labels[name]), (_inside(axes, found[name].x), rows[name])] for name in found]
    colors = [PALE if found[name].rate == 0 else look(name)["color"] for name in found]
    draw_lines(axes, leaders, colors, 0.6, alpha=0.7)
    known = [name for name in found if math.isfinite(found[name].low)]
    intervals = [
        [
            (_inside(axes, found[name].low), rows[name]),
            (_inside(axes, found[name].high), rows[name]),
        ]
        for name in known
    ]
    draw_lines(axes, intervals, [look(name)["color"] for name in known], 1.1)
    for name, mark in found.items():
        axes.plot(
            _inside(axes, mark.x),
            rows[name],
            linestyle="",
            markersize=5,
            clip_on=False,
            zorder=3,
            label=name,
            **look(name),
        )


def _front(axes: Axes, corners: Sequence[tuple[float, float]]) -> None:
    """Rings, and the line between what is attained and what is not."""
    if not corners:
        return
    path = [corners[0]]
    for corner in corners[1:]:
        path += [(path[-1][0], corner[1]), corner]
    path.append((path[-1][0], axes.get_ylim()[1]))
    x, y = zip(*path, strict=True)
    axes.plot(x, y, color="#444444", linewidth=1.2, zorder=2.5, label="Pareto front")
    axes.plot(
        *zip(*corners, strict=True),
        linestyle="",
        marker="o",
        markersize=9,
        fillstyle="none",
        color="#444444",
        zorder=4,
        clip_on=False,
        label="on the Pareto front",
    )


def _rates(axes: Axes, height: Callable[[float], float], decades: int) -> None:
    """The scale of violation rates, at the right, from 10**decades."""
    at = axes.get_yaxis_transform()
    places = {"none": 0.0}
    for exponent in range(decades, 1):
        text = f"{10.0**exponent:g}"
        places["≤" + text if exponent == -3 else text] = height(10.0**exponent)
    for text, place in places.items():
        axes.text(1.02, place, text, transform=at, fontsize=8, va="center")
    ends = axes.get_xlim()
    levels = [[(ends[0], place), (ends[1], place)] for place in list(places.values())[1:]]
    draw_lines(axes, levels, ["#e5e5e5"] * len(levels), 0.8, zorder=0.5)
    axes.text(
        1.0 + 0.5 / 2.75,
        height(10 ** (decades / 2)),
        "violation rate",
        transform=at,
        fontsize=8,
        rotation=90,
        va="center",
        ha="center",
    )


def _alt(
    start: str, marks: Mapping[str, Marks], fronts: Mapping[str, Sequence[str]], what: str
) -> str:
    parts = [start]
    for backbone, front in fronts.items():
        found = marks[backbone]
        shown = listed(
            f"{short(name)} ({what} {number(found[name].x)}, violation rate "
            f"{number(found[name].rate)})"
            for name in front
        )
        never = sum(mark.rate == 0 for mark in found.values())
        parts.append(
            f"On {backbone} the Pareto front is {shown}; {never} of {len(found)} strategies never "
            "violate."
        )
    return " ".join(parts)
