"""Inverses and log-derivatives, against the maps in extended precision."""

from functools import partial

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from bounded import constraints, inverses, sets
from tests.bounded import maps
from tests.bounded.maps import BOTH, CASES, DTYPES, INTERVALS, MAPS, ONE_SIDED, id_of

OFFSETS = [name for name in ONE_SIDED if not MAPS[name].of_size]
STRICT = [(name, sides) for name, sides in CASES if not MAPS[name].reaches]
every_case = pytest.mark.parametrize(("name", "sides"), CASES, ids=id_of)
strict_cases = pytest.mark.parametrize(("name", "sides"), STRICT, ids=id_of)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def draw(dtype, seed=0, size=4000):
    """Bounds of many sizes, and outputs between them: many near a bound, some on one."""
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=size) * 10 ** rng.uniform(-2, 2, size)
    half = 10 ** rng.uniform(-3, 2, size)
    lower, upper = ((middle + sign * half).astype(dtype) for sign in (-1, 1))
    share = np.where(rng.random(size) < 0.5, rng.random(size), 10 ** rng.uniform(-9, 0, size))
    share = np.where(rng.random(size) < 0.5, share, 1 - share)
    wide = lower.astype(np.float64) + share * (upper.astype(np.float64) - lower)
    output = np.minimum(np.maximum(wide.astype(dtype), lower), upper)
    output[:50], output[50:100] = lower[:50], upper[50:100]
    output[100:150] = lower[100:150] = upper[100:150]
    return output, lower, upper


def arguments(name, sides, dtype, seed=0):
    output, lower, upper = draw(dtype, seed)
    if MAPS[name].of_size:
        upper = abs(upper)
        output = np.minimum(np.maximum(output, -upper), upper)
    return (
        output,
        {"lower": lower, "upper": upper},
        {side: (lower, upper)[side == "upper"] for side in sides},
    )


def scale_of(name):
    return MAPS[name].scale or 0


def interior(name, output, bounds):
    with np.errstate(invalid="ignore"):
        if name == "stretched_tanh":
            return abs(output) < bounds["upper"]
        if name == "half_tanh":
            return output < bounds["upper"]
        inside = np.full(output.shape, True)
        if "lower" in bounds:
            inside &= output > bounds["lower"]
        if "upper" in bounds:
            inside &= output < bounds["upper"]
        return inside


@every_dtype
@every_case
def test_inverses_are_right_and_lead_back_inside_and_on_the_bounds(name, sides, dtype):
    kind = DTYPES[dtype]
    eps = float(ml_dtypes.finfo(kind).eps)
    with jax.enable_x64(dtype == "float64"):
        output, _, bounds = arguments(name, sides, kind)
        given = {side: jnp.asarray(bound) for side, bound in bounds.items()}
        found = getattr(inverses, name)(jnp.asarray(output), **given)
        assert found.dtype == kind
        again = getattr(constraints, name)(found, **given)
        jitted = jax.jit(getattr(inverses, name))(jnp.asarray(output), **given)
        np.testing.assert_array_equal(np.isinf(found), np.isinf(jitted))
    found, again = np.asarray(found), np.asarray(again)
    inside = interior(name, output, bounds)
    expected = maps.inverse(name, output, **bounds)[inside]
    size = np.maximum(abs(expected), max(1, scale_of(name)))
    with np.errstate(over="ignore"):
        representable = abs(expected) < float(ml_dtypes.finfo(kind).max)
    error = abs(found[inside].astype(np.longdouble) - expected) / size / eps
    assert error[representable].max() < 8, error[representable].max()
    size = np.maximum.reduce(
        [
            abs(output),
            *(abs(bound) for bound in bounds.values()),
            np.full_like(output, scale_of(name)),
        ]
    ).astype(np.longdouble)
    finite = np.isfinite(found) | (~inside)
    error = (abs(again.astype(np.longdouble) - output.astype(np.longdouble)) / size / eps)[finite]
    assert error.max() < 16, error.max()


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


