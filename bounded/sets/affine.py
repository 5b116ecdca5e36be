"""Affine sets that depend on the input: `lower <= matrix @ output <= upper`, row by row.

Every function here takes `(raw, matrix, upper, lower=None, *, equality_matrix=None,
equality_value=None)`. What they share:

* `raw` is floating point, (..., n); `matrix` is (..., m, n), `upper` and `lower` are (..., m) or
  broadcast to it, `equality_matrix` is (..., p, n) and `equality_value` (..., p). Leading axes
  broadcast against raw's; a matrix without them is shared, which is faster. `bounded.sets.Rows`,
  unpacked, stands for matrix, upper and lower.
* `upper` and `lower` of None, and ±inf in them, mean "no such row"; lower = upper is an equality,
  as are the rows of `equality_matrix`. `lower > upper` in a row: the upper bound wins.
* A function that takes an `interior` point, (..., n), moves its output towards that point by the
  least factor after which **every inequality holds as computed, in any order of summation**: by a
  margin of `(2n + 8) eps (|matrix| @ (|output - interior| + |interior|) + |bound|)`, eps that of
  the output's dtype. Where the interior point is not inside by that margin in a row that comes
  closer, the output is the interior point itself. Equalities hold to rounding, where they hold
  for the interior point. All this as long as no product of entries overflows or underflows.
* The half precisions compute in float32, and round at the end.
* NaN in raw, or in what belongs to it, gives NaN in all its outputs and nowhere else.
* Derivatives are to raw, to the matrices and to the bounds, forward and backward, of any order;
  none to the choice of rows that are active. The margin has none: the derivative is that of the
  output before the last rounding.

Errors: `TypeError` for a raw that is not floating point; `ValueError` for shapes that do not fit,
an equality of which one half is missing, and a set without a bound.

Small dense systems are solved by `jnp.linalg`. `lineax` and `optimistix` have no quadratic
programs with inequalities, `optax.projections` has sets of one constant row or none, and the
derivative of `jax.lax.custom_root` needs the system that is written out here in any case.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from bounded import _formulas
from bounded.sets import _active_set
from bounded.sets._active_set import EXACT, product, transpose
from bounded.sets._problem import prepare


def affine_hardnet(
    raw: ArrayLike,
    matrix: ArrayLike,
    upper: ArrayLike | None = None,
    lower: ArrayLike | None = None,
    *,
    equality_matrix: ArrayLike | None = None,
    equality_value: ArrayLike | None = None,
    interior: ArrayLike | None = None,
) -> jax.Array:
    """HardNet's closed form: `z - A⁺ (relu(A z - u) - relu(l - A z))`, with `A⁺ = Aᵀ (A Aᵀ)⁻¹`.

    Each row's value is clipped, `A output = min(max(A z, l), u)`, by the least change that leaves
    the other rows' values as they were. **A must have full row rank**, equalities among its rows:
    m + p <= n is checked, independence is not, and without it the output is NaN or breaks rows
    (those without a bound apart). Where A has it, rows hold to a multiple of
    `n eps cond(A Aᵀ) |z|`, and with `interior` as above. With one row it is the Euclidean
    projection, with more it is not.

    Derivative to raw: `I - A⁺ D A`, with D 1 at the rows outside and at equalities; it is dead
    along `A⁺ e_i` of each such row i, its rank n less their number.

    HardNet-Aff (Min and Azizan, 2024, "HardNet: hard-constrained neural networks").

    Args:
      raw: the network's last linear output z, (..., n).
      matrix: A, (..., m, n).
      upper: u, (..., m).
      lower: l, (..., m).
      equality_matrix: further rows of A, (..., p, n), with l = u = `equality_value`.
      equality_value: (..., p).
      interior: a point inside, (..., n), towards which to repair what rounding breaks.
    """
    problem = prepare(
        "affine_hardnet", raw, matrix, upper, lower, equality_matrix, equality_value, interior
    )
    rows, size = problem.matrix.shape[-2:]
    if rows > size:
        raise ValueError(
            f"affine_hardnet needs rows of full rank, at most as many as outputs, but was given "
            f"{rows} rows for {size} outputs. Use affine_projection or affine_radial."
        )
    matrix, lower, upper = problem.at_unit_norm()
    exists = ~(jnp.isinf(lower) & jnp.isinf(upper))
    both = exists[..., :, None] & exists[..., None, :]
    gram = jnp.matmul(matrix, transpose(matrix), precision=EXACT)
    gram, eye = (jnp.broadcast_to(x, both.shape) for x in (gram, jnp.eye(rows, dtype=gram.dtype)))
    factor = jnp.linalg.cholesky(jnp.where(both, gram, eye))
    clipped = _formulas.clip(product(matrix, problem.raw), lower, upper)
    target = jnp.where(lower == upper, upper, clipped)  # an equality never lets raw through

    def moved(output: jax.Array) -> jax.Array:
        missing = jnp.where(exists, target - product(matrix, output), 0)
        solved = jax.scipy.linalg.cho_solve((factor, True), missing[..., None])[..., 0]
        return output + product(transpose(matrix), solved)

    output = moved(moved(problem.raw))  # again, for the digits that the first has lost
    return problem.finish(output)


def affine_projection(
    raw: ArrayLike,
    matrix: ArrayLike,
    upper: ArrayLike | None = None,
    lower: ArrayLike | None = None,
    *,
    equality_matrix: ArrayLike | None = None,
    equality_value: ArrayLike | None = None,
    interior: ArrayLike | None = None,
    steps: int | None = None,
) -> jax.Array:
    """Euclidean projection onto the set: the y that is nearest to raw among those inside.

    By a dual active-set method, exact but for rounding; redundant, parallel and repeated rows and
    sets without an interior are no matter. Rows hold to a multiple of `n eps (|z| + |output|)`,
    for well-conditioned active rows, and with `interior` as above. Of an empty set the result
    meets a part of the rows; `affine_projection_with_residual` tells.

    Derivative to raw, with W the active rows (those with a multiplier other than 0, and
    equalities): `I - W⁺ W`, symmetric, dead along each active row and nowhere else, its rank n less
    the number of independent active rows: in a vertex it is 0. Raw on a bound is not active, as
    in `clip`. Derivative to an active bound: its column of W⁺, to the others 0; of active rows that
    depend on each other, one independent choice has it. Implicit: of the equations that hold at
    the solution, not through the steps.

    OptNet (Amos and Kolter, 2017) differentiates quadratic programs so; Π-net (Grontas et al.,
    2025) is such a layer by Douglas-Rachford splitting.

    Args:
      raw: the network's last linear output z, (..., n).
      matrix: (..., m, n).
      upper: (..., m).
      lower: (..., m).
      equality_matrix: (..., p, n).
      equality_value: (..., p).
      interior: a point inside, (..., n), towards which to repair what rounding breaks.
      steps: at most so many, one for each row that becomes or ceases to be active; by default
        `10 (m + p)`, many more than are needed: what is done ends early.
    """
    problem = prepare(
        "affine_projection", raw, matrix, upper, lower, equality_matrix, equality_value, interior
    )
    return problem.finish(problem.solve(steps).output)


def affine_projection_with_residual(
    raw: ArrayLike,
    matrix: ArrayLike,
    upper: ArrayLike | None = None,
    lower: ArrayLike | None = None,
    *,
    equality_matrix: ArrayLike | None = None,
    equality_value: ArrayLike | None = None,
    interior: ArrayLike | None = None,
    steps: int | None = None,
) -> tuple[jax.Array, jax.Array]:
    """`affine_projection`, and how far it was from solved.

    Returns:
      The output, and the residual, (...): the largest distance of a row, taken at unit norm, from
      its interval, or if active from its bound, before the repair. The output before the repair is
      the exact projection onto the set whose bounds are moved by no more than that. Rounding
      apart it is 0, unless the set is empty or the steps ran out. It has no derivative.
    """
    problem = prepare(
        "affine_projection_with_residual",
        raw,
        matrix,
        upper,
        lower,
        equality_matrix,
        equality_value,
        interior,
    )
    solution = problem.solve(steps)
    return problem.finish(solution.output), solution.residual.astype(problem.dtype)


def affine_radial(
    raw: ArrayLike,
    matrix: ArrayLike,
    upper: ArrayLike | None = None,
    lower: ArrayLike | None = None,
    *,
    interior: ArrayLike,
    equality_matrix: ArrayLike | None = None,
    equality_value: ArrayLike | None = None,
) -> jax.Array:
    """Raw itself inside; outside, where the ray from the interior point to raw leaves the set.

    `z0 + min(1, 1 / g(z - z0)) (z - z0)`, with z0 the interior point and g the gauge of the set
    about it, `g(v) = max_i (A v)_i / (u - A z0)_i`. Where there are equalities, z - z0 is first
    projected onto the directions that keep them. Feasible by construction, as above. The
    interior point may depend on the input, and is learnt from as raw is.

    Derivative to raw: I inside; outside, dead along the ray and, in the dtype, where the row that
    is met has no slack at z0 (then all of it); its rank is n - 1 however many rows are broken.
    It jumps where the ray meets another row, and on the boundary, from which raw moves back
    inside freely. Equalities are dead as well, each along its row.

    RAYEN (Tordesillas, How and Hutter, 2023), there for constant sets.

    Args:
      raw: the network's last linear output z, (..., n).
      matrix: A, (..., m, n).
      upper: u, (..., m).
      lower: (..., m).
      interior: z0, (..., n): inside every inequality, and on every equality.
      equality_matrix: (..., p, n).
      equality_value: (..., p).
    """
    problem = prepare(
        "affine_radial", raw, matrix, upper, lower, equality_matrix, equality_value, interior
    )
    start = jnp.broadcast_to(jnp.asarray(interior, problem.raw.dtype), problem.raw.shape)
    point = problem.raw
    if lower is not None or equality_matrix is not None:  # else no row is an equality
        matrix, low, high = problem.at_unit_norm()
        free = jnp.where(low == high, 0, jnp.inf)
        along = _active_set.project(point - start, matrix, -free, free, matrix.shape[-2]).output
        point = start + along
    return problem.towards(start, point).astype(problem.dtype)


def affine_excess(
    output: ArrayLike,
    matrix: ArrayLike,
    upper: ArrayLike | None = None,
    lower: ArrayLike | None = None,
    *,
    equality_matrix: ArrayLike | None = None,
    equality_value: ArrayLike | None = None,
) -> jax.Array:
    """Distance of each row's value outside its interval, 0 inside: what a row is violated by.

    Args:
      output: (..., n).
      matrix: (..., m, n).
      upper: (..., m).
      lower: (..., m).
      equality_matrix: (..., p, n).
      equality_value: (..., p).

    Returns:
      (..., m + p), in each row's own units, equalities last; 0 for a row without a bound.
    """
    problem = prepare(
        "affine_excess", output, matrix, upper, lower, equality_matrix, equality_value, None
    )
    place = product(problem.matrix, problem.raw)
    outside = jnp.maximum(place - problem.upper, problem.lower - place)
    return jax.nn.relu(outside).astype(problem.dtype)
