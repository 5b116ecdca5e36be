"""Metrics of a strategy on one split: reconstruction, violation, gradient health, code reliance.

Arrays are (windows, T, F) or broadcast to it. Every function is pure and returns a dict of
scalars, keyed by the metrics' names; NaN stands for a value that does not exist. Entries that
are False in `where` count nowhere, whatever they hold, as in `jnp.mean`: padding, missing targets.
"""

from collections.abc import Callable
from functools import reduce

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from bounded import _arguments


def reconstruction(
    output: ArrayLike, target: ArrayLike, *, where: ArrayLike | None = None
) -> dict[str, jax.Array]:
    """`mse`, `mae` and `r2` of output against target.

    `r2` is taken per feature about the mean over windows and steps, then averaged over features;
    NaN if a feature of the target does not vary.

    Args:
      output: (windows, T, F).
      target: of output's shape.
      where: which entries count, boolean, broadcastable to output.

    Example:
      >>> target = jnp.array([[[0.0], [2.0]], [[4.0], [jnp.nan]]])
      >>> found = reconstruction(target + 1, target, where=~jnp.isnan(target))
      >>> {name: round(float(value), 3) for name, value in found.items()}
      {'mse': 1.0, 'mae': 1.0, 'r2': 0.625}
    """
    output, target = _array("output", output), _array("target", target)
    where = _arguments.mask("where", where, output)
    error = _counted(output - target, where)
    return {
        "mse": jnp.mean(error**2, where=where),
        "mae": jnp.mean(jnp.abs(error), where=where),
        "r2": r2(output, target, where=where),
    }


def r2(output: ArrayLike, target: ArrayLike, *, where: ArrayLike | None = None) -> jax.Array:
    """Coefficient of determination, averaged over the last axis; see `reconstruction`.

    Example:
      >>> target = jnp.array([[[0.0], [2.0], [4.0]]])
      >>> print(r2(target, target), r2(jnp.full_like(target, 2.0), target))
      1.0 0.0
    """
    output, target = _array("output", output), _array("target", target)
    where = _arguments.mask("where", where, target)
    axes = tuple(range(target.ndim - 1))
    residual = jnp.mean(_counted(output - target, where) ** 2, axis=axes, where=where)
    target = _counted(target, where)
    largest = jnp.max(target, axis=axes, where=where, initial=_unless(where, -jnp.inf))
    smallest = jnp.min(target, axis=axes, where=where, initial=_unless(where, jnp.inf))
    variance = jnp.var(target, axis=axes, where=where)
    return jnp.mean(1 - residual / jnp.where(largest == smallest, jnp.nan, variance))


