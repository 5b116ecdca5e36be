"""The rule, judged: does what fits the training targets best tell which strategy errs least?

A share of the bound, if it fits better than a level, should make an interval err less than clipping
afterwards; a distance from the bound an offset. The rule was found on the first study, so the
groups that were not in it decide; the others stand beside.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from scipy import stats

from experiments.analysis import pooling, rule
from experiments.analysis.effects import AGAINST, Effect, Runs, effect
from experiments.analysis.pooling import Pooled
from experiments.analysis.statistics import Estimate, rank_correlation
from experiments.cells import Place
from experiments.data.catalogue import DATASETS
from experiments.data.datasets import load

FIRST = (
    "bikeshare",
    "daily_temperature",
    "dew_point",
    "flights",
    "household",
    "irradiance",
    "spectrum",
    "streamflow",
    "wind",
)
"""Groups of the first study."""
CHOICE = {"share": "tanh_interval", "level": AGAINST, "distance": "softplus_offset"}
"""The strategy that the rule chooses where that fits best."""
PREDICTED = {"share": "tanh_interval", "distance": "softplus_offset"}
"""By what is fitted: whose sign it tells."""


@dataclass(frozen=True)
class Judged:
    """A dataset on a backbone."""

    dataset: str
    group: str
    backbone: str
    fits: Mapping[str, float]  # mse of each kind on the training targets; NaN: there is none
    effects: Mapping[str, Effect]  # of each of PREDICTED that was run, by kind

    @property
    def is_new(self) -> bool:
        """Whether it decides."""
        return self.group not in FIRST

    def lean(self, kind: str) -> float:
        """log(its fit / that of a level): below 0 where it fits better; NaN where there is none."""
        one, level = self.fits.get(kind, math.nan), self.fits.get("level", math.nan)
        if not (one >= 0 and level >= 0) or one == level == 0:
            return math.nan
        if not (one and level):
            return math.copysign(math.inf, one - level)
        return math.log(one / level)

    def agrees(self, kind: str) -> bool | None:
        """Whether the sign is told; None where nothing is."""
        lean, found = self.lean(kind), self.effects.get(kind)
        if found is None or math.isnan(lean) or lean == 0:
            return None
        return (lean < 0) == (found.value < 0)

    @property
    def choice(self) -> str | None:
        """The kind that the rule chooses, where its strategy was run."""
        chosen = rule.rule(self.fits)
        return chosen if chosen == "level" or chosen in self.effects else None

    @property
    def gain(self) -> float:
        """Logarithm of the error of the rule's choice relative to AGAINST's; 0 if it is that."""
        found = self.effects.get(self.choice or "")
        return found.value if found else 0.0


def judge(
    runs: Mapping[Place, Runs],
    groups: Mapping[str, str],
    backbones: Iterable[str],
    fits: Callable[[str], Mapping[str, float]] | None = None,
) -> list[Judged]:
    """Every dataset of the catalogue that has a group, on each backbone on which a strategy of
    PREDICTED and AGAINST were run.

    Args:
      runs: what was run.
      groups: of the datasets.
      backbones: in this order.
      fits: of a dataset, by name; by default of its training split.
    """
    fits = fits or fits_of
    found = []
    for backbone in backbones:
        for dataset, group in groups.items():
            other = runs.get((AGAINST, dataset, backbone), {})
            of_each = {
                kind: effect(runs.get((strategy, dataset, backbone), {}), other)
                for kind, strategy in PREDICTED.items()
            }
            effects = {kind: one for kind, one in of_each.items() if one}
            if effects and dataset in DATASETS:
                found.append(Judged(dataset, group, backbone, fits(dataset), effects))
    return found


@cache
def fits_of(dataset: str) -> Mapping[str, float]:
    """Of the training split, in scaled units."""
    part = load(dataset).part("train")
    return rule.fits(part["targets"], part["lower"], part["upper"], part["where"])


def agreement(found: Iterable[Judged], kind: str) -> tuple[int, int, Estimate]:
    """In how many of how many the sign is told, and the share with its exact binomial interval
    (Clopper and Pearson, 1934)."""
    told = [agrees for one in found if (agrees := one.agrees(kind)) is not None]
    if not told:
        return 0, 0, Estimate(math.nan)
    interval = stats.binomtest(sum(told), len(told)).proportion_ci(pooling.LEVEL, method="exact")
    share = sum(told) / len(told)
    return sum(told), len(told), Estimate(share, float(interval.low), float(interval.high))


def correlation(found: Iterable[Judged], kind: str) -> float:
    """Of ranks: of how a kind leans, and of what its strategy errs; NaN where there is none."""
    pairs = [(one.lean(kind), one.effects[kind].value) for one in found if kind in one.effects]
    return rank_correlation([pair for pair in pairs if not math.isnan(pair[0])])


def gain(found: Sequence[Judged], always: str | None = None) -> Pooled | None:
    """Mean logarithm of the error of the rule's choice relative to AGAINST's, or of always the same
    kind's, groups alike and within one its datasets; None where there is none."""
    by_group: dict[str, list[float]] = {}
    for one in found:
        if always in one.effects:
            by_group.setdefault(one.group, []).append(one.effects[always].value)
        elif one.choice and not always:
            by_group.setdefault(one.group, []).append(one.gain)
    means = [sum(of) / len(of) for of in by_group.values()]
    return pooling.pool(means, [0.0] * len(means)) if means else None
