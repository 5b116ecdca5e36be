"""A study's figure, from the rows of its CSV."""

from collections.abc import Callable, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from experiments.figures.style import STYLE, look
from experiments.reproduced import hardnet, question
from experiments.reproduced.tables import Row

SOURCES = {
    "published": {"color": "black", "marker": "D", "label": "published (± standard deviation)"},
    "exact": {
        "color": "#D55E00",
        "marker": "x",
        "label": "exact",
    },
    "ours": {"color": "#0072B2", "marker": "o", "label": "ours (95 % interval of the mean)"},
}


def _by_method(axes: Axes, rows: Sequence[Row], violations: str) -> None:
    """A line a method: error by source; hollow where a bound is violated."""
    names = list(dict.fromkeys(row["method"] for row in rows))
    rows = [row for row in rows if "mse" in row]  # the others diverged
    of_theirs = {row["method"] for row in rows if row["source"] == "published"}
    for row in rows:
        style = dict(SOURCES[row["source"]])
        style.pop("label")
        if row["method"] not in of_theirs:
            style = look(row["method"])
        places = {"published": -0.25, "exact": 0.0, "ours": 0.25}
        y = names.index(row["method"])
        y += places[row["source"]] if row["method"] in of_theirs else 0
        if row["source"] == "published":
            spread = row.get("mse_std", 0)
            low, high = row["mse"] - spread, row["mse"] + spread
        else:
            low, high = row.get("mse_low", row["mse"]), row.get("mse_high", row["mse"])
        low = max(low, row["mse"] / 10)  # an interval that reaches below 0 ends there
        axes.plot([low, high], [y, y], color=style["color"], linewidth=1.2)
        hollow = {"markerfacecolor": "white"} if row[violations] else {}
        axes.plot(row["mse"], y, linestyle="", markersize=6, **style, **hollow)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 200 else (1,)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    if of_theirs and len(of_theirs) < len(names):
        axes.axhline(len(of_theirs) - 0.5, color="#999999", linewidth=0.8)


def _legend(figure: Figure) -> None:
    handles = [Line2D([], [], linestyle="-", markersize=5, **style) for style in SOURCES.values()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=8)


def hardnet_figure(rows: Sequence[Row]) -> Figure:
    """Mean squared error of every method, a panel a task."""
    count = len({row["method"] for row in rows})
    with matplotlib.rc_context(STYLE):
        figure = Figure((10, 0.24 * count + 1.2), layout="constrained")
        grid = figure.subplots(1, len(hardnet.TASKS), sharey=True)
        for axes, task in zip(grid, hardnet.TASKS, strict=True):
            here = [row for row in rows if row["task"] == task]
            _by_method(axes, here, "num_violations")
            axes.set_title(task)
        _legend(figure)
        figure.supxlabel("Mean squared error on [-2, 2]; hollow: violates a bound", fontsize=9)
    return figure


def enforce_figure(rows: Sequence[Row]) -> Figure:
    """Mean squared error of every method."""
    infeasible = ("infeasible_above", "infeasible_below")
    rows = [row | {"infeasible": sum(row[side] for side in infeasible)} for row in rows]
    count = len({row["method"] for row in rows})
    with matplotlib.rc_context(STYLE):
        figure = Figure((6.8, 0.24 * count + 1.2), layout="constrained")
        axes = figure.subplots()
        _by_method(axes, rows, "infeasible")
        _legend(figure)
        figure.supxlabel(
            "Mean squared error to the noiseless function; hollow: violates a bound", fontsize=9
        )
    return figure


def keras_figure(rows: Sequence[Row]) -> Figure:
    """Largest difference of each quantity, a panel a dtype."""
    keys = ("raw", "output", "losses", "weights")
    names = list(dict.fromkeys(row["strategy"] for row in rows))
    with matplotlib.rc_context(STYLE):
        figure = Figure((8, 0.3 * len(names) + 1.4), layout="constrained")
        grid = figure.subplots(1, len(question.DTYPES), sharey=True, squeeze=False)
        for axes, dtype in zip(grid[0], question.DTYPES, strict=True):
            for key, color, marker in zip(
                keys, ("#0072B2", "#009E73", "#E69F00", "#D55E00"), "os^D", strict=True
            ):
                values = [row[key] for row in rows if row["dtype"] == dtype]
                axes.plot(
                    values,
                    range(len(values)),
                    marker,
                    color=color,
                    markersize=5,
                    fillstyle="none",
                    label=key if key != "weights" else f"weights after {question.UPDATES} updates",
                )
            axes.axvline(question.TOLERANCE, color="black", linewidth=1, linestyle="--")
            axes.set_xscale("log")
            axes.set_title(dtype)
            axes.set_yticks(range(len(names)), names)
            axes.set_ylim(len(names) - 0.4, -0.6)
        figure.legend(
            *axes.get_legend_handles_labels(), loc="outside upper center", ncols=len(keys)
        )
        figure.supxlabel("Largest difference between Keras and ours; dashed: asked for", fontsize=9)
    return figure


FIGURES: dict[str, Callable[[Sequence[Row]], Figure]] = {
    "hardnet": hardnet_figure,
    "enforce": enforce_figure,
    "keras": keras_figure,
}
