"""Affine sets that may be empty for some inputs: rows that give way, at a price.

What is said in `bounded.sets.affine` of `raw`, rows, dtypes, NaN and errors holds here as well.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from bounded import _arguments
from bounded.sets import _active_set
from bounded.sets._problem import prepare
from bounded.sets.rows import Rows


def affine_elastic(
    raw: ArrayLike, rows: Rows, *, penalty: ArrayLike, steps: int | None = None
) -> jax.Array:
    """The y that minimises `½ |y - raw|² + Σ_i (penalty_i v_i + ½ v_i²)`, with v_i the distance of
    row i, taken at unit norm, outside its interval.

    **Where the set is not empty and the penalty is large enough, it is `affine_projection`**: as
    soon as no row's multiplier in the projection is above its penalty. With one active row that is
    the distance from raw to the set; with more, at most that distance over the smallest singular
    value of the active rows at unit norm. Otherwise rows give way, those first that cost most
    distance to keep: of an empty set the output is a compromise between the rows that contradict
    each other, from all of them the nearer to the least sum of violations the larger the penalty
    is. `affine_excess` tells by how much each row is violated. A row that is kept is held to its
    own rounding, however large its penalty.

    Derivative to raw, W the rows that are held: symmetric, dead along each of them; a row that
    gives way is not dead, but halves the derivative along itself. So an empty set teaches the
    network, and so do its bounds and matrix. To the penalty: of a row that is held 0. Of an
    equality: held, unless the penalty is too small for it.

    Cost: O(m² + m n) a step and set, as of `affine_projection` with n + 2m outputs and 3m rows; a
    row that gives way is a step more. Where sets are never empty, that is the one to take.

    The elastic mode of SQOPT (Gill, Murray and Saunders) and of qpax (Tracy and Manchester, 2024)
    has the penalty's linear part alone, under which rows that contradict each other may share the
    violation in many ways; with the squares there is one, and the solver is that of the projection.

    Args:
      raw: the network's last linear output z, (..., n).
      rows: the set, m rows; it may be empty.
      penalty: positive, a number or (..., m): the price of a row's violation, in units of raw.
      steps: at most so many, as in `affine_projection`; by default `30 m`.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import Rows, affine_elastic
      >>> both = Rows(jnp.ones((2, 1)), lower=jnp.array([1.0, -jnp.inf]),
      ...             upper=jnp.array([jnp.inf, -1.0]))  # y >= 1 and y <= -1
      >>> print(affine_elastic(jnp.array([1.5]), both, penalty=10.0).round(4))
      [0.5]
      >>> print(affine_elastic(jnp.array([3.0]), Rows(jnp.ones((1, 1)), upper=1.0), penalty=10.0))
      [1.]
    """
    problem = prepare("affine_elastic", raw, rows)
    matrix, lower, upper = problem.at_unit_norm()  # whose norms have no derivative, for sets
    square = jnp.sum(matrix**2, axis=-1)
    length = jnp.sqrt(jnp.where(square == 0, 1, square))
    spread = jnp.broadcast_to(length, lower.shape)
    matrix = matrix / length[..., None]
    lower, upper = (  # whose infinities have no derivative to the length
        jnp.where(jnp.isinf(bound), bound, jnp.where(jnp.isinf(bound), 0, bound) / spread)
        for bound in (lower, upper)
    )
    price = problem.scale * _arguments.positive("penalty", penalty, lower)
    count = matrix.shape[-2]
    if count == 0:
        return problem.finish(problem.raw)
    # Two more outputs a row, at least 0: how far it may be above its interval, and below.
    none, norm = 0 * matrix, 3**0.5  # laid out on a mesh as the rows are
    eye = jnp.eye(count, dtype=matrix.dtype).reshape(*(1,) * (matrix.ndim - 2), count, count)
    eye = jnp.sum(none, axis=-1, keepdims=True) + eye
    with_slack = jnp.concatenate([matrix, -eye, eye], axis=-1) / norm
    over = jnp.concatenate([none, eye, 0 * eye], axis=-1)
    under = jnp.concatenate([none, 0 * eye, eye], axis=-1)
    zero = 0 * price
    solution = _active_set.project(
        jnp.concatenate([problem.raw, -price, -price], axis=-1),
        jnp.concatenate([with_slack, over, under], axis=-2),
        jnp.concatenate([lower / norm, zero, zero], axis=-1),
        jnp.concatenate([upper / norm, zero + jnp.inf, zero + jnp.inf], axis=-1),
        30 * count if steps is None else steps,
        2 * count,
    )
    return problem.finish(solution.output[..., : problem.raw.shape[-1]])
