"""The contract of the hard constraints: exactness, derivatives, edge cases, errors."""

import subprocess
import sys
from functools import cache, partial

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax.test_util import check_grads

from bounded import constraints
from bounded.constraints import (
    clip,
    half_tanh,
    identity,
    relu_offset,
    sequence_maximum,
    smooth_clip,
    softplus_offset,
    straight_through_clip,
    stretched_tanh,
    tanh_interval,
)

TWO_SIDED = (clip, straight_through_clip, smooth_clip)
ONE_SIDED = (relu_offset, softplus_offset)
NONNEGATIVE_UPPER = (stretched_tanh, half_tanh)
EVERY = (identity, *TWO_SIDED, *ONE_SIDED, *NONNEGATIVE_UPPER, tanh_interval)
DTYPES = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}
CASES = (
    [(f, sides) for f in TWO_SIDED for sides in (("upper",), ("lower",), ("lower", "upper"))]
    + [(f, (side,)) for f in ONE_SIDED for side in ("upper", "lower")]
    + [(tanh_interval, ("lower", "upper"))]
)
SIZE = 32


def name_of(value):
    return value.__name__ if callable(value) else "+".join(value)


def finite_floats(dtype: np.dtype) -> st.SearchStrategy:
    """Any finite floats of a dtype, by their bits: extremes, subnormals and zeros often."""
    info = ml_dtypes.finfo(dtype)
    corners = [0, 1, -1, info.max, info.tiny, info.smallest_subnormal, info.eps, 100, 1e3]
    corners = np.array(corners + [-corner for corner in corners], dtype)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    corner_bits = [int(bits) for bits in corners.view(unsigned)]
    bits = st.one_of(st.sampled_from(corner_bits), st.integers(0, int(np.iinfo(unsigned).max)))

    def to_floats(drawn: np.ndarray) -> np.ndarray:
        values = drawn.view(dtype)
        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(values), values, info.max).astype(dtype)

    return arrays(unsigned, SIZE, elements=bits).map(to_floats)


@cache
def jitted(function, sides):
    return jax.jit(partial(call, function, sides))


@cache
def scanned(function, sides):
    def run(raw, lower, upper):
        def step(carry, row):
            return carry, call(function, sides, *row)

        return jax.lax.scan(step, 0, (raw, lower, upper))[1]

    return jax.jit(run)


def call(function, sides, raw, lower, upper):
    bounds = {"lower": lower, "upper": upper}
    return function(raw, **{side: bounds[side] for side in sides})


def assert_inside(function, sides, raw, lower, upper):
    for run in (partial(call, function, sides), jitted(function, sides), scanned(function, sides)):
        output = np.asarray(run(raw, lower, upper))
        assert output.dtype == raw.dtype
        assert not np.isnan(output).any()
        # u - softplus(z) overflows where the mathematics does; nothing else may.
        assert function in ONE_SIDED or np.isfinite(output).all()
        if "upper" in sides:
            assert (output <= upper).all()
        if "lower" in sides:
            assert (output >= lower).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("function", "sides"), CASES, ids=name_of)
def test_hard_constraints_hold_exactly(function, sides, dtype):
    floats = finite_floats(DTYPES[dtype])

    @settings(deadline=None, max_examples=40)
    @given(floats, floats, floats)
    def check(raw, one, other):
        assert_inside(function, sides, raw, np.minimum(one, other), np.maximum(one, other))

    with jax.enable_x64(dtype == "float64"):
        check()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", NONNEGATIVE_UPPER, ids=name_of)
def test_tanh_constraints_hold_exactly_where_the_bound_is_not_negative(function, dtype):
    floats = finite_floats(DTYPES[dtype])

    @settings(deadline=None, max_examples=40)
    @given(floats, floats)
    def check(raw, bound):
        assert_inside(function, ("upper",), raw, bound, np.abs(bound))

    with jax.enable_x64(dtype == "float64"):
        check()


