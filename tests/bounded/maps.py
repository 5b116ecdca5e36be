"""The list of elementwise maps that every property test goes through: a new map is a line here."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import ml_dtypes
import numpy as np
import pytest

from tests.bounded import reference
from tests.bounded.reference import STEP
from tests.sampled import sampled

UP, LOW, BOTH = ("upper",), ("lower",), ("lower", "upper")
ONE, ANY = (UP, LOW), (UP, LOW, BOTH)
DTYPES = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}


def same(y, *_):
    return y


@dataclass(frozen=True)
class Map:
    """What the tests know of a map; its formulas are in extended precision."""

    formula: Callable  # (z, lower, upper, *scale) -> y, for real and complex arguments
    inverse: Callable  # (y, lower, upper, *scale) -> z, of outputs inside
    sides: tuple[tuple[str, ...], ...]  # which it takes together
    parameter: str | None = None  # its hyperparameter
    scale: float | None = None  # the default of a hyperparameter in the units of raw
    hard: bool = True
    reaches: bool = False  # its bound at a finite raw
    surrogate: bool = False  # its derivative is not the formula's
    of_size: bool = False  # its outputs are at most |upper|: it holds where upper >= 0


MAPS = {
    "identity": Map(same, same, (BOTH,), hard=False, reaches=True),
    "clip": Map(reference.clip, same, ANY, reaches=True),
    "straight_through_clip": Map(reference.clip, same, ANY, reaches=True, surrogate=True),
    "leaky_clip": Map(reference.clip, same, ANY, "slope", reaches=True, surrogate=True),
    "smooth_clip": Map(
        reference.smooth_clip, reference.smooth_clip_inverse, ANY, "temperature", 0.1
    ),
    "knee_tanh": Map(reference.knee_tanh, reference.knee_tanh_inverse, ANY, "width", 0.1),
    "relu_offset": Map(reference.relu_offset, reference.relu_offset_inverse, ONE, reaches=True),
    "softplus_offset": Map(
        reference.softplus_offset, reference.softplus_offset_inverse, ONE, "temperature", 1.0
    ),
    "squareplus_offset": Map(
        reference.squareplus_offset, reference.squareplus_offset_inverse, ONE, "temperature", 1.0
    ),
    "exp_offset": Map(reference.exp_offset, reference.exp_offset_inverse, ONE),
    "stretched_tanh": Map(
        reference.stretched_tanh, reference.stretched_tanh_inverse, (UP,), of_size=True
    ),
    "half_tanh": Map(reference.half_tanh, reference.half_tanh_inverse, (UP,), of_size=True),
    "tanh_interval": Map(
        lambda *of: reference.sigmoid_interval(*of, 0.5),
        lambda *of: reference.sigmoid_interval_inverse(*of, np.longdouble(0.5)),
        (BOTH,),
    ),
    "sigmoid_interval": Map(
        reference.sigmoid_interval, reference.sigmoid_interval_inverse, (BOTH,), "temperature", 1.0
    ),
}
HARD = {name: found for name, found in MAPS.items() if found.hard}
EVERY = [(name, sides) for name, found in MAPS.items() for sides in found.sides]
CASES = [(name, sides) for name, sides in EVERY if name in HARD]
TWO_SIDED = [name for name, found in HARD.items() if BOTH in found.sides]
ONE_SIDED = [name for name, found in HARD.items() if BOTH not in found.sides]
INTERVALS = [name for name, found in HARD.items() if found.sides == (BOTH,)]
MIRRORED = [name for name, found in HARD.items() if LOW in found.sides]
PARAMETERS = {name: found.parameter for name, found in MAPS.items() if found.parameter}


def id_of(value):
    if isinstance(value, type):
        return value.__name__
    return value if isinstance(value, str) else "+".join(value)


def fullest(case):
    """Each map once: with both bounds where it takes them, otherwise with the upper one.

    A lower bound alone mirrors an upper one: test_exactness.
    """
    name, sides = case
    return sides == max(MAPS[name].sides, key=len)


# One of each formula, and of the rules for derivatives that are not the formula's.
TELLING = (
    "straight_through_clip",
    "smooth_clip",
    "knee_tanh",
    "softplus_offset",
    "squareplus_offset",
    "exp_offset",
    "half_tanh",
    "sigmoid_interval",
)


def telling(case):
    """For what maps of one formula have alike."""
    return fullest(case) and case[0] in TELLING


every_case = pytest.mark.parametrize(("name", "sides"), sampled(CASES, fullest), ids=id_of)
few_cases = pytest.mark.parametrize(("name", "sides"), sampled(CASES, telling), ids=id_of)


def value(name, z, lower=None, upper=None, **hyper):
    """The formula's value, in extended precision, of arrays in any precision."""
    with np.errstate(all="ignore"):
        return MAPS[name].formula(*_wide(z, lower, upper), *_scale(name, hyper))


