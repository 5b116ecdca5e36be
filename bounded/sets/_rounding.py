"""What keeps rounding from being seen, for sets of every kind."""

import jax
import jax.numpy as jnp

# What stands in place of a value that rounding has spoilt keeps the derivative of that value.
in_place_of = jax.custom_jvp(lambda value, better: better)
in_place_of.defjvps(lambda dot, answer, value, better: dot, None)


def unit(values: jax.Array, axis: int | tuple[int, ...] = -1) -> jax.Array:
    """A power of two by which to divide, so that the largest entry is about 1 and no product of two
    overflows; nothing is rounded by it, and it has no derivative."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(values), axis, keepdims=True, initial=0))
    info = jnp.finfo(values.dtype)
    exponent = jnp.clip(jnp.frexp(largest)[1], info.minexp, info.maxexp - 2)
    return jnp.ldexp(jnp.ones_like(largest), exponent)


def infinite(direction: jax.Array) -> jax.Array:
    """What lies infinitely far in that direction."""
    return jnp.where(direction == 0, 0, jnp.sign(direction) * jnp.inf)
