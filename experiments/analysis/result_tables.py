"""A study's results as tables, each number once."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from experiments.analysis import statistics
from experiments.analysis.statistics import Estimate, Spread
from experiments.analysis.study import Study
from experiments.analysis.tables import (
    GUARANTEE,
    VIOLATION,
    Column,
    Entries,
    Table,
    by_backbone,
    by_strategy,
    slug,
)
from experiments.training.baselines import BASELINES
from experiments.training.strategies import holds

SEEDS_ALONE = (
    "In brackets: 95 % interval of the mean over seeds. It leaves out the sampling of the data."
)
MSE, R2, CODE_RELIANCE = Column("mse"), Column("r2"), Column("code_reliance")
RAW_RELIANCE = Column("raw_code_reliance", "code reliance of raw")
METRICS = (
    MSE,
    R2,
    VIOLATION,
    Column("violation_mean", "mean excess"),
    Column("gradient_dead_fraction", "dead", percent=True),
    Column("blocked_fraction", "blocked", percent=True),
    Column("gradient_vanishing_fraction", "vanishing", percent=True),
    CODE_RELIANCE,
)


def every(study: Study) -> Iterator[Table]:
    for dataset in study.datasets("autoencoder"):
        yield collapse(study, dataset)
    for dataset in study.datasets("wrong_bound"):
        yield wrong_bound(study, dataset)
    for dataset in study.every_dataset:
        if _bounds_sum(study, dataset):
            yield sums(study, dataset)
        for backbone in study.backbones:
            yield metrics(study, dataset, backbone)


def metrics(study: Study, dataset: str, backbone: str) -> Table:
    """Every strategy's metrics on test."""
    marked = [f"{name} ({of})" for name, of in study.filled.get(dataset, {}).items()]
    note = f"Bounded by constants, the training range: {', '.join(marked)}."
    found = study.measured(dataset, backbone)
    own = sorted({metric for of in found.values() for metric in of if ":" in metric})
    columns = (*METRICS, *map(Column, own))
    return by_strategy(
        f"metrics-{slug(dataset)}-{slug(backbone)}",
        "datasets-each",
        f"{study.named(dataset)}, {backbone}: test split",
        found,
        {
            GUARANTEE: {name: holds(name) for name in found},
            **{column: _metric(study, dataset, column.key)(backbone) for column in columns},
            Column("seeds"): {
                name: max(s.count for s in of.values()) for name, of in found.items()
            },
        },
        notes=(SEEDS_ALONE, note) if marked else (SEEDS_ALONE,),
        dataset=dataset,
    )


def collapse(study: Study, dataset: str) -> Table:
    """Of an autoencoder: what is reconstructed, and what of it hangs on the code."""
    metric = partial(_metric, study, dataset)
    columns = {column: metric(column.key) for column in (R2, CODE_RELIANCE, RAW_RELIANCE)}
    if not any(map(columns[RAW_RELIANCE], study.backbones)):  # before metrics of version 2
        del columns[RAW_RELIANCE]
    note = (
        "Code reliance: the r2 that is lost when windows are decoded from each other's codes, "
        "clipped to [0, 1]; 0 is collapse. The conditioned decoder sees the input at every step, "
        "and needs no code."
    )
    return _table("collapse", "collapse", "the target is the bound", study, dataset, columns, note)


def wrong_bound(study: Study, dataset: str) -> Table:
    """Of a dataset whose bound fails: what holding it costs."""
    metric = partial(_metric, study, dataset)
    columns = {
        MSE: metric("mse"),
        Column("ratio", "mse, times that of unconstrained"): partial(_ratios, study, dataset),
        VIOLATION: metric("violation_rate"),
    }
    note = (
        "Violation is of the bound as it is given: where that is wrong, breaking it may be right. "
        "The ratio is of mean errors over the seeds that both have, its interval by a bootstrap of "
        "them."
    )
    said = "the bound is wrong for some targets"
    return _table("wrong_bound", "wrong", said, study, dataset, columns, note)


def sums(study: Study, dataset: str) -> Table:
    """Of a dataset that bounds its features' sum: who holds that, and what it costs."""
    metric = partial(_metric, study, dataset)
    outside = Column("sum_violation", "sum outside by 0.0001", percent=True)
    columns = {
        R2: metric("r2"),
        outside: metric("sum_violation_rate_1e-4"),
        Column("sum_farthest", "farthest"): metric("sum_violation_max"),
        Column("jacobian_rank", "Jacobian rank"): metric("jacobian_rank_fraction"),
    }
    notes = (
        "Sum outside: share of steps whose sum is outside its bound by more than 0.0001. "
        "Farthest: by how much at most. Both in scaled units.",
        "Jacobian rank: of the derivative of a step's outputs to its raw, as a share of full rank. "
        "Where the sum is fixed, one raw of a step is redundant: the rank is short by it, and dead "
        "and blocked count it (for `budget_sequential` always the last).",
    )
    return _table("sums", "sums", "the features' sum is bounded", study, dataset, columns, *notes)


def _table(
    name: str,
    section: str,
    said: str,
    study: Study,
    dataset: str,
    columns: Mapping[Column, Callable[[str], Entries]],
    *notes: str,
) -> Table:
    """A row for each strategy with numbers on a dataset, a column for each backbone."""
    there = {one for of in study.backbones for one in study.measured(dataset, of)}
    found = [one for one in study.strategies if one in there]
    of_each = by_backbone(study.backbones, columns)
    if section != "sums":  # a guarantee is of each entry
        of_each = {GUARANTEE: {one: holds(one) for one in found}, **of_each}
    notes, caption = (*notes, SEEDS_ALONE), f"{study.named(dataset)}: {said}"
    return by_strategy(f"{name}-{slug(dataset)}", section, caption, found, of_each, notes=notes)


def _bounds_sum(study: Study, dataset: str) -> bool:
    here = (metrics for (name, *_), metrics in study.spreads.items() if name == dataset)
    found = (metrics.get("sum_violation_max") for metrics in here)
    return any(spread and math.isfinite(spread.mean) for spread in found)


def _metric(study: Study, dataset: str, metric: str) -> Callable[[str], Entries]:
    """On each backbone, means with their intervals, as far as the metric can go."""
    least = -math.inf if metric == "r2" else 0.0
    most = math.inf if metric in ("mse", "violation_mean", "sum_violation_max") else 1.0

    def estimate(spread: Spread) -> Estimate:
        low, high = spread.interval
        return Estimate(spread.mean, max(low, least), min(high, most))

    return lambda backbone: {
        name: estimate(found[metric])
        for name, found in study.measured(dataset, backbone).items()
        if metric in found
    }


def _ratios(study: Study, dataset: str, backbone: str) -> Entries:
    """Of mean errors on test, each to that of `unconstrained`."""
    free = study.by_seed(dataset, backbone, "unconstrained", "mse")
    found = {}
    for name in study.strategies:
        error = study.by_seed(dataset, backbone, name, "mse")
        if name in BASELINES:
            error = {seed: value for seed in free for value in error.values()}  # the same for all
        found[name] = statistics.ratio(error, free)
    return found