@strict_cases
def test_a_bound_is_led_to_also_where_the_interval_has_no_width(name, sides):
    point = 0.0 if MAPS[name].of_size else 1.5
    bounds = dict.fromkeys(sides, jnp.array([point]))
    raw = getattr(inverses, name)(jnp.array([point]), **bounds)
    assert jnp.isfinite(raw).all() or sides != BOTH
    np.testing.assert_array_equal(getattr(constraints, name)(raw, **bounds), [point])


@every_case
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


@every_case
def test_derivatives_are_the_inverse_of_the_maps(name, sides):
    """And the log-derivative's own, by finite differences, for any bounds."""
    with jax.enable_x64(True):
        raw = jnp.linspace(-0.7, 0.9, 9)
        bounds = {"lower": -1.1 + 0.1 * raw, "upper": 1.2 - 0.1 * raw}
        bounds = {side: bounds[side] for side in sides}
        function, inverse = getattr(constraints, name), getattr(inverses, name)

        @jax.jit
        def slopes(raw, bounds):
            output = function(raw, **bounds)
            return (
                output,
                jax.vmap(jax.grad(lambda y, b: inverse(y, **b)))(output, bounds),
                jax.vmap(jax.grad(lambda z, b: function(z, **b)))(raw, bounds),
                inverses.log_derivative(function, raw, **bounds),
            )

        output, slope, expected, found = slopes(raw, bounds)
        inside = interior(name, output, bounds) & (expected != 0)
        np.testing.assert_allclose((slope * expected)[inside], 1, rtol=1e-9)
        np.testing.assert_allclose(found, jnp.log(jnp.abs(expected)), atol=1e-12)

        @jax.jit
        @jax.value_and_grad
        def size(change):
            moved = {side: bound + change for side, bound in bounds.items()}
            return jnp.sum(inverse(output, **moved), where=inside)

        change = (size(1e-6)[0] - size(-1e-6)[0]) / 2e-6
        np.testing.assert_allclose(size(0.0)[1], change, rtol=1e-6, atol=1e-6)
        smooth = jnp.isfinite(found)

        @jax.jit
        @jax.value_and_grad
        def log_slope(raw):
            return jnp.sum(inverses.log_derivative(function, raw, **bounds), where=smooth)

        change = (log_slope(raw + 1e-6)[0] - log_slope(raw - 1e-6)[0]) / 2e-6
        gradient = jnp.sum(log_slope(raw)[1])
        np.testing.assert_allclose(gradient, change, rtol=1e-6, atol=1e-6)


@every_dtype
@every_case
def test_log_derivatives_do_not_underflow(name, sides, dtype):
    kind = DTYPES[dtype]
    eps = float(ml_dtypes.finfo(kind).eps)
    rng = np.random.default_rng(1)
    raw = np.concatenate([rng.normal(size=500), 10 ** rng.uniform(-3, 2, 1500)])
    raw = (raw * rng.choice([-1, 1], raw.size)).astype(kind)
    _, lower, upper = draw(kind, size=2000)
    if MAPS[name].of_size:
        upper = abs(upper)
    bounds = {side: (lower, upper)[side == "upper"] for side in sides}
    with jax.enable_x64(dtype == "float64"):
        given = {side: jnp.asarray(bound) for side, bound in bounds.items()}
        found = inverses.log_derivative(getattr(constraints, name), jnp.asarray(raw), **given)
        found = np.asarray(found)
        assert found.dtype == kind
    exact = maps.derivative("z", name, raw, **bounds)
    with np.errstate(divide="ignore"):
        expected = np.log(abs(exact))
    if name in ("stretched_tanh", "half_tanh", *INTERVALS, "smooth_clip", "knee_tanh"):
        live = exact != 0  # complex tanh and its like end at the square of the last digit
    else:
        live = np.full(raw.shape, True)
    live &= expected > -40
    size = np.maximum(1, abs(expected)) + abs(raw / np.longdouble(scale_of(name) or 1))
    error = abs(found.astype(np.longdouble)[live] - expected[live]) / size[live]
    assert error.max() < 8 * eps
    if (name, sides) in STRICT and sides != BOTH:
        assert np.isfinite(np.asarray(found)).all()


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
@pytest.mark.parametrize("capped", [False, True])
@pytest.mark.parametrize("equality", [False, True])
@pytest.mark.parametrize("axis", [-1, 0])
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
    inverse = getattr(inverses, name)
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


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", BUDGETS)
def test_budgets_lead_back_in_every_dtype(name, dtype):
    raw = 2 * jax.random.normal(jax.random.key(0), (50, 4), dtype)
    total = jnp.full(50, 2, dtype)
    output = getattr(sets, name)(raw, total)
    found = getattr(inverses, name)(output, total)
    assert found.dtype == dtype
    again = getattr(sets, name)(found, total).astype("float32")
    error = abs(again - output.astype("float32")) / 2
    assert error.max() < 16 * float(jnp.finfo(dtype).eps)


