"""Affine sets that depend on the input: `lower <= matrix @ output <= upper`, row by row.

Every function here takes `(raw, rows, *, …)` with `rows: Rows(matrix, lower, upper)`. What they
share:

* `raw` is floating point, (..., n); the rows' `matrix` is (..., m, n), `lower` and `upper` are
  (..., m) or one number for all. Their leading axes broadcast to raw's; a matrix without them is
  shared, which is faster. `bounded.sets.rows` builds rows that are met often, and stacks them.
* `lower` or `upper` of None, and ±inf in them, mean "no such bound"; lower = upper is an equality.
  Without rows the output is raw.
* A function that takes an `interior` point, (..., n), moves its output towards that point by the
  least factor after which **every inequality holds as computed, in any order of summation**: by a
  margin of `(2n + 8) eps (|matrix| @ (|output - interior| + |interior|) + |bound|)`, eps that of
  the output's dtype. Where the interior point is not inside by that margin in a row that comes
  closer, the output is the interior point itself. Equalities hold to rounding, where they hold
  for the interior point. All this as long as no product of entries overflows or underflows.
* "To rounding" is said row by row: row i holds to
  `(2n + 8) eps (|matrix| @ (|output| + eps |raw|) + |bound|)_i`, its own terms alone, so that a
  large output does not loosen a row that it has no part in.
* The half precisions compute in float32, and round at the end.
* NaN in raw, or in what belongs to it, gives NaN in all its outputs and nowhere else, and
  derivatives of 0.
* Derivatives are to raw, to the matrices and to the bounds, forward and backward, of any order;
  none to the choice of rows that are active. The margin has none: the derivative is that of the
  output before the last rounding.

Errors: `TypeError` for a raw that is not floating point, rows that are not `Rows`, masked arrays,
and steps that are no whole number; `ValueError` for shapes that do not fit, negative steps, a set
without a bound, and a row of which known bounds are crossed, lower > upper (where they are traced,
the upper bound wins).

Small dense systems are solved by our own code; `bounded.sets._linear` says why. `lineax` and
`optimistix` have no quadratic programs with inequalities, `optax.projections` has sets of one
constant row or none, and the derivative of `jax.lax.custom_root` needs the system that is written
out here in any case.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from bounded import _formulas
from bounded.sets._inputs import check_steps
from bounded.sets._linear import EXACT, product, solver, transpose
from bounded.sets._problem import from_interior, prepare
from bounded.sets._rounding import in_place_of
from bounded.sets.rows import Rows


def affine_hardnet(raw: ArrayLike, rows: Rows, *, interior: ArrayLike | None = None) -> jax.Array:
    """HardNet's closed form: `z - A⁺ (relu(A z - u) - relu(l - A z))`, with `A⁺ = Aᵀ (A Aᵀ)⁻¹`.

    Each row's value is clipped, `A output = min(max(A z, l), u)`, by the least change that leaves
    the other rows' values as they were. **A must have full row rank**: m <= n is checked,
    independence is not, and a row that depends on those before it, or is at an angle to them of
    less than `sqrt((m + 8) eps)`, is left as it is. Well-conditioned rows hold to rounding, each in
    its own scale, and with `interior` as above. With one row it is the Euclidean projection, with
    more it is not.

    Derivative to raw: `I - A⁺ D A`, with D 1 at the rows outside and at equalities; it is dead
    along `A⁺ e_i` of each such row i, its rank n less their number.

    Cost: O(m² n) once for a shared matrix, else for each set, and O(m³ + m n) a set.

    HardNet-Aff (Min and Azizan, 2024, "HardNet: hard-constrained neural networks").

    Args:
      raw: the network's last linear output z, (..., n).
      rows: A, l and u, m rows.
      interior: a point inside, (..., n), towards which to repair what rounding breaks.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import Rows, affine_hardnet
      >>> rows = Rows(jnp.array([[1.0, 1.0, 0.0]]), lower=0.0, upper=2.0)
      >>> print(affine_hardnet(jnp.array([3.0, 1.0, 5.0]), rows).round(4))
      [2. 0. 5.]
    """
    problem = prepare("affine_hardnet", raw, rows, interior)
    count, size = problem.matrix.shape[-2:]
    if count > size:
        raise ValueError(
            f"affine_hardnet needs rows of full rank, at most as many as outputs, but was given "
            f"{count} rows for {size} outputs. Use affine_projection or affine_radial."
        )
    if count == 0:
        return problem.finish(problem.raw)
    matrix, lower, upper = problem.at_unit_norm()
    exists = ~(jnp.isinf(lower) & jnp.isinf(upper))
    both = exists[..., :, None] & exists[..., None, :]
    gram = jnp.matmul(matrix, transpose(matrix), precision=EXACT)
    gram, eye = (
        x.reshape((1,) * (both.ndim - x.ndim) + x.shape)
        for x in (gram, jnp.eye(count, dtype=gram.dtype))
    )
    both = both.astype(gram.dtype)
    gram = both * gram + (1 - both) * eye
    clipped = _formulas.clip(product(matrix, problem.raw), lower, upper)
    target = jnp.where(lower == upper, upper, clipped)  # an equality never lets raw through

    def missing(output: jax.Array) -> jax.Array:
        return jnp.where(exists, target - product(matrix, output), 0)

    solve = solver(gram)

    def moved(output: jax.Array, by: jax.Array) -> jax.Array:
        return output + product(transpose(matrix), solve(by))

    output = moved(problem.raw, missing(problem.raw))
    output = better = moved(output, missing(output))  # for the digits that the first has lost
    noise = 4 * float(jnp.finfo(output.dtype).eps) * jnp.abs(matrix)
    for _ in range(2):  # for those of the rows that are small beside others
        off = missing(better)
        off = jnp.where(jnp.abs(off) > product(noise, jnp.abs(better)), off, 0)
        better = moved(better, off)
    return problem.finish(problem.repaired(in_place_of(output, better)))


def affine_projection(
    raw: ArrayLike,
    rows: Rows,
    *,
    weights: ArrayLike | None = None,
    interior: ArrayLike | None = None,
    steps: int | None = None,
) -> jax.Array:
    """Projection onto the set: the y that is nearest to raw among those inside.

    Nearest by `‖y - z‖²`, or with weights W by `(y - z)ᵀ W (y - z)`: **the heavier an output, the
    less it moves**. Weights are the inverse of the covariance of raw's errors, not the covariance:
    with those of a hierarchy's base forecasts and `hierarchy_rows`, this is MinT reconciliation,
    under bounds too.

    By a dual active-set method, exact but for rounding; redundant, parallel and repeated rows and
    sets without an interior are no matter. Rows hold to rounding, each in its own scale, where the
    active ones are well-conditioned, and weights that are a matrix too; inequalities exactly with
    `interior`, as above. Of an empty set the result meets a part of the rows;
    `affine_projection_with_residual` tells.

    Derivative to raw, with W the active rows (those with a multiplier other than 0, and
    equalities): `I - W⁺ W`, symmetric, dead along each active row and nowhere else, its rank n less
    the number of independent active rows: in a vertex it is 0. Raw on a bound is not active, as
    in `clip`. Derivative to an active bound: its column of W⁺, to the others 0; of active rows that
    depend on each other, one independent choice has it. With weights W⁺ is `M Wᵀ (W M Wᵀ)⁻¹`, M
    the inverse of the weights, of the same rank; they have a derivative themselves. Implicit: of
    the equations that hold at the solution, not through the steps.

    Cost: `O(m (m + n))` a step and set, of which there are little more than active inequalities
    (equalities that all sets have in the same rows are taken together), and once `O(m² n + m³)`,
    for all sets together where the matrix and the weights are shared; `O(n³)` and
    `O(m n²)` more where weights are a matrix. Memory `O(m² + m n)` a set.

    OptNet (Amos and Kolter, 2017) differentiates quadratic programs so; Π-net (Grontas et al.,
    2025) is such a layer by Douglas-Rachford splitting. MinT: Wickramasuriya, Athanasopoulos and
    Hyndman (2019, "Optimal forecast reconciliation for hierarchical and grouped time series through
    trace minimization"), which R's FoReco has with bounds.

    Args:
      raw: the network's last linear output z, (..., n).
      rows: the set, m rows.
      weights: positive, (..., n), those of the single outputs; or a positive definite matrix,
        (..., n, n), with an axis for each of raw's where it could be taken for the former.
      interior: a point inside, (..., n), towards which to repair what rounding breaks.
      steps: at most so many, one for each row that becomes or ceases to be active (not for
        equalities that all sets have) and a few to round better; by default `10 m`, many more than
        are needed: what is done ends early.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import affine_projection, box_rows, stack_rows, sum_rows
      >>> rows = stack_rows(box_rows(0.0, jnp.full(3, 1.5)), sum_rows(2.0, size=3))
      >>> print(affine_projection(jnp.array([3.0, 1.0, 0.5]), rows).round(4))
      [1.5 0.5 0. ]
    """
    return _projection("affine_projection", raw, rows, weights, interior, steps)[0]


def affine_projection_with_residual(
    raw: ArrayLike,
    rows: Rows,
    *,
    weights: ArrayLike | None = None,
    interior: ArrayLike | None = None,
    steps: int | None = None,
) -> tuple[jax.Array, jax.Array]:
    """`affine_projection`, and how far it was from solved.

    Cost: as of `affine_projection`, O(m (m + n)) a step and set: the residual is at hand there.

    Args:
      raw, rows, weights, interior, steps: as of `affine_projection`.

    Returns:
      The output, and the residual, (...): the largest distance of a row, taken at unit norm, from
      its interval, or if active from its bound, before the repair. The output before the repair is
      the exact projection onto the set whose bounds are moved by no more than that. Rounding
      apart it is 0, unless the set is empty or the steps ran out. It has no derivative.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import Rows, affine_projection_with_residual
      >>> empty = Rows(jnp.array([[1.0], [1.0]]), lower=jnp.array([2.0, -jnp.inf]), upper=1.0)
      >>> empty = empty._replace(upper=jnp.array([jnp.inf, 1.0]))
      >>> output, residual = affine_projection_with_residual(jnp.zeros(1), empty)
      >>> print(output, residual)
      [2.] 1.0
    """
    name = "affine_projection_with_residual"
    return _projection(name, raw, rows, weights, interior, steps)


def _projection(
    name: str,
    raw: ArrayLike,
    rows: Rows,
    weights: ArrayLike | None,
    interior: ArrayLike | None,
    steps: int | None,
) -> tuple[jax.Array, jax.Array]:
    if steps is not None:
        check_steps(name, steps)
    problem = prepare(name, raw, rows, interior, weights)
    output, residual = problem.solve(steps)
    return problem.finish(problem.repaired(output)), problem.finish(residual)[..., 0]


def affine_radial(raw: ArrayLike, rows: Rows, *, interior: ArrayLike) -> jax.Array:
    """Raw itself inside; outside, where the ray from the interior point to raw leaves the set.

    `z0 + min(1, 1 / g(z - z0)) (z - z0)`, with z0 the interior point and g the gauge of the set
    about it, `g(v) = max_i (A v)_i / (u - A z0)_i`. Where there are equalities, z - z0 is first
    projected onto the directions that keep them. Feasible by construction, as above. The
    interior point may depend on the input, and is learnt from as raw is.

    Derivative to raw: I inside; outside, dead along the ray and, in the dtype, where the row that
    is met has no slack at z0 (then all of it); its rank is n - 1 however many rows are broken.
    It jumps where the ray meets another row, and on the boundary, from which raw moves back
    inside freely. Equalities are dead as well, each along its row.

    Cost: O(m n) a set; with equalities more, as `affine_soft_radial`.

    RAYEN (Tordesillas, How and Hutter, 2023), there for constant sets.

    Args:
      raw: the network's last linear output z, (..., n).
      rows: the set, m rows.
      interior: z0, (..., n): inside every inequality, and on every equality.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import affine_radial, box_rows
      >>> rows = box_rows(-1.0, jnp.array([1.0, 2.0]))
      >>> print(affine_radial(jnp.array([4.0, 4.0]), rows, interior=jnp.zeros(2)).round(4))
      [1. 1.]
    """
    problem, start, point = from_interior("affine_radial", raw, rows, interior)
    return problem.finish(problem.towards(start, point))


def affine_soft_radial(raw: ArrayLike, rows: Rows, *, interior: ArrayLike) -> jax.Array:
    """Raw drawn to the inside, towards the interior point: inside for every raw, and never dead.

    `z0 + (z - z0) / sqrt(1 + g(z - z0)²)`, with z0 and the gauge g as of `affine_radial`: nearly
    raw well inside, nearly `affine_radial` far outside. The boundary is reached by rounding alone.
    A direction in which the set has no bound is left as it is. Where there are equalities, z - z0
    is first projected onto the directions that keep them. Feasible by construction, as above.

    Derivative to raw: **of full rank almost everywhere**, or with equalities n less the number of
    independent ones: in a vertex, where `affine_projection` has rank 0 and `affine_radial` n - 1,
    this has n. It is I at z0, and along the ray `(1 + g²)^(-3/2)`: it fades far outside as the cube
    of the distance. It jumps where the ray meets another row. Where, in the dtype, the row that is
    met has no slack at z0, it is 0.

    Soft radial projection (Schneider and Kuhn, 2026, "Soft-Radial Projection for Constrained
    End-to-End Learning"), there for constant sets. It draws in by a share that depends on ‖z - z0‖
    in units of the outputs, and by a factor at z0; here the set itself is the unit, for its size
    depends on the input, and outputs may differ in theirs.

    Cost: O(m n) a set. Where rows have both bounds and those are traced or equal, for there may be
    equalities, O(m² n + m³) more once for a shared matrix, else for each set, and O(m (m + n)) a
    set, again for each equality that not all sets have.

    Args:
      raw: the network's last linear output z, (..., n).
      rows: the set, m rows.
      interior: z0, (..., n): inside every inequality, and on every equality.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import affine_soft_radial, box_rows
      >>> rows = box_rows(-1.0, jnp.array([1.0, 2.0]))
      >>> print(affine_soft_radial(jnp.array([4.0, 4.0]), rows, interior=jnp.zeros(2)).round(4))
      [0.9701 0.9701]
    """
    problem, start, point = from_interior("affine_soft_radial", raw, rows, interior)
    return problem.finish(problem.softly_towards(start, point))


def affine_excess(output: ArrayLike, rows: Rows) -> jax.Array:
    """Distance of each row's value outside its interval, 0 inside: what a row is violated by.

    Cost: O(m n) a set.

    Args:
      output: (..., n).
      rows: the set, m rows.

    Returns:
      (..., m), in each row's own units; 0 for a row without a bound.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import affine_excess, box_rows
      >>> print(affine_excess(jnp.array([-1.0, 5.0]), box_rows(0.0, jnp.array([1.0, 2.0]))))
      [1. 3.]
    """
    problem = prepare("affine_excess", output, rows)
    place = product(problem.matrix, problem.raw)
    outside = jnp.maximum(place - problem.upper, problem.lower - place)
    return problem.finish(jax.nn.relu(outside))
