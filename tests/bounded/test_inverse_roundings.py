"""Inverses and log-derivatives in every dtype, to their roundings."""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from bounded import constraints, inverses, sets
from tests.bounded import maps
from tests.bounded.maps import (
    BOTH,
    CASES,
    DTYPES,
    INTERVALS,
    MAPS,
    fullest,
    id_of,
    interior,
)
from tests.sampled import sampled_unoptimised

pytestmark = pytest.mark.usefixtures("unoptimised")
STRICT = [(name, sides) for name, sides in CASES if not MAPS[name].reaches]
HALF = ("smooth_clip", "bfloat16")


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


def there_and_back(name, output, bounds):
    raw = getattr(inverses, name)(output, **bounds)
    return raw, getattr(constraints, name)(raw, **bounds)


WAYS = [(*case, dtype, way) for way in ("jitted", "eager") for case in CASES for dtype in DTYPES]


@pytest.mark.parametrize(
    ("name", "sides", "dtype", "way"),
    sampled_unoptimised(
        WAYS,
        # `tanh_interval` is `sigmoid_interval` with another temperature: test_inverses.py.
        lambda case: (
            fullest(case[:2]) and case[2:] == ("float32", "jitted") and case[0] != "tanh_interval"
        ),
    ),
    ids=id_of,
)
def test_inverses_are_right_and_lead_back_inside_and_on_the_bounds(name, sides, dtype, way):
    kind = DTYPES[dtype]
    eps = float(ml_dtypes.finfo(kind).eps)
    run = partial(there_and_back, name)
    with jax.enable_x64(dtype == "float64"):
        output, _, bounds = arguments(name, sides, kind)
        given = {side: jnp.asarray(bound) for side, bound in bounds.items()}
        found, again = (run if way == "eager" else jax.jit(run))(jnp.asarray(output), given)
        assert found.dtype == kind
    found, again = np.asarray(found), np.asarray(again)
    inside = interior(name, output, bounds)
    expected = maps.inverse(name, output, **bounds)[inside]
    size = np.maximum(abs(expected), max(1, scale_of(name)))
    with np.errstate(over="ignore"):
        representable = abs(expected) < float(ml_dtypes.finfo(kind).max)
    error = abs(found[inside].astype(np.longdouble) - expected) / size / eps
    assert error[representable].max() < 8, error[representable].max()
    if (name, sides) in STRICT:  # intervals of one point
        np.testing.assert_array_equal(again[100:150], output[100:150])
        assert np.isfinite(found[100:150]).all() or sides != BOTH
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
    ("name", "sides", "dtype"),
    sampled_unoptimised(
        [(*case, dtype) for case in CASES for dtype in DTYPES],
        lambda case: (
            fullest(case[:2])
            and (case[2] == "float32" or case[::2] == HALF)
            and case[0] != "tanh_interval"
        ),
    ),
    ids=id_of,
)
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
        run = jax.jit(partial(inverses.log_derivative, getattr(constraints, name)))
        found = np.asarray(run(jnp.asarray(raw), **given))
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
    "dtype", sampled_unoptimised(["float32", "bfloat16", "float16"], {"float32"})
)
@pytest.mark.parametrize("name", ["budget_softmax", "budget_sequential"])
def test_budgets_lead_back_in_every_dtype(name, dtype):
    forward, inverse = (jax.jit(getattr(module, name)) for module in (sets, inverses))
    raw = (2 * np.random.default_rng(0).normal(size=(50, 4))).astype(dtype)
    total = np.full(50, 2, dtype)
    output = forward(raw, total)
    found = inverse(output, total)
    assert found.dtype == dtype
    again = np.asarray(forward(found, total)).astype("float32")
    error = abs(again - np.asarray(output).astype("float32")) / 2
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


@pytest.mark.parametrize(
    ("name", "dtype"),
    sampled_unoptimised(
        product(RADIALS, ["float32", "bfloat16", "float64"]), [("ball_radial", "float32")]
    ),
)
def test_radial_maps_are_inverted(name, dtype):
    forward = jax.jit(partial(through_radial, sets, name))

    @jax.jit
    def inverse(output, size):
        found, pullback = jax.vjp(partial(through_radial, inverses, name), output, size)
        return found, pullback(jnp.ones_like(found))

    with jax.enable_x64(dtype == "float64"):
        raw = np.random.default_rng(0).normal(size=(50, 3)).astype(dtype)
        size = np.linspace(1, 3, 50).astype(dtype)
        output = forward(raw, size)
        found, slopes = inverse(output, size)
        assert found.dtype == dtype
        again, output = (
            np.asarray(one).astype("float32" if dtype == "bfloat16" else dtype)
            for one in (forward(found, size), output)
        )
        eps = float(jnp.finfo(dtype).eps)
        assert np.max(np.abs(again - output)) < 64 * eps
        assert all(np.isfinite(slope).all() for slope in slopes)
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
    y = np.array([[1.0, 0.0], [0.6, 0.0], [2.0, 0.0], [jnp.nan, 0.0], [0.0, 0.0]], np.float32)
    expected = [[np.inf, 0], [0.75, 0], [np.nan] * 2, [np.nan] * 2, [0, 0]]

    def second(y):
        found = at_most_1[name](y)
        return jnp.sum(jnp.where(jnp.isfinite(y), found, 0)[1]), found

    slope, found = jax.jit(jax.grad(second, has_aux=True))(y)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(slope[1], [0.8**-3, 1.25], rtol=1e-4)
    assert np.isfinite(slope).all()


def test_balls_without_a_radius_and_with_an_infinite_one():
    y, radius = np.float32([[0, 0], [3, 4]]), np.float32([0, np.inf])
    np.testing.assert_array_equal(jax.jit(inverses.ball_radial)(y, radius), y)
