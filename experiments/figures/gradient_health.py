"""By strategy and dataset: the gradient's health, collapse, and what a wrong bound costs."""

from collections.abc import Iterator, Mapping

import numpy as np
from matplotlib.figure import Figure

from experiments.analysis.study import Study
from experiments.analysis.tables import slug
from experiments.figures.style import (
    HEALTH,
    NAMES,
    PALE,
    ROW,
    Sketch,
    at_left,
    families_apart,
    filled_and_open,
    in_families,
    look,
    panels,
    percent,
    row_labels,
    short,
)
from experiments.training.baselines import BASELINES

MEANING = {
    "dead": "the training objective's derivative is exactly 0",
    "blocked": "the derivative is exactly 0 while the output is wrong and the target feasible",
    "vanishing": "the training objective's derivative is below 0.001 of its error's own",
}
CLEAN = {"irradiance_soiled": ("diffuse_greensboro", "diffuse_sand_point")}
"""The same target under a bound that holds."""
LEAST_R2 = -0.1  # smaller ones are drawn there
Pairs = Mapping[str, tuple[float, float]]  # by strategy; NaN: none


def gradient_health(of: Study) -> Iterator[Sketch]:
    """A matrix of strategies and datasets for each measure, a panel a backbone."""
    datasets = [name for name in of.every_dataset if of.backbones_of(name)]
    names = in_families(set(of.strategies) - BASELINES.keys())
    labels = [short(name) for name in datasets]
    width = min(0.45, (9.9 - NAMES - 0.2) / len(of.backbones) / len(datasets))
    size = max(width * len(datasets), 0.9), 0.2 * len(names)  # wide enough for a backbone's name
    below = 0.25 + 0.066 * max(map(len, labels))
    for metric, measure in HEALTH.items():
        figure, grid = panels(
            len(of.backbones),
            len(of.backbones),
            size,
            left=NAMES,
            bottom=below,
            gap=(0.15, below + 0.25),
            least=0.2 * len(datasets),
        )
        for axes, backbone in zip(grid, of.backbones, strict=True):
            values = [[of.mean(on, backbone, name, metric) for on in datasets] for name in names]
            axes.imshow(values, vmin=0, vmax=1, cmap="Blues", aspect="auto")
            for (row, column), value in np.ndenumerate(values):
                color = "white" if value > 0.6 else "#999999" if value == 0 else "black"
                at = {"ha": "center", "va": "center", "fontsize": 8}
                axes.text(column, row, percent(value), color=color, **at)
            axes.set_title(backbone)
            axes.set_xticks(range(len(datasets)), labels, rotation=90)
            row_labels(axes, names)
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.tick_params(length=0, labelleft=at_left(axes))
            axes.grid(False)
            families_apart(axes, names)
        yield Sketch(
            name=f"gradient_health_{measure}",
            figure=figure,
            title=f"Gradient health: {measure}",
            caption=(
                f"Per cent of the raw outputs, on test after training, where {MEANING[measure]}; "
                "means over seeds (–: not measured)."
            ),
        )


def collapse(of: Study) -> Sketch | None:
    """r2 and code reliance on the autoencoders: far apart is a good output without the code."""
    shown = {}
    for dataset in of.datasets("autoencoder"):
        for backbone in of.backbones_of(dataset):
            pairs = {
                name: (of.mean(dataset, backbone, name, "r2"), reliance)
                for name in of.strategies
                if np.isfinite(reliance := of.mean(dataset, backbone, name, "code_reliance"))
            }
            if pairs:
                shown[f"{short(dataset)}\n{backbone}"] = pairs
    if not shown:
        return None
    figure = _side_by_side(shown)
    filled_and_open(figure, "r2", "code reliance")
    figure.supxlabel(f"r2 and code reliance on test (◂: r2 below {LEAST_R2})")
    return Sketch(
        name="collapse",
        figure=figure,
        title="Collapse on the autoencoders",
        caption=(
            "r2, and code reliance, the r2 that is lost when windows are decoded from each other's "
            "codes; means over seeds. The two far apart, with r2 near 1, is collapse: the bound "
            "gave the answer away, and the code holds little of it."
        ),
    )


def wrong_bound(of: Study, dataset: str) -> Sketch:
    """r2 where the bound fails for some targets, beside that where a bound on them holds."""
    alike = CLEAN.get(dataset, ())

    def pair(backbone: str, name: str) -> tuple[float, float]:
        """The second is NaN unless every dataset whose bound holds has it."""
        held = [of.mean(one, backbone, name, "r2") for one in alike]
        return of.mean(dataset, backbone, name, "r2"), float(np.mean(held or np.nan))

    there = [name for on, _, name in of.spreads if on == dataset and of.choice.shows(name)]
    shown = {one: {name: pair(one, name) for name in there} for one in of.backbones_of(dataset)}
    compared = any(np.isfinite(other) for pairs in shown.values() for _, other in pairs.values())
    figure = _side_by_side(shown)
    filled_and_open(figure, *("wrong bound", "bound that holds")[: 1 + compared])
    figure.supxlabel(f"r2 on test (◂: below {LEAST_R2})")
    return Sketch(
        name=f"wrong_bound_{slug(dataset)}",
        figure=figure,
        title=f"When the bound is wrong: {of.title(dataset) or short(dataset)}",
        caption=(
            "r2 where some targets break the bound that the strategies are given"
            + f", and where the bound holds (open: mean of {' and '.join(alike)})" * compared
            + "; means over seeds. What must hold the bound cannot reach the targets beyond it."
        ),
        dataset=dataset,
    )


def _side_by_side(shown: Mapping[str, Pairs]) -> Figure:
    """A panel for each title, and in it for each strategy a filled mark and an open one, joined."""
    names = in_families({name for pairs in shown.values() for name in pairs})
    columns = min(len(shown), 4)
    size = min(4.0, (8.1 - 0.15 * (columns - 1)) / columns), ROW * len(names) + 0.1
    figure, grid = panels(len(shown), columns, size, left=NAMES, top=0.8, gap=(0.15, 0.75))
    for axes, (title, pairs) in zip(grid, shown.items(), strict=True):
        for name, pair in pairs.items():
            row, color = names.index(name), look(name)["color"]
            ends = np.maximum(pair, LEAST_R2)
            axes.plot(ends, [row, row], color=PALE, linewidth=2, zorder=1)
            for end, face in zip(ends, (color, "none"), strict=True):
                marker = "<" if end == LEAST_R2 else "o"
                axes.plot(end, row, marker, color=color, markerfacecolor=face, markersize=5)
        axes.set_title(title)
        axes.set_xlim(LEAST_R2 - 0.05, 1.08)
        axes.set_xticks(np.linspace(0, 1, 6))
        row_labels(axes, names)
        axes.tick_params(labelleft=at_left(axes))
        families_apart(axes, names)
    return figure
