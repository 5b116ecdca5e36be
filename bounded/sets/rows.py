"""Rows of affine sets: what `bounded.sets.affine` takes, for sets that are met often.

A set is `Rows(matrix, upper, lower)`, all outputs y with `lower <= matrix @ y <= upper`, and is
handed over as `affine_projection(raw, *rows)`. An equality is a row with lower = upper. The
matrices hold small integers and a number is no array, so that both take the dtype they meet.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


class Rows(NamedTuple):
    """`lower <= matrix @ y <= upper`; -inf and +inf for a side without a bound."""

    matrix: jax.Array  # (..., m, n)
    upper: jax.Array  # (..., m)
    lower: jax.Array  # (..., m)


def stack_rows(*sets: Rows) -> Rows:
    """The intersection: the rows of every set, for outputs of one size n.

    Leading axes broadcast; where every matrix is (m, n), so is the stacked one.
    """
    if not sets or len({rows.matrix.shape[-1] for rows in sets}) > 1:
        sizes = [rows.matrix.shape[-1] for rows in sets]
        raise ValueError(
            f"stack_rows needs one or more sets of rows for outputs of one size, got {sizes}. "
            "Build each with the same number of outputs."
        )
    return Rows(
        _stack([rows.matrix for rows in sets], -2),
        _stack([rows.upper for rows in sets], -1),
        _stack([rows.lower for rows in sets], -1),
    )


def box_rows(lower: ArrayLike, upper: ArrayLike) -> Rows:
    """`lower <= y <= upper`, entry by entry.

    Args:
      lower: (..., n), or a scalar if upper is not; -inf for no bound.
      upper: (..., n), or a scalar if lower is not; inf for no bound.
    """
    lower, upper = _two_sides("box_rows", lower, upper)
    return Rows(jnp.eye(upper.shape[-1], dtype=jnp.int32), upper, lower)


def sum_rows(total: ArrayLike, size: int) -> Rows:
    """Conservation: `sum(y) = total`.

    Args:
      total: (...), without the axis of the outputs.
      size: n, how many outputs there are.
    """
    total = _floating(total)[..., None]
    return Rows(jnp.ones((1, size), jnp.int32), total, total)


def rate_rows(limit: ArrayLike) -> Rows:
    """Rate limits: `|y_t - y_(t-1)| <= limit_t`, from the second output on.

    Args:
      limit: (..., n - 1), nonnegative; inf for no limit.
    """
    limit = _floating(limit)
    if limit.ndim == 0:
        raise ValueError(
            "rate_rows needs limits of shape (..., n - 1), one a change, got a scalar. "
            "Spread it, for example jnp.full((n - 1,), limit)."
        )
    return Rows(_differences(limit.shape[-1] + 1), limit, -limit)


def monotone_rows(size: int, gap: float = 0.0) -> Rows:
    """A sequence that does not fall: `y_t - y_(t-1) >= gap`.

    Args:
      size: n, how many outputs there are.
      gap: by how much it rises at least; negative, by how much it may fall.
    """
    lower = jnp.full((size - 1,), gap)
    return Rows(_differences(size), jnp.full_like(lower, jnp.inf), lower)


def quantile_rows(levels: int, steps: int = 1) -> Rows:
    """Quantiles that do not cross: `y_(t,k) <= y_(t,k+1)`, from the lowest level to the highest.

    Args:
      levels: how many quantiles a step has.
      steps: how many steps the outputs hold, flattened as (steps, levels).
    """
    matrix = jnp.kron(jnp.eye(steps, dtype=jnp.int32), _differences(levels))
    lower = jnp.full((matrix.shape[0],), 0.0)
    return Rows(matrix, jnp.full_like(lower, jnp.inf), lower)


def _differences(size: int) -> jax.Array:
    return jnp.eye(size - 1, size, 1, dtype=jnp.int32) - jnp.eye(size - 1, size, dtype=jnp.int32)


def _floating(value: ArrayLike) -> jax.Array:
    value = jnp.asarray(value)
    return value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(float)


def _two_sides(name: str, lower: ArrayLike, upper: ArrayLike) -> tuple[jax.Array, jax.Array]:
    lower, upper = _floating(lower), _floating(upper)
    shape = jnp.broadcast_shapes(lower.shape, upper.shape)
    if not shape:
        raise ValueError(
            f"{name} needs bounds of shape (..., n), got two scalars. "
            "Spread one, for example jnp.full((n,), upper)."
        )
    return jnp.broadcast_to(lower, shape), jnp.broadcast_to(upper, shape)


def _stack(parts: list[jax.Array], axis: int) -> jax.Array:
    fixed = -axis
    leading = jnp.broadcast_shapes(*(part.shape[:-fixed] for part in parts))
    return jnp.concatenate(
        [jnp.broadcast_to(part, (*leading, *part.shape[-fixed:])) for part in parts], axis
    )
