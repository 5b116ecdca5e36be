"""Rows of affine sets: what `bounded.sets.affine` takes, for sets that are met often.

A set is `Rows(matrix, lower, upper)`, all outputs y with `lower <= matrix @ y <= upper`, and is
handed over whole: `affine_projection(raw, rows)`. An equality is a row with lower = upper. The
matrices hold small integers; they and plain numbers take the dtype they meet.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from bounded.sets._inputs import array, broadcasts, known


class Rows(NamedTuple):
    """`lower <= matrix @ y <= upper`; -inf and inf, or None, for a side without a bound.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import Rows, affine_projection
      >>> rows = Rows(jnp.array([[1.0, 1.0]]), lower=0.0, upper=3.0)
      >>> print(affine_projection(jnp.array([3.0, 1.0]), rows).round(4))
      [2.5 0.5]
    """

    matrix: ArrayLike  # (..., m, n)
    lower: ArrayLike | None = None  # (..., m), or a number for all rows
    upper: ArrayLike | None = None  # (..., m), or a number for all rows


def stack_rows(*sets: Rows) -> Rows:
    """The intersection: the rows of every set, for outputs of one size n.

    Leading axes broadcast; where every matrix is (m, n), so is the stacked one.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import affine_projection, box_rows, stack_rows, sum_rows
      >>> rows = stack_rows(box_rows(0.0, jnp.full(3, 1.5)), sum_rows(2.0, size=3))
      >>> print(affine_projection(jnp.array([3.0, 0.5, 0.25]), rows).round(4))
      [1.5   0.375 0.125]
    """
    for rows in sets:
        check_rows("stack_rows", rows)
    matrices = [array("stack_rows", "a matrix", rows.matrix) for rows in sets]
    sizes = [matrix.shape[-1] for matrix in matrices]
    if len(set(sizes)) != 1:
        raise ValueError(
            f"stack_rows needs one or more sets of rows for outputs of one size, got {sizes}. "
            "Build each with the same number of outputs."
        )
    lowers, uppers = (
        [side("stack_rows", which, rows) for rows in sets] for which in ("lower", "upper")
    )
    return Rows(_stack(matrices, -2), lower=_stack(lowers, -1), upper=_stack(uppers, -1))


def box_rows(lower: ArrayLike, upper: ArrayLike) -> Rows:
    """`lower <= y <= upper`, entry by entry.

    Args:
      lower: (..., n), or a scalar if upper is not; -inf for no bound.
      upper: (..., n), or a scalar if lower is not; inf for no bound.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import affine_projection, box_rows
      >>> print(affine_projection(jnp.array([-1.0, 3.0]), box_rows(0.0, jnp.array([1.0, 2.0]))))
      [0. 2.]
    """
    lower, upper = _floating("box_rows", "lower", lower), _floating("box_rows", "upper", upper)
    shape = jnp.broadcast_shapes(lower.shape, upper.shape)
    if not shape:
        raise ValueError(
            "box_rows needs bounds of shape (..., n), got two scalars. "
            "Spread one, for example jnp.full((n,), upper)."
        )
    return Rows(
        _integers(np.eye(shape[-1])),
        lower=jnp.broadcast_to(lower, shape),
        upper=jnp.broadcast_to(upper, shape),
    )


def sum_rows(total: ArrayLike, *, size: int) -> Rows:
    """Conservation: `sum(y) = total`.

    Args:
      total: (...), without the axis of the outputs.
      size: n, how many outputs there are.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import affine_projection, sum_rows
      >>> print(affine_projection(jnp.array([3.0, 1.0]), sum_rows(3.0, size=2)).round(4))
      [2.5 0.5]
    """
    total = _floating("sum_rows", "total", total)[..., None]
    return Rows(_integers(np.ones((1, size))), lower=total, upper=total)


def rate_rows(limit: ArrayLike) -> Rows:
    """Rate limits: `|y_t - y_(t-1)| <= limit_t`, from the second output on.

    Args:
      limit: (..., n - 1), nonnegative; inf for no limit.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import affine_projection, rate_rows
      >>> print(affine_projection(jnp.array([0.0, 3.0]), rate_rows(jnp.array([1.0]))).round(4))
      [1. 2.]
    """
    limit = _floating("rate_rows", "limit", limit)
    if limit.ndim == 0:
        raise ValueError(
            "rate_rows needs limits of shape (..., n - 1), one a change, got a scalar. "
            "Spread it, for example jnp.full((n - 1,), limit)."
        )
    return Rows(_integers(_differences(limit.shape[-1] + 1)), lower=-limit, upper=limit)


def monotone_rows(size: int, *, gap: float = 0.0) -> Rows:
    """A sequence that does not fall: `y_t - y_(t-1) >= gap`.

    Args:
      size: n, how many outputs there are; one has no rows.
      gap: by how much it rises at least; negative, by how much it may fall.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import affine_projection, monotone_rows
      >>> print(affine_projection(jnp.array([3.0, 1.0, 4.0]), monotone_rows(3)).round(4))
      [2. 2. 4.]
    """
    return _rising(_differences(size), gap)


def quantile_rows(levels: int, *, steps: int = 1) -> Rows:
    """Quantiles that do not cross: `y_(t,k) <= y_(t,k+1)`, from the lowest level to the highest.

    Args:
      levels: how many quantiles a step has.
      steps: how many steps the outputs hold, flattened as (steps, levels).

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import affine_projection, quantile_rows
      >>> crossed = jnp.array([0.0, 2.0, 1.0, 1.0, 2.0, 3.0])
      >>> print(affine_projection(crossed, quantile_rows(3, steps=2)).round(4))
      [0.  1.5 1.5 1.  2.  3. ]
    """
    return _rising(np.kron(np.eye(steps), _differences(levels)), 0.0)


def hierarchy_rows(
    summing: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> Rows:
    """A hierarchy of series: every output is the sum of those at the bottom that `summing` tells.

    The outputs are all nodes, sums and bottom series, in the order of the rows of `summing`. One
    equality for each sum, `y_i = summing_i @ y_bottom`, and the bounds of all nodes, if given.

    Args:
      summing: (n, k), of -1, 0 and 1: what each of the n outputs is of the k bottom series. A row
        with a single 1 is that bottom series; of several such rows the last, and the others are
        sums. It must be known when a function is traced.
      lower: (..., n), or a number for all nodes: 0 for outputs that cannot be negative.
      upper: (..., n), or a number for all nodes.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import affine_projection, hierarchy_rows
      >>> summing = [[1, 1], [1, 0], [0, 1]]  # a plant of two turbines
      >>> rows = hierarchy_rows(summing, lower=0.0)
      >>> forecasts = jnp.array([10.0, 7.0, 6.0])
      >>> print(affine_projection(forecasts, rows).round(4))
      [11.  6.  5.]
      >>> trusted = jnp.array([1.0, 1.0, 1e6])  # the second turbine's forecast hardly errs
      >>> print(affine_projection(forecasts, rows, weights=trusted).round(4))
      [11.5  5.5  6. ]
    """
    matrix = _summing(summing)
    count = len(matrix)
    alone = (np.abs(matrix).sum(-1, keepdims=True) == 1) & (matrix == 1)
    missing = np.flatnonzero(~alone.any(0))
    if missing.size:
        raise ValueError(
            f"hierarchy_rows needs a row with a single 1 for each bottom series, but column "
            f"{missing[0]} of summing has none. Stack the identity below the sums."
        )
    bottom = count - 1 - np.argmax(alone[::-1], axis=0)
    sums = np.setdiff1d(np.arange(count), bottom)
    equalities = np.eye(count)[sums] - matrix[sums] @ np.eye(count)[bottom]
    rows = Rows(_integers(equalities), lower=0.0, upper=0.0)
    if lower is None and upper is None:
        return rows
    lower, upper = (
        jnp.full(count, without) if bound is None else _floating("hierarchy_rows", which, bound)
        for which, bound, without in (("lower", lower, -np.inf), ("upper", upper, np.inf))
    )
    for which, bound in (("lower", lower), ("upper", upper)):
        if bound.shape[-1:] not in ((), (1,), (count,)):
            raise ValueError(
                f"hierarchy_rows needs {which} of shape (..., {count}), an entry for each row of "
                f"summing, or a number, got {bound.shape}."
            )
    return stack_rows(rows, Rows(_integers(np.eye(count)), lower=lower, upper=upper))


def _summing(summing: ArrayLike) -> np.ndarray:
    if not known(summing):
        raise TypeError(
            "hierarchy_rows needs a summing matrix that is known, got one that is traced. Build "
            "the rows outside of the function, or close over the matrix."
        )
    matrix = np.asarray(array("hierarchy_rows", "summing", summing))
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(
            "hierarchy_rows needs a summing matrix of shape (outputs, bottom series), got "
            f"{matrix.shape}."
        )
    strange = ~np.isin(matrix, (-1, 0, 1))
    if strange.any():
        raise ValueError(
            f"hierarchy_rows needs a summing matrix of -1, 0 and 1, got {matrix[strange][0]}. For "
            "other equalities give Rows(matrix, lower=0.0, upper=0.0)."
        )
    return matrix.astype(float)


def check_rows(name: str, rows: Rows) -> None:
    if not isinstance(rows, Rows):
        raise TypeError(
            f"{name} needs rows as a Rows(matrix, lower=..., upper=...), got "
            f"{type(rows).__name__}. Put matrix and bounds into bounded.sets.Rows, or take rows "
            "from box_rows, sum_rows, rate_rows, monotone_rows, quantile_rows, hierarchy_rows or "
            "stack_rows."
        )


def side(name: str, which: str, rows: Rows) -> jax.Array:
    """The lower or upper bounds as (..., m), an entry for each row; infinite if there are none."""
    bound = rows.lower if which == "lower" else rows.upper
    if bound is None:
        bound = -jnp.inf if which == "lower" else jnp.inf
    bound, shape = _floating(name, f"rows.{which}", bound), jnp.shape(rows.matrix)
    if not broadcasts(bound.shape[-1:], shape[-2:-1]):
        raise ValueError(
            f"{name} needs {which} of shape (..., {shape[-2]}), an entry for each row of a "
            f"matrix of shape {shape}, got {bound.shape}."
        )
    return jnp.broadcast_to(bound, (*bound.shape[:-1], shape[-2]))


def _rising(matrix: np.ndarray, gap: float) -> Rows:
    lower = jnp.broadcast_to(_floating("monotone_rows", "gap", gap), matrix.shape[:1])
    return Rows(_integers(matrix), lower=lower, upper=jnp.full_like(lower, jnp.inf))


def _differences(size: int) -> np.ndarray:
    if size < 1:
        raise ValueError(f"Rows need one output or more, got {size}.")
    return np.eye(size - 1, size, 1) - np.eye(size - 1, size)


def _integers(matrix: np.ndarray) -> jax.Array:
    """-1, 0 and 1, weakly typed as a plain number is."""
    return jnp.where(matrix > 0, 1, jnp.where(matrix < 0, -1, 0))


def _floating(name: str, argument: str, value: ArrayLike) -> jax.Array:
    value = array(name, argument, value)
    return value if jnp.issubdtype(value.dtype, jnp.floating) else value * 1.0


def _stack(parts: list[jax.Array], axis: int) -> jax.Array:
    fixed = -axis
    leading = jnp.broadcast_shapes(*(part.shape[:-fixed] for part in parts))
    return jnp.concatenate(
        [jnp.broadcast_to(part, (*leading, *part.shape[-fixed:])) for part in parts], axis
    )
