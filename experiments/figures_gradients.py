"""By strategy and dataset: the gradient's health, collapse, and what a wrong bound costs."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from matplotlib.lines import Line2D

from experiments.baselines import BASELINES
from experiments.drawing import (
    NAMES,
    PALE,
    ROW,
    Place,
    Sketch,
    Spreads,
    families_apart,
    foot,
    in_families,
    listed,
    look,
    number,
    panels,
    row_labels,
    short,
)
from experiments.figures_training import HEALTH

MEANING = {
    "dead": "the training objective's derivative is exactly 0",
    "blocked": "the derivative is exactly 0 while the output is wrong and the target feasible",
    "vanishing": "the training objective's derivative is below 0.001",
}
CLEAN = {"irradiance_soiled": ("diffuse_greensboro", "diffuse_sand_point")}
"""The same target under a bound that holds."""


def gradient_health(found: Mapping[Place, Spreads]) -> list[Sketch]:
    """A matrix of strategies and datasets for each measure, a panel a backbone."""
    return [_matrix(found, metric, name) for metric, name in HEALTH.items()]


def _matrix(found: Mapping[Place, Spreads], metric: str, measure: str) -> Sketch:
    names = _trained(found)
    backbones = sorted({backbone for _, backbone in found})
    datasets = list(dict.fromkeys(dataset for dataset, _ in found))
    width = min(0.45, (9.9 - NAMES - 0.2) / len(backbones) / len(datasets))
    below = 0.25 + 0.066 * max(len(short(dataset)) for dataset in datasets)
    figure, grid = panels(
        len(backbones),
        len(backbones),
        (max(width * len(datasets), 0.9), 0.2 * len(names)),  # wide enough for a backbone's name
        left=NAMES,
        right=0.15,
        bottom=below,
        gap=(0.15, 0),
    )
    worst: list[tuple[float, str]] = []
    for axes, backbone in zip(grid, backbones, strict=True):
        values = np.full((len(names), len(datasets)), np.nan)
        for column, dataset in enumerate(datasets):
            for row, name in enumerate(names):
                spreads = found.get((dataset, backbone), {}).get(name, {})
                if metric in spreads:
                    values[row, column] = spreads[metric].mean
        axes.imshow(values, vmin=0, vmax=1, cmap="Blues", aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            axes.text(
                column,
                row,
                percent(value),
                ha="center",
                va="center",
                color="white" if value > 0.6 else "#999999" if value == 0 else "black",
                fontsize=8,
            )
        axes.set_title(backbone)
        axes.set_xticks(range(len(datasets)), [short(name) for name in datasets], rotation=90)
        row_labels(axes, names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.tick_params(length=0, labelleft=axes is grid[0])
        axes.grid(False)
        families_apart(axes, names)
        worst += [
            (float(value), f"{short(names[row])} on {short(datasets[column])} ({backbone})")
            for (row, column), value in np.ndenumerate(values)
            if value > 0
        ]
    worst.sort(reverse=True)
    top = listed(f"{text} {percent(value)} %" for value, text in worst[:4])
    return Sketch(
        name=f"gradient_health_{measure}",
        figure=figure,
        title=f"Gradient health: {measure}",
        caption=(
            f"{measure.capitalize()}: per cent of the raw outputs, on test after training, where "
            f"{MEANING[measure]}; means over seeds. Lines part families of strategies; –: not "
            "measured."
        ),
        alt=f"Matrix of {len(names)} strategies by {len(datasets)} datasets. Largest: {top}.",
    )


def percent(value: float) -> str:
    """Of a share, in whole per cent; 0 only if it is."""
    if np.isnan(value) or value == 0:
        return "–" if np.isnan(value) else "0"
    return "<1" if value < 0.005 else f"{100 * value:.0f}"


def collapse(found: Mapping[Place, Spreads]) -> Sketch | None:
    """r2 and code reliance on the autoencoders: far apart is a good output without the code."""
    shown = {
        place: {name: m for name, m in spreads.items() if "code_reliance" in m}
        for place, spreads in found.items()
    }
    shown = {place: spreads for place, spreads in shown.items() if spreads}
    if not shown:
        return None
    names = _trained(shown)
    columns = min(len(shown), 4)
    figure, grid = panels(
        len(shown),
        columns,
        (min(2.8, (8.1 - 0.15 * (columns - 1)) / columns), ROW * len(names) + 0.1),
        left=NAMES,
        top=0.8,
        gap=(0.15, 0.45),
    )
    parts = []
    for index, (axes, ((dataset, backbone), spreads)) in enumerate(
        zip(grid, shown.items(), strict=True)
    ):
        collapsed = []
        for row, name in enumerate(names):
            if name not in spreads:
                continue
            score, reliance = (spreads[name][key].mean for key in ("r2", "code_reliance"))
            if np.isnan(score) or np.isnan(reliance):
                continue
            at, color = max(score, -0.1), look(name)["color"]
            axes.plot([at, reliance], [row, row], color=PALE, linewidth=2, zorder=1)
            axes.plot(reliance, row, "o", color=color, fillstyle="none", markersize=5)
            axes.plot(at, row, "o" if score > -0.1 else "<", color=color, markersize=5)
            if score > 0.9 and reliance < 0.1:
                collapsed.append(name)
        axes.set_title(f"{short(dataset)}\n{backbone}", fontsize=9)
        axes.set_xlim(-0.15, 1.08)
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        row_labels(axes, names)
        axes.tick_params(labelleft=index % columns == 0)
        families_apart(axes, names)
        parts.append(
            f"On {short(dataset)}, {backbone}, r2 is above 0.9 with a code reliance below 0.1 for "
            f"{len(collapsed)} of {len(spreads)} strategies: "
            f"{listed([short(name) for name in collapsed], 20)}."
        )
    handles = [
        Line2D([], [], linestyle="", marker="o", color="black", label="r2"),
        Line2D(
            [], [], linestyle="", marker="o", color="black", fillstyle="none", label="code reliance"
        ),
    ]
    figure.legend(handles=handles, loc="upper center", ncols=2, borderaxespad=0.1)
    foot(figure, "r2 and code reliance on test (◂: r2 below -0.1)")
    return Sketch(
        name="collapse",
        figure=figure,
        title="Collapse on the autoencoders",
        caption=(
            "Where the target is the bound: r2 (filled) and code reliance (open), the r2 that is "
            "lost when windows are decoded from each other's codes; means over seeds. The two far "
            "apart, with r2 near 1, is collapse: the bound gave the answer away and the code holds "
            "little of it."
        ),
        alt=" ".join(parts),
    )


def wrong_bound(found: Mapping[Place, Spreads], dataset: str) -> Sketch:
    """r2 where the bound fails for some targets, beside that where a bound on them holds."""
    backbones = [backbone for name, backbone in found if name == dataset]
    names = in_families({name for backbone in backbones for name in found[dataset, backbone]})
    alike = CLEAN.get(dataset, ())

    def held(backbone: str, name: str) -> float:
        """r2 under the bound that holds; NaN unless every such dataset has it."""
        known = [found.get((of, backbone), {}).get(name) for of in alike]
        return np.mean([one["r2"].mean for one in known]) if known and all(known) else np.nan

    beside = {place: held(*place) for place in product(backbones, names)}
    figure, grid = panels(
        len(backbones),
        len(backbones),
        (min(4.0, 8.0 / len(backbones)), ROW * len(names) + 0.1),
        left=NAMES,
        top=0.65,
        gap=(0.2, 0),
    )
    parts = []
    for axes, backbone in zip(grid, backbones, strict=True):
        here = found[dataset, backbone]
        scores = {
            name: here[name]["r2"].mean
            for name in names
            if name in here and np.isfinite(here[name]["r2"].mean)
        }
        for row, name in enumerate(names):
            color = look(name)["color"]
            before = beside[backbone, name]
            ends = [max(scores[name], -0.1)] if name in scores else []
            if np.isfinite(before):
                ends.append(max(before, -0.1))
                axes.plot(ends[-1], row, "o", color=color, fillstyle="none", markersize=5)
            axes.plot(ends, [row] * len(ends), color=PALE, linewidth=2, zorder=1)
            if name in scores:
                marker = "o" if scores[name] > -0.1 else "<"
                axes.plot(ends[0], row, marker, color=color, markersize=5)
        axes.set_title(backbone)
        axes.set_xlim(-0.15, 1.02)
        row_labels(axes, names)
        axes.tick_params(labelleft=axes is grid[0])
        families_apart(axes, names)
        order = sorted(scores, key=scores.__getitem__, reverse=True)
        parts.append(
            f"On {backbone} the best are "
            + listed(f"{short(name)} {number(scores[name])}" for name in order[:3])
            + f"; clip has {number(scores.get('clip', np.nan))}, unconstrained "
            + f"{number(scores.get('unconstrained', np.nan))}."
        )
    shown = bool(np.isfinite(list(beside.values())).any())
    if shown:
        handles = [
            Line2D([], [], linestyle="", marker="o", color="black", label="wrong bound"),
            Line2D(
                [],
                [],
                linestyle="",
                marker="o",
                color="black",
                fillstyle="none",
                label="bound that holds",
            ),
        ]
        figure.legend(handles=handles, loc="upper center", ncols=2, borderaxespad=0.1)
    foot(figure, "r2 on test (◂: below -0.1)")
    of = listed(map(short, alike))
    return Sketch(
        name=f"wrong_bound_{dataset}",
        figure=figure,
        title=f"When the bound is wrong: {short(dataset)}",
        caption=(
            f"r2 on {short(dataset)} (filled), where some targets break the bound that the "
            "strategies are given"
            + f", and on the same target where it holds (open: mean of {of}, each with a network "
            "and an r2 of its own)"
            * shown
            + ". A strategy that must hold the bound cannot reach those targets; one that need "
            "not, can. Means over seeds."
        ),
        alt=" ".join(parts),
        dataset=dataset,
    )


def _trained(found: Mapping[Place, Spreads]) -> Sequence[str]:
    names = {name for spreads in found.values() for name in spreads}
    return in_families(names - BASELINES.keys())
