"""What a user's strategy, a worker, a signal or a setting can do to a sweep, and what it cannot.

Cells are not trained here, but where it says so: a scripted runner stands for the compiled one.
"""

import itertools
import shutil
import sys
import time
from contextlib import suppress

import jax
import numpy as np
import pytest

from experiments import store, sweep
from experiments.data.datasets import load
from experiments.figures import draw
from experiments.running import watch, worker
from experiments.running.options import Options
from experiments.training.baselines import BASELINES
from experiments.training.own_strategies import check_fit, resolve
from experiments.training.runner import Result
from experiments.usage import UsageError
from tests.experiments.sweeps import trace_nothing
from tests.sampled import sampled

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
            each, compile_seconds = 1, 0.0

            def __init__(self, dataset, backbone, settings, strategies, split, save, own, cells):
                self.shape = (2, *dataset.targets.shape[1:])
                on_compile({strategy.name for strategy in strategies})

            def run(self, runs, on_epochs):
                on_epochs(len(runs))
                history = {"epoch": np.ones(1)}
                shown, blocks = np.zeros(self.shape), np.zeros(1)
                return [Result(METRICS, history, shown, blocks, None) for _ in runs]

        monkeypatch.setattr(worker, "Runner", Scripted)
        trace_nothing(monkeypatch, of_users=False)
        # What traces a strategy of the user's takes longer than the limits here.
        monkeypatch.setattr(Options, "patience", None)

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


@pytest.mark.parametrize("fault", sampled(FAULTS, ("strange", "spin")))  # hang: test_session.py
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


def test_minutes_end_what_hangs_in_one_process(tmp_path, scripted, capsys, monkeypatch):
    scripted(lambda names: time.sleep(600) if OWN in names else None)
    monkeypatch.setattr(watch.Watch, "left", lambda self: 1.0)  # at any time
    assert sweep.main([*SMOKE, "--strategies", OWN, "--out", str(tmp_path)]) == 0
    assert "2 cells left" in capsys.readouterr().out
    assert {name for name, _ in statuses(tmp_path)} == {"unconstrained", "clip"}


def test_what_hangs_on_a_worker_when_the_minutes_are_over_is_waited_for_no_longer(monkeypatch):
    monkeypatch.setattr(watch, "LAST_SECONDS", 0.2)
    session = watch.Watch(minutes=1e-9)
    session.wait_no_longer()
    time.sleep(0.3)
    with pytest.raises(watch.Over):
        session.wait_no_longer()
    watch.Watch(None).wait_no_longer()


MODULE = """
import sys, time
import jax, jax.numpy as jnp
{at_import}
def mine(raw, lower=None, upper=None):
    {when_traced}
    return jnp.minimum(raw, upper)
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A module `theirs` of the user's with statements of theirs."""
    monkeypatch.chdir(tmp_path)

    def put(at_import="", when_traced="pass"):
        (tmp_path / "theirs.py").write_text(
            MODULE.format(at_import=at_import, when_traced=when_traced)
        )
        monkeypatch.delitem(sys.modules, "theirs", raising=False)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        return "theirs:mine"

    return put


PLACES = {"at_import": "cannot be imported", "when_traced": "does not fit"}
LIMITS = {"timeout": "1", "minutes": "0.02"}


@pytest.mark.parametrize(
    ("place", "limit"),
    sampled(
        itertools.product(PLACES, LIMITS), [("at_import", "timeout"), ("when_traced", "minutes")]
    ),
)
def test_a_users_strategy_that_hangs_where_it_is_planned_is_refused(
    tmp_path, write, capsys, place, limit
):
    options = [*SMOKE, f"--{limit}", LIMITS[limit], "--out", str(tmp_path / "out")]
    name = write(**{place: "time.sleep(600)"})
    assert sweep.main([*options, "--strategies", name]) == 2
    error = capsys.readouterr().err
    assert name in error
    assert PLACES[place] in error
    assert "it took longer than 1" in error


@pytest.mark.parametrize("statement", ["sys.exit(0)", "raise GeneratorExit"])
@pytest.mark.parametrize("place", ["at_import", "when_traced"])
def test_a_users_strategy_that_exits_where_it_is_planned_is_refused(
    tmp_path, write, capsys, place, statement
):
    name = write(**{place: statement})
    assert sweep.main([*SMOKE, "--strategies", name, "--out", str(tmp_path / "out")]) == 2
    assert name in capsys.readouterr().err


@pytest.mark.parametrize("place", ["at_import", "when_traced"])
def test_a_users_strategy_that_sets_what_others_run_with_is_refused(write, place):
    name = write(**{place: "jax.config.update('jax_enable_x64', True)"})
    with pytest.raises(UsageError, match=r"theirs:mine sets jax_enable_x64 of jax") as error:
        check_fit(resolve(name), load("irradiance"), [32])
    assert "JAX_ENABLE_X64=1" in str(error.value)
    assert not jax.config.jax_enable_x64


def test_a_users_strategy_may_use_double_precision_for_itself(write):
    name = write(when_traced="with jax.enable_x64(True): raw = jnp.float32(jnp.float64(raw))")
    check_fit(resolve(name), load("irradiance"), [32])


@pytest.mark.parametrize("replaced", [False, True])
def test_a_folder_that_is_moved_while_a_sweep_runs_ends_it_and_another_is_left_alone(
    tmp_path, scripted, monkeypatch, capsys, replaced
):
    scripted(lambda names: None)
    folder, moved, save = tmp_path / "sweep", tmp_path / "moved", store.save

    def save_and_move(*arguments):
        save(*arguments)
        if not moved.exists():
            folder.rename(moved)
            if replaced:
                shutil.copytree(moved, folder)
                for path in folder.glob("cells/*"):
                    path.unlink()

    monkeypatch.setattr(store, "save", save_and_move)
    assert sweep.main([*SMOKE, "--out", str(folder)]) == 1
    error = capsys.readouterr().err
    assert f"{folder} is not the folder any more that this sweep writes to" in error
    assert len(store.read(moved)) == 1
    there = {path.name for path in folder.rglob("*") if path.is_file()}
    assert there == ({".lock", ".owner.json", "manifest.json"} if replaced else set())
    assert not replaced or store.read_manifest(folder)["sessions"][-1]["finished"] is None
    monkeypatch.setattr(store, "save", save)
    assert sweep.main([*SMOKE, "--out", str(moved)]) == 0
    assert len(store.read(moved)) == 4 * 2 + len(BASELINES)


NO_KERNEL = """
import jax
@jax.custom_jvp
def called(raw):
    return jax.ffi.ffi_call("no_such_kernel", jax.ShapeDtypeStruct(raw.shape, raw.dtype))(raw)
called.defjvp(lambda primals, tangents: (called(*primals), *tangents))
def mine(raw, lower=None, upper=None):
    return called(raw)
"""
TINY = [*SMOKE[:4], "--seeds", "1", "--hidden", "4", "--epochs", "1"]


@pytest.mark.slow
def test_a_strategy_without_a_kernel_fails_alone_where_it_is_compiled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kernelless.py").write_text(NO_KERNEL)
    options = ["--strategies", "kernelless:mine,bound", "--out", "out"]
    assert sweep.main([*TINY, *options]) == 1
    found = statuses("out")
    assert "no_such_kernel" in found.pop(("kernelless:mine", 0))
    assert set(found.values()) == {"done"}
