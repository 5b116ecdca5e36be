"""Where cells run: in this process, over all its devices."""

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bounded import metrics
from experiments.baselines import BASELINES
from experiments.datasets import Dataset
from experiments.plan import Cell, identity, settings_of
from experiments.store import Record
from experiments.strategies import Strategy
from experiments.training import Runner, example_windows

Finished = tuple[Record, dict[str, np.ndarray]]


def run_here(
    cells: Sequence[Cell],
    dataset: Dataset,
    strategies: Sequence[Strategy],
    on_epochs: Callable[[int], None] = lambda epochs: None,
    on_compiled: Callable[[float], None] = lambda seconds: None,
) -> Iterator[Finished]:
    """Run cells of one dataset and backbone; yields each record with its arrays when it is done.

    Args:
      cells: of one dataset, backbone and settings, or baselines.
      dataset: theirs.
      strategies: every row that a cell of this sweep may name.
      on_epochs: called with the cells times epochs done, after each compiled chunk.
      on_compiled: called with the seconds that compilation took.
    """
    split = "test"
    for cell in cells:
        if cell["strategy"]["name"] in BASELINES:
            yield _baseline(cell, dataset, split)
    trained = [cell for cell in cells if cell["strategy"]["name"] not in BASELINES]
    if not trained:
        return
    settings = settings_of(trained[0])
    runner = Runner(dataset, trained[0]["backbone"], settings, strategies, split)
    on_compiled(runner.compile_seconds)
    for start in range(0, len(trained), runner.batch):
        batch = trained[start : start + runner.batch]
        jobs = [
            (
                cell["strategy"]["name"],
                cell["strategy"]["hyperparameters"],
                cell["training"]["learning_rate"],
                cell["seed"],
            )
            for cell in batch
        ]
        results = runner.run(jobs, on_epochs)
        for cell, result in zip(batch, results, strict=True):
            arrays = {f"history_{name}": row for name, row in result.history.items()}
            arrays |= _examples(dataset, split, result.examples)
            timing = {"train_seconds": result.seconds}
            yield _record(cell, result.metrics, timing, result.error), arrays


def _baseline(cell: Cell, dataset: Dataset, split: str) -> Finished:
    started = time.perf_counter()
    part = dataset.part(split)
    output = BASELINES[cell["strategy"]["name"]][0](dataset, split)
    found = metrics.reconstruction(output, part["targets"])
    found |= metrics.violation(output, part["lower"], part["upper"])
    values = {name: float(value) for name, value in found.items()}
    arrays = _examples(dataset, split, output[example_windows(dataset, split)])
    return _record(cell, values, {"train_seconds": time.perf_counter() - started}, None), arrays


def _record(
    cell: Cell, values: dict[str, float], timing: dict[str, float], error: str | None
) -> Record:
    return {
        "id": identity(cell),
        "status": "failed" if error else "done",
        "config": cell,
        "metrics": {} if error else {k: v for k, v in values.items() if k != "loss"},
        "timing": timing,
        "error": error,
    }


def _examples(dataset: Dataset, split: str, output: np.ndarray) -> dict[str, np.ndarray]:
    rows = example_windows(dataset, split)
    part = {key: array for key, array in dataset.part(split).items() if array is not None}
    return {f"example_{key}": array[rows] for key, array in part.items()} | {
        "example_output": output
    }
