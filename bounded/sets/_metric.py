"""Distances that weigh outputs unlike: a set is carried to where they are Euclidean, and back."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from bounded.sets._inputs import array, broadcasts, known
from bounded.sets._linear import EXACT, inverse_factor, product, transpose


class Metric(NamedTuple):
    """`(y - z)ᵀ W (y - z) = ‖into (y - z)‖²`, with `into` the transposed Cholesky factor of W and
    `back` its inverse; of diagonal weights both are vectors, so that no output meets another."""

    into: jax.Array  # (..., n), or (..., n, n)
    back: jax.Array  # (..., n), or (..., n, n)
    diagonal: bool

    def carry(self, vector: jax.Array) -> jax.Array:
        return self._times(self.into, vector)

    def carry_back(self, vector: jax.Array) -> jax.Array:
        return self._times(self.back, vector)

    def _times(self, factor: jax.Array, vector: jax.Array) -> jax.Array:
        if self.diagonal:
            return vector * jnp.broadcast_to(factor, vector.shape)
        return product(factor, vector)

    def of_rows(self, matrix: jax.Array) -> jax.Array:
        """The rows as functions of what is carried."""
        if not self.diagonal:
            return jnp.matmul(matrix, self.back, precision=EXACT)
        columns = self.back[..., None, :]
        shape = jnp.broadcast_shapes(matrix.shape, columns.shape)
        return jnp.broadcast_to(matrix, shape) * jnp.broadcast_to(columns, shape)


class Weights(NamedTuple):
    """As they are given, of a shape that fits."""

    weights: jax.Array
    diagonal: bool

    def as_metric(self, raw: jax.Array) -> tuple[Metric, jax.Array]:
        """In raw's dtype; and in which sets, (...), a weight is NaN, which have another metric."""
        weights, own = self.weights.astype(raw.dtype), 1 if self.diagonal else 2
        leading = weights.shape[: weights.ndim - own]
        if all(length == 1 for length in leading):
            weights = weights.reshape(weights.shape[len(leading) :])
        else:
            weights = jnp.broadcast_to(weights, (*raw.shape[:-1], *weights.shape[len(leading) :]))
        unknown = jnp.any(jnp.isnan(weights), axis=tuple(range(-own, 0)), keepdims=True)
        if self.diagonal:
            root = jnp.sqrt(jnp.where(unknown, 1, weights))
            return Metric(root, 1 / root, self.diagonal), unknown[..., 0]
        identity = jnp.broadcast_to(jnp.eye(weights.shape[-1], dtype=raw.dtype), weights.shape)
        weights = jnp.where(unknown, identity, (weights + transpose(weights)) / 2)
        inverse = inverse_factor(weights)
        stands = jnp.diagonal(inverse, axis1=-2, axis2=-1) > 0
        inverse = jnp.where(jnp.all(stands, axis=-1)[..., None, None], inverse, jnp.nan)
        into = jnp.triu(jnp.matmul(inverse, weights, precision=EXACT))
        return Metric(into, transpose(inverse), self.diagonal), unknown[..., 0, 0]


def checked_weights(name: str, weights: ArrayLike, shape: tuple[int, ...]) -> Weights:
    """For a raw of this shape."""
    weights = array(name, "weights", weights)
    *leading, size = shape
    is_diagonal = weights.shape[-1:] == (size,) and broadcasts(weights.shape, shape)
    is_full = weights.shape[-2:] == (size, size) and broadcasts(weights.shape[:-2], tuple(leading))
    if is_diagonal and is_full and size > 1:
        raise ValueError(
            f"{name} cannot tell whether weights of shape {weights.shape} are diagonals or a "
            f"matrix, for a raw of shape {shape}. Give a matrix an axis for each of raw's, "
            f"{(*(1,) * len(leading), size, size)}; make diagonals matrices, "
            "weights[..., None] * jnp.eye(n)."
        )
    if not is_diagonal and not is_full:
        raise ValueError(
            f"{name} needs weights of shape (..., {size}), a diagonal, or (..., {size}, {size}), a "
            f"matrix, with leading axes that broadcast to raw's, {tuple(leading)}, "
            f"got {weights.shape}."
        )
    if known(weights):
        with jax.ensure_compile_time_eval():
            _refuse_unless_positive(name, np.asarray(weights, float), is_diagonal)
    return Weights(weights, is_diagonal)


def _refuse_unless_positive(name: str, weights: np.ndarray, is_diagonal: bool) -> None:
    unknown = np.isnan(weights)
    if is_diagonal:
        bad = ~((weights > 0) & np.isfinite(weights)) & ~unknown
        if bad.any():
            raise ValueError(
                f"{name} needs weights that are positive and finite, got {weights[bad][0]}. "
                "A weight is the inverse of a variance: more for what is to move less."
            )
        return
    unknown = unknown.any((-2, -1), keepdims=True)
    try:
        np.linalg.cholesky(np.where(unknown, np.eye(weights.shape[-1]), weights))
    except np.linalg.LinAlgError as error:
        raise ValueError(
            f"{name} needs weights that are a positive definite matrix, and these are not. They "
            "are the inverse of a covariance: shrink that to its diagonal first, if it comes of "
            "fewer samples than outputs."
        ) from error
