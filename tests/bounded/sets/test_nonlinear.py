"""Nonlinear sets: against scipy, by hand, and where there is no nearest point."""

import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from bounded.sets import nonlinear_projection, nonlinear_residual

pytestmark = pytest.mark.usefixtures("unoptimised")
BATCH, ROWS, SIZE = 6, 3, 3


def quadratic(y, coefficients):
    """`½ yᵀ Q y + q y - r`, a row for each."""
    curved, slope, level = coefficients
    return jnp.einsum("mij,i,j->m", curved, y, y) / 2 + slope @ y - level


def inequality(y, parameters):
    return quadratic(y, parameters[0])


def equality(y, parameters):
    return quadratic(y, parameters[1])


COTANGENT = np.linspace(-1, 2, BATCH * SIZE).reshape(BATCH, SIZE)


def solve(raw, parameters):
    """The output and its residual."""
    given = {"inequality": inequality, "equality": equality, "parameters": parameters}
    output = nonlinear_projection(raw, **given)
    return output, nonlinear_residual(output, **given)


# Every case at one shape: what is compiled is compiled once.
solved = jax.jit(solve)


@jax.jit
def project(raw, parameters):
    """The same, and the slopes of a sum of the output."""
    output, pullback, off = jax.vjp(solve, raw, parameters, has_aux=True)
    return output, off, pullback(COTANGENT.astype(output.dtype))


def cases(seed=0):
    """Sets by name, each (raw, (inequalities, equalities)) with coefficients (Q, q, r)."""
    draw = np.random.default_rng(seed)
    raw = 3 * draw.normal(size=(BATCH, SIZE))
    factors = draw.normal(size=(BATCH, ROWS, SIZE, SIZE))
    bowls = (
        np.einsum("bmij,bmkj->bmik", factors, factors) / SIZE,
        draw.normal(size=(BATCH, ROWS, SIZE)),
        draw.uniform(0.2, 2, (BATCH, ROWS)),
    )
    flat = np.zeros((SIZE, SIZE))

    def rows(*coefficients, count=ROWS):
        """Few rows, the same in every set; the others are 0 <= 1, or 0 = 0 if only one is left."""
        missing = count - len(coefficients)
        coefficients += ((flat, np.zeros(SIZE), float(count > 1)),) * missing
        stacked = map(np.stack, zip(*coefficients, strict=True))
        return tuple(np.broadcast_to(x, (BATCH, *x.shape)).astype(float) for x in stacked)

    def ball(radius, factor=1):
        return factor * np.eye(SIZE), np.zeros(SIZE), factor * radius**2 / 2

    def half(direction, level):
        return flat, np.asarray(direction, float), level

    none, sphere = rows(count=1), rows(ball(1.5), count=1)
    plane = rows(half([1, 1, 0], 0.5), count=1)
    saddle = np.diag([1.0, -1, 0]), np.array([0, 0, 1.0]), 0.3
    return {
        "convex": (raw, (bowls, none)),
        "convex and a plane": (raw, (bowls, plane)),
        "on a sphere": (raw, (rows(), sphere)),
        "above a saddle": (raw, (rows(saddle), none)),
        "outside a ball": (raw / 4, (rows(ball(1.5, -1)), none)),
        "outside a ball, below a plane": (raw / 4, (rows(ball(1.5, -1), half([1, 1, 1], 1)), none)),
        "parallel": (raw, (rows(ball(1), ball(1, 3), ball(2)), none)),
        "a disc": (raw, (rows(half([0, 0, 1], 0.2), half([0, 0, -1], -0.2)), sphere)),
        "tangent": (raw, (rows(ball(1), half([-1, 0, 0], -1)), none)),
        "inside": (raw / 100, (rows(ball(1), half([1, 0, 0], 1)), none)),
        "empty": (raw, (rows(ball(1), half([-1, 0, 0], -3)), none)),
        "empty by its equality": (raw, (rows(half([1, 1, 0], -1)), plane)),
    }


