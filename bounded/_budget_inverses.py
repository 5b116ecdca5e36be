"""Inverses of budgets, shown to users as `bounded.inverses.budget_…`."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from bounded import _formulas
from bounded._inverse_formulas import Formula, log_ratio
from bounded.sets import budgets


def budget_softmax(
    output: ArrayLike,
    total: ArrayLike,
    *,
    axis: int | Sequence[int] = -1,
    equality: bool = False,
    upper: ArrayLike | None = None,
) -> jax.Array:
    """Inverse of `sets.budget_softmax`: `raw = log(y / s) - log(1 - y / u)`, `s = total - sum(y)`.

    With `equality` raw is determined up to a common shift; this is the one with the total in place
    of s: without caps the logarithms of the shares, whose exponentials sum to 1.

    An entry of 0 gives -inf; one at its cap, and every other where the sum is the total, inf. Where
    the total is 0 every raw gives the output: 0. Where it is inf, `clip(y, 0, u)`. An output that
    is not in the budget to `2 n eps total`, with n entries, gives NaN in its set.

    Args:
      output: the wanted outputs y, any shape.
      total: the budget, of output's shape without `axis`, or what broadcasts to that.
      axis: along which the outputs share the total.
      equality: whether the sum is the total rather than at most it.
      upper: caps u of the single entries, broadcastable to output.

    Returns:
      An array of output's shape, right to 8 eps times the largest of |raw|, 1 and total / s.

    Raises:
      TypeError, ValueError: as the budget itself.

    Example:
      >>> from bounded.sets import budget_softmax as forward
      >>> shares = forward(jnp.array([0.0, 1.0]), 3.0)
      >>> jnp.round(budget_softmax(shares, 3.0), 4).tolist()
      [0.0, 1.0]
    """
    return _budget_inverse(budgets.budget_softmax, _softmax, output, total, axis, equality, upper)


def budget_sequential(
    output: ArrayLike,
    total: ArrayLike,
    *,
    axis: int | Sequence[int] = -1,
    equality: bool = False,
    upper: ArrayLike | None = None,
) -> jax.Array:
    """Inverse of `sets.budget_sequential`: `raw = log(m) + log((y - l) / (h - y))`, one by one.

    m, l and h are as in the budget: the number of classes after an entry, and the least and the
    most that the entries before leave for it. Where l = h every raw gives the output, and this is
    0: where nothing is left, and with `equality` for the last entry.

    An entry at l gives -inf, one at h inf. Where the total is inf, `clip(y, 0, u)`. An output that
    is not in the budget to `2 n eps total`, with n entries, gives NaN in its set.

    Args:
      output: the wanted outputs y, any shape.
      total: the budget, of output's shape without `axis`, or what broadcasts to that.
      axis: along which the outputs share the total.
      equality: whether the sum is the total rather than at most it.
      upper: caps u of the single entries, broadcastable to output.

    Returns:
      An array of output's shape.

    Raises:
      TypeError, ValueError: as the budget itself.

    Example:
      >>> jnp.round(budget_sequential(jnp.array([1.0, 1.0]), 3.0), 4).tolist()
      [0.0, 0.0]
    """
    return _budget_inverse(
        budgets.budget_sequential, _sequential, output, total, axis, equality, upper
    )


def _budget_inverse(
    budget: Formula,
    formula: Formula,
    output: ArrayLike,
    total: ArrayLike,
    axis: int | Sequence[int],
    equality: bool,
    upper: ArrayLike | None,
) -> jax.Array:
    """What both share: arguments, which the budget itself checks, sets without a total, and NaN."""
    checked = jax.eval_shape(
        lambda: budget(output, total, axis=axis, equality=equality, upper=upper)
    )
    shape, wide = checked.shape, jnp.promote_types(checked.dtype, jnp.float32)
    axes = [one % len(shape) for one in ([axis] if isinstance(axis, int) else axis)]
    ends = range(-len(axes), 0)
    moved = [size for place, size in enumerate(shape) if place not in axes]
    count = int(np.prod([shape[place] for place in axes]))

    def as_sets(x: ArrayLike) -> jax.Array:
        x = jnp.broadcast_to(jnp.asarray(x, wide), shape)
        return jnp.moveaxis(x, axes, ends).reshape(*moved, count)

    y, cap = as_sets(output), as_sets(jnp.inf if upper is None else upper)
    total = jnp.broadcast_to(jnp.asarray(total, wide), moved)[..., None]
    total, cap = (_formulas.at_least(x, jnp.zeros_like(x)) for x in (total, cap))

    unlimited = jnp.isinf(total)
    finite = jnp.where(unlimited, 0, total)
    error = 2 * count * float(jnp.finfo(checked.dtype).eps) * finite
    spent = _sum(y)
    most = jnp.minimum(finite, _sum(cap))
    inside = jnp.all((y >= -error) & (y <= cap + error), -1, keepdims=True)
    inside &= (abs(spent - most) <= error) if equality else (spent <= most + error)
    raw = jnp.where(inside, formula(y, finite, cap, equality), jnp.nan)
    raw = jnp.where(unlimited, _formulas.clip(y, jnp.zeros_like(y), cap), raw)
    unknown = jnp.isnan(total) | jnp.any(jnp.isnan(y) | jnp.isnan(cap), -1, keepdims=True)
    raw = jnp.where(unknown, jnp.nan, raw).astype(checked.dtype)
    return jnp.moveaxis(raw.reshape(*moved, *[shape[place] for place in axes]), ends, axes)


def _softmax(y: jax.Array, total: jax.Array, cap: jax.Array, equality: bool) -> jax.Array:
    slack = jnp.broadcast_to(total if equality else total - _sum(y), y.shape)
    inside = (y > 0) & (y < cap) & (slack > 0)
    y_in, slack_in = jnp.where(inside, y, 1), jnp.where(inside, slack, 1)
    limited = inside & jnp.isfinite(cap)
    cap_in = jnp.where(limited, cap, 2)
    capped = log_ratio(cap_in, cap_in - jnp.where(limited, y, 1))
    raw = log_ratio(y_in, slack_in) + jnp.where(limited, capped, 0)
    at_bound = jnp.where(y > 0, jnp.inf, -jnp.inf)
    return jnp.where(inside, raw, jnp.where(total > 0, at_bound, 0))


def _sequential(y: jax.Array, total: jax.Array, cap: jax.Array, equality: bool) -> jax.Array:
    count = y.shape[-1]
    after = np.maximum(np.arange(count, 0, -1) - equality, 1)
    later = jnp.flip(jnp.cumsum(jnp.flip(cap, -1), -1), -1)
    later = jnp.concatenate([later[..., 1:], jnp.zeros_like(total)], axis=-1)

    def step(left: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.maximum(left - value, 0), left

    left = lax.scan(step, total[..., 0], jnp.moveaxis(y, -1, 0))[1]
    left = jnp.moveaxis(left, 0, -1)
    high = jnp.minimum(left, cap)
    low = jnp.clip(left - later, 0, high) if equality else jnp.zeros_like(high)
    inside = (y > low) & (y < high)
    share = log_ratio(jnp.where(inside, y - low, 1), jnp.where(inside, high - y, 1))
    at_bound = jnp.where(y >= high, jnp.inf, -jnp.inf)
    even = jnp.broadcast_to(jnp.log(jnp.asarray(after, y.dtype)), y.shape)
    found = jnp.where(inside, share + even, at_bound)
    return jnp.where(low < high, found, 0)


def _sum(x: jax.Array) -> jax.Array:
    return jnp.sum(x, axis=-1, keepdims=True)
