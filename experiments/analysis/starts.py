"""Where a network starts: the same strategies begun in two ways, sweep against sweep."""

from collections.abc import Mapping
from dataclasses import dataclass

from experiments.analysis import planned, pooling
from experiments.analysis.columns import (
    ALIKE,
    BACKBONE,
    BETWEEN,
    CENTER,
    CHANGE,
    GROUPS,
    SEEDS,
    of_pooled,
    percent_change,
    settled,
)
from experiments.analysis.effects import Effect, effect, never_starting, together
from experiments.analysis.study import Study
from experiments.analysis.tables import STRATEGY, Column, Entry, Table
from experiments.usage import UsageError


@dataclass(frozen=True)
class Begun:
    """A strategy on a backbone, begun one way and another, on the datasets that both have."""

    strategy: str
    backbone: str
    never: tuple[float, float]  # share of runs that never start
    effects: Mapping[str, Effect]  # log(error of the second way / of the first), by group

    @property
    def center(self) -> tuple[float, float, float]:
        """Of the groups' effects by rank, and the ends of its interval."""
        return pooling.center([found.value for found in self.effects.values()])


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
                shares = [
                    never_starting(study.runs, backbone, shared)[strategy]
                    for study in (first, second)
                ]
                found.append(
                    Begun(
                        strategy,
                        backbone,
                        (shares[0], shares[1]),
                        {group: together(of) for group, of in by_group.items()},
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
        CENTER,
        CHANGE,
        ALIKE,
        BETWEEN,
        GROUPS,
    )
    rows: list[tuple[Entry, ...]] = []
    for of in compare(first, second):
        pooled = planned.pooled(of.effects.values())
        rows.append(
            (
                of.strategy,
                of.backbone,
                *map(settled, of.never),
                percent_change(*of.center),
                of_pooled(pooled),
                of_pooled(planned.alike(of.effects.values())),
                settled(pooled.between),
                len(of.effects),
            )
        )
    return Table("starts", "starts", "Two ways to start", columns, rows, keys=2)


def by_group(first: Study, second: Study) -> Table:
    """What those are of."""
    rows = [
        (of.strategy, of.backbone, group, percent_change(one.value, *one.interval), one.seeds)
        for of in compare(first, second)
        for group, one in of.effects.items()
    ]
    columns = STRATEGY, BACKBONE, Column("group"), CHANGE, SEEDS
    caption = "Two ways to start, group by group"
    return Table("starts_by_group", "starts", caption, columns, rows, keys=3)
