"""Derivatives of the constraints against finite differences, in all modes, and their tails."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bounded import constraints
from tests.bounded import maps
from tests.bounded.maps import CASES, HARD, MAPS, fullest, id_of
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("unoptimised")


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "name",
    sampled(
        [name for name, found in HARD.items() if not found.surrogate],
        ("clip", "smooth_clip", "knee_tanh", "squareplus_offset"),
    ),
)
def test_derivatives_match_finite_differences(name):
    """To raw, to the bounds and to the hyperparameter, along random directions, in both modes."""
    sides = MAPS[name].sides[-1]
    bounds, hyper = list(maps.settings(name, sides))[-1]
    raw = np.linspace(-3.03, 2.97, 13)
    bounds = {side: bound + 0.01 * np.arange(0.5, 13) for side, bound in bounds.items()}
    hyper = {key: np.full(13, value) for key, value in hyper.items()}

    def constraint(raw, rest):
        return getattr(constraints, name)(raw, **rest)

    maps.assert_derivatives_of_differences(constraint, (raw, {**bounds, **hyper}))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "name", sampled(["smooth_clip", "knee_tanh", "sigmoid_interval"], {"smooth_clip"})
)
def test_jacobians_are_diagonal_and_are_those_of_both_modes(name):
    raw, bound = np.linspace(-2, 2, 5), np.linspace(1.1, 1.5, 5)
    constraint, to_each = getattr(constraints, name), (0, 1, 2)
    modes = jax.jit(lambda *x: [of(constraint, to_each)(*x) for of in (jax.jacrev, jax.jacfwd)])
    for backward, forward in zip(*modes(raw, -bound, bound), strict=True):
        np.testing.assert_allclose(backward, forward, rtol=1e-14)
        np.testing.assert_array_equal(backward, np.diag(np.diag(backward)))


def test_exactly_zero_means_underflow_alike_on_both_sides():
    """jax.nn.sigmoid has derivative 0 at 20 but 2e-9 at -20; these do not."""
    raw = np.arange(-720, 721, dtype=np.float32) / 8
    for name, place in (("stretched_tanh", 1), ("tanh_interval", 1), ("sigmoid_interval", 2)):
        sides = {"upper": 1.0} if name == "stretched_tanh" else {"lower": -1.0, "upper": 1.0}
        constraint = getattr(constraints, name)
        slope = jax.jit(jax.grad(lambda z, f=constraint, s=sides: f(z, **s).sum()))(raw)
        slope = np.asarray(slope)
        np.testing.assert_array_equal(slope, slope[::-1])
        assert (slope[np.abs(raw) < 43.0 * place] > 0).all()


def test_the_algebraic_tail_outlives_the_exponential_one():
    @jax.jit
    def slopes(raw):
        names = ("softplus_offset", "exp_offset", "squareplus_offset")
        of = [getattr(constraints, name) for name in names]
        return [jax.grad(lambda z, f=f: f(z, upper=0.0).sum())(raw) for f in of]

    *exponential, algebraic = slopes(np.float32([-1e3, -1e9]))
    np.testing.assert_array_equal(exponential, np.zeros((2, 2)))
    np.testing.assert_allclose(algebraic, [-1e-6, -1e-18], rtol=1e-5)


@cache
def first_and_second_derivatives(name, parameter):
    """To raw and the hyperparameter, and along a direction of both; compiled for all values."""

    def along(raw, value, sides, direction):
        def slopes(raw, value):
            def total(raw, value):
                return getattr(constraints, name)(raw, **sides, **{parameter: value}).sum()

            return jnp.stack(jax.grad(total, (0, 1))(raw, value))

        return jax.jvp(slopes, (raw, value), direction)

    return jax.jit(along)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("name", "sides"),
    sampled([case for case in CASES if MAPS[case[0]].scale], fullest),
    ids=id_of,
)
def test_second_derivatives_match_finite_differences_of_the_first(name, sides):
    """To raw and the hyperparameter, at places where an absolute value inside could show."""
    step = 1e-5
    ends = {0.0, -1.0, 1.0, -2.0, 2.0, 1.5, -1.5}
    places = sorted(ends | {0.3, -0.7} - ({0.0} if name == "squareplus_offset" else set()))
    # Off the knees' ends, where the second derivative jumps.
    shift = 0.01 if name == "knee_tanh" else 0.0
    raw = np.array([place + shift * (place in ends) for place in places])
    ones, zeros = np.ones_like(raw), np.zeros_like(raw)
    derivatives = first_and_second_derivatives(name, MAPS[name].parameter)
    for bounds, hyper in maps.settings(name, sides):
        (value,) = (np.full(raw.shape, scale) for scale in hyper.values())
        hessian = []
        for along in ((ones, zeros), (zeros, ones)):
            found = np.asarray(derivatives(raw, value, bounds, along)[1])
            ahead, behind = (
                np.asarray(
                    derivatives(raw + way * along[0], value + way * along[1], bounds, along)[0]
                )
                for way in (step, -step)
            )
            difference = (ahead - behind) / (2 * step)
            np.testing.assert_allclose(found, difference, rtol=1e-5, atol=1e-6)
            hessian.append(found)
        np.testing.assert_allclose(hessian[0][1], hessian[1][0], rtol=1e-9, atol=1e-12)


def test_an_interval_narrower_than_the_bend_keeps_its_digits():
    raw = np.array([-10, 0.1, 0.5, 0.9, 10], np.float16)
    temperatures = np.array([[0.5], [2], [128], [1000]], np.float16)
    run = jax.jit(lambda raw, t: constraints.smooth_clip(raw, 0.0, 1.0, temperature=t))
    found = run(np.tile(raw, (4, 1)), temperatures)
    temperatures = temperatures.astype(float)
    x = raw.astype(float) / temperatures
    exact = temperatures * (np.logaddexp(0, x) - np.logaddexp(0, x - 1 / temperatures))
    np.testing.assert_allclose(found, exact, rtol=4e-3, atol=1e-7)
    assert (np.diff(found) >= 0).all()


def test_squareplus_stays_in_range_at_large_temperatures():
    run = jax.jit(
        jax.value_and_grad(
            lambda raw, upper, t: constraints.squareplus_offset(raw, upper=upper, temperature=t)
        )
    )
    for raw, upper, temperature in ((-65504, 60000, 5000), (-65504, 65504, 30000)):
        raw, upper = np.float16(raw), np.float16(upper)
        found, slope = run(raw, upper, np.float16(temperature))
        root = np.hypot(float(raw), 2 * temperature)
        np.testing.assert_allclose(found, float(upper) - (float(raw) + root) / 2, rtol=2e-3)
        np.testing.assert_allclose(slope, -(1 + float(raw) / root) / 2, rtol=1e-2)
