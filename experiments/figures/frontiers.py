"""Soft strategies: what their weights cost, and what they leave outside."""

from collections import defaultdict
from itertools import groupby

import numpy as np
from matplotlib.patheffects import withStroke

from experiments.analysis.effects import AGAINST
from experiments.analysis.frontier import WEIGHTS, Point, points
from experiments.analysis.study import Study
from experiments.figures import ratios
from experiments.figures.style import FAMILIES, Sketch, legend_above, look, panels, short

HALO = [withStroke(linewidth=2, foreground="white")]  # around a number on a line


def soft_frontier(of: Study) -> Sketch | None:
    """Every point that was tried of soft strategies, a panel a backbone."""
    every = points(of.records, of.groups)
    found = [point for point in every if of.choice.shows(point.strategy)]
    if not found:
        return None
    by_backbone = {name: [p for p in found if p.backbone == name] for name in of.backbones}
    by_backbone = {name: there for name, there in by_backbone.items() if there}
    figure, grid = panels(len(by_backbone), 1, (5.5, 2.0), top=0.85, left=0.8, gap=(0.75, 0.6))
    ends = ratios.reach(point.change for point in found)
    colors = dict(zip(WEIGHTS, FAMILIES, strict=False))
    handles = {}
    for axes, (backbone, there) in zip(grid, by_backbone.items(), strict=True):
        for strategy, of_one in groupby(there, key=lambda point: point.strategy):
            style = look(strategy) | {"color": colors[strategy]}
            for line in _lines(list(of_one)):
                x = [100 * point.outside for point in line]
                y = np.clip([point.change for point in line], *ends)
                width = 1.4 if len(line) > 1 else 0
                (handles[strategy],) = axes.plot(
                    x, y, linewidth=width, markersize=5, clip_on=False, **style
                )
                handles[strategy].set_label(short(strategy))
                if len(line) > 1:
                    for point, up, *at in (line[0], 5, x[0], y[0]), (line[-1], -5, x[-1], y[-1]):
                        text = f"{point.weight:g}"
                        given = {"xytext": (5, up), "textcoords": "offset points", "fontsize": 8}
                        axes.annotate(
                            text, at, color=style["color"], va="center", path_effects=HALO, **given
                        )
        ratios.percent_axis(axes, "y", ends)
        axes.set_xlim(left=0)
        axes.set_title(backbone)
    legend_above(figure, list(handles.values()))
    figure.supxlabel("Outputs outside the bounds [%]")
    figure.supylabel(f"mse relative to {AGAINST}")
    counts = sorted({point.groups for point in found})
    return Sketch(
        name="soft_frontier",
        figure=figure,
        title="Soft strategies by weight: error, and outputs outside",
        caption=(
            "Every setting that tuning tried, on validation, mean over "
            f"{' or '.join(map(str, counts))} groups: share of outputs outside by 0.0001 or "
            f"more, and by how much the mse differs from that of `{AGAINST}` at the same learning "
            "rate, which leaves none outside. Lines join settings that differ in the weight alone, "
            "of which the least and the most are named."
        ),
    )


def _lines(found: list[Point]) -> list[list[Point]]:
    """Points that differ in nothing but the weight, together."""
    lines = defaultdict(list)
    for point in found:
        lines[point.rate, point.others].append(point)
    return list(lines.values())
