"""Who runs which cells, and what becomes of those whose worker fails."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool

import pytest

from experiments import devices, executors, figures, store, sweep
from experiments.choices import UsageError
from experiments.executors import TeamLostError, Worker

A, B = ("a", "bottleneck"), ("b", "bottleneck")


def make_cells(group, count):
    return [{"dataset": {"name": group[0]}, "seed": seed} for seed in range(count)]


def make_request(group, cells):
    return {"group": group, "cells": cells}


class Scripted(Executor):
    """Answers what `answer(cells)` returns or raises; nothing at all where it returns None."""

    def __init__(self, answer, log=None):
        self.answer, self.log = answer, log if log is not None else []

    def submit(self, function, request):
        self.log.append((request["group"], [cell["seed"] for cell in request["cells"]]))
        future = Future()
        future.set_running_or_notify_cancel()
        try:
            answer = self.answer(request["cells"])
            if answer is not None:
                future.set_result(answer)
        except Exception as error:
            future.set_exception(error)
        return future


def finish(cells):
    return {"finished": [{"record": {"config": cell}} for cell in cells], "compile_seconds": 1.0}


def dies_on(*seeds):
    def answer(cells):
        if any(cell["seed"] in seeds for cell in cells):
            raise BrokenProcessPool("killed")
        return finish(cells)

    return answer


def run(groups, workers, **options):
    replies = executors.run(groups, make_request, lambda: workers, **options)
    return [found["record"] for reply in replies for found in reply["finished"]]


def failures(records):
    return {r["config"]["seed"]: r["error"] for r in records if r.get("status") == "failed"}


def test_every_cell_runs_once_in_batches_of_the_workers_size():
    worker = Worker(Scripted(finish), 2, ["cpu"])
    records = run({A: make_cells(A, 5), B: make_cells(B, 1)}, [worker])
    assert worker.executor.log == [(A, [0, 1]), (A, [2, 3]), (A, [4]), (B, [0])]
    assert len(records) == 6


def test_workers_keep_to_the_group_they_compiled_and_then_help():
    log = []
    workers = [Worker(Scripted(finish, log), 1, ["cpu"]) for _ in range(2)]
    run({A: make_cells(A, 3), B: make_cells(B, 5)}, workers)
    assert log[:6] == [(A, [0]), (B, [0]), (A, [1]), (B, [1]), (A, [2]), (B, [2])]
    assert log[6:] == [(B, [3]), (B, [4])]


def test_a_batch_whose_worker_dies_is_run_again_then_cell_by_cell():
    restarts = []
    worker = Worker(Scripted(dies_on(1)), 3, ["cpu"], lambda: restarts.append(1))
    records = run({A: make_cells(A, 4)}, [worker])
    assert [seeds for _, seeds in worker.executor.log] == [[0, 1, 2], [0, 1, 2], [0], [1], [2], [3]]
    assert len(restarts) == 3
    assert len(records) == 4
    assert failures(records) == {1: "the worker died 3 times (BrokenProcessPool: killed)"}


def test_a_batch_whose_worker_dies_once_loses_nothing():
    deaths = [BrokenProcessPool("killed")]

    def answer(cells):
        if deaths:
            raise deaths.pop()
        return finish(cells)

    records = run({A: make_cells(A, 2)}, [Worker(Scripted(answer), 2, ["cpu"])])
    assert len(records) == 2
    assert not failures(records)


def test_a_batch_that_gives_an_error_is_run_cell_by_cell():
    def answer(cells):
        seeds = [cell["seed"] for cell in cells]
        return {"error": f"seeds {seeds}", "refused": False} if 1 in seeds else finish(cells)

    worker = Worker(Scripted(answer), 2, ["cpu"])
    records = run({A: make_cells(A, 2)}, [worker])
    assert [seeds for _, seeds in worker.executor.log] == [[0, 1], [0], [1]]
    assert failures(records) == {1: "seeds [1]"}


def test_a_batch_that_takes_too_long_is_ended_and_run_cell_by_cell():
    restarts = []

    def answer(cells):
        return None if any(cell["seed"] == 1 for cell in cells) else finish(cells)

    worker = Worker(Scripted(answer), 2, ["cpu"], lambda: restarts.append(1))
    records = run({A: make_cells(A, 2)}, [worker], timeout=0.1)
    assert failures(records) == {1: "it took longer than 0.1 seconds"}
    assert len(records) == 2
    assert len(restarts) == 2


def test_what_a_worker_refuses_ends_the_run():
    worker = Worker(Scripted(lambda cells: {"error": "other data", "refused": True}), 2, ["cpu"])
    with pytest.raises(UsageError, match="other data"):
        run({A: make_cells(A, 2)}, [worker])


def test_a_worker_that_is_dead_already_is_replaced():
    worker = Worker(Scripted(finish), 1, ["cpu"])

    class Dead(Executor):
        def submit(self, function, request):
            raise BrokenProcessPool("dead")

    def restart():
        worker.executor = Scripted(finish)

    worker.executor, worker.restart = Dead(), restart
    assert len(run({A: make_cells(A, 2)}, [worker])) == 2


def test_stopping_finishes_what_runs_and_begins_no_more():
    worker = Worker(Scripted(finish), 1, ["cpu"])
    records = run({A: make_cells(A, 5)}, [worker], stopping=lambda: len(worker.executor.log) == 2)
    assert len(records) == 2


def test_workers_that_come_late_are_waited_for(monkeypatch):
    monkeypatch.setattr(executors, "POLL_SECONDS", 0.01)
    waits = []

    def team():
        return [Worker(Scripted(finish), 1, ["cpu"])] if len(waits) == 2 else []

    def on_wait():
        waits.append(1)

    replies = executors.run({A: make_cells(A, 1)}, make_request, team, on_wait=on_wait)
    assert len(list(replies)) == 1
    assert len(waits) == 2


def test_no_cells_need_no_workers():
    assert run({}, []) == []
    assert run({A: []}, []) == []


def test_a_team_that_is_lost_ends_the_run():
    def team():
        raise TeamLostError("gone")

    with pytest.raises(TeamLostError):
        list(executors.run({A: make_cells(A, 1)}, make_request, team))


# Wide enough for a product to depend on how many threads share it.
SMOKE = {
    "preset": "smoke",
    "datasets": ["irradiance"],
    "strategies": ["clip", "bound"],
    "seeds": 2,
    "hidden": 150,
    "epochs": 2,
}


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Figures say nothing here, and take longer than the cells."""
    monkeypatch.setattr(figures, "draw_all", lambda folder, found: None)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """One compilation cache for every process that these tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("xla")))
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    sweep.run_sweep(**SMOKE, out=folder)
    return folder


def assert_same(folder, expected):
    """The same cells, the same numbers to the bit, the same arrays."""
    assert (folder / "summary.csv").read_bytes() == (expected / "summary.csv").read_bytes()
    names = sorted(path.name for path in (expected / "cells").glob("*.npz"))
    assert sorted(path.name for path in (folder / "cells").glob("*.npz")) == names
    for name in names:
        assert (folder / "cells" / name).read_bytes() == (expected / "cells" / name).read_bytes()


def kill_at_first_record(monkeypatch, find_process):
    """kill -9 a worker once a first record is there."""
    save, killed = store.save, []

    def save_and_kill(*arguments):
        save(*arguments)
        if not killed:
            killed.append(find_process())
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(store, "save", save_and_kill)
    return killed


def test_a_pool_gives_the_same_bits(tmp_path, undisturbed):
    sweep.run_sweep(**SMOKE, out=tmp_path, workers=2)
    assert_same(tmp_path, undisturbed)
    assert store.read_manifest(tmp_path)["where"] == "2 processes"
    assert not multiprocessing.active_children()


def test_a_pool_of_which_a_worker_is_killed_gives_the_same_bits(tmp_path, undisturbed, monkeypatch):
    killed = kill_at_first_record(monkeypatch, lambda: multiprocessing.active_children()[0].pid)
    sweep.run_sweep(**SMOKE, out=tmp_path, workers=2)
    assert killed
    assert_same(tmp_path, undisturbed)


DEADLY = """
import multiprocessing, os, signal
import jax.numpy as jnp

