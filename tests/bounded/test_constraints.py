"""The contract of the hard constraints: values, derivatives, edge cases, errors."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bounded import constraints
from bounded.constraints import (
    clip,
    exp_offset,
    half_tanh,
    identity,
    knee_tanh,
    leaky_clip,
    relu_offset,
    sequence_maximum,
    sigmoid_interval,
    smooth_clip,
    softplus_offset,
    squareplus_offset,
    straight_through_clip,
    stretched_tanh,
    tanh_interval,
)
from tests.bounded import maps
from tests.bounded.maps import (
    HARD,
    INTERVALS,
    MAPS,
    ONE_SIDED,
    TWO_SIDED,
    few_cases,
    id_of,
)
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("unoptimised")


def name_of(value):
    return value.__name__ if callable(value) else id_of(value)


def functions(names):
    return [getattr(constraints, name) for name in names]


@cache
def compiled(function, sides):
    """The output and its derivatives to raw and to the bounds, of arrays of six entries."""

    def run(raw, bounds):
        output, pullback = jax.vjp(lambda raw, bounds: function(raw, **bounds), raw, bounds)
        return output, *pullback(jnp.ones_like(output))

    return jax.jit(run)


def with_derivatives(function, raw, **bounds):
    full = {side: np.full(6, bound, np.float32) for side, bound in bounds.items()}
    return compiled(function, tuple(sorted(bounds)))(np.float32(raw), full)


def fullest_sides(function):
    return max(MAPS[function.__name__].sides, key=len)


@pytest.mark.parametrize("function", [stretched_tanh, half_tanh], ids=name_of)
def test_tanh_constraints_break_a_negative_bound_as_documented(function):
    output, *_ = with_derivatives(function, [0.1] * 6, upper=-1.0)
    assert (output > -1).all()


def test_values_by_hand():
    cases = [
        (lambda z: identity(z), [-2, 0, 3]),
        (lambda z: clip(z, upper=1), [-2, 0, 1]),
        (lambda z: clip(z, lower=-1), [-1, 0, 3]),
        (lambda z: clip(z, -1, 1), [-1, 0, 1]),
        (lambda z: straight_through_clip(z, -1, 1), [-1, 0, 1]),
        (lambda z: leaky_clip(z, -1, 1), [-1, 0, 1]),
        (lambda z: knee_tanh(z, upper=1, width=0.5), [-2, 0, 0.5 + 0.5 * np.tanh(5.0)]),
        (
            lambda z: knee_tanh(z, lower=-1, width=2),
            [1 + 2 * np.tanh(-1.5), 1 + 2 * np.tanh(-0.5), 3],
        ),
        (
            lambda z: knee_tanh(z, -1, 2, width=9),
            0.5 + 1.5 * np.tanh([-2.5 / 1.5, -0.5 / 1.5, 2.5 / 1.5]),
        ),
        (lambda z: relu_offset(z, upper=1), [1, 1, -2]),
        (lambda z: relu_offset(z, lower=1), [3, 1, 1]),
        (lambda z: softplus_offset(z, upper=1), 1 - np.log1p(np.exp([-2.0, 0, 3]))),
        (
            lambda z: softplus_offset(z, lower=1, temperature=0.5),
            1 + 0.5 * np.log1p(np.exp([4.0, 0, -6])),
        ),
        (
            lambda z: squareplus_offset(z, upper=1, temperature=0.5),
            1 - (np.array([-2.0, 0, 3]) + np.sqrt([5.0, 1, 10])) / 2,
        ),
        (lambda z: exp_offset(z, upper=1), 1 - np.exp([-2.0, 0, 3])),
        (lambda z: exp_offset(z, lower=1), 1 + np.exp([2.0, 0, -3])),
        (
            lambda z: smooth_clip(z, upper=1, temperature=0.5),
            1 - 0.5 * np.log1p(np.exp([6.0, 2, -4])),
        ),
        (
            lambda z: smooth_clip(z, lower=-1, temperature=0.5),
            -1 + 0.5 * np.log1p(np.exp([-2.0, 2, 8])),
        ),
        (
            lambda z: smooth_clip(z, -1, 1, temperature=1),
            -1 + np.log1p(np.exp([-1.0, 1, 4])) - np.log1p(np.exp([-3.0, -1, 2])),
        ),
        (lambda z: stretched_tanh(z, upper=-2), 2 * np.tanh([-2.0, 0, 3])),
        (lambda z: half_tanh(z, upper=2), [-2, 0, 2 * np.tanh(3.0)]),
        (lambda z: tanh_interval(z, -1, 2), 0.5 + 1.5 * np.tanh([-2.0, 0, 3])),
        (lambda z: sigmoid_interval(z, -1, 2), -1 + 3 / (1 + np.exp([2.0, 0, -3]))),
    ]

    @jax.jit
    def outputs(z):
        return [function(z) for function, _ in cases]

    for found, (_, expected) in zip(outputs(np.float32([-2, 0, 3])), cases, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("function", "outside", "of_bound"),
    [
        (clip, 0, 1),
        (straight_through_clip, 1, 1),
        (leaky_clip, 0.1, 0.9),
        (partial(leaky_clip, slope=0), 0, 1),
        (partial(leaky_clip, slope=1), 1, 0),
    ],
)
def test_derivatives_of_the_clips_at_and_beyond_the_bounds(function, outside, of_bound):
    _, by_raw, by_bounds = with_derivatives(
        function, [-2.0, -1, 0, 0.5, 1, 2], lower=-1.0, upper=1.0
    )
    np.testing.assert_allclose(by_raw, [outside, 1, 1, 1, 1, outside])
    np.testing.assert_allclose(by_bounds["lower"], [of_bound, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(by_bounds["upper"], [0, 0, 0, 0, 0, of_bound])


def test_the_slope_of_leaky_clip_has_no_derivative():
    run = jax.jit(jax.grad(lambda slope: leaky_clip(5.0, upper=1.0, slope=slope)))
    assert run(0.5) == 0


@few_cases
def test_derivatives_are_finite_wherever_the_output_is(name, sides):
    function = getattr(constraints, name)
    top = np.finfo(np.float32).max
    ends = {"lower": -1.0, "upper": 1.0}
    bounds = {side: ends[side] for side in sides}
    output, *found = with_derivatives(function, [-top, -1e30, -0.0, 0.0, 1e30, top], **bounds)
    finite = np.isfinite(output)
    assert finite.sum() == 6 or function is exp_offset
    assert all(np.isfinite(leaf)[finite].all() for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("function", functions(TWO_SIDED), ids=name_of)
def test_an_interval_of_one_point_is_that_point(function):
    raw = [-3.0, 0.5, 3] * 2
    output, by_raw, by_bounds = with_derivatives(function, raw, lower=0.5, upper=0.5)
    np.testing.assert_array_equal(output, [0.5] * 6)
    expected = {clip: [0, 1, 0], straight_through_clip: [1, 1, 1], leaky_clip: [0.1, 1, 0.1]}
    np.testing.assert_allclose(by_raw, expected.get(function, [0, 0, 0]) * 2)
    if function is clip:  # the point moves with its bounds
        moved = np.add(by_bounds["lower"], by_bounds["upper"])
        np.testing.assert_allclose(moved, [1, 0, 1] * 2)


def test_zero_upper_bound_of_the_tanhs():
    raw = [-3.0, 0.5] * 3
    output, by_raw, _ = with_derivatives(stretched_tanh, raw, upper=0.0)
    np.testing.assert_array_equal(output, [0] * 6)
    np.testing.assert_array_equal(by_raw, [0] * 6)
    output, *_ = with_derivatives(half_tanh, raw, upper=0.0)
    np.testing.assert_array_equal(output, [-3, 0] * 3)


@few_cases
def test_infinite_bounds_pass_raw_through(name, sides):
    raw = np.float32([-3.0, 0.3, 5] * 2)
    for infinity in (np.inf, -np.inf):
        bounds = dict.fromkeys(sides, infinity)
        output, by_raw, _ = with_derivatives(getattr(constraints, name), raw, **bounds)
        np.testing.assert_array_equal(output, raw)
        np.testing.assert_array_equal(by_raw, [1] * 6)


@pytest.mark.parametrize("function", functions(TWO_SIDED), ids=name_of)
def test_one_infinite_side_leaves_the_other(function):
    upper = [1.0, np.inf, np.inf] * 2
    output, *_ = with_derivatives(function, [-5.0, 0.2, 5] * 2, lower=-1.0, upper=upper)
    output = np.asarray(output)
    assert (output[::3] <= 1).all()
    assert (output >= -1).all()
    np.testing.assert_allclose(output[2::3], 5, rtol=1e-6)


@pytest.mark.parametrize("function", functions(TWO_SIDED), ids=name_of)
def test_where_lower_exceeds_upper_the_upper_bound_wins(function):
    output, by_raw, _ = with_derivatives(function, [-5.0, 0.2, 5] * 2, lower=2.0, upper=-1.0)
    assert (output <= -1).all()
    assert np.isfinite(by_raw).all()


@pytest.mark.parametrize("function", functions(MAPS), ids=name_of)
def test_nan_stays_where_it_is(function):
    raw, bound = np.full(6, 0.5), np.ones(6)
    raw[1] = bound[2] = np.nan
    bounds = {"lower": bound - 2, "upper": bound}
    bounds = {side: bounds[side] for side in fullest_sides(function)}
    output, by_raw, _ = with_derivatives(function, raw, **bounds)
    expected = [False, True, function is not identity, False, False, False]
    np.testing.assert_array_equal(np.isnan(output), expected)
    assert np.isfinite(np.delete(by_raw, [1, 2])).all()


@few_cases
def test_shapes_and_dtypes_broadcast_as_jnp_clip(name, sides):
    function = getattr(constraints, name)
    for raw, bound in (
        (np.ones((2, 3, 4)), np.ones((3, 1))),
        (np.ones((0, 3)), 1),
        (np.ones((2, 3), jnp.bfloat16), np.float32(1)),
        (np.ones((2, 3), jnp.bfloat16), 1.0),
        (np.ones((2, 3), np.float64), np.ones(3, int)),
        (1.5, 2),
    ):
        bounds = dict.fromkeys(sides, bound)
        output = jax.eval_shape(lambda raw=raw, bounds=bounds: function(raw, **bounds))
        with jax.numpy_rank_promotion("allow"):
            expected = jax.eval_shape(lambda raw=raw, bound=bound: jnp.clip(raw, bound, bound))
        assert (output.shape, output.dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize(
    "function",
    sampled(functions(TWO_SIDED), [leaky_clip]),  # others: test_derivatives.py
    ids=name_of,
)
def test_they_vectorise_and_differentiate_forward(function):
    @jax.jit
    def run(raw):
        def inside(z):
            return function(z, -1.0, 1.0)

        ones = jnp.ones_like(raw)
        output, forward = jax.jvp(inside, (raw,), (ones,))
        return jax.vmap(inside)(raw), output, forward, jax.vjp(inside, raw)[1](ones)[0]

    raw = np.linspace(-2, 2, 6, dtype=np.float32).reshape(3, 2)
    mapped, output, forward, backward = run(raw)
    np.testing.assert_array_equal(mapped, output)
    np.testing.assert_allclose(forward, backward)


def test_sequence_maximum_is_over_time():
    bound = np.float32([[[1, 5], [3, 2]]])
    run = jax.jit(lambda raw, b: (sequence_maximum(b), clip(raw, upper=sequence_maximum(b))))
    maximum, output = run(np.full_like(bound, 9), bound)
    np.testing.assert_array_equal(maximum, [[[3, 5]]])
    assert output.max() == 5


@pytest.mark.parametrize("function", functions(HARD), ids=name_of)
def test_errors_name_what_was_given_and_what_to_do(function):
    both = {"lower": 0, "upper": 1} if function.__name__ in INTERVALS else {"upper": 1}
    with pytest.raises(TypeError, match=r"floating-point raw, got int32.*astype"):
        function(np.arange(3), **both)
    with pytest.raises(ValueError, match="identity for no constraint|missing"):
        function(jnp.ones(3))
    with pytest.raises(TypeError, match="real bounds"):
        function(jnp.ones(3), **dict.fromkeys(both, 1j))


@pytest.mark.parametrize("function", functions(ONE_SIDED), ids=name_of)
def test_an_unsupported_side_is_refused_when_traced(function):
    with pytest.raises(ValueError, match="Use clip, smooth_clip or tanh_interval"):
        jax.jit(function)(jnp.ones(3), 0.0, 1.0)


@pytest.mark.parametrize("function", functions(INTERVALS), ids=name_of)
def test_intervals_need_both_sides(function):
    with pytest.raises(ValueError, match=f"{function.__name__} needs both.*lower is missing"):
        function(jnp.ones(3), upper=1.0)


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize(
    ("function", "name"),
    [(getattr(constraints, name), m.parameter) for name, m in MAPS.items() if m.scale],
    ids=name_of,
)
def test_a_scale_that_is_not_positive_is_refused_also_when_traced(function, name, value):
    bounds = {"upper": 1.0} | ({"lower": 0.0} if function.__name__ in INTERVALS else {})
    given = partial(function, **bounds, **{name: value})
    for run in (given, jax.jit(given), lambda raw: jax.eval_shape(given, raw)):
        with pytest.raises(ValueError, match=f"{name} must be positive and finite in float32, got"):
            run(jnp.ones(3))


@pytest.mark.parametrize("slope", [-0.1, 1.1, np.nan])
def test_a_slope_outside_its_range_is_refused(slope):
    with pytest.raises(ValueError, match=r"slope must lie in \[0, 1\] in float32, got"):
        leaky_clip(jnp.ones(3), upper=1.0, slope=slope)


def test_a_temperature_too_small_for_the_dtype_is_refused():
    with pytest.raises(ValueError, match="in float16"):
        smooth_clip(np.ones(3, np.float16), upper=1.0, temperature=1e-9)


@pytest.mark.parametrize("upper", [-1e5, np.int32(-70000), np.array([1, 1e5])], ids=str)
def test_a_finite_bound_that_the_dtype_cannot_hold_is_refused(upper):
    raw = jnp.ones(2, jnp.float16)
    if isinstance(upper, np.ndarray):  # a float32 array widens the output, a scalar does not
        assert clip(raw, upper=upper.astype(np.float32)).dtype == jnp.float32
        upper = upper.astype(int)
    with pytest.raises(ValueError, match="upper has finite values that are infinite in float16"):
        clip(raw, upper=upper)


@pytest.mark.parametrize(
    "scales", sampled([[0.1, 0.2, 0.3], [[0.5], [0.25]]], [[[0.5], [0.25]]]), ids=str
)
def test_hyperparameters_broadcast_to_raw(scales):
    raw, scales = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3), np.float32(scales)
    names = ("leaky_clip", "smooth_clip", "knee_tanh", "squareplus_offset")

    @jax.jit
    def run(raw, scales):
        def outputs(raw):
            given = [{MAPS[name].parameter: scales} for name in names]
            constraint = [getattr(constraints, name) for name in names]
            return [f(raw, upper=1.0, **g) for f, g in zip(constraint, given, strict=True)]

        return jax.jvp(outputs, (raw,), (jnp.ones_like(raw),))

    for name, output, slopes in zip(names, *run(raw, scales), strict=True):
        given = {"upper": np.float32(1), MAPS[name].parameter: scales}
        expected = maps.derivative("z", name, raw, **given)
        if name == "leaky_clip":
            expected = np.where(raw > 1, scales, 1)
        np.testing.assert_allclose(output, maps.value(name, raw, **given), rtol=1e-5)
        np.testing.assert_allclose(slopes, expected, rtol=1e-5)


def test_an_overflowing_formula_leaves_the_gradients_of_unbounded_entries_alone():
    raw, upper = [100.0, 1] * 3, [np.inf, 0] * 3
    output, by_raw, _ = with_derivatives(exp_offset, raw, upper=upper)
    np.testing.assert_allclose(output, [100, -np.e] * 3, rtol=1e-6)
    np.testing.assert_allclose(by_raw, [1, -np.e] * 3, rtol=1e-6)


def test_knees_that_would_overlap_meet_in_the_middle():
    raw = np.float32([-1, -0.01, 0, 0.01, 1])
    run = jax.jit(lambda upper, width: knee_tanh(raw, -0.1, upper, width=width))
    narrow = np.full(5, 0.1, np.float32)
    np.testing.assert_array_equal(run(narrow, 5.0), run(narrow, 0.1))
    output = run(np.float32([0.1, 0.1, 0.1, 10, np.inf]), 0.5)
    np.testing.assert_allclose(output[4], 1)
    assert (output < 0.1).tolist() == [True, True, True, True, False]
