"""The error of a strategy relative to another's, as the logarithm of their ratio.

Strategies of one dataset, backbone and seed begin with the same weights and see the same windows:
their errors are compared seed by seed. Seeds of different datasets are draws of their own.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats

from experiments.analysis.pooling import LEVEL
from experiments.cells import UNTRAINED, Place, Record

AGAINST = "clip_at_evaluation"  # train without the bound, clip afterwards: what others must beat
ROUNDING = 1e-6  # of a share of many outputs, which is a mean in float32
RESAMPLES = 2000
SEED = 0  # of the bootstrap
OVER_SEEDS, OVER_BOTH, OVER_NOTHING = "seeds", "seeds and blocks", "–"
Blocks = Mapping[str, np.ndarray]  # mse of blocks of the test split, (B,), by a record's id


@dataclass(frozen=True)
class Run:
    """What counts of a finished final cell."""

    mse: float  # finite and above 0
    blocks: np.ndarray | None  # (B,), mse of consecutive blocks of the test split
    starts: bool  # whether some output has a gradient


Runs = Mapping[int, Run]  # of one strategy, dataset and backbone, by seed


@dataclass(frozen=True)
class Effect:
    """Of a strategy on a group: log(its error / the other's)."""

    value: float  # mean over seeds, and over the group's datasets
    error: float  # its standard error; 0 where it is not known, of a single seed
    degrees: int  # of freedom of that error
    over: str  # what the error is over
    median: float  # over seeds
    started: float  # mean over seeds with which both start; NaN where there is none
    seeds: int  # on the dataset that has fewest

    @property
    def interval(self) -> tuple[float, float]:
        """At LEVEL, by Student's t."""
        if self.degrees < 1:
            return math.nan, math.nan
        half = float(stats.t.ppf((1 + LEVEL) / 2, self.degrees)) * self.error
        return self.value - half, self.value + half


def never_starts(record: Record) -> bool:
    """Whether no output has a gradient: such a network stays as it begins. Of an autoencoder it
    means nothing, for all is well at its bound."""
    return (record.metrics.get("gradient_dead_fraction") or 0.0) > 1 - ROUNDING


def ends_without_gradient(record: Record, roles: Mapping[str, str]) -> bool:
    """The same, but for autoencoders."""
    return never_starts(record) and roles[record.cell.dataset] != "autoencoder"


def runs(records: Iterable[Record], blocks: Blocks) -> dict[Place, dict[int, Run]]:
    """The finished final cells with an error above 0, by place and seed."""
    found: dict[Place, dict[int, Run]] = {}
    for record in records:
        mse = record.metrics.get("mse") if record.is_done else None
        if record.cell.phase == "final" and mse and math.isfinite(mse):
            run = Run(mse, blocks.get(record.id), not never_starts(record))
            found.setdefault(record.cell.place, {})[record.cell.seed] = run
    return found


def relative(
    found: Mapping[Place, Runs], backbone: str, groups: Mapping[str, str]
) -> dict[str, dict[str, Effect]]:
    """Every strategy's effect against AGAINST on a backbone, by strategy and group; of AGAINST
    itself 0. A baseline's single run counts as one with every seed."""
    parts: defaultdict[str, defaultdict[str, list[Effect]]] = defaultdict(lambda: defaultdict(list))
    for (strategy, dataset, of), one in found.items():
        other = found.get((AGAINST, dataset, backbone))
        if dataset not in groups or other is None or of not in (backbone, UNTRAINED):
            continue
        if of == UNTRAINED:
            one = dict.fromkeys(other, next(iter(one.values())))
        if there := effect(one, other):
            parts[strategy][groups[dataset]].append(there)
    return {
        strategy: {group: together(of) for group, of in sorted(by_group.items())}
        for strategy, by_group in parts.items()
    }


def never_starting(
    found: Mapping[Place, Runs], backbone: str, groups: Mapping[str, str]
) -> dict[str, float]:
    """The share of a trained strategy's runs that never start, a mean over groups and, within one,
    over its datasets."""
    shares: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (strategy, dataset, of), one in found.items():
        if of == backbone and dataset in groups:
            share = float(np.mean([not run.starts for run in one.values()]))
            shares[strategy][groups[dataset]].append(share)
    means = {name: [np.mean(of) for of in by_group.values()] for name, by_group in shares.items()}
    return {name: float(np.mean(of)) for name, of in means.items()}


def effect(one: Runs, other: Runs) -> Effect | None:
    """On one dataset, over the seeds that both have; None where there are none.

    Its error is over seeds and blocks where every run has as many blocks, two at least, and there
    are two seeds: the root of the variance of a bootstrap that draws seeds and blocks, the same
    ones for both (Owen, 2007: what belongs to single pairs of seed and block counts up to thrice,
    so it rather errs to the wide side), widened as a variance is by n / (n - 1). Else it is over
    seeds alone.
    """
    seeds = sorted(one.keys() & other.keys())
    if not seeds:
        return None
    ratios = np.array([math.log(one[seed].mse) - math.log(other[seed].mse) for seed in seeds])
    both = [one[seed].starts and other[seed].starts for seed in seeds]
    found = [_blocks(of, seeds) for of in (one, other)]
    error, degrees, over = 0.0, len(seeds) - 1, OVER_NOTHING
    if degrees and found[0] is not None and found[1] is not None:
        known = np.isfinite(found[0]).all(axis=0) & np.isfinite(found[1]).all(axis=0)
        if known.sum() > 1:
            error = _over_both(found[0][:, known], found[1][:, known])
            degrees, over = min(degrees, int(known.sum()) - 1), OVER_BOTH
    if degrees and over == OVER_NOTHING:
        error, over = float(ratios.std(ddof=1)) / math.sqrt(len(seeds)), OVER_SEEDS
    started = float(ratios[both].mean()) if any(both) else math.nan
    median = float(np.median(ratios))
    return Effect(float(ratios.mean()), error, degrees, over, median, started, len(seeds))


def _blocks(found: Runs, seeds: Sequence[int]) -> np.ndarray | None:
    """(seeds, blocks); None where some run has none, or another number of them."""
    each = [found[seed].blocks for seed in seeds]
    known = [of for of in each if of is not None and of.ndim == 1]
    same = len(known) == len(each) and len({len(of) for of in known}) == 1
    return np.array(known, float) if same else None


def _over_both(one: np.ndarray, other: np.ndarray) -> float:
    """Standard error of the mean log ratio of (seeds, blocks), drawn both ways."""
    by_seed, by_block = _draws(len(one)), _draws(one.shape[1])
    means = [np.maximum(of @ by_block.T, np.finfo(float).tiny) for of in (one, other)]
    drawn = np.sum(by_seed.T * (np.log(means[0]) - np.log(means[1])), axis=0)
    fewest = min(one.shape)
    return float(drawn.std()) * math.sqrt(fewest / (fewest - 1))


@cache
def _draws(count: int) -> np.ndarray:
    """How often each of so many is drawn, as a share of all: (RESAMPLES, count)."""
    generator = np.random.default_rng([SEED, count])
    return generator.multinomial(count, np.full(count, 1 / count), RESAMPLES) / count


def together(effects: Sequence[Effect]) -> Effect:
    """Of a group: the mean of its datasets, whose seeds are draws of their own."""

    def mean(of: Callable[[Effect], float]) -> float:
        known = [value for value in map(of, effects) if not math.isnan(value)]
        return float(np.mean(known)) if known else math.nan

    return Effect(
        mean(lambda one: one.value),
        math.sqrt(sum(one.error**2 for one in effects)) / len(effects),
        min(one.degrees for one in effects),
        " / ".join(sorted({one.over for one in effects})),
        mean(lambda one: one.median),
        mean(lambda one: one.started),
        min(one.seeds for one in effects),
    )
