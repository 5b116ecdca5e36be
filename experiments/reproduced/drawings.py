"""A study's figure, from the rows of its CSV."""

from collections.abc import Callable, Sequence
from functools import partial

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from experiments.figures.style import STYLE, look
from experiments.reproduced import dc3, question, snarenet
from experiments.reproduced.tables import Row

SOURCES = {
    "published": {"color": "black", "marker": "D", "label": "published (± standard deviation)"},
    "exact": {"color": "#D55E00", "marker": "x", "label": "exact"},
    "ours": {"color": "#0072B2", "marker": "o", "label": "ours (95 % interval of the mean)"},
}
PLACES = {"published": -0.25, "exact": 0.0, "ours": 0.25}  # below a method's row
VIOLATIONS = ("num_violations", "infeasible_above", "infeasible_below")
DIFFERENCES = {
    "raw": ("#0072B2", "o"),
    "output": ("#009E73", "s"),
    "losses": ("#E69F00", "^"),
    "weights": ("#D55E00", "D"),
}


def methods_figure(rows: Sequence[Row], width: float, error: str) -> Figure:
    """Mean squared error of every method, a panel a task."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    count = len({row["method"] for row in rows})
    with matplotlib.rc_context(STYLE):
        figure = Figure((width, 0.24 * count + 1.2), layout="constrained")
        grid = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
        for axes, task in zip(grid, tasks, strict=True):
            _by_method(axes, [row for row in rows if row["task"] == task])
            if len(tasks) > 1:
                axes.set_title(task)
        handles = [Line2D([], [], markersize=5, **style) for style in SOURCES.values()]
        _below(figure, handles, f"{error}; hollow: violates a bound")
    return figure


def _by_method(axes: Axes, rows: Sequence[Row]) -> None:
    """A line a method: error by source; hollow where a bound is violated."""
    names = list(dict.fromkeys(row["method"] for row in rows))
    of_theirs = {row["method"] for row in rows if row["source"] == "published"}
    for row in rows:
        if "mse" not in row:  # it diverged
            continue
        y, mse, style = names.index(row["method"]), row["mse"], SOURCES[row["source"]]
        if row["method"] in of_theirs:
            y += PLACES[row["source"]]
        else:
            style = look(row["method"])
        spread = row.get("mse_std", 0) if row["source"] == "published" else 0
        low, high = row.get("mse_low", mse - spread), row.get("mse_high", mse + spread)
        low = max(low, mse / 10)  # an interval that reaches below 0 ends there
        axes.plot([low, high], [y, y], color=style["color"], linewidth=1.2)
        hollow = {"markerfacecolor": "white"} if any(map(row.get, VIOLATIONS)) else {}
        axes.plot(mse, y, linestyle="", markersize=6, **style, **hollow)
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


def keras_figure(rows: Sequence[Row]) -> Figure:
    """Largest difference of each quantity, a panel a dtype."""
    names = list(dict.fromkeys(row["strategy"] for row in rows))
    with matplotlib.rc_context(STYLE):
        figure = Figure((8, 0.3 * len(names) + 1.4), layout="constrained")
        grid = figure.subplots(1, len(question.DTYPES), sharey=True)
        for axes, dtype in zip(grid, question.DTYPES, strict=True):
            for key, (color, marker) in DIFFERENCES.items():
                values = [row[key] for row in rows if row["dtype"] == dtype]
                label = key if key != "weights" else f"weights after {question.UPDATES} updates"
                style = {"color": color, "markersize": 5, "fillstyle": "none", "label": label}
                axes.plot(values, range(len(values)), marker, **style)
            axes.axvline(question.TOLERANCE, color="black", linewidth=1, linestyle="--")
            axes.set_xscale("log")
            axes.set_title(dtype)
            axes.set_yticks(range(len(names)), names)
            axes.set_ylim(len(names) - 0.4, -0.6)
        handles, _ = axes.get_legend_handles_labels()
        _below(figure, handles, "Largest difference between Keras and ours; dashed: asked for")
    return figure


def _style(source: str) -> dict[str, str]:
    return {key: SOURCES[source][key] for key in ("color", "marker")}


def _label(axes: Axes, names: Sequence[str]) -> None:
    """A row a method, from above."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _legend(figure: Figure, ours: str, label: str = "") -> None:
    handles = [
        Line2D([], [], linestyle="", label=words, **_style(source))
        for source, words in (("published", "published"), ("ours", ours))
    ]
    _below(figure, handles, label)


