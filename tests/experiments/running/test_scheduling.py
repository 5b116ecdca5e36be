"""Who runs which cells, and what becomes of those whose worker fails."""

from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool

import pytest

from experiments.cells import Cell, Record
from experiments.running import scheduling
from experiments.running.executors import TeamLostError
from experiments.running.team import Lot, Reply, Request, Worker
from experiments.usage import UsageError

A, B = (Lot(name, "bottleneck", ("unconstrained", "clip")) for name in "ab")


def make_cells(lot, count):
    return [Cell(lot[0], "", "final", "clip", lot[1], seed) for seed in range(count)]


def make_request(lot, cells):
    return Request(cells, lot.dataset, lot.strategies, {})


def run_batch(request):
    raise AssertionError("a scripted worker runs nothing")


class Scripted(Executor):
    """Answers what `answer(cells)` returns or raises; nothing at all where it returns None."""

    def __init__(self, answer, log=None):
        self.answer, self.log = answer, log if log is not None else []

    def submit(self, function, request):
        lot = Lot(request.dataset, request.cells[0].backbone, request.strategies)
        self.log.append((lot, [cell.seed for cell in request.cells]))
        future = Future()
        future.set_running_or_notify_cancel()
        try:
            answer = self.answer(request.cells)
            if answer is not None:
                future.set_result(answer)
        except Exception as error:
            future.set_exception(error)
        return future


def finish(cells):
    return Reply([(Record(cell), {}) for cell in cells], 1.0)


def dies_on(*seeds):
    def answer(cells):
        if any(cell.seed in seeds for cell in cells):
            raise BrokenProcessPool("killed")
        return finish(cells)

    return answer


def run(lots, workers, **options):
    replies = scheduling.run(run_batch, lots, make_request, lambda: workers, **options)
    return [record for reply in replies for record, _ in reply.finished]


def failures(records):
    return {record.cell.seed: record.error for record in records if not record.is_done}


def test_every_cell_runs_once_in_batches_of_the_workers_size():
    worker = Worker(Scripted(finish), 2, ["cpu"])
    records = run({A: make_cells(A, 5), B: make_cells(B, 1)}, [worker])
    assert worker.executor.log == [(A, [0, 1]), (A, [2, 3]), (A, [4]), (B, [0])]
    assert len(records) == 6


def test_workers_keep_to_the_lot_they_compiled_and_then_help():
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


def test_a_batch_that_gives_an_error_is_run_cell_by_cell_without_the_others_strategies():
    def answer(cells):
        seeds = [cell.seed for cell in cells]
        return Reply(error=f"seeds {seeds}") if 1 in seeds else finish(cells)

    worker = Worker(Scripted(answer), 2, ["cpu"])
    records = run({A: make_cells(A, 2)}, [worker])
    alone = A._replace(strategies=("clip",))
    assert worker.executor.log == [(A, [0, 1]), (alone, [0]), (alone, [1])]
    assert failures(records) == {1: "seeds [1]"}


def test_a_single_cell_that_fails_beside_others_strategies_is_run_without_them():
    worker = Worker(Scripted(lambda cells: Reply(error="no kernel")), 1, ["cpu"])
    records = run({A: make_cells(A, 1)}, [worker])
    assert worker.executor.log == [(A, [0]), (A._replace(strategies=("clip",)), [0])]
    assert failures(records) == {0: "no kernel"}


def test_a_batch_that_takes_too_long_is_ended_and_run_cell_by_cell():
    restarts = []

    def answer(cells):
        return None if any(cell.seed == 1 for cell in cells) else finish(cells)

    worker = Worker(Scripted(answer), 2, ["cpu"], lambda: restarts.append(1))
    records = run({A: make_cells(A, 2)}, [worker], timeout=0.1)
    assert failures(records) == {1: "it took longer than 0.1 seconds"}
    assert len(records) == 2
    assert len(restarts) == 2


def test_what_a_worker_refuses_ends_the_run():
    worker = Worker(Scripted(lambda cells: Reply(error="other data", refused=True)), 2, ["cpu"])
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
    monkeypatch.setattr(scheduling, "POLL_SECONDS", 0.01)
    waits = []

    def team():
        return [Worker(Scripted(finish), 1, ["cpu"])] if len(waits) == 2 else []

    def on_wait():
        waits.append(1)

    replies = scheduling.run(run_batch, {A: make_cells(A, 1)}, make_request, team, on_wait=on_wait)
    assert len(list(replies)) == 1
    assert len(waits) == 2


def test_no_cells_need_no_workers():
    assert run({}, []) == []
    assert run({A: []}, []) == []


def test_a_team_that_is_lost_ends_the_run():
    def team():
        raise TeamLostError("gone")

    with pytest.raises(TeamLostError):
        list(scheduling.run(run_batch, {A: make_cells(A, 1)}, make_request, team))
