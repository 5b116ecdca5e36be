"""Curves over training: validation error, and the health of the gradient."""

import math
from collections.abc import Iterable, Mapping, Sequence, Set

import numpy as np
from matplotlib.axes import Axes

from experiments.drawing import (
    INK,
    LEAST_LOSS,
    PALE,
    Place,
    Sketch,
    dashes,
    draw_lines,
    foot,
    highlighted,
    in_families,
    listed,
    log_axis,
    look,
    loss_ends,
    name_beside,
    number,
    panels,
    short,
    side,
    slug,
    whole,
)
from experiments.store import Record

HEALTH = {
    "gradient_dead_fraction": "dead",
    "blocked_fraction": "blocked",
    "gradient_vanishing_fraction": "vanishing",
}
"""Shares of the entries of raw: at which the objective's derivative is exactly 0; of those, the
ones whose output is wrong as well; at which it is below 0.001."""

SEEN = 0.01  # a share that never reaches this is drawn in grey, without a name
FLAT = 10.0  # per cent: where the median strategy's error falls by less at the end, it is flat
MOST_NAMED = 14  # as many names as fit beside a panel
History = Mapping[str, np.ndarray]  # by metric, (seeds, epochs); and `epoch`, (epochs,)
Histories = Mapping[Place, Mapping[str, History]]  # by dataset and backbone, then strategy


