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
        ("tanh_interval", [-1, 0, 1.5, 2], [np.nan, -np.inf, np.arctanh(0.5), np.inf]),
        ("sigmoid_interval", [-1, 0, 1.5, 2], [np.nan, -np.inf, np.log(3), np.inf]),
    ],
)
def test_outputs_on_and_outside_two_bounds(name, outside, expected):
    found = jax.jit(getattr(inverses, name))(np.float32(outside), 0.0, 2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "on", "outside"),
    [("relu_offset", 0, 0), *((name, -np.inf, np.nan) for name in OFFSETS[1:])],
)
def test_outputs_on_and_outside_one_bound(name, on, outside):
    inverse = getattr(inverses, name)
    both = jax.jit(lambda y, z: (inverse(y, upper=1.0), inverse(z, lower=1.0)))
    of_upper, of_lower = both(np.float32([1, 2]), np.float32([1, 0]))
    np.testing.assert_array_equal(of_upper, [on, outside])
    np.testing.assert_array_equal(of_lower, [-on, -outside])


@few_cases
def test_infinite_bounds_pass_the_output_and_nan_stays_where_it_is(name, sides):
    bounds = {side: np.float32([np.inf, 2, np.nan]) for side in sides}
    if "lower" in bounds:
        bounds["lower"] = -bounds["lower"]
    inverse = getattr(inverses, name)

    @jax.jit
    def run(found, scaled):
        def masked(y):
            raw = inverse(scaled * y, **bounds)
            return jnp.sum(jnp.where(np.array([True, True, False]), raw, 0))

        return inverse(found, **bounds), jax.grad(masked)(1.0)

    found, slope = run(np.float32([0.3, np.nan, 0.3]), np.float32([1, 1, 3]))
    np.testing.assert_array_equal(found, np.float32([0.3, np.nan, np.nan]))
    assert np.isfinite(slope)


@few_cases
def test_derivatives_are_the_inverse_of_the_maps(name, sides):
    """And the log-derivative's own, by finite differences, for any bounds."""
    with jax.enable_x64(True):
        raw = np.linspace(-0.7, 0.9, 9)
        bounds = {"lower": -1.1 + 0.1 * raw, "upper": 1.2 - 0.1 * raw}
        bounds = {side: bounds[side] for side in sides}
        function, inverse = getattr(constraints, name), getattr(inverses, name)
        output = maps.value(name, raw, **bounds).astype(float)

        @jax.jit
        def run(raw, change, inside, smooth):
            each = jax.tree.map(jnp.asarray, bounds)

            def size(change):
                moved = {side: bound + change for side, bound in bounds.items()}
                return jnp.sum(inverse(output, **moved), where=inside)

            def log(raw):
                return jnp.sum(inverses.log_derivative(function, raw, **bounds), where=smooth)

            return (
                jax.vmap(jax.grad(lambda y, b: inverse(y, **b)))(jnp.asarray(output), each),
                jax.vmap(jax.grad(lambda z, b: function(z, **b)))(raw, each),
                inverses.log_derivative(function, raw, **bounds),
                jax.value_and_grad(size)(change),
                jax.value_and_grad(log)(raw),
            )

        every = np.full(raw.shape, True)
        slope, expected, found = map(np.asarray, run(raw, 0.0, every, every)[:3])
        inside = maps.interior(name, output, bounds) & (expected != 0)
        np.testing.assert_allclose((slope * expected)[inside], 1, rtol=1e-9)
        with np.errstate(divide="ignore"):
            of_slope = np.log(np.abs(expected))
        np.testing.assert_allclose(found, of_slope, atol=1e-12)
        smooth = np.isfinite(found)
        *_, (_, of_size), (_, of_log) = run(raw, 0.0, inside, smooth)
        ahead, behind = (run(raw + step, step, inside, smooth) for step in (1e-6, -1e-6))
        slopes = of_size, np.sum(of_log)
        for slope, (one, _), (other, _) in zip(slopes, ahead[3:], behind[3:], strict=True):
            change = (one - other) / 2e-6
            np.testing.assert_allclose(slope, change, rtol=1e-6, atol=1e-6)


