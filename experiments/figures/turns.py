"""What turning one thing does to errors: a panel a dial."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes

from experiments.analysis.effects import AGAINST
from experiments.analysis.planned import PLANNED
from experiments.analysis.study import Study
from experiments.analysis.tables import slug
from experiments.analysis.turned import Turned, turned
from experiments.figures import ratios
from experiments.figures.style import (
    DASHES,
    Sketch,
    at_left,
    in_families,
    legend_above,
    look,
    panels,
    short,
)

LABELS = {
    "on_bound": "Demands that reach the bound [%]",
    "windows": "Training windows",
    "follows": "Correlation of the bound with demand",
    "label_noise": "Noise of what is learnt from [deviations]",
    "test_bound": "Bound at test, times that in training",
}
MOST = np.log(4.0)  # that an axis reaches above


def dials(of: Study) -> Iterator[Sketch]:
    """A figure for each backbone that a dial was turned on."""
    names = [name for name in PLANNED if of.choice.shows(name)]
    found = turned(of.runs, names, of.backbones)
    for backbone in of.backbones:
        here = [one for one in found if one.backbone == backbone]
        every = list(dict.fromkeys(one.dial for one in here))
        by_dial = {name: [one for one in here if one.dial == name] for name in every}
        by_dial = {name: of for name, of in by_dial.items() if len({one.value for one in of}) > 1}
        if by_dial:
            yield _sketch(backbone, by_dial)


def _sketch(backbone: str, found: dict[str, list[Turned]]) -> Sketch:
    every = [one.effect for of in found.values() for one in of]
    ends = ratios.reach([end for one in every for end in (one.value, *one.interval)], MOST)
    figure, grid = panels(len(found), 2, (2.6, 1.6), left=1.0, top=0.6, gap=(0.25, 0.65))
    for axes, (dial, here) in zip(grid, found.items(), strict=True):
        _panel(axes, here, ends)
        axes.set_xlabel(LABELS.get(dial, dial))
    named = [line for axes in grid for line in axes.get_legend_handles_labels()[0]]
    legend_above(figure, [*{line.get_label(): line for line in named}.values()])
    figure.supylabel(f"mse relative to {AGAINST}")
    seeds = sorted({one.seeds for one in every})
    return Sketch(
        name=f"dials_{slug(backbone)}",
        figure=figure,
        title=f"Error as one thing is turned at a time: {backbone}",
        caption=(
            f"Made data, {backbone}: by how much the mse differs from that of `{AGAINST}`, mean "
            f"over {' or '.join(map(str, seeds))} seeds with its 95 % interval; less is better. In "
            "the shaded band (5 %) a difference does not count; a mark at an edge may lie beyond."
        ),
    )


def _panel(axes: Axes, found: Sequence[Turned], ends: ratios.Ends) -> None:
    """A line a strategy, over evenly spaced values; marks of one value stand side by side."""
    values = sorted({one.value for one in found})
    width = len(values) - 1
    names = in_families({one.strategy for one in found})
    for number, name in enumerate(names):
        here = [one for one in found if one.strategy == name]
        shift = 0.012 * width * (number - (len(names) - 1) / 2)
        x = np.array([values.index(one.value) for one in here]) + shift
        y, low, high = np.clip([(e.effect.value, *e.effect.interval) for e in here], *ends).T
        style = look(name)
        axes.vlines(x, low, high, color=style["color"], linewidth=1)
        line = {"linewidth": 1.2, "markersize": 3.5, "linestyle": DASHES[style["marker"]]}
        axes.plot(x, y, label=short(name), clip_on=False, **line, **style)
    axes.set_xlim(-0.06 * width, 1.06 * width)
    axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    axes.tick_params(labelleft=at_left(axes))
    ratios.band(axes, "y")
    ratios.percent_axis(axes, "y", ends)
