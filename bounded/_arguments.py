"""Checks of arguments, made where a value is known: eagerly, and when a function is traced."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def positive(name: str, value: ArrayLike, like: jax.Array) -> jax.Array:
    def valid(value: jax.Array) -> jax.Array:
        return (value > 0) & jnp.isfinite(value)

    return _checked(name, value, like, valid, "must be positive and finite")


def nonnegative(name: str, value: ArrayLike, like: jax.Array) -> jax.Array:
    def valid(value: jax.Array) -> jax.Array:
        return (value >= 0) & jnp.isfinite(value)

    return _checked(name, value, like, valid, "must be nonnegative and finite")


def share(name: str, value: ArrayLike, like: jax.Array) -> jax.Array:
    def valid(value: jax.Array) -> jax.Array:
        return (value >= 0) & (value <= 1)

    return _checked(name, value, like, valid, "must lie in [0, 1]")


def bound(name: str, value: ArrayLike, dtype: jnp.dtype) -> jax.Array:
    """The bound in `dtype`; a finite one must not become infinite, which means no bound."""
    wide = jnp.promote_types(dtype, jnp.float32)
    if known(value):
        with jax.ensure_compile_time_eval():
            given = jnp.asarray(value, wide)
            if bool(jnp.any(jnp.isinf(given.astype(dtype)) & ~jnp.isinf(given))):
                raise ValueError(
                    f"{name} has finite values that are infinite in {dtype}, the type of raw and "
                    f"the bounds: {value}. Give raw in a wider type, or inf for no bound."
                )
    return jnp.asarray(value, wide).astype(dtype)


def known(value: ArrayLike) -> bool:
    return not isinstance(value, jax.core.Tracer)


def _checked(
    name: str,
    value: ArrayLike,
    like: jax.Array,
    valid: Callable[[jax.Array], jax.Array],
    expected: str,
) -> jax.Array:
    """The value in the type and shape of `like`."""
    if known(value):
        with jax.ensure_compile_time_eval():
            typed = jnp.asarray(value, like.dtype)
            if not bool(jnp.all(valid(typed))):
                raise ValueError(f"{name} {expected} in {like.dtype}, got {typed}.")
    return jnp.broadcast_to(jnp.asarray(value, like.dtype), like.shape)
