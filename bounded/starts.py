"""Where a network should begin: the value of its last bias.

A clip whose raw begins on or beyond its bound never learns, and a softer map learns slowly there.
So the last layer's bias should begin at the raw that gives the targets, on average:

    >>> import jax.numpy as jnp
    >>> from bounded import constraints, starts
    >>> targets = jnp.array([[0.25, 3.0], [0.5, 5.0]])
    >>> bias = starts.constant(constraints.clip, targets, lower=0.0)
    >>> bias.tolist()
    [0.375, 4.0]

In Flax, `model.dense.bias[...] = bias`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from bounded import inverses
from bounded.sets.affine import affine_radial
from bounded.sets.balls import ball_projection
from bounded.sets.rows import Rows

Inverse = Callable[..., jax.Array]

REACH_THEIR_BOUND = ("identity", "clip", "straight_through_clip", "leaky_clip")
KEEP_WHAT_IS_INSIDE = (
    "budget_projection",
    "budget_rescale",
    "affine_projection",
    "affine_hardnet",
    "affine_radial",
    "ball_projection",
    "cone_projection",
)
INVERTED_BUDGETS = ("budget_softmax", "budget_sequential")
INVERTED_RADIALS = ("ball_radial", "affine_soft_radial")


def constant(
    constraint: Callable[..., Any],
    targets: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    *,
    inverse: Inverse | None = None,
    where: ArrayLike | None = None,
    margin: float = 0.1,
) -> jax.Array:
    """The raw, one a feature, at which a network should begin: the mean, over the targets, of the
    raw that would give them through the constraint.

    For `identity`, the clips and maps that leave what is inside as it is (the projections), that is
    the mean target. One rule for all. It is not the constant that errs least through the
    constraint: where the bounds are heavy-tailed, that constant lies beyond most of them, so that
    most entries of a clip begin without a gradient, and all of them may.

    Where the constraint never reaches its bound, or is dead there (`relu_offset`), a target nearer
    to it than a margin is taken at that margin: a tenth of the standard deviation of its feature's
    targets, or of its interval where that is less. A budget's targets are also scaled down where
    their sum leaves less than that share of the total, and those of a radial map brought inside,
    where they lie beyond all but that share of the way to the boundary.

    Left out: targets that are NaN or infinite or not in `where`, those with a NaN bound, and those
    of an interval without width, which every raw gives. A feature without any target left begins
    at 0.

    Args:
      constraint: a function of `bounded.constraints`; one of `bounded.sets` with its total, radius
        or rows, in a `functools.partial`; one of your own, with `inverse`. Hyperparameters come in
        a partial too.
      targets: the training targets, (..., F).
      lower: lower bound, broadcastable to targets.
      upper: upper bound, or a budget's caps, broadcastable to targets.
      inverse: of a constraint of your own, `inverse(output, lower, upper) -> raw`.
      where: True for the targets that count, broadcastable to targets.
      margin: in (0, 0.5), the share that is a tenth above.

    Returns:
      (F,), in the dtype of targets.

    Raises:
      TypeError: for a constraint without a known inverse, and targets that are not floating point.
      ValueError: for a margin out of range, targets without axes, a set without its total, radius
        or rows.

    Example:
      >>> from bounded import constraints, sets
      >>> targets = jnp.array([[1.0], [3.0]])
      >>> halfway = constant(partial(constraints.sigmoid_interval, temperature=2.0), targets, 0, 4)
      >>> abs(halfway.round(4)).tolist()
      [0.0]
      >>> shares = partial(sets.budget_softmax, total=jnp.array([6.0, 6.0]))
      >>> print(constant(shares, jnp.array([[1.0, 2.0], [1.0, 2.0]])).round(4))
      [-1.0986 -0.4055]
    """
    function, keywords = _taken_apart(constraint)
    name = _name(function)
    targets = _checked(targets, margin)
    known = jnp.isfinite(targets)
    if where is not None:
        known &= jnp.broadcast_to(jnp.asarray(where, bool), targets.shape)
    y = jnp.where(known, targets, 0)
    room = margin * _spread(y, known)

    if inverse is not None:
        low, high = _bounds(lower, upper, y)
        raw = inverse(_inside(y, low, high, room, margin), lower, upper)
    elif name in KEEP_WHAT_IS_INSIDE:
        low, high = _bounds(None, None, y)
        raw = y
    elif name in INVERTED_BUDGETS:
        low, high, raw = _budget(name, y, lower, upper, room, margin, **keywords)
    elif name in INVERTED_RADIALS:
        low, high = _bounds(None, None, y)
        raw = _radial(name, y, margin, **keywords)
    elif hasattr(inverses, name):
        low, high = _image(name, *_bounds(lower, upper, y))
        raw = getattr(inverses, name)(_inside(y, low, high, room, margin), lower, upper, **keywords)
    else:
        raise TypeError(
            f"starts.constant knows no inverse of {constraint!r}. Give a function of "
            "bounded.constraints or bounded.sets, in a functools.partial if it has "
            "hyperparameters, or your own with inverse=..., a function "
            "(output, lower, upper) -> raw."
        )
    return _mean(raw, known & jnp.isfinite(raw) & (low < high))


def _taken_apart(constraint: Callable[..., Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    if isinstance(constraint, partial) and not constraint.args:
        return constraint.func, dict(constraint.keywords)
    return constraint, {}


def _name(function: Callable[..., Any]) -> str:
    """The function's name where it is a constraint of `bounded`, else nothing."""
    home = getattr(function, "__module__", None) or ""
    is_ours = home == "bounded.constraints" or home.startswith("bounded.sets.")
    return getattr(function, "__name__", "") if is_ours else ""


