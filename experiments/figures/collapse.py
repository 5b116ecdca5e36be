"""Where the target is the bound: a good output, and what of it hangs on the code."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.analysis.study import Study
from experiments.figures.style import (
    MARKERS,
    NAMES,
    ROW,
    Sketch,
    at_left,
    corner,
    dots,
    in_families,
    legend_above,
    look,
    panels,
    row_labels,
    short,
)

SEEN = 0.05  # a backbone on which no code reliance is above it is left out, unless all are
LEAST_R2 = -0.1  # smaller ones are drawn there
LANE = 0.4  # of a row, from one dataset to the next
PANELS = {"r2": "r2", "code_reliance": "Code reliance"}
Runs = Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]
"""By dataset, metric and strategy: a number for each seed."""


def collapse(of: Study) -> Sketch | None:
    """r2 at the left and code reliance at the right of every run on an autoencoder; a row of
    panels a backbone."""
    found = {backbone: _runs(of, backbone) for backbone in of.backbones}
    found = {backbone: runs for backbone, runs in found.items() if runs}
    if not found:
        return None
    relying = {
        backbone: runs
        for backbone, runs in found.items()
        if any(of.max() > SEEN for by in runs.values() for of in by["code_reliance"].values())
    }
    left_out = [backbone for backbone in found if relying and backbone not in relying]
    return Sketch(
        name="collapse",
        figure=figure(relying or found),
        title="Where the target is the bound: r2, and what of it hangs on the code",
        caption=(
            "A dot is a run on test; strategies are sorted by code reliance, the r2 that is lost "
            "when windows are decoded from each other's codes, between 0 and 1. An r2 near 1 with "
            "a code reliance near 0 is collapse: the bound gives the output, and not the code."
            + f" Left out is {' and '.join(left_out)}, with none above {SEEN}."
            * bool(left_out)
        ),
    )


def _runs(of: Study, backbone: str) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    found = {}
    for dataset in of.datasets("autoencoder"):
        by_metric = {
            metric: {
                name: np.array([*of.by_seed(dataset, backbone, name, metric).values()])
                for name in of.strategies
            }
            for metric in PANELS
        }
        relying = {name for name, values in by_metric["code_reliance"].items() if values.size}
        if relying:
            found[dataset] = {
                metric: {name: values for name, values in rows.items() if name in relying}
                for metric, rows in by_metric.items()
            }
    return found


def figure(found: Mapping[str, Runs]) -> Figure:
    """A row of two panels for each backbone, a row for each strategy that ran on it, a marker a
    dataset."""
    every = [runs for by_dataset in found.values() for runs in by_dataset.values()]
    datasets = list(dict.fromkeys(name for by_dataset in found.values() for name in by_dataset))
    names = in_families({name for runs in every for name in runs["code_reliance"]})
    relies = {
        name: np.mean(
            np.concatenate([of["code_reliance"][name] for of in every if name in of["r2"]])
        )
        for name in names
    }
    names.sort(key=lambda name: -relies[name])
    marks = dict(zip(datasets, MARKERS * len(datasets), strict=False))
    ran = {
        backbone: [name for name in names if any(name in of["r2"] for of in by_dataset.values())]
        for backbone, by_dataset in found.items()
    }
    size = 2.2, [1.2 * ROW * len(here) + 0.1 for here in ran.values()]
    top = 0.55 if len(datasets) > 1 else 0.35  # for a legend
    drawn, grid = panels(2 * len(found), 2, size, left=NAMES, top=top, gap=(0.15, 0.85))
    for place, (backbone, by_dataset) in enumerate(found.items()):
        for axes, (metric, label) in zip(
            grid[2 * place : 2 * place + 2], PANELS.items(), strict=True
        ):
            ends = (LEAST_R2 - 0.02, 1.05)
            for number, (dataset, runs) in enumerate(by_dataset.items()):
                shift = LANE * (number - (len(by_dataset) - 1) / 2)
                for name, values in runs[metric].items():
                    row, color = ran[backbone].index(name) + shift, look(name)["color"]
                    dots(axes, row, values, ends, color, marks[dataset], spread=LANE / 2)
            axes.set_xlim(ends)
            axes.set_xticks(np.linspace(0, 1, 6))
            axes.set_xlabel(label)
            row_labels(axes, ran[backbone])
            axes.tick_params(labelleft=at_left(axes))
            if at_left(axes):
                corner(axes, backbone)
    if len(datasets) > 1:
        dark = {"linestyle": "", "color": "black", "markersize": 4}
        legend_above(
            drawn, [Line2D([], [], marker=marks[of], label=short(of), **dark) for of in datasets]
        )
    return drawn
