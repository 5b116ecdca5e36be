"""Records to numbers: the long summary, spreads over seeds, and skills across datasets.

A skill, for readers, is that of Murphy (1988): 1 - mse / mse of `climatology_clipped`, 1 for a
perfect output, 0 for one no better than the clipped mean. It is floored at -1, which is also the
score of a failed cell. Related datasets form a group, whose score is their mean. Conclusions rest
on `effects`, which have no floor.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy import stats

from experiments.cells import UNTRAINED, Record, canonical

COLUMNS = (
    "strategy",
    "dataset",
    "backbone",
    "phase",
    "seed",
    "split",
    "hyperparameters",
    "metric",
    "value",
)
REFERENCE = "climatology_clipped"  # whose error is a skill of 0
FLOOR = -1.0
MOST = 1e150  # of what is averaged: squares of such do not overflow
LEVEL = 0.95
SEED = 0  # of every bootstrap
FEWEST_RANKED = 5  # seeds of a strategy that is ranked beside others with more
FEWEST_SEEDS = 6  # with which two strategies are told apart by an interval
Row = dict[str, Any]


@cache
def _quantile(degrees: int) -> float:
    """Of Student's t, where an interval at LEVEL ends."""
    return float(stats.t.ppf((1 + LEVEL) / 2, degrees))


@dataclass(frozen=True)
class Spread:
    """A metric over seeds."""

    mean: float
    deviation: float  # sample standard deviation; NaN for one seed
    count: int

    @property
    def interval(self) -> tuple[float, float]:
        """Of the mean, at LEVEL, by Student's t; over seeds alone: the sampling of the data is
        left out."""
        half = _quantile(max(self.count - 1, 1)) * self.deviation / math.sqrt(max(self.count, 1))
        return self.mean - half, self.mean + half


Spreads = Mapping[tuple[str, str, str], Mapping[str, Spread]]  # by (dataset, backbone, strategy)


@dataclass(frozen=True)
class Estimate:
    """A number and its interval at LEVEL; NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Scores:
    """Of every strategy on every group of datasets, on one backbone."""

    strategies: tuple[str, ...]
    groups: tuple[str, ...]
    values: np.ndarray  # (strategies, seeds, groups)

    def of(self, strategy: str) -> np.ndarray:
        """(seeds, groups)."""
        return self.values[self.strategies.index(strategy)]


def summary(records: Iterable[Record]) -> list[Row]:
    """One row a finished cell and metric, in the order of COLUMNS; failed cells are absent.

    `skill` is one of the metrics, not floored, where REFERENCE has an error on the same data.
    """
    done = [record for record in records if record.is_done]
    errors = {
        _data(record): record.metrics.get("mse")
        for record in done
        if record.cell.strategy == REFERENCE
    }

    def shared(record: Record) -> tuple[Any, ...]:
        cell = record.cell
        return *cell.place, cell.phase, cell.seed, cell.split, canonical(cell.tuned)

    def order(value: Any) -> str:
        return str(value).zfill(6)

    found = sorted(
        ((shared(record), record) for record in done),
        key=lambda one: [order(value) for value in one[0]],
    )
    rows = []
    for of, record in found:
        metrics = {**record.metrics, **_skill(record, errors.get(_data(record)))}
        for metric in sorted(metrics, key=order):
            rows.append(dict(zip(COLUMNS, (*of, metric, metrics[metric]), strict=True)))
    return rows


def _data(record: Record) -> tuple[str, str, str]:
    """What a record's error was measured on."""
    return record.cell.dataset, record.cell.data_hash, record.cell.phase


def _skill(record: Record, reference: float | None) -> dict[str, float | None]:
    """As a metric: null where the error is, or the skill beyond MOST; none where no error is to be
    measured by."""
    if not reference or "mse" not in record.metrics:
        return {}
    error = record.metrics["mse"]
    ratio = math.inf if error is None else error / reference
    return {"skill": 1 - ratio if abs(ratio) <= MOST else None}


def spread(values: Sequence[float | None]) -> Spread:
    """Mean and sample standard deviation of the values that exist."""
    known = np.array([value for value in values if value is not None], float)
    if not len(known):
        return Spread(math.nan, math.nan, 0)
    deviation = float(known.std(ddof=1)) if len(known) > 1 else math.nan
    return Spread(float(known.mean()), deviation, len(known))


def over_seeds(rows: Iterable[Row]) -> Spreads:
    """Each metric's spread over final seeds, by (dataset, backbone, strategy)."""
    values: Any = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["phase"] == "final":
            place = row["dataset"], row["backbone"], row["strategy"]
            values[place][row["metric"]].append(row["value"])
    return {
        key: {metric: spread(seeds) for metric, seeds in group.items()}
        for key, group in values.items()
    }


