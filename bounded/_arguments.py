"""Arguments as the functions take them; what cannot be taken is refused by its name.

Values are checked where they are known: eagerly, and when a function is traced.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

Accepted = jax.Array | np.ndarray | np.generic | bool | int | float | complex
Side = Literal["lower", "upper"]


def array(name: str, value: Any) -> Any:
    """What jax takes for an array; also lists, and objects with `__jax_array__` or `__array__`.

    Numbers and numpy arrays stay what they are, for jax may drop some of their digits.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, whose masked entries would count as numbers. Fill it "
            f"first, for example {name}.filled(jnp.inf) for no bound there."
        )
    if isinstance(value, list | tuple):
        value = _joined(name, value)
    elif not isinstance(value, Accepted):
        if hasattr(value, "__jax_array__"):
            value = value.__jax_array__()
        elif hasattr(value, "__array__"):
            value = np.asarray(value)
    if not isinstance(value, Accepted):
        raise TypeError(
            f"{name} must be a number or an array, got {type(value).__name__}. "
            f"Convert it first, for example numpy.asarray({name}, float)."
        )
    if not _of_numbers(value):
        raise TypeError(
            f"{name} must hold numbers that jax knows, got dtype {getattr(value, 'dtype', None)}. "
            f"Convert it first, for example numpy.asarray({name}, float)."
        )
    return value


def _joined(name: str, parts: list[Any] | tuple[Any, ...]) -> jax.Array | np.ndarray:
    parts = [array(name, part) for part in parts]
    if len({np.shape(part) for part in parts}) > 1:
        raise ValueError(
            f"{name} is a list of parts that differ in shape. "
            "Give them one shape, for example by padding them with inf for no bound."
        )
    if any(isinstance(part, jax.Array) for part in parts):
        return jnp.stack([jnp.asarray(part) for part in parts])
    return np.asarray(parts)


def _of_numbers(value: Any) -> bool:
    try:
        return bool(jnp.isdtype(jnp.result_type(value), ("bool", "numeric")))
    except TypeError:
        return False


def floating(function: str, name: str, value: ArrayLike) -> ArrayLike:
    """The value as `array` gives it, of a floating dtype."""
    value = array(name, value)
    dtype = jnp.result_type(value)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"{function} needs a floating-point {name}, got {dtype}. "
            f"Convert it first, for example {name}.astype(jnp.float32)."
        )
    return value


def with_bounds(
    function: str,
    value: ArrayLike,
    lower: ArrayLike | None,
    upper: ArrayLike | None,
) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    """A value and its bounds, promoted to one floating dtype, the bounds in the value's shape."""
    given = {"lower": lower, "upper": upper}
    bounds = {side: array(side, bound) for side, bound in given.items() if bound is not None}
    dtype = jnp.result_type(value, *bounds.values())
    if jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(f"{function} needs real numbers and real bounds, got {dtype}.")
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(float)
    value = jnp.asarray(value, dtype)

    def fitted(side: Side) -> jax.Array | None:
        if side not in bounds:
            return None
        return fit(side, bound(side, bounds[side], dtype, side), value)

    return value, fitted("lower"), fitted("upper")


def fit(name: str, value: jax.Array, like: jax.Array) -> jax.Array:
    """The value in the shape and sharding of the output, which it must not change."""
    try:
        fits = jnp.broadcast_shapes(value.shape, like.shape) == like.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name} of shape {value.shape} does not broadcast to {like.shape}, the shape of the "
            f"output. Give it axes of the same length or of length 1, for example "
            f"{name}[..., None]."
        )
    return jnp.broadcast_arrays(like, value)[1]


def bound(name: str, value: ArrayLike, dtype: jnp.dtype, side: Side = "upper") -> jax.Array:
    """The bound in `dtype`; a finite one must not become infinite, which means no bound.

    An array of a wider dtype is rounded inwards: an upper bound down, a lower one up. A plain
    number has no dtype, and is rounded to the nearest.
    """
    value = array(name, value)
    if known(value):
        with jax.ensure_compile_time_eval():
            if bool(_overflows(value, dtype)):
                raise ValueError(
                    f"{name} has finite values that are infinite in {dtype}, the type of raw and "
                    f"the bounds: {value}. Give raw in a wider type, or inf for no bound."
                )
    if isinstance(value, np.ndarray | np.generic):
        with np.errstate(all="ignore"):
            return jnp.asarray(_inwards(value, dtype, side, np))
    if isinstance(value, jax.Array) and not value.aval.weak_type:
        return jnp.asarray(_inwards(value, dtype, side, jnp))
    return jnp.asarray(value, wide(dtype)).astype(dtype)


def wide(dtype: jnp.dtype) -> jnp.dtype:
    """float32, or `dtype` where that is wider."""
    return jnp.dtype(jnp.float32) if jnp.finfo(dtype).bits < 32 else jnp.dtype(dtype)


def _overflows(value: ArrayLike, dtype: jnp.dtype) -> Any:
    if isinstance(value, jax.Array):
        return jnp.any(jnp.isinf(value.astype(dtype)) & ~jnp.isinf(value))
    value = np.asarray(value)
    with np.errstate(all="ignore"):
        return np.any(np.isinf(value.astype(dtype)) & np.isfinite(value))


def _inwards(value: Any, dtype: jnp.dtype, side: Side, xp: Any) -> Any:
    """The nearest value in `dtype` that is not outside the given one."""
    near = value.astype(dtype)
    if value.dtype == bool or near.dtype == value.dtype:
        return near
    inside = xp.nextafter(near, xp.full_like(near, -jnp.inf if side == "upper" else jnp.inf))
    return xp.where(_outside(near, value, side, xp), inside, near)


def _outside(near: Any, value: Any, side: Side, xp: Any) -> Any:
    """Whether the rounded value lies outside the given one, compared in the latter's type."""
    if jnp.issubdtype(value.dtype, jnp.floating):
        back = near.astype(value.dtype)
        return back > value if side == "upper" else back < value
    info = jnp.iinfo(value.dtype)
    near = near.astype(wide(near.dtype))
    above, under = near >= float(info.max) + 1, near < float(info.min)
    back = xp.where(above | under, xp.zeros_like(near), near).astype(value.dtype)
    if side == "upper":
        return above | (~under & (back > value))
    return under | (~above & (back < value))


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


def known(value: Any) -> bool:
    return not isinstance(value, jax.core.Tracer)


def mask(name: str, value: ArrayLike | None, like: jax.Array) -> jax.Array | None:
    """Which entries count, as in `jnp.mean`, in the shape of the entries."""
    if value is None:
        return None
    value = jnp.asarray(array(name, value))
    if value.dtype != bool:
        raise TypeError(
            f"{name} must be boolean, True where an entry counts, got {value.dtype}. "
            f"Compare first, for example {name} > 0."
        )
    return fit(name, value, like)


def _checked(
    name: str,
    value: ArrayLike,
    like: jax.Array,
    valid: Callable[[jax.Array], jax.Array],
    expected: str,
) -> jax.Array:
    """The value in the type and shape of `like`."""
    value = array(name, value)
    if known(value):
        with jax.ensure_compile_time_eval():
            typed = jnp.asarray(value, like.dtype)
            if not bool(jnp.all(valid(typed))):
                raise ValueError(f"{name} {expected} in {like.dtype}, got {typed}.")
    return fit(name, jnp.asarray(value, like.dtype), like)
