"""The arguments of `bounded.sets.affine`, checked, and what its functions do with them alike."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from bounded import _formulas
from bounded.sets import _active_set
from bounded.sets._inputs import array, broadcasts, check_raw, known, wide
from bounded.sets._linear import product, transpose
from bounded.sets._metric import Metric, checked_weights
from bounded.sets._rounding import in_place_of, infinite, unit
from bounded.sets.rows import Rows, check_rows, side


class Problem(NamedTuple):
    """Arguments in the dtype of the computation, times `scale`. Where one is NaN, its set is 0
    without a bound, so that no derivative is NaN, and `finish` makes it NaN."""

    raw: jax.Array  # (..., n)
    matrix: jax.Array  # (m, n), or (..., m, n)
    lower: jax.Array  # (..., m)
    upper: jax.Array  # (..., m)
    interior: jax.Array | None  # (..., n)
    unknown: jax.Array  # (..., 1): NaN in any of them
    scale: jax.Array  # (..., 1): a power of two, below 1 beside the dtype's largest number
    dtype: jnp.dtype  # of the output
    metric: Metric | None = None  # None: Euclidean

    def at_unit_norm(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Matrix, lower and upper; the set does not depend on the norms, nor do derivatives."""
        norm = jax.lax.stop_gradient(_norm(self.matrix))
        spread = jnp.broadcast_to(norm, self.lower.shape)
        return self.matrix / norm[..., None], self.lower / spread, self.upper / spread

    def solve(self, steps: int | None) -> tuple[jax.Array, jax.Array]:
        """The projection and its residual, (..., 1)."""
        if self.matrix.shape[-2] == 0:
            return self.raw, jnp.zeros_like(self.raw[..., :1])
        steps = 10 * self.matrix.shape[-2] if steps is None else steps
        if self.metric is not None:
            return self._solve_weighted(self.metric, steps)
        solution: _active_set.Solution = _active_set.project(self.raw, *self.at_unit_norm(), steps)
        return solution.output, solution.residual[..., None]

    def _solve_weighted(self, metric: Metric, steps: int) -> tuple[jax.Array, jax.Array]:
        """The same where the distance is the metric's."""
        carried = self._replace(raw=metric.carry(self.raw), matrix=metric.of_rows(self.matrix))
        unit_rows = carried.at_unit_norm()
        solution: _active_set.Solution = _active_set.project(carried.raw, *unit_rows, steps)
        output = metric.carry_back(solution.output)

        # What is not moved stays as it is, and the way there and back has rounded.
        still = solution.output == carried.raw
        still = still if metric.diagonal else jnp.all(still, axis=-1, keepdims=True)
        better = jnp.where(still, self.raw, output)
        matrix, lower, upper = self.at_unit_norm()
        norms = (jnp.broadcast_to(_norm(x), lower.shape) for x in (self.matrix, carried.matrix))
        change = jax.lax.stop_gradient(jnp.divide(*norms))
        noise = 4 * float(jnp.finfo(output.dtype).eps) * jnp.abs(matrix)
        for _ in range(0 if metric.diagonal else 2):
            off = _active_set.amiss(product(matrix, better), solution.side, lower, upper)
            counts = (solution.side != 0) & (jnp.abs(off) > product(noise, jnp.abs(better)))
            off = jnp.where(counts, off, 0)
            by = product(solution.inverse, off * change)
            better = better - metric.carry_back(product(transpose(unit_rows[0]), by))
        off = _active_set.amiss(product(matrix, better), solution.side, lower, upper)
        residual = jax.lax.stop_gradient(jnp.max(jnp.abs(off), axis=-1, keepdims=True))
        better = jnp.where(jnp.isnan(solution.residual[..., None]), jnp.nan, better)
        return in_place_of(output, better), residual

    def finish(self, values: jax.Array) -> jax.Array:
        """In the units that were given, and in the output's dtype."""
        return jnp.where(self.unknown, jnp.nan, values / self.scale).astype(self.dtype)

    def repaired(self, output: jax.Array) -> jax.Array:
        """The output, moved inside if an interior point is known; it keeps its derivative."""
        if self.interior is None:
            return output
        inside: jax.Array = in_place_of(output, self.towards(self.interior, output))
        return inside

    def towards(self, start: jax.Array, point: jax.Array) -> jax.Array:
        """The point, or where the way to it from start leaves the inequalities, equalities apart.

        Short of the bounds by more than rounding makes of any row's value.
        """
        length, direction, reach = self.way(start, point)
        arrives = reach >= length
        point = in_place_of(point, jnp.where(direction == 0, start, point))
        return jnp.where(arrives, point, start + jnp.where(arrives, length, reach) * direction)

    def softly_towards(self, start: jax.Array, point: jax.Array) -> jax.Array:
        """Between start and where `towards` ends: on the way at `1 / sqrt(1 / p² + 1 / q²)`, with p
        how far the point is and q how far the set goes."""
        length, direction, reach = self.way(start, point)
        within = length <= reach
        less, more = jnp.where(within, length, reach), jnp.where(within, reach, length)
        factor = less / jnp.sqrt(1 + (less / more) ** 2)
        moved: jax.Array = in_place_of(factor, jnp.minimum(factor, reach)) * direction
        return start + moved

    def softly_from(self, start: jax.Array, point: jax.Array) -> jax.Array:
        """The inverse of `softly_towards`: infinite on the boundary, NaN outside by more than the
        margin."""
        length, direction, reach = self.way(start, point)
        place = product(self.matrix, point)
        eps = (2 * point.shape[-1] + 8) * float(jnp.finfo(self.dtype).eps)
        noise = eps * product(jnp.abs(self.matrix), jnp.abs(point) + jnp.abs(start))
        fits = jnp.ones_like(length, bool)
        for sign, bound in ((1, self.upper), (-1, self.lower)):
            exists = ~jnp.isinf(bound) & (self.lower != self.upper)
            bound = jnp.where(exists, bound, 0)
            holds = ~exists | (sign * (place - bound) <= noise + eps * jnp.abs(bound))
            fits &= jnp.all(holds, axis=-1, keepdims=True)
        inside = length < reach
        share = jnp.where(inside & jnp.isfinite(reach), length / jnp.where(inside, reach, 1), 0)
        raw = start + direction * (length / jnp.sqrt((1 - share) * (1 + share)))
        return jnp.where(fits, jnp.where(inside, raw, infinite(direction)), jnp.nan)

    def way(self, start: jax.Array, point: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The way from start to the point: how long it is, its direction, and how far along it the
        inequalities hold, all in a unit that cancels. The direction is 0 along outputs that move so
        little beside others that what the margin is made of would underflow."""
        direction = point - start
        length = unit(direction)
        direction, info = direction / length, jnp.finfo(direction.dtype)
        little = jnp.abs(direction) < float(info.tiny) / float(info.eps) ** 2
        direction = in_place_of(direction, jnp.where(little, 0, direction))
        if self.matrix.shape[-2] == 0:
            return length, direction, jnp.full_like(length, jnp.inf)
        slope, place = product(self.matrix, direction), product(self.matrix, start)
        eps = (2 * point.shape[-1] + 8) * float(jnp.finfo(self.dtype).eps)
        noise = jax.lax.stop_gradient(eps * product(jnp.abs(self.matrix), jnp.abs(direction)))
        origin = jax.lax.stop_gradient(eps * product(jnp.abs(self.matrix), jnp.abs(start)))
        sides = []
        for sign, bound in ((1, self.upper), (-1, self.lower)):
            exists = ~jnp.isinf(bound) & (self.lower != self.upper)
            bound = jnp.where(exists, bound, 0)
            slack = sign * (bound - place) - origin - jax.lax.stop_gradient(eps * jnp.abs(bound))
            steepness = sign * slope + noise
            sides.append((exists & ~(steepness <= 0), slack, steepness))  # NaN meets, so it shows
        meets, slack, steepness = map(partial(jnp.concatenate, axis=-1), zip(*sides, strict=True))
        found = jnp.any(meets, axis=-1, keepdims=True)
        # Only the row that is met has a derivative: that of others may overflow, and 0 times it is
        # NaN.
        reach = jnp.where(meets, jax.nn.relu(slack) / jnp.where(meets, steepness, 1), jnp.inf)
        indices = jax.lax.broadcasted_iota(jnp.int32, reach.shape, reach.ndim - 1)
        first = indices == jnp.argmin(reach, axis=-1, keepdims=True)
        slack, steepness = (
            jnp.sum(jnp.where(first, x, 0), axis=-1, keepdims=True) for x in (slack, steepness)
        )
        reach = jax.nn.relu(slack) / jnp.where(found, steepness, 1)
        return length, direction, jnp.where(found, reach, jnp.inf)


def prepare(
    name: str,
    raw: ArrayLike,
    rows: Rows,
    interior: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Problem:
    check_rows(name, rows)
    raw, matrix = array(name, "raw", raw), array(name, "rows.matrix", rows.matrix)
    check_raw(name, raw)
    if raw.ndim == 0:
        raise ValueError(f"{name} needs a raw of shape (..., n), got a scalar.")
    if rows.lower is None and rows.upper is None:
        raise ValueError(
            f"{name} needs a bound, but lower and upper of the rows are both None. "
            "Give one; for equalities, give their values as both."
        )
    leading, size = raw.shape[:-1], raw.shape[-1]
    if matrix.ndim < 2 or matrix.shape[-1] != size:
        raise ValueError(
            f"{name} needs a matrix of shape (..., rows, {size}), a column for each entry of "
            f"raw's last axis, got {matrix.shape}. For one row, add an axis: matrix[None]."
        )
    lower, upper = side(name, "lower", rows), side(name, "upper", rows)
    point = raw if interior is None else array(name, "interior", interior)
    if point.shape[-1:] != (size,):
        raise ValueError(
            f"{name} needs an interior point of shape (..., {size}), as raw has, got {point.shape}."
        )
    shapes = {
        "matrix": matrix.shape[:-2],
        "lower": lower.shape[:-1],
        "upper": upper.shape[:-1],
        "interior": point.shape[:-1],
    }
    for what, shape in shapes.items():
        if not broadcasts(shape, leading):
            raise ValueError(
                f"{name} needs leading axes that broadcast to raw's, {leading}, but {what} has "
                f"{shape}. They are the axes before the last one, of a matrix before the last "
                "two. Broadcast raw first if there are more sets than raws."
            )
    weighing = () if weights is None else (checked_weights(name, weights, raw.shape),)
    dtype = jnp.result_type(raw, matrix, lower, upper, point, *(one.weights for one in weighing))
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{name} needs real numbers, got {dtype}.")
    _refuse_crossed(name, rows)

    given = raw, matrix, lower, upper, point
    raw, matrix, lower, upper, point = (x.astype(wide(dtype)) for x in given)
    if all(length == 1 for length in matrix.shape[:-2]):
        matrix = matrix.reshape(matrix.shape[-2:])
    else:
        matrix = jnp.broadcast_to(matrix, (*leading, *matrix.shape[-2:]))
    lower, upper = (jnp.broadcast_to(x, (*leading, x.shape[-1])) for x in (lower, upper))
    point = jnp.broadcast_to(point, raw.shape)

    strange = jnp.any(jnp.isnan(matrix), axis=(-2, -1))
    unknown = jnp.any(jnp.isnan(raw) | jnp.isnan(point), axis=-1) | strange
    unknown = unknown | jnp.any(jnp.isnan(lower) | jnp.isnan(upper), axis=-1)
    metric = None
    for one in weighing:
        metric, strange_weights = one.as_metric(raw)
        unknown = unknown | strange_weights
    unknown = unknown[..., None]
    zeros = jnp.zeros_like(unknown, raw.dtype)  # lays all out on a mesh alike
    raw, point, lower, upper = (x + zeros for x in (raw, point, lower, upper))
    if matrix.ndim == 2:
        matrix = jnp.where(strange & jnp.any(unknown), 0, matrix)  # varies as the sets do
    else:
        matrix = jnp.where(unknown[..., None], 0, matrix + zeros[..., None])
    raw, point = (jnp.where(unknown, 0, x) for x in (raw, point))
    scale = _scale(raw, point)
    lower = jnp.where(jnp.isinf(lower) | unknown, -jnp.inf, scale * lower)
    upper = jnp.where(jnp.isinf(upper) | unknown, jnp.inf, scale * upper)
    return Problem(
        raw=scale * raw,
        matrix=matrix,
        lower=_formulas.at_most(lower, upper),
        upper=upper,
        interior=None if interior is None else scale * point,
        unknown=unknown,
        scale=scale,
        dtype=dtype,
        metric=metric,
    )


def from_interior(
    name: str, raw: ArrayLike, rows: Rows, interior: ArrayLike
) -> tuple[Problem, jax.Array, jax.Array]:
    """The arguments, the interior point, and raw where the equalities hold as they do there."""
    problem = prepare(name, raw, rows, interior)
    start, point = problem.interior, problem.raw
    if start is None:
        raise ValueError(f"{name} needs an interior point, got None: give one inside the set.")
    if not _may_hold_equalities(name, rows):
        return problem, start, point
    matrix, lower, upper = problem.at_unit_norm()
    equal = lower == upper
    bound = jnp.any(equal, axis=-1, keepdims=True)
    free = jnp.where(equal, 0, jnp.inf)
    way = jnp.where(bound, point - start, 0)
    along = _active_set.project(way, matrix, -free, free, matrix.shape[-2]).output
    return problem, start, jnp.where(bound, start + along, point)


def _may_hold_equalities(name: str, rows: Rows) -> bool:
    if rows.lower is None or rows.upper is None or jnp.shape(rows.matrix)[-2] == 0:
        return False
    if not (known(rows.lower) and known(rows.upper)):
        return True
    with jax.ensure_compile_time_eval():
        return bool(jnp.any(side(name, "lower", rows) == side(name, "upper", rows)))


def _refuse_crossed(name: str, rows: Rows) -> None:
    """Where the bounds are known; of traced ones the upper bound wins."""
    if not (known(rows.lower) and known(rows.upper)):
        return
    with jax.ensure_compile_time_eval():
        lower, upper = (np.asarray(side(name, what, rows)) for what in ("lower", "upper"))
        crossed = (lower > upper) & np.isfinite(lower) & np.isfinite(upper)
        if crossed.any():
            place = tuple(np.argwhere(crossed)[0])
            low, high = (np.broadcast_to(x, crossed.shape)[place] for x in (lower, upper))
            raise ValueError(
                f"{name} needs lower <= upper in every row, but row {place[-1]} has lower {low} "
                f"and upper {high}. Rows are Rows(matrix, lower, upper): have they been swapped?"
            )


def _scale(raw: jax.Array, point: jax.Array) -> jax.Array:
    """Such that the distance of the two does not overflow, nor the sum of a few entries."""
    largest = jnp.maximum(jnp.abs(raw), jnp.abs(point))
    largest = jax.lax.stop_gradient(jnp.max(largest, axis=-1, keepdims=True, initial=0))
    return jnp.where(largest > float(jnp.finfo(raw.dtype).max) / 2, 1 / 4, jnp.ones_like(largest))


def _norm(matrix: jax.Array) -> jax.Array:
    """Of each row, without a square that may overflow; 1 for a row of zeros."""
    largest = jnp.max(jnp.abs(matrix), axis=-1)
    largest = jnp.where(largest == 0, 1, largest)
    return largest * jnp.maximum(jnp.sqrt(jnp.sum((matrix / largest[..., None]) ** 2, axis=-1)), 1)
