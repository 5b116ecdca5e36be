"""Who runs which cells, and what becomes of those whose worker fails."""

import importlib
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from experiments import store, sweep
from experiments.cells import Cell
from experiments.figures import draw
from experiments.running import executors, scheduling, session, watch
from experiments.running.team import Lot, Request
from experiments.running.worker import run_batch
from experiments.training import devices, runner
from experiments.usage import UsageError
from tests.experiments.running import without_jax
from tests.experiments.running.test_worker import baseline_request
from tests.experiments.training.line import WIDE, wide_gradient

SMOKE = {
    "preset": "smoke",
    "datasets": ["irradiance"],
    "strategies": ["clip", "bound"],
    "backbones": [WIDE],
    "seeds": 1,
    "epochs": 2,
    "updates": 4,
}


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Figures say nothing here, and take longer than the cells."""
    monkeypatch.setattr(draw, "draw_all", lambda folder, found: None)


@pytest.fixture
def light(monkeypatch):
    """Workers that are started and ended as ever, and import no jax."""
    monkeypatch.setattr(executors, "_prepare_worker", os.getpid)
    monkeypatch.setattr(executors, "_hello", without_jax.hello)


OPTIMISED = pytest.param(True, marks=[pytest.mark.optimised, pytest.mark.slow], id="optimised")


@pytest.fixture(scope="module", params=[pytest.param(False, id="unoptimised"), OPTIMISED])
def alike(request, quick_flags):
    """Other processes compile as this one does."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.param:
            patch.setenv("XLA_FLAGS", quick_flags)
        runner._compile.cache_clear()
        yield


@pytest.fixture(scope="module")
def undisturbed(alike, tmp_path_factory):
    """A sweep in this process."""
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


@pytest.mark.usefixtures("alike")
def test_a_worker_on_fewer_cores_gives_the_same_bits(monkeypatch):
    """Of what depends on how many threads there are."""
    devices.fix_threads()
    here = wide_gradient()
    monkeypatch.setattr(devices, "cores", lambda: [0])
    with executors.pool(1) as team:
        (worker,) = team()
        there = worker.executor.submit(wide_gradient).result()
        reply = worker.executor.submit(run_batch, baseline_request()).result()
    np.testing.assert_equal(there, here)
    expected = run_batch(baseline_request()).finished
    for (record, arrays), (other, others) in zip(expected, reply.finished, strict=True):
        np.testing.assert_equal((other.metrics, others), (record.metrics, arrays))
    check_none_is_left()


@pytest.mark.usefixtures("light", "untraced")
def test_a_sweep_is_run_by_its_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "run_batch", without_jax.finish)
    sweep.run_sweep(**SMOKE | {"backbones": ["mlp"]}, out=tmp_path, workers=1)
    ran_in = {record.metrics["mse"] for record in store.read(tmp_path)}
    assert len(ran_in) == 1
    assert os.getpid() not in ran_in
    assert store.read_manifest(tmp_path)["where"] == "1 processes"
    check_none_is_left()


@pytest.mark.thorough  # as the two above, in training
def test_a_sweep_on_fewer_cores_gives_the_same_bits(tmp_path, undisturbed, monkeypatch):
    monkeypatch.setattr(devices, "cores", lambda: [0])
    sweep.run_sweep(**SMOKE, out=tmp_path, workers=1)
    assert_same(tmp_path, undisturbed)
    check_none_is_left()


@pytest.mark.thorough  # as above, and below without training
def test_a_pool_of_which_a_worker_is_killed_gives_the_same_bits(tmp_path, undisturbed, monkeypatch):
    two_seeds, here, pool = SMOKE | {"seeds": 2}, tmp_path / "here", tmp_path / "pool"
    sweep.run_sweep(**two_seeds, out=here)
    killed = kill_at_first_record(monkeypatch, lambda: multiprocessing.active_children()[0].pid)
    sweep.run_sweep(**two_seeds, out=pool, workers=2)
    assert killed
    assert_same(pool, here)
    assert store.read_manifest(pool)["where"] == "2 processes"
    check_none_is_left()


@pytest.mark.usefixtures("light")
def test_a_cell_that_kills_every_worker_becomes_a_failed_record():
    cells = [Cell("irradiance", "", "final", name, "none", 0) for name in ("bound", "deadly")]
    lot = Lot("irradiance", "none", ("bound", "deadly"))

    def request(lot, batch):
        return Request(batch, lot.dataset, lot.strategies, {})

    with executors.pool(1) as team:
        replies = scheduling.run(without_jax.finish_or_die, {lot: cells}, request, team)
        records = [record for reply in replies for record, _ in reply.finished]
    errors = {record.cell.strategy: record.error for record in records}
    assert errors.pop("bound") is None
    assert "the worker died" in errors.pop("deadly")
    assert not errors