def test_log_derivatives_far_out():
    cases = [
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
    ]

    @jax.jit
    def run(given):
        functions = [getattr(constraints, name) for name, *_ in cases]
        pairs = zip(functions, given, strict=True)
        return [inverses.log_derivative(f, raw, **bounds) for f, (raw, bounds) in pairs]

    found = run([(raw, bounds) for _, raw, bounds, _ in cases])
    for one, (name, *_, expected) in zip(found, cases, strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-6, err_msg=name)


def test_log_derivatives_take_hyperparameters_by_name_and_in_a_partial():
    warm = partial(constraints.smooth_clip, temperature=0.5)

    @jax.jit
    def both(raw):
        by_name = {"upper": 1.0, "temperature": 0.5}
        return (
            inverses.log_derivative(constraints.smooth_clip, raw, **by_name),
            inverses.log_derivative(warm, raw, upper=1.0),
        )

    by_name, in_a_partial = both(0.5)
    assert by_name == in_a_partial
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


def test_extremes_and_bounds_of_zero_are_inverted():
    most = float(np.finfo(np.float32).max)

    @jax.jit
    def run(zero, half, little):
        return (
            inverses.sigmoid_interval(zero, -most, most),
            inverses.smooth_clip(zero, -most, most),
            inverses.knee_tanh(zero, -most, most),
            inverses.stretched_tanh(zero, upper=0.0),
            inverses.half_tanh(zero, upper=0.0),
            inverses.stretched_tanh(half, upper=most),
            inverses.smooth_clip(little, 0.0, 2e-30, temperature=1e10),
        )

    *zeros, stretched, smooth = run(0.0, most / 2, 1e-30)
    np.testing.assert_array_equal(zeros, [0] * 5)
    assert abs(stretched - np.arctanh(0.5)) < 1e-6
    assert np.isfinite(smooth)


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
    draw = np.random.default_rng(0)
    with jax.enable_x64(True):
        raw = draw.normal(size=(4, 5, 3))
        total = 2 + draw.uniform(size=(5, 3) if axis == 0 else (4, 5))
        upper = 1 + draw.uniform(size=raw.shape) if capped else None
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
        assert np.isfinite(slope).all()


@pytest.mark.parametrize("name", BUDGETS)
def test_faces_of_a_budget_and_what_lies_outside(name):
    inverse = jax.jit(getattr(inverses, name), static_argnames="axis")
    y = np.float32([[0, 1], [1, 2], [2, 2], [0, 0], [np.nan, 0]])
    found = np.asarray(inverse(y, np.float32([3, 3, 3, 0, 3])))
    assert found[0, 0] == -np.inf
    assert np.isfinite(found[0, 1])
    assert found[1, 1] == np.inf
    assert np.isnan(found[2]).all()
    np.testing.assert_array_equal(found[3], 0)
    assert np.isnan(found[4]).all()
    y, upper = np.float32([[1, 0.5], [-1, 0.5]]), np.float32([[1, 1], [0.25, 0.25]])
    at_cap, without_total = np.asarray(inverse(y, np.float32([3, np.inf]), upper=upper))
    assert at_cap[0] == np.inf
    assert np.isfinite(at_cap[1])
    np.testing.assert_array_equal(without_total, [0, 0.25])
    with pytest.raises(ValueError, match="axis 3"):
        inverse(np.ones(2), 3.0, axis=3)


def test_inverses_run_under_vmap_and_scan():
    def inverse(y):
        return inverses.smooth_clip(y, 0.0, 1.0)

    @jax.jit
    def run(y):
        scanned = jax.lax.scan(lambda carry, y: (carry, inverse(y)), 0, y)[1]
        return inverse(y), jax.vmap(inverse)(y), scanned

    expected, *others = run(np.float32([0.2, 0.7]))
    for found in others:
        np.testing.assert_allclose(found, expected, rtol=1e-6)
