"""Sweeps for tests, and a runner that trains nothing, behind the seam of `running/worker.py`."""

import csv
import math
import zlib
from functools import partial
from itertools import islice

import numpy as np
import pytest

from experiments.data.datasets import Dataset
from experiments.figures import draw
from experiments.running import fingerprints, worker
from experiments.running.syntax import digest
from experiments.training.blocks import MOST
from experiments.training.cell import Settings, example_windows
from experiments.training.runner import Result, Runner, cells_at_once
from tests.sampled import sampled

SMOKE = ["--preset", "smoke", "--seeds", "1"]
DIVERGING = 1e38  # a learning rate
OF_SUMS = ("sum_violation_rate", "sum_violation_rate_1e-4", "sum_violation_max")
RELIANCES = "code_reliance", "raw_code_reliance"
METRICS = {
    "mse",
    "mae",
    "r2",
    "violation_mean",
    "violation_max",
    "violation_rate",
    "violation_rate_1e-4",
    "active_fraction",
    "gradient_dead_fraction",
    "constraint_dead_fraction",
    "gradient_vanishing_fraction",
    "blocked_fraction",
    "gradient_norm",
    *RELIANCES,
    "jacobian_rank_fraction",
    *OF_SUMS,
}
AT_THE_END = {"gradient_norm", *RELIANCES, "jacobian_rank_fraction", *OF_SUMS}


def draw_only(patch, start, most=None):
    """From now on the figures alone whose names begin so, or so many of them."""
    every = draw.sketches

    def some(*of):
        return islice((one for one in every(*of) if one.name.startswith(start)), most)

    patch.setattr(draw, "sketches", some)


def trace_nothing(patch, of_users=True):
    """Fingerprints follow from what they are of, but of what is the user's: to trace a program
    takes a second."""
    part = fingerprints.Part

    def of_its_key(key, trace, kept=True):
        return part(key, trace if of_users and not kept else partial(digest, key), kept)

    patch.setattr(fingerprints, "Part", of_its_key)
    patch.setattr(fingerprints, "_file", lambda: None)  # where other tests look for true ones


class Scripted:
    """A `Runner` whose numbers follow from the cell alone, by a hash of it."""

    compile_seconds = 0.0

    def __init__(
        self,
        dataset: Dataset,
        backbone: str,
        settings: Settings,
        strategies,
        split="test",
        save=(),
        own=(),
        cells=1,
    ):
        self.batch, self.each = cells_at_once(), 1
        self._of = f"{dataset.name} {backbone} {settings} {split}"
        self._save, self._output = save, dataset.part(split)["targets"]
        self._settings, self._names = settings, {row.name for row in strategies}
        self._examples = dataset.part(split)["targets"][example_windows(dataset, split)]

    def run(self, runs, on_epochs=lambda epochs: None):
        assert 1 <= len(runs) <= self.batch
        for _ in range(self._chunks):
            on_epochs(self._settings.evaluate_every * len(runs))
        return [self._result(run) for run in runs]

    @property
    def _chunks(self):
        return self._settings.epochs // self._settings.evaluate_every

    def _result(self, run):
        assert run.strategy in self._names
        share = zlib.crc32(f"{self._of} {run}".encode()) / 2**32
        metrics = dict.fromkeys(sorted(METRICS), share) | dict.fromkeys(OF_SUMS, math.nan)
        epochs = self._settings.evaluate_every * np.arange(1, self._chunks + 1)
        names = ("loss", "train_loss", *sorted(METRICS - AT_THE_END))
        history = {"epoch": epochs, **dict.fromkeys(names, share / epochs)}
        error = "diverged" if run.learning_rate >= DIVERGING else None
        output = self._output * share if "predictions" in self._save else None
        blocks = np.full(min(MOST, len(self._output)), share, np.float32)
        return Result(metrics, history, self._examples * share, blocks, error, output=output)


def run_by(patch, runner):
    """Sweeps from now on; what nothing trains is not traced."""
    patch.setattr(worker, "Runner", runner)
    if runner is Scripted:
        trace_nothing(patch)


# What a sweep is named, planned and drawn by; trained as well where all cases are tested.
by_either = pytest.mark.parametrize(
    "runner",
    sampled([Scripted, Runner], [Scripted]),
    ids=["scripted", "trained"],
)


def strategy_of(record):
    return record["config"]["strategy"]["name"]


def rows_of(folder):
    with open(folder / "summary.csv", newline="") as file:
        return list(csv.DictReader(file))
