"""The arguments of `bounded.sets.balls`, checked, and what its functions do with them alike."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from bounded import _arguments, _formulas
from bounded.sets._inputs import array, broadcasts, check_raw, checked_axes, wide
from bounded.sets._rounding import in_place_of, infinite, unit


class Lengths(NamedTuple):
    """Arguments in the dtype of the computation, without NaN."""

    raw: jax.Array
    center: jax.Array  # of raw's shape
    bound: jax.Array  # radius or slope, not negative, with axes of length 1
    unlimited: jax.Array  # where it is inf, and stands as 1
    axes: tuple[int, ...]
    dtype: jnp.dtype  # of the output


def bounded_by(
    name: str,
    formula: Callable[[Lengths], jax.Array],
    raw: ArrayLike,
    which: str,
    bound: ArrayLike,
    axis: int | Sequence[int],
    center: ArrayLike | None = None,
) -> jax.Array:
    """The formula of arguments that are checked."""
    raw, bound = array(name, "raw", raw), array(name, which, bound)
    center = array(name, "center", 0.0 if center is None else center)
    check_raw(name, raw)
    dtype = jnp.result_type(raw, bound, center)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{name} needs a real {which} and center, got {dtype}.")
    axes = tuple(checked_axes(name, raw, axis))
    of_sets = tuple(size for place, size in enumerate(raw.shape) if place not in axes)
    for what, value, shape in ((which, bound, of_sets), ("center", center, raw.shape)):
        if not broadcasts(value.shape, shape):
            raise ValueError(
                f"{name}: {what} must broadcast to {shape}, "
                f"raw's shape{' without the axis' * (what == which)}, got {value.shape}."
            )
    bound = _arguments.bound(which, bound, dtype)
    bound = jnp.expand_dims(jnp.broadcast_to(bound, of_sets), axes)
    raw, center = raw.astype(dtype), jnp.broadcast_to(center.astype(dtype), raw.shape)
    output: jax.Array = _of_known(formula, raw, center, bound, axes)
    return output


@partial(jax.jit, static_argnums=(0, 4))  # so that an eager call compiles once
def _of_known(
    formula: Callable[[Lengths], jax.Array],
    raw: jax.Array,
    center: jax.Array,
    bound: jax.Array,
    axes: tuple[int, ...],
) -> jax.Array:
    """The formula; where an argument is NaN, it sees another, so that no derivative is NaN."""
    dtype = raw.dtype
    raw, center, bound = (x.astype(wide(dtype)) for x in (raw, center, bound))
    unknown = jnp.any(jnp.isnan(raw) | jnp.isnan(center), axis=axes, keepdims=True)
    unknown = unknown | jnp.isnan(bound)
    zeros = jnp.zeros_like(unknown, raw.dtype)  # lays all out on a mesh alike
    raw, center, bound = (
        jnp.where(unknown, instead, x + zeros) for x, instead in ((raw, 0), (center, 0), (bound, 1))
    )
    unlimited = jnp.isinf(bound) & (bound > 0)
    bound = jnp.where(unlimited, 1, _formulas.at_least(bound, jnp.zeros_like(bound)))
    output = formula(Lengths(raw, center, bound, unlimited, axes, dtype))
    return jnp.where(unknown, jnp.nan, output)


def scaled(
    place: jax.Array, center: ArrayLike, radius: jax.Array, axes: tuple[int, ...]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The place as seen from the center, and the radius, in a unit of their size; and the square of
    how far away it is."""
    offset = place - center
    scale = unit(jnp.maximum(jnp.abs(within(offset, offset.dtype)), radius), axes)
    direction = jnp.where(jnp.isinf(offset), place / scale - center / scale, offset / scale)
    return direction, radius / scale, jnp.sum(direction**2, axis=axes, keepdims=True)


def within(values: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """The values, none of them beyond the dtype's largest number."""
    most = float(jnp.finfo(dtype).max)
    return jnp.clip(values, -most, most)


def held(ball: Lengths, moved: jax.Array, stays: jax.Array) -> jax.Array:
    """`center + moved`, or raw where it stays, in the output's dtype and inside as that is rounded,
    which has no derivative."""
    output = jnp.where(stays, ball.raw, ball.center + moved).astype(ball.dtype)
    raw, center, bound, moved = map(lax.stop_gradient, (ball.raw, ball.center, ball.bound, moved))
    offset = jnp.where(stays, raw - center, within(moved, moved.dtype))
    count = math.prod(offset.shape[place] for place in ball.axes)
    most = bound * (1 - (count / 2 + 8) * float(jnp.finfo(offset.dtype).eps))
    direction, ratio, square = scaled(offset, 0, most, ball.axes)
    over = (square > ratio**2) & ~ball.unlimited
    offset = jnp.where(over, direction * (most / jnp.sqrt(jnp.where(over, square, 1))), offset)
    value = (center + offset).astype(ball.dtype)
    too_far = jnp.abs(value.astype(offset.dtype) - center) > jnp.abs(offset)
    value = jnp.where(too_far, jnp.nextafter(value, center.astype(ball.dtype)), value)
    rounded: jax.Array = in_place_of(
        output, jnp.where(stays & ~over, raw.astype(ball.dtype), value)
    )
    return rounded


def outwards(ball: Lengths) -> jax.Array:
    """The raw that `ball_radial` draws to these outputs."""
    direction, ratio, square = scaled(ball.raw, ball.center, ball.bound, ball.axes)
    count = math.prod(ball.raw.shape[place] for place in ball.axes)
    eps = (count + 16) * float(jnp.finfo(ball.dtype).eps)
    fits = square <= (ratio * (1 + eps)) ** 2
    gap = ratio**2 - square
    inside = gap > 0
    raw = ball.center + direction * (ball.bound / jnp.sqrt(jnp.where(inside, gap, 1)))
    raw = jnp.where(inside, raw, jnp.where(ball.bound > 0, infinite(direction), ball.center))
    raw = jnp.where(fits, raw, jnp.nan)
    return jnp.where(ball.unlimited, ball.raw, raw).astype(ball.dtype)
