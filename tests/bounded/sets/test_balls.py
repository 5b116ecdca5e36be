"""Balls and cones: by hand, against cvxpy, at degenerate places, and exactly inside."""

from functools import partial
from itertools import product

import cvxpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bounded import metrics
from bounded.sets import ball_projection, ball_radial, cone_projection
from tests.bounded.sets.cases import BALLS
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("unoptimised")
JITTED = {name: jax.jit(ball) for name, ball in BALLS.items()}
cone = jax.jit(lambda raw, slope: cone_projection(raw, slope=slope))
every_ball = pytest.mark.parametrize("name", BALLS)


def nearest(raw, constraint):
    y = cvxpy.Variable(raw.size)
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(y - raw)), constraint(y))
    problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    return y.value


@pytest.mark.usefixtures("x64")
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")  # asked for too many digits
def test_the_projections_are_those_of_cvxpy():
    draw = np.random.default_rng(0)
    raw, center = 2 * draw.normal(size=(2, 8, 4))
    radius = np.array([0.0, 1e-3, 0.5, 1, 2, 3, 4, 50])
    found = JITTED["ball_projection"](raw, radius, center=center)
    expected = [
        nearest(z, lambda y, c=c, r=r: [cvxpy.norm(y - c) <= r])
        for z, c, r in zip(raw, center, radius, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    raw[:, 0] = [-9, -1, -0.1, 0, 0.1, 1, 9, 1]
    raw[7, 1:] = 0
    for slope in (1.0, 0.3, 20.0):
        expected = [
            nearest(z, lambda y, s=slope: [cvxpy.norm(y[1:]) <= s * y[0], y[0] >= 0]) for z in raw
        ]
        np.testing.assert_allclose(cone(raw, slope), expected, atol=1e-6)


def test_balls_by_hand():
    raw, center, threes = np.float32([3, 4]), np.float32([0, 1]), np.full((2, 2, 2), 3, np.float32)
    at_origin, at_raw, off_center, radial, across, together = jax.device_get(
        jax.jit(
            lambda raw, center, threes: (
                ball_projection(raw, 2.5),
                ball_projection(raw, 1.0, center=raw),
                ball_projection(raw, np.sqrt(2), center=center),
                ball_radial(raw, 5.0),
                ball_projection(jnp.stack([raw, raw], 1), np.float32([2.5, 9]), axis=0),
                ball_projection(threes, np.float32([3, 9]), axis=(0, 2)),
            )
        )(raw, center, threes)
    )
    np.testing.assert_allclose(at_origin, [1.5, 2], rtol=1e-5)
    np.testing.assert_allclose(at_raw, raw)
    np.testing.assert_allclose(off_center, [1, 2], rtol=1e-5)
    np.testing.assert_allclose(radial, raw / np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(across, [[1.5, 3], [2, 4]], rtol=1e-5)
    np.testing.assert_allclose(together[:, 0], 1.5, rtol=1e-5)
    np.testing.assert_array_equal(together[:, 1], 3)


def test_cones_by_hand():
    raw = np.float32([[1, 3, 4], [6, 3, 4], [-6, 3, 4], [-1, 0, 0]])
    expected = [[3, 1.8, 2.4], [6, 3, 4], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(cone(raw, 1.0), expected, rtol=1e-5)
    along_first, of_one = jax.jit(
        lambda raw: (cone_projection(raw.T, axis=0, slope=np.ones(4)), cone_projection(raw[:, :1]))
    )(raw)
    np.testing.assert_allclose(along_first, np.transpose(expected), rtol=1e-5)
    flat = np.asarray(cone(raw, 0.0))
    np.testing.assert_allclose(flat[:, 0], [1, 6, 0, 0])
    np.testing.assert_array_equal(flat[:, 1:], 0)
    np.testing.assert_array_equal(cone(raw, -1.0), flat)
    np.testing.assert_array_equal(cone(raw, np.inf), np.maximum(raw, [0, -np.inf, -np.inf]))
    np.testing.assert_array_equal(of_one, np.maximum(raw[:, :1], 0))


@every_ball
def test_radii_of_0_below_0_and_inf(name):
    raw, center = np.float32([[1, 2], [0, 0]]), np.float32([0.1, 1e7])

    @jax.jit
    def with_slopes(radius, center):
        through = partial(BALLS[name], center=center)
        output, pullback = jax.vjp(through, jnp.asarray(raw), radius)
        return output, *pullback(jnp.ones((2, 2)))

    for radius in (0.0, -1.0):
        output, of_raw, of_radius = with_slopes(radius, 0 * center)
        np.testing.assert_array_equal(output, 0)
        np.testing.assert_array_equal(of_raw[0], 0)
        assert np.isfinite(of_raw).all()
        np.testing.assert_allclose(of_radius, 3 / np.sqrt(5) if radius == 0 else 0, rtol=1e-6)
        at_center, *_ = with_slopes(radius, center)
        np.testing.assert_array_equal(at_center, np.broadcast_to(center, (2, 2)))
    output, of_raw, of_radius = with_slopes(np.inf, center)
    np.testing.assert_array_equal(output, raw)
    np.testing.assert_array_equal(of_raw, 1)
    assert of_radius == 0


def test_raw_on_the_boundary_keeps_its_gradient():
    @jax.jit
    def with_slopes(of_ball, of_cone):
        return [
            (output, *pullback(raw))
            for raw, (output, pullback) in (
                (of_ball, jax.vjp(lambda raw: ball_projection(raw, 5.0), of_ball)),
                (of_cone, jax.vjp(cone_projection, of_cone)),
            )
        ], jax.grad(lambda r: ball_projection(of_ball, r).sum())(5.0)

    raws = np.float32([3, 4]), np.float32([5, 3, 4])
    found, slope = with_slopes(*raws)
    for raw, (output, slopes) in zip(raws, found, strict=True):
        np.testing.assert_allclose(output, raw, rtol=2e-6)
        np.testing.assert_array_equal(slopes, raw)
    assert slope == 0


def in_extended_precision(name, raw, bound, center, most):
    """The formula itself; a cone's t is at most the largest number of the dtype."""
    raw, bound, center = (np.asarray(x, np.longdouble) for x in (raw, bound[:, None], center))
    if name != "cone_projection":
        offset = raw - center
        length = np.sqrt(np.sum(offset**2, -1, keepdims=True))
        far = np.maximum(length, bound) if name == "ball_projection" else np.hypot(length, bound)
        return center + offset * bound / far
    top, rest = raw[:, :1], raw[:, 1:]
    length = np.sqrt(np.sum(rest**2, -1, keepdims=True))
    height = np.maximum((top + bound * length) / (1 + bound**2), 0)
    height = np.minimum(np.where(length <= bound * top, top, height), most)
    return np.concatenate([height, rest * np.minimum(bound * height / length, 1)], -1)


@pytest.mark.optimised
@pytest.mark.parametrize("dtype", sampled(["float32", "bfloat16", "float16"], {"float32"}))
@pytest.mark.parametrize(("end", "times"), [("max", 1), ("max", 0.3), ("tiny", 1e5), ("tiny", 64)])
def test_the_largest_and_the_smallest_raw(dtype, end, times):
    draw, info = np.random.default_rng(0), jnp.finfo(dtype)
    most, size = float(info.max), times * float(getattr(info, end))
    raw, center = draw.normal(size=(2, 64, 5))
    raw, center = (x / np.max(abs(x), -1, keepdims=True) * size for x in (raw, center))
    raw[:4] = size  # each as far as can be, and of these longer than that
    center[:32] = 0
    radius = size * draw.uniform(0.1, 1, 64)
    slope = 10 ** draw.uniform(-1, 1, 64)
    raw, center, radius, slope = (x.astype(info.dtype) for x in (raw, center, radius, slope))
    for name in (*JITTED, "cone_projection"):
        if name == "cone_projection":
            bound, found = slope, cone(raw, slope)
        else:
            bound, found = radius, JITTED[name](raw, radius, center=center)
        assert found.dtype == dtype
        assert np.isfinite(found).all()
        expected = in_extended_precision(name, raw, bound, center, most)
        off = np.abs(np.asarray(found, np.longdouble) - expected)
        among = np.max(np.abs(expected), -1, keepdims=True)
        if name != "cone_projection":  # an offset is rounded as what it is of
            among = among + np.asarray(abs(center), np.longdouble)
        assert (off <= 16 * float(info.eps) * among + float(info.tiny)).all()


def test_a_cone_whose_point_is_beyond_the_largest_number():
    most = float(jnp.finfo(jnp.float32).max)
    raw = np.float32([[1e38, 3e38, 3e38, 0, 0], [most] * 5])
    expected = [[2.62132e38, 1.85355e38, 1.85355e38, 0, 0], [most, *[most / 2] * 4]]
    np.testing.assert_allclose(cone(raw, 1.0), expected, rtol=1e-5)
    jacobians = jax.jit(jax.vmap(jax.jacobian(cone_projection)))
    slopes = np.asarray(jacobians(np.stack([raw[1], raw[1] / most])))
    np.testing.assert_allclose(slopes[0], slopes[1], atol=1e-6)


def lengths(offset, dtype):
    """Of the stored numbers, exactly, and as `dtype` adds their squares, in either order."""
    wide = offset.astype(np.longdouble)
    yield np.sqrt(np.sum(wide**2, -1))
    for order in (offset, offset[..., ::-1]):
        total = np.zeros(offset.shape[:-1], dtype)
        for entry in np.moveaxis(order, -1, 0):
            total = total + entry.astype(dtype) ** 2
        yield np.sqrt(total)


@pytest.mark.optimised
@pytest.mark.parametrize(
    ("name", "dtype"),
    sampled(
        product((*JITTED, "cone_projection"), ("float32", "float64", "float16", "bfloat16")),
        # In half precision of the two that are held alike one.
        lambda one: one[1] == "float32" or (one[1] == "float16" and one[0] != "ball_radial"),
    ),
)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
@example(seed=0)
def test_the_bound_holds_exactly_whatever_the_scales(name, dtype, seed):
    draw, wide = np.random.default_rng(seed), "float64" if dtype == "float64" else "float32"
    reach = 6 if wide == dtype or dtype == "bfloat16" else 1.5
    raw = draw.normal(size=(64, 5)) * 10 ** draw.uniform(-reach, reach, (64, 5))
    radius = 10 ** draw.uniform(-reach, reach, 64)
    center = np.where(draw.random((64, 1)) < 0.5, 0, draw.normal(size=(64, 5)))
    center *= 10 ** draw.uniform(-reach, reach, (64, 1))
    on_sphere = draw.random(64) < 0.3  # to rounding
    onto = (
        center + (raw - center) / np.linalg.norm(raw - center, axis=-1)[:, None] * radius[:, None]
    )
    raw = np.where(on_sphere[:, None], onto, raw)
    with jax.enable_x64(dtype == "float64"):
        raw, radius, center = (x.astype(jnp.dtype(dtype)) for x in (raw, radius, center))
        if name == "cone_projection":
            output = np.asarray(cone(raw, radius))
        else:
            output = np.asarray(JITTED[name](raw, radius, center=center))
    assert output.dtype == dtype
    radius = np.asarray(radius, wide)
    if name == "cone_projection":
        top, offset = np.asarray(output, wide)[:, 0], np.asarray(output, wide)[:, 1:]
        assert (top >= 0).all()
        radius = radius * top
    else:
        offset = np.asarray(output, wide) - np.asarray(center, wide)
    for length in lengths(offset, wide):
        assert (length <= radius).all()


@pytest.mark.optimised
@pytest.mark.thorough  # the largest and the smallest raw are near it too
@every_ball
def test_near_raw_it_is_as_the_docstring_says(name, x64):
    """What rounds is small: `(n / 2 + 8) eps radius`."""
    draw = np.random.default_rng(1)
    raw, radius = draw.normal(size=(50, 3)), draw.uniform(0.5, 3, 50)
    length = np.linalg.norm(raw, axis=-1)
    shares = {
        "ball_projection": np.minimum(1, radius / length),
        "ball_radial": radius / np.hypot(radius, length),
    }
    off = np.abs(JITTED[name](raw, radius) - shares[name][:, None] * raw)
    assert np.max(off) <= 11 * np.finfo(float).eps * 3


@pytest.mark.usefixtures("x64")
def test_derivatives_match_finite_differences():
    draw = np.random.default_rng(2)
    raw, center = draw.normal(size=(2, 20, 3))
    arguments = {
        "ball_projection": (raw, draw.uniform(0.5, 3, 20), center),
        "ball_radial": (raw, draw.uniform(0.5, 3, 20), center),
        "cone_projection": (raw, draw.uniform(0.5, 3, 20)),
    }
    functions = {
        name: lambda raw, radius, center, f=f: f(raw, radius, center=center)
        for name, f in BALLS.items()
    } | {"cone_projection": cone}
    cotangent = draw.normal(size=raw.shape)
    for name, given_ones in arguments.items():

        @jax.jit
        def with_slopes(*given, f=functions[name]):
            output, pullback = jax.vjp(f, *given)
            return output, pullback(cotangent)

        for i, slopes in enumerate(with_slopes(*given_ones)[1]):
            direction = draw.normal(size=slopes.shape)
            ends = [
                np.sum(cotangent * np.asarray(with_slopes(*moved)[0]), -1)
                for moved in (
                    (*given_ones[:i], given_ones[i] + step * direction, *given_ones[i + 1 :])
                    for step in (1e-6, -1e-6)
                )
            ]
            along = np.sum((slopes * direction).reshape(20, -1), -1)
            np.testing.assert_allclose(along, (ends[0] - ends[1]) / 2e-6, atol=1e-7)


def test_ranks():
    raw = np.float32([[3, 4, 5], [-3, 0.1, 2]])
    rank_fraction = jax.jit(metrics.jacobian_rank_fraction)
    through = {
        ball: jax.jit(partial(metrics.set_jacobian, lambda z, ball=ball: ball(z, 1.0)))
        for ball in BALLS.values()
    }
    fractions = {
        "projection, outside": (ball_projection, raw, 2 / 3),
        "projection, inside": (ball_projection, raw / 9, 1),
        "radial, outside": (ball_radial, raw, 1),
        "radial, far outside": (ball_radial, 30 * raw, 1),
    }
    for name, (ball, where, expected) in fractions.items():
        found = rank_fraction(through[ball](where))
        np.testing.assert_allclose(found, expected, err_msg=name)
    surface, polar = np.float32([1, 3, 4]), np.float32([-6, 3, 4])
    of_cone = jax.jit(
        lambda z, slope: metrics.set_jacobian(partial(cone_projection, slope=slope), z)
    )
    for where, slope, rank in ((surface, 1.0, 2), (surface, 0.0, 1), (polar, 1.0, 0)):
        assert np.linalg.matrix_rank(of_cone(where, slope)) == rank


@pytest.mark.thorough  # test_edges.py, with derivatives
def test_nan_spoils_its_own_set():
    raw, radius = np.ones((4, 3), np.float32), np.ones(4, np.float32)
    center = 0 * raw
    raw[0, 1] = radius[1] = center[2, 0] = np.nan
    for ball in JITTED.values():
        output = ball(raw, radius, center=center)
        np.testing.assert_array_equal(np.isnan(output).all(-1), [True, True, True, False])
        assert np.isfinite(output[3]).all()
    np.testing.assert_array_equal(np.isnan(cone(raw, radius)).any(-1), [True, True, False, False])


def test_what_does_not_fit_is_refused():
    raw = jnp.ones((2, 3))
    for name, ball in BALLS.items():
        with pytest.raises(TypeError, match=f"{name} needs a floating-point raw, got int32"):
            ball(jnp.ones(3, int), 1.0)
        with pytest.raises(ValueError, match=rf"{name}: radius must broadcast to \(2,\).*\(3,\)"):
            ball(raw, jnp.ones(3))
        with pytest.raises(ValueError, match=r"center must broadcast to \(2, 3\).*got \(2,\)"):
            ball(raw, 1.0, center=jnp.ones(2))
        with pytest.raises(ValueError, match=f"{name}: axis 2 is not one of raw"):
            ball(raw, 1.0, axis=2)
        with pytest.raises(TypeError, match=f"{name} cannot take a masked array as radius"):
            ball(raw, np.ma.array(1.0, mask=False))
        with pytest.raises(TypeError, match="needs a real radius and center, got complex64"):
            ball(raw, 1j)
    with pytest.raises(ValueError, match="slope must broadcast"):
        cone_projection(raw, slope=jnp.ones(3))
    for shape, axis in (((2, 0), -1), ((2, 3), (0, 1))):
        with pytest.raises(ValueError, match="needs one axis.*Put t first"):
            cone_projection(jnp.ones(shape), axis=axis)
    for empty in ((2, 0), (0, 2)):
        raw = jax.ShapeDtypeStruct(empty, np.float32)
        assert jax.eval_shape(ball_projection, raw, 1.0).shape == empty