DEADLY = """
import multiprocessing, os, signal
import jax.numpy as jnp

def half(raw, lower=None, upper=None):
    if multiprocessing.parent_process():
        os.kill(os.getpid(), signal.SIGKILL)
    return jnp.minimum(raw, upper)
"""


@pytest.mark.thorough  # as above, in a sweep
@pytest.mark.usefixtures("unoptimised_processes")
def test_cells_that_kill_every_worker_become_failed_records(tmp_path, monkeypatch):
    (tmp_path / "deadly.py").write_text(DEADLY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    plan = ["--preset", "smoke", "--datasets", "irradiance", "--seeds", "1", "--workers", "1"]
    strategies = ["--strategies", "deadly:half,bound"]
    assert sweep.main([*plan, *strategies, "--out", "out"]) == 1
    statuses = {record.cell.strategy: record for record in store.read("out")}
    for name in ("unconstrained", "clip", "bound"):
        assert statuses[name].is_done
    assert "the worker died" in statuses["deadly:half"].error


@pytest.mark.usefixtures("light")
def test_a_new_workers_start_does_not_count_against_its_batch(monkeypatch):
    """After a timeout the worker is replaced, and takes longer to start than the batch may take."""
    monkeypatch.setattr(executors, "_prepare_worker", partial(time.sleep, 1))
    team = executors.pool(1)
    with team as workers:
        (worker,) = workers()
        started = time.monotonic()
        worker.restart()
        wait = time.monotonic() - started
        done = worker.executor.submit(os.getpid)
        assert done.result(timeout=wait / 2) > 0


@pytest.mark.parametrize(("sent", "survives"), [(signal.SIGKILL, False), (signal.SIGINT, True)])
@pytest.mark.usefixtures("light")
def test_a_worker_that_dies_while_it_starts_is_started_again_and_ctrl_c_is_not_its_own(
    monkeypatch, sent, survives
):
    """Ctrl-C is left to the process that started it."""
    monkeypatch.setattr(executors, "_prepare_worker", partial(time.sleep, 1))
    process = executors._Process(devices.cores(), {})
    process.start()
    first = next(iter(process.executor._processes))
    os.kill(first, sent)
    assert (process.hello()["process"] == first) == survives
    process.kill()


distributed = pytest.importorskip("distributed")


@pytest.mark.thorough  # as a pool, whose workers run the same
def test_a_local_dask_cluster_gives_the_same_bits(tmp_path, undisturbed, monkeypatch):
    monkeypatch.setattr(devices, "cores", lambda: [0])  # one worker: two import twice as much
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
def test_a_dask_address_without_a_scheduler_is_refused(monkeypatch, address, reason):
    client = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda **given: client(**given | {"timeout": 1}))
    with pytest.raises(UsageError, match=reason), executors.dask(address):
        pass


@pytest.mark.usefixtures("untraced")
def test_a_local_dask_cluster_leaves_gpus_alone(tmp_path, monkeypatch):
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(devices, "DEV", tmp_path)
    monkeypatch.setattr(devices, "_uses_cuda", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(UsageError, match="there are GPUs here: give --workers N"):
        sweep.run_sweep(**SMOKE | {"backbones": ["mlp"]}, out=tmp_path / "out", dask="local")


def is_gone(process):
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "Z"
    return True


def check_none_is_left(before=()):
    """Not by `active_children` alone: the executor's thread, which may be the one that hears of a
    process' end, says so a moment later."""
    for process in set(multiprocessing.active_children()) - set(before):
        process.join(5)
        assert is_gone(process.pid)


def test_a_worker_that_hangs_while_it_starts_is_ended(monkeypatch):
    monkeypatch.setattr(executors, "JOIN_SECONDS", 0.5)
    monkeypatch.setattr(executors, "_prepare_worker", partial(time.sleep, 60))
    before = set(multiprocessing.active_children())
    with (
        pytest.raises(UsageError, match=r"did not start within 0\.5 seconds"),
        executors.pool(2) as workers,
    ):
        workers()
    check_none_is_left(before)


def test_a_worker_that_is_stopped_while_it_starts_is_ended(monkeypatch):
    monkeypatch.setattr(executors, "JOIN_SECONDS", 1)
    process = executors._Process(devices.cores(), {})
    process.start()
    (first,) = process.executor._processes
    os.kill(first, signal.SIGSTOP)
    with pytest.raises(UsageError, match="did not start within 1 seconds"):
        process.hello()
    assert is_gone(first)


@pytest.mark.parametrize("seconds", [0.0, 0.5], ids=["while the first begins", "later"])
def test_one_ctrl_c_ends_workers_that_hang_while_they_start(monkeypatch, seconds):
    monkeypatch.setattr(executors, "_prepare_worker", partial(time.sleep, 60))
    submit, began = ProcessPoolExecutor.submit, []
    interrupt = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))

    def submitted(self, *task):
        found = submit(self, *task)
        if not began:
            began.append(interrupt.start())
            time.sleep(0.2)  # the interrupt waits until the submission is through
        return found

    monkeypatch.setattr(ProcessPoolExecutor, "submit", submitted)

    def start():
        with executors.pool(2) as team:
            team()

    with pytest.raises(KeyboardInterrupt):
        start()
    check_none_is_left()


