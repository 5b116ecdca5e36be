"""Bounds that the dtype of raw does not hold are held as they were given: rounded inwards."""

from functools import partial

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from bounded import constraints, metrics
from bounded.constraints import clip
from tests.bounded.maps import BOTH, CASES, INTERVALS, MAPS, TWO_SIDED, bits, id_of
from tests.sampled import sampled

CLIPS = [name for name in MAPS if name in TWO_SIDED and name not in INTERVALS]


WAYS = [
    (*case, dtype, way)
    for case in CASES
    for dtype in ("float32", "bfloat16", "float16")
    for way in ("jitted", "eager")
]


@pytest.mark.parametrize(
    ("name", "sides", "dtype", "way"),
    sampled(
        WAYS,
        # They round bounds alike, and hold them by test_exactness.py.
        [("clip", BOTH, "float32", "jitted"), ("smooth_clip", BOTH, "bfloat16", "jitted")],
    ),
    ids=id_of,
)
def test_wider_bounds_hold_as_they_were_given(name, sides, dtype, way):
    raw = np.linspace(-9, 9, 64).astype(dtype)
    lower = -np.linspace(0.5, 1, 64) - 1 / 3
    bounds = {"lower": lower, "upper": -lower}
    run = partial(getattr(constraints, name), **{side: bounds[side] for side in sides})
    with jax.numpy_dtype_promotion("standard"):
        output = (run if way == "eager" else jax.jit(run))(jnp.asarray(raw))
    output = np.asarray(output).astype(np.float64)
    assert "lower" not in sides or (output >= bounds["lower"]).all()
    assert "upper" not in sides or (output <= bounds["upper"]).all()


@pytest.mark.usefixtures("unoptimised")
def test_integer_bounds_are_rounded_inwards():
    bound = np.array([16777217, 16777219, -16777219, 2**31 - 1, -(2**31)], np.int32)
    far = np.full(5, 1e10, np.float32)

    def run(bound):
        return clip(far, upper=bound), clip(-far, lower=bound)

    eager, known, traced = (
        run(jnp.asarray(bound)),
        jax.jit(lambda: run(bound))(),
        jax.jit(run)(bound),
    )
    for below, above in (eager, known, traced):
        assert (np.asarray(below, float) <= bound).all()
        assert (np.asarray(above, float) >= bound).all()


@pytest.mark.usefixtures("unoptimised")
def test_rounding_inwards_leaves_what_needs_none():
    exact = np.array([0.5, -np.inf, np.inf, np.nan, 0.0])
    smallest = ml_dtypes.finfo(np.float32).smallest_subnormal
    share = np.full(3, 0.1)

    @jax.jit
    def run(raw):
        return (
            clip(raw, upper=exact),
            clip(jnp.float32(1), upper=0.1),
            clip(raw, upper=np.full(5, -1e-50)),
            metrics.violation(clip(jnp.ones(3), upper=share), upper=share)["active_fraction"],
        )

    kept, plain, tiny, active = run(np.full(5, 0.75, np.float32))
    np.testing.assert_array_equal(kept, [0.5, 0.75, 0.75, np.nan, 0])
    assert plain == np.float32(0.1)  # a plain number has no dtype
    assert np.asarray(tiny)[0] == -smallest
    assert active == 1


@pytest.mark.thorough  # test_exactness.py draws them, in scans too
def test_a_subnormal_bound_survives_a_scan_in_bfloat16():
    """Or is 0 before the step sees it, on some processors where rows are short, by XLA: then 0 is
    held."""
    dtype = ml_dtypes.bfloat16
    least = ml_dtypes.finfo(dtype).smallest_subnormal
    every = [np.full(shape, sign * least, dtype) for shape in (128, (2, 128)) for sign in (1, -1)]

    def outputs_of(side, sign):
        def step(carry, bound):
            raw = jnp.asarray(8 * sign, bound.dtype) * jnp.ones_like(bound)
            outputs = {name: getattr(constraints, name)(raw, **{side: bound}) for name in CLIPS}
            return carry, jax.tree.map(bits, (outputs, bound))

        return jax.jit(lambda bounds: jax.lax.scan(step, 0, bounds)[1])

    for side, sign in (("upper", 1), ("lower", -1)):
        run = outputs_of(side, sign)
        for given in every:
            outputs, bound = jax.tree.map(lambda one: np.asarray(one).view(dtype), run(given))
            assert (bound == given).all() or (bound == 0).all()
            for name, output in outputs.items():
                beyond = output > bound if side == "upper" else output < bound
                assert not beyond.any(), name
                if name.endswith("clip") and name != "smooth_clip":
                    np.testing.assert_array_equal(output, bound)
