"""Effects of several groups as one: a random-effects meta-analysis, tests by rank, and power.

A group's effect has an error of its own (seeds, test data), and groups differ beyond it: which of
the two an interval leaves out decides what it says. Here it leaves out neither.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

LEVEL = 0.95  # of intervals
SIGNIFICANT = 0.05
POWER = 0.8
STEPS = 2000  # of the integral over the error's distribution


@dataclass(frozen=True)
class Pooled:
    """The mean effect over groups, and how far they differ."""

    mean: float
    error: float  # standard error of the mean; NaN of one group
    between: float  # standard deviation of the groups' true effects; NaN of one group
    groups: int

    @property
    def interval(self) -> tuple[float, float]:
        """Of the mean, at LEVEL: where it would lie with other groups of the same kind."""
        return _around(self.mean, self.error, self.groups - 1)

    @property
    def prediction(self) -> tuple[float, float]:
        """Of the true effect on one more group, at LEVEL, by t with two degrees fewer than groups
        (Higgins, Thompson and Spiegelhalter, 2009)."""
        return _around(self.mean, math.hypot(self.between, self.error), self.groups - 2)


def _around(mean: float, error: float, degrees: int) -> tuple[float, float]:
    half = float(stats.t.ppf((1 + LEVEL) / 2, degrees)) * error if degrees > 0 else math.nan
    return mean - half, mean + half


def pool(effects: Sequence[float], errors: Sequence[float]) -> Pooled:
    """The mean of groups' effects, each weighted by 1 / (its variance + that between groups).

    Between groups the variance is Paule and Mandel's (1982): that under which the weighted squared
    distances from the mean add up to the number of groups less one. The mean's error is that of
    Hartung and Knapp (2001) and of Sidik and Jonkman (2002), to be used with t of as many degrees;
    but never below the one without their factor (Röver, Knapp and Friede, 2015), which would be too
    small where groups agree by chance. Under this variance between groups their factor is 1
    wherever that is above 0.

    Args:
      effects: one a group, at least one.
      errors: their standard errors; with 0 everywhere this is the mean with its usual interval.
    """
    values, variances = np.asarray(effects, float), np.square(np.asarray(errors, float))
    groups = len(values)
    if groups < 2:
        return Pooled(float(values[0]), math.nan, math.nan, groups)
    apart = float(values.var(ddof=1)) if np.ptp(values) else 0.0
    # An error of 0 would take all the weight as the variance between groups goes to 0.
    variances = np.maximum(variances, 1e-12 * apart)
    between = _between(values, variances, apart)
    if between == 0 and not variances.all():
        return Pooled(float(values.mean()), 0.0, 0.0, groups)
    weights = 1 / (variances + between)
    mean = float(np.average(values, weights=weights))
    return Pooled(mean, float(weights.sum() ** -0.5), math.sqrt(between), groups)


def _between(values: np.ndarray, variances: np.ndarray, apart: float) -> float:
    """The variance between groups, no larger than that of their effects."""
    if apart == 0:
        return 0.0

    def excess(between: float) -> float:
        weights = 1 / (variances + between)
        mean = np.average(values, weights=weights)
        return float(np.sum(weights * (values - mean) ** 2)) - (len(values) - 1)

    if excess(0.0) <= 0:
        return 0.0
    # Rounding may leave the far end above 0, where the errors are nearly 0.
    return float(optimize.brentq(excess, 0.0, apart * (1 + 1e-9), xtol=1e-14 * apart))


def median(effects: Sequence[float]) -> tuple[float, float, float]:
    """Of groups' effects, and the interval between two of them that holds the true median with
    LEVEL or more, whatever the distribution (Thompson, 1936); NaN for fewer than six groups."""
    values = np.sort(np.asarray(effects, float))
    left_out = int(stats.binom.ppf((1 - LEVEL) / 2, len(values), 0.5)) - 1
    if left_out < 0:
        return float(np.median(values)), math.nan, math.nan
    return float(np.median(values)), float(values[left_out]), float(values[-1 - left_out])


def p_signed_rank(effects: Sequence[float]) -> float:
    """Of the hypothesis that groups' effects lie symmetrically about 0: the signed-rank test
    (Wilcoxon, 1945; zeros as Pratt, 1959, has them); NaN of one group. One enormous effect is one
    rank."""
    return _signed_rank(np.asarray(effects, float), "two-sided")


def p_within(effects: Sequence[float], margin: float) -> float:
    """Of the hypothesis that they lie about a margin or more from 0: the larger p of two one-sided
    signed-rank tests; NaN of one group."""
    values = np.asarray(effects, float)
    sides = (values - margin, "less"), (values + margin, "greater")
    return max(_signed_rank(shifted, side) for shifted, side in sides)


def _signed_rank(values: np.ndarray, alternative: str) -> float:
    if len(values) < 2:
        return math.nan
    if not values.any():
        return 1.0
    return float(stats.wilcoxon(values, zero_method="pratt", alternative=alternative).pvalue)


def center(effects: Sequence[float]) -> float:
    """What the signed-rank test is about: the median of the means of all pairs of effects, each
    with itself too (Hodges and Lehmann, 1963)."""
    values = np.asarray(effects, float)
    one, other = np.triu_indices(len(values))
    return float(np.median((values[one] + values[other]) / 2))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values adjusted for their number by Holm (1979); NaN counts for none, and stays."""
    given = np.asarray(p_values, float)
    adjusted = np.full(given.shape, math.nan)
    order = np.argsort(given)[: np.isfinite(given).sum()]
    stepped = given[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted


def detectable(between: float, within: float, groups: int, tests: int = 1) -> float:
    """The smallest true mean effect that is told from 0 in POWER of all studies, by t; where groups
    are normally distributed, the signed-rank test needs a twentieth more of them.

    Args:
      between: standard deviation of the groups' true effects.
      within: standard error of a group's effect.
      groups: how many there are, at least two.
      tests: how many are made: it must pass the strictest step of `holm`.
    """
    error = math.hypot(between, within) / math.sqrt(groups)
    degrees = groups - 1
    critical = stats.t.isf(SIGNIFICANT / tests / 2, degrees)

    def lacking(effect: float) -> float:
        return float(stats.nct.sf(critical, degrees, effect)) - POWER

    return error * float(optimize.brentq(lacking, 0.0, 10 * critical))


def least_margin(between: float, within: float, groups: int, tests: int = 1) -> float:
    """The smallest margin within which an effect of 0 is shown to lie in POWER of all studies;
    arguments as in `detectable`."""
    error = math.hypot(between, within) / math.sqrt(groups)
    degrees = groups - 1
    critical = stats.t.isf(SIGNIFICANT / tests, degrees)
    shares = (np.arange(STEPS) + 0.5) / STEPS
    found = np.sqrt(stats.chi2.ppf(shares, degrees) / degrees)  # the error as it is estimated

    def lacking(margin: float) -> float:
        inside = np.maximum(margin - critical * found, 0)
        return float(np.mean(2 * stats.norm.cdf(inside) - 1)) - POWER

    return error * float(optimize.brentq(lacking, 0.0, 10 * critical))
