"""Where the gradient is dead, blocked or vanishing after training."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from experiments.analysis.study import Study
from experiments.figures.style import (
    HEALTH,
    NAMES,
    ROW,
    Sketch,
    at_left,
    corner,
    in_families,
    panels,
    strips,
)
from experiments.training.baselines import BASELINES

SEEN = 0.01  # strategies whose shares are never above it are not drawn
TITLES = {
    "dead": "dead: no gradient",
    "blocked": "blocked: dead, wrong",
    "vanishing": "vanishing: < 0.001",
}
Shares = Mapping[str, Mapping[str, np.ndarray]]
"""By name in HEALTH and strategy: (datasets,), NaN where there is none."""


def gradient_health(of: Study) -> Sketch | None:
    """Shares of the raw outputs, a dot a dataset, of the strategies where there are any; a row of
    panels a backbone."""
    trained = [name for name in of.strategies if name not in BASELINES]
    found = {
        backbone: {
            metric: {
                name: np.array([of.mean(on, backbone, name, metric) for on in of.every_dataset])
                for name in trained
            }
            for metric in HEALTH
        }
        for backbone in of.backbones
    }
    seen = {
        name
        for shares in found.values()
        for by_name in shares.values()
        for name, values in by_name.items()
        if (values > SEEN).any()
    }
    if not seen:
        return None
    without = len(trained) - len(seen)
    return Sketch(
        name="gradient_health",
        figure=figure(found, in_families(seen)),
        title="Raw outputs without a gradient after training",
        caption=(
            "Share of the raw outputs on test at which the training objective's derivative is "
            "exactly 0 (dead), is 0 with a wrong output and a feasible target (blocked), or is "
            "below 0.001 of its error's own (vanishing). A dot is a dataset, a mean over seeds; a "
            f"tick is the median. Left out are strategies with 1 % or less throughout: {without}."
        ),
    )


def figure(found: Mapping[str, Shares], names: list[str]) -> Figure:
    """Three panels for each backbone, with a row for each of these strategies that ran on it."""
    ran = {
        backbone: [name for name in names if any(np.isfinite(of[name]).any() for of in by.values())]
        for backbone, by in found.items()
    }
    size = 1.4, [ROW * len(here) + 0.1 for here in ran.values()]
    drawn, grid = panels(3 * len(found), 3, size, left=NAMES, gap=(0.15, 0.6))
    places = ((backbone, metric) for backbone in found for metric in HEALTH)
    for axes, (backbone, metric) in zip(grid, places, strict=True):
        shares = {name: 100 * found[backbone][metric][name] for name in ran[backbone]}
        strips(axes, shares, (-4, 104))
        axes.set_xticks([0, 50, 100])
        axes.set_title(TITLES[HEALTH[metric]])
        axes.tick_params(labelleft=at_left(axes))
        if at_left(axes):
            corner(axes, backbone)
    drawn.supxlabel("Share of raw outputs [%]")
    return drawn
