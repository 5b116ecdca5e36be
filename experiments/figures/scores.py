"""Scores of strategies: skill across the study's datasets, and loss on each dataset."""

from collections.abc import Mapping
from math import isfinite

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.analysis import statistics
from experiments.analysis.ranking import Ranking
from experiments.analysis.statistics import Estimate
from experiments.analysis.study import Study
from experiments.analysis.tables import slug
from experiments.figures.style import (
    LEAST_LOSS,
    NAMES,
    OF_MANY,
    ROW,
    Sketch,
    at_left,
    counted,
    curves,
    filled_and_open,
    highlighted,
    in_families,
    look,
    loss_ends,
    panels,
    percent,
    plain_ticks,
    row_labels,
    short,
    width_of,
)

Scores = Mapping[str, tuple[Estimate, float]]
"""By strategy: a score, and the share of outputs outside the bounds."""
FRONT = "Filled: no other is as good in both, and better in one."


def skills(of: Study) -> Sketch | None:
    """Every strategy's mean skill, the best on top, a panel a backbone."""
    found = {
        backbone: {
            name: (skill, ranking.shares[name]["violation_rate"])
            for name, skill in ranking.skill.items()
            if of.choice.shows(name)
        }
        for backbone, ranking in of.rankings.items()
    }
    if not any(found.values()):
        return None
    figure = _score_rows(found, sign=-1)
    ends = [axes.get_xlim() for axes in figure.axes]
    for axes in figure.axes:
        axes.set_xlim(np.min(ends), np.max(ends))
        _zero_line(axes)
    figure.supxlabel("Mean skill (1: perfect; 0: clipped climatology)")
    return Sketch(
        name="skills",
        figure=figure,
        title="Skill across the study",
        caption=(
            f"Mean skill over {_over(of.rankings)} with its 95 % interval over seeds, best on top; "
            "at the right the share of outputs outside the bounds. Left of 0 a strategy loses to "
            f"the clipped mean of the training data. {FRONT}"
        ),
    )


def loss_violation(of: Study, dataset: str) -> Sketch | None:
    """Test loss on one dataset, the least on top, a panel a backbone."""
    found: dict[str, dict[str, tuple[Estimate, float]]] = {}
    for backbone in of.backbones_of(dataset):
        for name in of.strategies:
            loss = of.spread(dataset, backbone, name, "mse")
            rate = of.mean(dataset, backbone, name, "violation_rate")
            if loss and isfinite(loss.mean) and isfinite(rate):
                estimate = Estimate(max(loss.mean, LEAST_LOSS), *loss.interval)
                found.setdefault(backbone, {})[name] = (estimate, rate)
    if not found:
        return None
    ends = loss_ends(loss.value for rows in found.values() for loss, _ in rows.values())
    figure = _score_rows(found, ends=ends)
    for axes in figure.axes:
        axes.set_xscale("log")
        axes.set_xlim(ends)
        plain_ticks(axes.xaxis)
    figure.supxlabel("Test loss: mean squared error")
    return Sketch(
        name=f"loss_violation_{slug(dataset)}",
        figure=figure,
        title=f"Loss against violation: {of.title(dataset) or short(dataset)}",
        caption=(
            "Error on test with its 95 % interval over seeds, least on top; at the right the share "
            f"of outputs outside the bounds. {FRONT} A mark at an edge may lie beyond it."
        ),
        dataset=dataset,
    )


def pareto(points: Mapping[str, tuple[float, float]]) -> set[str]:
    """Those that no other equals in both and beats in one, lower being better."""
    return {
        name
        for name, (x, y) in points.items()
        if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points.values())
    }


