"""Columns that several tables of relative errors share, and logarithms of ratios as they show."""

import math

from experiments.analysis.pooling import Pooled
from experiments.analysis.statistics import Estimate
from experiments.analysis.tables import Column

BACKBONE = Column("backbone")
CHANGE = Column("change", "error", percent=True, signed=True)
CENTER = Column("center", "error by rank", percent=True, signed=True)
ALIKE = Column("alike", "error, groups alike", percent=True, signed=True)
MIDDLE = Column("median", "median error", percent=True, signed=True)
STARTED = Column("started", "error where both start", percent=True, signed=True)
NEVER = Column("never_start", "runs that never start", percent=True)
BETWEEN = Column("between", "spread of groups")
OVER = Column("over", "interval over")
GROUPS, SEEDS = Column("groups"), Column("seeds")


def settled(value: float) -> float:
    """To ten digits: what follows depends on the processor, and a table must not."""
    return float(f"{value:.10g}")


def share_of(logarithm: float) -> float:
    """By what share an error differs; NaN where that is not known."""
    return math.inf if logarithm >= 700 else settled(math.expm1(logarithm))


def percent_change(value: float, low: float = math.nan, high: float = math.nan) -> Estimate:
    """The same of an estimate."""
    return Estimate(*map(share_of, (value, low, high)))


def of_pooled(found: Pooled) -> Estimate:
    return percent_change(found.mean, *found.interval)
