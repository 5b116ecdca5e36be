"""Where a network starts: the same strategies begun in two ways, sweep against sweep."""

from dataclasses import dataclass

from experiments.analysis import planned
from experiments.analysis.columns import (
    ALIKE,
    BACKBONE,
    BETWEEN,
    CHANGE,
    GROUPS,
    of_pooled,
    settled,
)
from experiments.analysis.effects import Effect, effect, never_starting, together
from experiments.analysis.pooling import Pooled
from experiments.analysis.study import Study
from experiments.analysis.tables import STRATEGY, Column, Table
from experiments.usage import UsageError


@dataclass(frozen=True)
class Begun:
    """A strategy on a backbone, begun one way and another, on the datasets that both have."""

    strategy: str
    backbone: str
    never: tuple[float, float]  # share of runs that never start
    pooled: Pooled  # log(error of the second way / of the first), over groups
    alike: Pooled  # the same with groups alike
    groups: int


def compare(first: Study, second: Study) -> list[Begun]:
    """By backbone and strategy, in the order of the first; seeds are paired.

    Raises:
      UsageError: if the two have no trained study cell in common.
    """
    found = []
    for backbone in first.backbones:
        for strategy in first.strategies:
            by_group: dict[str, list[Effect]] = {}
            shared = {}
            for dataset, group in first.groups.items():
                place = strategy, dataset, backbone
                there = effect(second.runs.get(place, {}), first.runs.get(place, {}))
                if there:
                    by_group.setdefault(group, []).append(there)
                    shared[dataset] = group
            if by_group:
                effects = [together(of) for of in by_group.values()]
                shares = [
                    never_starting(study.runs, backbone, shared)[strategy]
                    for study in (first, second)
                ]
                found.append(
                    Begun(
                        strategy,
                        backbone,
                        (shares[0], shares[1]),
                        planned.pooled(effects),
                        planned.alike(effects),
                        len(effects),
                    )
                )
    if not found:
        raise UsageError(
            "The two sweeps have no finished run of the same strategy, study dataset, backbone and "
            "seed: run both with the same."
        )
    return found


def table(first: Study, second: Study) -> Table:
    """Every strategy as a row, to be kept."""
    columns = (
        STRATEGY,
        BACKBONE,
        Column("never_first", "never start, first", percent=True),
        Column("never_second", "never start, second", percent=True),
        CHANGE,
        ALIKE,
        BETWEEN,
        GROUPS,
    )
    rows = [
        (
            of.strategy,
            of.backbone,
            *map(settled, of.never),
            of_pooled(of.pooled),
            of_pooled(of.alike),
            settled(of.pooled.between),
            of.groups,
        )
        for of in compare(first, second)
    ]
    return Table("starts", "starts", "Two ways to start", columns, rows, keys=2)
