"""What a worker does: a batch of cells comes, their records go back.

So the same function serves this process, a process pool and a cluster.
"""

import time
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np

from experiments.cells import Cell, Record, random_seed
from experiments.data.checks import BOUNDS, SUMS
from experiments.data.datasets import Dataset, load
from experiments.running.fingerprints import of_strategy, shapes_of, sources_hash, training
from experiments.running.team import Arrays, Reply, Request
from experiments.saved import SCALING
from experiments.training import baselines, devices
from experiments.training.baselines import BASELINES
from experiments.training.cell import Settings, data_of, example_windows
from experiments.training.limits import Ended
from experiments.training.own_metrics import own_metrics
from experiments.training.own_strategies import resolve
from experiments.training.runner import Run, Runner
from experiments.training.strategy_rows import Strategy
from experiments.usage import UsageError

SHOWN = ("targets", *BOUNDS, *SUMS)
_checked: set[tuple[str, ...]] = set()  # what was found to be as planned


def run_batch(request: Request, on_epochs: Callable[[int], None] = lambda epochs: None) -> Reply:
    """Run a batch of cells.

    Args:
      request: the cells.
      on_epochs: called with the cells times epochs done, after each compiled chunk.
    """
    devices.fix_threads()
    devices.use_compilation_cache()
    try:
        if request.sources != sources_hash():
            raise UsageError(
                f"this worker runs other code (sources {sources_hash()[:12]}) than the sweep "
                f"({request.sources[:12]}): start it from the same checkout and packages, with the "
                "same settings of jax and the same XLA_FLAGS."
            )
        return _run(request, on_epochs)
    except (KeyboardInterrupt, Ended):
        raise
    except BaseException as error:  # a user's strategy may raise anything, such as SystemExit
        refused = isinstance(error, UsageError)
        text = str(error) if refused else f"{type(error).__name__}: {error}"
        return Reply(error=text, refused=refused)


def _run(request: Request, on_epochs: Callable[[int], None]) -> Reply:
    cells, first = request.cells, request.cells[0]
    dataset = request.loaded or _dataset(request.dataset, request.allow_infeasible, first.data_hash)
    _check_training(request, dataset)
    if first.strategy in BASELINES:
        return _baselines(cells, dataset, request.save)
    settings = Settings(**first.settings)
    strategies = tuple(map(_strategy, request.strategies))
    _check_own(request, dataset)
    own = (*request.programs.values(), request.training)
    runner = Runner(
        dataset,
        first.network,
        settings,
        strategies,
        first.split,
        request.save,
        own,
        len(cells),
    )
    finished, kept = [], {}
    for cell, result in zip(cells, runner.run(list(map(_run_of, cells)), on_epochs), strict=True):
        record = make_record(cell, result.metrics, result.seconds, result.error)
        arrays = {f"history_{name}": row for name, row in result.history.items()}
        arrays |= {"block_mse": result.block_mse}
        finished.append((record, arrays | _examples(dataset, cell.split, result.examples)))
        if not result.error:
            kept[cell.id] = _saved(dataset, cell.split, result.output, result.parameters)
    return Reply(finished, runner.compile_seconds, saved=kept, each=runner.each)


@lru_cache(maxsize=4)
def _dataset(name: str, allow_infeasible: bool, expected_hash: str) -> Dataset:
    dataset = load(name, allow_infeasible)
    if dataset.hash != expected_hash:
        raise UsageError(
            f"{name} is not what was planned (its hash is {dataset.hash[:12]}, planned was "
            f"{expected_hash[:12]}): it changed since, or differs on this worker."
        )
    return dataset


def _check_own(request: Request, dataset: Dataset) -> None:
    """That the user's strategies are here what they are where the sweep was planned."""

    def found(name: str) -> str:
        first = request.cells[0]
        with warnings.catch_warnings(action="ignore"):  # of what was said when it was planned
            shapes, settings = shapes_of(dataset, first.split), Settings(**first.settings)
            return of_strategy(_strategy(name), shapes, settings)

    for name, planned in request.programs.items():
        _check(request, name, planned, partial(found, name))


def _check_training(request: Request, dataset: Dataset) -> None:
    """The same of the user's network and metrics."""
    first = request.cells[0]
    if request.training:
        name = f"{first.network}, or of the metrics,"
        traced = training(first, shapes_of(dataset, first.split)).trace
        _check(request, name, request.training, traced)


