"""A sweep as it is read: who is ranked and where each stands, by backbone; what is missing.

Study datasets are ranked. Autoencoders, which show collapse, and datasets whose bound is wrong
or whose features' sum is known are shown apart; roles are never pooled.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from experiments import statistics
from experiments.baselines import BASELINES
from experiments.catalogue import DATASETS, ROLES
from experiments.choices import in_order
from experiments.statistics import REFERENCE, Comparison, Estimate, Scores, Spread
from experiments.store import Record
from experiments.strategies import COUPLED, EVERY_STRATEGY, TRAINED
from experiments.training import BACKBONES

SHARES = ("violation_rate", "blocked_fraction")
ANCHORS = ("unconstrained", "clip")  # with no full set of seeds of these, a dataset is not ranked
SEED = 0  # of every bootstrap


@dataclass(frozen=True)
class Ranking:
    """Of strategies over groups of study datasets, on one backbone."""

    scores: Scores
    draws: np.ndarray  # of the mean skills, by bootstrap: (resamples, strategies)
    skill: dict[str, Estimate]  # mean over runs
    middle: dict[str, Estimate]  # interquartile mean of the same
    apart: Scores  # of every dataset as a group of its own
    failing: dict[str, float]  # share of runs on a dataset with no skill; of those trained
    with_skill: dict[str, float]  # mean skill of the others
    improvement: dict[str, float]  # probability of, against `clip`
    rank: dict[str, float]  # averaged over groups
    shares: dict[str, dict[str, float]]  # each of SHARES, mean over groups
    comparisons: dict[str, Comparison]  # those planned
    friedman: float  # p that those trained do not differ; NaN for fewer than three, or one group

    @property
    def seeds(self) -> int:
        return self.scores.values.shape[1]

    def difference(self, one: str, other: str) -> Estimate:
        """Of two mean skills; of one seed, without an interval."""
        value = self.skill[one].value - self.skill[other].value
        if self.seeds < 2:
            return Estimate(value)
        first, second = (self.scores.strategies.index(name) for name in (one, other))
        draws = self.draws[:, first] - self.draws[:, second]
        return Estimate(value, *map(float, statistics.interval(draws, self.seeds)))


@dataclass(frozen=True)
class Study:
    """A sweep's records, and what they add up to."""

    manifest: Mapping[str, Any]  # empty where there is none
    records: Sequence[Record]
    rows: Sequence[statistics.Row]  # of `summary.csv`
    spreads: Mapping[tuple[str, str, str], dict[str, Spread]]  # (dataset, backbone, strategy)
    roles: Mapping[str, str]  # of each dataset
    rankings: Mapping[str, Ranking]  # by backbone; none where nothing can be ranked
    left_out: tuple[str, ...]  # of the rankings, each with its reason
    missing: Mapping[str, int]  # planned final cells without a record, by dataset

    @cached_property
    def backbones(self) -> list[str]:
        """Those that a final cell is of."""
        return in_order({r["config"]["backbone"] for r in finals(self)} - {"none"}, BACKBONES)

    @cached_property
    def tuned(self) -> bool:
        """Whether anything was."""
        return any(record["config"]["phase"] == "tune" for record in self.records)

    @cached_property
    def strategies(self) -> list[str]:
        """All that a final cell is of, baselines too."""
        return in_order({r["config"]["strategy"]["name"] for r in finals(self)}, EVERY_STRATEGY)

    def datasets(self, role: str) -> list[str]:
        """Those of a role that a final cell is of."""
        names = {record["config"]["dataset"]["name"] for record in finals(self)}
        return in_order({name for name in names if self.roles[name] == role}, DATASETS)

    @cached_property
    def every_dataset(self) -> list[str]:
        """By role."""
        return [name for role in ROLES for name in self.datasets(role)]

    def spread(self, dataset: str, backbone: str, strategy: str, metric: str) -> Spread | None:
        """A metric over final seeds; a baseline's is the same on every backbone."""
        where = "none" if strategy in BASELINES else backbone
        return self.spreads.get((dataset, where, strategy), {}).get(metric)

    @cached_property
    def _runs(self) -> dict[tuple[str, str, str], dict[int, Mapping[str, Any]]]:
        """Metrics of final cells, by (dataset, backbone, strategy) and seed."""
        found: dict[tuple[str, str, str], dict[int, Mapping[str, Any]]] = {}
        for config, metrics in ((r["config"], r["metrics"]) for r in finals(self)):
            place = config["dataset"]["name"], config["backbone"], config["strategy"]["name"]
            found.setdefault(place, {})[config["seed"]] = metrics
        return found

    def _values(self, dataset: str, backbone: str, strategy: str, metric: str) -> dict[int, float]:
        """A metric by final seed; a baseline's is the same for all."""
        if strategy in BASELINES:
            once = self.mean(dataset, backbone, strategy, metric)
            return {seed: once for runs in self._runs.values() for seed in runs}
        runs = self._runs.get((dataset, backbone, strategy), {})
        return {seed: of[metric] for seed, of in runs.items() if of.get(metric) is not None}

    def paired(
        self, dataset: str, backbone: str, strategies: Iterable[str], metric: str
    ) -> np.ndarray:
        """A metric of the seeds that every strategy has it for: (strategies, seeds)."""
        found = [self._values(dataset, backbone, name, metric) for name in strategies]
        seeds = sorted(set.intersection(*map(set, found)))
        return np.array([[values[seed] for seed in seeds] for values in found])

    def mean(self, dataset: str, backbone: str, strategy: str, metric: str) -> float:
        """Over final seeds; NaN where there is none."""
        found = self.spread(dataset, backbone, strategy, metric)
        return found.mean if found else math.nan

    def mean_of_all(self, dataset: str, backbone: str, strategy: str, metric: str) -> float:
        """Over final seeds; NaN where a seed that others have there is missing or failed."""
        seeds = {
            seed
            for place, runs in self._runs.items()
            if place[:2] == (dataset, backbone)
            for seed in runs
        }
        known = self._values(dataset, backbone, strategy, metric).keys()
        return self.mean(dataset, backbone, strategy, metric) if seeds <= known else math.nan


