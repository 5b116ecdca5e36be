"""Records to numbers: the long summary, spreads over seeds, and what holds across datasets.

Across datasets the score is a skill (Murphy, 1988): 1 - mse / mse of `climatology_clipped`, 1 for a
perfect output, 0 for one no better than the clipped mean. It is floored at -1, which is also the
score of a failed cell. Related datasets form a group, whose score is their mean.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy import stats

from experiments.plan import SPLIT_OF_PHASE
from experiments.store import Record, canonical
from experiments.tuning import tuned_of

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
REFERENCE = "climatology_clipped"
FLOOR = -1.0
LEVEL = 0.95
SIGNIFICANT = 0.05
PLANNED = {
    "straight_through_clip": "the same function with no dead gradient: what does deadness cost?",
    "smooth_clip": "a true derivative that does not vanish at the bound: is it better still?",
    "clip_at_evaluation": "trained free, clipped afterwards: must training know of the bound?",
    "relu_offset": "the modified ReLU of the question's answers: does the parametrisation matter?",
    "squared_hinge": "a penalty in place of a guarantee: does giving up the bound buy accuracy?",
    "unconstrained": "no bound at all: does holding it cost accuracy, or give it?",
}
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


@dataclass(frozen=True)
class Comparison:
    """A strategy against `clip`, over groups."""

    strategy: str
    difference: float  # of mean scores, positive where the strategy is better
    better: int  # in how many of the groups it is
    groups: int
    p_value: float  # Wilcoxon's, by Holm for the number of comparisons
    underpowered: bool  # so few groups that no outcome could be significant


def summary(records: Iterable[Record]) -> list[Row]:
    """One row a finished cell and metric, in the order of COLUMNS; failed cells are absent."""
    rows = []
    for record in records:
        if record["status"] != "done":
            continue
        config = record["config"]
        cell = {
            "strategy": config["strategy"]["name"],
            "dataset": config["dataset"]["name"],
            "backbone": config["backbone"],
            "phase": config["phase"],
            "seed": config["seed"],
            "split": SPLIT_OF_PHASE[config["phase"]],
            "hyperparameters": canonical(tuned_of(config)),
        }
        rows += [
            {**cell, "metric": name, "value": value}
            for name, value in sorted(record["metrics"].items())
        ]
    return sorted(rows, key=lambda row: [str(row[key]).zfill(6) for key in COLUMNS[:-1]])


def spread(values: Sequence[float | None]) -> Spread:
    """Mean and sample standard deviation of the values that exist."""
    known = np.array([value for value in values if value is not None], float)
    if not len(known):
        return Spread(math.nan, math.nan, 0)
    deviation = float(known.std(ddof=1)) if len(known) > 1 else math.nan
    return Spread(float(known.mean()), deviation, len(known))


def over_seeds(rows: Iterable[Row]) -> dict[tuple[str, str, str], dict[str, Spread]]:
    """Each metric's spread over final seeds, by (dataset, backbone, strategy)."""
    values: dict[tuple[str, str, str], dict[str, list[float | None]]] = {}
    for row in rows:
        if row["phase"] != "final":
            continue
        group = values.setdefault((row["dataset"], row["backbone"], row["strategy"]), {})
        group.setdefault(row["metric"], []).append(row["value"])
    return {
        key: {metric: spread(seeds) for metric, seeds in group.items()}
        for key, group in values.items()
    }


def skills(records: Iterable[Record], backbone: str, groups: Mapping[str, str]) -> Scores:
    """Scores on one backbone; untrained baselines count as if run with every seed.

    Args:
      records: of a sweep.
      backbone: whose cells count.
      groups: the group of each dataset that counts.

    Returns:
      Scores of the strategies that have every seed on every dataset that there is.
    """
    mse: dict[str, dict[tuple[str, int], float]] = {}
    baselines = set()
    for record in records:
        config = record["config"]
        counts = config["phase"] == "final" and config["backbone"] in (backbone, "none")
        if counts and config["dataset"]["name"] in groups:
            found = mse.setdefault(config["strategy"]["name"], {})
            value = record["metrics"]["mse"] if record["status"] == "done" else None
            # None also of a cell whose test error is not finite.
            found[config["dataset"]["name"], config["seed"]] = math.inf if value is None else value
            baselines |= {config["strategy"]["name"]} if config["backbone"] == "none" else set()
    keys = {key for found in mse.values() for key in found}
    datasets, seeds = sorted({key[0] for key in keys}), sorted({key[1] for key in keys})
    kinds = sorted({groups[name] for name in datasets})
    members = np.array([[groups[name] == kind for name in datasets] for kind in kinds], float)

    def table(name: str) -> np.ndarray:
        """mse, (seeds, datasets); NaN where there is no cell."""
        found = mse.get(name, {})
        once = name in baselines
        return np.array(
            [[found.get((of, 0 if once else seed), math.nan) for of in datasets] for seed in seeds]
        )

    score = {name: np.maximum(1 - table(name) / table(REFERENCE), FLOOR) for name in mse}
    complete = [name for name, values in score.items() if not np.isnan(values).any()]
    by_group = [score[name] @ members.T / members.sum(axis=1) for name in complete]
    shape = len(complete), len(seeds), len(kinds)
    return Scores(tuple(complete), tuple(kinds), np.array(by_group).reshape(shape))


