"""Every run as a dot: how well each strategy predicts, and how far that hangs on the seed."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.analysis.study import Study
from experiments.figures.style import (
    LINE,
    NAMES,
    ROW,
    Sketch,
    at_left,
    corner,
    in_families,
    panels,
    percent,
    short,
    strips,
    width_of,
)
from experiments.training.baselines import BASELINES

APART = range(2, 5)  # so many datasets have a column each
UNSEEN = 0.1  # share of trained runs that an axis may leave out at the left
SKILL = " A skill of 1 is perfect, 0 is that of the clipped mean of the training data."
NAMED = {"skill": "Skill", "r2": "r2"}
Runs = Mapping[str, Mapping[str, np.ndarray]]
"""By backbone and strategy, (seeds, datasets); of a baseline one seed, NaN where there is none."""


def seeds(of: Study) -> Sketch | None:
    """The skill of every run that is ranked, the best strategy on top, a panel a backbone; of few
    datasets a column each. Where nothing is ranked, r2 in place of skill."""
    metric = "skill" if of.rankings else "r2"
    found, datasets = _ranked(of) if of.rankings else _by_r2(of)
    found = {backbone: rows for backbone, rows in found.items() if rows}
    if not found or not datasets:
        return None
    outside = {
        backbone: {name: _outside(of, backbone, name, datasets) for name in rows}
        for backbone, rows in found.items()
    }
    on = of.title(datasets[0]) or short(datasets[0]) if len(datasets) == 1 else ""
    return Sketch(
        name="seeds",
        figure=figure(found, [short(name) for name in datasets], outside, metric),
        title=f"Every run as a dot: {metric} on test" + f", {on}" * bool(on),
        caption=(
            f"A dot is a run on one of {len(datasets)} dataset{'s' * (len(datasets) > 1)}, a tick "
            "the median of its row, an arrow lies beyond the axis; strategies are sorted by the "
            "median of all. At the right: share of outputs outside the bounds."
            + SKILL
            * bool(of.rankings)
        ),
    )


def _ranked(of: Study) -> tuple[Runs, Sequence[str]]:
    found, datasets = {}, ()
    for backbone, ranking in of.rankings.items():
        scores, datasets = ranking.apart, ranking.apart.groups
        found[backbone] = {
            name: scores.of(name)[: len(scores.values[0]) if name in ranking.failing else 1]
            for name in scores.strategies
            if of.choice.shows(name)
        }
    return found, datasets


def _by_r2(of: Study) -> tuple[Runs, Sequence[str]]:
    datasets = of.datasets("study")
    found = {}
    for backbone in of.backbones:
        by_seed = {
            name: [of.by_seed(one, backbone, name, "r2") for one in datasets]
            for name in of.strategies
        }
        found[backbone] = {
            name: np.array([[by.get(seed, np.nan) for by in columns] for seed in sorted(every)])
            for name, columns in by_seed.items()
            if (every := set().union(*columns))
        }
    return found, datasets


def _outside(of: Study, backbone: str, name: str, datasets: Sequence[str]) -> float:
    """The ranking's share, a mean over groups; without one, that over datasets."""
    if backbone in of.rankings:
        return of.rankings[backbone].shares[name]["violation_rate"]
    return float(np.mean([of.mean(one, backbone, name, "violation_rate") for one in datasets]))


def figure(
    found: Runs,
    datasets: Sequence[str],
    outside: Mapping[str, Mapping[str, float]],
    metric: str,
) -> Figure:
    """A row a strategy.

    Args:
      found: what is drawn.
      datasets: their names, of the last axis.
      outside: by backbone and strategy, the share that is written beside its row.
      metric: what the x axis is called.
    """
    names = _best_first(found)
    apart = len(datasets) in APART
    parts = [slice(one, one + 1) for one in range(len(datasets))] if apart else [slice(None)]
    gap = 0.1 if apart else 0.7
    width = (4.0 - (len(parts) - 1) * gap) / len(parts)
    drawn, grid = panels(
        len(parts) * len(found),
        len(parts) if apart else 2,
        (width, ROW * len(names) + 0.1),
        left=NAMES,
        right=0.7,
        top=0.4,
        gap=(gap, 0.75),
        least=0.5 if apart else 1.6,
    )
    for axes, (backbone, part) in zip(grid, product(found, parts), strict=True):
        strips(
            axes,
            {name: found[backbone].get(name, np.empty((0, 1)))[:, part] for name in names},
            _ends(found, part),
        )
        axes.axvline(0, color=LINE, linewidth=0.8, zorder=0.6)
        axes.locator_params(axis="x", nbins=max(2, int(2.5 * width_of(axes))))
        axes.tick_params(labelleft=at_left(axes))
        if not apart:
            axes.set_title(backbone)
        else:
            dataset = datasets[part.start].replace("_", " ")
            axes.set_title(textwrap.fill(dataset, 15), fontsize=8)
            if part == parts[0]:
                corner(axes, backbone)
        if part == parts[-1]:
            _beside(axes, {names.index(name): of for name, of in outside[backbone].items()})
    drawn.supxlabel(NAMED[metric])
    return drawn


def _best_first(found: Runs) -> list[str]:
    """By the median of all runs."""
    every = in_families({name for rows in found.values() for name in rows})
    runs = {name: [rows[name].ravel() for rows in found.values() if name in rows] for name in every}
    return sorted(every, key=lambda name: -np.nanmedian(np.concatenate(runs[name])))


def _ends(found: Runs, part: slice) -> tuple[float, float]:
    """Of an axis that shows 0 and the best, and all but the least of what is trained."""
    every = [(name, values[:, part]) for rows in found.values() for name, values in rows.items()]
    trained = np.concatenate([[0.0], *(of.ravel() for name, of in every if name not in BASELINES)])
    low = min(0.0, np.nanquantile(trained, UNSEEN))
    high = max(0.0, *(np.nanmax(of, initial=0.0) for _, of in every))
    room = 0.05 * (high - low) + 1e-3
    return float(low - room), float(high + room)


def _beside(axes: Axes, shares: Mapping[int, float]) -> None:
    """Shares at the right of their rows."""
    style = {"transform": axes.get_yaxis_transform(), "fontsize": 8, "ha": "right"}
    width = width_of(axes)
    axes.text(1 + 0.62 / width, -0.85, "outside", **style)
    for row, share in shares.items():
        text = percent(share) + " %" * (share > 0)
        axes.text(1 + 0.56 / width, row, text, va="center", **style)
