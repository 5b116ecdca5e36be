"""Error by epoch."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from experiments.analysis.study import Study
from experiments.analysis.tables import slug
from experiments.cells import Record
from experiments.figures import ratios
from experiments.figures.style import (
    DASHES,
    LEAST_LOSS,
    MOST_SHOWN,
    Sketch,
    few,
    look,
    loss_ends,
    panels,
    plain_ticks,
    short,
)

History = Mapping[str, np.ndarray]  # `mse`, (seeds, epochs), and `epoch`, (epochs,)
Histories = Mapping[str, Mapping[str, History]]  # by backbone, then strategy


def histories(
    records: Iterable[Record], arrays: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, dict[str, dict[str, History]]]:
    """What the records' arrays hold of training, by dataset, backbone and strategy."""
    runs: dict[tuple[str, str, str], list[Mapping[str, np.ndarray]]] = {}
    for record in records:
        cell = record.cell
        if len(arrays[record.id].get("history_mse", ())):
            key = cell.dataset, cell.backbone, cell.strategy
            runs.setdefault(key, []).append(arrays[record.id])
    found: dict[str, dict[str, dict[str, History]]] = {}
    for dataset, backbone, name in sorted(runs):
        history = _stacked(runs[dataset, backbone, name])
        found.setdefault(dataset, {}).setdefault(backbone, {})[name] = history
    return found


def _stacked(seeds: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """At the epochs of the longest run; NaN after a run's end, and where it had none of them."""
    epochs = max((run["history_epoch"] for run in seeds), key=len)
    errors = np.full((len(seeds), len(epochs)), np.nan)
    for row, run in zip(errors, seeds, strict=True):
        _, here, there = np.intersect1d(epochs, run["history_epoch"], return_indices=True)
        row[here] = run["history_mse"][there]
    return {"epoch": epochs, "mse": errors}


def training_curves(of: Study, dataset: str, found: Histories) -> Sketch | None:
    """Validation error by epoch, penalties apart, a panel a backbone."""
    if not found:
        return None
    shown = {backbone: few(runs, [_best(runs)]) for backbone, runs in found.items()}
    room = ratios.room_for(name for names in shown.values() for name in names)
    figure, grid = panels(len(found), 1, (4.2, 1.75), left=0.7, right=room)
    for axes, (backbone, runs) in zip(grid, found.items(), strict=True):
        curves(axes, {name: runs[name] for name in shown[backbone]})
        axes.set_title(backbone)
    figure.supylabel("Validation mean squared error")
    figure.supxlabel("Epoch")
    many = any(len(runs) > MOST_SHOWN for runs in found.values())
    return Sketch(
        name=f"training_curves_{slug(dataset)}",
        figure=figure,
        title=f"Validation error by epoch: {of.title(dataset) or short(dataset)}",
        caption=(
            "Mean squared error on validation, penalties left out: median over seeds, shaded from "
            "the first to the third quartile, until more than half of the runs have ended."
            + f" Of more than {MOST_SHOWN} strategies: your own, the best, one of each family."
            * many
        ),
        dataset=dataset,
    )


def _best(runs: Mapping[str, History]) -> str:
    """That with the least error at any epoch."""
    return min(runs, key=lambda name: np.nanmin(np.append(runs[name]["mse"], np.inf)))


def curves(axes: Axes, found: Mapping[str, History]) -> None:
    """Median and quartiles over seeds, on a logarithmic axis, where at least half of the seeds have
    an error; names stand at the ends."""
    last = {}
    for name, run in found.items():
        enough = np.isfinite(run["mse"]).mean(axis=0) >= 0.5
        epochs, losses = run["epoch"], np.maximum(run["mse"], LEAST_LOSS)
        low, middle, high = np.full((3, len(epochs)), np.nan)
        if enough.any():
            quartiles = np.nanquantile(losses[:, enough], [0.25, 0.5, 0.75], axis=0)
            low[enough], middle[enough], high[enough] = quartiles
        style = {"linestyle": DASHES[look(name)["marker"]], "linewidth": 1.5, "markersize": 4}
        every = max(1, len(epochs) // 4)
        axes.plot(epochs, middle, label=name, markevery=every, **style, **look(name))
        if len(losses) > 1:
            axes.fill_between(epochs, low, high, color=look(name)["color"], alpha=0.15, linewidth=0)
        last[name] = middle
    ends = loss_ends(np.concatenate([*last.values()]))
    axes.set_yscale("log")
    axes.set_ylim(ends)
    plain_ticks(axes.yaxis)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1, nbins=5)
    known = {name: middle[np.isfinite(middle)] for name, middle in last.items()}
    ratios.label_ends(
        axes, {name: float(np.clip(of[-1], *ends)) for name, of in known.items() if of.size}
    )
