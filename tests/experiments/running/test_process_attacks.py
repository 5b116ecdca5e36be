"""What a user's strategy, a worker, a signal or a setting can do to a sweep, and what it cannot.

Cells are not trained here, but where it says so: a scripted runner stands for the compiled one.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import store, sweep
from experiments.figures import draw
from experiments.running import scheduling, watch, worker
from experiments.running.executors import TeamLostError, here
from experiments.running.options import Options
from experiments.running.team import Lot
from experiments.training import limits
from experiments.training.own_strategies import resolve
from experiments.training.runner import Result
from experiments.usage import UsageError

OWN = "bounded.constraints:half_tanh"
SMOKE = ["--preset", "smoke", "--datasets", "irradiance", "--seeds", "2"]
METRICS = {"mse": 1.0, "r2": 0.5, "violation_rate": 0.0}


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    monkeypatch.setattr(draw, "draw_all", lambda folder, found: None)


@pytest.fixture
def scripted(monkeypatch):
    """In place of training: calls what is given with the names of a program's strategies."""

    def put(on_compile):
        class Scripted:
            batch, compile_seconds = 2, 0.0

            def __init__(self, dataset, backbone, settings, strategies, split):
                self.shape = (2, *dataset.targets.shape[1:])
                on_compile({strategy.name for strategy in strategies})

            def run(self, runs, on_epochs):
                on_epochs(len(runs))
                history = {"epoch": np.ones(1)}
                return [Result(METRICS, history, np.zeros(self.shape), None) for _ in runs]

        monkeypatch.setattr(worker, "Runner", Scripted)
        # What traces a strategy of the user's takes longer than the limits here.
        monkeypatch.setattr(Options, "patience", None)
        monkeypatch.setattr(worker, "_check_own", lambda request, dataset: None)

    return put


def statuses(folder):
    return {
        (record.cell.strategy, record.cell.seed): record.error or record.status
        for record in store.read(folder)
    }


class StrangeError(BaseException):
    pass


def raises(error):
    raise error


FAULTS = {
    "no kernel": (lambda: raises(RuntimeError("no kernel")), "RuntimeError: no kernel"),
    "exit": (lambda: sys.exit(0), "SystemExit: 0"),
    "strange": (lambda: raises(StrangeError("odd")), "StrangeError: odd"),
    "hang": (lambda: time.sleep(600), "it took longer than 1 seconds"),
    "spin": (lambda: spin(), "it took longer than 1 seconds"),
}


def spin():
    """As a loop does that catches every error."""
    while True:
        with suppress(Exception):
            sum(range(1000))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_users_strategy_that_fails_costs_its_own_rows_alone(tmp_path, scripted, fault):
    action, said = FAULTS[fault]
    scripted(lambda names: action() if OWN in names else None)
    options = ["--strategies", OWN, "--timeout", "1", "--out", str(tmp_path)]
    assert sweep.main([*SMOKE, *options]) == 1
    others = {(name, seed): "done" for name in ("unconstrained", "clip") for seed in (0, 1)}
    assert statuses(tmp_path) == {**others, (OWN, 0): said, (OWN, 1): said}


def test_a_row_of_the_table_that_fails_costs_its_own_rows_alone(tmp_path, scripted):
    scripted(lambda names: raises(RuntimeError("no kernel")) if "half_tanh" in names else None)
    options = ["--strategies", "half_tanh,relu_offset", "--out", str(tmp_path)]
    assert sweep.main([*SMOKE, *options]) == 1
    failed = {place for place, status in statuses(tmp_path).items() if status != "done"}
    assert failed == {("half_tanh", 0), ("half_tanh", 1)}
    assert len(statuses(tmp_path)) == 4 * 2


def test_minutes_end_what_hangs_in_one_process(tmp_path, scripted, capsys):
    scripted(lambda names: time.sleep(600) if OWN in names else None)
    options = ["--strategies", f"{OWN},bound", "--minutes", "0.1", "--out", str(tmp_path)]
    assert sweep.main([*SMOKE, *options]) == 0
    assert "2 cells left" in capsys.readouterr().out
    assert {name for name, _ in statuses(tmp_path)} == {"unconstrained", "clip", "bound"}


def test_what_hangs_on_a_worker_when_the_minutes_are_over_is_waited_for_no_longer(monkeypatch):
    monkeypatch.setattr(watch, "LAST_SECONDS", 0.2)
    session = watch.Watch(minutes=1e-9)
    session.wait_no_longer()
    time.sleep(0.3)
    with pytest.raises(watch.Over):
        session.wait_no_longer()
    watch.Watch(None).wait_no_longer()
