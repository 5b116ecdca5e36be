"""Where a network starts: two sweeps that were begun in different ways."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from experiments.analysis.starts import Begun, compare
from experiments.analysis.study import Study
from experiments.figures import ratios
from experiments.figures.comparisons import HEIGHT, mean
from experiments.figures.style import (
    NAMES,
    Sketch,
    at_left,
    dots,
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
    size = (1.85, HEIGHT * len(names))
    figure, grid = panels(
        2 * len(by_backbone), 4, size, left=NAMES, top=0.65, gap=(0.25, 0.75), least=1.5
    )
    ends = ratios.reach(
        value
        for of in found
        for value in (*of.center, *(effect.value for effect in of.effects.values()))
    )
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
    groups = sorted({len(of.effects) for of in found})
    return Sketch(
        name="starts",
        figure=figure,
        title=f"Where a network starts: {one} against {other}",
        caption=(
            "Left: share of runs whose outputs have no gradient. Right: by how much the mse "
            f"changes where networks start at {other} and not at {one}, of the same seeds, by rank "
            f"over {' or '.join(map(str, groups))} groups, with its 95 % interval; each group is a "
            "small dot, left is better, an arrow lies beyond the axis."
        ),
    )


def _start(study: Study) -> str:
    """What the cells say of it."""
    cells = [record.cell for record in study.finals if record.cell.is_trained]
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
        row, values = names.index(of.strategy), [effect.value for effect in of.effects.values()]
        dots(axes, row + 0.24, values, ends, look(of.strategy)["color"], spread=0)
        mean(axes, row - 0.1, of.strategy, of.center, ends)
    ratios.percent_axis(axes, "x", ends)