CASES = cases()
EMPTY = ("empty", "empty by its equality")
SOLVED = [name for name in CASES if name not in EMPTY]
# Where it is smooth in all its arguments: active rows of independent gradients.
SMOOTH = [name for name in SOLVED if name not in ("parallel", "a disc", "tangent")]


def by_scipy(raw, parameters):
    def rows(which, sign):
        def values(y):
            curved, slope, level = parameters[which]
            return sign * (np.einsum("mij,i,j->m", curved, y, y) / 2 + slope @ y - level)

        def slopes(y):
            curved, slope, _ = parameters[which]
            return sign * (np.einsum("mij,j->mi", curved, y) + slope)

        return {"fun": values, "jac": slopes}

    sides = [rows(0, -1) | {"type": "ineq"}]
    if parameters[1][0].any() or parameters[1][1].any():
        sides.append(rows(1, 1) | {"type": "eq"})
    return minimize(
        lambda y: np.sum((y - raw) ** 2) / 2,
        raw,
        jac=lambda y: y - raw,
        constraints=sides,
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-13},
    ).x


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", SOLVED)
def test_the_projection_is_that_of_scipy(name):
    raw, parameters = CASES[name]
    output, off, _ = project(raw, parameters)
    each = [jax.tree.map(lambda x, i=i: x[i], parameters) for i in range(BATCH)]
    expected = [by_scipy(*one) for one in zip(raw, each, strict=True)]
    if name == "tangent":  # a single point, which scipy finds to four digits
        np.testing.assert_allclose(output, [[1, 0, 0]] * BATCH, atol=1e-5)
        np.testing.assert_allclose(output, expected, atol=1e-3)
    else:
        np.testing.assert_allclose(output, expected, atol=1e-5)
    assert off.shape == (BATCH, ROWS + 1)
    assert np.max(off) < (1e-10 if name == "tangent" else 1e-14)
    if name == "inside":
        np.testing.assert_array_equal(output, raw)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", SOLVED)
def test_derivatives_match_finite_differences(name):
    leaves, tree = jax.tree.flatten(CASES[name])
    found = jax.tree.leaves(project(*CASES[name])[2])
    assert all(np.isfinite(slopes).all() for slopes in found)
    if name == "tangent":
        return
    draw = np.random.default_rng(1)
    # A direction each; where a row depends on others, and is moved alone, there is no derivative.
    for i in range(len(leaves)) if name in SMOOTH else range(1):
        direction = draw.normal(size=leaves[i].shape)
        flat = not leaves[i].any() or (i > 3 and name != "on a sphere" and "plane" not in name)
        ends = []
        for step in (1e-6, -1e-6):
            moved = list(leaves)
            moved[i] = leaves[i] + step * direction * (not flat)
            output = np.asarray(project(*jax.tree.unflatten(tree, moved))[0])
            ends.append(np.sum(COTANGENT * output, -1))
        expected = (ends[0] - ends[1]) / 2e-6
        slopes = np.sum((found[i] * direction * (not flat)).reshape(BATCH, -1), -1)
        np.testing.assert_allclose(slopes, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", EMPTY)
def test_of_an_empty_set_the_residual_says_so_and_nothing_is_nan(name):
    output, off, slopes = project(*CASES[name])
    assert (np.max(off, -1) > 0.1).all()
    assert all(np.isfinite(x).all() for x in (output, *jax.tree.leaves(slopes)))


@pytest.mark.usefixtures("x64")
def test_nan_spoils_its_own_set_and_no_derivative():
    raw, (bowls, none) = jax.tree.map(np.array, CASES["convex"])
    curved, slope, level = bowls
    raw[1, 0] = level[2, 1] = np.nan
    output, _, slopes = jax.device_get(project(raw, ((curved, slope, level), none)))
    spoilt = np.isin(np.arange(BATCH), [1, 2])
    np.testing.assert_array_equal(np.isnan(output), np.broadcast_to(spoilt[:, None], (BATCH, SIZE)))
    for one in jax.tree.leaves(slopes):
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one[spoilt], 0)


