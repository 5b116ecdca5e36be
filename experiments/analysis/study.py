"""A sweep as it is read: who is ranked and where each stands, by backbone; what is missing.

Study datasets are ranked. Autoencoders, which show collapse, and datasets whose bound is wrong
or whose features' sum is known are shown apart; roles are never pooled.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np

from experiments.analysis import effects, planned, statistics
from experiments.analysis.effects import Effect
from experiments.analysis.planned import Comparison
from experiments.analysis.ranking import Ranking, home, rank
from experiments.analysis.statistics import Spread
from experiments.cells import UNTRAINED, Place, Record
from experiments.console import trimmed
from experiments.data.catalogue import DATASETS, ROLES
from experiments.training.backbones import BACKBONES
from experiments.training.baselines import BASELINES
from experiments.training.strategies import EVERY_STRATEGY
from experiments.usage import UsageError, choose, in_order


@dataclass(frozen=True)
class Choice:
    """The part of a sweep that is shown; None: all there is."""

    strategies: Collection[str] | None = None
    datasets: Collection[str] | None = None
    backbones: Collection[str] | None = None

    def shows(self, strategy: str) -> bool:
        return self.strategies is None or strategy in self.strategies

    def covers(self, dataset: str, backbone: str) -> bool:
        """Baselines are of every backbone."""
        return (self.datasets is None or dataset in self.datasets) and (
            self.backbones is None or backbone in (*self.backbones, UNTRAINED)
        )


ALL = Choice()
BLOCKS = "block_mse"  # of a final cell's arrays


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    epoch: float
    looks_since_best: int  # at validation


def _ending(arrays: Mapping[str, np.ndarray]) -> Ending | None:
    """None of a cell without training curves."""
    errors, epochs = (arrays.get(f"history_{of}", np.array([])) for of in ("mse", "epoch"))
    if not len(errors) or len(errors) != len(epochs):
        return None
    best = np.argmin(np.where(np.isnan(errors), np.inf, errors))
    return Ending(float(epochs[-1]), len(errors) - 1 - int(best))


@dataclass(frozen=True)
class Study:
    """A sweep's records, and what they add up to."""

    manifest: Mapping[str, Any]  # empty where there is none
    records: Sequence[Record]
    rows: Sequence[statistics.Row]  # of `summary.csv`
    spreads: statistics.Spreads
    roles: Mapping[str, str]  # of each dataset
    rankings: Mapping[str, Ranking]  # by backbone; none where nothing can be ranked
    left_out: tuple[str, ...]  # of the rankings, each with its reason
    missing: Mapping[str, int]  # planned final cells without a record, by dataset
    groups: Mapping[str, str]  # of the datasets that are to be ranked
    choice: Choice  # strategies that are not shown are ranked all the same
    blocks: effects.Blocks  # of the final records that have them
    endings: Mapping[str, Ending]  # of those that have training curves, by id

    @cached_property
    def shown(self) -> list[Record]:
        """Records of the strategies that are shown."""
        return [record for record in self.records if self.choice.shows(record.cell.strategy)]

    @cached_property
    def finals(self) -> list[Record]:
        """Those of the final phase, failed ones too."""
        return [record for record in self.shown if record.cell.phase == "final"]

    @cached_property
    def filled(self) -> dict[str, dict[str, str]]:
        """By dataset and strategy, the sides filled from the training range."""
        return filled(self.shown)

    @property
    def trains(self) -> bool:
        """Whether a final cell that is shown is finished, of more than baselines."""
        return any(record.is_done and record.cell.is_trained for record in self.finals)

    @cached_property
    def backbones(self) -> list[str]:
        """Those that a final cell is of."""
        return in_order({r.cell.backbone for r in self.finals} - {UNTRAINED}, BACKBONES)

    @cached_property
    def strategies(self) -> list[str]:
        """All that a final cell is of, baselines too."""
        return in_order({r.cell.strategy for r in self.finals}, EVERY_STRATEGY)

    @cached_property
    def failures(self) -> Counter[str]:
        """How many final cells of each strategy failed."""
        return Counter(record.cell.strategy for record in self.finals if not record.is_done)

    @cached_property
    def _runs(self) -> defaultdict[Place, list[Record]]:
        """Final records by place."""
        found = defaultdict(list)
        for record in self.records:
            if record.cell.phase == "final":
                found[record.cell.place].append(record)
        return found

    @cached_property
    def runs(self) -> dict[Place, dict[int, effects.Run]]:
        """What counts of finished final cells, by place and seed."""
        return effects.runs(self.records, self.blocks)

    @cached_property
    def relative(self) -> dict[str, dict[str, dict[str, Effect]]]:
        """Every strategy's effect by backbone, strategy and group, shown or not."""
        every = {r.cell.backbone for r in self.records if r.cell.phase == "final"} - {UNTRAINED}
        found = {
            of: effects.relative(self.runs, of, self.groups) for of in in_order(every, BACKBONES)
        }
        return {of: there for of, there in found.items() if there}

    def never_start(self, backbone: str, strategy: str) -> float:
        """The share of a trained strategy's runs without a gradient, a mean over groups."""
        return self._never_start[backbone].get(strategy, math.nan)

    @cached_property
    def _never_start(self) -> dict[str, dict[str, float]]:
        return {of: effects.never_starting(self.runs, of, self.groups) for of in self.relative}

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Those planned, of strategies that are shown or not."""
        return planned.compare(self.relative)

    def about(self, dataset: str) -> Mapping[str, Any]:
        """What the manifest says of a dataset: its scale, unit and so on, as far as known."""
        found: Mapping[str, Any] = self.manifest.get("datasets", {}).get(dataset, {})
        return found

    def title(self, dataset: str) -> str:
        """As its file says; empty if it does not."""
        return trimmed(self.about(dataset).get("title") or "")

    def named(self, dataset: str) -> str:
        """By title, if it has one, and name."""
        title = self.title(dataset)
        return f"{title} ({dataset})" if title else dataset

    def datasets(self, role: str) -> list[str]:
        """Those of a role that a final cell is of."""
        names = {record.cell.dataset for record in self.finals}
        return in_order({name for name in names if self.roles[name] == role}, DATASETS)

    @cached_property
    def every_dataset(self) -> list[str]:
        """By role."""
        return [name for role in ROLES for name in self.datasets(role)]

    def backbones_of(self, dataset: str) -> list[str]:
        """Those that a cell of the dataset is finished on."""
        places = {of[:2] for of in self.spreads if self.choice.shows(of[2])}
        return [backbone for backbone in self.backbones if (dataset, backbone) in places]

    def measured(self, dataset: str, backbone: str) -> dict[str, Mapping[str, Spread]]:
        """Metrics over final seeds, by strategy; a baseline's are the same on every backbone."""
        places = {name: (dataset, home(name, backbone), name) for name in self.strategies}
        return {name: self.spreads[of] for name, of in places.items() if of in self.spreads}

    def spread(self, dataset: str, backbone: str, strategy: str, metric: str) -> Spread | None:
        """A metric over final seeds."""
        return self.spreads.get((dataset, home(strategy, backbone), strategy), {}).get(metric)

    def mean(self, dataset: str, backbone: str, strategy: str, metric: str) -> float:
        """Over final seeds; NaN where there is none."""
        found = self.spread(dataset, backbone, strategy, metric)
        return found.mean if found else math.nan

    def by_seed(self, dataset: str, backbone: str, strategy: str, metric: str) -> dict[int, float]:
        """A metric by final seed; a baseline's single one is the same on every backbone."""
        runs = self._runs[strategy, dataset, home(strategy, backbone)]
        found = {record.cell.seed: record.metrics.get(metric) for record in runs}
        return {seed: value for seed, value in found.items() if value is not None}


