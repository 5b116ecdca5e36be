"""The arguments of `bounded.sets.affine`, checked, and what its functions do with them alike."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from bounded import _formulas
from bounded.sets import _active_set
from bounded.sets._active_set import product


class Problem(NamedTuple):
    """Arguments in the dtype of the computation, equalities among the rows."""

    raw: jax.Array  # (..., n)
    matrix: jax.Array  # (m, n), or (..., m, n)
    lower: jax.Array  # (..., m)
    upper: jax.Array  # (..., m)
    interior: jax.Array | None
    dtype: jnp.dtype  # of the output

    def at_unit_norm(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Matrix, lower and upper; the set does not depend on the norms, nor do derivatives."""
        norm = jax.lax.stop_gradient(_norm(self.matrix))
        spread = jnp.broadcast_to(norm, self.lower.shape)
        return self.matrix / norm[..., None], self.lower / spread, self.upper / spread

    def solve(self, steps: int | None) -> _active_set.Solution:
        steps = 10 * self.matrix.shape[-2] if steps is None else steps
        solution: _active_set.Solution = _active_set.project(self.raw, *self.at_unit_norm(), steps)
        return solution

    def finish(self, output: jax.Array) -> jax.Array:
        """The output in its dtype, repaired if an interior point is known."""
        if self.interior is not None:
            output = _repaired(output, self.towards(self.interior, output))
        return output.astype(self.dtype)

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
            reach = jnp.min(jnp.where(meets, reach, jnp.inf), axis=-1, keepdims=True)
            factor = jnp.minimum(factor, reach)
        return jnp.where(factor >= length, point, start + factor * direction)


# The repair keeps the derivative of what it repairs.
_repaired = jax.custom_jvp(lambda output, repaired: repaired)
_repaired.defjvps(lambda dot, answer, output, repaired: dot, None)


def prepare(
    name: str,
    raw: ArrayLike,
    matrix: ArrayLike,
    upper: ArrayLike | None,
    lower: ArrayLike | None,
    equality_matrix: ArrayLike | None,
    equality_value: ArrayLike | None,
    interior: ArrayLike | None,
) -> Problem:
    if not jnp.issubdtype(jnp.result_type(raw), jnp.floating):
        raise TypeError(
            f"{name} needs a floating-point raw, got {jnp.result_type(raw)}. "
            "Convert it first, for example raw.astype(jnp.float32)."
        )
    if upper is None and lower is None:
        raise ValueError(
            f"{name} needs a bound, but upper and lower are both None. "
            "Give one; for equalities alone, give their values as both."
        )
    if (equality_matrix is None) != (equality_value is None):
        missing = "equality_matrix" if equality_matrix is None else "equality_value"
        raise ValueError(f"{name} needs both halves of an equality, but {missing} is missing.")
    given = (raw, matrix, upper, lower, equality_matrix, equality_value, interior)
    dtype = jnp.result_type(*(value for value in given if value is not None))
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{name} needs real numbers, got {dtype}.")
    wide = jnp.promote_types(dtype, jnp.float32)

    raw = jnp.asarray(raw, wide)
    if raw.ndim == 0:
        raise ValueError(f"{name} needs a raw of shape (..., n), got a scalar.")
    size = raw.shape[-1]
    matrix = _matrix(name, "matrix", matrix, size, wide)
    lower = _bound(name, "lower", -jnp.inf if lower is None else lower, matrix, wide)
    upper = _bound(name, "upper", jnp.inf if upper is None else upper, matrix, wide)
    lower = jnp.where(jnp.isinf(lower), -jnp.inf, lower)
    upper = jnp.where(jnp.isinf(upper), jnp.inf, upper)
    matrices, lowers, uppers = [matrix], [lower], [upper]
    if equality_matrix is not None and equality_value is not None:
        matrix = _matrix(name, "equality_matrix", equality_matrix, size, wide)
        value = _bound(name, "equality_value", equality_value, matrix, wide)
        matrices.append(matrix)
        lowers.append(jnp.where(jnp.isinf(value), -jnp.inf, value))
        uppers.append(jnp.where(jnp.isinf(value), jnp.inf, value))
    points = [raw]
    if interior is not None:
        points.append(jnp.asarray(interior, wide))
        if points[1].shape[-1:] != (size,):
            raise ValueError(
                f"{name} needs an interior point of shape (..., {size}), as raw has, "
                f"got {points[1].shape}."
            )
    shapes = [x.shape[:-2] for x in matrices] + [x.shape[:-1] for x in (*lowers, *uppers, *points)]
    try:
        leading = jnp.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(
            f"{name} needs leading axes that broadcast: raw has {raw.shape[:-1]}, the others "
            f"{sorted({shape for shape in shapes if shape})}. They are the axes before the last "
            "one, of a matrix before the last two."
        ) from None
    if all(matrix.size == matrix.shape[-2] * size for matrix in matrices):
        stacked = jnp.concatenate([matrix.reshape(-1, size) for matrix in matrices])
    else:
        stacked = jnp.concatenate(
            [jnp.broadcast_to(matrix, (*leading, *matrix.shape[-2:])) for matrix in matrices], -2
        )

    def spread(parts: list[jax.Array]) -> jax.Array:
        return jnp.concatenate(
            [jnp.broadcast_to(part, (*leading, part.shape[-1])) for part in parts], -1
        )

    points = [jnp.broadcast_to(point, (*leading, size)) for point in points]
    upper = spread(uppers)
    return Problem(
        raw=points[0],
        matrix=stacked,
        lower=_formulas.at_most(spread(lowers), upper),
        upper=upper,
        interior=points[1] if interior is not None else None,
        dtype=dtype,
    )


def _norm(matrix: jax.Array) -> jax.Array:
    """Of each row, without a square that may overflow; 1 for a row of zeros."""
    largest = jnp.max(jnp.abs(matrix), axis=-1)
    largest = jnp.where(largest == 0, 1, largest)
    return largest * jnp.maximum(jnp.sqrt(jnp.sum((matrix / largest[..., None]) ** 2, axis=-1)), 1)


def _matrix(name: str, argument: str, value: ArrayLike, size: int, dtype: jnp.dtype) -> jax.Array:
    matrix = jnp.asarray(value, dtype)
    if matrix.ndim < 2 or matrix.shape[-1] != size or matrix.shape[-2] == 0:
        raise ValueError(
            f"{name} needs {argument} of shape (..., rows, {size}), a column for each entry of "
            f"raw's last axis, got {matrix.shape}. For one row, add an axis: {argument}[None]."
        )
    return matrix


def _bound(
    name: str, argument: str, value: ArrayLike, matrix: jax.Array, dtype: jnp.dtype
) -> jax.Array:
    """(..., rows), broadcast over the rows if a scalar or of one entry."""
    bound, rows = jnp.asarray(value, dtype), matrix.shape[-2]
    if bound.shape[-1:] not in ((), (1,), (rows,)):
        raise ValueError(
            f"{name} needs {argument} of shape (..., {rows}), an entry for each row of a matrix "
            f"of shape {matrix.shape}, got {bound.shape}."
        )
    return jnp.broadcast_to(bound, (*bound.shape[:-1], rows))
