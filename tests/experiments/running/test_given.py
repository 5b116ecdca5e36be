"""Strategies and datasets given as objects: what they are called, and what is refused."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from rich.console import Console

from bounded.constraints import clip, smooth_clip
from experiments import store, sweep
from experiments.data.datasets import load
from experiments.running import worker
from experiments.running.given import named
from experiments.training import users_code
from experiments.training.own_strategies import resolve
from experiments.training.runner import Runner
from experiments.training.strategies import TRAINED
from experiments.training.strategy_rows import constraint_row
from experiments.usage import UsageError
from tests.experiments.sweeps import Scripted

INPUTS = np.random.default_rng(0).uniform(1, 2, (20, 4, 1))
ARRAYS = {"inputs": INPUTS, "targets": INPUTS / 2, "upper": INPUTS}
SMALL = {"preset": "smoke", "backbones": ["mlp"], "seeds": 1, "epochs": 1}


def halved(raw, lower=None, upper=None):
    return jnp.minimum(raw, upper) / 2


def nested(factor=2.0):
    def mine(raw, lower=None, upper=None):
        return jnp.minimum(raw, upper) / factor

    return mine


def row(function=halved):
    return constraint_row(function, "", "", name="my row")


def strategy_names(*given):
    with named(given, None) as found:
        return found.strategies


def run(out, **changes):
    return sweep.run_sweep(**{**SMALL, "out": out, "datasets": ["sines"], **changes})


def ran(out):
    return {record.cell.strategy: record for record in store.read(out)}


@pytest.fixture
def users_alone(monkeypatch):
    """What is the user's is trained, what is of the table is not."""

    def runner(dataset, backbone, settings, strategies, *more):
        kind = Runner if any(row.own for row in strategies) else Scripted
        return kind(dataset, backbone, settings, strategies, *more)

    monkeypatch.setattr(worker, "Runner", runner)


# test_worker.py holds the fingerprints of both against what is compiled.
@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["a function", "a row"])
@pytest.mark.usefixtures("undrawn", "users_alone")
def test_what_functions_read_may_change_between_two_sweeps(tmp_path, kind):
    """As a constant of a notebook does, and a row that is made anew: what was compiled with the old
    one is not what runs."""
    scale = {"of": 1.0}

    class Network(nnx.Module):
        def __init__(self, in_features, out_features, steps, rngs):
            self.last = nnx.Linear(in_features, out_features, rngs=rngs)

        def __call__(self, inputs, bounds):
            return scale["of"] * self.last(inputs)

    def mine(raw, lower, upper):
        """The first step is the network's, the others are not."""
        return raw.at[:, 1:].set(scale["of"])

    def anew(by):
        """A row of the same name."""
        return constraint_row(lambda raw, *_: raw.at[:, 1:].set(by), "", "", name="mine")

    def of_network(output, target, lower, upper, where):
        return jnp.mean(output[:, 0])

    def of_strategy(output, target, lower, upper, where):
        return jnp.mean(output[:, 1:])

    def of_metric(output, target, lower, upper, where):
        return scale["of"] * jnp.max(target)

    def metrics(of):
        scale["of"] = of
        strategy = mine if kind == "a function" else anew(of)
        given = {"backbones": [Network], "metrics": [of_network, of_strategy, of_metric]}
        run(tmp_path / str(of), updates=1, strategies=[strategy], **given)
        found = ran(tmp_path / str(of))["here:mine"].metrics
        return [found[f"here:of_{name}"] for name in ("network", "strategy", "metric")]

    for then, now in zip(metrics(1.0), metrics(0.5), strict=True):
        assert then != now


def test_what_can_be_imported_goes_by_its_module():
    assert strategy_names("half_tanh", clip, TRAINED["clip"]) == [
        "half_tanh",
        "bounded.constraints:clip",
        "clip",
    ]
    assert strategy_names(partial(smooth_clip, temperature=0.5)) == [
        "bounded.constraints:smooth_clip(temperature=0.5)"
    ]
    with named([clip, "clip"], None) as found:
        found.check_workers()


def test_what_only_this_process_has_stands_for_itself_within():
    mine, lambda_ = nested(), lambda raw, lower=None, upper=None: raw
    given = [mine, lambda_, row(), partial(mine, by=2)]
    with named(given, None) as found:
        assert found.strategies == ["here:mine", "here:lambda", "here:my_row", "here:mine(by=2)"]
        raw = jnp.ones((1, 2, 1))
        evaluated = resolve("here:mine").evaluate(raw, None, 4 * raw, jnp.zeros(3))
        np.testing.assert_array_equal(evaluated, raw / 2)
        assert resolve("here:my_row").own
        with pytest.raises(UsageError, match="here:mine, here:lambda, here:my_row: a lambda, .*"):
            found.check_workers()
    with pytest.raises(UsageError, match="No module named 'here'"):
        resolve("here:mine")


