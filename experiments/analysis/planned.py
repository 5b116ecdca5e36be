"""The comparisons that were named before the run, and what each of them shows.

A verdict is about the effects on groups of datasets, on one backbone, by signed-rank tests over
groups, which no single group can carry away:

    equivalent  they are within MARGIN of 0 (two one-sided tests)
    better      they are below 0, worse: above
    open        neither is shown, or there are fewer than FEWEST_GROUPS groups

The mean over groups stands beside it. Both tests are adjusted by Holm for every comparison on every
backbone together. What is equivalent may differ from 0 as well: the margin says from where on a
difference counts.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.analysis import pooling
from experiments.analysis.effects import Effect
from experiments.analysis.pooling import SIGNIFICANT, Pooled

PLANNED = {
    "clip": "the bound in training too, as it is: does that pay?",
    "straight_through_clip": "the bound in training, with no dead gradient: does that pay?",
    "smooth_clip": "a bound that bends before it cuts: does that pay?",
    "tanh_interval": "a share of the interval: does the parametrisation pay?",
    "softplus_offset": "a distance from the bound: does the parametrisation pay?",
    "squared_hinge": "a penalty in place of a guarantee: does giving up the bound pay?",
}
"""Each against `effects.AGAINST`, with what it asks."""
MARGIN = math.log(1.05)  # 5 % of the error
FEWEST_GROUPS = 6  # with fewer, not even a unanimous sign would be significant
BEFOREHAND = 16  # groups that the study is planned with
BETTER, WORSE, EQUIVALENT, OPEN = "better", "worse", "equivalent", "open"
Effects = Mapping[str, Mapping[str, Effect]]  # by strategy and group


@dataclass(frozen=True)
class Comparison:
    """Of a planned strategy with `effects.AGAINST` on a backbone; logarithms of ratios."""

    strategy: str
    backbone: str
    effects: Mapping[str, Effect]  # by group
    pooled: Pooled
    p_difference: float  # of no difference, adjusted; NaN of one group
    p_equivalence: float  # of a difference of MARGIN or more, adjusted; NaN of one group

    @property
    def center(self) -> float:
        """Of the groups' effects, by rank."""
        return pooling.center([found.value for found in self.effects.values()])

    @property
    def better(self) -> int:
        """In how many groups it errs less."""
        return sum(found.value < 0 for found in self.effects.values())

    @property
    def verdict(self) -> str:
        if self.pooled.groups < FEWEST_GROUPS:
            return OPEN
        if self.p_equivalence <= SIGNIFICANT:
            return EQUIVALENT
        if self.p_difference <= SIGNIFICANT:
            return BETTER if self.center < 0 else WORSE
        return OPEN

    @property
    def within(self) -> float:
        """The standard error of a group's effect that, were it every group's, would give the mean
        its error; NaN of one group."""
        whole = self.pooled.error**2 * self.pooled.groups
        return math.sqrt(max(whole - self.pooled.between**2, 0.0))


def compare(relative: Mapping[str, Effects]) -> list[Comparison]:
    """Every planned comparison that there is, in the order of PLANNED and then of backbones.

    Args:
      relative: of every strategy, by backbone.
    """
    found = [
        (strategy, backbone, effects[strategy], pooled(effects[strategy].values()))
        for strategy in PLANNED
        for backbone, effects in relative.items()
        if strategy in effects
    ]
    every = [[one.value for one in of.values()] for *_, of, _ in found]
    differences = pooling.holm([pooling.p_signed_rank(of) for of in every])
    equivalences = pooling.holm([pooling.p_within(of, MARGIN) for of in every])
    return [
        Comparison(*of, float(one), float(other))
        for of, one, other in zip(found, differences, equivalences, strict=True)
    ]


def pooled(effects: Iterable[Effect]) -> Pooled:
    """Over groups; at least one."""
    effects = list(effects)
    return pooling.pool([one.value for one in effects], [one.error for one in effects])


def alike(effects: Iterable[Effect]) -> Pooled:
    """The same with each group counting alike, whatever its error: the plain mean with its usual
    interval."""
    values = [one.value for one in effects]
    return pooling.pool(values, [0.0] * len(values))


def started(effects: Iterable[Effect]) -> float:
    """The mean over groups of the seeds with which both start, each group counting alike; NaN where
    there is none."""
    known = [one.started for one in effects if not math.isnan(one.started)]
    return float(np.mean(known)) if known else math.nan


def average_ranks(effects: Effects, strategies: Iterable[str]) -> dict[str, float]:
    """Rank by effect within each group (1: least error; ties share theirs), averaged over groups
    (Demšar, 2006), of the strategies that are on every group.

    Args:
      effects: on one backbone.
      strategies: those that are ranked.
    """
    groups = sorted({group for of in effects.values() for group in of})
    names = [name for name in strategies if sorted(effects.get(name, {})) == groups]
    values = np.array([[effects[name][group].value for group in groups] for name in names])
    if not names:
        return {}
    return dict(zip(names, stats.rankdata(values, axis=0).mean(axis=1).tolist(), strict=True))