def half(raw, lower=None, upper=None):
    if multiprocessing.parent_process():
        os.kill(os.getpid(), signal.SIGKILL)
    return jnp.minimum(raw, upper)
"""


def test_cells_that_kill_every_worker_become_failed_records(tmp_path, monkeypatch):
    (tmp_path / "deadly.py").write_text(DEADLY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    plan = ["--preset", "smoke", "--datasets", "irradiance", "--seeds", "1", "--workers", "1"]
    strategies = ["--strategies", "deadly:half,bound"]
    assert sweep.main([*plan, *strategies, "--out", "out"]) == 1
    statuses = {r["config"]["strategy"]["name"]: r for r in store.load("out")}
    assert statuses["bound"]["status"] == "done"
    for name in ("unconstrained", "clip", "deadly:half"):
        assert "the worker died" in statuses[name]["error"]


def test_a_new_workers_start_does_not_count_against_its_batch():
    """After a timeout the worker is replaced, and takes longer to start than the batch may take."""
    team = executors.pool(1)
    with team as workers:
        (worker,) = workers()
        started = time.monotonic()
        worker.restart()
        wait = time.monotonic() - started
        done = worker.executor.submit(os.getpid)
        assert done.result(timeout=wait / 2) > 0


def test_a_worker_that_dies_while_it_starts_is_started_again():
    process = executors._Process(devices.cores(), {})
    first = next(iter(process.executor._processes))
    os.kill(first, signal.SIGKILL)
    assert process.hello()["process"] != first
    process.kill()


def test_workers_leave_ctrl_c_to_the_process_that_started_them():
    process = executors._Process(devices.cores(), {})
    first = next(iter(process.executor._processes))
    os.kill(first, signal.SIGINT)
    assert process.hello()["process"] == first
    process.kill()


distributed = pytest.importorskip("distributed")


def test_a_local_dask_cluster_gives_the_same_bits(tmp_path, undisturbed):
    sweep.run_sweep(**SMOKE, out=tmp_path, dask="local")
    assert_same(tmp_path, undisturbed)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("tcp://127.0.0.1:9", "no scheduler answers there"),
        ("tls://127.0.0.1:9", "no scheduler answers there .*TLS"),
        ("no/such/file.json", "no such file"),
        (__file__, "no scheduler answers there"),
    ],
)
def test_a_dask_address_without_a_scheduler_is_refused(tmp_path, address, reason):
    with pytest.raises(UsageError, match=reason):
        sweep.run_sweep(**SMOKE, out=tmp_path, dask=address)


def test_a_local_dask_cluster_leaves_gpus_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(UsageError, match="there are GPUs here: give --workers N"):
        sweep.run_sweep(**SMOKE, out=tmp_path, dask="local")
