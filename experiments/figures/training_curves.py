"""Curves over training: validation error, and the health of the gradient."""

from collections.abc import Iterable, Mapping, Sequence, Set

import numpy as np

from experiments.analysis.study import Study
from experiments.analysis.tables import slug
from experiments.cells import Record
from experiments.figures.style import (
    HEALTH,
    LEAST_LOSS,
    OF_MANY,
    Sketch,
    counted,
    curves,
    highlighted,
    look,
    loss_ends,
    panels,
    plain_ticks,
    short,
)

SEEN = 0.01  # a share that never reaches this is drawn in grey, without a name
MOST_NAMED = 14  # as many names as fit beside a panel
History = Mapping[str, np.ndarray]  # by metric, (seeds, epochs); and `epoch`, (epochs,)
Histories = Mapping[str, Mapping[str, History]]  # by backbone, then strategy


def histories(
    records: Iterable[Record], arrays: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, dict[str, dict[str, History]]]:
    """What the records' arrays hold of training, by dataset, backbone and strategy; of runs of
    several lengths, the longest."""
    runs: dict[tuple[str, str, str], list[Mapping[str, np.ndarray]]] = {}
    for record in records:
        cell = record.cell
        if len(arrays[record.id].get("history_epoch", ())):
            key = cell.dataset, cell.backbone, cell.strategy
            runs.setdefault(key, []).append(arrays[record.id])
    found: dict[str, dict[str, dict[str, History]]] = {}
    for dataset, backbone, name in sorted(runs):
        history = _stacked(runs[dataset, backbone, name])
        found.setdefault(dataset, {}).setdefault(backbone, {})[name] = history
    return found


