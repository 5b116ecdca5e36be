"""Metrics of a strategy on one split: reconstruction, violation, gradient health, code reliance.

Arrays are (windows, T, F) or broadcast to it. Every function is pure and returns a dict of
scalars, keyed by the metrics' names; NaN stands for a value that does not exist.
"""

from collections.abc import Callable
from functools import reduce

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def reconstruction(output: jax.Array, target: jax.Array) -> dict[str, jax.Array]:
    """`mse`, `mae` and `r2` of output against target.

    `r2` is taken per feature about the mean over windows and steps, then averaged over features;
    NaN if a feature of the target does not vary.
    """
    error = output - target
    return {"mse": jnp.mean(error**2), "mae": jnp.mean(jnp.abs(error)), "r2": r2(output, target)}


def r2(output: jax.Array, target: jax.Array) -> jax.Array:
    """Coefficient of determination, averaged over the last axis; see `reconstruction`."""
    axes = tuple(range(target.ndim - 1))
    residual = jnp.mean((output - target) ** 2, axis=axes)
    constant = jnp.max(target, axis=axes) == jnp.min(target, axis=axes)
    variance = jnp.where(constant, jnp.nan, jnp.var(target, axis=axes))
    return jnp.mean(1 - residual / variance)


def excess(
    output: jax.Array, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """Distance of each entry outside its interval, 0 inside: its gradient is 0 on the bound.

    Args:
      output: any shape.
      lower: lower bound, broadcastable to output; None or ±inf for no bound.
      upper: upper bound, broadcastable to output; None or ±inf for no bound.
    """

    return sum_over_sides(jax.nn.relu, output, lower, upper)


def sum_over_sides(
    function: Callable[[jax.Array], jax.Array],
    output: jax.Array,
    lower: ArrayLike | None,
    upper: ArrayLike | None,
) -> jax.Array:
    """`function(output - upper) + function(lower - output)`, 0 for a side without a bound."""

    def side(bound: ArrayLike | None, sign: int) -> jax.Array:
        if bound is None:
            return jnp.zeros_like(output)
        unbounded = jnp.isinf(jnp.broadcast_to(bound, output.shape))
        beyond = sign * (output - jnp.where(unbounded, 0, bound))
        return jnp.where(unbounded, 0, function(beyond))

    return side(upper, 1) + side(lower, -1)


def violation(
    output: jax.Array, lower: jax.Array | None = None, upper: jax.Array | None = None
) -> dict[str, jax.Array]:
    """How often and how far the output lies outside its bounds.

    `violation_rate` and `violation_rate_1e-4`: share of entries outside by more than 0 and 1e-4;
    `violation_mean`, `violation_max`: of the distance outside, over all entries;
    `active_fraction`: share of entries exactly on a bound. All but that are NaN where an output is.
    """
    distance = excess(output, lower, upper)

    def share_beyond(limit: float) -> jax.Array:
        return jnp.mean(jnp.where(jnp.isnan(distance), jnp.nan, distance > limit))

    active = jnp.zeros_like(output, bool)
    for bound in (lower, upper):
        if bound is not None:
            active |= output == bound
    return {
        "violation_rate": share_beyond(0),
        "violation_rate_1e-4": share_beyond(1e-4),
        "violation_mean": jnp.mean(distance),
        "violation_max": jnp.max(distance),
        "active_fraction": jnp.mean(active),
    }


def sum_violation(
    output: jax.Array, lower: jax.Array | None = None, upper: jax.Array | None = None
) -> dict[str, jax.Array]:
    """`violation` of the sum over the last axis, from its first entry to its last.

    `sum_violation_rate`, `sum_violation_rate_1e-4` and `sum_violation_max`; NaN without a bound.

    Args:
      output: (..., K).
      lower: lower bound of the sum, (..., 1), or None.
      upper: upper bound of the sum, (..., 1), or None.
    """
    total = reduce(jnp.add, jnp.split(output, output.shape[-1], axis=-1))
    found = violation(total, lower, upper)
    names = ("violation_rate", "violation_rate_1e-4", "violation_max")
    exists = jnp.nan if lower is None and upper is None else 1.0
    return {f"sum_{name}": found[name] * exists for name in names}


def row_violation(distance: jax.Array) -> dict[str, jax.Array]:
    """`violation_rate`, `violation_mean` and `violation_max` of each row of a set, (m,).

    Args:
      distance: by how much each row is broken, (..., m), as `sets.affine_excess` gives it.
    """
    axes = tuple(range(distance.ndim - 1))
    return {
        "violation_rate": jnp.mean(distance > 0, axis=axes),
        "violation_mean": jnp.mean(distance, axis=axes),
        "violation_max": jnp.max(distance, axis=axes),
    }


def set_jacobian(function: Callable[[jax.Array], jax.Array], raw: jax.Array) -> jax.Array:
    """The derivative of each set's outputs to its own raw, (..., K) to (..., K, K).

    Args:
      function: raw to output, of one shape; sets lie on the last axis and do not mix.
      raw: the network's last linear output, (..., K).
    """

    def column(tangent: jax.Array) -> jax.Array:
        derivative: jax.Array
        _, derivative = jax.jvp(function, (raw,), (jnp.broadcast_to(tangent, raw.shape),))
        return derivative

    basis = jnp.eye(raw.shape[-1], dtype=raw.dtype)
    basis = basis.reshape(-1, *[1] * (raw.ndim - 1), raw.shape[-1])
    columns = jax.lax.map(column, basis)
    return jnp.moveaxis(columns, 0, -1)


def jacobian_rank_fraction(jacobian: jax.Array) -> jax.Array:
    """Mean rank of the derivatives of `set_jacobian`, over the size of a set.

    A coupled constraint is dead along directions rather than in entries: a projection onto a sum
    has no derivative along a common shift, though no entry's is 0. For a constraint that acts entry
    by entry it is the share of entries that are not dead. Singular values below `K eps` times the
    largest count as 0.

    Args:
      jacobian: (..., K, K).
    """
    size = jacobian.shape[-1]
    jacobian = jacobian.astype(jnp.promote_types(jacobian.dtype, jnp.float32))
    singular = jnp.linalg.svd(jacobian, compute_uv=False)
    limit = size * jnp.finfo(jacobian.dtype).eps * jnp.max(singular, axis=-1, keepdims=True)
    return jnp.mean(singular > limit)


def gradients(
    strategy: Callable[[jax.Array], tuple[jax.Array, jax.Array]], raw: jax.Array, signs: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What `gradient_health` reads: the output, and two derivatives to raw, for random signs c.

    The first is of `sum(c * output)`, the second of `sum(c * output) + penalty`.

    Args:
      strategy: raw to (output, penalty), as in training.
      raw: the network's last linear output.
      signs: ±1 at random, of raw's shape, such as `jax.random.rademacher` draws.
    """
    (output, penalty), pullback = jax.vjp(strategy, raw)
    (of_output,) = pullback((signs, jnp.zeros_like(penalty)))
    (of_objective,) = pullback((signs, jnp.ones_like(penalty)))
    return output, of_output, of_objective


def gradient_health(
    output: jax.Array,
    of_output: jax.Array,
    of_objective: jax.Array,
    target: jax.Array,
    lower: jax.Array | None = None,
    upper: jax.Array | None = None,
) -> dict[str, jax.Array]:
    """Where the training objective has no gradient.

    `gradient_dead_fraction`: share of raw entries at which the derivative of
    `sum(c * output) + penalty` is exactly 0; `gradient_vanishing_fraction`: below 1e-3 in
    absolute value; `constraint_dead_fraction`: exactly 0 for the output alone;
    `blocked_fraction`, the harm: dead while the target lies inside the bounds and differs from
    the output by more than 1e-6.

    Args:
      output: as in training; with the next two from `gradients`.
      of_output: derivative of the output's random sum to raw.
      of_objective: the same with the penalty.
      target: what the output should be.
      lower: the dataset's lower bound, or None.
      upper: the dataset's upper bound, or None.
    """
    dead = of_objective == 0
    feasible = excess(target, lower, upper) == 0
    return {
        "gradient_dead_fraction": jnp.mean(dead),
        "constraint_dead_fraction": jnp.mean(of_output == 0),
        "gradient_vanishing_fraction": jnp.mean(jnp.abs(of_objective) < 1e-3),
        "blocked_fraction": jnp.mean(dead & feasible & (jnp.abs(output - target) > 1e-6)),
    }


def code_reliance(
    decode: Callable[[jax.Array], jax.Array],
    codes: jax.Array,
    target: jax.Array,
    key: jax.Array,
    permutations: int = 10,
) -> jax.Array:
    """How much of `r2` is lost when windows are decoded from each other's codes, in [0, 1].

    `r2` minus its mean over seeded permutations of the codes without fixed points, clipped. On
    an autoencoder 0 is collapse: the output ignores the code. Elsewhere a low value need not be
    a fault, for the bound informs too. NaN for fewer than two windows.

    Args:
      decode: codes (windows, H) to the output (windows, T, F), each window under its own bounds.
      codes: the codes, (windows, H).
      target: (windows, T, F).
      key: decides the permutations.
      permutations: how many.
    """
    windows = codes.shape[0]
    if windows < 2:
        return jnp.array(jnp.nan, target.dtype)

    def cycle(key: jax.Array) -> jax.Array:
        """A permutation without fixed points: one cycle through all windows, in random order."""
        order = jax.random.permutation(key, windows)
        return jnp.zeros_like(order).at[order].set(jnp.roll(order, 1))

    donors = jax.vmap(cycle)(jax.random.split(key, permutations))
    donors = jnp.concatenate([jnp.arange(windows)[None], donors])
    scores = jax.lax.map(lambda donor: r2(decode(codes[donor]), target), donors)
    return jnp.clip(scores[0] - jnp.mean(scores[1:]), 0, 1)
