"""Every backbone, on plain data, padded data and forecasts; and networks of the user's own."""

import itertools
import re
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.data.catalogue import Entry
from experiments.data.datasets import load, prepared
from experiments.data.dealing import deal_in_order
from experiments.running.fingerprints import shapes_of
from experiments.training import networks
from experiments.training.backbones import BACKBONES, FACTORIES
from experiments.training.cell import Job, Program, Settings
from experiments.training.networks import Factory, network
from experiments.training.runner import Run, Runner
from experiments.training.strategies import TRAINED
from experiments.usage import UsageError
from tests.experiments.training.line import Line
from tests.sampled import sampled

SETTINGS = Settings(hidden=3, epochs=1, batches_per_epoch=4, batch=4)
WINDOWS, STEPS, PADDING = 20, 4, 2
RNG = np.random.default_rng(0)
INPUTS = RNG.uniform(0.5, 1.5, (WINDOWS, STEPS, 2))
UPPER = INPUTS[..., :1]
TARGETS = UPPER * RNG.uniform(0.3, 1, UPPER.shape)
AHEAD = RNG.uniform(size=(WINDOWS, 3, 2))


def dataset(**arrays):
    given = {"inputs": INPUTS, "targets": TARGETS, "upper": UPPER, "lower": 0 * UPPER, **arrays}
    split = deal_in_order(WINDOWS)
    return prepared("made up", Entry(lambda: {**given, "split": split}, "", "1"))


def padded(array):
    """The same windows with something beyond their end."""
    return np.pad(array, ((0, 0), (0, PADDING), (0, 0)), constant_values=np.nan)


DATA = {
    "plain": dataset(),
    "padded": dataset(
        inputs=padded(INPUTS),
        targets=np.nan_to_num(padded(TARGETS), nan=99),
        upper=padded(UPPER),
        lower=padded(0 * UPPER),
        lengths=np.full(WINDOWS, STEPS),
    ),
    "forecast": dataset(targets=AHEAD[..., :1], upper=np.ones(1), lower=np.zeros(1), future=AHEAD),
    "forecast by bounds": dataset(
        targets=AHEAD[..., :1], upper=AHEAD[..., :1] + 1, lower=np.full(1, -np.inf)
    ),
}


@cache
def random(backbone, of):
    """A network, parameters of its shapes, and what it is given."""
    part, rng = DATA[of].part("train"), np.random.default_rng(0)
    found = network(backbone, SETTINGS.hidden, "float32", part)
    like = jax.eval_shape(found.initial, jax.random.key(0), np.zeros(1, "f"))
    return found, jax.tree.map(lambda one: rng.normal(0, 0.5, one.shape).astype("f"), like), part


def is_telling(case):
    """Each network, and the one that reads nothing without what is known ahead."""
    return case[1] == "plain" or case == ("gru", "forecast by bounds")


@pytest.mark.parametrize(
    ("backbone", "of"), sampled(itertools.product(BACKBONES, DATA), is_telling)
)
def test_raw_has_the_targets_shape_and_every_parameter_a_gradient(backbone, of):
    found, parameters, part = random(backbone, of)

    def error(parameters):
        raw = found.raw(parameters, part)
        assert raw.shape == part["targets"].shape
        return jnp.mean((raw - part["targets"]) ** 2, where=part["where"])

    slopes = jax.device_get(jax.jit(jax.grad(error))(parameters))
    if isinstance(found, Factory):
        assert not slopes.pop("bias").any()  # which stays where it is
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))
    dead = [leaf for leaf in jax.tree.leaves(slopes) if not leaf.any()]
    reads_no_input = backbone == "gru" and of == "forecast by bounds"
    assert len(dead) <= 3 * reads_no_input  # its decoder's kernels of inputs that are 0


@pytest.mark.parametrize(
    "backbone",  # the conditioned one encodes and decodes as the bottleneck does
    sampled(["bottleneck", "conditioned", "gru", "tcn"], {"bottleneck", "gru", "tcn"}),
)
def test_what_lies_in_the_padding_changes_no_output(backbone):
    found, parameters, part = random(backbone, "padded")
    plain, _, without = random(backbone, "plain")
    raw = jax.jit(lambda *given: found.raw(*given)[:, :STEPS])
    expected = jax.jit(plain.raw)(parameters, without)
    np.testing.assert_allclose(raw(parameters, part), expected, rtol=1e-5, atol=1e-6)
    other = {**part, "inputs": part["inputs"].copy()}
    other["inputs"][:, STEPS:] = 5
    np.testing.assert_array_equal(raw(parameters, other), raw(parameters, part))


@pytest.mark.parametrize("backbone", ["conditioned", "gru", "tcn", "mlp"])
def test_what_is_known_ahead_is_read(backbone):
    found, parameters, part = random(backbone, "forecast")
    other = {**part, "future": part["future"] + 1}
    raw = jax.jit(found.raw)
    assert (np.asarray(raw(parameters, part)) != raw(parameters, other)).any()