def histories(
    records: Iterable[Record], arrays: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[Place, dict[str, dict[str, np.ndarray]]]:
    """What the records' arrays hold of training; of runs of several lengths, the longest."""
    runs: dict[Place, dict[str, list[Mapping[str, np.ndarray]]]] = {}
    for record in records:
        config, found = record["config"], arrays[record["id"]]
        if len(found.get("history_epoch", ())):
            group = runs.setdefault((config["dataset"]["name"], config["backbone"]), {})
            group.setdefault(config["strategy"]["name"], []).append(found)
    return {
        place: {name: _stacked(seeds) for name, seeds in runs[place].items()}
        for place in sorted(runs)
    }


def _stacked(seeds: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    length = max(len(run["history_epoch"]) for run in seeds)
    same = [run for run in seeds if len(run["history_epoch"]) == length]
    shared = set.intersection(*(set(run) for run in same))
    names = ("mse", *HEALTH)
    stacked = {
        name: np.stack([run[f"history_{name}"] for run in same], dtype=float)
        for name in names
        if f"history_{name}" in shared
    }
    return {"epoch": same[0]["history_epoch"], **stacked}


def training_curves(dataset: str, backbones: Mapping[str, Mapping[str, History]]) -> Sketch | None:
    """Validation error by epoch, penalties apart, a panel a backbone."""
    curves = _holding(backbones, {"mse"})
    if not curves:
        return None
    medians = {
        backbone: {name: np.median(_loss(run), axis=0) for name, run in found.items()}
        for backbone, found in curves.items()
    }
    best = {
        backbone: min(found, key=lambda name: np.nanmin(np.append(found[name], np.inf)))
        for backbone, found in medians.items()
    }
    names = {name for found in curves.values() for name in found}
    colored = highlighted(names, best.values())
    figure, grid = panels(
        len(curves),
        2,
        (2.65 if len(curves) > 1 else 4.6, 3.0),
        left=0.8,
        right=1.75,
        gap=(2.35, 0.6),
    )
    every = [median for found in medians.values() for median in found.values()]
    ends = loss_ends(whole(np.concatenate(every)))
    for axes, (backbone, found) in zip(grid, curves.items(), strict=True):
        pale = [name for name in found if name not in colored]
        lines = [np.column_stack([found[n]["epoch"], medians[backbone][n]]) for n in pale]
        draw_lines(axes, lines, [look(name)["color"] for name in pale], 0.7, alpha=0.35)
        shown = {name: found[name] for name in colored if name in found}
        for name, run in shown.items():
            if len(run["mse"]) > 1:
                low, high = np.quantile(_loss(run), [0.25, 0.75], axis=0)
                color = look(name)["color"]
                axes.fill_between(run["epoch"], low, high, color=color, alpha=0.13, linewidth=0)
            _curve(axes, name, run["epoch"], medians[backbone][name])
        axes.set_yscale("log")
        axes.set_ylim(ends)
        log_axis(axes.yaxis, *ends)
        axes.set_title(backbone)
        name_beside(axes, {n: (found[n]["epoch"][-1], medians[backbone][n][-1]) for n in shown})
    side(figure, "Validation mean squared error")
    foot(figure, "Epoch")
    which = (
        "named are the planned comparisons and the best, and pale lines of their family's colour "
        "are the others"
        if len(names) > len(colored)
        else "all are named"
    )
    falls = _falls(medians)
    lowest = (
        f"On {backbone} the lowest is {short(name)}, {number(np.nanmin(medians[backbone][name]))}."
        for backbone, name in best.items()
    )
    return Sketch(
        name=f"training_curves_{slug(dataset)}",
        figure=figure,
        title=f"Training curves: {short(dataset)}",
        caption=(
            "Mean squared error on validation by epoch, penalties left out: median over seeds, "
            f"shaded from the first to the third quartile; {which}. {_flattened(falls)}".strip()
        ),
        alt=f"Validation error by epoch on {short(dataset)}. {' '.join(lowest)}",
        dataset=dataset,
        warning=_unfinished(dataset, falls),
    )


def _holding(
    backbones: Mapping[str, Mapping[str, History]], metrics: Set[str]
) -> dict[str, dict[str, History]]:
    """The histories that hold these metrics, and the backbones that have any."""
    found = {
        backbone: {name: run for name, run in runs.items() if run.keys() >= metrics}
        for backbone, runs in backbones.items()
    }
    return {backbone: runs for backbone, runs in found.items() if runs}


def _loss(run: History) -> np.ndarray:
    return np.maximum(run["mse"], LEAST_LOSS)


def _curve(axes: Axes, name: str, epochs: np.ndarray, values: np.ndarray) -> None:
    axes.plot(
        epochs,
        values,
        **look(name),
        linestyle=dashes(name),
        linewidth=1.4,
        markersize=4,
        markevery=max(1, len(epochs) // 5),
        label=name,
    )


def _falls(medians: Mapping[str, Mapping[str, np.ndarray]]) -> dict[tuple[str, str], float]:
    """By how much the lowest error so far still fell in the last quarter of training, in per cent,
    by backbone and strategy."""
    falls = {}
    for backbone, found in medians.items():
        for name, losses in found.items():
            lowest = np.fmin.accumulate(losses)
            earlier = lowest[math.ceil(0.75 * len(lowest)) - 1]
            if len(lowest) > 3 and np.isfinite(earlier):
                falls[backbone, name] = 100 * float(1 - lowest[-1] / earlier)
    return falls


def _middle(falls: Mapping[tuple[str, str], float]) -> float:
    return float(np.median(list(falls.values())))


def _flattened(falls: Mapping[tuple[str, str], float]) -> str:
    if not falls:
        return ""
    (backbone, name), most = max(falls.items(), key=lambda item: item[1])
    return (
        "In the last quarter of the epochs the lowest error so far fell by "
        f"{number(_middle(falls))} % for the median strategy, and most, by {number(most)} %, for "
        f"{short(name)} ({backbone})."
    )


def _unfinished(dataset: str, falls: Mapping[tuple[str, str], float]) -> str:
    """That training ended too early for a dataset's errors to be the last word."""
    if not falls or _middle(falls) < FLAT:
        return ""
    return (
        f"training on {short(dataset)} ended while the validation error still fell (by "
        f"{number(_middle(falls))} % in the last quarter of the epochs, for the median strategy)."
    )


def gradient_training(
    backbones: Mapping[str, Mapping[str, History]], of: str = "", groups: str = ""
) -> Sketch | None:
    """Dead, blocked and vanishing shares of the gradient by epoch; a row of panels a backbone.

    Args:
      backbones: the histories.
      of: the dataset; empty for the whole study.
      groups: how many groups of datasets the study's are averaged over, in words.
    """
    curves = _holding(backbones, HEALTH.keys())
    if not curves:
        return None
    figure, grid = panels(3 * len(curves), 3, (1.15, 2.3), left=0.75, right=1.75, gap=(2.07, 0.45))
    for index, axes in enumerate(grid):
        backbone, metric = list(curves)[index // 3], list(HEALTH)[index % 3]
        means = [run[metric].mean(axis=0) for f in curves.values() for run in f.values()]
        axes.set_ylim(0, max(0.05, 1.05 * whole(np.concatenate(means)).max(initial=0)))
        _health(axes, curves[backbone], metric)
        if index < 3:
            axes.set_title(HEALTH[metric])
        if index % 3 == 0:
            axes.set_ylabel(f"{backbone}\nshare of entries", color=INK)
    foot(figure, "Epoch")
    where = short(of) if of else f"mean over {groups}"
    blocked = {
        (name, backbone): float(run["blocked_fraction"].mean(axis=0)[-1])
        for backbone, found in curves.items()
        for name, run in found.items()
    }
    order = sorted((key for key in blocked if blocked[key]), key=lambda key: -blocked[key])
    parts = (f"{short(key[0])} on {key[1]} {number(blocked[key])}" for key in order[:4])
    return Sketch(
        name=f"gradient_training_{slug(of)}" if of else "gradient_training",
        figure=figure,
        title=f"Gradient health over training: {where}",
        caption=(
            "Share of the network's outputs before the constraint, on validation, at which the "
            "training objective has a derivative of exactly 0 (dead), is dead while the output is "
            "wrong and the target feasible (blocked), or has a derivative below 0.001 (vanishing), "
            "by epoch, as means over seeds; the scales differ. Grey and unnamed are those below "
            f"{SEEN:g} throughout, and all but the {MOST_NAMED} largest."
        ),
        alt=(
            f"Dead, blocked and vanishing shares by epoch, {where}. Blocked most at the end: "
            f"{listed(parts)}."
        ),
        dataset=of,
    )


def _health(axes: Axes, found: Mapping[str, History], metric: str) -> None:
    means = {name: run[metric].mean(axis=0) for name, run in found.items()}
    seen = [name for name in in_families(found) if np.nanmax(means[name], initial=0) >= SEEN]
    named = sorted(seen, key=lambda name: -np.nan_to_num(means[name][-1]))[:MOST_NAMED]
    pale = [name for name in found if name not in named]
    lines = [np.column_stack([found[name]["epoch"], means[name]]) for name in pale]
    draw_lines(axes, lines, [PALE] * len(lines), 0.7)
    for name in named:
        _curve(axes, name, found[name]["epoch"], means[name])
    if not named:
        epochs = next(iter(found.values()))["epoch"]
        axes.set_xlim(epochs[0] - 1, epochs[-1] + 1)
    name_beside(axes, {n: (found[n]["epoch"][-1], means[n][-1]) for n in named})


def mean_over_groups(
    found: Histories, groups: Mapping[str, str]
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """The study's gradient health by backbone and strategy: means over seeds, then over the
    datasets of a group, then over groups; of strategies that have it on every dataset."""
    together: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for backbone in sorted({backbone for _, backbone in found}):
        datasets = [name for name in groups if (name, backbone) in found]
        here = _holding({name: found[name, backbone] for name in datasets}, HEALTH.keys())
        kinds = [groups[name] for name in here]
        weights = [1 / kinds.count(kind) for kind in kinds]
        for name in sorted(set.intersection(*map(set, here.values()))) if here else ():
            runs = [these[name] for these in here.values()]
            if len({len(run["epoch"]) for run in runs}) == 1:
                together.setdefault(backbone, {})[name] = {"epoch": runs[0]["epoch"]} | {
                    metric: np.average([r[metric].mean(axis=0) for r in runs], 0, weights)[None]
                    for metric in HEALTH
                }
    return together