def excess(
    output: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """Distance of each entry outside its interval, 0 inside: its gradient is 0 on the bound.

    Args:
      output: any shape.
      lower: lower bound, broadcastable to output; None or ±inf for no bound.
      upper: upper bound, broadcastable to output; None or ±inf for no bound.

    Example:
      >>> excess(jnp.array([-3.0, 0.5, 1.5]), -1.0, 1.0)
      Array([2. , 0. , 0.5], dtype=float32)
    """
    return sum_over_sides(jax.nn.relu, output, lower, upper)


def sum_over_sides(
    function: Callable[[jax.Array], jax.Array],
    output: ArrayLike,
    lower: ArrayLike | None,
    upper: ArrayLike | None,
    where: ArrayLike | None = None,
) -> jax.Array:
    """`function(output - upper) + function(lower - output)`, 0 for a side without a bound.

    Example:
      >>> sum_over_sides(jnp.square, jnp.array([0.0, 3.0]), None, jnp.array([1.0, jnp.inf]))
      Array([1., 0.], dtype=float32)
    """
    output, lower, upper = _with_bounds(output, lower, upper)
    counts = _arguments.mask("where", where, output)

    def side(bound: jax.Array | None, sign: int) -> jax.Array:
        if bound is None:
            return jnp.zeros_like(output)
        unbounded = jnp.isinf(bound)
        beyond = sign * (output - jnp.where(unbounded, 0, bound))
        return jnp.where(unbounded, 0, function(_counted(beyond, counts)))

    return _counted(side(upper, 1) + side(lower, -1), counts)


def violation(
    output: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    *,
    where: ArrayLike | None = None,
) -> dict[str, jax.Array]:
    """How often and how far the output lies outside its bounds.

    `violation_rate` and `violation_rate_1e-4`: share of entries outside by more than 0 and 1e-4;
    `violation_mean`, `violation_max`: of the distance outside, over all entries;
    `active_fraction`: share of entries exactly on a bound. All but that are NaN where an output is.

    Args:
      output: any shape.
      lower: lower bound, broadcastable to output.
      upper: upper bound, broadcastable to output.
      where: which entries count, boolean, broadcastable to output.

    Example:
      >>> padded = jnp.array([0.0, 1.0, 3.0, 9.0])
      >>> found = violation(padded, upper=1.0, where=jnp.arange(4) < 3)
      >>> print(found["violation_rate"].round(3), found["violation_max"])
      0.333 2.0
    """
    output, lower, upper = _with_bounds(output, lower, upper)
    where = _arguments.mask("where", where, output)
    distance = sum_over_sides(jax.nn.relu, output, lower, upper, where)

    def share_beyond(limit: float) -> jax.Array:
        beyond = (distance > limit).astype(float)
        return jnp.mean(jnp.where(jnp.isnan(distance), jnp.nan, beyond), where=where)

    active = jnp.zeros_like(output, bool)
    for bound in (lower, upper):
        if bound is not None:
            active |= output == bound
    return {
        "violation_rate": share_beyond(0),
        "violation_rate_1e-4": share_beyond(1e-4),
        "violation_mean": jnp.mean(distance, where=where),
        "violation_max": _largest(distance, where),
        "active_fraction": jnp.mean(active, where=where),
    }


def sum_violation(
    output: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    *,
    where: ArrayLike | None = None,
) -> dict[str, jax.Array]:
    """`violation` of the sum over the last axis, from its first entry to its last.

    `sum_violation_rate`, `sum_violation_rate_1e-4` and `sum_violation_max`; NaN without a bound.

    Args:
      output: (..., K).
      lower: lower bound of the sum, (..., 1), or None.
      upper: upper bound of the sum, (..., 1), or None.
      where: which sums count, boolean, (..., 1) or what broadcasts to that.

    Example:
      >>> found = sum_violation(jnp.array([[1.0, 2.0], [1.0, 0.5]]), upper=2.0)
      >>> print(found["sum_violation_rate"], found["sum_violation_max"])
      0.5 1.0
    """
    output = _array("output", output)
    total = reduce(jnp.add, jnp.split(output, output.shape[-1], axis=-1))
    found = violation(total, lower, upper, where=where)
    names = ("violation_rate", "violation_rate_1e-4", "violation_max")
    exists = jnp.nan if lower is None and upper is None else 1.0
    return {f"sum_{name}": found[name] * exists for name in names}


def row_violation(distance: ArrayLike, *, where: ArrayLike | None = None) -> dict[str, jax.Array]:
    """`violation_rate`, `violation_mean` and `violation_max` of each row of a set, (m,).

    Args:
      distance: by how much each row is broken, (..., m), as `sets.affine_excess` gives it.
      where: which rows count, boolean, broadcastable to distance.

    Example:
      >>> row_violation(jnp.array([[0.0, 2.0], [0.0, 0.0]]))["violation_mean"]
      Array([0., 1.], dtype=float32)
    """
    distance = _array("distance", distance)
    where = _arguments.mask("where", where, distance)
    axes = tuple(range(distance.ndim - 1))
    return {
        "violation_rate": jnp.mean(distance > 0, axis=axes, where=where),
        "violation_mean": jnp.mean(distance, axis=axes, where=where),
        "violation_max": _largest(distance, where, axes),
    }


def set_jacobian(function: Callable[[jax.Array], jax.Array], raw: ArrayLike) -> jax.Array:
    """The derivative of each set's outputs to its own raw, (..., K) to (..., K, K).

    Args:
      function: raw to output, of one shape; sets lie on the last axis and do not mix.
      raw: the network's last linear output, (..., K).

    Example:
      >>> set_jacobian(jax.nn.relu, jnp.array([1.0, -1.0]))
      Array([[1., 0.],
             [0., 0.]], dtype=float32)
    """
    raw = _array("raw", raw)

    def column(tangent: jax.Array) -> jax.Array:
        derivative: jax.Array
        _, derivative = jax.jvp(function, (raw,), (jnp.broadcast_to(tangent, raw.shape),))
        return derivative

    basis = jnp.eye(raw.shape[-1], dtype=raw.dtype)
    basis = basis.reshape(-1, *[1] * (raw.ndim - 1), raw.shape[-1])
    columns = jax.lax.map(column, basis)
    return jnp.moveaxis(columns, 0, -1)


def jacobian_rank_fraction(jacobian: ArrayLike, *, where: ArrayLike | None = None) -> jax.Array:
    """Mean rank of the derivatives of `set_jacobian`, over the size of a set.

    A coupled constraint is dead along directions rather than in entries: a projection onto a sum
    has no derivative along a common shift, though no entry's is 0. For a constraint that acts entry
    by entry it is the share of entries that are not dead. Singular values below `K eps` times the
    largest count as 0.

    Args:
      jacobian: (..., K, K).
      where: which sets count, boolean, broadcastable to (...).

    Example:
      >>> print(jacobian_rank_fraction(jnp.array([[1.0, -1.0], [-1.0, 1.0]])))
      0.5
    """
    jacobian = _array("jacobian", jacobian)
    size = jacobian.shape[-1]
    jacobian = jacobian.astype(_arguments.wide(jacobian.dtype))
    where = _arguments.mask("where", where, jacobian[..., 0, 0])
    if where is not None:
        jacobian, where = _counted(jacobian, where[..., None, None]), where[..., None]
    singular = jnp.linalg.svd(jacobian, compute_uv=False)
    limit = size * jnp.finfo(jacobian.dtype).eps * jnp.max(singular, axis=-1, keepdims=True)
    return jnp.mean(singular > limit, where=where)


def gradients(
    strategy: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    raw: ArrayLike,
    signs: ArrayLike,
    target: ArrayLike,
    *,
    where: ArrayLike | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """What `gradient_health` reads: the output, two derivatives to raw, and a ratio of two more.

    The derivatives are of `sum(c * output)` and of `sum(c * output) + penalty`, for random signs c.
    The ratio is that of the training objective's to that of its error alone,
    `|d(error + penalty)/d raw| / |d error/d output|`, with `error` the mean squared error: of
    one entry both are of one scale, however many there are. It is inf where the error has no slope.

    Args:
      strategy: raw to (output, penalty), as in training.
      raw: the network's last linear output.
      signs: ±1 at random, of raw's shape, such as `jax.random.rademacher` draws.
      target: what the output should be.
      where: which entries count, boolean, broadcastable to raw; the mean is over those.

    Example:
      >>> raw, ones = jnp.array([2.0, -2.0]), jnp.ones(2)
      >>> for found in gradients(lambda z: (jax.nn.relu(z), jnp.sum(z)), raw, ones, 3 * ones):
      ...     print(found)
      [2. 0.]
      [1. 0.]
      [2. 1.]
      [0.         0.33333334]
    """
    raw, signs, target = _array("raw", raw), _array("signs", signs), _array("target", target)
    where = _arguments.mask("where", where, raw)
    (output, penalty), pullback = jax.vjp(strategy, raw)
    (of_output,) = pullback((signs, jnp.zeros_like(penalty)))
    (of_objective,) = pullback((signs, jnp.ones_like(penalty)))
    of_error = jax.grad(lambda output: jnp.mean(_counted(output - target, where) ** 2, where=where))
    slope = of_error(output)
    (reaching,) = pullback((slope, jnp.ones_like(penalty)))
    ratio = jnp.where(slope == 0, jnp.inf, jnp.abs(reaching) / jnp.abs(slope))
    return output, of_output, of_objective, ratio


def gradient_health(
    output: ArrayLike,
    of_output: ArrayLike,
    of_objective: ArrayLike,
    ratio: ArrayLike,
    target: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    *,
    where: ArrayLike | None = None,
) -> dict[str, jax.Array]:
    """Where the training objective has no gradient.

    `gradient_dead_fraction`: share of raw entries at which the derivative of
    `sum(c * output) + penalty` is exactly 0; `constraint_dead_fraction`: the same for the output
    alone; `gradient_vanishing_fraction`: at which less than 1e-3 of the error's slope is left,
    `|d(error + penalty)/d raw| < 1e-3 |d error/d output|` while the latter is not 0, so that
    an output that is right does not count; `blocked_fraction`, the harm: dead while the target
    lies inside the bounds and differs from the output by more than 1e-6.

    Args:
      output: as in training; with the next three from `gradients`.
      of_output: derivative of the output's random sum to raw.
      of_objective: the same with the penalty.
      ratio: of the objective's derivative to raw and the error's to the output.
      target: what the output should be.
      lower: the dataset's lower bound, or None.
      upper: the dataset's upper bound, or None.
      where: which entries count, boolean, broadcastable to output.

    Example:
      >>> raw, target = jnp.array([0.5, 2.0]), jnp.array([0.5, 0.7])
      >>> clipped = lambda z: (jnp.minimum(z, 1.0), jnp.zeros(()))
      >>> found = gradient_health(*gradients(clipped, raw, jnp.ones(2), target), target, upper=1.0)
      >>> print(found["blocked_fraction"], found["gradient_vanishing_fraction"])
      0.5 0.5
    """
    output, target = _array("output", output), _array("target", target)
    of_output, ratio = _array("of_output", of_output), _array("ratio", ratio)
    of_objective = _array("of_objective", of_objective)
    where = _arguments.mask("where", where, output)
    dead = of_objective == 0
    feasible = excess(target, lower, upper) == 0
    blocked = dead & feasible & (jnp.abs(output - target) > 1e-6)
    return {
        "gradient_dead_fraction": jnp.mean(dead, where=where),
        "constraint_dead_fraction": jnp.mean(of_output == 0, where=where),
        "gradient_vanishing_fraction": jnp.mean(ratio < 1e-3, where=where),
        "blocked_fraction": jnp.mean(blocked, where=where),
    }


def code_reliance(
    decode: Callable[[jax.Array], jax.Array],
    codes: ArrayLike,
    target: ArrayLike,
    key: jax.Array,
    permutations: int = 10,
    *,
    where: ArrayLike | None = None,
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
      where: which entries of the target count, boolean, broadcastable to it.

    Example:
      >>> codes = jnp.arange(6.0)[:, None]
      >>> print(code_reliance(lambda c: c[:, None], codes, codes[:, None], jax.random.key(0)))
      1.0
    """
    (found,) = code_reliances(
        lambda codes: (decode(codes),), codes, (target,), key, permutations, where=where
    )
    return found


def code_reliances(
    decode: Callable[[jax.Array], tuple[jax.Array, ...]],
    codes: ArrayLike,
    targets: tuple[ArrayLike, ...],
    key: jax.Array,
    permutations: int = 10,
    *,
    where: ArrayLike | None = None,
) -> tuple[jax.Array, ...]:
    """`code_reliance` of several outputs of one decoder, each with a target of its own.

    With raw among them, and raw itself as its target, it says how much of raw hangs on the code,
    whatever the constraint then makes of it.

    Args:
      decode: codes (windows, H) to outputs, each (windows, T, F).
      codes: the codes, (windows, H).
      targets: one an output.
      key: decides the permutations, the same for all.
      permutations: how many.
      where: which entries of each target count, boolean, broadcastable to it.

    Example:
      >>> codes, ones = jnp.arange(6.0)[:, None], jnp.ones((6, 1, 1))
      >>> decode = lambda codes: (jnp.minimum(codes[:, None], -ones), codes[:, None])
      >>> target, raw = codes[:, None] - 9, codes[:, None]
      >>> print(*code_reliances(decode, codes, (target, raw), jax.random.key(0)))
      0.0 1.0
    """
    codes, given = _array("codes", codes), [_array("target", target) for target in targets]
    windows = codes.shape[0]
    if windows < 2:
        return tuple(jnp.array(jnp.nan, target.dtype) for target in given)

    def cycle(key: jax.Array) -> jax.Array:
        """A permutation without fixed points: one cycle through all windows, in random order."""
        order = jax.random.permutation(key, windows)
        return jnp.zeros_like(order).at[order].set(jnp.roll(order, 1))

    def scores(donor: jax.Array) -> list[jax.Array]:
        pairs = zip(decode(codes[donor]), given, strict=True)
        return [r2(output, target, where=where) for output, target in pairs]

    donors = jax.vmap(cycle)(jax.random.split(key, permutations))
    donors = jnp.concatenate([jnp.arange(windows)[None], donors])
    found = jax.lax.map(scores, donors)
    return tuple(jnp.clip(of[0] - jnp.mean(of[1:]), 0, 1) for of in found)


def _array(name: str, value: ArrayLike) -> jax.Array:
    return jnp.asarray(_arguments.array(name, value))


def _with_bounds(
    output: ArrayLike, lower: ArrayLike | None, upper: ArrayLike | None
) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    output = _arguments.array("output", output)
    return _arguments.with_bounds("a distance to bounds", output, lower, upper)


def _counted(x: jax.Array, where: jax.Array | None) -> jax.Array:
    """x, with 0 for what does not count, so that NaN there is nowhere in a gradient."""
    return x if where is None else jnp.where(where, x, 0)


def _unless(where: jax.Array | None, initial: float) -> float | None:
    return None if where is None else initial


def _largest(
    x: jax.Array, where: jax.Array | None, axis: tuple[int, ...] | None = None
) -> jax.Array:
    """NaN where nothing counts."""
    largest = jnp.max(x, axis, where=where, initial=_unless(where, -jnp.inf))
    if where is None:
        return largest
    return jnp.where(jnp.any(where, axis), largest, jnp.nan)
