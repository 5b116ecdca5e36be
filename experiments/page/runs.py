"""What the page's chart is drawn from: every final run, its training curve, and example windows of
each dataset with every strategy's output.

A page holds thousands of runs: names go by their place in a list, errors as hundred times their
logarithm, and what is drawn in a window as thousandths of its axis; all in whole numbers.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from statistics import quantiles
from typing import Any

import numpy as np

from experiments.analysis.study import Study
from experiments.cells import UNTRAINED, Place, Record, canonical
from experiments.console import trimmed
from experiments.page.charts import OWN, family
from experiments.training.baselines import BASELINES
from experiments.training.strategies import is_coupled

Json = dict[str, Any]
Arrays = Mapping[str, Mapping[str, np.ndarray]]  # of final records, by id
NEEDED = {"example_targets", "example_output"}
LINES = {"target": "example_targets", "lower": "example_lower", "upper": "example_upper"}
MOST_LOOKS = 60  # points of a curve
MOST_STEPS = 200  # of a window
MOST_SCALE = 1e100  # of a unit: a larger one, or NaN, is a damaged manifest's
LEAST_ERROR = 1e-6  # smaller ones are drawn there: errors stand on a logarithmic axis


@dataclass(frozen=True)
class Share:
    """How much of a sweep a page holds."""

    curves: str = "seeds"  # each one's; "quartiles" over them, "median", or "none"
    windows: int = 2  # of each dataset, those last
    runs: int = 10**9  # of each place, the seeds that come first


SHARES = (  # the first that fits
    Share(),
    Share("quartiles"),
    Share("quartiles", 1),
    Share("median", 1),
    Share("none", 1),
    Share("none", 0),
    Share("none", 0, 10),
    Share("none", 0, 3),
    Share("none", 0, 1),
    Share("none", 0, 0),
)
QUARTILES = {"quartiles": slice(3), "median": slice(1, 2), "none": slice(0)}  # of three


@dataclass(frozen=True)
class Embedded:
    """A study's runs as the page holds them."""

    text: str  # JSON that can stand in a `script`
    share: Share
    most: int  # seeds that some strategy has on some dataset and backbone


def fit(whole: Json, room: int) -> Embedded:
    """As much of what was gathered as so many characters hold."""
    most = max((len(cell["runs"]) for cell in whole["cells"]), default=0)
    for share in SHARES:
        text = in_script(_part(whole, share))
        if len(text) <= room:
            break
    return Embedded(text, share, most)


def _part(whole: Json, share: Share) -> Json:
    cells = [
        cell
        | {
            "runs": cell["runs"][: share.runs],
            "curves": _over_seeds(cell["curves"], share.curves),
            "outputs": _last(cell["outputs"], share.windows),
        }
        for cell in whole["cells"]
    ]
    datasets = [of | {"windows": _last(of["windows"], share.windows)} for of in whole["datasets"]]
    kept = {"datasets": datasets, "cells": cells if share.runs else [], "curves": share.curves}
    return whole | kept


def _last(found: Sequence[Any], count: int) -> Sequence[Any]:
    return found[max(len(found) - count, 0) :]


def _over_seeds(curves: Sequence[Sequence[int | None]], kept: str) -> Sequence[Any]:
    """Curves of seeds as they are, or quartiles of them at each epoch that half of them reached, a
    list a quartile."""
    if kept == "seeds" or not any(curves):
        return curves
    found: list[list[int | None]] = []
    for logs in zip_longest(*curves):
        known = [log for log in logs if log is not None]
        enough = 2 * len(known) >= len(curves)
        three = [round(of) for of in _quartiles(known)] if enough else [None] * 3
        found.append(three[QUARTILES[kept]])
    return [list(of) for of in zip(*found, strict=True)]


def _quartiles(known: list[int]) -> list[float]:
    return 3 * known if len(known) == 1 else quantiles(known, method="inclusive")


