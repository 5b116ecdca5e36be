"""What a worker does: a batch of cells comes as plain JSON, its records go back as plain JSON.

So the same function serves this process, a process pool and a cluster.
"""

import ast
import base64
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import baselines, devices
from experiments.baselines import BASELINES
from experiments.choices import UsageError
from experiments.datasets import Dataset, load
from experiments.plan import SPLIT_OF_PHASE, settings_of
from experiments.store import Cell, Record, identity
from experiments.strategies import Strategy, resolve
from experiments.training import Runner, example_windows

ROOT = Path(__file__).parent.parent
Request = dict[str, Any]
Reply = dict[str, Any]


@cache
def source_hash() -> str:
    """SHA-256 of the sources that decide numbers: training, baselines, and all that they import,
    but for what makes the arrays, which have hashes of their own."""
    todo = [ROOT / "experiments" / name for name in ("training.py", "baselines.py")]
    files = {ROOT / "experiments" / name for name in ("catalogue.py", "data/build.py")}
    left_out = set(files)
    while todo:
        path = todo.pop()
        if path not in files:
            files.add(path)
            todo += _imports(path)
    digest = hashlib.sha256()
    for path in sorted(files - left_out):
        digest.update(path.name.encode() + b"\n" + path.read_bytes())
    return digest.hexdigest()


def _imports(path: Path) -> list[Path]:
    """The modules of this project that a module imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    files = [ROOT / f"{name.replace('.', '/')}.py" for name in names]
    return [file for file in files if file.is_file()]


def make_request(
    cells: Sequence[Cell], dataset: str, strategies: Sequence[str], allow_infeasible: bool
) -> Request:
    """A batch of cells of one dataset, backbone, phase and settings, or of baselines.

    Args:
      cells: the cells.
      dataset: the dataset's name or path.
      strategies: names of every trained row that a cell of the sweep may have; all are compiled.
      allow_infeasible: whether targets may break their bounds.
    """
    return {
        "cells": list(cells),
        "dataset": dataset,
        "strategies": list(strategies),
        "allow_infeasible": allow_infeasible,
        "sources": source_hash(),
    }


def run_batch(request: Request, on_epochs: Callable[[int], None] = lambda epochs: None) -> Reply:
    """Run a batch of cells.

    Args:
      request: from `make_request`.
      on_epochs: called with the cells times epochs done, after each compiled chunk.

    Returns:
      `finished`, a list of `record` and `arrays` (see `decode`), and `compile_seconds`; or
      `error`, a text, with `refused` set where no other worker could do better.
    """
    devices.fix_threads()
    devices.use_compilation_cache()
    try:
        if request["sources"] != source_hash():
            raise UsageError(
                f"this worker runs other code (sources {source_hash()[:12]}) than the sweep "
                f"({request['sources'][:12]}): start it from the same checkout."
            )
        return _run(request, on_epochs)
    except Exception as error:
        refused = isinstance(error, UsageError)
        text = str(error) if refused else f"{type(error).__name__}: {error}"
        return {"error": text, "refused": refused}


def _run(request: Request, on_epochs: Callable[[int], None]) -> Reply:
    cells, first = request["cells"], request["cells"][0]
    split = SPLIT_OF_PHASE[first["phase"]]
    dataset = _dataset(request["dataset"], request["allow_infeasible"], first["dataset"]["hash"])
    if first["strategy"]["name"] in BASELINES:
        finished = [_baseline(cell, dataset, split) for cell in cells]
        return {"finished": finished, "compile_seconds": 0.0}
    strategies = tuple(map(_strategy, request["strategies"]))
    _check_hashes(cells, strategies)
    runner = Runner(dataset, first["backbone"], settings_of(first), strategies, split)
    finished = []
    for start in range(0, len(cells), runner.batch):
        batch = cells[start : start + runner.batch]
        results = runner.run([_job(cell) for cell in batch], on_epochs)
        for cell, result in zip(batch, results, strict=True):
            arrays = {f"history_{name}": row for name, row in result.history.items()}
            arrays |= _examples(dataset, split, result.examples)
            values = {name: value for name, value in result.metrics.items() if name != "loss"}
            record = make_record(cell, values, _timing(result.seconds), result.error)
            finished.append({"record": record, "arrays": _encode(arrays)})
    return {"finished": finished, "compile_seconds": runner.compile_seconds}


@lru_cache(maxsize=4)
def _dataset(name: str, allow_infeasible: bool, expected_hash: str) -> Dataset:
    dataset = load(name, allow_infeasible)
    if dataset.hash != expected_hash:
        raise UsageError(
            f"{name} is not what was planned (its hash is {dataset.hash[:12]}, planned was "
            f"{expected_hash[:12]}): it changed since, or differs on this worker."
        )
    return dataset


def _check_hashes(cells: Sequence[Cell], strategies: Sequence[Strategy]) -> None:
    known = {strategy.name: strategy.hash for strategy in strategies}
    for strategy in (cell["strategy"] for cell in cells):
        if known[strategy["name"]] != strategy.get("hash"):
            raise UsageError(
                f"this worker imported another version of {strategy['name']} than was planned: "
                "restart it."
            )


@cache
def _strategy(name: str) -> Strategy:
    return resolve(name)


def _job(cell: Cell) -> tuple[str, dict[str, float], float, int]:
    strategy, learning_rate = cell["strategy"], cell["training"]["learning_rate"]
    return strategy["name"], strategy["hyperparameters"], learning_rate, cell["seed"]


def _baseline(cell: Cell, dataset: Dataset, split: str) -> dict[str, Any]:
    started = time.perf_counter()
    values, output = baselines.measure(cell["strategy"]["name"], dataset, split)
    arrays = _examples(dataset, split, output[example_windows(dataset, split)])
    record = make_record(cell, values, _timing(time.perf_counter() - started), None)
    return {"record": record, "arrays": _encode(arrays)}


def make_record(
    cell: Cell,
    metrics: Mapping[str, float] = {},
    timing: Mapping[str, float] = {},
    error: str | None = None,
) -> Record:
    """A finished cell's record, or with `error` a failed one's."""
    return {
        "id": identity(cell),
        "status": "failed" if error else "done",
        "config": cell,
        "metrics": {} if error else dict(metrics),
        "timing": dict(timing),
        "error": error,
        "sources": source_hash(),
    }


def _timing(seconds: float) -> dict[str, float]:
    return {"train_seconds": seconds, "devices": jax.local_device_count()}


def _examples(dataset: Dataset, split: str, output: np.ndarray) -> dict[str, np.ndarray]:
    rows = example_windows(dataset, split)
    part = {key: array for key, array in dataset.part(split).items() if array is not None}
    examples = {f"example_{key}": array[rows] for key, array in part.items()}
    return examples | {"example_output": output}


def _encode(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {
        name: {
            "dtype": str(array.dtype),
            "shape": array.shape,
            "data": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode(),
        }
        for name, array in arrays.items()
    }


def decode(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a reply, to the bit."""
    return {
        name: np.frombuffer(base64.b64decode(found["data"]), found["dtype"]).reshape(found["shape"])
        for name, found in arrays.items()
    }
