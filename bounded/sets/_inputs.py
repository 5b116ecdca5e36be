"""What `bounded.sets` takes for an array."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def array(name: str, argument: str, value: ArrayLike) -> jax.Array:
    """As `jnp.asarray`, which takes lists and objects with `__jax_array__`; a plain number stays
    weakly typed, and what is known while a function is traced stays known."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} cannot take a masked array as {argument}: its fill values would count. Give a "
            f"plain array, for example {argument}.filled(...), with inf or -inf for no bound."
        )
    try:
        if not known(value):
            return jnp.asarray(value)
        with jax.ensure_compile_time_eval():
            return jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} needs an array of numbers as {argument}, got {type(value).__name__} "
            f"({error}). Convert it first, for example by numpy.asarray({argument}, float)."
        ) from error


def check_raw(name: str, raw: jax.Array) -> None:
    if not jnp.issubdtype(raw.dtype, jnp.floating):
        raise TypeError(
            f"{name} needs a floating-point raw, got {raw.dtype}. "
            "Convert it first, for example raw.astype(jnp.float32)."
        )


def check_steps(name: str, steps: int) -> None:
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer):
        raise TypeError(
            f"{name} needs a whole number as steps, got {steps!r}. They are the most that are "
            "taken, fixed when it is compiled: give a plain int, for example steps=50."
        )
    if steps < 0:
        raise ValueError(
            f"{name} needs steps of at least 0, got {steps}. They are the most that are taken; "
            "leave them out for the usual number."
        )


def known(value: ArrayLike | None) -> bool:
    convert = getattr(value, "__jax_array__", None)  # which a traced array has as None
    value = value if convert is None else convert()
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value))


def wide(dtype: jnp.dtype) -> jnp.dtype:
    """The type of the computation, float32 at least."""
    return jnp.dtype(jnp.float32) if jnp.finfo(dtype).bits < 32 else dtype


def broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return jnp.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def checked_axes(name: str, raw: jax.Array, axis: int | Sequence[int]) -> list[int]:
    """From the front and in order."""
    axes = [axis] if isinstance(axis, int | np.integer) else list(axis)
    for one in axes:
        if not -raw.ndim <= one < raw.ndim:
            raise ValueError(f"{name}: axis {one} is not one of raw, whose shape is {raw.shape}.")
    found = sorted({one % raw.ndim for one in axes})
    if not axes or len(found) < len(axes):
        raise ValueError(f"{name} needs one axis or several different ones, got {axis}.")
    return found