@pytest.mark.usefixtures("light")
def test_a_worker_that_is_stopped_within_a_batch_is_ended_and_its_cells_run_again():
    cell = Cell("irradiance", "", "final", "bound", "none", 0)
    lot, stopped = Lot("irradiance", "none", ("bound", "climatology")), []

    def request(lot, batch):
        return Request(batch, lot.dataset, lot.strategies, {})

    def poll():
        if not stopped:
            (worker,) = team()
            stopped.append(worker.executor.submit(os.getpid).result())
            os.kill(stopped[0], signal.SIGSTOP)

    with executors.pool(1) as team:
        lots = {lot: [cell]}
        replies = scheduling.run(without_jax.finish, lots, request, team, timeout=1.5, poll=poll)
        records = [record for reply in replies for record, _ in reply.finished]
        (worker,) = team()
        last = worker.executor.submit(os.getpid).result()
    assert [record.status for record in records] == ["done"]
    assert is_gone(stopped[0])
    assert is_gone(last)
    assert last != stopped[0]


@pytest.mark.usefixtures("light")
def test_a_worker_that_hangs_when_it_is_started_again_ends_the_run(monkeypatch):
    with executors.pool(1) as team:
        (worker,) = team()
        monkeypatch.setattr(executors, "JOIN_SECONDS", 0.5)
        monkeypatch.setattr(executors, "_prepare_worker", partial(time.sleep, 60))
        with pytest.raises(UsageError, match=r"did not start within 0\.5 seconds"):
            worker.restart()
    check_none_is_left()


STAYS = """
import threading, time
def start():
    threading.Thread(target=time.sleep, args=(600,)).start()
"""


@pytest.mark.usefixtures("light")
def test_a_worker_that_waits_for_a_thread_of_the_users_is_ended(tmp_path, monkeypatch):
    (tmp_path / "stays.py").write_text(STAYS)
    monkeypatch.syspath_prepend(tmp_path)
    with executors.pool(1) as team:
        (worker,) = team()
        worker.executor.submit(importlib.import_module("stays").start).result()
        process = worker.executor.submit(os.getpid).result()
    assert is_gone(process)


@pytest.mark.usefixtures("light")
def test_what_hangs_on_a_worker_is_ended_once_the_minutes_are_over(monkeypatch):
    monkeypatch.setattr(watch, "LAST_SECONDS", 0.5)
    session = watch.Watch(minutes=1e-9)
    cell = Cell("irradiance", "", "final", "clip", "bottleneck", 0)
    lot = Lot("irradiance", "bottleneck", ("clip",))

    def run():
        with executors.pool(1) as team:
            poll = session.wait_no_longer
            list(scheduling.run(time.sleep, {lot: [cell]}, lambda *_: 600, team, poll=poll))

    with pytest.raises(watch.Over):
        run()
    check_none_is_left()


def test_a_dask_worker_that_does_not_answer_keeps_nobody_waiting(tmp_path, monkeypatch):
    monkeypatch.setenv("FIRST", str(tmp_path / "asked"))
    monkeypatch.setattr(devices, "cores", lambda: [0, 1])
    monkeypatch.setattr(executors, "_hello", without_jax.hello_unless_first)
    with executors.dask("local") as team:
        while not team():
            time.sleep(0.1)
        (worker,) = team()
        assert worker.executor.submit(os.getpid).result(timeout=60)
        assert team() == [worker]
    check_none_is_left()