def _score_rows(
    found: Mapping[str, Scores], sign: int = 1, ends: tuple[float, float] = (-np.inf, np.inf)
) -> Figure:
    """A row a strategy, a panel a backbone: scores with intervals, and the shares at the right.

    Args:
      found: by backbone.
      sign: 1 if a lower score is better, else -1.
      ends: of the x axis; what lies beyond is drawn there.
    """
    values: dict[str, list[float]] = {}
    for rows in found.values():
        for name, (score, _) in rows.items():
            values.setdefault(name, []).append(sign * score.value)
    names = sorted(in_families(values), key=lambda name: np.mean(values[name]))
    size = (min(4.5, 8.1 / len(found) - 0.65), ROW * len(names) + 0.15)
    figure, grid = panels(
        len(found), len(found), size, left=NAMES, right=0.65, top=0.65, gap=(0.65, 0.6)
    )
    for axes, (backbone, rows) in zip(grid, found.items(), strict=True):
        front = pareto({name: (sign * score.value, share) for name, (score, share) in rows.items()})
        beside = {"transform": axes.get_yaxis_transform(), "fontsize": 8, "ha": "right"}
        width = width_of(axes)
        axes.text(1 + 0.5 / width, -0.8, "outside", **beside)
        for name, (score, share) in rows.items():
            row = names.index(name)
            inside = np.clip([score.value, score.low, score.high], *ends)
            _mark(axes, row, name, *inside, filled=name in front)
            text = percent(share) + " %" * (share > 0)
            axes.text(1 + 0.45 / width, row, text, va="center", **beside)
        axes.set_title(backbone)
        row_labels(axes, names)
        axes.tick_params(labelleft=at_left(axes))
    filled_and_open(figure, "on the Pareto front", "not on it")
    return figure


def _over(rankings: Mapping[str, Ranking]) -> str:
    return counted(len(ranking.scores.groups) for ranking in rankings.values())


def performance_profile(of: Study) -> Sketch | None:
    """Share of runs above each skill, a panel a backbone."""
    thresholds = np.linspace(-1.0, 1.0, 401)[:-1]
    rankings = of.rankings
    shown = [[name for name in r.skill if of.choice.shows(name)] for r in rankings.values()]
    if not any(shown):
        return None
    best = [
        max(names, key=lambda name: ranking.skill[name].value)
        for names, ranking in zip(shown, rankings.values(), strict=True)
        if names
    ]
    named = highlighted({name for names in shown for name in names}, best)
    size = (2.75 if len(rankings) > 1 else 4.6, 3.2)
    figure, grid = panels(len(rankings), len(rankings), size, right=1.85, gap=(2.2, 0.6))
    for axes, (backbone, ranking) in zip(grid, rankings.items(), strict=True):
        scores = ranking.scores
        shares = statistics.performance_profile(scores.values, thresholds)
        profiles = {
            name: (thresholds, share)
            for name, share in zip(scores.strategies, shares, strict=True)
            if of.choice.shows(name)
        }
        there = [name for name in named if name in profiles]
        curves(axes, profiles, sorted(there, key=lambda name: -ranking.skill[name].value))
        axes.set_xlim(max(-1.0, np.quantile(scores.values, 0.02) - 0.05), 1.0)
        axes.locator_params(axis="x", nbins=5)
        axes.set_ylim(-0.02, 1.02)
        axes.set_title(backbone)
    figure.supylabel("Share of runs with more")
    figure.supxlabel("Skill")
    return Sketch(
        name="performance_profile",
        figure=figure,
        title="Performance profiles",
        caption=(
            "Share of all runs (seeds and groups of datasets) whose skill exceeds the value on the "
            f"x axis; higher is better. {OF_MANY}"
        ),
    )


def _mark(
    axes: Axes, row: float, name: str, value: float, low: float, high: float, filled: bool = True
) -> None:
    """A strategy's mark, with its interval if it has one (NaN: none)."""
    style = look(name)
    face = style["color"] if filled else "white"
    axes.plot([low, high], [row, row], color=style["color"], linewidth=1.4)
    mark = {"linestyle": "", "markersize": 5, "mfc": face, "zorder": 3, "clip_on": False}
    axes.plot(value, row, label=name, **mark, **style)


def _zero_line(axes: Axes) -> None:
    """Between what is better and worse than what is compared with."""
    axes.axvline(0, color="#888888", linewidth=0.8, zorder=0.6)
