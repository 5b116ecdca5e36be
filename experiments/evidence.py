"""A study's results as tables, each number once."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from experiments import statistics
from experiments.protocol import (
    GUARANTEE,
    STRATEGY,
    chosen,
    datasets,
    failed,
    settings,
    sittings,
    strategies,
)
from experiments.standing import (
    against_clip,
    by_backbone,
    comparisons,
    headline,
    skills,
    without_skill,
)
from experiments.statistics import Estimate, Spread
from experiments.store import Record
from experiments.study import SEED, Study, holds
from experiments.tables import Column, Entry, Table, slug

SEEDS_ALONE = (
    "In brackets: 95 % interval of the mean over seeds. It leaves out the sampling of the data."
)
METRICS = (
    Column("mse", "mse"),
    Column("r2", "r2"),
    Column("violation_rate", "violation", percent=True),
    Column("violation_mean", "mean excess"),
    Column("gradient_dead_fraction", "dead", percent=True),
    Column("blocked_fraction", "blocked", percent=True),
    Column("gradient_vanishing_fraction", "vanishing", percent=True),
    Column("code_reliance", "code reliance"),
)


@dataclass(frozen=True)
class Evidence:
    """Every table of a study."""

    headline: Table
    skills: dict[str, Table]  # by backbone
    without_skill: Table
    against_clip: Table
    comparisons: Table
    metrics: dict[str, list[Table]]  # by dataset
    collapse: dict[str, Table]
    wrong_bound: dict[str, Table]
    sums: dict[str, Table]
    chosen: Table
    failed: Table
    strategies: Table
    datasets: Table
    settings: Table
    sittings: Table

    @property
    def tables(self) -> list[Table]:
        """Those that hold something."""
        found = [
            self.headline,
            *self.skills.values(),
            self.without_skill,
            self.against_clip,
            self.comparisons,
            *self.collapse.values(),
            *self.wrong_bound.values(),
            *self.sums.values(),
            *(table for tables in self.metrics.values() for table in tables),
            self.chosen,
            self.failed,
            self.strategies,
            self.datasets,
            self.settings,
            self.sittings,
        ]
        return [table for table in found if table.rows]


def gather(study: Study) -> Evidence:
    return Evidence(
        headline(study),
        skills(study),
        without_skill(study),
        against_clip(study),
        comparisons(study),
        metrics(study),
        collapse(study),
        wrong_bound(study),
        sums(study),
        chosen(study),
        failed(study),
        strategies(study),
        datasets(study),
        settings(study),
        sittings(study),
    )


def metrics(study: Study) -> dict[str, list[Table]]:
    """By dataset, a table a backbone: every strategy's metrics on test."""
    constants = constant_bounds(study.records)
    result: dict[str, list[Table]] = {}
    for dataset in study.every_dataset:
        marked = [f"{name} ({sides})" for (of, name), sides in constants.items() if of == dataset]
        notes = [f"Bounded by constants, the training range: {', '.join(marked)}."]
        result[dataset] = [
            Table(
                f"metrics-{slug(dataset)}-{backbone}",
                f"{dataset}, {backbone}: test split",
                (STRATEGY, GUARANTEE, *METRICS, Column("seeds", "seeds")),
                tuple(_metrics_rows(study, dataset, backbone)),
                notes=(SEEDS_ALONE, *(notes if marked else [])),
            )
            for backbone in study.backbones
        ]
    return result


def _metrics_rows(study: Study, dataset: str, backbone: str) -> Iterable[tuple[Entry, ...]]:
    for name in study.strategies:
        found = [study.spread(dataset, backbone, name, column.key) for column in METRICS]
        if any(found):
            seeds = max(spread.count for spread in found if spread)
            values = [_estimate(s, column.key) for s, column in zip(found, METRICS, strict=True)]
            yield (name, holds(name), *values, seeds)


def constant_bounds(records: Iterable[Record]) -> dict[tuple[str, str], str]:
    """The sides filled from the training range, by (dataset, strategy)."""
    found = {}
    for record in records:
        strategy, dataset = record["config"]["strategy"], record["config"]["dataset"]["name"]
        bounds = strategy.get("bounds", {})
        sides = [side for side, of in bounds.items() if of == "training range"]
        if sides:
            found[dataset, strategy["name"]] = " and ".join(sides)
    return {key: found[key] for key in sorted(found)}


def collapse(study: Study) -> dict[str, Table]:
    """A table an autoencoder dataset: what is reconstructed, and what of it hangs on the code."""
    return {
        dataset: Table(
            f"collapse-{slug(dataset)}",
            f"{dataset}: the target is the bound",
            (
                STRATEGY,
                GUARANTEE,
                *by_backbone("r2", "r2", study.backbones),
                *by_backbone("code_reliance", "code reliance", study.backbones),
            ),
            tuple(
                (
                    name,
                    holds(name),
                    *_on_backbones(study, dataset, name, "r2"),
                    *_on_backbones(study, dataset, name, "code_reliance"),
                )
                for name in _on(study, dataset)
            ),
            notes=(
                "Code reliance: the r2 that is lost when windows are decoded from each other's "
                "codes, clipped to [0, 1]; 0 is collapse, and 1 also a loss of more, for with "
                "another's code r2 may be below 0. The conditioned decoder sees the input at every "
                "step, and needs no code.",
                SEEDS_ALONE,
            ),
        )
        for dataset in study.datasets("autoencoder")
    }