def guarantee(strategy: str) -> str:
    """What a strategy promises about the dataset's bounds; of a baseline, that it is one."""
    if strategy in BASELINES:
        return "untrained"
    rows = TRAINED | COUPLED
    return rows[strategy].guarantee if strategy in rows else "not stated"


def holds(strategy: str) -> str:
    """The same for a reader, who must know when it is of one side alone."""
    said, row = guarantee(strategy), (TRAINED | COUPLED).get(strategy)
    partly = row is not None and said != "never" and (row.one_side or len(row.sides) == 1)
    return said + " (one side)" * partly


def finals(study: Study) -> list[Record]:
    """Records of the final phase, failed ones too."""
    return [record for record in study.records if record["config"]["phase"] == "final"]


def read(manifest: Mapping[str, Any], records: Sequence[Record]) -> Study:
    """Put a folder's manifest and records together.

    A dataset that the manifest does not know has the role and group of the catalogue; one that is
    in neither is a study dataset and a group of its own.
    """
    rows = statistics.summary(records)
    spreads = statistics.over_seeds(rows)
    roles, groups = described(manifest, records)
    ranks = ranked(manifest, records)
    backbones = {r["config"]["backbone"] for r in records if r["config"]["phase"] == "final"}
    unfinished = {name for name in groups if roles[name] == "study"} - ranks.keys()
    rankings, left_out = {}, [f"{name}: incomplete" for name in in_order(unfinished, DATASETS)]
    for backbone in in_order(backbones - {"none"}, BACKBONES):
        ranking, reasons = _rank(records, backbone, ranks, spreads)
        left_out += [f"{reason} ({backbone})" for reason in reasons]
        if ranking:
            rankings[backbone] = ranking
    missing = _missing(manifest, records)
    return Study(manifest, records, rows, spreads, roles, rankings, tuple(left_out), missing)


