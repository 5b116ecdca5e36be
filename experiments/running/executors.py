"""Where cells run: in this process, in a pool of processes, or on a Dask cluster.

Each is a `Team` of workers behind `concurrent.futures` executors; `scheduling.run` keeps it busy.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process, resource_tracker
from typing import Any

from experiments.console import prepare_output
from experiments.running.team import Reply, Team, Worker
from experiments.running.watch import Over
from experiments.training import devices
from experiments.training.limits import TooLong, ended_after
from experiments.training.runner import cells_at_once
from experiments.usage import UsageError

JOIN_SECONDS = 60  # for a worker to start
END_SECONDS = 5  # for one that was killed to be gone


class TeamLostError(Exception):
    """No worker can be reached any more."""


class _Here(Executor):
    """Runs what is submitted at once."""

    def __init__(
        self,
        on_epochs: Callable[[int], None],
        timeout: float | None,
        left: Callable[[], float | None],
    ):
        self._on_epochs, self._timeout, self._left = on_epochs, timeout, left

    def submit(self, function: Callable, request: Any) -> Future:
        started = time.monotonic()
        timeout = self._timeout if request.cells[0].is_trained else None

        def on_epochs(epochs: int) -> None:
            self._on_epochs(epochs)
            if timeout and time.monotonic() - started > timeout:
                raise TooLong(timeout)

        future: Future = Future()
        try:
            with ended_after(self._left(), Over), ended_after(timeout):
                future.set_result(function(request, on_epochs))
        except TooLong as error:
            future.set_result(Reply(error=str(error)))
        return future


@contextmanager
def here(
    on_epochs: Callable[[int], None],
    timeout: float | None = None,
    left: Callable[[], float | None] = lambda: None,
) -> Iterator[Team]:
    """This process, over all its devices.

    What takes too long is ended between two steps of Python, in the main thread; in another
    thread, after the next chunk.

    Args:
      on_epochs: called with the cells times epochs done, after each compiled chunk; what it
        raises ends the sweep.
      timeout: seconds that a batch of trained cells may take.
      left: the seconds that are left to the session, after which `Over` is raised.
    """
    found = _hello()
    workers = [Worker(_Here(on_epochs, timeout, left), found["cells"], found["devices"])]
    yield lambda: workers


class _Process:
    """The executor of one process, pinned and given its environment before it imports anything."""

    def __init__(self, cores: Sequence[int], variables: Mapping[str, str]):
        self._cores, self._variables = cores, variables
        self.executor: ProcessPoolExecutor | None = None

    def start(self) -> None:
        """Begin it, which `kill` ends however early it comes."""
        self.executor = ProcessPoolExecutor(1, get_context("spawn"), _prepare_worker)
        with devices.inherited(self._cores, self._variables), _own_interrupts():
            self._ready = self.executor.submit(_hello)

    def hello(self) -> dict[str, Any]:
        """Once it is there; one that dies meanwhile is started once more."""
        with suppress(BrokenExecutor):
            return self._said()
        self.start()
        try:
            return self._said()
        except BrokenExecutor as error:
            raise UsageError(
                "A worker process could not start; what it printed says why. A script that calls "
                "run_sweep(workers=...) must be a file, and do so under "
                "`if __name__ == '__main__':`."
            ) from error

    def _said(self) -> dict[str, Any]:
        try:
            return self._ready.result(timeout=JOIN_SECONDS)
        except TimeoutError:
            self.kill()
            raise UsageError(
                f"A worker process did not start within {JOIN_SECONDS} seconds: something that it "
                "waits for, such as a driver or a network disk, does not answer."
            ) from None

    def kill(self) -> None:
        """End it at once, whatever it does, or is kept from doing: stopped, or waiting for a
        thread of the user's."""
        if self.executor is None:
            return
        # Not by what it said of itself: it may hang before it says anything.
        processes = list((self.executor._processes or {}).values())
        for process in processes:
            process.kill()
        self.executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.join(END_SECONDS)


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
    prepare_output()
    devices.prepare()


def _end_with_parent() -> None:
    parent_process().join()
    os._exit(1)


def _hello() -> dict[str, Any]:
    """What a worker says of itself; starts jax."""
    devices.fix_threads()
    found = devices.start()
    return {
        "process": os.getpid(),
        "cells": cells_at_once(),
        "devices": [device.device_kind for device in found],
    }


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
            found.executor, found.lot = process.executor, None

        said = process.hello()
        found = Worker(process.executor, said["cells"], said["devices"], restart)
        return found

    try:
        for process in processes:
            process.start()
        workers = [worker(process) for process in processes]
        yield lambda: workers
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
        from distributed import Client, KilledWorker, LocalCluster, wait
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
    hellos: dict[str, Any] = {}  # what was asked of those that joined
    known: dict[str, Worker] = {}  # those that answered

    def worker(name: str, found: Mapping[str, Any]) -> Worker:
        resources = {"GPU": 1} if found["resources"].get("GPU") else {}
        executor = client.get_executor(
            pure=False, retries=1, workers=[name], allow_other_workers=True, resources=resources
        )
        said = hellos[name].result()

        def restart() -> None:
            with suppress(ValueError, KeyError, TimeoutError, OSError):
                client.restart_workers([name], timeout=30, raise_for_error=False)

        return Worker(executor, said["cells"], said["devices"], restart)

    def team() -> list[Worker]:
        if client.status not in ("running", "newly-created"):
            raise TeamLostError(f"--dask {address}: the scheduler does not answer any more.")
        present = client.scheduler_info(n_workers=-1)["workers"]
        for name in present.keys() - hellos.keys():
            hellos[name] = client.submit(_hello, workers=[name], pure=False)
        if hellos and not known:
            with suppress(TimeoutError):
                wait(list(hellos.values()), JOIN_SECONDS, "FIRST_COMPLETED")
        for name in present.keys() & hellos.keys() - known.keys():
            if hellos[name].done():  # nobody waits for one that does not answer
                with suppress(KilledWorker):
                    known[name] = worker(name, present[name])
        return [known[name] for name in present if name in known]

    try:
        yield team
    finally:
        client.close()
        if cluster:
            cluster.close()
