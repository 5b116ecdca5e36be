"""The contract of the hard constraints: exactness, derivatives, edge cases, errors."""

import inspect
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
    BOTH,
    CASES,
    DTYPES,
    HARD,
    INTERVALS,
    MAPS,
    MIRRORED,
    ONE_SIDED,
    TWO_SIDED,
    UP,
    id_of,
)

SIZE = 128


def name_of(value):
    return value.__name__ if callable(value) else id_of(value)


def functions(names):
    """Of names, or of names and sides."""
    return [
        getattr(constraints, one)
        if isinstance(one, str)
        else (getattr(constraints, one[0]), one[1])
        for one in names
    ]


def finite_floats(dtype: np.dtype) -> st.SearchStrategy:
    """Any finite floats of a dtype, by their bits: extremes, subnormals and zeros often."""
    info = ml_dtypes.finfo(dtype)
    corners = [0, 1, -1, info.max, info.tiny, info.smallest_subnormal, info.eps, 100, 1e3]
    corners = np.array(corners + [-corner for corner in corners], dtype)

    def to_floats(drawn: bytes) -> np.ndarray:
        which, values = np.frombuffer(drawn[:SIZE], np.uint8), np.frombuffer(drawn[SIZE:], dtype)
        values = np.where(which < 128, corners[which % len(corners)], values)
        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(values), values, info.max).astype(dtype)

    size = SIZE * (1 + dtype.itemsize)
    return st.binary(min_size=size, max_size=size).map(to_floats)


every_case = pytest.mark.parametrize(
    ("function", "sides"),
    [(getattr(constraints, name), sides) for name, sides in CASES],
    ids=name_of,
)


@cache
def jitted_and_scanned(function, sides):
    def run(raw, lower, upper):
        def step(carry, row):
            return carry, call(function, sides, *row)

        scanned = jax.lax.scan(step, 0, (raw, lower, upper))[1]
        return call(function, sides, raw, lower, upper), scanned

    return jax.jit(run)


def call(function, sides, raw, lower, upper):
    bounds = {"lower": jnp.asarray(lower), "upper": jnp.asarray(upper)}
    return function(jnp.asarray(raw), **{side: bounds[side] for side in sides})


def faults(function, formula, sides, raw, lower, upper):
    """What is wrong with a constraint's output, eager, jitted and scanned; none for a good one."""
    # Among the extremes, two entries that a constraint must tell apart.
    raw[:2], lower[:2], upper[:2] = [-1, 1], -2, 2
    given = {"lower": lower, "upper": upper}
    bounds = {side: given[side].astype(np.longdouble) for side in sides}
    expected = maps.value(formula, raw, **bounds)
    info = ml_dtypes.finfo(raw.dtype)
    scale = MAPS[formula].scale or 0
    size = abs(raw.astype(np.longdouble)) + sum(abs(bound) for bound in bounds.values()) + scale
    found = set()
    outputs = jitted_and_scanned(function, sides)(raw, lower, upper)
    for output in map(np.asarray, (call(function, sides, raw, lower, upper), *outputs)):
        with np.errstate(invalid="ignore"):
            error = abs(output.astype(np.longdouble) - expected)
            near = error <= 8 * float(info.eps) * (size + abs(expected)) + 8 * float(info.tiny)
        largest = abs(expected)
        if formula == "exp_offset":  # By its docstring infinite where its exponential overflows.
            largest = np.maximum(largest, abs(expected - bounds[sides[0]]))
        overflows = largest > 0.99 * float(info.max)
        for name, wrong in {
            "dtype": output.dtype != raw.dtype,
            "outside": ("upper" in sides and (output > upper).any())
            or ("lower" in sides and (output < lower).any()),
            "NaN": np.isnan(output).any(),
            "infinite": (np.isinf(output) & ~overflows).any(),
            "not the formula": (~near & ~overflows).any(),
        }.items():
            if wrong:
                found.add(name)
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@every_case
def test_hard_constraints_hold_exactly(function, sides, dtype):
    floats = finite_floats(DTYPES[dtype])

    @settings(deadline=None, max_examples=12)
    @given(floats, floats, floats)
    def check(raw, one, other):
        lower, upper = np.minimum(one, other), np.maximum(one, other)
        if MAPS[function.__name__].of_size:  # as documented, where the bound is not negative
            upper = np.abs(upper)
        assert not faults(function, function.__name__, sides, raw, lower, upper)

    with jax.enable_x64(dtype == "float64"):
        check()


def scaled_sigmoid(z, lower, upper):
    return lower + (upper - lower) * jax.nn.sigmoid(z)


def stopped_straight_through(z, lower, upper):
    return z + jax.lax.stop_gradient(jnp.clip(z, lower, upper) - z)


def squaring_squareplus(z, upper):
    return upper - (z + jnp.sqrt(z**2 + 4)) / 2


def returning_the_bound(z, upper):
    return upper


def widening_clip(z, lower, upper):
    return clip(z, lower, upper).astype(jnp.float32)


