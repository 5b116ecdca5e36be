"""Published methods that are the same map in one dimension, and independent implementations."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.scipy.special import logsumexp
from numpyro.distributions import constraints as supports
from numpyro.distributions import transforms
from optax.projections import projection_box

from bounded.constraints import (
    clip,
    exp_offset,
    knee_tanh,
    leaky_clip,
    relu_offset,
    sigmoid_interval,
    smooth_clip,
    softplus_offset,
    squareplus_offset,
    straight_through_clip,
    stretched_tanh,
    tanh_interval,
)

pytestmark = pytest.mark.usefixtures("unoptimised")
# Without subnormals: jnp.clip and its like flush them to zero on CPU, `clip` keeps them.
ENDS = np.float32([0.0, -0.0, 1e-30, -1e-30, 10, -10])


def to_floats(drawn):
    """In [-10, 10]; the first bytes deal its ends and zeros, and what is next to these."""
    some = ENDS[np.frombuffer(drawn[:32], np.uint8) % len(ENDS)]
    return np.concatenate([some, np.frombuffer(drawn[32:], np.int16) * np.float32(10 / 2**15)])


FLOATS = st.binary(min_size=256, max_size=256).map(to_floats)
compared = settings(deadline=None, max_examples=12)


@compared
@given(FLOATS, FLOATS, FLOATS)
def test_clip_is_jnp_clip_and_the_projection_onto_a_box(raw, lower, upper):
    np.testing.assert_array_equal(clip(raw, lower, upper), jnp.clip(raw, lower, upper))
    np.testing.assert_array_equal(clip(raw, upper=upper), jnp.minimum(raw, upper))
    lower, upper = np.minimum(lower, upper), np.maximum(lower, upper)
    np.testing.assert_array_equal(clip(raw, lower, upper), projection_box(raw, lower, upper))


def hardnet_affine(raw, lower, upper):
    """HardNet-Aff's closed form (Min and Azizan 2024) for lower <= y <= upper, A = 1."""
    return raw + jax.nn.relu(lower - raw) - jax.nn.relu(raw - upper)


def rayen(raw, lower, upper, interior):
    """RAYEN (Tordesillas, How and Hutter 2023): from an interior point, scale back to the set."""
    step = raw - interior
    beyond = jnp.maximum(step / (upper - interior), step / (lower - interior))
    return interior + step / jnp.maximum(1, beyond)


@compared
@given(FLOATS, FLOATS, FLOATS)
def test_clip_is_hardnet_and_rayen(raw, one, other):
    lower, upper = np.minimum(one, other) - 0.1, np.maximum(one, other) + 0.1
    expected = clip(raw, lower, upper)
    np.testing.assert_allclose(hardnet_affine(raw, lower, upper), expected, atol=4e-6)
    for share in (0.1, 0.7):
        interior = lower + share * (upper - lower)
        np.testing.assert_allclose(rayen(raw, lower, upper, interior), expected, atol=1e-5)


@jax.jit
def offsets(raw, upper):
    """Pairs of the same."""
    offset = jnp.subtract(upper, raw)
    return (
        relu_offset(raw, upper=upper),
        clip(offset, upper=upper),
        softplus_offset(raw, upper=upper, temperature=0.7),
        smooth_clip(offset, upper=upper, temperature=0.7),
    )


@compared
@given(FLOATS, FLOATS)
def test_offsets_are_clips_of_the_unconstrained_offset(raw, upper):
    relu, clipped, softplus, smooth = offsets(raw, upper)
    np.testing.assert_allclose(relu, clipped, rtol=0, atol=1e-37)
    np.testing.assert_allclose(softplus, smooth, atol=1e-5)


@jax.jit
def smooth_minima(raw, upper, temperature):
    pair = jnp.stack([raw, upper])
    found = smooth_clip(raw, upper=upper, temperature=temperature)
    return found, -temperature * logsumexp(-pair / temperature, axis=0)


@compared
@given(FLOATS, FLOATS, st.sampled_from([0.1, 1.0, 3.0]))
def test_smooth_clip_is_the_logsumexp_minimum(raw, upper, temperature):
    found, smooth_minimum = smooth_minima(raw, upper, temperature)
    np.testing.assert_allclose(found, smooth_minimum, atol=1e-5)


@jax.jit
def tanhs(raw, bound):
    """Pairs of the same."""
    size = jnp.abs(bound)
    wide = size + 0.5
    return (
        stretched_tanh(raw, upper=bound),
        tanh_interval(raw, -size, size),
        tanh_interval(raw, -size, bound),
        sigmoid_interval(raw, -size, bound, temperature=0.5),
        knee_tanh(raw, -wide, wide, width=100.0),
        tanh_interval(raw / wide, -wide, wide),
    )


@compared
@given(FLOATS, FLOATS)
def test_the_tanhs_are_one_family(raw, bound):
    stretched, same, interval, sigmoid, knee, unbent = tanhs(raw, bound)
    roundings = 4 * np.finfo(np.float32).eps * np.abs(bound)
    assert (np.abs(stretched - same) <= roundings).all()
    np.testing.assert_array_equal(interval, sigmoid)
    np.testing.assert_allclose(knee, unbent, atol=4e-6)


@compared
@given(FLOATS, FLOATS)
def test_intervals_and_offsets_are_numpyros_bijectors(raw, bound):
    # Within the range where NumPyro's own sigmoid does not saturate.
    above = bound + 2.5
    np.testing.assert_allclose(
        sigmoid_interval(raw, bound, above),
        transforms.biject_to(supports.interval(bound, above))(raw),
        rtol=1e-6,
        atol=4e-6,
    )
    for found, expected in (
        (exp_offset(raw, upper=bound), transforms.biject_to(supports.less_than(bound))(raw)),
        (exp_offset(raw, lower=bound), transforms.biject_to(supports.greater_than(bound))(-raw)),
        (
            softplus_offset(raw, upper=bound),
            transforms.ComposeTransform(
                [transforms.SoftplusTransform(), transforms.AffineTransform(bound, -1.0)]
            )(raw),
        ),
        (squareplus_offset(raw, upper=bound, temperature=0.5), bound - jax.nn.squareplus(raw, 1.0)),
    ):
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=4e-6)


@pytest.mark.parametrize("sides", [("upper",), ("lower",), ("lower", "upper")])
def test_leaky_clip_lies_between_clip_and_straight_through(sides):
    bounds = {side: {"lower": -1.0, "upper": 1.0}[side] for side in sides}

    @jax.jit
    def slopes(raw):
        functions = (
            partial(leaky_clip, slope=0.0),
            clip,
            partial(leaky_clip, slope=1.0),
            straight_through_clip,
        )
        return [jax.grad(lambda z, f=f: f(z, **bounds).sum())(raw) for f in functions]

    flat, clipped, steep, straight = slopes(np.linspace(-2, 2, 9, dtype=np.float32))
    np.testing.assert_array_equal(flat, clipped)
    np.testing.assert_array_equal(steep, straight)
