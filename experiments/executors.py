"""Where cells run: in this process, in a pool of processes, or on a Dask cluster.

Each is a `Team` of workers behind `concurrent.futures` executors, and `run` keeps them busy.
"""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process, resource_tracker
from typing import Any

import jax

from experiments import devices, work
from experiments.choices import UsageError
from experiments.store import Cell
from experiments.training import cells_at_once
from experiments.work import Reply, Request

POLL_SECONDS = 0.5
JOIN_SECONDS = 60
Group = tuple[str, str]  # dataset and backbone: what is compiled together
Team = Callable[[], Sequence["Worker"]]  # those there are now


@dataclass(eq=False)
class Worker:
    """Runs one batch at a time."""

    executor: Executor
    batch: int  # cells
    devices: list[str]  # their kinds
    restart: Callable[[], None] = lambda: None  # end what it runs, or replace it if it is dead
    group: Group | None = None  # what it has compiled


@dataclass
class Batch:
    """Cells that go to a worker together."""

    group: Group
    cells: list[Cell]
    deaths: int = 0  # of workers that ran it


@dataclass
class Running:
    """A batch on a worker."""

    batch: Batch
    worker: Worker
    started: float = field(default_factory=time.monotonic)


class TeamLostError(Exception):
    """No worker can be reached any more."""


def run(
    groups: Mapping[Group, Sequence[Cell]],
    make_request: Callable[[Group, list[Cell]], Request],
    team: Team,
    timeout: float | None = None,
    stopping: Callable[[], bool] = lambda: False,
    on_wait: Callable[[], None] = lambda: None,
) -> Iterator[Reply]:
    """Run every cell on a team; yields replies of `work.run_batch`, in no fixed order.

    A worker keeps to the group that it compiled while there is some of it left. A batch whose
    worker dies is run once more, then cell by cell; one that gives an error or takes too long,
    cell by cell at once. A cell that fails by itself is replied as a failed record.

    Args:
      groups: the cells, by what is compiled together.
      make_request: of a group's cells.
      team: the workers.
      timeout: seconds that a batch may take, compilation included.
      stopping: asked now and then; once true, what runs is finished and no more is begun.
      on_wait: called now and then while there is no worker.

    Raises:
      UsageError: if a worker cannot use what it was given.
      TeamLostError: if the team has gone.
    """
    left = {group: deque(cells) for group, cells in groups.items() if cells}
    again: deque[Batch] = deque()
    running: dict[Future, Running] = {}

    def next_batch(worker: Worker) -> Batch | None:
        if again:
            return again.popleft()
        group = _choose(left, worker.group, {r.batch.group for r in running.values()})
        if group is None:
            return None
        cells = [left[group].popleft() for _ in range(min(worker.batch, len(left[group])))]
        if not left[group]:
            del left[group]
        return Batch(group, cells)

    def failed(batch: Batch, reason: str) -> Iterator[Reply]:
        if len(batch.cells) > 1:
            again.extend(Batch(batch.group, [cell], batch.deaths) for cell in batch.cells)
            return
        record = work.make_record(batch.cells[0], error=reason)
        yield {"finished": [{"record": record, "arrays": {}}], "compile_seconds": 0.0}

    def settle(batch: Batch, worker: Worker, future: Future) -> Iterator[Reply]:
        if future.cancelled() or (error := future.exception()) is not None:
            worker.restart()
            batch.deaths += 1
            if batch.deaths == 1:
                again.append(batch)
                return
            cause = "it was cancelled" if future.cancelled() else f"{type(error).__name__}: {error}"
            yield from failed(batch, f"the worker died {batch.deaths} times ({cause})")
            return
        reply = future.result()
        if reply.get("refused"):
            raise UsageError(reply["error"])
        if "error" in reply:
            yield from failed(batch, reply["error"])
        else:
            yield reply

    try:
        while ((left or again) and not stopping()) or running:
            busy = {id(found.worker) for found in running.values()}
            for worker in team():
                if id(worker) in busy or stopping():
                    continue
                if batch := next_batch(worker):
                    worker.group = batch.group
                    request = make_request(batch.group, batch.cells)
                    running[_submit(worker.executor, request)] = Running(batch, worker)
            if not running:
                on_wait()
                time.sleep(POLL_SECONDS)
                continue
            for future in wait(running, POLL_SECONDS, FIRST_COMPLETED).done:
                found = running.pop(future)
                yield from settle(found.batch, found.worker, future)
            for future, found in list(running.items()):
                if timeout and time.monotonic() - found.started > timeout:
                    del running[future]
                    future.cancel()
                    found.worker.restart()
                    yield from failed(found.batch, f"it took longer than {timeout:g} seconds")
    finally:
        for future in running:
            future.cancel()


