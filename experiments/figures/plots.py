"""Each kind of figure as a function of records, for a figure of one's own:

    from experiments.figures import plots
    from experiments.store import load

    figure = plots.seeds(load("results/reference"), "results/reference")
    figure.savefig("seeds.pdf")

`records` are those of `experiments.store.load`, all or some of them. `folder` is the sweep's: for
what its manifest says of datasets (role, group, unit, names), and for histories and example
windows, which records do not hold. Where it is left out, a dataset that is not in the table is a
study dataset and a group of its own.

What comes is a `matplotlib.figure.Figure`; its `axes` can be changed before it is saved. Each
function raises a UsageError where the records hold nothing of what it draws.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiments import store
from experiments.analysis import study
from experiments.analysis.study import Study
from experiments.analysis.tables import slug
from experiments.cells import Record
from experiments.figures import begun, comparisons, draw, fonts, frontiers, judgement, turns
from experiments.figures import collapse as collapses
from experiments.figures import constraint_shapes as shapes
from experiments.figures import gradient_health as health
from experiments.figures import seeds as runs
from experiments.figures import training_curves as curves
from experiments.figures import wrong_bound as wrong
from experiments.figures.style import Sketch, styled
from experiments.usage import UsageError, choose

__all__ = [
    "collapse",
    "constraint_shapes",
    "dials",
    "example_window",
    "gradient_health",
    "planned_comparisons",
    "rule",
    "seeds",
    "soft_frontier",
    "starts",
    "training_curves",
    "wrong_bound",
]
Records = Iterable[Mapping[str, Any]]
Folder = str | Path


def seeds(records: Records, folder: Folder | None = None) -> Figure:
    """Every run's skill on the study datasets as a dot, the best strategy on top, a panel a
    backbone; r2 where there is no skill."""
    with styled():
        needs = "that takes finished final cells on study datasets"
        return _figure(runs.seeds(_read(records, folder)), needs)


def planned_comparisons(records: Records, folder: Folder | None = None) -> Figure:
    """The comparisons with `clip_at_evaluation` that were planned in advance: errors relative to
    its own, over groups."""
    with styled():
        needs = "that takes study datasets with clip_at_evaluation and a planned strategy"
        return _figure(comparisons.planned(_read(records, folder)), needs)


def dials(records: Records, backbone: str, folder: Folder | None = None) -> Figure:
    """Errors relative to `clip_at_evaluation` as one thing is turned at a time, on a backbone."""
    with styled():
        name = f"dials_{slug(backbone)}"
        found = (one for one in turns.dials(_read(records, folder)) if one.name == name)
        needs = f"that takes datasets of a dial on the backbone {backbone!r}"
        return _figure(next(found, None), needs)


def rule(records: Records, folder: Folder | None = None) -> Figure:
    """What fits the training targets of each study dataset better, and what errs less there."""
    with styled():
        needs = "that takes study datasets with clip_at_evaluation, and an interval or an offset"
        return _figure(judgement.rule(_read(records, folder)), needs)


def soft_frontier(records: Records, folder: Folder | None = None) -> Figure:
    """Soft strategies as tuning tried them: error against violation, a panel a backbone."""
    with styled():
        needs = "that takes tuning runs of clip_at_evaluation and of a soft strategy"
        return _figure(frontiers.soft_frontier(_read(records, folder)), needs)


def starts(
    first: Records,
    second: Records,
    first_folder: Folder | None = None,
    second_folder: Folder | None = None,
) -> Figure:
    """Two sweeps that start their networks in two ways: runs that never start, and errors."""
    with styled():
        both = _read(first, first_folder), _read(second, second_folder)
        return _figure(begun.starts(*both), "")


def gradient_health(records: Records, folder: Folder | None = None) -> Figure:
    """Where the gradient is dead, blocked or vanishing after training: a dot a dataset, of the
    strategies where it is."""
    with styled():
        needs = "that takes strategies with a gradient that is dead or vanishes in over 1 %"
        return _figure(health.gradient_health(_read(records, folder)), needs)


def collapse(records: Records, folder: Folder | None = None) -> Figure:
    """r2 and code reliance of every run on the autoencoders."""
    with styled():
        return _figure(collapses.collapse(_read(records, folder)), "that takes autoencoders")


def wrong_bound(records: Records, dataset: str, folder: Folder | None = None) -> Figure:
    """The r2 that is lost on a dataset whose bound is wrong now and then, against the same targets
    under a bound that holds."""
    with styled():
        needs = "that takes the same strategies under a wrong bound and under one that holds"
        return _figure(wrong.wrong_bound(_read(records, folder, dataset), dataset), needs)


def training_curves(records: Records, dataset: str, folder: Folder) -> Figure:
    """Error on a dataset's validation split by epoch, a panel a backbone."""
    with styled():
        of = _read(records, folder, dataset)
        done = [record for record in of.finals if record.is_done]
        found = curves.histories(done, store.arrays_of(Path(folder), done)).get(dataset, {})
        return _figure(curves.training_curves(of, dataset, found), "that takes histories")


def example_window(records: Records, dataset: str, backbone: str, folder: Folder) -> Figure:
    """A test window of a dataset under a few strategies, in the data's own unit."""
    with styled():
        of = _read(records, folder, dataset)
        done = [record for record in of.finals if record.is_done]
        arrays = store.arrays_of(Path(folder), done)
        found = draw.example(of, dataset, backbone, done, arrays)
        return _figure(found, f"that takes example windows on the backbone {backbone!r}")


def constraint_shapes() -> Figure:
    """Output and derivative of each constraint against raw; of no records."""
    with styled():
        return _figure(shapes.constraint_shapes(), "")


def _read(records: Records, folder: Folder | None, dataset: str | None = None) -> Study:
    """The study of these records; on one dataset alone, if it is given."""
    manifest = store.read_manifest(folder) if folder else {}
    found = [Record.from_json(record) for record in records]
    if dataset is not None:
        choose("dataset", dataset, dict.fromkeys(sorted({one.cell.dataset for one in found})))
    arrays = store.arrays_of(Path(folder), found) if folder else {}
    return study.read(manifest, found, arrays=arrays)


def _figure(sketch: Sketch | None, needs: str) -> Figure:
    if sketch is None:
        raise UsageError(f"These records hold nothing to draw here: {needs}.")
    fonts.complete(sketch.figure)
    sketch.figure.draw_without_rendering()  # which makes the ticks, in this style
    return sketch.figure
