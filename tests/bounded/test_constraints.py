"""The contract of the hard constraints: values, derivatives, edge cases, errors."""

from functools import partial

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
from tests.bounded.maps import (
    BOTH,
    HARD,
    INTERVALS,
    MAPS,
    ONE_SIDED,
    TWO_SIDED,
    UP,
    few_cases,
    id_of,
)
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("unoptimised")


def name_of(value):
    return value.__name__ if callable(value) else id_of(value)


def functions(names):
    return [getattr(constraints, name) for name in names]


@pytest.mark.parametrize("function", [stretched_tanh, half_tanh], ids=name_of)
def test_tanh_constraints_break_a_negative_bound_as_documented(function):
    assert function(jnp.array(0.1), upper=-1.0) > -1


@pytest.mark.parametrize(
    ("output", "expected"),
    [
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
            lambda z: smooth_clip(z, -1, 1, temperature=1),
            -1 + np.log1p(np.exp([-1.0, 1, 4])) - np.log1p(np.exp([-3.0, -1, 2])),
        ),
        (lambda z: stretched_tanh(z, upper=-2), 2 * np.tanh([-2.0, 0, 3])),
        (lambda z: half_tanh(z, upper=2), [-2, 0, 2 * np.tanh(3.0)]),
        (lambda z: tanh_interval(z, -1, 2), 0.5 + 1.5 * np.tanh([-2.0, 0, 3])),
        (lambda z: sigmoid_interval(z, -1, 2), -1 + 3 / (1 + np.exp([2.0, 0, -3]))),
    ],
)
def test_values_by_hand(output, expected):
    np.testing.assert_allclose(output(jnp.array([-2.0, 0, 3])), expected, rtol=1e-6, atol=1e-7)


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
    raw, lower, upper = jnp.array([-2.0, -1, 0, 1, 2]), -jnp.ones(5), jnp.ones(5)
    slopes = jax.jit(jax.grad(lambda *a: function(*a).sum(), (0, 1, 2)))
    by_raw, by_lower, by_upper = slopes(raw, lower, upper)
    np.testing.assert_allclose(by_raw, [outside, 1, 1, 1, outside])
    np.testing.assert_allclose(by_lower, [of_bound, 0, 0, 0, 0])
    np.testing.assert_allclose(by_upper, [0, 0, 0, 0, of_bound])


def test_the_slope_of_leaky_clip_has_no_derivative():
    assert jax.grad(lambda slope: leaky_clip(5.0, upper=1.0, slope=slope))(0.5) == 0


def slope(function, raw, argument=0):
    def total(*arguments):
        return function(*arguments).sum()

    return jax.jit(jax.grad(total, argument))(jnp.asarray(raw))


