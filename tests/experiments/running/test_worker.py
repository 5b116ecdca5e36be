"""A batch of cells as a worker runs it."""

import pickle
from dataclasses import replace
from types import SimpleNamespace

import pytest

from experiments.data.datasets import load
from experiments.running import worker
from experiments.running.fingerprints import fingerprints, sources_hash
from experiments.running.plan import cells
from experiments.running.presets import make_plan
from experiments.running.team import Reply, Request
from experiments.running.worker import run_batch
from experiments.training import runner as runner_module
from experiments.training.limits import TooLong
from experiments.training.runner import Runner
from experiments.training.strategies import TRAINED
from tests.experiments.sweeps import Scripted
from tests.experiments.training.line import LINE


def baseline_request(**changes):
    found = cells(make_plan("smoke"), load("irradiance"), [TRAINED["clip"]])
    baselines = [cell for cell in found if not cell.is_trained]
    request = Request(baselines, "irradiance", ["clip"], {}, sources=sources_hash())
    return replace(request, **changes)


def measured(output, target, lower, upper, where):
    return output.mean()


def test_what_goes_and_comes_can_be_sent():
    request = baseline_request()
    assert pickle.loads(pickle.dumps(request)) == request
    reply = pickle.loads(pickle.dumps(run_batch(request)))
    assert [record.cell for record, _ in reply.finished] == request.cells
    assert all(record.is_done for record, _ in reply.finished)
    assert all("example_output" in arrays for _, arrays in reply.finished)


def test_other_sources_are_refused():
    reply = run_batch(baseline_request(sources="0" * 64))
    assert reply.refused
    assert "start it from the same checkout" in reply.error


def test_other_data_are_refused():
    request = baseline_request()
    other = replace(request.cells[0], data_hash="0" * 64)
    reply = run_batch(replace(request, cells=[other]))
    assert reply.refused
    assert "irradiance is not what was planned" in reply.error


def test_another_version_of_a_users_strategy_is_refused(monkeypatch):
    name, dataset = "bounded.constraints:clip", load("irradiance")
    row = worker._strategy(name)
    plan = make_plan("smoke", strategies=(name,), backbones=[LINE])
    (cell, *_) = cells(plan, dataset, [row])
    request = baseline_request(cells=[cell], strategies=[name], programs={name: "0" * 32})
    reply = run_batch(request)
    assert reply.refused
    assert "another version of bounded.constraints:clip" in reply.error
    found = fingerprints([cell], {"irradiance": dataset}, {name: row})
    planned = replace(request, programs={name: found[cell.id]["strategy"]})
    worker._check_own(planned, dataset)
    # It is traced once, and not where it was planned.
    monkeypatch.setattr(worker, "of_strategy", None)
    worker._check_own(planned, dataset)
    worker._check_own(replace(request, loaded=dataset), dataset)


@pytest.mark.parametrize("strategy", ["clip", "bound"])
def test_another_version_of_a_users_network_or_metric_is_refused(strategy):
    metrics = [f"{__name__}:measured"]
    plan = make_plan("smoke", strategies=["bound"], backbones=[LINE], metrics=metrics)
    dataset = load("irradiance")
    found = cells(plan, dataset, [TRAINED["clip"]])
    cell = next(cell for cell in found if cell.strategy == strategy)
    request = baseline_request(cells=[cell], training="0" * 32)
    reply = run_batch(request)
    assert reply.refused
    assert f"another version of {cell.network}, or of the metrics" in reply.error
    planned = fingerprints([cell], {"irradiance": dataset}, {})[cell.id]["training"]
    worker._check_training(replace(request, training=planned), dataset)


def test_what_is_compiled_goes_by_the_fingerprints_of_what_is_the_users(monkeypatch):
    """What a function reads is no part of the function."""
    keys = []

    def compiled(*key):
        keys.append(key)
        return SimpleNamespace(batch=1, bytes=0, replicated=None)

    def runner(*of):
        Runner(*of)
        return Scripted(*of)

    monkeypatch.setattr(runner_module, "_compile", compiled)
    monkeypatch.setattr(worker, "Runner", runner)
    dataset = load("irradiance")
    (cell, *_) = cells(make_plan("smoke"), dataset, [TRAINED["clip"]])
    for own in ({}, {}, {"programs": {"mine:mine": "0"}}, {"training": "0"}):
        request = baseline_request(cells=[cell], loaded=dataset, **own)
        assert run_batch(request).error is None
    usual, again, other_strategy, other_network = keys
    assert usual == again
    assert usual != other_strategy != other_network != usual


@pytest.mark.parametrize(
    ("statement", "refused"), [("import no_such_module", True), ("raise SystemExit(0)", False)]
)
def test_a_users_module_that_fails_on_a_worker(tmp_path, monkeypatch, statement, refused):
    """One that is not there ends the sweep, one that fails costs its own cells."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fails_here.py").write_text(statement)
    (cell, *_) = cells(make_plan("smoke"), load("irradiance"), [TRAINED["clip"]])
    reply = run_batch(baseline_request(cells=[cell], strategies=["fails_here:mine"]))
    assert "fails_here:mine' cannot be imported" in reply.error
    assert reply.refused == refused


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), MemoryError("12 GB")])
def test_whatever_a_strategy_raises_is_a_reply(monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr("experiments.training.baselines.measure", fail)
    assert run_batch(baseline_request()) == Reply(error=f"{type(error).__name__}: {error}")


@pytest.mark.parametrize("error", [KeyboardInterrupt, TooLong])
def test_what_ends_a_batch_from_outside_is_none_of_its_errors(monkeypatch, error):
    def fail(*_):
        raise error(1)

    monkeypatch.setattr("experiments.training.baselines.measure", fail)
    with pytest.raises(error):
        run_batch(baseline_request())


@pytest.mark.parametrize("error", [None, "diverged"])
def test_a_record_of_a_cell(error):
    (cell, *_) = baseline_request().cells
    record = worker.make_record(cell, {"mse": 1.0}, 2.0, error)
    assert record.status == ("failed" if error else "done")
    assert record.metrics == ({} if error else {"mse": 1.0})
    assert record.timing["train_seconds"] == 2.0
    assert record.error == error
