"""What a sweep survives, at length: `python -m pytest -m slow`."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from experiments import store, sweep
from experiments.running.fingerprints import fingerprints
from experiments.running.plan import lay_out
from experiments.running.presets import make_plan
from experiments.training.baselines import BASELINES

pytestmark = pytest.mark.slow
PLAN = ["--preset", "smoke", "--seeds", "8"]
CELLS = 2 * (4 * 8 + len(BASELINES))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """One compilation cache for every process that these tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("xla")))
        yield


def start(*command):
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process, status=0):
    printed = process.communicate(timeout=300)[0]
    assert process.returncode == status, printed
    return printed


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(start("experiments.sweep", *PLAN, "--out", str(folder)))
    return folder


def records_in(folder):
    return len(list(folder.glob("cells/*.json")))


def assert_complete(folder, expected):
    """One valid record a cell, nothing else, and the same summary to the byte."""
    names = {path.name for path in (expected / "cells").iterdir()}
    assert {path.name for path in (folder / "cells").iterdir()} == names
    assert len(store.load(folder)) == CELLS
    assert (folder / "summary.csv").read_bytes() == (expected / "summary.csv").read_bytes()


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def wait_for_a_record(folder, process):
    before = records_in(folder)
    wait_for(lambda: records_in(folder) > before or process.poll() is not None)


@pytest.mark.parametrize("where", [[], ["--workers", "2"]], ids=["one process", "two processes"])
def test_a_sweep_killed_at_twenty_random_moments_ends_like_an_undisturbed_one(
    tmp_path, undisturbed, where
):
    generator = random.Random(0)
    for index in range(20):
        process = start("experiments.sweep", *PLAN, *where, "--out", str(tmp_path))
        if index % 5 == 0:  # while it starts
            time.sleep(generator.uniform(0, 4))
        else:  # while it trains and writes
            wait_for_a_record(tmp_path, process)
            time.sleep(generator.uniform(0, 0.3))
        process.kill()
        process.communicate()
    finish(start("experiments.sweep", *PLAN, *where, "--out", str(tmp_path)))
    assert_complete(tmp_path, undisturbed)


@contextmanager
def dask_scheduler(folder):
    file = folder / "scheduler.json"
    loopback = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"]
    process = start("distributed.cli.dask_scheduler", *loopback, "--scheduler-file", str(file))
    try:
        wait_for(file.exists)
        yield str(file), process
    finally:
        kill(process)


@contextmanager
def dask_worker(file, folder):
    options = ["--nthreads", "1", "--host", "127.0.0.1", "--local-directory", str(folder)]
    process = start("distributed.cli.dask_worker", "--scheduler-file", file, *options)
    try:
        yield process
    finally:
        kill(process)


def kill(process):
    """A process and those that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_of_two_dask_workers_one_is_killed_and_a_third_joins(tmp_path, undisturbed):
    out = tmp_path / "out"
    with (
        dask_scheduler(tmp_path) as (file, _),
        dask_worker(file, tmp_path) as first,
        dask_worker(file, tmp_path),
    ):
        process = start("experiments.sweep", *PLAN, "--dask", file, "--out", str(out))
        wait_for(lambda: records_in(out) > 8)
        os.killpg(first.pid, signal.SIGKILL)
        with dask_worker(file, tmp_path):
            finish(process)
    assert_complete(out, undisturbed)


def test_a_dask_scheduler_that_dies_ends_the_session_with_an_error(tmp_path, undisturbed):
    out = tmp_path / "out"
    with dask_scheduler(tmp_path) as (file, scheduler), dask_worker(file, tmp_path):
        process = start("experiments.sweep", *PLAN, "--dask", file, "--out", str(out))
        wait_for(lambda: records_in(out) > 8)
        os.killpg(scheduler.pid, signal.SIGKILL)
        assert "the scheduler does not answer any more" in finish(process, status=1)
    finish(start("experiments.sweep", *PLAN, "--out", str(out)))
    assert_complete(out, undisturbed)


def test_ten_thousand_cells_are_planned_skipped_and_summarised(tmp_path, undisturbed, capsys):
    plan = ["--preset", "full", "--datasets", "irradiance,sines", "--seeds", "96"]
    plan += ["--tuning-seeds", "0"]
    changes = {"datasets": ("irradiance", "sines"), "seeds": 96, "tuning_seeds": 0}
    layout = lay_out(make_plan("full", **changes))
    assert len(layout.cells) == 2 * (26 * 2 * 96 + len(BASELINES))
    like = next(r for r in store.read(undisturbed) if r.cell.is_trained)
    arrays, seconds = store.load_arrays(undisturbed, like.id), {}
    made_by = fingerprints(layout.cells.values(), layout.datasets, {})
    with store.opened(tmp_path):
        started = time.perf_counter()
        for key, cell in layout.cells.items():
            store.save(tmp_path, replace(like, cell=cell, fingerprint=made_by[key]), arrays)
        seconds["save"] = time.perf_counter() - started
    for name in ("dry run", "figures drawn", "nothing to do"):
        options = ["--dry-run"] if name == "dry run" else ["--minutes", "1"]
        started = time.perf_counter()
        assert sweep.main([*plan, "--out", str(tmp_path), *options]) == 0
        seconds[name] = time.perf_counter() - started
    printed = capsys.readouterr().out
    assert re.search(r"9990 cells, 9990 of them done; 0 to run", printed)
    rows = (tmp_path / "summary.csv").read_text().splitlines()
    assert len(rows) == 1 + 9990 * len(like.metrics)
    with capsys.disabled():
        print({name: f"{value:.1f} s" for name, value in seconds.items()})