@few_cases
def test_derivatives_are_finite_wherever_the_output_is(name, sides):
    function = getattr(constraints, name)
    top = np.finfo(np.float32).max
    raw = jnp.array([-top, -1e30, -0.0, 0.0, 1e30, top])
    bounds = {"lower": jnp.full(6, -1.0), "upper": jnp.full(6, 1.0)}
    bounds = {side: bounds[side] for side in sides}

    @jax.jit
    def run(raw, bounds):
        output, pullback = jax.vjp(lambda raw, b: function(raw, **b), raw, bounds)
        return output, pullback(jnp.ones_like(output))

    output, found = run(raw, bounds)
    finite = np.isfinite(output)
    assert finite.sum() == 6 or function is exp_offset
    assert all(np.isfinite(leaf)[finite].all() for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("function", functions(TWO_SIDED), ids=name_of)
def test_an_interval_of_one_point_is_that_point(function):
    raw = jnp.array([-3.0, 0.5, 3])
    np.testing.assert_array_equal(function(raw, 0.5, 0.5), [0.5] * 3)
    expected = {clip: [0, 1, 0], straight_through_clip: [1, 1, 1], leaky_clip: [0.1, 1, 0.1]}
    found = slope(lambda z: function(z, 0.5, 0.5), raw)
    np.testing.assert_allclose(found, expected.get(function, [0, 0, 0]))
    # The point moves with its bounds.
    np.testing.assert_allclose(slope(lambda c: clip(raw, c, c), 0.5 * jnp.ones(3)), [1, 0, 1])


def test_zero_upper_bound_of_the_tanhs():
    raw = jnp.array([-3.0, 0.5])
    np.testing.assert_array_equal(stretched_tanh(raw, upper=0.0), [0, 0])
    np.testing.assert_array_equal(slope(lambda z: stretched_tanh(z, upper=0.0), raw), [0, 0])
    np.testing.assert_array_equal(half_tanh(raw, upper=0.0), [-3, 0])


@few_cases
def test_infinite_bounds_pass_raw_through(name, sides):
    function = getattr(constraints, name)
    raw = jnp.array([-3.0, 0.3, 5])

    @jax.jit
    def run(raw, bounds):
        output, pullback = jax.vjp(lambda z: function(z, **bounds), raw)
        return output, *pullback(jnp.ones_like(raw))

    for infinity in (np.inf, -np.inf):
        bounds = {side: np.full(3, infinity, np.float32) for side in sides}
        output, slopes = run(raw, bounds)
        np.testing.assert_array_equal(output, raw)
        np.testing.assert_array_equal(function(raw, **bounds), raw)
        np.testing.assert_array_equal(slopes, [1, 1, 1])


def test_one_infinite_side_leaves_the_other():
    raw = jnp.array([-5.0, 0.2, 5])
    upper = jnp.array([1.0, jnp.inf, jnp.inf])
    for function in functions(TWO_SIDED):
        output = function(raw, -1.0, upper)
        assert output[0] <= 1
        assert (output >= -1).all()
        np.testing.assert_allclose(output[2], 5, rtol=1e-6)


@pytest.mark.parametrize("function", functions(TWO_SIDED), ids=name_of)
def test_where_lower_exceeds_upper_the_upper_bound_wins(function):
    raw = jnp.array([-5.0, 0.2, 5])
    output = function(raw, 2.0, -1.0)
    assert (output <= -1).all()
    assert np.isfinite(slope(lambda z: function(z, 2.0, -1.0), raw)).all()


@pytest.mark.parametrize("function", functions(MAPS), ids=name_of)
def test_nan_stays_where_it_is(function):
    nan = jnp.nan
    raw, bound = jnp.array([0.5, nan, 0.5, 0.5]), jnp.array([1.0, 1, nan, 1])
    sides = BOTH if function.__name__ in INTERVALS else UP
    bounds = {side: bound if side == "upper" else bound - 2 for side in sides}

    @jax.jit
    def run(raw):
        output, pullback = jax.vjp(lambda z: function(z, **bounds), raw)
        return output, *pullback(jnp.ones_like(output))

    output, by_raw = run(raw)
    expected = [False, True, function is not identity, False]
    np.testing.assert_array_equal(np.isnan(output), expected)
    assert np.isfinite(by_raw[np.array([0, 3])]).all()


@few_cases
def test_shapes_and_dtypes_broadcast_as_jnp_clip(name, sides):
    function = getattr(constraints, name)
    for raw, bound in (
        (jnp.ones((2, 3, 4)), jnp.ones((3, 1))),
        (jnp.ones((0, 3)), 1),
        (jnp.ones((2, 3), jnp.bfloat16), jnp.float32(1)),
        (jnp.ones((2, 3), jnp.bfloat16), 1.0),
        (np.ones((2, 3), np.float64), np.ones(3, int)),
        (1.5, 2),
    ):
        bounds = dict.fromkeys(sides, bound)
        output = jax.eval_shape(lambda raw=raw, bounds=bounds: function(raw, **bounds))
        with jax.numpy_rank_promotion("allow"):
            expected = jax.eval_shape(lambda raw=raw, bound=bound: jnp.clip(raw, bound, bound))
        assert (output.shape, output.dtype) == (expected.shape, expected.dtype)


def test_they_vectorise_and_differentiate_forward():
    raw = jnp.linspace(-2, 2, 6).reshape(3, 2)
    for function in functions(TWO_SIDED):

        @jax.jit
        def run(raw, function=function):
            def inside(z):
                return function(z, -1.0, 1.0)

            ones = jnp.ones_like(raw)
            output, forward = jax.jvp(inside, (raw,), (ones,))
            return jax.vmap(inside)(raw), output, forward, jax.vjp(inside, raw)[1](ones)[0]

        mapped, output, forward, backward = run(raw)
        np.testing.assert_array_equal(mapped, output)
        np.testing.assert_allclose(forward, backward)


def test_sequence_maximum_is_over_time():
    bound = jnp.array([[[1.0, 5], [3, 2]]])
    np.testing.assert_array_equal(sequence_maximum(bound), [[[3, 5]]])
    assert clip(jnp.full((1, 2, 2), 9.0), upper=sequence_maximum(bound)).max() == 5


@pytest.mark.parametrize("function", functions(HARD), ids=name_of)
def test_errors_name_what_was_given_and_what_to_do(function):
    both = {"lower": 0, "upper": 1} if function.__name__ in INTERVALS else {"upper": 1}
    with pytest.raises(TypeError, match=r"floating-point raw, got int32.*astype"):
        function(jnp.arange(3), **both)
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
        smooth_clip(jnp.ones(3, jnp.float16), upper=1.0, temperature=1e-9)


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
    raw, scales = jnp.linspace(-2, 2, 6).reshape(2, 3), jnp.array(scales)
    for function, name in (
        (leaky_clip, "slope"),
        (smooth_clip, "temperature"),
        (knee_tanh, "width"),
        (squareplus_offset, "temperature"),
    ):

        @jax.jit
        def run(raw, scales, function=function, name=name):
            output, pullback = jax.vjp(lambda z: function(z, upper=1.0, **{name: scales}), raw)
            return output, pullback(jnp.ones_like(raw))[0]

        found, slopes = run(raw, scales)
        each = jnp.broadcast_to(scales, raw.shape)
        for index in np.ndindex(raw.shape):
            one, slope_of_one = run(raw[index], each[index])
            np.testing.assert_allclose(found[index], one, rtol=1e-6)
            np.testing.assert_allclose(slopes[index], slope_of_one, rtol=1e-6)


def test_an_overflowing_formula_leaves_the_gradients_of_unbounded_entries_alone():
    raw, upper = jnp.array([100.0, 1]), jnp.array([jnp.inf, 0])
    np.testing.assert_allclose(exp_offset(raw, upper=upper), [100, -np.e], rtol=1e-6)
    np.testing.assert_allclose(
        slope(lambda z: exp_offset(z, upper=upper), raw), [1, -np.e], rtol=1e-6
    )


def test_knees_that_would_overlap_meet_in_the_middle():
    raw = jnp.array([-1.0, -0.01, 0, 0.01, 1])
    np.testing.assert_array_equal(
        knee_tanh(raw, -0.1, 0.1, width=5.0), knee_tanh(raw, -0.1, 0.1, width=0.1)
    )
    upper = jnp.array([0.1, 0.1, 0.1, 10, jnp.inf])
    output = knee_tanh(raw, -0.1, upper, width=0.5)
    np.testing.assert_allclose(output[4], 1)
    assert (output < 0.1).tolist() == [True, True, True, True, False]
