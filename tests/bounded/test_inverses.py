"""Inverses and log-derivatives, against the maps in extended precision."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bounded import constraints, inverses, sets
from tests.bounded import maps
from tests.bounded.maps import MAPS, ONE_SIDED, few_cases
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("unoptimised")
OFFSETS = [name for name in ONE_SIDED if not MAPS[name].of_size]


@pytest.mark.parametrize(
    ("name", "outside", "expected"),
    [
        ("clip", [-1, 0, 1, 3], [0, 0, 1, 2]),
        ("smooth_clip", [-1, 0, 2, 3], [np.nan, -np.inf, np.inf, np.nan]),
        ("knee_tanh", [-1, 0, 2, 3], [np.nan, -np.inf, np.inf, np.nan]),
        ("tanh_interval", [-1, 0, 1, 2], [np.nan, -np.inf, 0, np.inf]),
        ("sigmoid_interval", [-1, 0, 1, 2], [np.nan, -np.inf, 0, np.inf]),
    ],
)
def test_outputs_on_and_outside_two_bounds(name, outside, expected):
    found = getattr(inverses, name)(jnp.array(outside, float), 0.0, 2.0)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("name", "on", "outside"),
    [("relu_offset", 0, 0), *((name, -np.inf, np.nan) for name in OFFSETS[1:])],
)
def test_outputs_on_and_outside_one_bound(name, on, outside):
    inverse = getattr(inverses, name)
    np.testing.assert_array_equal(inverse(jnp.array([1.0, 2.0]), upper=1.0), [on, outside])
    np.testing.assert_array_equal(inverse(jnp.array([1.0, 0.0]), lower=1.0), [-on, -outside])


@few_cases
def test_infinite_bounds_pass_the_output_and_nan_stays_where_it_is(name, sides):
    bounds = {side: jnp.array([np.inf, 2.0, np.nan]) for side in sides}
    if "lower" in bounds:
        bounds["lower"] = -bounds["lower"]
    inverse = getattr(inverses, name)
    found = inverse(jnp.array([0.3, np.nan, 0.3]), **bounds)
    np.testing.assert_array_equal(found, jnp.array([0.3, np.nan, np.nan]))

    def masked(y):
        raw = inverse(jnp.array([1.0, 1.0, 3.0]) * y, **bounds)
        return jnp.sum(jnp.where(jnp.array([True, True, False]), raw, 0))

    assert jnp.isfinite(jax.grad(masked)(1.0))


@few_cases
def test_derivatives_are_the_inverse_of_the_maps(name, sides):
    """And the log-derivative's own, by finite differences, for any bounds."""
    with jax.enable_x64(True):
        raw = jnp.linspace(-0.7, 0.9, 9)
        bounds = {"lower": -1.1 + 0.1 * raw, "upper": 1.2 - 0.1 * raw}
        bounds = {side: bounds[side] for side in sides}
        function, inverse = getattr(constraints, name), getattr(inverses, name)
        output = maps.value(name, raw, **bounds).astype(float)

        @jax.jit
        def run(raw, change, inside, smooth):
            def size(change):
                moved = {side: bound + change for side, bound in bounds.items()}
                return jnp.sum(inverse(output, **moved), where=inside)

            def log(raw):
                return jnp.sum(inverses.log_derivative(function, raw, **bounds), where=smooth)

            return (
                jax.vmap(jax.grad(lambda y, b: inverse(y, **b)))(output, bounds),
                jax.vmap(jax.grad(lambda z, b: function(z, **b)))(raw, bounds),
                inverses.log_derivative(function, raw, **bounds),
                jax.value_and_grad(size)(change),
                jax.value_and_grad(log)(raw),
            )

        every = np.full(raw.shape, True)
        slope, expected, found, *_ = run(raw, 0.0, every, every)
        inside = maps.interior(name, output, bounds) & (expected != 0)
        np.testing.assert_allclose((slope * expected)[inside], 1, rtol=1e-9)
        np.testing.assert_allclose(found, jnp.log(jnp.abs(expected)), atol=1e-12)
        smooth = np.isfinite(found)
        *_, (_, of_size), (_, of_log) = run(raw, 0.0, inside, smooth)
        ahead, behind = (run(raw + step, step, inside, smooth) for step in (1e-6, -1e-6))
        slopes = of_size, jnp.sum(of_log)
        for slope, (one, _), (other, _) in zip(slopes, ahead[3:], behind[3:], strict=True):
            change = (one - other) / 2e-6
            np.testing.assert_allclose(slope, change, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "raw", "bounds", "expected"),
    [
        ("softplus_offset", -1e4, {"upper": 1.0}, -1e4),
        ("squareplus_offset", -1e15, {"upper": 1.0}, -2 * np.log(1e15)),
        ("smooth_clip", 1e3, {"upper": 1.0}, -9990.0),
        ("knee_tanh", 1e3, {"upper": 1.0}, np.log(4) - 2 * 9991),
        ("stretched_tanh", 1e3, {"upper": 1.0}, np.log(4) - 2e3),
        ("half_tanh", 1e3, {"upper": 2.0}, np.log(8) - 2e3),
        ("tanh_interval", -1e3, {"lower": 0.0, "upper": 1.0}, np.log(2) - 2e3),
        ("sigmoid_interval", 1e3, {"lower": 0.0, "upper": 1.0}, -1e3),
        ("sigmoid_interval", 1.0, {"lower": 1.0, "upper": 1.0}, -np.inf),
        ("clip", 1.0, {"upper": 1.0}, 0),
        ("leaky_clip", 2.0, {"upper": 1.0}, -np.inf),
        ("relu_offset", 0.0, {"upper": 1.0}, -np.inf),
        ("identity", 3.0, {}, 0),
    ],
)
def test_log_derivatives_far_out(name, raw, bounds, expected):
    found = inverses.log_derivative(getattr(constraints, name), raw, **bounds)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_log_derivatives_take_hyperparameters_by_name_and_in_a_partial():
    by_name = inverses.log_derivative(constraints.smooth_clip, 0.5, upper=1.0, temperature=0.5)
    warm = partial(constraints.smooth_clip, temperature=0.5)
    assert by_name == inverses.log_derivative(warm, 0.5, upper=1.0)
    with pytest.raises(TypeError, match=r"knows the maps of bounded\.constraints, got .*tanh"):
        inverses.log_derivative(jnp.tanh, 0.5)


