"""What every figure shares: style, a strategy's look, panels of a known size, rows, dots.

Figures are as wide as the text of a paper; a page shows them 800 pixels wide, where a text of 8
points is 14 pixels high. Panels are placed in inches: nothing is laid out by trial, which would
take most of the time that drawing takes.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain, cycle, zip_longest

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from experiments.console import printable
from experiments.figures.captions import Words
from experiments.training.baselines import BASELINES
from experiments.training.strategies import COUPLED
from experiments.training.strategy_names import base_of
from experiments.usage import in_order

STYLE = {
    "figure.dpi": 100,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "figure.labelsize": 9,
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
    "pdf.fonttype": 42,  # text stays text
    "svg.fonttype": "none",
    "svg.hashsalt": "bounded",  # the same file each time
}
WIDEST = 6.5  # inches
# After Okabe and Ito (2008), a brown and a grey, darkened until each has a contrast of 3 with
# white: told apart with any colour vision. Markers and dashes tell apart what shares a colour.
FAMILIES: dict[str, Iterable[str]] = {
    "#004E98": ("clip", "straight_through_clip", "leaky_clip"),
    "#2E96D8": (
        "clip_at_evaluation",
        "clip_after_warmup",
        "clip_with_displacement",
        "clip_to_sequence_maximum",
    ),
    "#00906A": ("smooth_clip", "annealed_smooth_clip", "knee_tanh"),
    "#C43E00": ("relu_offset", "softplus_offset", "squareplus_offset", "exp_offset"),
    "#D065A8": ("stretched_tanh", "half_tanh", "tanh_interval", "sigmoid_interval", "tanh_range"),
    "#BA8700": ("squared_hinge", "hinge", "log_barrier", "augmented_lagrangian", "dc3_correction"),
    "#6E5424": COUPLED,
    "#000000": ("unconstrained", "offset_unconstrained"),
    "#858585": BASELINES,
}
OWN = "#7A1E5A"  # the user's strategies
MARKERS = "os^Dv"
DASHES = dict(zip(MARKERS, ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1))), strict=True))
LOOKS = {
    name: {"color": color, "marker": marker}
    for color, names in FAMILIES.items()
    for name, marker in zip(names, cycle(MARKERS), strict=False)
}
FORBIDDEN = "#dddddd"
LINE = "#888888"  # between what is better and worse
SPREAD = 0.5  # of a row, that dots are spread over
ROW = 0.17  # inches from one name to the next
NAMES = 1.75  # inches that a column of names takes
MOST_SHOWN = 6  # strategies of a figure that has a curve or a panel for each
ONE_OF_EACH = (
    "clip_at_evaluation",
    "clip",
    "smooth_clip",
    "tanh_interval",
    "softplus_offset",
    "squared_hinge",
)
LEAST_LOSS = 1e-5  # smaller ones are drawn there: an output equal to the bound, but for rounding
MOST_LOSS = 4.0  # larger ones too: of scaled targets, an output of 0 has about 1


HEALTH = {
    "gradient_dead_fraction": "dead",
    "blocked_fraction": "blocked",
    "gradient_vanishing_fraction": "vanishing",
}
"""Shares of the entries of raw: at which the objective's derivative is exactly 0; of those, the
ones whose output is wrong as well; at which it is below 0.001 of the error's own to the output."""


@dataclass(frozen=True, kw_only=True)
class Sketch(Words):
    """A figure with what is said of it."""

    name: str  # of the file, without its ending
    figure: Figure


def look(name: str) -> dict[str, str]:
    """Colour and marker of a strategy: its family's colour, the marker of its place there; with
    hyperparameters of its own, one that goes by its name."""
    family = LOOKS.get(base_of(name), {"color": OWN})
    return LOOKS.get(name) or family | {"marker": MARKERS[sum(map(ord, name)) % len(MARKERS)]}


def short(name: str) -> str:
    """A name as a label: of a path or `module:function` the last part, of a long one its end."""
    last = " ".join(printable(re.split(r"[/\\:]", name)[-1]).split())
    whole = len(last) <= 26 and not last.startswith("_")  # which matplotlib shows in no legend
    return last if whole else f"…{last[-25:]}"


def percent(share: float) -> str:
    """Of a share, in whole per cent; 0 only if it is."""
    if np.isnan(share) or share == 0:
        return "–" if np.isnan(share) else "0"
    return "<1" if share < 0.005 else f"{100 * share:.0f}"


def in_families(names: Collection[str]) -> list[str]:
    """Strategies by family, the user's own last."""
    return in_order(names, LOOKS)


def few(names: Collection[str], best: Iterable[str] = ()) -> list[str]:
    """At most MOST_SHOWN of many: the user's own, the best, then one of each family, and so on."""
    turns: dict[str, list[str]] = {}
    for name in dict.fromkeys([*ONE_OF_EACH, *in_families(names)]):
        if name in names:
            turns.setdefault(look(name)["color"], []).append(name)
    by_turn = chain.from_iterable(zip_longest(*turns.values()))
    first = dict.fromkeys([*turns.get(OWN, ()), *best, *by_turn])
    return in_families([name for name in first if name in names][:MOST_SHOWN])


def styled() -> AbstractContextManager[None]:
    """Figures that are made and saved within have STYLE."""
    return matplotlib.rc_context(STYLE)


