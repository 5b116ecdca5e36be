"""Rows of a study: statistics over seeds, CSV, and Markdown."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.analysis import statistics

Row = dict[str, Any]


def over_seeds(found: Mapping[str, np.ndarray], names: Iterable[str]) -> Row:
    """`name` and `name_std` of each metric, mean and standard deviation (numpy's, of the seeds as
    they are, as the published ones), and the interval of the mean squared error's mean."""
    row = {}
    for name in names:
        row |= {name: float(found[name].mean()), f"{name}_std": float(found[name].std())}
    low, high = statistics.spread(list(found["mse"])).interval
    return row | {"mse_low": low, "mse_high": high}


def write_csv(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Numbers in the shortest form that keeps six digits; empty where there is none."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _plain(value) for key, value in row.items()} for row in rows)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value


def read_csv(path: Path) -> list[Row]:
    """The rows of `write_csv`: what reads as a number is one, and an empty field is absent."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {key: _number(value) for key, value in row.items() if value}
            for row in csv.DictReader(file)
        ]


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
