"""Loss terms that encourage a bound without enforcing it: scalars, means over entries.

Each is finite, as long as its squares do not overflow, and differentiable everywhere; it is 0
with zero gradient where every entry lies strictly inside (`log_barrier` apart). `lower` and
`upper` broadcast to the output; `None` and ±inf both mean "no bound".

A penalty belongs on raw: on an output that is projected already it is identically 0, and so is
its gradient.

Entries that are False in `where` count nowhere, as in `jnp.mean`: what padding holds, NaN too,
changes neither the value nor the gradient. Where nothing counts the mean is NaN, as there.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from bounded import _arguments
from bounded.metrics import sum_over_sides


def hinge(
    output: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    *,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Mean over entries of the distance outside, `relu(output - upper) + relu(lower - output)`.

    Its derivative is ±1 outside however small the violation, and 0 on the bound, so that a finite
    weight in the loss can hold outputs at the bound: an exact penalty (Nocedal and Wright 2006,
    section 17.2).

    Args:
      output: what the bound is asked of, any shape.
      lower: lower bound, broadcastable to output.
      upper: upper bound, broadcastable to output.
      where: which entries count, boolean, broadcastable to output.

    Example:
      >>> padded = jnp.array([0.5, 3.0, jnp.nan, jnp.nan])
      >>> print(hinge(padded, upper=1.0, where=jnp.arange(4) < 2))
      1.0
    """
    return _mean(_excess(output, lower, upper, where), where)


def squared_hinge(
    output: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    *,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Mean over entries of `relu(output - upper)² + relu(lower - output)²`.

    The quadratic exterior penalty (Nocedal and Wright 2006, section 17.1): outputs settle
    outside, by an amount that shrinks as its weight in the loss grows. The same as the mean
    squared displacement of a projected output from raw, `mean((clip(raw) - raw)²)`.

    Args:
      output: what the bound is asked of, any shape.
      lower: lower bound, broadcastable to output.
      upper: upper bound, broadcastable to output.
      where: which entries count, boolean, broadcastable to output.

    Example:
      >>> print(squared_hinge(jnp.array([0.5, 3.0]), upper=1.0))
      2.0
    """
    return _mean(_excess(output, lower, upper, where) ** 2, where)


def log_barrier(
    output: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    sharpness: ArrayLike = 5.0,
    *,
    where: ArrayLike | None = None,
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
      where: which entries count, boolean, broadcastable to output.

    Raises:
      ValueError: for a sharpness that is not positive, where it is known at trace time.

    Example:
      >>> slope = jax.grad(lambda z: log_barrier(z, upper=1.0, sharpness=5.0))
      >>> print(slope(0.0).round(3), slope(2.0).round(3))
      0.2 5.0
    """
    output = _array("output", output)
    sharpness = _arguments.positive("sharpness", sharpness, output)

    def barrier(beyond: jax.Array) -> jax.Array:
        wide = _arguments.wide(beyond.dtype)  # XLA squares sharpness, which overflows in float16
        sharp = sharpness.astype(wide)
        inside = beyond.astype(wide) * sharp * sharp <= -1
        logarithm = -jnp.log(-jnp.where(inside, beyond, -1)) / sharpness
        tangent = sharpness * beyond + (2 * jnp.log(sharpness) + 1) / sharpness
        return jnp.where(inside, logarithm, tangent)

    return _mean(sum_over_sides(barrier, output, lower, upper, where), where)


def geometric_schedule(progress: ArrayLike, first: ArrayLike, last: ArrayLike) -> jax.Array:
    """`first (last / first)^progress`: the same factor for every equal step of progress.

    Args:
      progress: how much of training is done, in [0, 1].
      first: the value at 0, positive.
      last: the value at 1, positive.

    Example:
      >>> print(geometric_schedule(0.5, 1.0, 100.0).round(3))
      10.0
    """
    first, last = _array("first", first), _array("last", last)
    return first * (last / first) ** _array("progress", progress)


def augmented_lagrangian(
    output: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    *,
    multipliers: ArrayLike,
    penalty: ArrayLike = 1.0,
    where: ArrayLike | None = None,
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
      where: which entries count, boolean, broadcastable to output.

    Raises:
      ValueError: where the multipliers do not fit the output's last axes, or for a negative
        penalty, where it is known at trace time.

    Example:
      >>> output, multipliers = jnp.array([[0.5], [3.0]]), jnp.array([2.0])
      >>> print(augmented_lagrangian(output, upper=1.0, multipliers=multipliers, penalty=1.0))
      3.0
    """
    output, multipliers = _array("output", output), _array("multipliers", multipliers)
    _check_multipliers(multipliers, output)
    penalty = _arguments.nonnegative("penalty", penalty, output)
    distance = _excess(output, lower, upper, where)
    weight = jnp.broadcast_to(multipliers, output.shape) + penalty / 2 * distance
    return _mean(weight * distance, where)


def update_multipliers(
    multipliers: ArrayLike,
    output: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    *,
    penalty: ArrayLike = 1.0,
    where: ArrayLike | None = None,
) -> jax.Array:
    """`λ + ρ mean(e)`, the mean of the distance outside over the windows; never decreases.

    Args:
      multipliers: λ, (T, F).
      output: (..., T, F).
      lower: lower bound, broadcastable to output.
      upper: upper bound, broadcastable to output.
      penalty: ρ >= 0, as in `augmented_lagrangian`.
      where: which entries count, boolean, broadcastable to output; a multiplier none of whose
        entries counts stays.

    Raises:
      ValueError: where the multipliers do not fit the output's last axes, or for a negative
        penalty, where it is known at trace time.

    Example:
      >>> output = jnp.array([[0.5, 2.0], [3.0, 0.0]])  # two windows
      >>> update_multipliers(jnp.zeros(2), output, upper=1.0, penalty=1.0)
      Array([1. , 0.5], dtype=float32)
    """
    output, multipliers = _array("output", output), _array("multipliers", multipliers)
    _check_multipliers(multipliers, output)
    penalty = _arguments.nonnegative("penalty", penalty, multipliers)
    windows = tuple(range(output.ndim - multipliers.ndim))
    distance = _excess(output, lower, upper, where)
    counts = _arguments.mask("where", where, output)
    mean = jnp.mean(distance, axis=windows, where=counts)
    if counts is not None:
        mean = jnp.where(jnp.any(counts, axis=windows), mean, 0)
    return multipliers + penalty * mean


def _array(name: str, value: ArrayLike) -> jax.Array:
    found = jnp.asarray(_arguments.array(name, value))
    return found if jnp.issubdtype(found.dtype, jnp.inexact) else found.astype(float)


def _excess(
    output: ArrayLike,
    lower: ArrayLike | None,
    upper: ArrayLike | None,
    where: ArrayLike | None,
) -> jax.Array:
    return sum_over_sides(jax.nn.relu, output, lower, upper, where)


def _mean(values: jax.Array, where: ArrayLike | None) -> jax.Array:
    return jnp.mean(values, where=_arguments.mask("where", where, values))


def _check_multipliers(multipliers: jax.Array, output: jax.Array) -> None:
    if multipliers.shape != output.shape[output.ndim - multipliers.ndim :]:
        raise ValueError(
            f"multipliers must have the shape of the output's last axes, got {multipliers.shape} "
            f"for an output of {output.shape}. Begin with jnp.zeros(output.shape[-2:])."
        )