def through_radial(module, name, value, of_sets):
    """With a center or an interior point of 0.1, in a set of the size of `of_sets`."""
    point = jnp.full(value.shape[-1], 0.1, value.dtype)
    if name == "ball_radial":
        return module.ball_radial(value, of_sets, center=jnp.broadcast_to(point, value.shape))
    matrix = jnp.array([[1.0, 0, 0], [1, 1, 1], [0, 1, -1]], value.dtype)
    rows = sets.Rows(matrix, lower=-of_sets[:, None], upper=2 * of_sets[:, None])
    return module.affine_soft_radial(value, rows, interior=point)


RADIALS = ("ball_radial", "affine_soft_radial")


@pytest.mark.parametrize("name", RADIALS)
def test_radial_maps_are_inverted(name):
    forward, inverse = (
        jax.jit(partial(through_radial, module, name)) for module in (sets, inverses)
    )
    for dtype in ("float64", "float32", "bfloat16"):
        with jax.enable_x64(dtype == "float64"):
            raw = jax.random.normal(jax.random.key(0), (50, 3), dtype)
            size = jnp.linspace(1, 3, 50).astype(dtype)
            output = forward(raw, size)
            found, pullback = jax.vjp(inverse, output, size)
            assert found.dtype == dtype
            again = forward(found, size).astype("float32" if dtype == "bfloat16" else dtype)
            eps = float(jnp.finfo(dtype).eps)
            assert jnp.max(jnp.abs(again - output.astype(again.dtype))) < 64 * eps
            slopes = pullback(jnp.ones_like(found))
            assert all(jnp.isfinite(slope).all() for slope in slopes)
            if dtype == "float64":
                np.testing.assert_allclose(found, raw, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", RADIALS)
def test_the_boundary_of_a_radial_map_and_what_lies_outside(name):
    at_most_1 = {
        "ball_radial": lambda y: inverses.ball_radial(y, 1.0),
        "affine_soft_radial": lambda y: inverses.affine_soft_radial(
            y, sets.box_rows(-1.0, jnp.ones(2)), interior=jnp.zeros(2)
        ),
    }
    y = jnp.array([[1.0, 0.0], [0.6, 0.0], [2.0, 0.0], [jnp.nan, 0.0], [0.0, 0.0]])
    expected = [[jnp.inf, 0], [0.75, 0], [jnp.nan] * 2, [jnp.nan] * 2, [0, 0]]
    np.testing.assert_allclose(at_most_1[name](y), expected, rtol=1e-5)
    slope = jax.grad(lambda y: jnp.sum(jnp.where(jnp.isfinite(y), at_most_1[name](y), 0)[1]))(y)
    np.testing.assert_allclose(slope[1], [0.8**-3, 1.25], rtol=1e-4)
    assert jnp.isfinite(slope).all()


def test_balls_without_a_radius_and_with_an_infinite_one():
    y = jnp.array([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_array_equal(inverses.ball_radial(y, jnp.array([0.0, jnp.inf])), y)


@pytest.mark.parametrize("name", ["tanh_interval", "smooth_clip"])
def test_inverses_run_under_vmap_and_scan(name):
    y = jnp.array([0.2, 0.7])
    inverse = getattr(inverses, name)
    expected = inverse(y, 0.0, 1.0)
    np.testing.assert_allclose(jax.vmap(lambda y: inverse(y, 0.0, 1.0))(y), expected, rtol=1e-6)
    scanned = jax.lax.scan(lambda c, y: (c, inverse(y, 0.0, 1.0)), 0, y)[1]
    np.testing.assert_allclose(scanned, expected, rtol=1e-6)