def _check(request: Request, name: str, planned: str, found: Callable[[], str]) -> None:
    """Once in a process other than the sweep's: to trace a program takes a second."""
    first = request.cells[0]
    of = planned, name, str(first.settings), request.dataset, first.split
    if request.loaded or of in _checked:
        return
    if found() != planned:
        raise UsageError(
            f"this worker imported another version of {name} than was planned: restart it."
        )
    _checked.add(of)


def _strategy(name: str) -> Strategy:
    try:
        return resolve(name)
    except UsageError as error:
        if isinstance(error.__cause__, ImportError):  # the user's modules are not on this worker
            raise
        raise RuntimeError(str(error)) from error  # of this strategy alone


def _run_of(cell: Cell) -> Run:
    rate = cell.training["learning_rate"]
    return Run(cell.strategy, cell.hyperparameters, rate, random_seed(cell))


def _baselines(cells: Sequence[Cell], dataset: Dataset, save: Collection[str]) -> Reply:
    finished, kept = [], {}
    for cell in cells:
        started = time.perf_counter()
        data = data_of(dataset, cell.split)
        values, output, blocks = baselines.measure(cell.strategy, data)
        metrics = cell.training.get("metrics", "")
        own = own_metrics(metrics, output, data["final"], data["scale"])
        values |= {name: float(value) for name, value in own.items()}
        arrays = _examples(dataset, cell.split, output[data["examples"]])
        arrays |= {"block_mse": blocks}
        finished.append((make_record(cell, values, time.perf_counter() - started), arrays))
        kept[cell.id] = _saved(dataset, cell.split, output if "predictions" in save else None)
    return Reply(finished, saved=kept)


def make_record(
    cell: Cell, metrics: Mapping[str, float], seconds: float, error: str | None = None
) -> Record:
    """A finished cell's record, or with `error` a failed one's."""
    timing = {"train_seconds": seconds, "devices": jax.local_device_count()}
    if error:
        return Record(cell, "failed", timing=timing, error=error)
    return Record(cell, metrics=metrics, timing=timing)


def _examples(dataset: Dataset, split: str, output: np.ndarray) -> Arrays:
    """Of the example windows; NaN for targets that do not count."""
    rows = example_windows(dataset, split)
    part = {key: array[rows] for key, array in dataset.part(split).items() if array is not None}
    counts = part.get("where", np.ones(1, bool))
    part["targets"] = np.where(counts, part["targets"], np.nan)
    known = {key: part[key] for key in SHOWN if key in part}
    if dataset.times is not None:
        known["times"] = dataset.times[dataset.rows(split)][rows].astype(str)
    return {f"example_{key}": array for key, array in known.items()} | {"example_output": output}


def _saved(
    dataset: Dataset, split: str, output: np.ndarray | None, parameters: Any = None
) -> dict[str, Arrays]:
    """What a cell saves, by kind: of an output its predictions, of parameters its weights."""
    found = {}
    if output is not None:
        found["predictions"] = _predictions(dataset, split, output)
    if parameters is not None:
        leaves = jax.tree_util.tree_leaves_with_path(parameters)
        named = {_place(path): np.asarray(leaf) for path, leaf in leaves}
        found["weights"] = named | _scaling(dataset)
    return found


def _predictions(dataset: Dataset, split: str, output: np.ndarray) -> Arrays:
    part, rows = dataset.part(split), dataset.rows(split)
    shown = {side: part[side] for side in (*BOUNDS, *SUMS) if part[side] is not None}
    counts = True if part["where"] is None else part["where"]
    shown |= {"outputs": output, "targets": np.where(counts, part["targets"], np.nan)}
    found = {key: array * np.float32(dataset.scale) for key, array in shown.items()}
    times = {} if dataset.times is None else {"times": dataset.times[rows].astype(str)}
    return {**found, "window": np.arange(len(dataset.split))[rows], **times}


def _scaling(dataset: Dataset) -> Arrays:
    found = {"scale": np.array(dataset.scale)}
    for key, (deviation, mean) in dataset.standards.items():
        found |= {f"{key}_mean": mean, f"{key}_deviation": deviation}
    return {f"{SCALING}/{key}": array for key, array in found.items()}


def _place(path: Sequence[Any]) -> str:
    """In a tree of parameters, by the names of its modules."""
    return "/".join(str(step.key) for step in path if isinstance(step, jax.tree_util.DictKey))