def test_arguments_are_refused_as_by_the_map():
    with pytest.raises(ValueError, match="needs both bounds"):
        inverses.sigmoid_interval(0.5, upper=1.0)
    with pytest.raises(ValueError, match="temperature must be positive"):
        inverses.smooth_clip(0.5, upper=1.0, temperature=-1.0)
    with pytest.raises(TypeError, match="floating-point"):
        inverses.exp_offset(jnp.array(1), upper=2.0)
    with pytest.raises(ValueError, match="one side"):
        inverses.softplus_offset(0.5, 0.0, 1.0)


def test_extremes_of_the_dtype_are_inverted():
    most = float(jnp.finfo(jnp.float32).max)
    assert inverses.sigmoid_interval(0.0, -most, most) == 0
    assert inverses.smooth_clip(0.0, -most, most) == 0
    assert inverses.knee_tanh(0.0, -most, most) == 0
    assert abs(inverses.stretched_tanh(most / 2, upper=most) - np.arctanh(0.5)) < 1e-6
    assert jnp.isfinite(inverses.smooth_clip(1e-30, 0.0, 2e-30, temperature=1e10))


BUDGETS = ("budget_softmax", "budget_sequential")


@pytest.mark.parametrize("name", BUDGETS)
@pytest.mark.parametrize(
    ("capped", "equality", "axis"),
    sampled(
        [(False, False, -1), (False, True, 0), (True, False, 0), (True, True, -1)],
        lambda case: case[2] == 0,
    ),
)
def test_budgets_are_inverted(name, capped, equality, axis):
    with jax.enable_x64(True):
        raw = jax.random.normal(jax.random.key(0), (4, 5, 3))
        total = 2 + jax.random.uniform(jax.random.key(1), (5, 3) if axis == 0 else (4, 5))
        upper = 1 + jax.random.uniform(jax.random.key(2), raw.shape) if capped else None
        given = {"axis": axis, "equality": equality, "upper": upper}
        forward = jax.jit(lambda raw: getattr(sets, name)(raw, total, **given))

        @jax.jit
        def inverse(y):
            found, pullback = jax.vjp(lambda y: getattr(inverses, name)(y, total, **given), y)
            return found, *pullback(jnp.ones_like(found))

        output = forward(raw)
        found, slope = inverse(output)
        assert found.shape == raw.shape
        np.testing.assert_allclose(forward(found), output, rtol=1e-11)
        if not equality:
            np.testing.assert_allclose(found, raw, rtol=1e-9, atol=1e-9)
        assert jnp.isfinite(slope).all()


@pytest.mark.parametrize("name", BUDGETS)
def test_faces_of_a_budget_and_what_lies_outside(name):
    inverse = jax.jit(getattr(inverses, name), static_argnames="axis")
    y = jnp.array([[0.0, 1.0], [1.0, 2.0], [2.0, 2.0], [0.0, 0.0], [jnp.nan, 0.0]])
    found = inverse(y, jnp.array([3.0, 3.0, 3.0, 0.0, 3.0]))
    assert found[0, 0] == -jnp.inf
    assert jnp.isfinite(found[0, 1])
    assert found[1, 1] == jnp.inf
    assert jnp.isnan(found[2]).all()
    np.testing.assert_array_equal(found[3], 0)
    assert jnp.isnan(found[4]).all()
    at_cap = inverse(jnp.array([1.0, 0.5]), 3.0, upper=jnp.array([1.0, 1.0]))
    assert at_cap[0] == jnp.inf
    assert jnp.isfinite(at_cap[1])
    np.testing.assert_array_equal(inverse(jnp.array([-1.0, 0.5]), jnp.inf, upper=0.25), [0, 0.25])
    with pytest.raises(ValueError, match="axis 3"):
        inverse(jnp.ones(2), 3.0, axis=3)


@pytest.mark.parametrize("name", ["tanh_interval", "smooth_clip"])
def test_inverses_run_under_vmap_and_scan(name):
    y = jnp.array([0.2, 0.7])
    inverse = getattr(inverses, name)
    expected = inverse(y, 0.0, 1.0)
    np.testing.assert_allclose(jax.vmap(lambda y: inverse(y, 0.0, 1.0))(y), expected, rtol=1e-6)
    scanned = jax.lax.scan(lambda c, y: (c, inverse(y, 0.0, 1.0)), 0, y)[1]
    np.testing.assert_allclose(scanned, expected, rtol=1e-6)