def filled(records: Iterable[Record]) -> dict[str, dict[str, str]]:
    """By dataset and strategy, the sides filled from the training range."""
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for cell in (record.cell for record in records):
        if sides := [side for side, of in cell.bounds.items() if of == "training range"]:
            found[cell.dataset][cell.strategy] = " and ".join(sides)
    return {dataset: dict(sorted(of.items())) for dataset, of in found.items()}


def read(
    manifest: Mapping[str, Any],
    records: Sequence[Record],
    choice: Choice = ALL,
    arrays: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> Study:
    """Put a folder's manifest and records together.

    A dataset that the manifest does not know has the role and group of the catalogue; one that is
    in neither is a study dataset and a group of its own.

    Args:
      manifest: the folder's.
      records: all of its.
      choice: what is looked at. Ranks, and p-values that count comparisons, are of every strategy
        on the datasets and backbones of the choice, whichever strategies are shown.
      arrays: of its records, by id; without them, or without BLOCKS in them, intervals leave out
        the sampling of the test data, and how runs ended is not known.

    Raises:
      UsageError: if something chosen is in no record, or no final cell is in the choice.
    """
    whole, records, arrays = records, _chosen(records, choice), arrays or {}
    rows = statistics.summary(records)
    spreads = statistics.over_seeds(rows)
    roles, groups = described(manifest, records)
    ranks = _ranked(manifest, records, choice)
    backbones = {r.cell.backbone for r in records if r.cell.phase == "final"}
    unfinished = {name for name in groups if roles[name] == "study"} - ranks.keys()
    rankings, left_out = {}, [f"{name}: incomplete" for name in in_order(unfinished, DATASETS)]
    for backbone in in_order(backbones - {UNTRAINED}, BACKBONES):
        ranking, reasons = rank(records, backbone, ranks, spreads)
        left_out += [f"{reason} ({backbone})" for reason in reasons]
        if ranking:
            rankings[backbone] = ranking
    missing = _missing(manifest, records, choice)
    found = Study(
        manifest,
        records,
        rows,
        spreads,
        roles,
        rankings,
        tuple(left_out),
        missing,
        ranks,
        choice,
        {identity: of[BLOCKS] for identity, of in arrays.items() if BLOCKS in of},
        {identity: end for identity, of in arrays.items() if (end := _ending(of))},
    )
    if whole and choice != ALL and not found.finals:
        raise UsageError("No final cell is of all that was chosen: choose less narrowly.")
    return found


def _chosen(records: Sequence[Record], choice: Choice) -> Sequence[Record]:
    """Those on the datasets and backbones of a choice, of every strategy."""
    cells = [record.cell for record in records]
    trained = [cell for cell in cells if cell.is_trained]
    _known("strategy", choice.strategies, [cell.strategy for cell in cells])
    _known("dataset", choice.datasets, [cell.dataset for cell in cells])
    _known("backbone", choice.backbones, [cell.backbone for cell in trained])
    return [r for r in records if choice.covers(r.cell.dataset, r.cell.backbone)]


def _known(kind: str, names: Collection[str] | None, there: Iterable[str]) -> None:
    for name in names or ():
        choose(kind, name, dict.fromkeys(sorted(there)))


def described(
    manifest: Mapping[str, Any], records: Iterable[Record]
) -> tuple[dict[str, str], dict[str, str]]:
    """Role and group of each dataset that a record is of: the manifest's, else the catalogue's."""
    roles, groups = {}, {}
    for name in dict.fromkeys(record.cell.dataset for record in records):
        found, entry = manifest.get("datasets", {}).get(name, {}), DATASETS.get(name)
        role = found.get("role") or (entry.role if entry else "study")
        roles[name] = role if role in ROLES else "study"
        groups[name] = found.get("group") or (entry.group if entry else name)
    return roles, groups


def _ranked(
    manifest: Mapping[str, Any], records: Sequence[Record], choice: Choice
) -> dict[str, str]:
    """The group of each study dataset that the plan has finished; of every one if it has none."""
    roles, groups = described(manifest, records)
    found = {name: group for name, group in groups.items() if roles[name] == "study"}
    missing = _missing(manifest, records, choice)
    return {name: group for name, group in found.items() if name not in missing} or found


def _missing(
    manifest: Mapping[str, Any], records: Iterable[Record], choice: Choice
) -> dict[str, int]:
    """Final cells of every session's plan, as far as they are chosen, that have no record, by
    dataset."""
    plans = [session["plan"] for session in manifest.get("sessions", ()) if "plan" in session]
    planned: dict[Place, int] = {}
    known = manifest.get("datasets", {})
    plans = plans or [manifest.get("plan", {})]
    for place, seeds in chain.from_iterable(_planned(plan, known) for plan in plans):
        if choice.covers(*place[1:]):
            planned[place] = max(seeds, planned.get(place, 0))
    there: defaultdict[Place, set[int]] = defaultdict(set)
    for cell in (record.cell for record in records):
        if cell.phase == "final" and cell.seed < planned.get(cell.place, 0):
            there[cell.place].add(cell.seed)
    found: Counter[str] = Counter()
    for place, seeds in planned.items():
        found[place[1]] += seeds - len(there[place])
    return {name: found[name] for name in in_order(+found, DATASETS)}


def _planned(plan: Mapping[str, Any], known: Collection[str]) -> Iterator[tuple[Place, int]]:
    """Where a plan's final cells are, and how many seeds there: the first ones."""
    datasets = [_of_path(Path(name), known) for name in plan.get("datasets", ())]
    for dataset, strategy in product(datasets, plan.get("strategies", ())):
        trained = [(backbone, plan.get("seeds", 0)) for backbone in plan.get("backbones", ())]
        for backbone, seeds in [(UNTRAINED, 1)] if strategy in BASELINES else trained:
            yield (strategy, dataset, backbone), seeds


def _of_path(path: Path, known: Collection[str]) -> str:
    """The dataset's name: a file's without its ending; older ones have it."""
    is_older = path.name in known or path.suffix != ".npz"
    return path.name if is_older else path.stem