def wrong_bound(study: Study) -> dict[str, Table]:
    """A table a dataset whose bound fails: what holding it costs."""
    return {
        dataset: Table(
            f"wrong_bound-{slug(dataset)}",
            f"{dataset}: the bound is wrong for some targets",
            (
                STRATEGY,
                GUARANTEE,
                *by_backbone("mse", "mse", study.backbones),
                *by_backbone("ratio", "mse, times that of unconstrained", study.backbones),
                *by_backbone("violation_rate", "violation", study.backbones, percent=True),
            ),
            tuple(
                (
                    name,
                    holds(name),
                    *_on_backbones(study, dataset, name, "mse"),
                    *(_ratio(study, dataset, backbone, name) for backbone in study.backbones),
                    *_on_backbones(study, dataset, name, "violation_rate"),
                )
                for name in _on(study, dataset)
            ),
            notes=(
                "Violation is of the bound as it is given: where that is wrong, breaking it may be "
                "right. The ratio is of mean errors over the seeds that both have, its interval by "
                "a bootstrap of them.",
                SEEDS_ALONE,
            ),
        )
        for dataset in study.datasets("wrong_bound")
    }


def sums(study: Study) -> dict[str, Table]:
    """A table a dataset that bounds its features' sum: who holds that, and what it costs."""
    return {
        dataset: Table(
            f"sums-{slug(dataset)}",
            f"{dataset}: the features' sum is bounded",
            (
                STRATEGY,
                *by_backbone("r2", "r2", study.backbones),
                *by_backbone(
                    "sum_violation", "sum outside by 0.0001", study.backbones, percent=True
                ),
                *by_backbone("sum_farthest", "farthest", study.backbones),
                *by_backbone("jacobian_rank", "Jacobian rank", study.backbones),
            ),
            tuple(
                (
                    name,
                    *_on_backbones(study, dataset, name, "r2"),
                    *_on_backbones(study, dataset, name, "sum_violation_rate_1e-4"),
                    *_on_backbones(study, dataset, name, "sum_violation_max"),
                    *_on_backbones(study, dataset, name, "jacobian_rank_fraction"),
                )
                for name in _on(study, dataset)
            ),
            notes=(
                "Sum outside: share of steps at which the features' sum is outside its bound by "
                "more than 0.0001; farthest: by how much at most; both in scaled units. "
                "Jacobian rank: of the derivative of a step's outputs to its raw, as a share of "
                "full rank.",
                "Where the sum is fixed, one raw of a step is redundant: dead and blocked, which "
                "are of entries, count it (the last one of `budget_sequential` always), and the "
                "rank is short of full by it.",
                SEEDS_ALONE,
            ),
        )
        for dataset in study.every_dataset
        if _bounds_sum(study, dataset)
    }


def _bounds_sum(study: Study, dataset: str) -> bool:
    found = (
        spreads["sum_violation_max"].mean
        for (of, *_), spreads in study.spreads.items()
        if of == dataset and "sum_violation_max" in spreads
    )
    return any(math.isfinite(value) for value in found)


def _on(study: Study, dataset: str) -> list[str]:
    """The strategies with numbers on a dataset."""
    there = {strategy for of, _, strategy in study.spreads if of == dataset}
    return [name for name in study.strategies if name in there]


def _on_backbones(study: Study, dataset: str, strategy: str, metric: str) -> list[Entry]:
    found = [study.spread(dataset, of, strategy, metric) for of in study.backbones]
    return [_estimate(spread, metric) for spread in found]


def _ratio(study: Study, dataset: str, backbone: str, strategy: str) -> Estimate | None:
    """Of two mean errors on test; to itself, and of one seed, without an interval."""
    both = study.paired(dataset, backbone, (strategy, "unconstrained"), "mse")
    if not both.size or not both[1].mean() > 0:
        return None

    def ratio(values: np.ndarray) -> np.ndarray:
        one, other = np.moveaxis(values.mean(axis=(-2, -1)), -1, 0)
        return one / other

    value = float(ratio(both[..., None]))
    if strategy == "unconstrained" or both.shape[1] < 2:
        return Estimate(value)
    ends = statistics.bootstrap(both[..., None], ratio, np.random.default_rng(SEED))
    return Estimate(value, *map(float, ends))


def _estimate(spread: Spread | None, metric: str) -> Estimate | None:
    """A mean with its interval, as far as the metric can go."""
    if spread is None:
        return None
    least = -math.inf if metric == "r2" else 0.0
    most = math.inf if metric in ("mse", "violation_mean", "sum_violation_max") else 1.0
    low, high = spread.interval
    return Estimate(spread.mean, max(low, least), min(high, most))
