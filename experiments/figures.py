"""Numbers to matplotlib figures; a strategy has one colour and marker everywhere."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from experiments import statistics, store
from experiments.baselines import BASELINES
from experiments.catalogue import DATASETS
from experiments.choices import in_order
from experiments.statistics import Spread
from experiments.store import Record
from experiments.strategies import EVERY_STRATEGY

# Okabe and Ito (2008): told apart with any colour vision. Markers tell apart what shares a colour.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^vP"
STYLE = {
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "axes.axisbelow": True,
    "legend.frameon": False,
}
LEAST_LOSS = 1e-5  # smaller ones are drawn there: an output equal to the bound, but for rounding
Group = tuple[str, str]  # dataset, backbone


def look(name: str) -> dict[str, str]:
    """Colour and marker of a strategy: fixed by its place in the table, grey for baselines."""
    if name in BASELINES:
        return {"color": "#777777", "marker": "x+1"[list(BASELINES).index(name)]}
    if name == "unconstrained":
        return {"color": "black", "marker": "*"}
    known = [other for other in EVERY_STRATEGY if other != "unconstrained"]
    place = known.index(name) if name in known else sum(name.encode())
    return {
        "color": COLORS[place % len(COLORS)],
        "marker": MARKERS[(place + place // len(COLORS)) % len(MARKERS)],
    }


def draw_all(folder: Path, records: Sequence[Record]) -> list[Path]:
    """Every figure of a sweep's final cells, into `figures/`; nothing where none is trained."""
    done = [
        record
        for record in records
        if record["status"] == "done"
        and record["config"]["phase"] == "final"
        and (folder / "cells" / f"{record['id']}.npz").is_file()  # not of one written by hand
    ]
    if all(record["config"]["backbone"] == "none" for record in done):
        return []
    target = folder / "figures"
    target.mkdir(exist_ok=True)
    spreads = statistics.over_seeds(statistics.summary(done))
    arrays = {record["id"]: store.load_arrays(folder, record["id"]) for record in done}
    with plt.rc_context(STYLE):
        drawn = {
            "loss_violation": loss_violation(spreads),
            "gradient_health": gradient_health(spreads),
            "collapse": collapse(spreads),
            "training_curves": training_curves(done, arrays),
        }
        for dataset in dict.fromkeys(record["config"]["dataset"]["name"] for record in done):
            for backbone, figure in examples(dataset, done, arrays).items():
                drawn[f"example_{_slug(dataset)}_{backbone}"] = figure
        paths = []
        for name, figure in drawn.items():
            paths.append(target / f"{name}.png")
            save(figure, paths[-1])
    return paths


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path)
    plt.close(figure)


def throughput(rows: Sequence[dict[str, Any]]) -> Figure:
    """Training throughput by stack, a panel a shape; whiskers from the lowest to the highest."""
    shown = [row for row in rows if "spread" in row and row["stack"] != "sgemm"]
    keys = ("hidden", "steps", "features", "batch")
    shapes = list(dict.fromkeys(tuple(row[key] for key in keys) for row in shown))
    stacks = list(dict.fromkeys(row["stack"] for row in shown))
    with plt.rc_context(STYLE):
        figure, grid = _grid(len(shapes), width=3.4, height=0.28 * len(stacks) + 0.6, sharey=True)
        for axes, shape in zip(grid, shapes, strict=True):
            for row in shown:
                if tuple(row[key] for key in keys) != shape:
                    continue
                place, rate = stacks.index(row["stack"]), row["sequences_per_second"]
                low, high = row["spread"]
                color = "#0072B2" if row["stack"].startswith("bounded") else "#999999"
                axes.barh(place, rate, color=color, height=0.7)
                axes.plot([low, high], [place, place], color="black", linewidth=1)
                axes.text(high, place, f" {rate:,.0f}", va="center", fontsize=8)
            hidden, steps, features, batch = shape
            axes.set_title(f"{hidden} hidden, {steps} steps × {features}, batch {batch}")
            axes.set_yticks(range(len(stacks)), stacks)
            axes.set_ylim(len(stacks) - 0.5, -0.5)
            axes.set_xlim(0, 1.25 * axes.get_xlim()[1])
            axes.grid(axis="y", visible=False)
        figure.supxlabel("Sequences trained a second (median; line: lowest to highest)", fontsize=9)
    return figure