def _submit(executor: Executor, request: Request) -> Future:
    """The reply to be; a worker that is dead already fails it like one that dies later."""
    try:
        return executor.submit(work.run_batch, request)
    except BrokenExecutor as error:
        future: Future = Future()
        future.set_exception(error)
        return future


def _choose(
    left: Mapping[Group, Sequence[Cell]], compiled: Group | None, running: set[Group]
) -> Group | None:
    """The group to take cells from: the worker's own, else one that nobody runs, else the one
    with the most cells left."""
    if compiled in left:
        return compiled
    untouched = [group for group in left if group not in running]
    return next(iter(untouched or sorted(left, key=lambda group: -len(left[group]))), None)


class _Here(Executor):
    """Runs what is submitted at once."""

    def __init__(self, on_epochs: Callable[[int], None], timeout: float | None):
        self._on_epochs, self._timeout = on_epochs, timeout

    def submit(self, function: Callable, request: Request) -> Future:
        started = time.monotonic()

        def on_epochs(epochs: int) -> None:
            self._on_epochs(epochs)
            if self._timeout and time.monotonic() - started > self._timeout:
                raise TimeoutError(f"it took longer than {self._timeout:g} seconds")

        future: Future = Future()
        future.set_result(function(request, on_epochs))
        return future


@contextmanager
def here(on_epochs: Callable[[int], None], timeout: float | None = None) -> Iterator[Team]:
    """This process, over all its devices.

    Args:
      on_epochs: called with the cells times epochs done, after each compiled chunk; what it
        raises ends the sweep.
      timeout: seconds that a batch may take; looked at after each chunk.
    """
    found = _hello()
    workers = [Worker(_Here(on_epochs, timeout), found["cells"], found["devices"])]
    yield lambda: workers


class _Process:
    """The executor of one process, pinned and given its environment before it imports anything."""

    def __init__(self, cores: Sequence[int], variables: Mapping[str, str]):
        self._cores, self._variables = cores, variables
        self.start()

    def start(self) -> None:
        self.executor = ProcessPoolExecutor(1, get_context("spawn"), _prepare_worker)
        with devices.inherited(self._cores, self._variables), _own_interrupts():
            self._ready = self.executor.submit(_hello)

    def hello(self) -> dict[str, Any]:
        """Once it is there; one that dies meanwhile is started once more."""
        with suppress(BrokenExecutor):
            return self._ready.result()
        self.start()
        try:
            return self._ready.result()
        except BrokenExecutor as error:
            raise UsageError(
                "A worker process could not start; what it printed says why. A script that calls "
                "run_sweep(workers=...) must be a file, and do so under "
                "`if __name__ == '__main__':`."
            ) from error

    def kill(self) -> None:
        with suppress(BrokenExecutor, ProcessLookupError):
            os.kill(self._ready.result()["process"], signal.SIGKILL)
        self.executor.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _own_interrupts() -> Iterator[None]:
    """Processes started within leave the terminal's Ctrl-C to this one."""
    resource_tracker.ensure_running()  # when it starts, it unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_worker() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    devices.prepare()


def _end_with_parent() -> None:
    parent_process().join()
    os._exit(1)


def _hello() -> dict[str, Any]:
    """What a worker says of itself; starts jax."""
    devices.fix_threads()
    return {
        "process": os.getpid(),
        "cells": cells_at_once(),
        "devices": [device.device_kind for device in jax.local_devices()],
    }


