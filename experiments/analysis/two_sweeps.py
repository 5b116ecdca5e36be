"""Two sweeps side by side: where they differ, cell by cell of the same strategy, dataset and
backbone, and what they were run with."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from experiments.analysis import setup_tables, statistics
from experiments.analysis.statistics import Estimate
from experiments.analysis.study import Study
from experiments.analysis.tables import STRATEGY, Column, Entry, Table
from experiments.cells import UNTRAINED, Place
from experiments.data.catalogue import DATASETS
from experiments.training.backbones import BACKBONES
from experiments.training.strategies import EVERY_STRATEGY
from experiments.usage import UsageError, in_order

Seeds = Mapping[int, float]
SKILL, MSE = "skill", "mse"


@dataclass(frozen=True)
class Difference:
    """Of a strategy on a dataset and backbone, second sweep less first."""

    place: Place
    metric: str  # SKILL, or MSE where one of the sweeps has no skill
    means: tuple[float, float]  # over the seeds that both have, or each over its own if none
    change: Estimate  # of skill the difference; of mse, as a share of the first
    seeds: int  # that both have


@dataclass(frozen=True)
class Compared:
    """What two sweeps have in common, and what not."""

    differences: tuple[Difference, ...]
    other_data: tuple[str, ...]  # datasets of both whose data are not the same
    alone: tuple[tuple[Place, ...], tuple[Place, ...]]  # what one of them has and the other lacks
    settings: Mapping[str, tuple[str, str]]  # those that differ
    failed: tuple[int, int]  # final cells


def compare(first: Study, second: Study) -> Compared:
    """Match the final cells of two sweeps by strategy, dataset and backbone, and by seed.

    Where the data are the same and two seeds or more are shared, a change has the interval of the
    paired difference over seeds: a seed gives both the same initial weights, if shapes are so.

    Raises:
      UsageError: if they have nothing in common.
    """
    mse = _by_seed(first, MSE), _by_seed(second, MSE)
    skill = _by_seed(first, SKILL), _by_seed(second, SKILL)
    there = mse[0].keys(), mse[1].keys()
    both = _in_order(there[0] & there[1])
    if not both:
        raise UsageError(
            "The two sweeps have no finished cell of the same strategy, dataset and backbone. "
            f"The first has {_said(there[0])}; the second has {_said(there[1])}."
        )
    hashes = _hashes(first), _hashes(second)
    datasets = {dataset for _, dataset, _ in both}
    changed = {name for name in datasets if hashes[0][name] != hashes[1][name]}
    with_skill = {name for name in datasets if all(_has(of, name) for of in skill)}

    def difference(place: Place) -> Difference:
        metric, of = (SKILL, skill) if place[1] in with_skill else (MSE, mse)
        return _difference(place, metric, of[0][place], of[1][place], place[1] not in changed)

    return Compared(
        tuple(map(difference, both)),
        tuple(in_order(changed, DATASETS)),
        (tuple(_in_order(there[0] - there[1])), tuple(_in_order(there[1] - there[0]))),
        _settings(first, second),
        (sum(first.failures.values()), sum(second.failures.values())),
    )


def _by_seed(study: Study, metric: str) -> dict[Place, dict[int, float]]:
    """A metric of final cells, where there is one."""
    found: dict[Place, dict[int, float]] = {}
    for row in study.rows:
        if row["phase"] == "final" and row["metric"] == metric and row["value"] is not None:
            place = row["strategy"], row["dataset"], row["backbone"]
            found.setdefault(place, {})[row["seed"]] = row["value"]
    return found


def _has(skills: Mapping[Place, Seeds], dataset: str) -> bool:
    return any(name == dataset for _, name, _ in skills)


def _difference(
    place: Place, metric: str, first: Seeds, second: Seeds, same_data: bool
) -> Difference:
    seeds = sorted(first.keys() & second.keys())
    shared = bool(seeds)
    one = {seed: first[seed] for seed in seeds} if shared else first
    other = {seed: second[seed] for seed in seeds} if shared else second
    means = statistics.spread([*one.values()]).mean, statistics.spread([*other.values()]).mean
    if metric == MSE:
        of_means = {0: means[1]}, {0: means[0]}
        ratio = statistics.ratio(*((other, one) if shared else of_means))
        change = ratio and Estimate(*(end - 1 for end in (ratio.value, ratio.low, ratio.high)))
    else:
        pairs = statistics.spread([other[seed] - one[seed] for seed in seeds])
        change = Estimate(means[1] - means[0], *(pairs.interval if len(seeds) > 1 else ()))
    change = change or Estimate(math.nan)
    if not (same_data and shared):
        change = Estimate(change.value)
    return Difference(place, metric, means, change, len(seeds))


def _hashes(study: Study) -> dict[str, set[str]]:
    """Of the data that final cells are of, by dataset."""
    found: dict[str, set[str]] = {}
    for record in study.finals:
        found.setdefault(record.cell.dataset, set()).add(record.cell.data_hash)
    return found


def _settings(first: Study, second: Study) -> dict[str, tuple[str, str]]:
    """What the pages of the two say of their settings, where it differs; empty: nothing."""
    one, other = (
        {str(name): str(value) for name, value in setup_tables.settings(study).rows}
        for study in (first, second)
    )
    every = dict.fromkeys([*one, *other])
    pairs = {name: (one.get(name, ""), other.get(name, "")) for name in every}
    return {name: (a, b) for name, (a, b) in pairs.items() if a != b}


def _in_order(places: Iterable[Place]) -> list[Place]:
    """By dataset, then backbone, then strategy."""
    places = set(places)
    strategies, datasets, backbones = (
        in_order({place[of] for place in places}, names)
        for of, names in enumerate((EVERY_STRATEGY, DATASETS, BACKBONES))
    )

    def key(place: Place) -> tuple[int, int, int]:
        strategy, dataset, backbone = place
        return datasets.index(dataset), backbones.index(backbone), strategies.index(strategy)

    return sorted(places, key=key)


def _said(places: Iterable[Place]) -> str:
    """What there is of each kind."""
    kinds = [in_order({place[of] for place in places} - {UNTRAINED}, ()) for of in range(3)]
    return " on ".join(", ".join(names) for names in kinds if names) or "none that is finished"


def table(found: Compared) -> Table:
    """Every difference as a row, to be kept."""
    rows: list[tuple[Entry, ...]] = [
        (*one.place, one.metric, *one.means, one.change, one.seeds, _is_same(found, one))
        for one in found.differences
    ]
    columns = ("dataset", "backbone", "metric", "first", "second", "change", "seeds", "same_data")
    return Table(
        "compared",
        "compared",
        "Two sweeps side by side",
        (STRATEGY, *map(Column, columns)),
        rows,
        keys=3,
    )


def _is_same(found: Compared, one: Difference) -> str:
    return "no" if one.place[1] in found.other_data else "yes"
