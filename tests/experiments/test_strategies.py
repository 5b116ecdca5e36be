import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.choices import UsageError
from experiments.datasets import load
from experiments.strategies import (
    BASELINES,
    TRAINED,
    bound_sources,
    resolve,
    select_bounds,
)

SIDES = [("upper",), ("lower",), ("lower", "upper")]


def run(strategy, sides, raw, lower, upper):
    given = {"lower": lower if "lower" in sides else None}
    given["upper"] = upper if "upper" in sides else None
    constants = {"lower": jnp.array([-0.5]), "upper": jnp.array([0.5])}
    bounds = select_bounds(strategy, given["lower"], given["upper"], constants)
    hyper = strategy.hyper(strategy.hyperparameters)
    state = jnp.zeros(raw.shape[1:])
    trained, penalty = strategy.train(raw, *bounds, 0.5, state, hyper)
    return trained, penalty, strategy.evaluate(raw, *bounds, hyper)


@pytest.mark.parametrize("sides", SIDES, ids="+".join)
@pytest.mark.parametrize("name", TRAINED)
def test_every_strategy_runs_on_every_kind_of_dataset(name, sides):
    raw = jnp.linspace(-3, 3, 24).reshape(4, 6, 1)
    lower, upper = -jnp.ones_like(raw), jnp.ones_like(raw)
    trained, penalty, output = run(TRAINED[name], sides, raw, lower, upper)
    assert trained.shape == output.shape == raw.shape
    assert penalty.shape == ()
    assert penalty >= 0
    if TRAINED[name].guarantee == "always":
        assert "upper" not in sides or (output <= upper).all()
        assert "lower" not in sides or (output >= lower).all()
    if TRAINED[name].guarantee == "always, for one side":
        assert (output <= upper).all() if "upper" in sides else (output >= lower).all()


def test_sides_that_are_needed_and_lacking_come_from_the_training_range():
    assert bound_sources(TRAINED["tanh_interval"], ["upper"]) == {
        "lower": "training range",
        "upper": "dataset",
    }
    assert bound_sources(TRAINED["tanh_range"], ["lower", "upper"]) == {
        "lower": "training range",
        "upper": "training range",
    }
    assert bound_sources(TRAINED["relu_offset"], ["lower", "upper"]) == {
        "lower": None,
        "upper": "dataset",
    }
    assert bound_sources(TRAINED["relu_offset"], ["lower"])["lower"] == "dataset"
    assert bound_sources(TRAINED["unconstrained"], ["upper"]) == {"lower": None, "upper": None}


def test_the_soft_row_penalises_raw_and_returns_it():
    raw = jnp.full((2, 3, 1), 3.0)
    trained, penalty, output = run(TRAINED["squared_hinge"], ["upper"], raw, None, raw - 2)
    np.testing.assert_array_equal(output, raw)
    np.testing.assert_array_equal(trained, raw)
    assert penalty == 4


def test_one_switch_serves_every_row():
    raw = jnp.linspace(-3, 3, 24).reshape(4, 6, 1)
    rows = [
        lambda raw, row=row: run(row, ["upper"], raw, None, jnp.ones_like(raw))[2]
        for row in TRAINED.values()
    ]
    found = jax.jit(lambda index: jax.lax.switch(index, rows, raw))(list(TRAINED).index("clip"))
    np.testing.assert_array_equal(found, jnp.minimum(raw, 1))


@pytest.mark.parametrize("dataset", ["irradiance", "household_hourly", "dew_point"])
def test_baselines_have_the_targets_shape_and_learn_from_training_alone(dataset):
    dataset = load(dataset)
    part = dataset.part("test")
    outputs = {name: make(dataset, "test") for name, (make, _) in BASELINES.items()}
    assert all(output.shape == part["targets"].shape for output in outputs.values())
    np.testing.assert_array_equal(outputs["bound"], part["upper"])
    assert (outputs["climatology_clipped"] <= part["upper"]).all()
    train = dataset.part("train")
    factor = (outputs["scaled_bound"] / np.where(part["upper"] == 0, 1, part["upper"])).max((0, 1))
    expected = (train["targets"] * train["upper"]).sum((0, 1)) / (train["upper"] ** 2).sum((0, 1))
    np.testing.assert_allclose(factor, expected, rtol=1e-4)


def test_a_users_function_becomes_a_row():
    row = resolve("bounded.constraints:clip")
    output = row.evaluate(jnp.array([[[3.0]]]), None, jnp.array([[[1.0]]]), row.hyper({}))
    assert output == 1


@pytest.mark.parametrize("name", ["absent.module:clip", "bounded.constraints:absent", ":clip"])
def test_a_users_function_that_is_not_there_is_refused(name):
    with pytest.raises(UsageError, match="cannot be imported"):
        resolve(name)


def test_an_unknown_strategy_lists_the_names_and_the_nearest():
    with pytest.raises(UsageError, match=r"Did you mean 'smooth_clip'\?"):
        resolve("smoth_clip")
