from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bounded import penalties
from bounded.constraints import clip
from bounded.penalties import geometric_schedule
from tests.bounded import maps
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("unoptimised")
# Compiled whole, which takes less than step by step.
hinge, squared_hinge = jax.jit(penalties.hinge), jax.jit(penalties.squared_hinge)
log_barrier, update_multipliers = (
    jax.jit(penalties.log_barrier),
    jax.jit(penalties.update_multipliers),
)
augmented_lagrangian = jax.jit(penalties.augmented_lagrangian)


@jax.jit
def lagrangian(output, lower=None, upper=None, multipliers=2.0, penalty=3.0):
    multipliers = jnp.full(output.shape[-1:], multipliers, output.dtype)
    return augmented_lagrangian(output, lower, upper, multipliers=multipliers, penalty=penalty)


ZERO_INSIDE = (hinge, squared_hinge, lagrangian)
EVERY = (*ZERO_INSIDE, log_barrier)


@partial(jax.jit, static_argnums=0)
def both(penalty, output, lower=None, upper=None):
    """The value and its gradient."""
    return jax.value_and_grad(penalty)(output, lower, upper)


OUTSIDE = {hinge: [2, 3], squared_hinge: [4, 9], lagrangian: [2 * 2 + 6, 2 * 3 + 13.5]}


@pytest.mark.parametrize("penalty", ZERO_INSIDE)
def test_values_by_hand(penalty):
    output = np.float32([-3, 0, 1, 4])
    below, above = OUTSIDE[penalty]
    np.testing.assert_allclose(penalty(output, -1.0, 1.0), (below + above) / 4)
    np.testing.assert_allclose(penalty(output, upper=1.0), above / 4)
    np.testing.assert_allclose(penalty(output, lower=-1.0), below / 4)


def test_log_barrier_by_hand():
    # Sharpness 2: logarithmic up to a distance of 1/4 from the bound, then its tangent.
    output = np.float32([-1, 0.75, 1, 3])
    line = (2 * np.log(2) + 1) / 2
    by_entry = [-np.log(2) / 2, -np.log(0.25) / 2, line, 2 * 2 + line]
    found = [log_barrier(output[i : i + 1], upper=1.0, sharpness=2.0) for i in range(4)]
    np.testing.assert_allclose(found, by_entry, rtol=1e-6)
    np.testing.assert_allclose(
        log_barrier(output, upper=1.0, sharpness=2.0), np.mean(by_entry), rtol=1e-6
    )
    mirrored = log_barrier(-output, lower=-1.0, sharpness=2.0)
    np.testing.assert_allclose(mirrored, np.mean(by_entry), rtol=1e-6)
    middle = log_barrier(np.zeros(1, np.float32), -1.0, 1.0, sharpness=2.0)
    np.testing.assert_allclose(middle, 0, atol=1e-7)


def test_the_barriers_line_is_tangent_to_its_logarithm():
    slope = jax.jit(jax.vmap(jax.grad(lambda z: log_barrier(z, upper=1.0))))
    slopes = slope(np.float32(1 - 1 / 25) + np.float32([[-1e-4], [0], [1e-4]]))
    np.testing.assert_allclose(slopes[:, 0], [5, 5, 5], rtol=5e-3)


def test_a_sharper_barrier_repels_less_inside_and_more_outside():
    @jax.jit
    @partial(jax.vmap, in_axes=(None, 0))
    @jax.grad
    def slope(z, sharpness):
        return log_barrier(z, upper=1.0, sharpness=sharpness)

    sharpness = np.float32([5, 50, 500])
    assert (np.diff(slope(0.0, sharpness)) < 0).all()
    assert (np.diff(slope(1.5, sharpness)) > 0).all()
    np.testing.assert_allclose(slope(0.0, sharpness), 1 / sharpness, rtol=1e-6)


@pytest.mark.parametrize("penalty", ZERO_INSIDE)
def test_zero_with_zero_gradient_inside_and_on_the_bound(penalty):
    value, gradient = both(penalty, np.float32([-1, 0, 1]), -1.0, 1.0)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("penalty", EVERY)
def test_infinite_and_missing_bounds_are_no_bounds(penalty):
    output = np.float32([5, -5])
    for lower, upper in ((-np.inf, np.inf), (np.inf, -np.inf), (None, None)):
        value, gradient = both(penalty, output, lower, upper)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)
    in_part = penalty(output, upper=np.float32([1, np.inf]))
    np.testing.assert_allclose(in_part, penalty(output[:1], upper=1.0) / 2, rtol=1e-6)


@pytest.mark.parametrize("penalty", EVERY)
def test_finite_with_finite_gradients_far_and_near(penalty):
    output = np.float32([-1e18, -1.0, -1e-38, 0, 1, 1 + 1e-7, 1e18])
    run = jax.jit(jax.value_and_grad(penalty, (0, 1, 2)))
    for lower, upper in ((-1.0, 1.0), (0.0, 0.0), (1.0, -1.0)):
        value, slopes = run(output, lower, upper)
        assert np.isfinite(value)
        assert all(np.isfinite(slope).all() for slope in slopes)


@pytest.mark.parametrize("penalty", EVERY)
def test_bounds_broadcast_and_nan_shows(penalty):
    output = np.linspace(-2, 2, 12, dtype=np.float32).reshape(2, 3, 2)
    spoilt, upper = np.copy(output), np.float32([[[0.5, 1]]])
    spoilt[0, 0, 0] = np.nan
    expected = penalty(output, upper=np.broadcast_to(upper, output.shape))
    np.testing.assert_allclose(penalty(output, upper=upper), expected)
    assert np.isnan(penalty(spoilt, upper=upper))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("penalty", EVERY)