def described(
    manifest: Mapping[str, Any], records: Iterable[Record]
) -> tuple[dict[str, str], dict[str, str]]:
    """Role and group of each dataset that a record is of: the manifest's, else the catalogue's."""
    roles, groups = {}, {}
    for name in dict.fromkeys(record["config"]["dataset"]["name"] for record in records):
        found, entry = manifest.get("datasets", {}).get(name, {}), DATASETS.get(name)
        role = found.get("role") or (entry.role if entry else "study")
        roles[name] = role if role in ROLES else "study"
        groups[name] = found.get("group") or (entry.group if entry else name)
    return roles, groups


def ranked(manifest: Mapping[str, Any], records: Sequence[Record]) -> dict[str, str]:
    """The group of each study dataset that the plan has finished; of every one if it has none."""
    roles, groups = described(manifest, records)
    found = {name: group for name, group in groups.items() if roles[name] == "study"}
    missing = _missing(manifest, records)
    return {name: group for name, group in found.items() if name not in missing} or found


def _missing(manifest: Mapping[str, Any], records: Iterable[Record]) -> dict[str, int]:
    """Final cells of every sitting's plan that have no record, by dataset."""
    plans = [sitting["plan"] for sitting in manifest.get("sittings", ()) if "plan" in sitting]
    planned = {cell for plan in plans or [manifest.get("plan", {})] for cell in _planned(plan)}
    there = {
        (config["dataset"]["name"], config["strategy"]["name"], config["backbone"], config["seed"])
        for config in (record["config"] for record in records)
        if config["phase"] == "final"
    }
    found = Counter(dataset for dataset, *_ in planned - there)
    return {name: found[name] for name in in_order(found, DATASETS)}


def _planned(plan: Mapping[str, Any]) -> Iterator[tuple[str, str, str, int]]:
    """Dataset, strategy, backbone and seed of a plan's final cells."""
    datasets = [Path(name).name for name in plan.get("datasets", ())]
    strategies, backbones = plan.get("strategies", ()), plan.get("backbones", ())
    for dataset, strategy in product(datasets, strategies):
        if strategy in BASELINES:
            yield dataset, strategy, "none", 0
            continue
        for backbone, seed in product(backbones, range(plan.get("seeds", 0))):
            yield dataset, strategy, backbone, seed


def skills(records: Iterable[Record], backbone: str, groups: Mapping[str, str]) -> Scores:
    """Scores on a backbone of those that are ranked: of all but the strategies for a sum, which
    few datasets bound."""
    ranked = (r for r in records if r["config"]["strategy"]["name"] not in COUPLED)
    return statistics.skills(ranked, backbone, groups)


def _estimates(
    scores: Scores, statistic: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, dict[str, Estimate]]:
    """A statistic's bootstrap draws, and its value by strategy with its interval, which untrained
    baselines and single seeds have none of."""
    draws = statistics.resampled(scores.values, statistic, np.random.default_rng(SEED))
    seeds = scores.values.shape[1]
    ends = statistics.interval(draws, seeds)
    found = zip(scores.strategies, statistic(scores.values), *ends, strict=True)
    return draws, {
        name: Estimate(*map(float, numbers[: 1 if name in BASELINES or seeds < 2 else 3]))
        for name, *numbers in found
    }