def loss_violation(spreads: dict[tuple[str, str, str], dict[str, Spread]]) -> Figure:
    """Test loss against violation rate, one mark a strategy; lower left is better.

    Marks without a violation stand side by side in the shaded strip, not in any order of merit.
    """
    left, right = 10**-4.8, 10**-3.2  # the strip, on the axis of rates

    def draw(axes: Axes, found: dict[str, dict[str, Spread]]) -> None:
        never = [name for name in found if found[name]["violation_rate"].mean == 0]
        strip = dict(zip(never, np.geomspace(left, right, len(never) + 2)[1:-1], strict=True))
        for name, metrics in found.items():
            rate = strip.get(name, max(metrics["violation_rate"].mean, 1e-3))
            loss = max(metrics["mse"].mean, LEAST_LOSS)
            axes.plot(rate, loss, linestyle="", markersize=6, **look(name))
        axes.axvspan(left, right, color="#f0f0f0", zorder=0)
        axes.set_xscale("log")
        axes.set_xlim(left, 1.3)
        axes.set_xticks([10**-4, 1e-3, 1e-2, 1e-1, 1], ["0", "≤.001", ".01", ".1", "1"])
        axes.minorticks_off()
        _loss_axis(axes)

    return _panels(
        _groups(spreads),
        draw,
        "Violation rate (share of entries outside); never violated: in the strip",
        f"Test loss (mean squared error; {LEAST_LOSS:g}: that or less)",
    )