def _checked(targets: ArrayLike, margin: float) -> jax.Array:
    if not 0 < margin < 0.5:
        raise ValueError(f"margin must lie in (0, 0.5), got {margin}.")
    targets = jnp.asarray(targets)
    if not jnp.issubdtype(targets.dtype, jnp.floating):
        raise TypeError(
            f"starts.constant needs floating-point targets, got {targets.dtype}. "
            "Convert them first, for example targets.astype(jnp.float32)."
        )
    if not targets.ndim:
        raise ValueError("targets must be (..., F), got a scalar.")
    return targets


def _mean(values: jax.Array, where: jax.Array) -> jax.Array:
    """Over the leading axes; 0 of none."""
    leading = tuple(range(values.ndim - 1))
    wide = jnp.promote_types(values.dtype, jnp.float32)
    total = jnp.sum(jnp.where(where, values, 0), leading, wide)
    count = jnp.sum(where, leading, wide)
    return (total / jnp.maximum(count, 1)).astype(values.dtype)


def _spread(y: jax.Array, known: jax.Array) -> jax.Array:
    """The standard deviation of each feature, in the shape of y; 1 where it is 0."""
    deviation = y - jnp.broadcast_to(_mean(y, known), y.shape)
    spread = jnp.sqrt(_mean(deviation**2, known))
    return jnp.broadcast_to(jnp.where(spread > 0, spread, 1), y.shape)


def _bounds(
    lower: ArrayLike | None, upper: ArrayLike | None, y: jax.Array
) -> tuple[jax.Array, jax.Array]:
    lower = -jnp.inf if lower is None else lower
    upper = jnp.inf if upper is None else upper
    low, high = (jnp.broadcast_to(jnp.asarray(x, y.dtype), y.shape) for x in (lower, upper))
    return low, high


def _image(name: str, low: jax.Array, high: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Between what a map's outputs are, where it does not reach it."""
    if name in REACH_THEIR_BOUND:
        return jnp.full_like(low, -jnp.inf), jnp.full_like(high, jnp.inf)
    if name == "stretched_tanh":
        return -jnp.abs(high), jnp.abs(high)
    return low, high


def _inside(
    y: jax.Array, low: jax.Array, high: jax.Array, room: jax.Array, margin: float
) -> jax.Array:
    room = jnp.minimum(room, margin * (high - low))
    return jnp.clip(y, low + room, high - room)


def _budget(
    name: str,
    y: jax.Array,
    lower: ArrayLike | None,
    upper: ArrayLike | None,
    room: jax.Array,
    margin: float,
    *,
    total: ArrayLike | None = None,
    axis: int = -1,
    equality: bool = False,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Between what the entries lie, and the raw that gives them."""
    if total is None or lower is not None:
        raise ValueError(
            f"{name} needs its total, and has no lower bound: give "
            f"functools.partial({name}, total=...), and caps as upper."
        )
    whole = jnp.expand_dims(jnp.asarray(total, y.dtype), axis)
    whole = jnp.broadcast_to(whole, y.shape)
    low, cap = _bounds(0.0, upper, y)
    high = jnp.minimum(cap, whole)
    inside = _inside(y, low, high, room, margin)
    spent = jnp.sum(inside, axis, keepdims=True)
    most = whole if equality else jnp.minimum(spent, (1 - margin) * whole)
    inside = jnp.minimum(inside * (most / jnp.where(spent > 0, spent, 1)), high)
    raw = getattr(inverses, name)(inside, total, axis=axis, equality=equality, upper=upper)
    return low, high, raw


def _radial(name: str, y: jax.Array, margin: float, **given: Any) -> jax.Array:
    """The raw that gives the targets, of which none is nearer to the boundary than the margin; NaN
    where every raw gives them."""
    needs = {"ball_radial": ("radius",), "affine_soft_radial": ("rows", "interior")}[name]
    if not given.keys() >= set(needs):
        raise ValueError(
            f"{name} needs its {' and '.join(needs)}: give functools.partial({name}, "
            f"{', '.join(f'{one}=...' for one in needs)})."
        )
    if name == "ball_radial":
        radius = jnp.asarray(given.pop("radius"), y.dtype)
        inside = ball_projection(y, (1 - margin) * radius, **given)
        raw = inverses.ball_radial(inside, radius, **given)
        axis = given.get("axis", -1)
        wide = jnp.expand_dims(jnp.broadcast_to(radius, jnp.max(y, axis).shape), axis)
        return jnp.where(wide > 0, raw, jnp.nan)
    rows, interior = given["rows"], jnp.asarray(given["interior"], y.dtype)
    matrix = jnp.asarray(rows.matrix, y.dtype)
    place = jnp.einsum("...mn,...n->...m", matrix, interior)
    nearer = {
        side: None
        if bound is None
        else place + (1 - margin) * (jnp.asarray(bound, y.dtype) - place)
        for side, bound in (("lower", rows.lower), ("upper", rows.upper))
    }
    inside = affine_radial(y, Rows(matrix, **nearer), interior=interior)
    return inverses.affine_soft_radial(inside, rows, interior=interior)