@pytest.mark.thorough  # below, over outputs of unlike scale
@pytest.mark.parametrize("name", SOLVED)
def test_in_single_precision_rows_hold_to_rounding(name):
    output, off = solved(*jax.tree.map(np.float32, CASES[name]))
    assert output.dtype == np.float32
    assert np.max(off) < (1e-4 if name == "tangent" else 2e-6)


def by_parameters(raw, radius, mask):
    return nonlinear_projection(
        raw,
        inequality=lambda y, p: jnp.sum(jnp.where(p["on"], y, 0) ** 2) - p["radius"] ** 2,
        parameters={"radius": radius[None], "on": jnp.broadcast_to(mask, (1, 3, SIZE))},
    )


def closed_over(raw, radius, mask):
    def one(raw, radius):
        return nonlinear_projection(
            raw, inequality=lambda y: jnp.sum(jnp.where(mask, y, 0) ** 2) - radius**2
        )

    return jax.vmap(jax.vmap(one), (0, None))(raw, radius)


def by_hand(raw, radius, mask):
    length = jnp.linalg.norm(jnp.where(mask, raw, 0), axis=-1, keepdims=True)
    return jnp.where(mask, raw * jnp.minimum(1, radius[None, :, None] / length), raw)


@pytest.mark.thorough  # as below, each for itself
@pytest.mark.parametrize("function", [by_parameters, closed_over])
def test_closures_parameters_and_leading_axes_are_the_same_thing(function):
    raw = np.float32(3 * np.random.default_rng(2).normal(size=(2, 3, SIZE)))
    radius, mask = np.float32([0.5, 1, 1.5]), np.array([True, False, True])

    def with_slopes(function):
        def total(raw, radius):
            output = function(raw, radius, mask)
            return jnp.sum(output[..., 0] ** 2) + jnp.sum(output[..., 2]), output

        return jax.jit(jax.grad(total, (0, 1), has_aux=True))

    found, expected = (with_slopes(f)(raw, radius) for f in (function, by_hand))
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_what_is_closed_over_and_parameters_learn_and_a_nan_in_them_spoils_its_own_set():
    """A tree of parameters, of which one is shared; closed over are what all sets share, and what
    depends on an axis of a `vmap`."""
    draw, on = np.random.default_rng(2), np.array([[True, False, True]])
    raw, level = np.float32(3 * draw.normal(size=(2, 3, SIZE))), np.float32([0.5, 1, 1.5])
    given = raw, np.float32([1, 2]), np.float32([1, 3]), np.stack([level, level / 2])

    def ours(raw, weight, factor, level):
        def inside(y, p):
            return weight[0] * jnp.sum(jnp.where(p["on"], y, 0) ** 2) - weight[1] * factor * p["r"]

        return nonlinear_projection(raw, inequality=inside, parameters={"on": on, "r": level})

    def by_formula(raw, weight, factor, level):
        known = ~jnp.isnan(level)
        radius = jnp.sqrt(weight[1] / weight[0] * factor * jnp.where(known, level, 1))[:, None]
        length = jnp.linalg.norm(jnp.where(on, raw, 0), axis=-1, keepdims=True)
        output = jnp.where(on, raw * jnp.minimum(1, radius / length), raw)
        return jnp.where(known[:, None], output, jnp.nan)

    def with_slopes(function):
        def total(*given):
            output = jax.vmap(function, (0, None, 0, 0))(*given)
            return jnp.sum(jnp.where(jnp.isnan(output), 0, output) ** 2), output

        return jax.jit(jax.grad(total, range(4), has_aux=True))

    run, formula = map(with_slopes, (ours, by_formula))
    spoilt = given[-1].copy()
    spoilt[1, 2] = np.nan
    for level in (given[-1], spoilt):
        found, expected = (jax.device_get(f(*given[:-1], level)) for f in (run, formula))
        for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    slopes, output = found
    np.testing.assert_array_equal(np.isnan(output).all(-1), np.isnan(spoilt))
    np.testing.assert_array_equal(slopes[0][1, 2], 0)
    assert slopes[3][1, 2] == 0


