"""Which worker runs which batch next, and what follows when one fails."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, field, replace

from experiments.cells import Cell, Record
from experiments.running.team import Lot, Reply, Request, Team, Worker
from experiments.training.limits import TooLong
from experiments.usage import UsageError

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Batch:
    """Cells that go to a worker together."""

    lot: Lot
    cells: Sequence[Cell]
    deaths: int = 0  # of workers that ran it


@dataclass(frozen=True)
class Running:
    """A batch on a worker."""

    batch: Batch
    worker: Worker
    started: float = field(default_factory=time.monotonic)


class Queue:
    """Cells that no worker has yet, by lot, and batches that are tried again."""

    def __init__(self, lots: Mapping[Lot, Sequence[Cell]]):
        self._left = {lot: deque(cells) for lot, cells in lots.items() if cells}
        self._again: deque[Batch] = deque()

    def __bool__(self) -> bool:
        return bool(self._left or self._again)

    def retry(self, batches: Sequence[Batch]) -> None:
        self._again.extend(batches)

    def next(self, free: Worker, running: set[Lot]) -> Batch | None:
        """A batch for a worker, which keeps to the lot that it compiled."""
        if self._again:
            return self._again.popleft()
        lot = _choose(self._left, free.lot, running)
        if lot is None:
            return None
        cells = self._left[lot]
        taken = [cells.popleft() for _ in range(min(free.batch, len(cells)))]
        if not cells:
            del self._left[lot]
        return Batch(lot, taken)


def _choose(
    left: Mapping[Lot, Sequence[Cell]], compiled: Lot | None, running: set[Lot]
) -> Lot | None:
    """The lot to take cells from: the worker's own, else one that nobody runs, else the one
    with the most cells left."""
    if compiled in left:
        return compiled
    untouched = [lot for lot in left if lot not in running]
    return next(iter(untouched or sorted(left, key=lambda lot: -len(left[lot]))), None)


def after_death(batch: Batch, cause: str) -> tuple[list[Reply], list[Batch]]:
    """Of a batch whose worker died: it is run once more, then cell by cell."""
    batch = replace(batch, deaths=batch.deaths + 1)
    if batch.deaths == 1:
        return [], [batch]
    return after_failure(batch, f"the worker died {batch.deaths} times ({cause})")


def after_failure(batch: Batch, reason: str) -> tuple[list[Reply], list[Batch]]:
    """Of a batch that gives an error or takes too long: it is run cell by cell at once, each in a
    program without the others' strategies, and a cell that fails by itself is a failed record."""
    alone = [_alone(batch, cell) for cell in batch.cells]
    if alone != [batch]:
        return [], alone
    return [Reply([(Record(batch.cells[0], "failed", error=reason), {})])], []


def _alone(batch: Batch, cell: Cell) -> Batch:
    return replace(batch, lot=batch.lot._replace(strategies=(cell.strategy,)), cells=[cell])


def after_reply(batch: Batch, reply: Reply) -> tuple[list[Reply], list[Batch]]:
    if reply.refused:
        raise UsageError(reply.error)
    return after_failure(batch, reply.error) if reply.error else ([reply], [])


def run(
    run_batch: Callable[[Request], Reply],
    lots: Mapping[Lot, Sequence[Cell]],
    make_request: Callable[[Lot, Sequence[Cell]], Request],
    team: Team,
    timeout: float | None = None,
    stopping: Callable[[], bool] = lambda: False,
    poll: Callable[[], None] = lambda: None,
    on_wait: Callable[[], None] = lambda: None,
) -> Iterator[Reply]:
    """Run every cell on a team; yields replies, in no fixed order.

    Args:
      run_batch: what workers do with a request.
      lots: the cells, by what is compiled together.
      make_request: of a lot's cells.
      team: the workers.
      timeout: seconds that a batch may take, compilation included.
      stopping: asked now and then; once true, what runs is finished and no more is begun.
      poll: called now and then; what it raises ends the run.
      on_wait: called now and then while there is no worker.

    Raises:
      UsageError: if a worker cannot use what it was given.
      TeamLostError: if the team has gone.
    """
    queue = Queue(lots)
    running: dict[Future, Running] = {}
    try:
        while (queue and not stopping()) or running:
            poll()
            for free in _free(team(), running.values()):
                lots_running = {found.batch.lot for found in running.values()}
                if not stopping() and (batch := queue.next(free, lots_running)):
                    free.lot = batch.lot
                    request = make_request(batch.lot, batch.cells)
                    running[_submit(free.executor, run_batch, request)] = Running(batch, free)
            if not running:
                on_wait()
                time.sleep(POLL_SECONDS)
                continue
            for future in wait(running, POLL_SECONDS, FIRST_COMPLETED).done:
                replies, again = _settle(running.pop(future), future)
                queue.retry(again)
                yield from replies
            for future in _late(running, timeout):
                replies, again = _end(running.pop(future), future, timeout)
                queue.retry(again)
                yield from replies
    finally:
        for future in running:
            future.cancel()


def _free(team: Sequence[Worker], running: Sequence[Running]) -> list[Worker]:
    busy = {id(found.worker) for found in running}
    return [found for found in team if id(found) not in busy]


def _late(running: Mapping[Future, Running], timeout: float | None) -> list[Future]:
    now = time.monotonic()
    return [future for future, of in running.items() if timeout and now - of.started > timeout]


def _settle(found: Running, future: Future) -> tuple[list[Reply], list[Batch]]:
    if not future.cancelled() and (error := future.exception()) is None:
        return after_reply(found.batch, future.result())
    found.worker.restart()
    cause = "it was cancelled" if future.cancelled() else f"{type(error).__name__}: {error}"
    return after_death(found.batch, cause)


def _end(found: Running, future: Future, timeout: float) -> tuple[list[Reply], list[Batch]]:
    future.cancel()
    found.worker.restart()
    return after_failure(found.batch, str(TooLong(timeout)))


def _submit(executor: Executor, run_batch: Callable, request: Request) -> Future:
    """The reply to be; a worker that is dead already fails it like one that dies later."""
    try:
        return executor.submit(run_batch, request)
    except BrokenExecutor as error:
        future: Future = Future()
        future.set_exception(error)
        return future