def _below(figure: Figure, handles: Sequence[Line2D], label: str) -> None:
    """What the axis shows, and what the marks are."""
    style = {"loc": "outside lower center", "fontsize": 8, "title_fontsize": 9}
    figure.legend(handles=handles, title=label, ncols=len(handles), **style)


def dc3_figure(rows: Sequence[Row]) -> Figure:
    """Objective of every method, a panel a task."""
    with matplotlib.rc_context(STYLE):
        figure = Figure((8, 2.6), layout="constrained")
        for axes, task in zip(figure.subplots(1, len(dc3.TASKS)), dc3.TASKS, strict=True):
            shown = [row for row in rows if row["task"] == task]
            for y, row in enumerate(shown):
                style = _style(row["source"])
                axes.plot(row["objective"], y, linestyle="", markersize=6, **style)
            axes.axvline(shown[0]["objective"], color="#999999", linewidth=0.8)
            _label(axes, [row["method"] for row in shown])
            axes.margins(x=0.1)
            axes.set_title(task)
        label = "Mean objective on the test programs, lower is better"
        _legend(figure, "ours (mean over seeds)", label)
    return figure


def columns_figure(rows: Sequence[Row], height: float, scale: str, **labels: str) -> Figure:
    """Every method, a panel for each column that is labelled."""
    with matplotlib.rc_context(STYLE):
        figure = Figure((8, height), layout="constrained")
        grid = figure.subplots(1, len(labels), sharey=True)
        for axes, (name, label) in zip(grid, labels.items(), strict=True):
            for y, row in enumerate(rows):
                style = _style(row["source"])
                spread = row.get(f"{name}_std", 0)
                axes.errorbar(row[name], y, xerr=spread, linestyle="", markersize=6, **style)
            axes.set_xscale(scale)
            axes.set_xlabel(label)
            _label(axes, [row["method"] for row in rows])
        _legend(figure, "ours (mean over seeds, ± standard deviation)")
    return figure


def snarenet_figure(rows: Sequence[Row]) -> Figure:
    """Gap of every method, a panel a task."""
    with matplotlib.rc_context(STYLE):
        figure = Figure((8, 2.6), layout="constrained")
        grid = figure.subplots(1, len(snarenet.TASKS))
        for axes, task in zip(grid, snarenet.TASKS, strict=True):
            shown = [row for row in rows if row["task"] == task]
            for y, row in enumerate(shown):
                style = _style(row["source"])
                gap, spread = row["gap"], row["gap_std"]
                low = max(gap - spread, gap / 10)  # a bar that reaches below 0 ends there
                axes.plot([low, gap + spread], [y, y], color=style["color"], linewidth=1.2)
                axes.plot(gap, y, linestyle="", markersize=6, **style)
            axes.set_xscale("log")
            _label(axes, [row["method"] for row in shown])
            axes.set_title(task)
        label = "Geometric mean of the gaps on the test programs, ± standard deviation over seeds"
        _legend(figure, "ours", label)
    return figure


TITLES = {
    "hardnet": "Projecting while training helps on pwc, and costs on pwcfull and pwcbox",
    "enforce": "ENFORCE's layer lowers the error; so does clipping a free network",
    "keras": "The question's answers agree in Keras and here, to rounding",
    "dc3": "Networks that end in a feasible layer come nearer to the optimum than DC3",
    "fitting": "Holding the equality halves the error of y1",
    "snarenet": "With quadratic rows ours come nearer to the optimum than SnareNet",
    "cbf": "Learning through the projection costs half as much as the quadratic program",
}
"""What each figure shows, of the committed numbers."""

FIGURES: dict[str, Callable[[Sequence[Row]], Figure]] = {
    "hardnet": partial(methods_figure, width=10, error="Mean squared error on [-2, 2]"),
    "enforce": partial(
        methods_figure, width=6.8, error="Mean squared error to the noiseless function"
    ),
    "keras": keras_figure,
    "dc3": dc3_figure,
    "fitting": partial(
        columns_figure,
        height=2.4,
        scale="log",
        mse_y1="Mean squared error of y1",
        max_residual="Largest residual",
    ),
    "snarenet": snarenet_figure,
    "cbf": partial(
        columns_figure,
        height=3,
        scale="linear",
        cost="Cost, lower is better",
        violation="Largest violation",
    ),
}
