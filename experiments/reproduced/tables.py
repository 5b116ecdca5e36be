"""Rows of a study: what is run for them, statistics over seeds, and CSV."""

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.analysis import statistics
from experiments.training.strategy_rows import Strategy

SEEDS = 30
CATALOGUE_SEEDS = 10
Row = dict[str, Any]
Methods = Mapping[str, tuple[Strategy, dict[str, float]]]  # by name, with hyperparameters


def comparison(
    task: str,
    metrics: Sequence[str],
    run: Callable[[Strategy, dict[str, float], Any], dict[str, np.ndarray]],
    *,
    published: Mapping[str, Row],
    methods: Methods,
    exact: Methods,
    ours: Any,
    theirs: Any,
) -> Iterator[Row]:
    """Every row of a task, as it is trained.

    Args:
      task: its name.
      metrics: their names.
      run: from a method and what seeds begin with to each metric by seed.
      published: the number of seeds and the metrics, of methods of the publication.
      methods: these as we have them, and others, which are trained for the first few seeds.
      exact: these as their code has them.
      ours: what our seeds begin with, along a first axis.
      theirs: what theirs begin with; None where there are no rows `exact`.
    """

    def trained(name: str, source: str, method: tuple, start: Any) -> Row:
        found = run(*method, start)
        row = {"task": task, "method": name, "source": source, "seeds": len(found["mse"])}
        return row | over_seeds(found, metrics)

    some = jax.tree.map(lambda leaf: leaf[:CATALOGUE_SEEDS], ours)
    for name, method in methods.items():
        if name in published:
            yield {"task": task, "method": name, "source": "published"} | published[name]
            if theirs is not None:
                yield trained(name, "exact", exact[name], theirs)
        yield trained(name, "ours", method, ours if name in published else some)


def columns(metrics: Sequence[str]) -> tuple[str, ...]:
    """Of a CSV of `comparison`."""
    mse, *rest = metrics
    means = ("task", "method", "source", "seeds", mse, f"{mse}_std", *rest)
    return (*means, f"{mse}_low", f"{mse}_high", *(f"{name}_std" for name in rest))


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
        for row in rows:
            numbers = {key: value for key, value in row.items() if isinstance(value, float)}
            shown = {key: "" if math.isnan(x) else f"{x:.6g}" for key, x in numbers.items()}
            writer.writerow(row | shown)


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