def test_derivatives_to_output_and_bounds_match_finite_differences(penalty):
    output = np.linspace(-2.03, 2.01, 7)
    maps.assert_derivatives_of_differences(penalty, (output, -np.ones(7), np.ones(7)))


@pytest.mark.parametrize("penalty", ZERO_INSIDE)
def test_a_penalty_on_a_projected_output_is_identically_zero(penalty):
    """The trap in HardNet's published code: the penalty belongs on raw."""
    raw = np.float32([-3, 0, 4])

    @jax.jit
    def run(raw):
        projected = jax.value_and_grad(lambda z: penalty(clip(z, -1.0, 1.0), -1.0, 1.0))(raw)
        return *projected, penalty(raw, -1.0, 1.0)

    value, gradient, of_raw = run(raw)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
    assert of_raw > 0


def test_squared_hinge_is_the_displacement_by_the_projection():
    raw, lower, upper = np.linspace(-3, 3, 13), -np.ones(13), np.linspace(-0.5, 2, 13)
    raw, lower, upper = map(np.float32, (raw, lower, upper))
    displacement = np.mean((np.clip(raw, lower, upper) - raw) ** 2)
    np.testing.assert_allclose(squared_hinge(raw, lower, upper), displacement, rtol=1e-6)


def test_the_augmented_lagrangian_joins_the_hinges():
    output = np.linspace(-3, 3, 14, dtype=np.float32)
    of_bounds = (output, -1.0, 1.0)
    squared = lagrangian(*of_bounds, multipliers=0.0, penalty=3.0)
    np.testing.assert_allclose(squared, 1.5 * squared_hinge(*of_bounds), rtol=1e-6)
    linear = lagrangian(*of_bounds, multipliers=2.0, penalty=0.0)
    np.testing.assert_allclose(linear, 2 * hinge(*of_bounds), rtol=1e-6)


def test_multipliers_grow_by_the_mean_violation_of_their_position():
    output = np.float32([[[2], [0]], [[4], [0.5]]])  # (windows, T, F)
    first = update_multipliers(np.zeros((2, 1), np.float32), output, upper=1.0, penalty=0.5)
    np.testing.assert_allclose(first, [[0.5 * (1 + 3) / 2], [0]])
    np.testing.assert_allclose(
        update_multipliers(first, output, upper=1.0, penalty=0.5), 2 * np.asarray(first)
    )
    np.testing.assert_array_equal(update_multipliers(first, output, upper=1.0, penalty=0), first)
    by_position = augmented_lagrangian(output, upper=1.0, multipliers=first, penalty=0.0)
    np.testing.assert_allclose(by_position, (1 + 3) * 1 / 4)


def test_multipliers_hold_a_bound_that_a_penalty_of_the_same_weight_does_not():
    """minimise (y - 2)² subject to y <= 1."""

    @jax.jit
    def descend(y, multipliers):
        def loss(y):
            penalty = augmented_lagrangian(y, upper=1.0, multipliers=multipliers, penalty=1.0)
            return jnp.mean((y - 2) ** 2) + penalty

        def step(y, _):
            return y - 0.1 * jax.grad(loss)(y), None

        return jax.lax.scan(step, y, None, 300)[0]

    y = multipliers = np.zeros(1, np.float32)
    soft = descend(y, multipliers)
    for _ in range(30):
        y = descend(y, multipliers)
        multipliers = update_multipliers(multipliers, np.asarray(y)[None], upper=1.0, penalty=1.0)
    assert soft > 1.5
    np.testing.assert_allclose(y, 1, atol=0.1)
    np.testing.assert_allclose(multipliers, 2, atol=0.2)


@pytest.mark.parametrize("shape", [(3, 1), (2, 2), (2, 3, 2, 1)])
def test_multipliers_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match=r"multipliers must have.*jnp.zeros"):
        augmented_lagrangian(np.zeros((4, 2, 1)), upper=1.0, multipliers=np.zeros(shape))


@pytest.mark.parametrize("sharpness", sampled([256, 500, 5000], {256, 5000}))
def test_a_sharp_barrier_is_finite_in_float16(sharpness):
    barrier = partial(penalties.log_barrier, upper=0.0, sharpness=sharpness)
    run = jax.jit(jax.vmap(jax.value_and_grad(barrier)))
    values, slopes = run(np.array([0, -1e-7, 1, -1], np.float16))
    assert np.isfinite(values).all()
    assert (slopes >= 0).all()
    assert (slopes <= sharpness).all()


def test_hyperparameters_out_of_range_are_refused():
    with pytest.raises(ValueError, match="sharpness must be positive"):
        penalties.log_barrier(np.ones(2), upper=1.0, sharpness=0.0)
    with pytest.raises(ValueError, match="penalty must be nonnegative"):
        penalties.augmented_lagrangian(np.ones(2), upper=1.0, multipliers=np.zeros(2), penalty=-1.0)
    with pytest.raises(ValueError, match="penalty must be nonnegative"):
        penalties.update_multipliers(np.zeros(2), np.ones(2), upper=1.0, penalty=-1.0)


def test_geometric_schedule():
    run = jax.jit(geometric_schedule)
    np.testing.assert_allclose(run(np.float32([0, 0.5, 1]), 5.0, 500.0), [5, 50, 500], rtol=1e-6)
    np.testing.assert_allclose(run(0.5, 1.0, 0.01), 0.1, rtol=1e-6)