def _stacked(seeds: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    length = max(len(run["history_epoch"]) for run in seeds)
    same = [run for run in seeds if len(run["history_epoch"]) == length]
    return {"epoch": same[0]["history_epoch"]} | {
        name: np.stack([run[f"history_{name}"] for run in same], dtype=float)
        for name in ("mse", *HEALTH)
        if all(f"history_{name}" in run for run in same)
    }


def _holding(found: Histories, metrics: Set[str]) -> dict[str, dict[str, History]]:
    """The histories that hold these metrics, and the backbones that have any."""
    there = {
        backbone: {name: run for name, run in runs.items() if run.keys() >= metrics}
        for backbone, runs in found.items()
    }
    return {backbone: runs for backbone, runs in there.items() if runs}


def _last(curve: tuple[np.ndarray, np.ndarray]) -> float:
    return float(np.nan_to_num(curve[1][-1]))


def training_curves(of: Study, dataset: str, found: Histories) -> Sketch | None:
    """Validation error by epoch, penalties apart, a panel a backbone."""
    found = _holding(found, {"mse"})
    if not found:
        return None
    # The first quartile, the median, and the third: (3, epochs).
    quartiles = {
        backbone: {
            name: np.quantile(np.maximum(run["mse"], LEAST_LOSS), [0.25, 0.5, 0.75], axis=0)
            for name, run in runs.items()
        }
        for backbone, runs in found.items()
    }
    best = [
        min(those, key=lambda name: np.nanmin(np.append(those[name][1], np.inf)))
        for those in quartiles.values()
    ]
    named = highlighted({name for runs in found.values() for name in runs}, best)
    size = (2.65 if len(found) > 1 else 4.6, 3.0)
    figure, grid = panels(len(found), 2, size, left=0.8, right=1.8, gap=(2.3, 0.6))
    ends = loss_ends(
        loss for those in quartiles.values() for _, median, _ in those.values() for loss in median
    )
    for axes, (backbone, runs) in zip(grid, found.items(), strict=True):
        those = quartiles[backbone]
        medians = {name: (run["epoch"], those[name][1]) for name, run in runs.items()}
        there = sorted((n for n in named if n in runs), key=lambda name: -_last(medians[name]))
        curves(axes, medians, there)
        for name in (name for name in there if len(runs[name]["mse"]) > 1):
            low, _, high = those[name]
            color = look(name)["color"]
            axes.fill_between(medians[name][0], low, high, color=color, alpha=0.13, linewidth=0)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.set_yscale("log")
        axes.set_ylim(ends)
        plain_ticks(axes.yaxis)
        axes.set_title(backbone)
    figure.supylabel("Validation mean squared error")
    figure.supxlabel("Epoch")
    return Sketch(
        name=f"training_curves_{slug(dataset)}",
        figure=figure,
        title=f"Training curves: {of.title(dataset) or short(dataset)}",
        caption=(
            "Mean squared error on validation by epoch, penalties left out: median over seeds, "
            f"shaded from the first to the third quartile. {OF_MANY}"
        ),
        dataset=dataset,
    )


def gradient_training(
    of: Study, found: Histories, dataset: str = "", where: str = ""
) -> Sketch | None:
    """Dead, blocked and vanishing shares of the gradient by epoch; a column of panels a backbone.

    Args:
      of: what they are of.
      found: the histories.
      dataset: which they are of; empty for the whole study.
      where: the same, as the title has it.
    """
    found = _holding(found, HEALTH.keys())
    if not found:
        return None
    count = len(found)
    figure, grid = panels(3 * count, count, (1.9, 2.0), left=0.75, right=2.0, gap=(2.3, 0.6))
    for row, (metric, measure) in enumerate(HEALTH.items()):
        of_row = grid[row * count : (row + 1) * count]
        most = 0.0
        for axes, (backbone, runs) in zip(of_row, found.items(), strict=True):
            means = {name: (run["epoch"], run[metric].mean(axis=0)) for name, run in runs.items()}
            tops = {name: np.nanmax(share, initial=0) for name, (_, share) in means.items()}
            seen = [name for name in means if tops[name] >= SEEN]
            curves(axes, means, sorted(seen, key=lambda name: -_last(means[name]))[:MOST_NAMED])
            most = max(most, *tops.values())
            axes.set_title(f"{measure}, {backbone}" if count > 1 else measure)
        for axes in of_row:
            axes.set_ylim(0, max(0.05, 1.05 * most))
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    figure.supxlabel("Epoch")
    figure.supylabel("Share of entries")
    return Sketch(
        name=f"gradient_training_{slug(dataset)}" if dataset else "gradient_training",
        figure=figure,
        title=f"Gradient health over training: {where or of.title(dataset) or short(dataset)}",
        caption=(
            "Share of the raw outputs, on validation, at which the training objective's derivative "
            "is exactly 0 (dead), is 0 with a wrong output and a feasible target (blocked), or is "
            "below 0.001 of its error's own (vanishing): means over seeds. Grey: below "
            f"{SEEN:g} throughout, or not among the {MOST_NAMED} largest."
        ),
        dataset=dataset,
    )


def gradient_training_of_study(of: Study, found: Mapping[str, Histories]) -> Sketch | None:
    """The same over the datasets that are ranked."""
    groups = counted([len({of.groups[name] for name in found if name in of.groups})])
    over_groups = mean_over_groups(found, of.groups)
    return gradient_training(of, over_groups, where=f"mean over {groups}")


def mean_over_groups(
    found: Mapping[str, Histories], groups: Mapping[str, str]
) -> dict[str, dict[str, History]]:
    """The study's gradient health by backbone and strategy: means over seeds, then over the
    datasets of a group, then over groups; of strategies that have it on every dataset."""
    together: dict[str, dict[str, History]] = {}
    for backbone in sorted({backbone for those in found.values() for backbone in those}):
        here = _holding(
            {name: found[name][backbone] for name in groups if backbone in found.get(name, ())},
            HEALTH.keys(),
        )
        kinds = [groups[name] for name in here]
        weights = [1 / kinds.count(kind) for kind in kinds]
        for name in sorted(set.intersection(*map(set, here.values()))) if here else ():
            runs = [those[name] for those in here.values()]
            if len({len(run["epoch"]) for run in runs}) == 1:
                together.setdefault(backbone, {})[name] = {"epoch": runs[0]["epoch"]} | {
                    metric: np.average([r[metric].mean(axis=0) for r in runs], 0, weights)[None]
                    for metric in HEALTH
                }
    return together