def check_workers(count: int) -> None:
    """Refuse more processes than there are places for."""
    gpus, cores = devices.gpus(), devices.cores()
    if count > len(gpus or cores):
        kind = "GPUs" if gpus else "cores"
        raise UsageError(f"--workers {count} is more than the {len(gpus or cores)} {kind} here.")


@contextmanager
def pool(count: int) -> Iterator[Team]:
    """That many processes, each with a GPU of its own, or where there is none with its share of
    the cores."""
    cores, gpus = devices.cores(), devices.gpus()
    shares = [cores if gpus else cores[index::count] for index in range(count)]
    variables = [{"CUDA_VISIBLE_DEVICES": gpus[i]} if gpus else {} for i in range(count)]
    processes = [_Process(*share) for share in zip(shares, variables, strict=True)]

    def worker(process: _Process) -> Worker:
        def restart() -> None:
            process.kill()
            process.start()
            process.hello()  # so that its start is not taken from the next batch's time
            found.executor, found.group = process.executor, None

        said = process.hello()
        found = Worker(process.executor, said["cells"], said["devices"], restart)
        return found

    try:
        workers = [worker(process) for process in processes]
        yield lambda: workers
        for process in processes:
            process.executor.shutdown()
    finally:
        for process in processes:
            process.kill()


@contextmanager
def dask(address: str) -> Iterator[Team]:
    """The workers of a Dask cluster, those that join later included.

    Args:
      address: of a scheduler, such as tcp://127.0.0.1:8786; a path to a scheduler file; or
        `local` for a cluster on this machine, one process a core, listening on loopback alone.
    """
    try:
        from dask import config
        from distributed import Client, KilledWorker, LocalCluster
    except ImportError:
        raise UsageError("--dask needs the extra dask: pip install -e '.[dask]'.") from None
    if address.endswith(".json") and not os.path.isfile(address):
        raise UsageError(f"--dask {address}: no such file; `dask scheduler` has not written it.")
    if address == "local" and devices.gpus():
        raise UsageError(
            "--dask local trains on cores alone, and there are GPUs here: give --workers N, one "
            "process a GPU, or set CUDA_VISIBLE_DEVICES= to leave them alone."
        )
    cluster = None
    try:
        if address == "local":
            # How often a batch may kill a worker is for `run` to say.
            failures = config.set({"distributed.scheduler.allowed-failures": 0})
            with failures, _own_interrupts():
                cluster = LocalCluster(
                    n_workers=len(devices.cores()),
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                )
        where = {"scheduler_file": address} if os.path.isfile(address) else {"address": address}
        client = Client(cluster) if cluster else Client(**where, timeout=10)
    except Exception as error:  # of many kinds: OSError, TypeError without TLS, AssertionError, …
        raise UsageError(
            f"--dask {address}: no scheduler answers there ({error}). Start one with "
            "`dask scheduler`, or give `local`; docs/clusters.md says how."
        ) from error
    known: dict[str, Worker] = {}

    def worker(name: str, found: Mapping[str, Any]) -> Worker:
        resources = {"GPU": 1} if found["resources"].get("GPU") else {}
        executor = client.get_executor(
            pure=False, retries=1, workers=[name], allow_other_workers=True, resources=resources
        )
        said = client.submit(_hello, workers=[name], pure=False).result(timeout=JOIN_SECONDS)

        def restart() -> None:
            with suppress(ValueError, KeyError, TimeoutError, OSError):
                client.restart_workers([name], timeout=30, raise_for_error=False)

        return Worker(executor, said["cells"], said["devices"], restart)

    def team() -> list[Worker]:
        if client.status not in ("running", "newly-created"):
            raise TeamLostError(f"--dask {address}: the scheduler does not answer any more.")
        present = client.scheduler_info(n_workers=-1)["workers"]
        for name in present.keys() - known.keys():
            with suppress(TimeoutError, KilledWorker):
                known[name] = worker(name, present[name])
        return [known[name] for name in present if name in known]

    try:
        yield team
    finally:
        client.close()
        if cluster:
            cluster.close()
