"""The hard constraints hold to the bit, and give the formula to its roundings."""

import inspect
from functools import cache

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bounded import constraints, inverses
from bounded.constraints import clip, exp_offset
from tests.bounded import maps
from tests.bounded.maps import CASES, DTYPES, MAPS, MIRRORED, UP, bits, fullest, id_of
from tests.sampled import sampled

SIZE = 128


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


def call(function, sides, raw, lower, upper):
    bounds = {"lower": jnp.asarray(lower), "upper": jnp.asarray(upper)}
    return function(jnp.asarray(raw), **{side: bounds[side] for side in sides})


def step_by_step(function, sides, *given):
    """Eager: the output, beside the bounds that it is held to."""
    return [(call(function, sides, *given), *given[1:])]


@cache
def compiled(function, sides):
    """Of raw and bounds: the output, and the bits of outputs and bounds of a scan's steps."""

    def run(raw, lower, upper):
        def step(carry, row):
            return carry, jax.tree.map(bits, (call(function, sides, *row), *row[1:]))

        scanned = jax.lax.scan(step, 0, (raw, lower, upper))[1]
        return call(function, sides, raw, lower, upper), scanned

    return jax.jit(run)


def jitted_and_scanned(function, sides, *given):
    """The outputs, each beside the bounds that it is held to."""
    jitted, scanned = compiled(function, sides)(*given)
    step, *seen = map(np.asarray, scanned)
    seen = [bound.view(given[0].dtype) for bound in seen]
    # Some processors make zeros of subnormal bfloat16 where XLA's loops read and write them: so a
    # step's output is held to the bounds that the step saw.
    tiny = ml_dtypes.finfo(given[0].dtype).tiny
    for bound, whole in zip(seen, given[1:], strict=True):
        assert ((bound == whole) | ((bound == 0) & (abs(whole) < tiny))).all()
    return [(jitted, *given[1:]), (step.view(jitted.dtype), *seen)]


def faults(apply, function, formula, sides, raw, lower, upper):
    """What is wrong with a constraint's output as `apply` gives it; none for a good one."""
    # Among the extremes, two entries that a constraint must tell apart.
    raw[:2], lower[:2], upper[:2] = [-1, 1], -2, 2
    given = {"lower": lower, "upper": upper}
    bounds = {side: given[side].astype(np.longdouble) for side in sides}
    expected = maps.value(formula, raw, **bounds)
    info = ml_dtypes.finfo(raw.dtype)
    scale = MAPS[formula].scale or 0
    size = abs(raw.astype(np.longdouble)) + sum(abs(bound) for bound in bounds.values()) + scale
    found = set()
    for output, low, high in apply(function, sides, raw, lower, upper):
        output = np.asarray(output)
        with np.errstate(invalid="ignore"):
            error = abs(output.astype(np.longdouble) - expected)
            near = error <= 8 * float(info.eps) * (size + abs(expected)) + 8 * float(info.tiny)
        largest = abs(expected)
        if formula == "exp_offset":  # By its docstring infinite where its exponential overflows.
            largest = np.maximum(largest, abs(expected - bounds[sides[0]]))
        overflows = largest > 0.99 * float(info.max)
        for name, wrong in {
            "dtype": output.dtype != raw.dtype,
            "outside": ("upper" in sides and (output > high).any())
            or ("lower" in sides and (output < low).any()),
            "NaN": np.isnan(output).any(),
            "infinite": (np.isinf(output) & ~overflows).any(),
            "not the formula": (~near & ~overflows).any(),
        }.items():
            if wrong:
                found.add(name)
    return found


EVERY = [(*case, dtype) for case in CASES for dtype in DTYPES]
# Of dtypes but float32: what rounds, or overflows, in a way of its own.
TELLING = {
    "bfloat16": ("clip", "smooth_clip", "softplus_offset", "sigmoid_interval"),
    "float16": ("squareplus_offset", "sigmoid_interval"),
    "float64": ("sigmoid_interval",),
}


def in_sample(case):
    name, sides, dtype = case
    one_side_of_two = name == "smooth_clip" and sides == UP and dtype == "float32"
    return one_side_of_two or (fullest((name, sides)) and name in TELLING.get(dtype, MAPS))


