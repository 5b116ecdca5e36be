"""Which constant fits targets best: a share of their bound, a level, or a distance from the bound.

Each is what a family of constraints gives for a constant raw: the intervals a share, the clips a
level, the offsets a distance. So the one that fits before anything is trained is a guess at the
family to train with.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

KINDS = ("level", "share", "distance")  # of two that fit alike the first is taken
TIE = 1e-9  # of the worst error: less is rounding
Line = tuple[np.ndarray, np.ndarray]


class Fit(NamedTuple):
    """Of one kind."""

    constants: np.ndarray  # (F,); NaN for a feature that has none
    error: float  # mean squared error, of all features; NaN where the kind does not exist


def fitted(
    targets: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> dict[str, Fit]:
    """The best constant of each kind, by least squares, one a feature.

    - share: `lower + a (upper - lower)`; of one side `a bound`, which exists where that bound has
      one sign in each feature.
    - level: `c`.
    - distance: `upper - d`; without an upper bound `lower + d`.

    What they give is not clipped. All are fitted to the same entries: those that count, are known,
    and have every side that some such entry has.

    Args:
      targets: (..., F); NaN where missing.
      lower: lower bound, broadcastable to targets; None, or NaN or infinite, where there is none.
      upper: the upper bound, the same.
      where: which targets count, boolean, broadcastable to targets; None: all.

    Example:
      >>> upper = np.array([[2.0], [4.0], [8.0]])
      >>> share = fitted(upper / 2, upper=upper)["share"]
      >>> print(share.constants, share.error)
      [0.5] 0.0
    """
    targets = np.asarray(targets, np.float64)
    known = np.isfinite(targets) & (True if where is None else np.asarray(where))
    given = {"lower": lower, "upper": upper}
    bounds = {
        side: np.broadcast_to(np.asarray(bound, np.float64), targets.shape)
        for side, bound in given.items()
        if bound is not None
    }
    bounds = {side: of for side, of in bounds.items() if (np.isfinite(of) & known).any()}
    counts = np.logical_and.reduce([known, *map(np.isfinite, bounds.values())])
    bounds = {side: np.where(counts, of, 0) for side, of in bounds.items()}
    lines = _lines(bounds, counts.astype(np.float64))
    targets = np.where(counts, targets, 0)
    return {kind: _fit(targets, lines.get(kind), counts) for kind in KINDS}


def _lines(bounds: Mapping[str, np.ndarray], one: np.ndarray) -> dict[str, Line]:
    """Of each kind that there is what it gives: an array, plus a constant times another."""
    found = {"level": (np.zeros_like(one), one)}
    lower, upper = (bounds.get(side) for side in ("lower", "upper"))
    if upper is not None:
        found["distance"] = upper, -one
    elif lower is not None:
        found["distance"] = lower, one
    if lower is not None and upper is not None:
        found["share"] = lower, upper - lower
    elif bounds:
        (bound,) = bounds.values()
        if has_one_sign(bound):
            found["share"] = np.zeros_like(one), bound
    return found


def has_one_sign(bound: np.ndarray) -> bool:
    """Whether a bound, (..., F), is nowhere negative or nowhere positive, feature by feature."""
    axes = tuple(range(bound.ndim - 1))
    return not ((bound < 0).any(axes) & (bound > 0).any(axes)).any()


def _fit(targets: np.ndarray, line: Line | None, counts: np.ndarray) -> Fit:
    if line is None or not counts.any():
        return Fit(np.full(targets.shape[-1], np.nan), np.nan)
    base, span = line
    axes = tuple(range(targets.ndim - 1))
    power = (span**2).sum(axes)
    constants = ((targets - base) * span).sum(axes) / np.where(power == 0, 1, power)
    error = ((targets - base - constants * span) ** 2).sum() / counts.sum()
    return Fit(np.where(power == 0, np.nan, constants), float(error))


def fits(
    targets: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> dict[str, float]:
    """The mean squared error of each kind, as `fitted` has it; NaN for one that does not exist.

    Example:
      >>> fits(np.array([[1.0], [2.0]]), upper=np.array([[-2.0], [4.0]]))
      {'level': 0.25, 'share': nan, 'distance': 6.25}
    """
    return {kind: fit.error for kind, fit in fitted(targets, lower, upper, where).items()}


def rule(errors: Mapping[str, float]) -> str | None:
    """The kind that fits best, of what `fits` gives; None where none exists. A level, unless
    another fits better by more than rounding.

    Example:
      >>> rule({"level": 0.25, "share": 0.125, "distance": np.nan})
      'share'
    """
    known = {kind: error for kind, error in errors.items() if not np.isnan(error)}
    if not known:
        return None
    most = min(known.values()) + TIE * max(known.values())
    return next(kind for kind in KINDS if kind in known and known[kind] <= most)