@pytest.mark.thorough  # as below
def test_outputs_of_unlike_scale_are_each_held_in_their_own():
    raw, scale = np.float32([3e6, 0.5, 2e-6]), np.float32([1e6, 1, 1e-6])
    held = jax.jit(partial(nonlinear_projection, inequality=lambda y: (y / scale) ** 2 - 1))
    np.testing.assert_allclose(held(raw) / scale, [1, 0.5, 1], rtol=1e-6)


def discs(y, scale):
    """Each of two outputs, in units of their scales."""
    return jnp.sum((y / scale).reshape(3, 2) ** 2, axis=-1) - 1


def unlike(seed, count):
    """Outputs from 1e-6 to 1e6 in one set, raw up to hundreds of times outside."""
    draw = np.random.default_rng(seed)
    scale = 10.0 ** draw.uniform(-6, 6, (count, 6))
    raw = draw.normal(size=(count, 6)) * scale * 10.0 ** draw.integers(0, 3, (count, 6))
    return np.float32(raw), np.float32(scale)


def test_convex_rows_over_outputs_of_unlike_scale_hold_but_in_few_sets():
    raw, scale = unlike(0, 1024)
    raw[:64] = scale[:64] / 4  # inside

    @jax.jit
    def run(raw, scale):
        output = nonlinear_projection(raw, inequality=discs, parameters=scale)
        told = nonlinear_residual(output, inequality=discs, parameters=scale)
        return output, told, jax.vmap(discs)(output, scale), jax.vmap(discs)(raw, scale)

    output, told, after, before = jax.device_get(run(raw, scale))
    outside, inside = np.max(after, -1) > 1e-5, np.max(before, -1) <= 0
    assert np.mean(outside) < 0.005
    assert inside[:64].all()
    assert (np.max(told, -1)[outside] > 0).all()
    np.testing.assert_array_equal(output[inside], raw[inside])


@pytest.mark.thorough  # below: they compute in single precision
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_in_half_precision_rows_hold_to_its_rounding(dtype):
    raw, parameters = jax.tree.map(lambda x: x.astype(jnp.dtype(dtype)), CASES["convex"])
    narrow = jax.jit(partial(nonlinear_projection, inequality=inequality))
    told = jax.jit(partial(nonlinear_residual, inequality=inequality))
    output = narrow(raw, parameters=parameters)
    off = told(np.float32(output), parameters=jax.tree.map(np.float32, parameters))
    assert output.dtype == dtype
    eps = float(jnp.finfo(dtype).eps)
    assert np.max(off) <= eps * np.max(np.abs(np.float32(output)))
    assert np.max(np.abs(np.float32(output - raw))) > 0.1


def test_the_residual_is_a_distance_and_infinite_where_nothing_helps():
    def rows(y):
        return jnp.stack([1e6 * (y[0] - 1), y @ y + 1, -y[0]])

    found, both = jax.jit(
        lambda raw: (
            nonlinear_residual(raw, inequality=rows),
            nonlinear_residual(jnp.ones(2), inequality=lambda y: -y, equality=lambda y: y[0] - 1.5),
        )
    )(np.float32([[3, 0], [0, 0]]))
    np.testing.assert_allclose(found, [[2, 10 / 6, 0], [0, np.inf, 0]])
    np.testing.assert_allclose(both, [0, 0, 0.5])


