"""The rule of share, level and distance, against what happened."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from experiments.analysis.effects import AGAINST
from experiments.analysis.judged import PREDICTED, Judged, agreement, judge
from experiments.analysis.study import Study
from experiments.figures import ratios
from experiments.figures.style import LINE, LOOKS, Sketch, at_left, filled_and_open, panels

FARTHEST = np.log(100.0)  # that the axis of fits reaches, either way


def rule(of: Study) -> Sketch | None:
    """What fits better and what errs less, a row of panels a backbone."""
    found = judge(of.runs, of.groups, of.backbones)
    shown = {
        (backbone, kind): here
        for backbone in of.backbones
        for kind, strategy in PREDICTED.items()
        if of.choice.shows(strategy)
        and (here := [one for one in found if one.backbone == backbone and kind in one.effects])
    }
    if not shown:
        return None
    figure, grid = panels(len(shown), 2, (2.3, 1.7), left=0.85, top=0.7, gap=(0.3, 0.95))
    every = [effect.value for one in found for effect in one.effects.values()]
    ends = ratios.reach(every)
    leans = np.array([one.lean(kind) for one in found for kind in PREDICTED])
    wide = float(np.clip(1.1 * np.abs(leans[np.isfinite(leans)]).max(initial=0), 0.5, FARTHEST))
    for axes, ((backbone, kind), here) in zip(grid, shown.items(), strict=True):
        _panel(axes, here, kind, (-wide, wide), ends)
        axes.set_title(f"{PREDICTED[kind]}, {backbone}{_told(here, kind)}")
        axes.set_xlabel(f"Misfit of a {kind} / misfit of a level")
        axes.tick_params(labelleft=at_left(axes))
    filled_and_open(figure, "new group", "group of the first study")
    figure.supylabel(f"mse relative to {AGAINST}")
    return Sketch(
        name="rule",
        figure=figure,
        title="What fits the training targets, and what errs less",
        caption=(
            "A dataset each: how well a constant share of the bound, or distance from it, fits the "
            "training targets beside a constant level (left: better), and the mse relative to "
            f"`{AGAINST}` (below: less). Where the rule tells the sign, a mark lies in a shaded "
            "quarter; above are the counts of new groups alone. A mark at an edge may lie beyond."
        ),
    )


def _told(found: Sequence[Judged], kind: str) -> str:
    told, among, _ = agreement([one for one in found if one.is_new], kind)
    return f"\nnew: {told} of {among}" if among else ""


def _panel(
    axes: Axes, found: Sequence[Judged], kind: str, wide: ratios.Ends, ends: ratios.Ends
) -> None:
    for x, y in ((0, 0), (1, 1)):
        corner = (wide[x], 0), (ends[y], 0)
        axes.fill_between(sorted(corner[0]), *sorted(corner[1]), color="#eeeeee", linewidth=0)
    color = LOOKS[PREDICTED[kind]]["color"]
    for one in found:
        if not np.isnan(one.lean(kind)):
            x, y = np.clip(one.lean(kind), *wide), np.clip(one.effects[kind].value, *ends)
            face = color if one.is_new else "white"
            axes.plot(x, y, "o", color=color, mfc=face, markersize=4.5, clip_on=False, zorder=3)
    axes.axvline(0, color=LINE, linewidth=0.8, zorder=0.6)
    ticks = np.log([0.01, 0.1, 0.5, 1, 2, 10, 100])
    ticks = [tick for tick in ticks if wide[0] <= tick <= wide[1]]
    axes.set_xticks(ticks, [f"{np.exp(tick):g}" for tick in ticks])
    axes.set_xlim(*wide)
    ratios.percent_axis(axes, "y", ends)
