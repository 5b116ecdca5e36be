"""Sets of any smooth rows that depend on the input: `inequality(y) <= 0` and `equality(y) = 0`.

Functions here take `(raw, *, inequality=None, equality=None, parameters=None)`. What they share:

* `raw` is floating point, (..., n). `inequality` and `equality` are plain functions of **one**
  output vector y, (n,), that give a number or an array, a row for each entry; twice
  differentiable, and finite at raw and wherever the search goes.
* What the rows take of the input is given as `parameters`: an array, or a tree of arrays, whose
  first axes are raw's leading ones (1 broadcasts). The functions are then called as
  `inequality(y, parameters)`, with the part of one y. What all sets share may be closed over, and
  is learnt from as well. Under a `vmap` of one's own, closing over the input is all it takes.
* Where no function is given for a side there are no such rows.
* The half precisions compute in float32, y and parameters alike, and round at the end.
* NaN in raw, or in the parameters of its set, gives NaN in all its outputs and nowhere else, and
  derivatives of 0.

Errors: `TypeError` for a raw or rows that are not floating point, masked arrays, and steps or a
tolerance that are no numbers; `ValueError` for shapes that do not fit, negative steps or a negative
tolerance, and where neither function is given.

On a CPU, calls of `jnp.linalg` for many matrices side by side may wait for each other for ever up
to jaxlib 0.10 (`bounded.sets._linear` says why). Those of one projection follow each other. Should
a program with several of them hang, stack what they are given and make one call.

`optimistix` and `lineax` solve equations and least squares, with no inequalities but boxes, and
`jaxopt` is no longer maintained: the quadratic programs are those of `bounded.sets.affine`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import solve_triangular
from jax.sharding import AxisType, NamedSharding, PartitionSpec, auto_axes
from jax.typing import ArrayLike

from bounded.sets import _active_set
from bounded.sets._inputs import array, broadcasts, check_raw, check_steps, wide
from bounded.sets._linear import EXACT

HALVINGS = 10  # of a step, at most
GROWN, RAISED = 4.0, 64.0  # severalfold: of a multiplier that is not yet known; what it becomes
REMEMBERED = 4  # merits that a step is compared with: the last one alone rejects good steps
Function = Callable[..., Any]


def nonlinear_projection(
    raw: ArrayLike,
    *,
    inequality: Function | None = None,
    equality: Function | None = None,
    parameters: Any = None,
    steps: int = 50,
    tolerance: float | None = None,
) -> jax.Array:
    """The y that is nearest to raw among those with `inequality(y) <= 0` and `equality(y) = 0`.

    By sequential quadratic programming: each step is the projection onto the rows linearised at
    the last y, in the metric of the Lagrangian's second derivative, and is halved until it brings
    y closer to raw or into the set. Where the linearised rows contradict each other they are moved
    by a common share of what they are violated by. Of a set that is not convex, the result is a
    point that is nearest among those around it. Where it converges, in a few steps and
    quadratically if active rows have independent gradients, rows hold to rounding, each in its own
    scale. **It may end before**, at the last step or where no step helps, as in an empty set: the
    output is then finite but outside, and `nonlinear_residual` tells.

    Rows may be given in any unit. Outputs of unlike scale, 1e-6 and 1e6 in one row, take more
    steps: multipliers then span as many magnitudes, and y waits where it is until they are found.
    Some such sets end outside, rarely where rows are convex, and in float64 more rarely than in
    float32: look at the residual, or give outputs in units of their size. What is nearest is found
    to the rounding of the largest output.

    Derivative, forward and backward and of any order: implicit, of the equations that hold at the
    solution, `y - raw + Jᵀ λ = 0` and active rows `= 0`, not through the steps. With H the second
    derivative of `½|y|² + λᵀ rows(y)` and Z a basis of the directions that keep the active rows
    (those with a multiplier λ other than 0, and equalities), the derivative to raw is
    `Z (Zᵀ H Z)⁻¹ Zᵀ`: symmetric, dead along the gradient of each active row and nowhere else. If
    `Zᵀ H Z` is not positive definite, in a point that is not nearest, H is taken as I. Outside
    the set, it is the derivative that keeps the active rows' values.

    Cost of a step, for n outputs and m rows: rows and their gradients, n second derivatives of one
    number, `O(n³ + m n²)`, and a projection onto m affine rows, `O(m² + m n)` for each row that
    becomes active. The derivative solves n + m equations. A batch goes on until its last one ends.

    Sequential projection with implicit derivatives as in ENFORCE (Lastrucci and Schweidtmann,
    2025), whose steps are Newton's on equalities; a step as in SLSQP (Kraft, 1988).

    Args:
      raw: the network's last linear output z, (..., n).
      inequality: g, from y (n,), and its parameters if given, to the rows that are to be <= 0.
      equality: h, likewise, to the rows that are to be 0.
      parameters: of g and h, a tree of arrays whose first axes are raw's leading ones.
      steps: at most so many; for as many as that in any case, `tolerance=0`.
      tolerance: done when a step is shorter than this times the largest of |y| and |raw|, and rows
        hold to it as well, each in its own scale; by default 32 eps.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import nonlinear_projection
      >>> raw, radius = jnp.array([[3.0, 4.0], [0.5, 0.25]]), jnp.array([2.5, 1.0])
      >>> gust = lambda y, radius: y @ y - radius**2
      >>> print(nonlinear_projection(raw, inequality=gust, parameters=radius).round(4))
      [[1.5  2.  ]
       [0.5  0.25]]
    """

    check_steps("nonlinear_projection", steps)
    if tolerance is not None:
        _check_tolerance(tolerance)

    def one(rows: "_Rows", raw: jax.Array, values: list[jax.Array]) -> jax.Array:
        limit = 32 * float(jnp.finfo(raw.dtype).eps) if tolerance is None else tolerance
        return _solve(rows, steps, limit, raw, values).output

    return _over_each("nonlinear_projection", one, raw, inequality, equality, parameters)


def nonlinear_residual(
    output: ArrayLike,
    *,
    inequality: Function | None = None,
    equality: Function | None = None,
    parameters: Any = None,
) -> jax.Array:
    """By how much each row is violated, over the length of its gradient: how far off, in the
    outputs' own units and to first order, the row's bound is; 0 where it holds.

    The unit is that of the output which the row depends on most: beside others that are large, a
    row that is far off may be near in it. To see how far off a row is in its own terms, compare
    with `|gradient| @ |y|` over the gradient's length. It has no derivative; for a penalty, take
    the rows themselves.

    Cost, for n outputs and m rows: rows and their gradients once, m backward passes, and `O(m n)`.

    Args:
      output: y, (..., n).
      inequality, equality, parameters: as of `nonlinear_projection`.

    Returns:
      (..., m), the inequalities' rows first; infinite where a violated row has the gradient 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import nonlinear_residual
      >>> print(nonlinear_residual(jnp.array([3.0, 4.0]), inequality=lambda y: y @ y - 4.0))
      [2.1]
    """

    def one(rows: "_Rows", output: jax.Array, values: list[jax.Array]) -> jax.Array:
        place, slopes = rows.at(output, values)
        distance = jnp.abs(rows.violation(place))
        length = _length(slopes)
        distance = jnp.where(distance == 0, 0, distance / length)
        return lax.stop_gradient(distance)

    return _over_each("nonlinear_residual", one, output, inequality, equality, parameters)


class _Rows(NamedTuple):
    """Both functions as one of y and of all values that they take, closed-over ones among them."""

    function: Callable[[jax.Array, Sequence[jax.Array]], jax.Array]  # (n,) to (m,)
    equal: np.ndarray  # (m,)

    def at(self, output: jax.Array, values: Sequence[jax.Array]) -> tuple[jax.Array, jax.Array]:
        """Values, (m,), and gradients, (m, n)."""

        def twice(output: jax.Array) -> tuple[jax.Array, jax.Array]:
            place = self.function(output, values)
            return place, place

        slopes, place = jax.jacrev(twice, has_aux=True)(output)
        return place, slopes

    def violation(self, place: jax.Array) -> jax.Array:
        """Signed for equalities."""
        return jnp.where(self.equal, place, jax.nn.relu(place))


class _Solution(NamedTuple):
    """Where the projection lies, and what holds it there."""

    output: jax.Array  # (n,)
    multiplier: jax.Array  # (m,), in the rows' own units
    side: jax.Array  # (m,): 0 where not active; active rows have independent gradients, unless
    empty: jax.Array  # (): 1 where the linearised set was empty


class _State(NamedTuple):
    step: jax.Array
    solution: _Solution
    weights: jax.Array  # (m,): of the rows' violations in the merit
    distances: jax.Array  # (REMEMBERED,): half the square of that to raw, of the last outputs
    violations: jax.Array  # (REMEMBERED, m)
    done: jax.Array


def _search(
    rows: _Rows, steps: int, tolerance: float, raw: jax.Array, values: list[jax.Array]
) -> _Solution:
    size = raw.shape[0]
    eps = float(jnp.finfo(raw.dtype).eps)
    highest = eps**-0.35  # beyond, multipliers hide the distance
    halves = 0.5 ** jnp.arange(HALVINGS + 1, dtype=raw.dtype)

    def distance(output: jax.Array) -> jax.Array:
        return jnp.sum((output - raw) ** 2) / 2

    def violated(output: jax.Array) -> jax.Array:
        return rows.violation(rows.function(output, values))

    def advance(state: _State) -> _State:
        output = state.solution.output
        place, slopes = rows.at(output, values)
        factor = _metric(rows, state.solution, values, slopes)
        price = jnp.minimum(10 * 2.0 ** state.step.astype(raw.dtype), highest)
        step, solution = _linearised(rows, place, slopes, factor, raw - output, price)

        # Powell's weights: as large as the multipliers, and falling slowly.
        size_of = 1.5 * jnp.abs(solution.multiplier)
        weights = jnp.maximum(size_of, (state.weights + size_of) / 2)
        violation = jnp.abs(rows.violation(place))
        merit = distance(output) + jnp.sum(weights * violation)
        slope = jnp.sum((output - raw) * step) - jnp.sum(weights * violation)
        before = jnp.max(state.distances + state.violations @ weights)
        tried = output[None] + halves[:, None] * step[None]
        signed = jax.vmap(violated)(tried)
        off = jnp.abs(signed)
        after = jax.vmap(distance)(tried) + off @ weights
        falls = jnp.where(jnp.arange(len(halves)) == 0, jnp.maximum(before, merit), merit)
        falls = falls + jnp.minimum(1e-4 * halves * slope, 0) + 8 * eps * jnp.abs(merit)
        # A multiplier that has grown this much is not that of the metric: its row bends more than
        # the step knows of. Where that makes it miss by half of what it is off, y waits for it.
        known, found = jnp.abs(state.solution.multiplier), jnp.abs(solution.multiplier)
        promised = place + jnp.matmul(slopes, step, precision=EXACT)
        bend = jnp.sign(solution.multiplier) * (signed[0] - rows.violation(promised))
        waits = (found > GROWN * known) & (bend > violation / 2)
        raised = jnp.sign(solution.multiplier) * jnp.maximum(found, RAISED * known)
        good = (after <= falls) & ~jnp.any(waits)  # not where NaN
        best = jnp.argmax(good)
        share = jnp.where(jnp.any(good), halves[best], 0)
        moves = share > 0
        output = jnp.where(moves, output + share * step, output)
        left = jnp.where(moves, off[best], violation)
        # Where no step helps, and none is waited for, the next may be as bad as this one.
        remembered = jnp.where(jnp.any(waits), violation, off[best])

        largest = jnp.maximum(jnp.max(jnp.abs(output)), jnp.max(jnp.abs(raw)))
        short = jnp.max(jnp.abs(step)) <= tolerance * largest
        noise = tolerance * jnp.matmul(jnp.abs(slopes), jnp.abs(output), precision=EXACT)
        held = jnp.all(jnp.maximum(violation, left) <= noise) | (
            (solution.empty > 0) & (price == highest)
        )
        return _State(
            step=state.step + 1,
            solution=solution._replace(
                output=output, multiplier=jnp.where(waits, raised, solution.multiplier)
            ),
            weights=weights,
            distances=jnp.append(state.distances[1:], distance(output)),
            violations=jnp.concatenate([state.violations[1:], remembered[None]]),
            done=(short & held) | ~jnp.all(jnp.isfinite(step)),
        )

    place = rows.function(raw, values)
    zeros = jnp.where(jnp.isfinite(place), 0 * place, 0)  # varies as the rows do
    start = _Solution(raw, zeros, zeros, jnp.sum(zeros))
    state = _State(
        step=jnp.zeros((), jnp.int32),
        solution=start,
        weights=zeros,
        distances=jnp.zeros(REMEMBERED, raw.dtype) + distance(raw),
        violations=jnp.tile(jnp.abs(rows.violation(place)), (REMEMBERED, 1)),
        done=start.empty != 0,
    )
    if not (size and len(rows.equal)):
        return start
    found: _State = lax.while_loop(lambda state: (state.step < steps) & ~state.done, advance, state)
    spoilt = jnp.any(jnp.isnan(place))
    return found.solution._replace(output=jnp.where(spoilt, jnp.nan, found.solution.output))


def _metric(
    rows: _Rows, solution: _Solution, values: Sequence[jax.Array], slopes: jax.Array
) -> jax.Array:
    """The Cholesky factor of the Lagrangian's second derivative, (n, n); if that is not positive
    definite, of its part along the active rows; if that is not either, of a diagonal above it.
    Every output is taken in the scale of its own curvature, for scales may be far apart."""
    curved = _curvature(rows, solution.output, solution.multiplier, values)
    scale = 1 / jnp.sqrt(jnp.maximum(jnp.abs(jnp.diagonal(curved)), 1))  # of each output
    curved = curved * scale[:, None] * scale[None]
    along = _along(slopes * scale[None], solution.side != 0)
    eye = jnp.eye(len(curved), dtype=curved.dtype)
    # Together, for side by side they may wait for each other: see above.
    whole, part = jnp.linalg.cholesky(jnp.stack([curved, along @ curved @ along + eye - along]))
    largest = jnp.diag(jnp.sqrt(1 + jnp.sum(jnp.abs(curved), axis=1)))
    part = jnp.where(jnp.all(jnp.isfinite(part)), part, largest)
    return jnp.where(jnp.all(jnp.isfinite(whole)), whole, part) / scale[:, None]


def _curvature(
    rows: _Rows, output: jax.Array, multiplier: jax.Array, values: Sequence[jax.Array]
) -> jax.Array:
    """The second derivative of `½|y|² + multiplier @ rows(y)`, (n, n)."""

    def lagrangian(output: jax.Array) -> jax.Array:
        return jnp.sum(multiplier * rows.function(output, values))

    curved: jax.Array = jax.hessian(lagrangian)(output)
    return jnp.eye(len(output), dtype=output.dtype) + curved


def _along(slopes: jax.Array, active: jax.Array) -> jax.Array:
    """The projection onto the directions that keep the active rows, (n, n)."""
    unit = jnp.where(active[:, None], slopes / _guarded(_length(slopes))[:, None], 0)
    shift = float(jnp.finfo(slopes.dtype).eps) ** 0.75
    gram = jnp.matmul(unit, unit.T, precision=EXACT) + jnp.diag(jnp.where(active, shift, 1))
    held = jnp.matmul(unit.T, jnp.linalg.solve(gram, unit), precision=EXACT)
    return jnp.eye(slopes.shape[1], dtype=slopes.dtype) - held


def _linearised(
    rows: _Rows,
    place: jax.Array,
    slopes: jax.Array,
    factor: jax.Array,
    wanted: jax.Array,
    price: jax.Array,
) -> tuple[jax.Array, _Solution]:
    """The step that is nearest to the wanted one, in the metric, among those that keep the
    linearised rows, and the multipliers.

    One more output is the share of their violation that they are moved by, at a price, which is
    low at first for the way into the set, and high in the end: 0 unless they contradict each other
    or nearly do.
    """
    both = jnp.concatenate([slopes, wanted[None]])
    both = solve_triangular(factor, both.T, lower=True).T
    rows_here, wanted = both[:-1], both[-1]
    length = _guarded(_length(rows_here))
    distance = place / length
    off = rows.violation(distance)
    farthest = jnp.max(jnp.abs(off))
    share = -off / jnp.where(farthest == 0, 1, farthest)
    norm = jnp.sqrt(1 + share**2)
    matrix = jnp.concatenate([rows_here / length[:, None], share[:, None]], axis=1) / norm[:, None]
    eps = float(jnp.finfo(place.dtype).eps)
    cost = price * (farthest + jnp.max(jnp.abs(wanted)))
    last = jnp.zeros_like(matrix[:1]).at[0, -1].set(1)
    upper = -distance / norm
    inf = jnp.full_like(cost, jnp.inf)[None]
    solved = _active_set.project(
        jnp.append(wanted, -cost),
        jnp.concatenate([matrix, last]),
        jnp.concatenate([jnp.where(rows.equal, upper, -jnp.inf), 0 * cost[None]]),
        jnp.concatenate([upper, inf]),
        10 * (len(place) + 1),
    )
    step = solve_triangular(factor.T, solved.output[:-1], lower=False)
    return step, _Solution(
        step,
        solved.multiplier[:-1] / (length * norm),
        solved.side[:-1],
        jnp.where(solved.output[-1] > eps**0.5 * farthest, 1, 0).astype(place.dtype),
    )


_solve = jax.custom_jvp(_search, nondiff_argnums=(0, 1, 2))


@_solve.defjvp
def _solve_jvp(
    rows: _Rows, steps: int, tolerance: float, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[_Solution, _Solution]:
    """Of `output - raw + slopes.T @ multiplier = 0` and of active rows that keep their value."""
    raw, values = primals
    raw_dot, values_dot = tangents
    solution = _solve(rows, steps, tolerance, raw, values)
    output, multiplier, side = solution.output, solution.multiplier, solution.side
    still = _Solution(*map(jnp.zeros_like, solution))
    if not (len(raw) and len(rows.equal)):
        return solution, still._replace(output=raw_dot)
    active = (side != 0) & (rows.equal | (multiplier != 0))

    def conditions(values: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
        place, pull = jax.vjp(lambda output: rows.function(output, values), output)
        return pull(multiplier)[0], place

    slopes = rows.at(output, values)[1]
    curved = _curvature(rows, output, multiplier, values)
    known = jnp.all(jnp.isfinite(curved)) & jnp.all(jnp.isfinite(slopes))
    along = lax.stop_gradient(_along(slopes, active))
    eye = jnp.eye(len(raw), dtype=raw.dtype)
    inside = jnp.linalg.cholesky(lax.stop_gradient(along @ curved @ along) + eye - along)
    convex = jnp.all(jnp.isfinite(inside))
    curved = jnp.where(known & convex, curved, eye)
    length = lax.stop_gradient(_guarded(_length(slopes)))[:, None]
    held = jnp.where(known & active[:, None], slopes / length, 0)

    # With what the sets are masked by, no derivative of theirs meets a NaN.
    values_dot = [_where(known, dot) for dot in values_dot]
    of_lagrangian, of_rows = jax.jvp(conditions, (values,), (values_dot,))[1]
    top = _where(known, raw_dot - of_lagrangian)
    bottom = jnp.where(active, -_where(known, of_rows) / length[:, 0], 0)
    loose = float(jnp.finfo(raw.dtype).eps) ** 0.5  # rows of an empty set may depend on each other
    corner = jnp.where(active, -loose * solution.empty, -1)
    system = jnp.block([[curved, held.T], [held, jnp.diag(corner.astype(raw.dtype))]])
    moved = jnp.linalg.solve(system, jnp.concatenate([top, bottom]))
    dots = {"output": moved[: len(raw)], "multiplier": moved[len(raw) :] / length[:, 0]}
    return solution, still._replace(**dots)


def _where(known: jax.Array, value: Any, other: float = 0) -> Any:
    """Of floats only, and only where that leaves its type: under `shard_map`, what every device
    has alike stays so."""
    if not jnp.issubdtype(value.dtype, jnp.floating):
        return value
    chosen = jnp.where(known, value, jnp.asarray(other, value.dtype))
    return chosen if jax.typeof(chosen) == jax.typeof(value) else value


def _length(slopes: jax.Array) -> jax.Array:
    """Of each row, without a square that may overflow."""
    largest = _guarded(jnp.max(jnp.abs(slopes), axis=-1))
    return largest * jnp.sqrt(jnp.sum((slopes / largest[..., None]) ** 2, axis=-1))


def _guarded(length: jax.Array) -> jax.Array:
    return jnp.where(length == 0, 1, length)


def _over_each(
    name: str,
    one: Callable[[_Rows, jax.Array, list[jax.Array]], jax.Array],
    raw: ArrayLike,
    inequality: Function | None,
    equality: Function | None,
    parameters: Any,
) -> jax.Array:
    """`one` of every set, with its rows, its raw and the values that its rows take."""
    raw, leaves, tree = _checked(name, raw, inequality, equality, parameters)
    dtype = jnp.result_type(raw, *(leaf for leaf in leaves if _floating(leaf)))
    leading, inner = raw.shape[:-1], wide(dtype)
    leaves = [leaf.astype(inner) if _floating(leaf) else leaf for leaf in leaves]
    leaves = [jnp.broadcast_to(x, (*leading, *x.shape[len(leading) :])) for x in leaves]

    def of_one(raw: jax.Array, leaves: list[jax.Array]) -> jax.Array:
        unknown = jnp.any(jnp.stack([_has_nan(x) for x in (raw, *leaves)]))
        raw, *leaves = (jnp.where(unknown, jnp.asarray(0.5, x.dtype), x) for x in (raw, *leaves))
        function, consts, equal = _joined(name, inequality, equality, tree, raw, leaves)
        unknown = jnp.any(jnp.stack([unknown, *map(_has_nan, consts)]))
        consts = [_where(~unknown, x, 1) for x in consts]
        found = one(_Rows(function, equal), raw, [*leaves, *consts])
        return jnp.where(unknown, jnp.nan, found).astype(dtype)

    of_all = of_one
    for _ in leading:
        of_all = jax.vmap(of_all)
    layout = jax.typeof(raw).sharding
    if AxisType.Explicit in layout.mesh.axis_types:  # for which the solver is not made
        spec = PartitionSpec(*layout.spec[:-1], None)
        of_all = auto_axes(of_all, out_sharding=NamedSharding(layout.mesh, spec))
    return of_all(raw.astype(inner), leaves)


def _check_tolerance(tolerance: float) -> None:
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float | np.number):
        raise TypeError(
            f"nonlinear_projection needs a number as tolerance, got {tolerance!r}. It is fixed "
            "when it is compiled: give a plain float, for example tolerance=1e-5."
        )
    if not 0 <= tolerance < np.inf:
        raise ValueError(
            f"nonlinear_projection needs a finite tolerance of at least 0, got {tolerance}. "
            "Leave it out for the usual one, or give 0 to take every step."
        )


def _checked(
    name: str,
    raw: ArrayLike,
    inequality: Function | None,
    equality: Function | None,
    parameters: Any,
) -> tuple[jax.Array, list[jax.Array], Any]:
    raw = array(name, "raw", raw)
    check_raw(name, raw)
    if raw.ndim == 0:
        raise ValueError(f"{name} needs a raw of shape (..., n), got a scalar.")
    if inequality is None and equality is None:
        raise ValueError(
            f"{name} needs rows, but inequality and equality are both None. "
            "Give a function of one y, for example inequality=lambda y: y @ y - 1.0."
        )
    for side, function in (("inequality", inequality), ("equality", equality)):
        if function is not None and not callable(function):
            raise TypeError(
                f"{name} needs a function of one y as {side}, got {type(function).__name__}. "
                "For affine rows there is affine_projection."
            )
    leaves, tree = jax.tree.flatten(parameters)
    leaves = [array(name, "parameters", leaf) for leaf in leaves]
    leading = raw.shape[:-1]
    for leaf in leaves:
        if leaf.ndim < len(leading) or not broadcasts(leaf.shape[: len(leading)], leading):
            raise ValueError(
                f"{name} needs parameters whose first axes are raw's leading ones, {leading}, or "
                f"of length 1, but one has shape {leaf.shape}. Close over what all sets share."
            )
    return raw, leaves, tree


def _joined(
    name: str,
    inequality: Function | None,
    equality: Function | None,
    tree: Any,
    raw: jax.Array,
    leaves: list[jax.Array],
) -> tuple[Function, list[jax.Array], np.ndarray]:
    """Both functions as one of y and of values, with those that they close over and which rows
    are equalities: a derivative of one's own must be given all that it depends on."""
    sides: list[np.ndarray] = []

    def function(output: jax.Array, leaves: list[jax.Array]) -> jax.Array:
        given = (output,) if tree.num_leaves == 0 else (output, jax.tree.unflatten(tree, leaves))
        parts = []
        for side, of_side in (("inequality", inequality), ("equality", equality)):
            if of_side is not None:
                part = jnp.ravel(array(name, f"{side}(y)", of_side(*given)))
                if not _floating(part):
                    raise TypeError(
                        f"{name} needs floating-point rows, but {side} has {part.dtype}."
                    )
                parts.append(part.astype(output.dtype))
                sides.append(np.full(part.shape, side == "equality"))
        return jnp.concatenate(parts)

    from jax.extend.core import ClosedJaxpr, jaxpr_as_fun  # many modules, for this alone

    traced = jax.make_jaxpr(function)(raw, leaves)

    def of_values(output: jax.Array, values: Sequence[jax.Array]) -> jax.Array:
        given, consts = values[: len(leaves)], values[len(leaves) :]
        rows: jax.Array = jaxpr_as_fun(ClosedJaxpr(traced.jaxpr, consts))(output, *given)[0]
        return rows

    return of_values, list(traced.consts), np.concatenate(sides)


def _floating(value: jax.Array) -> bool:
    return bool(jnp.issubdtype(value.dtype, jnp.floating))


def _has_nan(value: jax.Array) -> jax.Array:
    return jnp.any(jnp.isnan(value)) if _floating(value) else jnp.zeros((), bool)
