"""Values and derivatives against the formulas in extended precision, tails included."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bounded import constraints
from tests.bounded import maps
from tests.bounded.maps import BOTH, CASES, LOW, MAPS, UP, fullest, id_of
from tests.sampled import sampled

# Differences to the bounds and quotients by the hyperparameters are exact in float32, so that
# what is measured is the formula's own rounding.
GRID = np.concatenate([np.arange(-800, 801) / 8, [2**-10, -(2**-10), 2**-30, 1e4, -1e4, 2.0**60]])


def but_one(case):
    """`tanh_interval` is `sigmoid_interval` with another temperature: test_equivalences.py."""
    return case[0] != "tanh_interval"


def assert_close(found, expected, dtype, ulps, scale=0.0, said=""):
    """Within some ulps of the expected value or the scale, or of a few smallest normal numbers."""
    info = np.finfo(dtype)
    owed = np.abs(expected) < info.max
    error = np.abs(np.asarray(found).astype(np.longdouble) - expected)
    allowed = ulps * info.eps * (np.abs(expected) + scale) + 100 * info.tiny
    assert not np.isnan(found).any()
    worst = np.argmax(np.where(owed, error / allowed, 0))
    assert (error <= allowed)[owed].all(), f"{said}: at raw {GRID[worst]}: {found[worst]}"


@pytest.mark.usefixtures("unoptimised")
@pytest.mark.parametrize(("name", "sides"), sampled(filter(fullest, CASES), but_one), ids=id_of)
def test_values_and_derivatives_match_the_formula(name, sides):
    assert_like_the_formula(name, sides, np.float32, jax.jit(partial(with_derivatives, name)))


@pytest.mark.parametrize(
    ("name", "sides", "dtype"),
    sampled(
        [(*case, dtype) for case in CASES for dtype in (np.float32, np.float64)],
        # What XLA optimises of values: test_exactness.py.
        lambda case: case[0] == "squareplus_offset" and fullest(case[:2]) and case[2] is np.float32,
    ),
    ids=id_of,
)
def test_values_and_derivatives_match_the_formula_as_optimised(name, sides, dtype):
    assert_like_the_formula(name, sides, dtype, jax.jit(partial(with_derivatives, name)))


@pytest.mark.usefixtures("unoptimised")
@pytest.mark.parametrize(
    ("name", "sides"),
    sampled(
        [("smooth_clip", BOTH), ("knee_tanh", BOTH), ("squareplus_offset", LOW), ("half_tanh", UP)],
        lambda case: case[0] == "half_tanh",
    ),
    ids=id_of,
)
def test_values_and_derivatives_match_the_formula_step_by_step(name, sides):
    """Eager: each operation rounds, and none is fused with another."""
    assert_like_the_formula(name, sides, np.float32, partial(with_derivatives, name))


def with_derivatives(name, z, bounds, hyper):
    output, pullback = jax.vjp(
        lambda z, given: getattr(constraints, name)(z, **given), z, {**bounds, **hyper}
    )
    return output, *pullback(jnp.ones_like(output))


def assert_like_the_formula(name, sides, dtype, run):
    for bounds, hyper in maps.settings(name, sides):
        said = f"{bounds} {hyper}"
        with jax.enable_x64(dtype is np.float64), np.errstate(invalid="ignore"):
            bounds = {side: np.full(GRID.shape, bound, dtype) for side, bound in bounds.items()}
            scales = {key: np.full(GRID.shape, scale, dtype) for key, scale in hyper.items()}
            z = GRID.astype(dtype)
            output, of_raw, slopes = run(z, bounds, scales)
            size = sum(abs(bound[0]) for bound in bounds.values())
            assert_close(output, maps.value(name, z, **bounds, **hyper), dtype, 4, size, said)
            if MAPS[name].surrogate:
                continue
            for argument, slope in {"z": of_raw, **slopes}.items():
                expected = maps.derivative(argument, name, z, **bounds, **hyper)
                # Some cross zero between the tails: there to a few ulps of their largest value.
                crosses = argument in hyper or (name == "knee_tanh" and argument != "z")
                assert_close(slope, expected, dtype, 8, float(crosses), f"{said} by {argument}")