def inverse(name, output, lower=None, upper=None, **hyper):
    """The raw that gives an output inside, in extended precision."""
    with np.errstate(all="ignore"):
        return MAPS[name].inverse(*_wide(output, lower, upper), *_scale(name, hyper))


def derivative(argument, name, z, lower=None, upper=None, **hyper):
    """The formula's derivative to "z", "lower", "upper" or its hyperparameter."""
    names = ["z", "lower", "upper", MAPS[name].parameter]
    arguments = [*_wide(z, lower, upper), *_scale(name, hyper)]
    arguments = [x if x is None else x.astype(np.clongdouble) for x in arguments]
    arguments[names.index(argument)] = arguments[names.index(argument)] + 1j * STEP
    with np.errstate(all="ignore"):
        return np.imag(MAPS[name].formula(*arguments)) / STEP


def _wide(*arrays):
    return [None if array is None else np.asarray(array, np.longdouble) for array in arrays]


def _scale(name, hyper):
    found = MAPS[name]
    return [] if found.scale is None else _wide(hyper.get(found.parameter, found.scale))


BOUNDS = {
    UP: [{"upper": 0.0}, {"upper": 1.5}],
    LOW: [{"lower": 0.0}, {"lower": -1.5}],
    BOTH: [{"lower": -1.0, "upper": 1.0}, {"lower": -2.0, "upper": 2.0}],
}


def settings(name, sides):
    """Bounds and hyperparameters to try, one after the other."""
    negative = [{"upper": -1.5}] if MAPS[name].of_size else []
    scales = (0.25, 4.0) if MAPS[name].scale else (None,)
    for bounds in (*BOUNDS[sides], *negative):
        for scale in scales:
            yield bounds, {} if scale is None else {MAPS[name].parameter: scale}


def interior(name, output, bounds):
    """Where an output is one that the map gives at a finite raw."""
    with np.errstate(invalid="ignore"):
        if name == "stretched_tanh":
            return abs(output) < bounds["upper"]
        if name == "half_tanh":
            return output < bounds["upper"]
        inside = np.full(output.shape, True)
        if "lower" in bounds:
            inside &= output > bounds["lower"]
        if "upper" in bounds:
            inside &= output < bounds["upper"]
        return inside


def bits(x):
    """Of floats: what a step of a scan gives out unchanged, where XLA makes zeros of subnormals."""
    return jax.lax.bitcast_convert_type(x, f"int{8 * x.dtype.itemsize}")


def assert_derivatives_of_differences(function, arguments, step=1e-6):
    """Along random directions, in both modes, in double precision."""
    draw = np.random.default_rng(0)
    along = jax.tree.map(lambda x: draw.uniform(-1, 1, np.shape(x)), arguments)

    @jax.jit
    def run(arguments, along, cotangent):
        output, forward = jax.jvp(function, arguments, along)
        return output, forward, jax.vjp(function, *arguments)[1](cotangent)

    def ahead(step):
        moved = jax.tree.map(lambda x, way: np.asarray(x + step * way), arguments, along)
        return run(moved, along, cotangent)[0]

    cotangent = draw.uniform(-1, 1, jax.eval_shape(function, *arguments).shape)
    _, forward, backward = run(arguments, along, cotangent)
    differences = (np.asarray(ahead(step)) - ahead(-step)) / (2 * step)
    np.testing.assert_allclose(forward, differences, rtol=1e-5, atol=1e-7)
    pairs = zip(*map(jax.tree.leaves, (backward, along)), strict=True)
    of_backward = sum(np.sum(slope * way) for slope, way in pairs)
    np.testing.assert_allclose(of_backward, np.sum(cotangent * forward), rtol=1e-9)