def in_script(value: Any) -> str:
    """JSON that no text in it can end the `script` of."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def metric_of(study: Study) -> str:
    """What runs are placed by: skill, or r2 if no dataset has the baseline that it takes."""
    return "skill" if _measured(study, "skill") else "r2"


def _measured(study: Study, metric: str) -> set[str]:
    """The datasets that a final run has the metric on, be it null."""
    final = [row for row in study.rows if row["phase"] == "final"]
    return {row["dataset"] for row in final if row["metric"] == metric}


def pooled(study: Study) -> set[str]:
    """The datasets that the chart shows together: those that are ranked, or else could be."""
    ranked = {name for ranking in study.rankings.values() for name in ranking.apart.groups}
    return ranked or set(study.datasets("study"))


def gather(study: Study, arrays: Arrays) -> Json:
    """All that the chart can show of a study.

    Args:
      study: whose.
      arrays: of its final records, by id: `history_*` and `example_*` where there are any.
    """
    runs: defaultdict[Place, list[Record]] = defaultdict(list)
    for record in sorted(study.finals, key=lambda record: record.cell.seed):
        runs[record.cell.place].append(record)
    metric, together = metric_of(study), pooled(study)
    measured = _measured(study, metric)
    grids: list[list[float]] = []
    values, windows = _values(study, metric), _windows(study, runs, arrays)
    names = study.strategies, study.every_dataset, [*study.backbones, UNTRAINED]
    cells: list[Json] = [
        {
            "at": [of.index(name) for of, name in zip(names, place, strict=True)],
            "runs": [
                [record.cell.seed, values.get(_run(record)), _outside(record)] for record in records
            ],
            **_curves([arrays.get(record.id, {}) for record in records], grids),
            "outputs": windows[place[1]].of(records) if place[1] in windows else [],
        }
        for place, records in runs.items()
    ]
    return {
        "metric": metric,
        "strategies": [
            {
                "name": name,
                "title": trimmed(title, 120),
                "family": family(title),
                "ranked": not is_coupled(title),
            }
            for name, title in zip(labels(study.strategies), study.strategies, strict=True)
        ],
        "datasets": [
            {
                "name": trimmed(name, 80),
                "ranked": name in together,
                "measured": name in measured,
                "unit": _unit(study.about(name)),
                "windows": windows[name].shown if name in windows else [],
            }
            for name in study.every_dataset
        ],
        "backbones": [trimmed(name, 80) for name in names[-1]],
        "epochs": grids,
        "cells": sorted(cells, key=lambda cell: cell["at"]),
    }


def labels(names: Sequence[str]) -> list[str]:
    """Names as a chart has room for, each different: of a long one its end."""
    found = [_label(name) for name in names]
    counts = Counter(found)
    return [
        label if counts[label] == 1 else f"{label} ({place + 1})"
        for place, label in enumerate(found)
    ]


def choices(study: Study, families: Sequence[str]) -> dict[str, Any]:
    """What can be picked above the chart: value and title of each."""
    datasets: list[tuple[int, str]] = list(enumerate(map(trimmed, study.every_dataset)))
    if pooled(study):
        datasets.insert(0, (-1, "all ranked" if study.rankings else "all study"))
    trained = [name for name in study.strategies if name not in BASELINES]
    skill = next((ranking.skill for ranking in study.rankings.values()), {})
    ranked = [name for name in trained if name in skill]
    own = [name for name in trained if family(name) == OWN]
    best = max(ranked, key=lambda name: skill[name].value, default=None)
    first = best or next(iter(own or trained or study.strategies), None)
    return {
        "datasets": datasets,
        "backbones": list(enumerate(map(trimmed, study.backbones))),
        "families": families,
        "strategies": list(enumerate(labels(study.strategies))),
        "first": study.strategies.index(first) if first else None,
    }


def _label(name: str) -> str:
    line = trimmed(name.rpartition(":")[2] or name, 400)
    return line if len(line) <= 30 else f"…{line[-29:]}"


def _run(record: Record) -> tuple[Place, int, str]:
    return record.cell.place, record.cell.seed, canonical(record.cell.tuned)


def _values(study: Study, metric: str) -> dict[tuple[Place, int, str], float | None]:
    """A metric of every final run; None where it is not finite."""
    return {
        ((row["strategy"], row["dataset"], row["backbone"]), row["seed"], row["hyperparameters"]): (
            _rounded(row["value"])
        )
        for row in study.rows
        if row["phase"] == "final" and row["metric"] == metric
    }


def _outside(record: Record) -> float | None:
    return _rounded(record.metrics.get("violation_rate"))


def _rounded(value: float | None) -> float | None:
    """To four digits, or as many after the point."""
    if value is None or not math.isfinite(value):
        return None
    return _short(float(f"{value:.4g}") if abs(value) > 1 else round(value, 4))


def _short(value: float) -> float:
    """A whole number without its `.0`."""
    return int(value) if value == int(value) and abs(value) < 1e6 else value


def _curves(found: Sequence[Mapping[str, np.ndarray]], grids: list[list[float]]) -> Json:
    """Validation errors, a list a seed, and the place of their epochs among the grids. A run that
    ended early has fewer, one with other epochs none."""
    every = [of.get("history_epoch", np.zeros(0)) for of in found]
    epochs = max(every, key=len)
    kept = np.linspace(0, max(len(epochs) - 1, 0), min(len(epochs), MOST_LOOKS)).round().astype(int)
    grid = [_short(float(epoch)) for epoch in epochs[kept]]
    if grid not in grids:
        grids.append(grid)
    return {
        "epochs": grids.index(grid),
        "curves": [
            [_logarithm(of["history_mse"][n]) for n in kept if n < len(its)]
            if "history_mse" in of and np.array_equal(its, epochs[: len(its)])
            else []
            for of, its in zip(found, every, strict=True)
        ],
    }


def _logarithm(error: float) -> int | None:
    return round(100 * math.log(max(error, LEAST_ERROR))) if math.isfinite(error) else None


def _unit(about: Mapping[str, Any]) -> str:
    unit = trimmed(about.get("unit") or "", 20)
    return "" if unit == "1" else unit


@dataclass(frozen=True)
class _Windows:
    """Example windows of a dataset: one feature, the one whose target varies most."""

    arrays: Arrays
    targets: bytes  # all of them: outputs of other targets are of other data
    feature: int
    scale: float
    limits: Sequence[tuple[float, float]]  # of each window, in the dataset's unit
    shown: Sequence[Mapping[str, Any]]

    def of(self, records: Iterable[Record]) -> list[list[int | None]]:
        """The outputs of the first seed that has them."""
        for record in records:
            found = self.arrays.get(record.id, {})
            if found.keys() >= NEEDED and found["example_targets"].tobytes() == self.targets:
                lines = _lines(found["example_output"], self.feature) * self.scale
                return list(map(_within, lines, self.limits))
        return []


def _windows(
    study: Study, runs: Mapping[Place, Sequence[Record]], arrays: Arrays
) -> dict[str, _Windows]:
    """By dataset; of several versions of its data, those that most runs are of."""
    there: defaultdict[str, list[Mapping[str, np.ndarray]]] = defaultdict(list)
    for (_, dataset, _), records in runs.items():
        those = [arrays.get(record.id, {}) for record in records]
        there[dataset] += [of for of in those if of.keys() >= NEEDED]
    found = {}
    for dataset, those in there.items():
        if those:
            ((targets, _),) = Counter(of["example_targets"].tobytes() for of in those).most_common(
                1
            )
            same = [of for of in those if of["example_targets"].tobytes() == targets]
            scale = float(study.about(dataset).get("scale") or 1)
            scale = scale if abs(scale) < MOST_SCALE else 1.0
            found[dataset] = _of_dataset(same, arrays, targets, scale)
    return found


def _of_dataset(
    same: Sequence[Mapping[str, np.ndarray]], arrays: Arrays, targets: bytes, scale: float
) -> _Windows:
    first = same[0]
    spreads = [_spread(column) for column in first["example_targets"][-1].T]
    feature = int(np.argmax(spreads))
    lines = {
        key: _lines(first[name], feature) * scale for key, name in LINES.items() if name in first
    }
    outputs = np.stack([_lines(of["example_output"], feature) for of in same]) * scale
    shown, limits = [], []
    for place in range(len(lines["target"])):
        here = {key: line[place] for key, line in lines.items()}
        bounds = [here[key] for key in ("lower", "upper") if key in here]
        limits.append(_limits(here["target"], bounds, outputs[:, place]))
        window: Json = {key: _within(line, limits[-1]) for key, line in here.items()}
        shown.append(window | {"ends": list(limits[-1])})
    return _Windows(arrays, targets, feature, scale, limits, shown)


def _spread(values: np.ndarray) -> float:
    """Of what is known."""
    known = values[np.isfinite(values)]
    return float(known.std()) if known.size else -1.0


def _lines(values: np.ndarray, feature: int) -> np.ndarray:
    """One feature of every window: (windows, steps). A bound may be one for all features."""
    found: np.ndarray = values[:, :MOST_STEPS, min(feature, values.shape[-1] - 1)].astype(float)
    return found


def _limits(
    target: np.ndarray, bounds: Sequence[np.ndarray], outputs: np.ndarray
) -> tuple[float, float]:
    """Of the axis: what the target spans, and of bounds and outputs what lies no farther beyond
    it than that."""
    parts = target, np.concatenate([*bounds, np.zeros(0)]), outputs.ravel()
    low, high = _span(next((part for part in parts if np.isfinite(part).any()), target))
    ends = _span(np.concatenate(parts))
    room = (high - low) or (ends[1] - ends[0]) or abs(high) or 1.0
    low, high = max(low - room, ends[0]), min(high + room, ends[1])
    margin = 0.05 * (high - low) or 0.05 * room
    return low - margin, high + margin


def _span(values: np.ndarray) -> tuple[float, float]:
    """From the least to the most that is known; of nothing, from 0 to 0."""
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)


def _within(line: np.ndarray, limits: tuple[float, float]) -> list[int | None]:
    """A line as it is drawn, in thousandths of the axis; what is beyond that runs along its
    edge."""
    low, high = limits
    parts = 1000 * (np.clip(line, low, high) - low) / (high - low)
    return [None if math.isnan(part) else round(float(part)) for part in parts]