def eager_in_sample(case):
    """Compiled operations are the same ones, fused: here those of which most is made."""
    of = {
        "float32": ("smooth_clip", "squareplus_offset", "sigmoid_interval"),
        "bfloat16": ("clip",),
    }
    name, sides, dtype = case
    return fullest((name, sides)) and name in of.get(dtype, ())


@pytest.mark.parametrize(("name", "sides", "dtype"), sampled(EVERY, in_sample), ids=id_of)
def test_hard_constraints_hold_exactly(name, sides, dtype):
    assert_exact(jitted_and_scanned, name, sides, dtype)


@pytest.mark.usefixtures("unoptimised")  # there is little to optimise of one operation
@pytest.mark.parametrize(("name", "sides", "dtype"), sampled(EVERY, eager_in_sample), ids=id_of)
def test_hard_constraints_hold_exactly_step_by_step(name, sides, dtype):
    assert_exact(step_by_step, name, sides, dtype)


def assert_exact(apply, name, sides, dtype):
    function, floats = getattr(constraints, name), finite_floats(DTYPES[dtype])

    @settings(deadline=None, max_examples=12)
    @given(floats, floats, floats)
    def check(raw, one, other):
        lower, upper = np.minimum(one, other), np.maximum(one, other)
        if MAPS[name].of_size:  # as documented, where the bound is not negative
            upper = np.abs(upper)
        assert not faults(apply, function, name, sides, raw, lower, upper)

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
    sampled(
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
        lambda case: case[3] != "outside" or case[0] is stopped_straight_through,
    ),
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
        found.update(faults(jitted_and_scanned, naive, formula, sides, raw, lower, upper))

    search()
    assert fault in found


@pytest.mark.parametrize(
    ("name", "dtype"),
    sampled(
        [(name, dtype) for name in MIRRORED for dtype in DTYPES],
        # That of the offsets; a bound that others lack is infinite: test_edges.py.
        [("softplus_offset", "float32")],
    ),
)
def test_a_lower_bound_mirrors_an_upper_one(name, dtype):
    """In values, slopes and inverses, jitted: so `make test` goes through upper bounds."""
    function, inverse = getattr(constraints, name), getattr(inverses, name)

    def of_side(side):
        def run(raw, bound):
            bounds = {side: bound}
            output, pullback = jax.vjp(lambda z, b: function(z, **b), raw, bounds)
            of_raw, slopes = pullback(jnp.ones_like(output))
            turned = [output]
            if name != "smooth_clip":  # its inverse rounds its two terms in turn
                turned.append(inverse(raw, **bounds))
            return turned, (of_raw, slopes[side])

        return jax.jit(run)

    of_lower, of_upper = of_side("lower"), of_side("upper")
    floats = finite_floats(DTYPES[dtype])

    @settings(deadline=None, max_examples=25)
    @given(floats, floats)
    def check(raw, bound):
        above, below = of_lower(raw, bound), of_upper(-raw, -bound)
        assert {x.dtype for x in jax.tree.leaves((above, below))} == {raw.dtype}
        wide = [[np.asarray(x, float) for x in part] for part in (*above, *below)]
        turned, kept, expected, kept_too = wide
        np.testing.assert_array_equal(turned, [-x for x in expected])
        np.testing.assert_array_equal(kept, kept_too)

    with jax.enable_x64(dtype == "float64"):
        check()


@pytest.mark.parametrize("dtype", sampled(DTYPES, {"float16", "float32"}))
def test_exp_offset_is_infinite_just_where_its_exponential_overflows(dtype):
    dtype = DTYPES[dtype]
    top = ml_dtypes.finfo(dtype).max
    raw = (np.log(np.longdouble(top)) * np.array([0.99, 1.01])).astype(dtype)
    with jax.enable_x64(dtype == np.float64):
        run = jax.jit(lambda z: (exp_offset(z, upper=top), exp_offset(-z, lower=-top)))
        below, above = map(np.asarray, run(raw))
    assert below.dtype == above.dtype == dtype
    assert np.isfinite([below[0], above[0]]).all()
    np.testing.assert_array_equal([below[1], above[1]], [-np.inf, np.inf])