def test_a_conditioned_forecast_without_future_reads_its_finite_bounds():
    part = DATA["forecast by bounds"].part("train")
    ahead = networks.known_ahead(part)
    np.testing.assert_array_equal(ahead[..., 0], 0)
    np.testing.assert_array_equal(ahead[..., 1:], part["upper"])


@pytest.mark.thorough  # test_runner.py: another has none
def test_networks_without_a_code_have_no_reliance_on_it():
    of = DATA["forecast"]
    (result,) = Runner(of, "mlp", SETTINGS, [TRAINED["clip"]]).run([Run("clip", {}, 1e-2, 0)])
    assert np.isnan(result.metrics["code_reliance"])
    assert np.isnan(result.metrics["raw_code_reliance"])
    assert np.isfinite(result.metrics["mse"])
    assert result.examples.shape == (2, *of.targets.shape[1:])


@pytest.mark.parametrize("backbone", FACTORIES)
def test_a_start_is_where_raw_lies_about(backbone):
    found, parameters, part = random(backbone, "plain")
    moved, raw = {**parameters, "bias": np.asarray(parameters["bias"]) + 2}, jax.jit(found.raw)
    first = np.asarray(raw(parameters, part))
    np.testing.assert_allclose(raw(moved, part), first + 2, rtol=1e-5, atol=1e-5)


class Mine(Line):
    def __call__(self, inputs, bounds):
        return super().__call__(inputs, bounds) + bounds[1]


class Dropped(Mine):
    def __init__(self, in_features, out_features, steps, rngs):
        super().__init__(in_features, out_features, steps, rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)


class Flat(Mine):
    def __call__(self, inputs, bounds):
        return super().__call__(inputs, bounds)[..., 0]


def test_a_network_of_ones_own_reads_inputs_and_bounds():
    part = DATA["plain"].part("train")
    found = Factory("mine:Mine", Mine, 3, part)
    parameters, raw = found.initial(jax.random.key(0), np.zeros(1, "f")), jax.jit(found.raw)
    other, first = {**part, "upper": part["upper"] + 1}, np.asarray(raw(parameters, part))
    np.testing.assert_allclose(raw(parameters, other), first + 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("factory", "of", "message"),
    [
        (Mine, "forecast", "a forecast of 3: name horizon"),
        (Dropped, "plain", r"variables that are not nnx.Param \(Rng"),
        (Flat, "plain", r"must give raw of float32 \(14, 4, 1\), got float32 of \(14, 4\)"),
        (lambda in_features, out_features, steps, rngs: 3, "plain", "must give an nnx.Module, got"),
    ],
)
def test_a_network_that_does_not_fit_says_why(factory, of, message):
    part = DATA[of].part("train")

    def raw():
        found = Factory("mine:it", factory, 3, part)
        return found.raw(found.initial(jax.random.key(0), jnp.zeros(1)), part)

    with pytest.raises(UsageError, match=message):
        raw()


def test_weights_of_one_seed_are_the_same_and_of_another_not():
    part = DATA["plain"].part("train")
    for backbone in BACKBONES:
        found = network(backbone, SETTINGS.hidden, "float32", part)
        keys, bias = map(jax.random.key, (0, 0, 1)), np.full(1, 0.25, "f")
        one, same, other = (found.initial(key, bias) for key in keys)
        assert jax.tree.all(jax.tree.map(np.array_equal, one, same))
        assert not jax.tree.all(jax.tree.map(np.array_equal, one, other))
        begun = one["bias"] if isinstance(found, Factory) else one["dense"]["bias"]
        np.testing.assert_array_equal(begun[...], bias)


@pytest.mark.parametrize(
    ("dtype", "precision"),
    sampled(
        [("float32", "HIGHEST"), ("tensorfloat32", "HIGH")],  # the second: also in test_runner.py
        lambda case: "float32" in case,
    ),
)
def test_products_are_as_precise_as_the_dtype_says_whatever_the_default(dtype, precision):
    data = shapes_of(load("irradiance"), "test")
    settings = Settings(hidden=4, epochs=1, batches_per_epoch=1, batch=8, dtype=dtype)
    program = Program("mlp", settings, (TRAINED["clip"],), data)
    with jax.default_matmul_precision("bfloat16"):
        lowered = jax.jit(program.initialize).lower(data, Job.shapes(data))
        state = lowered.out_info
        for function in (program.advance, program.finish, program.outputs):
            text = jax.jit(function).lower(data, Job.shapes(data), state).as_text()
            products = re.findall(r"dot_general.*", text)
            assert products
            stated = f"precision = [{precision}, {precision}]"
            assert all(stated in product for product in products)
