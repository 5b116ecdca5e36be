"""Where strategies stand over groups of study datasets, on one backbone."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from experiments.analysis import statistics
from experiments.analysis.statistics import REFERENCE, Estimate, Scores, Spreads
from experiments.cells import UNTRAINED, Record
from experiments.data.catalogue import DATASETS
from experiments.training.baselines import BASELINES
from experiments.training.strategies import EVERY_STRATEGY, is_coupled
from experiments.usage import in_order

SHARES = ("violation_rate", "blocked_fraction")
ANCHORS = ("unconstrained", "clip")  # with no full set of seeds of these, a dataset is not ranked


@dataclass(frozen=True)
class Ranking:
    """Of strategies over groups of study datasets, on one backbone."""

    scores: Scores
    skill: dict[str, Estimate]  # mean over runs
    apart: Scores  # of every dataset as a group of its own
    failing: dict[str, float]  # share of runs on a dataset with no skill; of those trained
    shares: dict[str, dict[str, float]]  # each of SHARES, mean over groups

    @property
    def seeds(self) -> int:
        return self.scores.values.shape[1]


def _skills(scores: Scores) -> dict[str, Estimate]:
    """Mean over runs with its bootstrap interval, which untrained baselines and single seeds have
    none of."""
    draws = statistics.resampled(
        scores.values, statistics.mean, np.random.default_rng(statistics.SEED)
    )
    seeds = scores.values.shape[1]
    ends = statistics.interval(draws, seeds)
    found = zip(scores.strategies, statistics.mean(scores.values), *ends, strict=True)
    return {
        name: Estimate(*map(float, numbers[: 1 if name in BASELINES or seeds < 2 else 3]))
        for name, *numbers in found
    }


def rank(
    records: Iterable[Record], backbone: str, groups: Mapping[str, str], spreads: Spreads
) -> tuple[Ranking | None, list[str]]:
    """The ranking on a backbone, if any, and what is not in it. Not in it, and not said, are the
    strategies for a sum, which few datasets bound."""
    here = [record for record in records if not is_coupled(record.cell.strategy)]
    cells = [r.cell for r in here if r.cell.phase == "final"]
    there = {c.seat for c in cells if c.backbone in (backbone, UNTRAINED)}
    counts = Counter((strategy, dataset) for (strategy, dataset, _), *_ in there)  # seeds
    whole, reasons = _whole(counts, groups, spreads)
    scores = statistics.skill_scores(here, backbone, whole)
    lost = {name for name, of in counts if of in groups} - set(scores.strategies)
    for name in in_order(lost, EVERY_STRATEGY) if whole else []:
        reasons.append(f"{name}: not every seed on every dataset")
    if not set(ANCHORS) <= set(scores.strategies):
        return None, reasons
    return _ranking(scores, here, backbone, whole, spreads), reasons


def _ranking(
    scores: Scores,
    records: Iterable[Record],
    backbone: str,
    groups: Mapping[str, str],
    spreads: Spreads,
) -> Ranking:
    names = scores.strategies
    apart = statistics.skill_scores(records, backbone, {name: name for name in groups})
    kinds = np.array([groups[name] for name in apart.groups])
    failing = _over_groups((apart.values <= 0).mean(axis=1), kinds).tolist()

    def share(name: str, metric: str) -> float:
        found = [
            spreads.get((of, home(name, backbone), name), {}).get(metric) for of in apart.groups
        ]
        means = np.array([spread.mean if spread else np.nan for spread in found])
        return float(_over_groups(means, kinds))

    return Ranking(
        scores,
        _skills(scores),
        apart,
        {name: of for name, of in zip(names, failing, strict=True) if name not in BASELINES},
        {name: {metric: share(name, metric) for metric in SHARES} for name in names},
    )


def _over_groups(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean over groups, each the mean over its datasets: (..., datasets) -> (...)."""
    means = [values[..., groups == group].mean(axis=-1) for group in np.unique(groups)]
    return np.mean(means, axis=0)


def home(strategy: str, backbone: str) -> str:
    """The backbone that a strategy's cells are of: a baseline has none."""
    return UNTRAINED if strategy in BASELINES else backbone


def _whole(
    counts: Mapping[tuple[str, str], int], groups: Mapping[str, str], spreads: Spreads
) -> tuple[dict[str, str], list[str]]:
    """The groups of the datasets that can be ranked, and why the others cannot."""
    most = max((counts.get(("clip", name), 0) for name in groups), default=0)
    whole, reasons = {}, []
    for name in in_order(groups, DATASETS):
        reference = spreads.get((name, UNTRAINED, REFERENCE), {}).get("mse")
        if any(counts.get((anchor, name), 0) < max(most, 1) for anchor in ANCHORS):
            reasons.append(f"{name}: {' and '.join(ANCHORS)} do not have every seed")
        elif reference is None or not reference.mean > 0:
            reasons.append(f"{name}: no error of {REFERENCE} to measure skill by")
        else:
            whole[name] = groups[name]
    return whole, reasons
