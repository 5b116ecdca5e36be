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
    Sketch,
    at_left,
    beside,
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
Runs = Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]
"""By backbone, strategy and dataset: a number for each seed, of a baseline a single one."""


def seeds(of: Study) -> Sketch | None:
    """The skill of every run that is ranked, the best strategy on top, a panel a backbone; of few
    datasets a column each. Where nothing is ranked, r2 in place of skill."""
    metric = "skill" if of.rankings else "r2"
    found = _ranked(of) if of.rankings else _by_r2(of)
    found = {backbone: rows for backbone, rows in found.items() if rows}
    datasets = _datasets(found)
    if not datasets:
        return None
    outside = {
        backbone: {name: _outside(of, backbone, name) for name in rows}
        for backbone, rows in found.items()
    }
    single = of.title(datasets[0]) or short(datasets[0]) if len(datasets) == 1 else ""
    explained = SKILL if of.rankings else ""
    return Sketch(
        name="seeds",
        figure=figure(found, outside, NAMED[metric]),
        title=f"Every run as a dot: {metric} on test" + f", {single}" * bool(single),
        caption=(
            f"A dot is a run on one of {len(datasets)} dataset{'s' * (len(datasets) > 1)}, a tick "
            "the median of its row, an arrow lies beyond the axis; strategies are sorted by the "
            f"median of all. At the right: share of outputs outside the bounds.{explained}"
        ),
    )


def _datasets(found: Runs) -> list[str]:
    return list(dict.fromkeys(on for rows in found.values() for of in rows.values() for on in of))


def _ranked(of: Study) -> Runs:
    found = {}
    for backbone, ranking in of.rankings.items():
        apart = ranking.apart
        runs = {name: apart.of(name) for name in apart.strategies if of.choice.shows(name)}
        found[backbone] = {
            name: dict(zip(apart.groups, values[: 1 if name in BASELINES else None].T, strict=True))
            for name, values in runs.items()
        }
    return found


def _by_r2(of: Study) -> Runs:
    found: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for backbone, name, dataset in product(of.backbones, of.strategies, of.datasets("study")):
        if runs := of.by_seed(dataset, backbone, name, "r2"):
            by_dataset = found.setdefault(backbone, {}).setdefault(name, {})
            by_dataset[dataset] = np.array([*runs.values()])
    return found


def _outside(of: Study, backbone: str, name: str) -> float:
    """The ranking's share, a mean over groups; without one, that over datasets."""
    if backbone in of.rankings:
        return of.rankings[backbone].shares[name]["violation_rate"]
    datasets = of.datasets("study")
    return float(np.mean([of.mean(one, backbone, name, "violation_rate") for one in datasets]))


def figure(found: Runs, outside: Mapping[str, Mapping[str, float]], metric: str) -> Figure:
    """A row a strategy that ran on the backbone.

    Args:
      found: what is drawn.
      outside: by backbone and strategy, the share that is written beside its row.
      metric: what the x axis is called.
    """
    datasets = _datasets(found)
    order = _best_first(found, datasets)
    names = {backbone: [name for name in order if name in rows] for backbone, rows in found.items()}
    side_by_side, heights = beside(names.values())
    apart = len(datasets) in APART
    columns = [[name] for name in datasets] if apart else [datasets]
    gap = 0.1 if apart else 0.7
    drawn, grid = panels(
        len(columns) * len(found),
        len(columns) if apart else side_by_side,
        ((4.0 - (len(columns) - 1) * gap) / len(columns), heights),
        left=NAMES,
        right=0.7,
        top=0.4,
        gap=(gap, 0.75),
        least=0.5 if apart else 1.6,
    )
    for axes, (backbone, column) in zip(grid, product(found, columns), strict=True):
        rows = {name: _runs(found[backbone][name], column) for name in names[backbone]}
        strips(axes, rows, _ends(found, column))
        axes.axvline(0, color=LINE, linewidth=0.8, zorder=0.6)
        axes.locator_params(axis="x", nbins=max(2, int(2.5 * width_of(axes))))
        axes.tick_params(labelleft=at_left(axes))
        if not apart:
            axes.set_title(backbone)
        else:
            axes.set_title(textwrap.fill(short(column[0]).replace("_", " "), 15), fontsize=8)
            if column == columns[0]:
                corner(axes, backbone)
        if column == columns[-1]:
            shares = outside[backbone]
            _beside(axes, {row: shares[name] for row, name in enumerate(names[backbone])})
    drawn.supxlabel(metric)
    return drawn


def _runs(of: Mapping[str, np.ndarray], datasets: Sequence[str]) -> np.ndarray:
    return np.concatenate([np.empty(0), *(of[name] for name in datasets if name in of)])


def _best_first(found: Runs, datasets: Sequence[str]) -> list[str]:
    """By the median of all runs."""
    runs: dict[str, list[np.ndarray]] = {}
    for rows in found.values():
        for name, of in rows.items():
            runs.setdefault(name, []).append(_runs(of, datasets))
    middles = {name: np.median(np.concatenate(of)) for name, of in runs.items()}
    return sorted(in_families(middles), key=lambda name: -middles[name])


def _ends(found: Runs, datasets: Sequence[str]) -> tuple[float, float]:
    """Of an axis that shows 0 and the best, and all but the least of what is trained."""
    every = [(name, _runs(of, datasets)) for rows in found.values() for name, of in rows.items()]
    trained = np.concatenate([[0.0], *(of for name, of in every if name not in BASELINES)])
    low = min(0.0, np.quantile(trained, UNSEEN))
    high = max(0.0, *(of.max(initial=0.0) for _, of in every))
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
