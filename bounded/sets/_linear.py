"""Products and solutions of small systems, many at a time, behind `bounded.sets`.

On a CPU `jnp.linalg` calls LAPACK, and two calls of it for many matrices, such as two heads of a
network make, may wait for each other for ever up to jaxlib 0.10: each keeps a thread waiting for
work that it has given to the same threads. So the Cholesky factors here are a loop of XLA's own,
which needs no care on a mesh of explicit axes. It takes a half longer than LAPACK for 50 rows, and
less for 5.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

EXACT = lax.Precision.HIGHEST  # accelerators round the factors of a product otherwise
BLOCK = 16  # rows beyond which the rest is left to products of matrices, which are faster


def product(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """`matrix @ vector`, for one matrix or for one a vector."""
    if matrix.ndim == 2:
        return jnp.matmul(vector, matrix.T, precision=EXACT)
    return jnp.einsum("...mn,...n->...m", matrix, vector, precision=EXACT)


def transpose(matrix: jax.Array) -> jax.Array:
    return jnp.swapaxes(matrix, -1, -2)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def inverse_factor(matrix: jax.Array, least: float = 0.0) -> jax.Array:
    """The inverse X of the lower factor: `X @ matrix @ X.T = I`, (..., n, n), for n > 0.

    Where the square of a pivot is no larger than `least`, the row of X is 0: the matrix's row
    depends on those before it.
    """
    size = matrix.shape[-1]
    if size > BLOCK:
        half = size // 2
        first = inverse_factor(matrix[..., :half, :half], least)
        below = _matmul(matrix[..., half:, :half], transpose(first))
        rest = matrix[..., half:, half:] - _matmul(below, transpose(below))
        last = inverse_factor(rest, least)
        corner = -_matmul(last, _matmul(below, first))
        none = jnp.zeros_like(transpose(corner))
        return jnp.block([[first, none], [corner, last]])
    place = lax.broadcasted_iota(jnp.int32, matrix.shape[:-1], matrix.ndim - 2)

    def add(step: jax.Array, inverse: jax.Array) -> jax.Array:
        here = (place == step).astype(matrix.dtype)
        column = lax.dynamic_index_in_dim(matrix, step, -1, keepdims=False)
        follow = product(inverse, column)
        square = jnp.sum(here * column - follow**2, axis=-1, keepdims=True)
        stands = square > least
        row = (here - product(transpose(inverse), follow)) / jnp.sqrt(jnp.where(stands, square, 1))
        return inverse + here[..., :, None] * jnp.where(stands, row, 0)[..., None, :]

    found: jax.Array = lax.fori_loop(0, size, add, jnp.zeros_like(matrix))
    return found


@inverse_factor.defjvp
def _inverse_factor_jvp(
    least: float, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    inverse = inverse_factor(*primals, least)
    (dot,) = tangents
    dot = _matmul(_matmul(inverse, (dot + transpose(dot)) / 2), transpose(inverse))
    return inverse, -_matmul((jnp.tril(dot) + jnp.tril(dot, -1)) / 2, inverse)


def solved(
    multiply: Callable[[jax.Array], jax.Array], inverse: jax.Array, vector: jax.Array
) -> jax.Array:
    """The solution by an inverse that has lost a few digits."""

    def by_inverse(multiply, vector: jax.Array) -> jax.Array:  # type: ignore[no-untyped-def]
        first = product(inverse, vector)
        return first + product(inverse, vector - multiply(first))

    solution: jax.Array = lax.custom_linear_solve(multiply, vector, by_inverse, symmetric=True)
    return solution


def solver(gram: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """What solves `gram @ solution = vector`, for rows of unit norm; rows that depend on those
    before them have a solution of 0. The derivative is that of the equation."""
    least = (gram.shape[-1] + 8) * float(jnp.finfo(gram.dtype).eps)
    factor = inverse_factor(lax.stop_gradient(gram), least)
    inverse = _matmul(transpose(factor), factor)
    return partial(solved, partial(product, gram), inverse)


def _matmul(one: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.matmul(one, other, precision=EXACT)
