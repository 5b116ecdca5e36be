"""What every figure shares: style, a strategy's look, panels of a known size, names beside marks.

Figures are as wide as a page shows them, about 1000 pixels, so that a text of 8 points is read at
that size. Panels are placed in inches: nothing is laid out by trial, which would take most of the
time that drawing takes.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from numpy.typing import ArrayLike
from scipy.optimize import isotonic_regression

from experiments.baselines import BASELINES
from experiments.captions import Words
from experiments.catalogue import DATASETS
from experiments.choices import in_order
from experiments.statistics import PLANNED, Spread
from experiments.strategies import COUPLED, EVERY_STRATEGY

STYLE = {
    "figure.dpi": 100,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "text.parse_math": False,  # a name may hold a dollar
}
# Okabe and Ito (2008), and a brown: told apart with any colour vision. Markers and dashes tell
# apart what shares a colour.
FAMILIES = {
    "projection": ("#0072B2", ("clip", "straight_through_clip", "leaky_clip")),
    "projection of another kind": (
        "#56B4E9",
        (
            "clip_at_evaluation",
            "clip_after_warmup",
            "clip_with_displacement",
            "clip_to_sequence_maximum",
        ),
    ),
    "smooth": ("#009E73", ("smooth_clip", "annealed_smooth_clip", "knee_tanh")),
    "offset": (
        "#D55E00",
        ("relu_offset", "softplus_offset", "squareplus_offset", "exp_offset"),
    ),
    "tanh or logistic": (
        "#CC79A7",
        ("stretched_tanh", "half_tanh", "tanh_interval", "sigmoid_interval", "tanh_range"),
    ),
    "soft": (
        "#E69F00",
        ("squared_hinge", "hinge", "log_barrier", "augmented_lagrangian", "dc3_correction"),
    ),
    "budget": ("#8C6D31", tuple(COUPLED)),
    "control": ("#000000", ("unconstrained", "offset_unconstrained")),
    "baseline": ("#888888", tuple(BASELINES)),
}
OWN = "#882255"  # the user's strategies
MARKERS = "os^Dv"
DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))
INK, PALE, FORBIDDEN = "#222222", "#cccccc", "#dddddd"
ROW = 0.17  # inches from one name to the next
NAMES = 1.75  # inches that a column of names takes
LEAST_LOSS = 1e-5  # smaller ones are drawn there: an output equal to the bound, but for rounding
MOST_LOSS = 4.0  # larger ones too: of scaled targets, an output of 0 has about 1
MANY = 8  # strategies that can all be coloured and named in one panel of lines

Place = tuple[str, str]  # dataset, backbone
Spreads = Mapping[str, Mapping[str, Spread]]  # by strategy, then metric


@dataclass(frozen=True, kw_only=True)
class Sketch(Words):
    """A figure with what is said of it."""

    name: str  # of the file, without its ending
    figure: Figure


def family_of(name: str) -> str:
    """The family of a strategy, or "own" for one that is not in the table."""
    return next((family for family, (_, names) in FAMILIES.items() if name in names), "own")


def look(name: str) -> dict[str, str]:
    """Colour and marker of a strategy: its family's colour, the marker of its place there."""
    family = family_of(name)
    if family == "own":
        return {"color": OWN, "marker": MARKERS[_place_of_own(name)]}
    color, names = FAMILIES[family]
    return {"color": color, "marker": MARKERS[names.index(name)]}


def dashes(name: str) -> str | tuple:
    """The line of a strategy."""
    family = family_of(name)
    place = _place_of_own(name) if family == "own" else FAMILIES[family][1].index(name)
    return DASHES[place]


def _place_of_own(name: str) -> int:
    return sum(name.encode()) % len(MARKERS)


def short(name: str) -> str:
    """A name as a label: of a path or `module:function` the last part, of a long one its end."""
    last = re.split(r"[/\\:]", name)[-1]
    return last if len(last) <= 26 else f"…{last[-25:]}"


def slug(name: str) -> str:
    """A dataset's name as part of a file's name; a path is the user's and may hold anything."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[-80:] or "dataset"


def number(value: float) -> str:
    """Two significant digits, for sentences."""
    if not math.isfinite(value) or value == 0:
        return "0" if value == 0 else "unknown"
    return f"{value:.2g}" if 1e-4 <= abs(value) < 1e6 else f"{value:.1e}"


def listed(parts: Iterable[str], most: int = 5, empty: str = "none") -> str:
    """`a, b and c`, or `a, b and 7 more`."""
    parts = list(parts)
    if len(parts) > most:
        parts = [*parts[: most - 1], f"{len(parts) - most + 1} more"]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts) or empty


def in_families(names: Collection[str]) -> list[str]:
    """Strategies by family, the user's own last."""
    return in_order(names, [name for _, family in FAMILIES.values() for name in family])


def places(
    spreads: Mapping[tuple[str, str, str], Mapping[str, Spread]],
) -> dict[Place, dict[str, Mapping[str, Spread]]]:
    """By dataset and backbone, then strategy; baselines join each backbone."""
    groups: dict[Place, dict[str, Mapping[str, Spread]]] = {}
    for dataset, backbone, name in spreads:
        if backbone != "none":
            groups.setdefault((dataset, backbone), {})[name] = spreads[dataset, backbone, name]
    for (dataset, backbone, name), metrics in spreads.items():
        for group, found in groups.items():
            if backbone == "none" and group[0] == dataset:
                found[name] = metrics
    datasets = in_order({dataset for dataset, _ in groups}, DATASETS)
    return {
        group: {name: groups[group][name] for name in in_order(groups[group], EVERY_STRATEGY)}
        for dataset in datasets
        for group in sorted(groups)
        if group[0] == dataset
    }