@pytest.mark.parametrize("function", NONNEGATIVE_UPPER, ids=name_of)
def test_tanh_constraints_break_a_negative_bound_as_documented(function):
    assert function(jnp.array(0.1), upper=-1.0) > -1


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(
    "naive",
    [
        lambda z, lower, upper: lower + (upper - lower) * jax.nn.sigmoid(z),
        lambda z, lower, upper: z + jax.lax.stop_gradient(jnp.clip(z, lower, upper) - z),
    ],
    ids=["scaled sigmoid", "straight-through by stop_gradient"],
)
def test_the_exactness_test_catches_naive_constraints(naive, dtype):
    floats = finite_floats(DTYPES[dtype])

    @settings(
        deadline=None,
        max_examples=200,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(floats, floats, floats)
    def check(raw, one, other):
        lower, upper = np.minimum(one, other), np.maximum(one, other)
        assert_inside(naive, ("lower", "upper"), raw, lower, upper)

    with pytest.raises((AssertionError, ExceptionGroup)):
        check()


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (lambda z: identity(z), [-2, 0, 3]),
        (lambda z: clip(z, upper=1), [-2, 0, 1]),
        (lambda z: clip(z, lower=-1), [-1, 0, 3]),
        (lambda z: clip(z, -1, 1), [-1, 0, 1]),
        (lambda z: straight_through_clip(z, -1, 1), [-1, 0, 1]),
        (lambda z: relu_offset(z, upper=1), [1, 1, -2]),
        (lambda z: relu_offset(z, lower=1), [3, 1, 1]),
        (lambda z: softplus_offset(z, upper=1), 1 - np.log1p(np.exp([-2.0, 0, 3]))),
        (
            lambda z: softplus_offset(z, lower=1, temperature=0.5),
            1 + 0.5 * np.log1p(np.exp([4.0, 0, -6])),
        ),
        (
            lambda z: smooth_clip(z, upper=1, temperature=0.5),
            1 - 0.5 * np.log1p(np.exp([6.0, 2, -4])),
        ),
        (
            lambda z: smooth_clip(z, -1, 1, temperature=1),
            -1 + np.log1p(np.exp([-1.0, 1, 4])) - np.log1p(np.exp([-3.0, -1, 2])),
        ),
        (lambda z: stretched_tanh(z, upper=-2), 2 * np.tanh([-2.0, 0, 3])),
        (lambda z: half_tanh(z, upper=2), [-2, 0, 2 * np.tanh(3.0)]),
        (lambda z: tanh_interval(z, -1, 2), 0.5 + 1.5 * np.tanh([-2.0, 0, 3])),
    ],
)
def test_values_by_hand(output, expected):
    np.testing.assert_allclose(output(jnp.array([-2.0, 0, 3])), expected, rtol=1e-6, atol=1e-7)


DERIVATIVE_CASES = [
    (clip, (-1.0, 1.0)),
    (smooth_clip, (None, 1.0)),
    (smooth_clip, (-1.0, None)),
    (smooth_clip, (-1.0, 1.0)),
    (relu_offset, (None, 1.0)),
    (softplus_offset, (None, 1.0)),
    (softplus_offset, (1.0, None)),
    (stretched_tanh, (None, 1.5)),
    (stretched_tanh, (None, -1.5)),
    (half_tanh, (None, 1.5)),
    (tanh_interval, (-1.0, 2.0)),
]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("function", "bounds"), DERIVATIVE_CASES, ids=str)
def test_derivatives_to_raw_and_bounds_match_finite_differences(function, bounds):
    raw = jnp.linspace(-3.03, 2.97, 13)
    given_bounds = {
        side: jnp.full(13, bound) + 0.01 * jnp.arange(13)
        for side, bound in zip(("lower", "upper"), bounds, strict=True)
        if bound is not None
    }
    check_grads(
        lambda raw, given_bounds: function(raw, **given_bounds), (raw, given_bounds), order=1
    )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("function", "bounds"),
    [(smooth_clip, (None, 1.0)), (smooth_clip, (-1.0, 1.0)), (softplus_offset, (None, 1.0))],
    ids=str,
)
def test_the_temperature_can_be_learned(function, bounds):
    raw = jnp.linspace(-3.03, 2.97, 13)
    check_grads(lambda t: function(raw, *bounds, temperature=t), (jnp.array(0.7),), order=1)