def panels(
    count: int,
    columns: int,
    size: tuple[float, float | Sequence[float]],
    *,
    left: float = 0.65,
    right: float = 0.15,
    top: float = 0.35,
    bottom: float = 0.55,
    gap: tuple[float, float] = (0.35, 0.6),
    least: float | None = None,
) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, row by row; all measures in inches, of heights one or one a row.
    Where it would be wider than WIDEST, panels are narrower, by default up to half as wide, or in
    fewer columns."""
    wide, high = size
    least = least or wide / 2
    columns = min(count, columns)

    def fitting() -> float:
        """How wide a panel of so many columns can be."""
        return (WIDEST - left - right - (columns - 1) * gap[0]) / columns

    while columns > 1 and fitting() < least:
        columns -= 1
    wide = min(wide, max(fitting(), 1.0))
    rows = -(-count // columns)
    heights = np.broadcast_to(high, rows)
    width = left + columns * wide + (columns - 1) * gap[0] + right
    height = top + float(heights.sum()) + (rows - 1) * gap[1] + bottom
    figure = Figure(figsize=(width, height))
    grid = figure.add_gridspec(
        rows,
        columns,
        left=left / width,
        right=1 - right / width,
        top=1 - top / height,
        bottom=bottom / height,
        wspace=gap[0] / wide,
        hspace=gap[1] / float(heights.mean()),
        height_ratios=heights,
    )
    return figure, [figure.add_subplot(grid[index]) for index in range(count)]


def beside(rows: Collection[Collection[str]]) -> tuple[int, float | list[float]]:
    """In how many columns, and how high, panels stand that have such rows: two beside each other if
    all have the same, else one below the other, each as high as its own."""
    heights = [ROW * len(names) + 0.1 for names in rows]
    return (2, heights[0]) if len({*map(tuple, rows)}) == 1 else (1, heights)


def width_of(axes: Axes) -> float:
    """Of a panel, in inches."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    return float(axes.get_position().width * figure.get_figwidth())


def height_of(axes: Axes) -> float:
    """Of a panel, in inches."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    return float(axes.get_position().height * figure.get_figheight())


def at_left(axes: Axes) -> bool:
    """Whether a panel is the first of its row."""
    place = axes.get_subplotspec()
    return place is None or place.is_first_col()


def at_bottom(grid: Sequence[Axes], axes: Axes) -> bool:
    """Whether no panel is below."""
    place = axes.get_subplotspec()
    return place is None or grid.index(axes) + place.get_gridspec().ncols >= len(grid)


def legend_above(figure: Figure, handles: Sequence[Artist]) -> None:
    """In as few rows as fit."""
    columns = max(1, min(len(handles), int(figure.get_figwidth() / 1.4)))
    place = {"bbox_to_anchor": (0.5, 1.0), "bbox_transform": figure.transFigure}
    figure.legend(handles=handles, loc="upper center", ncols=columns, borderaxespad=0.1, **place)


def filled_and_open(figure: Figure, *labels: str) -> None:
    """The legend of filled marks, then of open ones."""
    faces = zip(labels, ("black", "white"), strict=False)
    mark = {"linestyle": "", "marker": "o", "color": "black"}
    legend_above(figure, [Line2D([], [], **mark, mfc=face, label=label) for label, face in faces])


def row_labels(axes: Axes, names: Sequence[str]) -> None:
    """Names at the left, a row each, from the top."""
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def corner(axes: Axes, text: str) -> None:
    """A word above the column of names."""
    at = {"transform": axes.transAxes, "ha": "right", "va": "bottom"}
    axes.text(-0.06 / width_of(axes), 1 + 0.06 / height_of(axes), text, **at)


def dots(
    axes: Axes,
    row: float,
    values: Sequence[float] | np.ndarray,
    ends: tuple[float, float],
    color: str,
    marker: str = "o",
    spread: float = SPREAD,
) -> None:
    """Every value as a dot around a row, up and down by turns, so that few hide others; one beyond
    an end is an arrow there, NaN is none."""
    found = np.asarray(values, float).ravel()
    found = found[~np.isnan(found)]
    rows = row + spread * ((np.arange(len(found)) * 0.618 + 0.5) % 1 - 0.5)
    below, above = found < ends[0], found > ends[1]
    for shape, size, there in (
        (marker, 3.8, ~below & ~above),
        ("<", 5.0, below),
        (">", 5.0, above),
    ):
        style = {"marker": shape, "ls": "", "markersize": size, "mec": "white", "mew": 0.3}
        x = np.clip(found[there], *ends)
        axes.plot(x, rows[there], color=color, clip_on=False, zorder=2.5, **style)


def strips(axes: Axes, rows: Mapping[str, np.ndarray], ends: tuple[float, float]) -> None:
    """A strategy's values as dots in a row of its own, from the top, and their median as a tick
    if it lies between the ends.

    Args:
      axes: a panel.
      rows: by strategy, in order; of any shape, NaN where there is none.
      ends: of the x axis.
    """
    for row, (name, values) in enumerate(rows.items()):
        dots(axes, row, values, ends, look(name)["color"])
        middle = np.nanmedian(values) if np.isfinite(values).any() else np.nan
        if ends[0] <= middle <= ends[1]:
            axes.plot(middle, row, "|", color="black", markersize=9, mew=1.3, zorder=3)
    row_labels(axes, list(rows))
    axes.set_xlim(ends)


def loss_ends(losses: Iterable[float]) -> tuple[float, float]:
    """Of an axis of losses, between LEAST_LOSS and MOST_LOSS."""
    known = np.clip([loss for loss in losses if np.isfinite(loss)], LEAST_LOSS, MOST_LOSS)
    low, high = known.min(initial=MOST_LOSS), known.max(initial=LEAST_LOSS)
    return low / 1.2, max(high, 2 * low) * 1.2


def plain_ticks(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis of losses, as few as fit; limits must be set."""
    low, high = axis.get_view_interval()
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = np.outer(10.0 ** np.arange(-6, 1), steps).ravel()
        ticks = ticks[(low <= ticks) & (ticks <= high)]
        if len(ticks) > 2:
            break
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_minor_locator(NullLocator())