def highlighted(names: Collection[str], best: Iterable[str]) -> list[str]:
    """Which of many lines are coloured and named: the planned comparisons, the user's own, and
    the best."""
    if len(names) <= MANY:
        return in_families(names)
    chosen = {"clip", *PLANNED, *best} | {name for name in names if family_of(name) == "own"}
    return [name for name in in_families(names) if name in chosen]


def panels(
    count: int,
    columns: int,
    size: tuple[float, float],
    *,
    left: float = 0.65,
    right: float = 0.15,
    top: float = 0.35,
    bottom: float = 0.55,
    gap: tuple[float, float] = (0.35, 0.6),
) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, row by row; all measures in inches."""
    columns = min(count, columns)
    rows = -(-count // columns)
    width = left + columns * size[0] + (columns - 1) * gap[0] + right
    height = top + rows * size[1] + (rows - 1) * gap[1] + bottom
    figure = Figure(figsize=(width, height))
    grid = []
    for index in range(count):
        row, column = divmod(index, columns)
        x = left + column * (size[0] + gap[0])
        y = height - top - (row + 1) * size[1] - row * gap[1]
        grid.append(figure.add_axes((x / width, y / height, size[0] / width, size[1] / height)))
    return figure, grid


def inches(axes: Axes) -> tuple[float, float]:
    """Width and height of a panel."""
    box, (width, height) = axes.get_position(), axes.figure.get_size_inches()
    return box.width * width, box.height * height


def foot(figure: Figure, text: str, x: float = 0.5) -> None:
    """The label that the x axes share."""
    figure.text(x, 0.06 / figure.get_size_inches()[1], text, ha="center", va="bottom", fontsize=9)


def side(figure: Figure, text: str) -> None:
    """The label that the y axes share."""
    at = 0.06 / figure.get_size_inches()[0]
    figure.text(at, 0.5, text, ha="left", va="center", fontsize=9, rotation=90)


def loss_ends(losses: np.ndarray) -> tuple[float, float]:
    """Of an axis of losses, between LEAST_LOSS and MOST_LOSS."""
    losses = np.clip(losses, LEAST_LOSS, MOST_LOSS)
    low, high = losses.min(initial=MOST_LOSS), losses.max(initial=LEAST_LOSS)
    return low / 1.2, max(high, 2 * low) * 1.2


def row_labels(axes: Axes, names: Sequence[str]) -> None:
    """Names at the left, a row each, from the top."""
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def families_apart(axes: Axes, names: Sequence[str]) -> None:
    """A thin line wherever the family changes from one row to the next; limits must be set."""
    left, right = axes.get_xlim()
    changes = [
        [(left, row + 0.5), (right, row + 0.5)]
        for row, (one, other) in enumerate(pairwise(names))
        if family_of(one) != family_of(other)
    ]
    draw_lines(axes, changes, ["#bbbbbb"] * len(changes), 0.6, zorder=0.5)


def apart(positions: Sequence[float], gap: float, low: float, high: float) -> np.ndarray:
    """Positions moved as little as need be to lie a gap apart, between two ends if they fit."""
    order = np.argsort(positions, kind="stable")
    steps = gap * np.arange(len(order))
    moved = isotonic_regression(np.asarray(positions, float)[order] - steps).x
    moved = np.clip(moved, low, max(low, high - gap * (len(order) - 1)))
    result = np.empty(len(order))
    result[order] = moved + steps
    return result


def name_beside(axes: Axes, ends: Mapping[str, tuple[float, float]]) -> None:
    """Names in a column at the right, each with a thin line to its end, in data coordinates.

    Scales and limits must be set before.
    """
    ends = {name: end for name, end in ends.items() if np.isfinite(end).all()}
    if not ends:
        return
    to_axes = axes.transData + axes.transAxes.inverted()
    points = np.clip(to_axes.transform(np.array(list(ends.values()), float)), 0, 1)
    width, height = inches(axes)
    heights = apart(points[:, 1], 0.145 / height, 0.0, 1.0)
    column = 1 + 0.14 / width
    leaders = [
        [point, (column - 0.03 / width, place)]
        for point, place in zip(points, heights, strict=True)
    ]
    colors = [look(name)["color"] for name in ends]
    draw_lines(axes, leaders, colors, 0.7, transform=axes.transAxes, clip_on=False)
    for name, place in zip(ends, heights, strict=True):
        axes.text(
            column, place, short(name), transform=axes.transAxes, fontsize=8, va="center", color=INK
        )


def draw_lines(
    axes: Axes,
    lines: Sequence[ArrayLike],
    colors: Sequence[str],
    width: float,
    zorder: float = 1,
    **style: Any,
) -> None:
    """Many lines, (points, 2) each, as one artist, which is far quicker than one each."""
    collection = LineCollection(lines, colors=colors, linewidths=width, zorder=zorder, **style)
    axes.add_collection(collection, autolim=False)


def log_axis(axis: Axis, low: float, high: float) -> None:
    """Plain numbers on a logarithmic axis with these ends, as few as fit."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [step * 10.0**exponent for exponent in exponents for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) > 2:
            break
    if len(ticks) > 6:
        ticks = ticks[::2]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
    axis.set_minor_locator(NullLocator())


def whole(values: Iterable[float]) -> np.ndarray:
    """Those that are finite."""
    array = np.array(list(values), float)
    return array[np.isfinite(array)]