@pytest.mark.parametrize("function", [straight_through_clip, clip], ids=name_of)
def test_derivatives_of_the_clips_at_and_beyond_the_bounds(function):
    raw, lower, upper = jnp.array([-2.0, -1, 0, 1, 2]), -jnp.ones(5), jnp.ones(5)
    by_raw, by_lower, by_upper = jax.grad(lambda *a: function(*a).sum(), (0, 1, 2))(
        raw, lower, upper
    )
    inside = [1, 1, 1, 1, 1] if function is straight_through_clip else [0, 1, 1, 1, 0]
    np.testing.assert_array_equal(by_raw, inside)
    np.testing.assert_array_equal(by_lower, [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(by_upper, [0, 0, 0, 0, 1])


def slope(function, raw, argument=0):
    def total(*arguments):
        return function(*arguments).sum()

    return jax.grad(total, argument)(jnp.asarray(raw))


def test_tails_of_derivatives_match_float64_on_both_sides():
    raw = np.array([-40, -20, -9, -1, 0, 1, 9, 20, 40], np.float32)
    exact = raw.astype(np.float64)
    sech = 4 * np.exp(-2 * abs(exact)) / (1 + np.exp(-2 * abs(exact))) ** 2
    sigmoid = np.where(exact < 0, np.exp(exact), 1) / (1 + np.exp(-abs(exact)))
    for function, expected in (
        (lambda z: stretched_tanh(z, upper=2.0), 2 * sech),
        (lambda z: half_tanh(z, upper=2.0), np.where(exact <= 0, 1, 2 * sech)),
        (lambda z: tanh_interval(z, -1.0, 3.0), 2 * sech),
        (lambda z: softplus_offset(z, upper=0.0), -sigmoid),
        (lambda z: smooth_clip(z, upper=0.0, temperature=1.0), sigmoid[::-1]),
        (
            lambda z: smooth_clip(z, -1.0, 0.0, temperature=1.0),
            sigmoid[::-1] * (1 / (1 + np.exp(-exact - 1))) * -np.expm1(-1.0),
        ),
    ):
        np.testing.assert_allclose(slope(function, raw), expected, rtol=2e-6)


@pytest.mark.parametrize(("function", "sides"), CASES, ids=name_of)
def test_extremes_have_finite_derivatives(function, sides):
    top = np.finfo(np.float32).max
    raw = jnp.array([-top, -1e30, -0.0, 0.0, 1e30, top])
    bounds = {"lower": jnp.full(6, -1.0), "upper": jnp.full(6, 1.0)}
    bounds = {side: bounds[side] for side in sides}
    found = jax.grad(lambda raw, b: function(raw, **b).sum(), (0, 1))(raw, bounds)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("function", [clip, smooth_clip, tanh_interval], ids=name_of)
def test_an_interval_of_one_point_is_that_point(function):
    raw = jnp.array([-3.0, 0.5, 3])
    np.testing.assert_array_equal(function(raw, 0.5, 0.5), [0.5] * 3)
    expected = [0, 1, 0] if function is clip else [0, 0, 0]
    np.testing.assert_array_equal(slope(lambda z: function(z, 0.5, 0.5), raw), expected)


def test_zero_upper_bound_of_the_tanhs():
    raw = jnp.array([-3.0, 0.5])
    np.testing.assert_array_equal(stretched_tanh(raw, upper=0.0), [0, 0])
    np.testing.assert_array_equal(slope(lambda z: stretched_tanh(z, upper=0.0), raw), [0, 0])
    np.testing.assert_array_equal(half_tanh(raw, upper=0.0), [-3, 0])


@pytest.mark.parametrize(("function", "sides"), CASES, ids=name_of)
def test_infinite_bounds_pass_raw_through(function, sides):
    raw = jnp.array([-3.0, 0.3, 5])
    for infinity in (jnp.inf, -jnp.inf):
        bounds = {side: jnp.full(3, infinity) for side in sides}
        np.testing.assert_array_equal(function(raw, **bounds), raw)
        np.testing.assert_array_equal(slope(lambda z, b=bounds: function(z, **b), raw), [1, 1, 1])


def test_one_infinite_side_leaves_the_other():
    raw = jnp.array([-5.0, 0.2, 5])
    upper = jnp.array([1.0, jnp.inf, jnp.inf])
    for function in (clip, smooth_clip, straight_through_clip, tanh_interval):
        output = function(raw, -1.0, upper)
        assert output[0] <= 1
        assert (output >= -1).all()
        np.testing.assert_allclose(output[2], 5, rtol=1e-6)


@pytest.mark.parametrize("function", [clip, smooth_clip, tanh_interval], ids=name_of)
def test_where_lower_exceeds_upper_the_upper_bound_wins(function):
    raw = jnp.array([-5.0, 0.2, 5])
    output = function(raw, 2.0, -1.0)
    assert (output <= -1).all()
    assert np.isfinite(slope(lambda z: function(z, 2.0, -1.0), raw)).all()


@pytest.mark.parametrize("function", EVERY, ids=name_of)
def test_nan_stays_where_it_is(function):
    nan = jnp.nan
    raw, bound = jnp.array([0.5, nan, 0.5, 0.5]), jnp.array([1.0, 1, nan, 1])
    sides = ("lower", "upper") if function is tanh_interval else ("upper",)
    bounds = {side: bound if side == "upper" else bound - 2 for side in sides}
    output = function(raw, **bounds)
    expected = [False, True, function is not identity, False]
    np.testing.assert_array_equal(jnp.isnan(output), expected)
    by_raw = slope(lambda z: function(z, **bounds), raw)
    assert np.isfinite(by_raw[jnp.array([0, 3])]).all()


@pytest.mark.parametrize(("function", "sides"), CASES, ids=name_of)
def test_shapes_and_dtypes_broadcast_as_jnp_clip(function, sides):
    for raw, bound in (
        (jnp.ones((2, 3, 4)), jnp.ones((3, 1))),
        (jnp.ones(()), jnp.ones((2, 1))),
        (jnp.ones((0, 3)), 1),
        (jnp.ones((2, 3), jnp.bfloat16), jnp.float32(1)),
        (jnp.ones((2, 3), jnp.bfloat16), 1.0),
        (np.ones((2, 3), np.float64), np.ones(3, int)),
        (1.5, 2),
    ):
        output = function(raw, **dict.fromkeys(sides, bound))
        with jax.numpy_rank_promotion("allow"):
            expected = jnp.clip(raw, bound, bound)
        assert (output.shape, output.dtype) == (expected.shape, expected.dtype)


@settings(deadline=None, max_examples=50)
@given(*[arrays(np.float32, SIZE, elements=st.floats(-10, 10, width=32))] * 2)
def test_a_lower_bound_mirrors_an_upper_one(raw, bound):
    for function in (*TWO_SIDED, *ONE_SIDED):
        np.testing.assert_array_equal(
            function(raw, lower=bound), -function(-raw, upper=-bound), strict=True
        )


# Without subnormals: jnp.clip flushes them to zero on CPU, where `clip` keeps them.
@settings(deadline=None, max_examples=50)
@given(
    *[arrays(np.float32, SIZE, elements=st.floats(-10, 10, width=32, allow_subnormal=False))] * 3
)
def test_clip_is_jnp_clip_and_relu_offset_a_clipped_offset(raw, lower, upper):
    np.testing.assert_array_equal(clip(raw, lower, upper), jnp.clip(raw, lower, upper))
    offset = jnp.subtract(upper, raw)
    np.testing.assert_allclose(
        relu_offset(raw, upper=upper), clip(offset, upper=upper), rtol=0, atol=1e-37
    )


def test_they_vectorise_and_differentiate_forward():
    raw = jnp.linspace(-2, 2, 6).reshape(3, 2)
    for function in (clip, smooth_clip, tanh_interval):
        mapped = jax.vmap(lambda z, f=function: f(z, -1.0, 1.0))(raw)
        np.testing.assert_array_equal(mapped, function(raw, -1.0, 1.0))
        forward = jax.jvp(lambda z, f=function: f(z, -1.0, 1.0), (raw,), (jnp.ones_like(raw),))[1]
        np.testing.assert_allclose(forward, slope(lambda z, f=function: f(z, -1.0, 1.0), raw))


def test_second_derivatives_exist():
    curvature = jax.grad(jax.grad(lambda z: smooth_clip(z, upper=1.0, temperature=1.0)))(0.3)
    sigmoid = 1 / (1 + np.exp(-0.7))
    np.testing.assert_allclose(curvature, -sigmoid * (1 - sigmoid), rtol=1e-5)


def test_sequence_maximum_is_over_time():
    bound = jnp.array([[[1.0, 5], [3, 2]]])
    np.testing.assert_array_equal(sequence_maximum(bound), [[[3, 5]]])
    assert clip(jnp.full((1, 2, 2), 9.0), upper=sequence_maximum(bound)).max() == 5


@pytest.mark.parametrize("function", [f for f in EVERY if f is not identity], ids=name_of)
def test_errors_name_what_was_given_and_what_to_do(function):
    both = {"lower": 0, "upper": 1} if function is tanh_interval else {"upper": 1}
    with pytest.raises(TypeError, match=r"floating-point raw, got int32.*astype"):
        function(jnp.arange(3), **both)
    with pytest.raises(ValueError, match="identity for no constraint|missing"):
        function(jnp.ones(3))
    with pytest.raises(TypeError, match="real bounds"):
        function(jnp.ones(3), **dict.fromkeys(both, 1j))


@pytest.mark.parametrize("function", [*ONE_SIDED, *NONNEGATIVE_UPPER], ids=name_of)
def test_an_unsupported_side_is_refused_when_traced(function):
    with pytest.raises(ValueError, match="Use clip, smooth_clip or tanh_interval"):
        jax.jit(function)(jnp.ones(3), 0.0, 1.0)


def test_tanh_interval_needs_both_sides():
    with pytest.raises(ValueError, match="lower is missing"):
        tanh_interval(jnp.ones(3), upper=1.0)


@pytest.mark.parametrize("temperature", [0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize("function", [smooth_clip, softplus_offset], ids=name_of)
def test_a_temperature_that_is_not_positive_is_refused(function, temperature):
    with pytest.raises(ValueError, match="temperature must be positive and finite"):
        function(jnp.ones(3), upper=1.0, temperature=temperature)


def test_a_temperature_too_small_for_the_dtype_is_refused():
    with pytest.raises(ValueError, match="in float16"):
        smooth_clip(jnp.ones(3, jnp.float16), upper=1.0, temperature=1e-9)


def test_importing_bounded_imports_jax_alone():
    code = (
        "import sys, bounded, bounded.constraints;"
        "found = {'flax', 'optax', 'matplotlib', 'rich', 'scipy.stats'} & set(sys.modules);"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_function_is_tested_here():
    public = {name for name, value in vars(constraints).items() if callable(value)}
    public = {
        n for n in public if not n.startswith("_") and n.islower() and n != "sequence_maximum"
    }
    assert public == {function.__name__ for function in EVERY}