def _rank(
    records: Sequence[Record],
    backbone: str,
    groups: Mapping[str, str],
    spreads: Mapping[tuple[str, str, str], dict[str, Spread]],
) -> tuple[Ranking | None, list[str]]:
    """The ranking on a backbone, if any, and what is not in it."""
    counts = _count(records, backbone)
    whole, reasons = _whole(counts, backbone, groups, spreads)
    scores = skills(records, backbone, whole)
    trained = {name for name, of in counts if of in groups} - COUPLED.keys()
    for name in in_order(trained - set(scores.strategies), EVERY_STRATEGY) if whole else []:
        reasons.append(f"{name}: not every seed on every dataset")
    if not set(ANCHORS) <= set(scores.strategies):
        return None, reasons
    draws, skill = _estimates(scores, statistics.mean)
    _, middle = _estimates(scores, statistics.interquartile_mean)
    names, clip = scores.strategies, scores.of("clip")
    apart = skills(records, backbone, {name: name for name in whole})
    failing = _over_groups(apart, (apart.values <= 0).mean(axis=1), whole)
    ranking = Ranking(
        scores,
        draws,
        skill,
        middle,
        apart,
        {name: share for name, share in failing.items() if name not in BASELINES},
        _over_groups(apart, statistics.mean_with_skill(apart.values), whole),
        {name: statistics.probability_of_improvement(scores.of(name), clip) for name in names},
        dict(zip(names, statistics.average_rank(scores.values).tolist(), strict=True)),
        {name: _shares(name, backbone, whole, spreads) for name in names},
        {found.strategy: found for found in statistics.planned_comparisons(scores)},
        _friedman(scores),
    )
    return ranking, reasons


def _over_groups(apart: Scores, values: np.ndarray, groups: Mapping[str, str]) -> dict[str, float]:
    """Of (strategies, datasets), each strategy's mean over groups, each the mean over its
    datasets."""
    kinds = np.array([groups[name] for name in apart.groups])
    means = [values[:, kinds == kind].mean(axis=1) for kind in np.unique(kinds)]
    return dict(zip(apart.strategies, np.mean(means, axis=0).tolist(), strict=True))


def _count(records: Sequence[Record], backbone: str) -> dict[tuple[str, str], int]:
    """Final seeds of each strategy and dataset on a backbone, or on none."""
    seeds = {
        (config["strategy"]["name"], config["dataset"]["name"], config["seed"])
        for config in (record["config"] for record in records)
        if config["phase"] == "final" and config["backbone"] in (backbone, "none")
    }
    return Counter((strategy, dataset) for strategy, dataset, _ in seeds)


def _whole(
    counts: Mapping[tuple[str, str], int],
    backbone: str,
    groups: Mapping[str, str],
    spreads: Mapping[tuple[str, str, str], dict[str, Spread]],
) -> tuple[dict[str, str], list[str]]:
    """The groups of the datasets that can be ranked, and why the others cannot."""
    most = max((counts.get(("clip", name), 0) for name in groups), default=0)
    whole, reasons = {}, []
    for name in in_order(groups, DATASETS):
        reference = spreads.get((name, "none", REFERENCE), {}).get("mse")
        if any(counts.get((anchor, name), 0) < max(most, 1) for anchor in ANCHORS):
            reasons.append(f"{name}: {' and '.join(ANCHORS)} do not have every seed")
        elif reference is None or not reference.mean > 0:
            reasons.append(f"{name}: no error of {REFERENCE} to measure skill by")
        else:
            whole[name] = groups[name]
    return whole, reasons


def _shares(
    strategy: str,
    backbone: str,
    groups: Mapping[str, str],
    spreads: Mapping[tuple[str, str, str], dict[str, Spread]],
) -> dict[str, float]:
    """Means over groups, each the mean over its datasets; NaN where one has no value."""
    where = "none" if strategy in BASELINES else backbone

    def mean(metric: str, group: str) -> float:
        found = [
            spreads.get((name, where, strategy), {}).get(metric)
            for name, of in groups.items()
            if of == group
        ]
        return float(np.mean([spread.mean if spread else np.nan for spread in found]))

    kinds = sorted(set(groups.values()))
    return {metric: float(np.mean([mean(metric, kind) for kind in kinds])) for metric in SHARES}


def _friedman(scores: Scores) -> float:
    trained = [name not in BASELINES for name in scores.strategies]
    if sum(trained) < 3 or len(scores.groups) < 2:
        return np.nan
    with np.errstate(invalid="ignore"):  # every strategy the same
        return statistics.friedman(scores.values[trained])
