"""Loss terms that encourage a bound without enforcing it: scalars, means over entries.

Each is finite, as long as its squares do not overflow, and differentiable everywhere; it is 0
with zero gradient where every entry lies strictly inside (`log_barrier` apart). `lower` and
`upper` broadcast to the output; `None` and ±inf both mean "no bound".

A penalty belongs on raw: on an output that is projected already it is identically 0, and so is
its gradient.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from bounded import _arguments
from bounded.metrics import excess, sum_over_sides


def hinge(
    output: jax.Array, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """Mean over entries of the distance outside, `relu(output - upper) + relu(lower - output)`.

    Its derivative is ±1 outside however small the violation, and 0 on the bound, so that a finite
    weight in the loss can hold outputs at the bound: an exact penalty (Nocedal and Wright 2006,
    section 17.2).

    Args:
      output: what the bound is asked of, any shape.
      lower: lower bound, broadcastable to output.
      upper: upper bound, broadcastable to output.
    """
    return jnp.mean(excess(output, lower, upper))


def squared_hinge(
    output: jax.Array, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """Mean over entries of `relu(output - upper)² + relu(lower - output)²`.

    The quadratic exterior penalty (Nocedal and Wright 2006, section 17.1): outputs settle
    outside, by an amount that shrinks as its weight in the loss grows. The same as the mean
    squared displacement of a projected output from raw, `mean((clip(raw) - raw)²)`.

    Args:
      output: what the bound is asked of, any shape.
      lower: lower bound, broadcastable to output.
      upper: upper bound, broadcastable to output.
    """
    return jnp.mean(excess(output, lower, upper) ** 2)


def log_barrier(
    output: jax.Array,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    sharpness: ArrayLike = 5.0,
) -> jax.Array:
    """Mean over entries of a logarithmic barrier, extended by a line so that it exists outside.

    With g = output - upper (and lower - output, added to it) and sharpness t: `-log(-g) / t`
    where `g <= -1 / t²`, and its tangent from there on, `t g + (2 log t + 1) / t`. It repels
    from the bound inside as well, less so the sharper it is; as t grows it tends to 0 inside and
    without bound outside. The value can be negative. Raise t in training, for example with
    `geometric_schedule`: the authors begin with 5 and multiply it by 1.1 every epoch.

    Kervadec et al. (2022, "Constrained deep networks: Lagrangian optimization via log-barrier
    extensions", arXiv 1904.04205).

    Args:
      output: what the bound is asked of, any shape.
      lower: lower bound, broadcastable to output.
      upper: upper bound, broadcastable to output.
      sharpness: t > 0, in the inverse units of output.

    Raises:
      ValueError: for a sharpness that is not positive, where it is known at trace time.
    """
    sharpness = _arguments.positive("sharpness", sharpness, output)

    def barrier(beyond: jax.Array) -> jax.Array:
        inside = beyond * sharpness * sharpness <= -1
        logarithm = -jnp.log(-jnp.where(inside, beyond, -1)) / sharpness
        tangent = sharpness * beyond + (2 * jnp.log(sharpness) + 1) / sharpness
        return jnp.where(inside, logarithm, tangent)

    return jnp.mean(sum_over_sides(barrier, output, lower, upper))


def geometric_schedule(progress: ArrayLike, first: ArrayLike, last: ArrayLike) -> jax.Array:
    """`first (last / first)^progress`: the same factor for every equal step of progress.

    Args:
      progress: how much of training is done, in [0, 1].
      first: the value at 0, positive.
      last: the value at 1, positive.
    """
    first = jnp.asarray(first)
    return first * (last / first) ** progress


def augmented_lagrangian(
    output: jax.Array,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    *,
    multipliers: jax.Array,
    penalty: ArrayLike = 1.0,
) -> jax.Array:
    """Mean over entries of `λ e + ρ e² / 2`, with e the distance outside the bounds.

    The augmented Lagrangian of the constraints e = 0, one for each output position and shared by
    the windows (Hestenes 1969; Powell 1969; on violations, as Fioretto et al. 2020, "Lagrangian
    duality for constrained deep learning"). With multipliers 0 it is ρ / 2 times
    `squared_hinge`, with ρ = 0 a weighted `hinge`.

    Args:
      output: what the bound is asked of, (..., T, F).
      lower: lower bound, broadcastable to output.
      upper: upper bound, broadcastable to output.
      multipliers: λ >= 0, (T, F), from `update_multipliers`; at first zeros.
      penalty: ρ >= 0.

    Raises:
      ValueError: where the multipliers do not fit the output's last axes, or for a negative
        penalty, where it is known at trace time.
    """
    _check_multipliers(multipliers, output)
    penalty = _arguments.nonnegative("penalty", penalty, output)
    distance = excess(output, lower, upper)
    weight = jnp.broadcast_to(multipliers, output.shape) + penalty / 2 * distance
    return jnp.mean(weight * distance)


def update_multipliers(
    multipliers: jax.Array,
    output: jax.Array,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    *,
    penalty: ArrayLike = 1.0,
) -> jax.Array:
    """`λ + ρ mean(e)`, the mean of the distance outside over the windows; never decreases.

    Args:
      multipliers: λ, (T, F).
      output: (..., T, F).
      lower: lower bound, broadcastable to output.
      upper: upper bound, broadcastable to output.
      penalty: ρ >= 0, as in `augmented_lagrangian`.

    Raises:
      ValueError: where the multipliers do not fit the output's last axes, or for a negative
        penalty, where it is known at trace time.
    """
    _check_multipliers(multipliers, output)
    penalty = _arguments.nonnegative("penalty", penalty, multipliers)
    windows = tuple(range(output.ndim - multipliers.ndim))
    return multipliers + penalty * jnp.mean(excess(output, lower, upper), axis=windows)


def _check_multipliers(multipliers: jax.Array, output: jax.Array) -> None:
    if multipliers.shape != output.shape[output.ndim - multipliers.ndim :]:
        raise ValueError(
            f"multipliers must have the shape of the output's last axes, got {multipliers.shape} "
            f"for an output of {output.shape}. Begin with jnp.zeros(output.shape[-2:])."
        )