def skill_scores(records: Iterable[Record], backbone: str, groups: Mapping[str, str]) -> Scores:
    """Scores on one backbone, over the datasets that have a group, of the strategies that have
    every seed on each; untrained baselines count as if run with every seed. Where some have fewer
    seeds, but FEWEST_RANKED on each dataset, the seeds are those that all of these have."""
    mse: defaultdict[str, dict[tuple[str, int | None], float]] = defaultdict(dict)
    for record in records:
        cell = record.cell
        counts = cell.phase == "final" and cell.backbone in (backbone, UNTRAINED)
        if counts and cell.dataset in groups:
            value = record.metrics.get("mse") if record.is_done else None
            # None also of a cell whose test error is not finite.
            seed = cell.seed if cell.is_trained else None
            mse[cell.strategy][cell.dataset, seed] = math.inf if value is None else value
    keys = {key for found in mse.values() for key in found}
    datasets = sorted({name for name, _ in keys})
    every = {seed for _, seed in keys if seed is not None}
    held = (
        {s for s in every if all((of, s) in found for of in datasets)} for found in mse.values()
    )
    enough = [seeds for seeds in held if len(seeds) >= FEWEST_RANKED]
    seeds = sorted(set.intersection(*enough) if enough else every)
    kinds = sorted({groups[name] for name in datasets})
    members = np.array([[groups[name] == kind for name in datasets] for kind in kinds], float)

    def table(name: str) -> np.ndarray:
        """mse, (seeds, datasets); NaN where there is no cell."""
        found = mse.get(name, {})
        once = {of: found.get((of, None), math.nan) for of in datasets}
        return np.array([[found.get((of, seed), once[of]) for of in datasets] for seed in seeds])

    score = {name: np.maximum(1 - table(name) / table(REFERENCE), FLOOR) for name in mse}
    complete = [name for name, values in score.items() if not np.isnan(values).any()]
    by_group = [score[name] @ members.T / members.sum(axis=1) for name in complete]
    shape = len(complete), len(seeds), len(kinds)
    return Scores(tuple(complete), tuple(kinds), np.array(by_group).reshape(shape))


def rank_correlation(pairs: Collection[tuple[float, float]]) -> float:
    """Of ranks (Spearman, 1904); NaN of fewer than three pairs, or where one side is the same in
    all."""
    if len(pairs) < 3 or min(len({*side}) for side in zip(*pairs, strict=True)) < 2:
        return math.nan
    return float(stats.spearmanr(*zip(*pairs, strict=True)).statistic)


def mean(values: np.ndarray) -> np.ndarray:
    """Over all runs: (..., seeds, groups) -> (...)."""
    return values.mean(axis=(-2, -1))


def resampled(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    generator: np.random.Generator,
    resamples: int = 2000,
) -> np.ndarray:
    """A statistic of bootstrap samples of the seeds, the same ones for every strategy and group:
    (..., seeds, groups) -> (resamples, ...).

    A seed gives them the same initial weights, so that runs that fail, fail together: samples
    drawn apart within each group, as for runs that share nothing (Agarwal et al., 2021), would
    take every group for a new draw.
    """
    seeds = values.shape[-2]
    rows = generator.integers(seeds, size=(resamples, seeds))
    return statistic(np.moveaxis(values[..., rows, :], -3, 0))


def interval(found: np.ndarray, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Expanded percentile interval at LEVEL, over the first axis (Hesterberg, 2015): for a mean
    about as wide as Student's t from six seeds on, where the plain one is 18 % narrower for 10.
    With fewer it ends at the extremes of the seeds, and is too narrow."""
    wider = math.sqrt(seeds / max(seeds - 1, 1)) * _quantile(max(seeds - 1, 1))
    tail = float(stats.norm.sf(wider))
    low, high = np.quantile(found, [tail, 1 - tail], axis=0)
    return low, high


def bootstrap(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    generator: np.random.Generator,
    resamples: int = 2000,
) -> tuple[np.ndarray, np.ndarray]:
    """The interval of a statistic that is `resampled`."""
    return interval(resampled(values, statistic, generator, resamples), values.shape[-2])


def ratio(one: Mapping[int, float], other: Mapping[int, float]) -> Estimate | None:
    """Of two means over the seeds that both have, the first by the second; to itself, and of one
    seed, without interval. None where there is no such ratio."""
    seeds = sorted(one.keys() & other.keys())
    pairs = np.array([[of[seed] for seed in seeds] for of in (one, other)])[..., None]
    if not pairs[1].any():
        return None

    def of_means(values: np.ndarray) -> np.ndarray:
        found = mean(values)
        return found[..., 0] / found[..., 1]

    if one == other or len(seeds) < 2:
        return Estimate(float(of_means(pairs)))
    ends = bootstrap(pairs, of_means, np.random.default_rng(SEED))
    return Estimate(float(of_means(pairs)), *map(float, ends))