def mean(values: np.ndarray) -> np.ndarray:
    """Over all runs: (..., seeds, groups) -> (...)."""
    return values.mean(axis=(-2, -1))


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the middle half of all runs (Agarwal et al., 2021): (..., seeds, groups) -> (...)."""
    return stats.trim_mean(values.reshape(*values.shape[:-2], -1), 0.25, axis=-1)


def average_rank(values: np.ndarray) -> np.ndarray:
    """Rank by mean over seeds (1: best; ties share theirs), averaged over groups (Demšar, 2006):
    (..., strategies, seeds, groups) -> (..., strategies)."""
    return stats.rankdata(-values.mean(axis=-2), axis=-2).mean(axis=-1)


def resampled(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    generator: np.random.Generator,
    resamples: int = 2000,
) -> np.ndarray:
    """A statistic of bootstrap samples of the seeds, the same ones for every strategy and group.

    A seed gives them the same initial weights, so that runs that fail, fail together: samples
    drawn apart within each group, as for runs that share nothing (Agarwal et al., 2021), would
    take every group for a new draw.

    Args:
      values: (..., seeds, groups).
      statistic: of (resamples, ..., seeds, groups), to (resamples, ...).

    Returns:
      (resamples, ...).
    """
    seeds = values.shape[-2]
    rows = generator.integers(seeds, size=(resamples, seeds))
    return statistic(np.moveaxis(values[..., rows, :], -3, 0))


def interval(found: np.ndarray, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Expanded percentile interval at LEVEL, over the first axis (Hesterberg, 2015): for a mean
    about as wide as Student's t from six seeds on, where the plain one is 18 % narrower for 10.
    With fewer it ends at the extremes of the seeds, and is too narrow.

    Args:
      found: a statistic of samples of the seeds.
      seeds: how many there are.
    """
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


def performance_profile(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Share of runs whose score exceeds each threshold (Agarwal et al., 2021):
    (..., seeds, groups) -> (..., thresholds)."""
    return (values[..., None] > thresholds).mean(axis=(-3, -2))


def mean_with_skill(values: np.ndarray) -> np.ndarray:
    """Mean of the seeds with a score above 0, NaN where there is none:
    (..., seeds, groups) -> (..., groups)."""
    counts = values > 0
    total, number = np.where(counts, values, 0).sum(axis=-2), counts.sum(axis=-2)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def probability_of_improvement(one: np.ndarray, other: np.ndarray) -> float:
    """That a run of one scores higher than a run of the other on the same group, averaged over
    groups; a tie counts half (Agarwal et al., 2021). Both (seeds, groups)."""
    difference = one[:, None] - other[None]
    return float(np.mean((difference > 0) + (difference == 0) / 2))


def friedman(values: np.ndarray) -> float:
    """p-value of Friedman's test that strategies do not differ, over groups (Demšar, 2006).

    Args:
      values: (strategies, seeds, groups), of three strategies at least.
    """
    return float(stats.friedmanchisquare(*values.mean(axis=1)).pvalue)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values adjusted for their number by Holm (1979)."""
    order = np.argsort(p_values)
    stepped = np.sort(p_values) * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted


def planned_comparisons(scores: Scores) -> list[Comparison]:
    """Those of PLANNED that the scores have, against `clip`, by Wilcoxon's signed-rank test over
    groups; all else is descriptive."""
    reference = scores.of("clip")
    names = [name for name in PLANNED if name in scores.strategies]
    differences = [scores.of(name).mean(axis=0) - reference.mean(axis=0) for name in names]
    p_values = [stats.wilcoxon(d).pvalue if d.any() else 1.0 for d in differences]
    least = 2.0 ** (1 - len(scores.groups))
    return [
        Comparison(
            name,
            float(d.mean()),
            int((d > 0).sum()),
            len(d),
            float(p),
            least * len(names) > SIGNIFICANT,
        )
        for name, d, p in zip(names, differences, holm(p_values), strict=True)
    ]
