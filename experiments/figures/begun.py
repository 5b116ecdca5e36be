"""Where a network starts: two sweeps that were begun in different ways."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from experiments.analysis.starts import Begun, compare
from experiments.analysis.study import Study, finals
from experiments.figures import ratios
from experiments.figures.comparisons import mean
from experiments.figures.style import (
    NAMES,
    ROW,
    Sketch,
    at_left,
    filled_and_open,
    in_families,
    look,
    panels,
    row_labels,
)


def starts(first: Study, second: Study) -> Sketch:
    """Shares of runs that never start, and how errors differ; two panels a backbone.

    Raises:
      UsageError: if the two have no trained study cell in common.
    """
    found = compare(first, second)
    ways = tuple(map(_start, (first, second)))
    one, other = ways if ways[0] != ways[1] else ("first sweep", "second sweep")
    by_backbone = {name: [of for of in found if of.backbone == name] for name in first.backbones}
    by_backbone = {name: of for name, of in by_backbone.items() if of}
    names = in_families({of.strategy for of in found})
    size = (1.85, 1.25 * ROW * len(names) + 0.15)
    figure, grid = panels(
        2 * len(by_backbone), 4, size, left=NAMES, top=0.65, gap=(0.25, 0.75), least=1.5
    )
    ends = ratios.reach(end for of in found for end in (of.pooled.mean, *of.pooled.interval))
    for place, (backbone, here) in enumerate(by_backbone.items()):
        shares, errors = grid[2 * place : 2 * place + 2]
        _shares(shares, names, here)
        _errors(errors, names, here, ends)
        shares.set(title=backbone, xlabel="Runs that never start [%]")
        errors.set(title=backbone, xlabel=f"mse relative to {one}")
        for axes in (shares, errors):
            row_labels(axes, names)
            axes.tick_params(labelleft=at_left(axes))
    filled_and_open(figure, f"start: {other}", f"start: {one}")
    groups = sorted({of.groups for of in found})
    return Sketch(
        name="starts",
        figure=figure,
        title=f"Where a network starts: {one} against {other}",
        caption=(
            "Left: share of runs whose outputs have no gradient. Right: by how much the mse "
            f"changes where networks start at {other} and not at {one}, of the same seeds, with "
            f"its 95 % interval over {' or '.join(map(str, groups))} groups; left is better."
        ),
    )


def _start(study: Study) -> str:
    """What the cells say of it."""
    cells = [record.cell for record in finals(study) if record.cell.is_trained]
    return " and ".join(sorted({str(cell.settings.get("start", "")) for cell in cells}))


def _shares(axes: Axes, names: Sequence[str], found: Sequence[Begun]) -> None:
    for of in found:
        row, style = names.index(of.strategy), look(of.strategy)
        ends = [100 * share for share in of.never]
        axes.plot(ends, [row, row], color=style["color"], linewidth=1)
        mark = {"linestyle": "", "markersize": 5, "zorder": 3, "clip_on": False, **style}
        axes.plot(ends[0], row, mfc="white", **mark)
        axes.plot(ends[1], row, **mark)
    most = max([5.0, *(100 * share for of in found for share in of.never)])
    axes.set_xlim(-0.04 * most, 1.04 * most)


def _errors(axes: Axes, names: Sequence[str], found: Sequence[Begun], ends: ratios.Ends) -> None:
    ratios.band(axes, "x")
    for of in found:
        interval = (of.pooled.mean, *of.pooled.interval)
        mean(axes, names.index(of.strategy), of.strategy, interval, ends)
    ratios.percent_axis(axes, "x", ends)
