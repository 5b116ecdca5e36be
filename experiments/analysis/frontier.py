"""Soft strategies as a frontier: what each weight of the bound costs in error, and leaves outside.

From the tuning runs, all points that were tried, on validation.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from experiments.analysis.effects import AGAINST
from experiments.cells import Record, canonical

WEIGHTS = {
    "hinge": "weight",
    "squared_hinge": "weight",
    "log_barrier": "last_sharpness",
    "augmented_lagrangian": "penalty",
    "dc3_correction": "weight",
}
"""By soft strategy: the hyperparameter that weighs the bound against the error."""
RATE = "learning_rate"
OUTSIDE = "violation_rate_1e-4"  # what is less outside, in scaled units, is rounding
Tried = Mapping[str, Mapping[int, Record]]  # by dataset and seed


@dataclass(frozen=True)
class Point:
    """A soft strategy as it was tried."""

    strategy: str
    backbone: str
    rate: float  # of learning
    weight: float
    others: str  # the other hyperparameters
    outside: float  # share of outputs outside the bounds, by OUTSIDE; mean over groups
    change: float  # log(error / that of AGAINST at the same learning rate), mean over groups
    groups: int


def points(records: Iterable[Record], groups: Mapping[str, str]) -> list[Point]:
    """Every point that was tried on each group on which AGAINST was, seed by seed; by backbone and
    strategy, then by learning rate, other hyperparameters and weight.

    Args:
      records: of every strategy.
      groups: of the datasets that count.
    """
    tried: defaultdict[tuple[str, str, str], dict[str, dict[int, Record]]]
    tried = defaultdict(lambda: defaultdict(dict))
    for record in records:
        cell = record.cell
        if cell.phase == "tune" and record.is_done and record.metrics.get("mse"):
            point = cell.strategy, cell.backbone, canonical(cell.tuned)
            tried[point][cell.dataset][cell.seed] = record
    found = []
    for (strategy, backbone, _), one in list(tried.items()):
        if strategy in WEIGHTS:
            tuned = next(iter(next(iter(one.values())).values())).cell.tuned
            rate = tuned.pop(RATE, math.nan)
            other = tried.get((AGAINST, backbone, canonical({RATE: rate})), {})
            over = _over_groups(one, other, groups)
            if over:
                weight = tuned.pop(WEIGHTS[strategy], math.nan)
                found.append(Point(strategy, backbone, rate, weight, canonical(tuned), *over))
    return sorted(found, key=_place)


def _place(of: Point) -> tuple[str, int, float, str, float]:
    return of.backbone, list(WEIGHTS).index(of.strategy), of.rate, of.others, of.weight


def _over_groups(
    one: Tried, other: Tried, groups: Mapping[str, str]
) -> tuple[float, float, int] | None:
    """Means of what is outside and of the logarithm of the ratio, and the number of groups; None
    where one has a group that the other has not."""
    outside, changes = defaultdict(list), defaultdict(list)
    for dataset in sorted(groups.keys() & one.keys() & other.keys()):
        for seed in sorted(one[dataset].keys() & other[dataset].keys()):
            found, against = one[dataset][seed].metrics, other[dataset][seed].metrics
            outside[groups[dataset]].append(found.get(OUTSIDE) or 0.0)
            changes[groups[dataset]].append(np.log([found["mse"], against["mse"]]) @ [1, -1])
    there = {groups[dataset] for dataset in groups.keys() & other.keys()}
    if not there or changes.keys() != there:
        return None
    means = [float(np.mean([np.mean(of) for of in by.values()])) for by in (outside, changes)]
    return means[0], means[1], len(there)