def _loss_axis(axes: Axes) -> None:
    """A logarithmic axis with plain numbers, as few as fit."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    subs = (1, 2, 5) if high / low < 50 else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def collapse(spreads: dict[tuple[str, str, str], dict[str, Spread]]) -> Figure:
    """r2 and code reliance of each strategy: far apart is a good output without the code."""
    groups = _groups(spreads)
    names = _trained(groups)
    figure, grid = _grid(len(groups), width=3.4, height=0.2 * len(names) + 0.8, sharey=True)
    for axes, (title, found) in zip(grid, groups.items(), strict=False):
        for row, name in enumerate(names):
            metrics = found.get(name, {})
            if "code_reliance" not in metrics:
                continue
            score, reliance = metrics["r2"].mean, metrics["code_reliance"].mean
            shown = max(score, -0.1)
            axes.plot([shown, reliance], [row, row], color="#cccccc", linewidth=2, zorder=1)
            axes.plot(reliance, row, "o", color="#D55E00", fillstyle="none")
            axes.plot(shown, row, "o" if score > -0.1 else "<", color="#0072B2")
        axes.set_title(_group_label(title, groups))
        axes.set_xlim(-0.15, 1.08)
        axes.set_yticks(range(len(names)), [_short(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
    handles = [
        plt.Line2D([], [], linestyle="", marker="o", color="#0072B2", label="r2"),
        plt.Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            color="#D55E00",
            fillstyle="none",
            label="code reliance",
        ),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    figure.supxlabel("r2 and code reliance on test (◂: r2 below -0.1)", fontsize=9)
    return figure


def gradient_health(spreads: dict[tuple[str, str, str], dict[str, Spread]]) -> Figure:
    """Dead, blocked and vanishing shares of the gradient by strategy and dataset."""
    shown = {
        "gradient_dead_fraction": "dead: derivative exactly 0",
        "blocked_fraction": "blocked: dead and wrong",
        "gradient_vanishing_fraction": "vanishing: below 0.001",
    }
    groups = _groups(spreads)
    names = _trained(groups)
    width = max(10.0, 3 * (0.55 * len(groups) + 0.6) + 1.8)
    figure, grid = plt.subplots(
        1, len(shown), figsize=(width, 0.32 * len(names) + 2.0), sharey=True, squeeze=False
    )
    for axes, (metric, title) in zip(grid[0], shown.items(), strict=True):
        values = np.array(
            [
                [group[name][metric].mean if name in group else np.nan for group in groups.values()]
                for name in names
            ]
        )
        image = axes.imshow(values, vmin=0, vmax=1, cmap="Blues", aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            color = "white" if value > 0.6 else "black"
            axes.text(column, row, _share(value), ha="center", va="center", color=color, fontsize=8)
        axes.set_title(title)
        labels = [_group_label(group, groups) for group in groups]
        axes.set_xticks(range(len(groups)), labels, rotation=40, ha="right")
        axes.set_yticks(range(len(names)), [_short(name) for name in names])
        axes.grid(False)
    figure.colorbar(image, ax=grid[0], label="share of entries", pad=0.01)
    return figure


def _share(value: float) -> str:
    if np.isnan(value) or value == 0:
        return "–" if np.isnan(value) else "0"
    return "<.01" if value < 0.005 else f"{value:.2f}".removeprefix("0")


def training_curves(records: Sequence[Record], arrays: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Validation error by epoch, penalties apart: mean over seeds, and the range of the seeds."""
    histories: dict[Group, dict[str, list[dict[str, np.ndarray]]]] = {}
    for record in records:
        config = record["config"]
        if "history_epoch" in arrays[record["id"]]:
            group = histories.setdefault((config["dataset"]["name"], config["backbone"]), {})
            group.setdefault(config["strategy"]["name"], []).append(arrays[record["id"]])

    def draw(axes: Axes, found: dict[str, list[dict[str, np.ndarray]]]) -> None:
        for name in in_order(found, EVERY_STRATEGY):
            seeds = found[name]
            epochs = seeds[0]["history_epoch"]
            # Runs of another length in the same folder are another curve; show the longest.
            same = [s["history_mse"] for s in seeds if len(s["history_epoch"]) == len(epochs)]
            losses = np.maximum(np.stack(same), LEAST_LOSS)
            style = look(name)
            axes.fill_between(
                epochs, losses.min(0), losses.max(0), color=style["color"], alpha=0.12, linewidth=0
            )
            every = max(1, len(epochs) // 5)
            axes.plot(epochs, losses.mean(0), **style, markersize=4, linewidth=1.2, markevery=every)
        _loss_axis(axes)

    return _panels(
        _in_dataset_order(histories),
        draw,
        "Epoch",
        f"Validation mean squared error: mean and range over seeds ({LEAST_LOSS:g}: that or less)",
    )


def examples(
    dataset: str, records: Sequence[Record], arrays: dict[str, dict[str, np.ndarray]]
) -> dict[str, Figure]:
    """By backbone: a window whose target varies much, with each strategy's output (seed 0)."""
    here = [record for record in records if record["config"]["dataset"]["name"] == dataset]
    seed = min(record["config"]["seed"] for record in here)
    chosen = {
        (record["config"]["backbone"], record["config"]["strategy"]["name"]): arrays[record["id"]]
        for record in here
        if record["config"]["seed"] == seed
    }
    figures = {}
    for backbone in dict.fromkeys(backbone for backbone, _ in chosen if backbone != "none"):
        found = {name: value for (where, name), value in chosen.items() if where == backbone}
        names = in_order(found, EVERY_STRATEGY)
        figure, grid = _grid(len(names), width=2.1, height=1.7, sharex=True, sharey=True)
        for axes, name in zip(grid, names, strict=False):
            _example(axes, found[name], name)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
        targets = found[names[0]]["example_targets"]
        feature = f", feature {_widest_feature(found[names[0]])}" if targets.shape[2] > 1 else ""
        figure.supxlabel(
            f"Step of a test window of {_short(dataset)}{feature}; seed {seed}", fontsize=9
        )
        figure.supylabel("Scaled value", fontsize=9)
        figures[backbone] = figure
    return figures


def _example(axes: Axes, found: dict[str, np.ndarray], name: str) -> None:
    feature = _widest_feature(found)
    target, output = (found[f"example_{key}"][-1, :, feature] for key in ("targets", "output"))
    steps = np.arange(len(target))
    inputs = found["example_inputs"][-1]
    low, high = (
        found[key][-1, :, feature] if key in found else None
        for key in ("example_lower", "example_upper")
    )
    drawn = [target, output, *[bound for bound in (low, high) if bound is not None]]
    finite = np.concatenate([line[np.isfinite(line)] for line in drawn])
    margin = 0.15 * np.ptp(finite) + 1e-6
    if high is not None:
        axes.fill_between(
            steps,
            high,
            finite.max() + margin,
            color="#bbbbbb",
            alpha=0.5,
            linewidth=0,
            label="outside the bound",
        )
    if low is not None:
        axes.fill_between(
            steps,
            finite.min() - margin,
            low,
            color="#bbbbbb",
            alpha=0.5,
            linewidth=0,
            label=None if high is not None else "outside the bound",
        )
    if inputs.shape[-1] == 1:
        axes.plot(steps, inputs[:, 0], color="#777777", linewidth=1, linestyle=":", label="input")
    axes.plot(steps, target, color="black", linewidth=1.2, linestyle="--", label="target")
    axes.plot(steps, output, color="#D55E00", linewidth=1.6, label="output")
    axes.set_title(_short(name), fontsize=9)
    axes.set_xlim(0, len(target) - 1)
    axes.set_ylim(finite.min() - margin, finite.max() + margin)


def _widest_feature(found: dict[str, np.ndarray]) -> int:
    return int(found["example_targets"][-1].std(axis=0).argmax())


def _groups(
    spreads: dict[tuple[str, str, str], dict[str, Spread]],
) -> dict[Group, dict[str, dict[str, Spread]]]:
    """By dataset and backbone, then strategy; baselines join each backbone."""
    groups: dict[Group, dict[str, dict[str, Spread]]] = {}
    for dataset, backbone, name in spreads:
        if backbone != "none":
            groups.setdefault((dataset, backbone), {})[name] = spreads[dataset, backbone, name]
    for dataset, backbone, name in spreads:
        for group, found in groups.items():
            if backbone == "none" and group[0] == dataset:
                found[name] = spreads[dataset, backbone, name]
    return _in_dataset_order(
        {
            group: {name: found[name] for name in in_order(found, EVERY_STRATEGY)}
            for group, found in groups.items()
        }
    )


def _trained(groups: dict[Group, dict[str, Any]]) -> list[str]:
    names = {name for group in groups.values() for name in group}
    return in_order(names - BASELINES.keys(), EVERY_STRATEGY)


def _in_dataset_order(groups: dict[Group, Any]) -> dict[Group, Any]:
    names = in_order({dataset for dataset, _ in groups}, DATASETS)
    return {group: groups[group] for name in names for group in sorted(groups) if group[0] == name}


def _group_label(group: Group, groups: dict) -> str:
    one_backbone = len({backbone for _, backbone in groups}) == 1
    return _short(group[0]) if one_backbone else f"{_short(group[0])}, {group[1]}"


def _panels(
    groups: dict[Group, dict], draw: Callable[[Axes, dict], None], x: str, y: str
) -> Figure:
    """One panel a dataset and backbone, and one legend of all strategies at the right."""
    figure, grid = _grid(len(groups), width=3.1, height=2.7)
    for axes, (group, found) in zip(grid, groups.items(), strict=False):
        draw(axes, found)
        axes.set_title(_group_label(group, groups))
    names = in_order({name for found in groups.values() for name in found}, EVERY_STRATEGY)
    handles = [
        plt.Line2D([], [], linestyle="", markersize=6, label=_short(name), **look(name))
        for name in names
    ]
    figure.legend(handles=handles, loc="outside right center", fontsize=8)
    figure.supxlabel(x, fontsize=9)
    figure.supylabel(y, fontsize=9)
    return figure


def _grid(count: int, width: float, height: float, **shared: bool) -> tuple[Figure, list[Axes]]:
    columns = min(count, 3 if width > 3 else 5)
    rows = -(-count // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(width * columns + 1.6, height * rows + 0.6), squeeze=False, **shared
    )
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    for axes in grid.flat[max(0, count - columns) : count]:
        axes.tick_params(labelbottom=True)
    return figure, list(grid.flat[:count])


def _short(name: str) -> str:
    """A name as a label: of a path or `module:function` the last part, of a long one its end."""
    last = re.split(r"[/\\:]", name)[-1]
    shown = last if len(last) <= 26 else f"…{last[-25:]}"
    return shown.replace("$", r"\$")


def _slug(name: str) -> str:
    """A dataset's name as part of a file's name; a path is the user's and may hold anything."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[-80:] or "dataset"