@pytest.mark.parametrize(
    ("naive", "formula", "dtype", "fault"),
    [
        (scaled_sigmoid, "sigmoid_interval", "float16", "outside"),
        (scaled_sigmoid, "sigmoid_interval", "float32", "outside"),
        (scaled_sigmoid, "sigmoid_interval", "float16", "NaN"),
        (stopped_straight_through, "straight_through_clip", "float16", "outside"),
        (stopped_straight_through, "straight_through_clip", "float32", "outside"),
        (squaring_squareplus, "squareplus_offset", "float16", "infinite"),
        (returning_the_bound, "clip", "float32", "not the formula"),
        (widening_clip, "clip", "float16", "dtype"),
    ],
)
def test_the_exactness_test_catches_naive_constraints(naive, formula, dtype, fault):
    sides = tuple(
        name for name in ("lower", "upper") if name in inspect.signature(naive).parameters
    )
    floats = finite_floats(DTYPES[dtype])
    found = set()

    @settings(
        deadline=None,
        max_examples=25,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(floats, floats, floats)
    def search(raw, one, other):
        lower, upper = np.minimum(one, other), np.maximum(one, other)
        found.update(faults(naive, formula, sides, raw, lower, upper))

    search()
    assert fault in found


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
    by_raw, by_lower, by_upper = jax.grad(lambda *a: function(*a).sum(), (0, 1, 2))(
        raw, lower, upper
    )
    np.testing.assert_allclose(by_raw, [outside, 1, 1, 1, outside])
    np.testing.assert_allclose(by_lower, [of_bound, 0, 0, 0, 0])
    np.testing.assert_allclose(by_upper, [0, 0, 0, 0, of_bound])


def test_the_slope_of_leaky_clip_has_no_derivative():
    assert jax.grad(lambda slope: leaky_clip(5.0, upper=1.0, slope=slope))(0.5) == 0


def slope(function, raw, argument=0):
    def total(*arguments):
        return function(*arguments).sum()

    return jax.grad(total, argument)(jnp.asarray(raw))


@every_case
def test_derivatives_are_finite_wherever_the_output_is(function, sides):
    top = np.finfo(np.float32).max
    raw = jnp.array([-top, -1e30, -0.0, 0.0, 1e30, top])
    bounds = {"lower": jnp.full(6, -1.0), "upper": jnp.full(6, 1.0)}
    bounds = {side: bounds[side] for side in sides}
    finite = np.isfinite(function(raw, **bounds))
    assert finite.sum() == 6 or function is exp_offset
    found = jax.grad(lambda raw, b: function(raw, **b).sum(), (0, 1))(raw, bounds)
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


@every_case
def test_infinite_bounds_pass_raw_through(function, sides):
    raw = jnp.array([-3.0, 0.3, 5])
    for infinity in (jnp.inf, -jnp.inf):
        bounds = {side: jnp.full(3, infinity) for side in sides}
        np.testing.assert_array_equal(function(raw, **bounds), raw)
        np.testing.assert_array_equal(slope(lambda z, b=bounds: function(z, **b), raw), [1, 1, 1])


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
    output = function(raw, **bounds)
    expected = [False, True, function is not identity, False]
    np.testing.assert_array_equal(jnp.isnan(output), expected)
    by_raw = slope(lambda z: function(z, **bounds), raw)
    assert np.isfinite(by_raw[jnp.array([0, 3])]).all()


@every_case
def test_shapes_and_dtypes_broadcast_as_jnp_clip(function, sides):
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


@settings(deadline=None, max_examples=50)
@given(*[arrays(np.float32, 32, elements=st.floats(-10, 10, width=32))] * 2)
def test_a_lower_bound_mirrors_an_upper_one(raw, bound):
    for function in functions(MIRRORED):
        np.testing.assert_array_equal(
            function(raw, lower=bound), -function(-raw, upper=-bound), strict=True
        )


def test_they_vectorise_and_differentiate_forward():
    raw = jnp.linspace(-2, 2, 6).reshape(3, 2)
    for function in functions(TWO_SIDED):
        mapped = jax.vmap(lambda z, f=function: f(z, -1.0, 1.0))(raw)
        np.testing.assert_array_equal(mapped, function(raw, -1.0, 1.0))
        forward = jax.jvp(lambda z, f=function: f(z, -1.0, 1.0), (raw,), (jnp.ones_like(raw),))[1]
        np.testing.assert_allclose(forward, slope(lambda z, f=function: f(z, -1.0, 1.0), raw))


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


@pytest.mark.parametrize("scales", [[0.1, 0.2, 0.3], [[0.5], [0.25]]], ids=str)
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


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_offset_is_infinite_just_where_its_exponential_overflows(dtype):
    dtype = DTYPES[dtype]
    top = ml_dtypes.finfo(dtype).max
    raw = np.log(np.longdouble(top)) * np.array([0.99, 1.01])
    with jax.enable_x64(dtype == np.float64):
        below = np.asarray(exp_offset(raw.astype(dtype), upper=top))
        above = np.asarray(exp_offset(-raw.astype(dtype), lower=-top))
    assert below.dtype == above.dtype == dtype
    assert np.isfinite([below[0], above[0]]).all()
    np.testing.assert_array_equal([below[1], above[1]], [-np.inf, np.inf])


def test_knees_that_would_overlap_meet_in_the_middle():
    raw = jnp.array([-1.0, -0.01, 0, 0.01, 1])
    np.testing.assert_array_equal(
        knee_tanh(raw, -0.1, 0.1, width=5.0), knee_tanh(raw, -0.1, 0.1, width=0.1)
    )
    upper = jnp.array([0.1, 0.1, 0.1, 10, jnp.inf])
    output = knee_tanh(raw, -0.1, upper, width=0.5)
    np.testing.assert_allclose(output[4], 1)
    assert (output < 0.1).tolist() == [True, True, True, True, False]


def test_importing_bounded_imports_jax_alone():
    code = (
        "import sys, bounded, bounded.constraints;"
        "found = {'flax', 'optax', 'matplotlib', 'rich', 'scipy.stats'} & set(sys.modules);"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