def test_few_steps_end_before_half_precision_computes_in_single_and_no_rows_are_no_matter():
    raw, limit = np.asarray([30, 40], jnp.bfloat16), np.asarray(1, jnp.bfloat16)

    def inside(y, limit=1.0):
        return y @ y - limit

    def in_single(y, limit):
        assert y.dtype == limit.dtype == jnp.float32
        return inside(y, limit)

    one, same = jax.jit(
        lambda raw, limit: (
            nonlinear_projection(raw, inequality=in_single, parameters=limit, steps=1),
            nonlinear_projection(raw, inequality=lambda y: y[:0]),
        )
    )(raw, limit)
    # Newton's step for the root.
    np.testing.assert_array_equal(one, (np.float32(raw) * (2501 / 5000)).astype(jnp.bfloat16))
    np.testing.assert_array_equal(same, raw)
    held = partial(nonlinear_projection, inequality=inside)
    for shape, dtype in (((0, 2), "float32"), ((2,), "bfloat16")):
        found = jax.eval_shape(held, jax.ShapeDtypeStruct(shape, dtype))
        assert (found.shape, found.dtype) == (shape, dtype)


def test_steps_and_tolerances_that_are_none_are_refused():
    raw = jnp.ones(2)
    for steps, error, match in [
        (-1, ValueError, "steps of at least 0, got -1"),
        (2.5, TypeError, "whole number as steps, got 2.5"),
    ]:
        with pytest.raises(error, match=match):
            nonlinear_projection(raw, inequality=jnp.sum, steps=steps)
    for tolerance in (jnp.nan, jnp.inf, -1):
        with pytest.raises(ValueError, match="finite tolerance of at least 0"):
            nonlinear_projection(raw, inequality=jnp.sum, tolerance=tolerance)
    with pytest.raises(TypeError, match="number as tolerance, got 'small'"):
        nonlinear_projection(raw, inequality=jnp.sum, tolerance="small")


def test_what_does_not_fit_is_refused():
    raw = jnp.ones((2, 3))
    with pytest.raises(TypeError, match="floating-point raw, got int32"):
        nonlinear_projection(jnp.ones(3, int), inequality=jnp.sum)
    with pytest.raises(ValueError, match="got a scalar"):
        nonlinear_projection(1.0, inequality=jnp.sum)
    with pytest.raises(ValueError, match="inequality and equality are both None"):
        nonlinear_residual(raw)
    with pytest.raises(TypeError, match="function of one y as equality, got float"):
        nonlinear_projection(raw, equality=0.5)
    with pytest.raises(TypeError, match="inequality has int32"):
        nonlinear_projection(raw, inequality=lambda y: jnp.argmax(y))
    with pytest.raises(ValueError, match=r"raw's leading ones, \(2,\).*shape \(3,\). Close over"):
        nonlinear_projection(raw, inequality=lambda y, p: y - p, parameters=jnp.ones(3))
    masked = np.ma.array(np.ones(3), mask=[0, 0, 1])
    with pytest.raises(TypeError, match="nonlinear_projection cannot take a masked array as raw"):
        nonlinear_projection(masked, inequality=jnp.sum)


LARGE_BATCH = """
import jax, jax.numpy as jnp
from bounded.sets import nonlinear_projection
raw = 3 * jax.random.normal(jax.random.key(0), (256, 20))
rows = jax.random.normal(jax.random.key(1), (256, 5, 20))
def inequality(y, rows):
    return jnp.concatenate([(y @ y - 4)[None], rows @ y - 1, (jnp.sum(y**4) - 3)[None]])
project = jax.jit(lambda raw: nonlinear_projection(raw, inequality=inequality, parameters=rows))
for _ in range(20):
    project(raw).block_until_ready()
"""


@pytest.mark.slow  # and a process of its own: one that waits for ever cannot be ended from within
def test_a_large_batch_does_not_wait_for_itself():
    subprocess.run([sys.executable, "-c", LARGE_BATCH], timeout=120, check=True)
