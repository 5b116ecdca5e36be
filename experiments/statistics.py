"""Records to numbers: the long summary, and means with their spread over seeds."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.plan import SPLIT_OF_PHASE
from experiments.store import Record, canonical

COLUMNS = (
    "strategy",
    "dataset",
    "backbone",
    "phase",
    "seed",
    "split",
    "hyperparameters",
    "metric",
    "value",
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Spread:
    """A metric over seeds."""

    mean: float
    deviation: float  # sample standard deviation; NaN for one seed
    count: int


def summary(records: Iterable[Record]) -> list[Row]:
    """One row a finished cell and metric, in the order of COLUMNS; failed cells are absent."""
    rows = []
    for record in records:
        if record["status"] != "done":
            continue
        config = record["config"]
        cell = {
            "strategy": config["strategy"]["name"],
            "dataset": config["dataset"]["name"],
            "backbone": config["backbone"],
            "phase": config["phase"],
            "seed": config["seed"],
            "split": SPLIT_OF_PHASE[config["phase"]],
            "hyperparameters": canonical(config["strategy"]["hyperparameters"]),
        }
        rows += [
            {**cell, "metric": name, "value": value}
            for name, value in sorted(record["metrics"].items())
        ]
    return sorted(rows, key=lambda row: [str(row[key]).zfill(6) for key in COLUMNS[:-1]])


def spread(values: Sequence[float | None]) -> Spread:
    """Mean and sample standard deviation of the values that exist."""
    known = np.array([value for value in values if value is not None], float)
    if not len(known):
        return Spread(math.nan, math.nan, 0)
    deviation = float(known.std(ddof=1)) if len(known) > 1 else math.nan
    return Spread(float(known.mean()), deviation, len(known))


def over_seeds(rows: Iterable[Row]) -> dict[tuple[str, str, str], dict[str, Spread]]:
    """Each metric's spread over seeds, by (dataset, backbone, strategy)."""
    values: dict[tuple[str, str, str], dict[str, list[float | None]]] = {}
    for row in rows:
        group = values.setdefault((row["dataset"], row["backbone"], row["strategy"]), {})
        group.setdefault(row["metric"], []).append(row["value"])
    return {
        key: {metric: spread(seeds) for metric, seeds in group.items()}
        for key, group in values.items()
    }
