"""The arguments of `bounded.sets.affine`, checked, and what its functions do with them alike."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from bounded import _formulas
from bounded.sets import _active_set
from bounded.sets._active_set import product
from bounded.sets._inputs import array, broadcasts, known, wide
from bounded.sets.rows import Rows, check_rows, side


class Problem(NamedTuple):
    """Arguments in the dtype of the computation. Where one is NaN, its set is 0 without a bound, so
    that no derivative is NaN, and `finish` makes it NaN."""

    raw: jax.Array  # (..., n)
    matrix: jax.Array  # (m, n), or (..., m, n)
    lower: jax.Array  # (..., m)
    upper: jax.Array  # (..., m)
    interior: jax.Array | None  # (..., n)
    unknown: jax.Array  # (..., 1): NaN in any of them
    dtype: jnp.dtype  # of the output

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
        solution: _active_set.Solution = _active_set.project(self.raw, *self.at_unit_norm(), steps)
        return solution.output, solution.residual[..., None]

    def finish(self, values: jax.Array) -> jax.Array:
        """In the output's dtype."""
        return jnp.where(self.unknown, jnp.nan, values).astype(self.dtype)

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
        direction = point - start
        # In units of its length, so that its products do not overflow; the units cancel.
        length = jax.lax.stop_gradient(jnp.max(jnp.abs(direction), axis=-1, keepdims=True))
        direction = direction / jnp.where(length == 0, 1, length)
        slope, place = product(self.matrix, direction), product(self.matrix, start)
        eps = (2 * point.shape[-1] + 8) * float(jnp.finfo(self.dtype).eps)
        noise = jax.lax.stop_gradient(eps * product(jnp.abs(self.matrix), jnp.abs(direction)))
        origin = jax.lax.stop_gradient(eps * product(jnp.abs(self.matrix), jnp.abs(start)))
        factor = length
        for sign, bound in ((1, self.upper), (-1, self.lower)):
            exists = ~jnp.isinf(bound) & (self.lower != self.upper)
            bound = jnp.where(exists, bound, 0)
            slack = sign * (bound - place) - origin - jax.lax.stop_gradient(eps * jnp.abs(bound))
            steepness = sign * slope + noise
            meets = exists & ~(steepness <= 0)  # NaN meets, so that it shows
            reach = jax.nn.relu(slack) / jnp.where(meets, steepness, 1)
            reach = jnp.where(meets, reach, jnp.inf)
            reach = jnp.min(reach, axis=-1, keepdims=True, initial=jnp.inf)
            factor = jnp.minimum(factor, reach)
        return jnp.where(factor >= length, point, start + factor * direction)


# What stands in place of a value that rounding has spoilt keeps the derivative of that value.
in_place_of = jax.custom_jvp(lambda value, better: better)
in_place_of.defjvps(lambda dot, answer, value, better: dot, None)


def prepare(name: str, raw: ArrayLike, rows: Rows, interior: ArrayLike | None = None) -> Problem:
    check_rows(name, rows)
    raw, matrix = array(name, "raw", raw), array(name, "rows.matrix", rows.matrix)
    if not jnp.issubdtype(raw.dtype, jnp.floating):
        raise TypeError(
            f"{name} needs a floating-point raw, got {raw.dtype}. "
            "Convert it first, for example raw.astype(jnp.float32)."
        )
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
    dtype = jnp.result_type(raw, matrix, lower, upper, point)
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
    unknown = unknown[..., None]
    zeros = jnp.zeros_like(unknown, raw.dtype)  # lays all out on a mesh alike
    raw, point, lower, upper = (x + zeros for x in (raw, point, lower, upper))
    if matrix.ndim == 2:
        matrix = jnp.where(strange & jnp.any(unknown), 0, matrix)  # varies as the sets do
    else:
        matrix = jnp.where(unknown[..., None], 0, matrix + zeros[..., None])
    lower = jnp.where(jnp.isinf(lower) | unknown, -jnp.inf, lower)
    upper = jnp.where(jnp.isinf(upper) | unknown, jnp.inf, upper)
    return Problem(
        raw=jnp.where(unknown, 0, raw),
        matrix=matrix,
        lower=_formulas.at_most(lower, upper),
        upper=upper,
        interior=None if interior is None else jnp.where(unknown, 0, point),
        unknown=unknown,
        dtype=dtype,
    )


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


def _norm(matrix: jax.Array) -> jax.Array:
    """Of each row, without a square that may overflow; 1 for a row of zeros."""
    largest = jnp.max(jnp.abs(matrix), axis=-1)
    largest = jnp.where(largest == 0, 1, largest)
    return largest * jnp.maximum(jnp.sqrt(jnp.sum((matrix / largest[..., None]) ** 2, axis=-1)), 1)
