"""Predictions and weights that `--save` keeps."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import bounded
from bounded.autoencoder import LSTMAutoencoder
from experiments import saved, sweep
from experiments.data.catalogue import Entry
from experiments.data.datasets import prepared
from experiments.files import StorageError
from experiments.running.fingerprints import sources_hash
from experiments.running.options import Options
from experiments.running.plan import cells
from experiments.running.presets import make_plan
from experiments.running.team import Request
from experiments.running.worker import run_batch
from experiments.store import load
from experiments.training.baselines import BASELINES
from experiments.training.strategies import TRAINED
from experiments.training.users_code import known
from experiments.usage import UsageError
from tests.experiments.sweeps import SMOKE

WINDOWS, STEPS = 20, 4
RNG = np.random.default_rng(0)
INPUTS = RNG.uniform(10, 30, (WINDOWS, STEPS, 2))
UPPER = INPUTS[..., :1]
TARGETS = np.where(RNG.uniform(size=UPPER.shape) < 0.2, np.nan, UPPER * 0.7)
SPLIT = np.repeat([2, 0, 1], [5, 10, 5])


def slack(output, target, lower, upper, where):
    return jnp.mean(upper - target, where=where)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What one cell and one baseline found, and the folder of what they saved."""
    arrays = {"inputs": INPUTS, "targets": TARGETS, "upper": UPPER, "split": SPLIT}
    times = np.arange(WINDOWS * STEPS).reshape(WINDOWS, STEPS).astype("datetime64[h]")
    dataset = prepared("mine", Entry(lambda: arrays, "", "USD", times=times))
    plan = make_plan("smoke", seeds=1, hidden=3, metrics=["here:m"])
    plan = replace(plan, epochs=1, updates=2, batch=4)
    trained, *untrained = cells(plan, dataset, [TRAINED["clip"]])
    made, finished = tmp_path_factory.mktemp("saved"), []
    for batch in ([trained], untrained[:1]):
        request = Request(batch, "mine", ["clip"], {}, False, sources_hash(), dataset, saved.KINDS)
        with known({"here:m": slack}):
            found = run_batch(request)
        finished += found.finished
        for identity, of in found.saved.items():
            saved.write(made, identity, of)
    return finished, made


@pytest.fixture
def folder(run):
    """That folder, and the identities of the cell and the baseline."""
    finished, made = run
    return made, *(record.id for record, _ in finished)


def test_each_has_a_metric_of_ones_own_in_the_datasets_unit(run):
    (trained, arrays), (untrained, _) = run[0]
    expected = np.nanmean(UPPER[:5] - TARGETS[:5])
    for record in (trained, untrained):
        assert record.metrics["here:m"] == pytest.approx(expected, rel=1e-5)
    assert "history_here:m" not in arrays
    for reliance in ("code_reliance", "raw_code_reliance"):
        assert 0 <= trained.metrics[reliance] <= 1


def test_predictions_are_in_the_datasets_unit_with_what_they_are_of(folder):
    made, *identities = folder
    for identity in identities:
        found = saved.predictions(made, identity)
        np.testing.assert_array_equal(found["window"], np.arange(5))
        np.testing.assert_allclose(found["targets"], TARGETS[:5], rtol=1e-6)
        np.testing.assert_allclose(found["upper"], UPPER[:5], rtol=1e-6)
        assert (found["outputs"] <= found["upper"]).all()
        assert found["times"][0, 1] == "1970-01-01T01"
        assert "lower" not in found


def test_the_autoencoder_takes_the_weights_and_gives_the_predictions(folder):
    made, identity, _ = folder

    @jax.jit
    def outputs(weights, inputs, upper):
        model = LSTMAutoencoder(2, 1, 3, constraint=bounded.clip, rngs=nnx.Rngs(9))
        nnx.update(model, weights)
        return model(inputs, upper=upper)

    scaling, expected = saved.scaling(made, identity), saved.predictions(made, identity)
    inputs = (INPUTS[:5] - scaling["inputs_mean"]) / scaling["inputs_deviation"]
    given = inputs.astype("f4"), (UPPER[:5] / scaling["scale"]).astype("f4")
    found = outputs(saved.weights(made, identity), *given)
    np.testing.assert_allclose(found * scaling["scale"], expected["outputs"], rtol=1e-5)


def test_baselines_have_no_weights(folder):
    made, _, identity = folder
    with pytest.raises(StorageError, match="run the sweep with --save weights"):
        saved.weights(made, identity)


def test_what_is_no_such_file_is_named(folder):
    made, identity, _ = folder
    path = made / "predictions" / f"{identity}.npz"
    content = path.read_bytes()
    path.write_bytes(content[:50])
    with pytest.raises(StorageError, match=r"\.npz does not hold predictions"):
        saved.predictions(made, identity)
    path.write_bytes(content)


def test_what_finished_cells_have_not_saved_they_are_run_again_for(scripted, tmp_path, capsys):
    def run(*more):
        options = [*SMOKE, "--datasets", "irradiance", "--out", str(tmp_path)]
        assert sweep.main([*options, *more]) == 0
        return capsys.readouterr().out

    cells_of_sweep = 4 + len(BASELINES)
    run()
    run("--save", "predictions")
    made = list((tmp_path / "predictions").iterdir())
    assert len(made) == cells_of_sweep == len(load(tmp_path))
    assert f"{cells_of_sweep} of them done; 0 to run" in run("--save", "predictions")
    made[0].unlink()
    assert "1 to run" in run("--save", "predictions")
    assert "0 to run" in run()


def test_what_was_saved_before_is_never_beside_a_newer_record(scripted, tmp_path):
    options = [*SMOKE, "--datasets", "irradiance", "--out", str(tmp_path)]
    assert sweep.main([*options, "--save", "predictions"]) == 0
    (path, *_) = sorted((tmp_path / "predictions").iterdir())
    path.write_bytes(b"of other code")
    assert sweep.main([*options, "--force"]) == 0
    assert "outputs" in saved.predictions(tmp_path, path.stem)
    saved.write(tmp_path, path.stem, {})  # as one that failed
    assert not path.exists()
    assert not (tmp_path / "weights").exists()


def test_a_dry_run_counts_what_is_run_again_to_be_saved(scripted, tmp_path, capsys):
    tuned = [*SMOKE, "--datasets", "irradiance", "--tuning-seeds", "1", "--out", str(tmp_path)]
    assert sweep.main(tuned) == 0
    for more, left in ((["--save", "predictions"], 4 + len(BASELINES)), ([], 0)):
        capsys.readouterr()
        assert sweep.main([*tuned, *more, "--dry-run"]) == 0
        assert f"; {left} to run" in capsys.readouterr().out


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a")])
def test_weights_of_no_tree_are_refused(tmp_path, names):
    saved.write(tmp_path, "odd", {"weights": {name: np.ones(1) for name in names}})
    with pytest.raises(StorageError, match=r"does not hold weights \(a(/b)? is within or around"):
        saved.weights(tmp_path, "odd")


def test_only_plain_numbers_are_places_in_a_list(tmp_path):
    saved.write(tmp_path, "odd", {"weights": {"a/0": np.ones(1), "a/\u00b2": np.ones(1)}})
    assert set(saved.weights(tmp_path, "odd")["a"]) == {0, "\u00b2"}


def test_other_things_cannot_be_saved(tmp_path):
    with pytest.raises(UsageError, match=r"Unknown thing to --save 'weight'.*'weights'"):
        Options(tmp_path, save=("weight",))
    with pytest.raises(UsageError, match="save must be a list"):
        Options(tmp_path, save="weights")