def test_what_is_no_strategy_and_two_of_one_name_are_refused():
    with pytest.raises(UsageError, match="a name, a function or a Strategy, got 3"):
        strategy_names(3)
    with pytest.raises(UsageError, match="Two of what is given would be called here:mine"):
        strategy_names(nested(), nested())
    mine = nested()
    assert strategy_names(mine, mine) == ["here:mine"] * 2
    with named([partial(clip, by="a")], None) as found:
        pass
    with pytest.raises(UsageError, match="by must be a finite number, got 'a'"):
        resolve(*found.strategies)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategies": halved}, r"strategies must be a list, got a function: put it in brackets"),
        ({"strategies": row()}, "strategies must be a list, got a Strategy"),
        ({"strategies": "clip"}, "strategies must be a list of names, got 'clip'"),
        ({"datasets": ARRAYS}, "datasets must be a list, got a dict"),
        ({"datasets": Path("mine.npz")}, "datasets must be a list, got a PosixPath"),
        ({"datasets": [3]}, "A dataset must be .* got int"),
        ({"datasets": [{"inputs": INPUTS}]}, "dataset1: needs inputs, targets"),
        ({"datasets": [{**ARRAYS, "name": "a/b"}]}, "a text without slashes, got 'a/b'"),
        ({"datasets": [{**ARRAYS, "name": "sines"}]}, "Another dataset is called sines"),
        ({"datasets": [{**ARRAYS, "targets": [[1], [2, 3]]}]}, "dataset1: cannot be read as arr"),
        ({"datasets": [{**ARRAYS, "name": "a", "targets": 3 * INPUTS}]}, "^a: .* break their"),
        ({"datasets": [{**ARRAYS, "name": "a"}] * 2}, "Two of what is given would be called a"),
        ({"strategies": [nested()], "workers": 1}, "here:mine: a lambda, .* into a module"),
        ({"datasets": [ARRAYS], "workers": 1}, "dataset1: workers cannot read .* numpy.savez"),
        ({"strategies": [row()], "dask": "local"}, "here:my_row: a lambda"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_line(tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        run(tmp_path, **changes)


def test_datasets_of_arrays_are_what_a_file_of_them_would_be(tmp_path):
    np.savez(tmp_path / "mine.npz", **ARRAYS)
    path = tmp_path / "mine.npz"
    broken = {**ARRAYS, "targets": 3 * INPUTS, "name": "broken"}
    given = [ARRAYS, {**ARRAYS, "name": "mine", "lower": None}, broken, path, load("sines")]
    with named(None, given, allow_infeasible=True) as found:
        assert found.datasets == ["dataset1", "mine", "broken", str(path), "sines"]
        assert found.datasets_here == ("dataset1", "mine", "broken")
        dataset = users_code.given("mine")
        assert (dataset.name, dataset.group, dataset.hash) == ("mine", "mine", load(str(path)).hash)
    assert users_code.given("mine") is None
    with named(None, [replace(dataset, name="again")]) as found:
        assert found.datasets == ["again"]


@pytest.mark.usefixtures("scripted")
def test_objects_are_swept_and_the_same_ones_go_on(tmp_path, capsys):
    given = {"strategies": [nested(), row(), "half_tanh"], "datasets": [ARRAYS, "sines"]}
    rows = run(tmp_path, **given)
    assert {row["dataset"] for row in rows} == {"dataset1", "sines"}
    own = {"here:mine", "here:my_row"}
    assert {row["strategy"] for row in rows} == {"unconstrained", "clip", "half_tanh", *own}
    assert "done    dataset1 mlp here:mine seed 0" in capsys.readouterr().out
    given = {"strategies": [nested(), row(), "half_tanh"], "datasets": [dict(ARRAYS), "sines"]}
    run(tmp_path, **given)
    assert "10 cells, 10 of them done; 0 to run" in capsys.readouterr().out


@pytest.mark.usefixtures("scripted")
def test_changed_objects_make_their_records_stale(tmp_path):
    given = {"strategies": [nested(2.0)], "datasets": [{**ARRAYS, "name": "mine"}]}
    run(tmp_path, **given)
    with pytest.raises(UsageError, match="1: the program of here:mine changed"):
        run(tmp_path, **{**given, "strategies": [nested(3.0)]})
    other = {**ARRAYS, "targets": INPUTS / 4, "name": "mine"}
    with pytest.raises(UsageError, match="3: the data of mine changed"):
        run(tmp_path, **{**given, "datasets": [other]})
    run(tmp_path, strategies=[nested(3.0)], datasets=given["datasets"], stale="rerun")
    assert ran(tmp_path)["here:mine"].is_done


@pytest.mark.usefixtures("scripted")
def test_progress_is_shown_unless_it_is_to_be_quiet(tmp_path, capsys):
    run(tmp_path / "shown", strategies=["clip"])
    assert "sines mlp, compiling\ndone    sines" in capsys.readouterr().out
    run(tmp_path / "quiet", strategies=["clip"], console=Console(quiet=True))
    assert capsys.readouterr().out == ""
