"""Balls and cones that depend on the input: outputs that are bounded by their length.

`ball_…(raw, radius, *, axis=-1, center=None)` keeps `‖y - center‖ <= radius` along an axis, such as
the components of the wind within its gust, or accelerations within a friction circle;
`cone_projection(raw, *, axis=-1, slope=1.0)` keeps `‖v‖ <= slope t`, where t is an output as well.

What they share:

* The bound holds **exactly**, for the length of the output as a real number and as computed in any
  order of summation: in float32 and float64 in the output's dtype, in bfloat16 and float16 in
  float32. An output within `(n / 2 + 8) eps radius` of the boundary, with n entries and eps that
  of the dtype it is computed in, is moved inside by as much; a center is taken into account. All
  this as long as the squares of the output neither overflow nor underflow.
* The half precisions compute in float32, and round at the end, towards the center.
* None of raw's scale is lost: neither the square of a large raw nor that of a small one matters.
  Finite arguments give a finite output: a cone's t beyond the dtype's largest number is that
  number, and v as near as that lets it.
* An inf radius or slope is no bound, a negative one counts as 0.
* NaN in raw, the center, the radius or the slope gives NaN in that set and in no other, and
  derivatives of 0.
* Derivatives are the formula's, to all arguments, forward and backward, of any order. The last
  rounding has none. Of a raw below a hundred times the smallest normal number terms underflow, and
  where a cone's raw is so large that the sum of its entries overflows, sums of terms may too.

Errors: `TypeError` for a raw that is not floating point and for masked arrays; `ValueError` for a
radius, slope or center that does not broadcast, and for an axis that raw does not have.

`optax.projections.projection_l2_ball` is the ball of one constant radius about 0 for a whole tree;
it squares what it is given and lets its output exceed the radius by rounding.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from bounded import _formulas
from bounded.sets._lengths import Lengths, bounded_by, held, scaled, within
from bounded.sets._rounding import in_place_of, unit


def ball_projection(
    raw: ArrayLike,
    radius: ArrayLike,
    *,
    axis: int | Sequence[int] = -1,
    center: ArrayLike | None = None,
) -> jax.Array:
    """Euclidean projection onto the ball, `‖y - c‖ <= r`: raw inside, else `c + r d / ‖d‖`.

    With `d = z - c`.

    Derivative to raw: I inside and on the boundary, else `(I - d dᵀ / ‖d‖²) r / ‖d‖`: **dead along
    d**, its rank n - 1, and as far outside as raw lies, as much smaller; 0 where the radius is. To
    the radius `d / ‖d‖` outside, else 0.

    Cost: O(n) a set.

    Args:
      raw: the network's last linear output z, any shape.
      radius: r, of raw's shape without `axis`, or what broadcasts to that.
      axis: along which the outputs share the ball; several axes share one.
      center: c, broadcastable to raw; None for 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import ball_projection
      >>> wind, gust = jnp.array([[3.0, 4.0], [1.0, 1.0]]), jnp.array([2.5, 2.0])
      >>> print(ball_projection(wind, gust).round(4))
      [[1.5 2. ]
       [1.  1. ]]
    """
    return bounded_by("ball_projection", _projection, raw, "radius", radius, axis, center)


def ball_radial(
    raw: ArrayLike,
    radius: ArrayLike,
    *,
    axis: int | Sequence[int] = -1,
    center: ArrayLike | None = None,
) -> jax.Array:
    """Raw drawn to the inside of the ball, smoothly: `c + d r / sqrt(r² + ‖d‖²)`, with `d = z - c`.

    Nearly raw well inside; the boundary is reached by rounding alone.

    Derivative to raw: **of full rank wherever r > 0**, `(1 + g²)^(-1/2)` across d and
    `(1 + g²)^(-3/2)` along it, with `g = ‖d‖ / r`: it fades far outside, along d as the cube of the
    distance, and underflows in the end. To the radius `d g² / ‖d‖ (1 + g²)^(-3/2)`.

    Cost: O(n) a set.

    The map of the plane onto a disk that perspective makes of a hemisphere; for affine sets,
    `affine_soft_radial`.

    Args:
      raw: the network's last linear output z, any shape.
      radius: r, of raw's shape without `axis`, or what broadcasts to that.
      axis: along which the outputs share the ball; several axes share one.
      center: c, broadcastable to raw; None for 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import ball_radial
      >>> grip = 8.0  # a friction circle: braking and cornering share what the tyre can hold
      >>> print(ball_radial(jnp.array([6.0, -8.0]), grip).round(4))
      [ 3.7482 -4.9976]
    """
    return bounded_by("ball_radial", _radial, raw, "radius", radius, axis, center)


def cone_projection(raw: ArrayLike, *, axis: int = -1, slope: ArrayLike = 1.0) -> jax.Array:
    """Euclidean projection onto the second-order cone, `‖v‖ <= s t` and `t >= 0`.

    **The first entry along the axis is t, the others are v.**

    For outputs of which one bounds the length of the others: wind and its gust, both predicted, or
    a contact's force, whose tangential part is at most friction times its normal part.

    Raw inside; 0 in the polar cone, where `s ‖v‖ <= -t`; else the point `a (1, s v / ‖v‖)` of the
    surface with `a = (t + s ‖v‖) / (1 + s²)`.

    Derivative to raw: I inside and on the boundary; outside **dead along the surface's normal**, of
    rank n - 1, or 1 where s = 0; **0 in the polar cone**, from which raw never comes back.

    Cost: O(n) a set.

    Args:
      raw: the network's last linear output, any shape: t, then v, along the axis.
      axis: along which a cone lies.
      slope: s, of raw's shape without `axis`, or what broadcasts to that; inf keeps t >= 0 alone.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import cone_projection
      >>> gust_and_wind = jnp.array([[0.0, 3.0, 4.0], [6.0, 3.0, 4.0], [-6.0, 3.0, 4.0]])
      >>> print(cone_projection(gust_and_wind).round(4))
      [[2.5 1.5 2. ]
       [6.  3.  4. ]
       [0.  0.  0. ]]
    """
    return bounded_by("cone_projection", _cone, raw, "slope", slope, axis)


def _projection(ball: Lengths) -> jax.Array:
    direction, ratio, square = scaled(ball.raw, ball.center, ball.bound, ball.axes)
    outside = (square > ratio**2) & ~ball.unlimited
    on_sphere = direction * (ball.bound / jnp.sqrt(jnp.where(outside, square, 1)))
    return held(ball, on_sphere, ~outside)


def _radial(ball: Lengths) -> jax.Array:
    direction, ratio, square = scaled(ball.raw, ball.center, ball.bound, ball.axes)
    point = (ratio == 0) & (square == 0)
    share = ball.bound / jnp.sqrt(jnp.where(point, 1, ratio**2 + square))
    return held(ball, direction * share, ball.unlimited)


def _cone(cone: Lengths) -> jax.Array:
    axis, *more = cone.axes
    if more or cone.raw.shape[axis] == 0:
        raise ValueError(
            f"cone_projection needs one axis with t and v along it, got {len(cone.axes)} for a "
            f"raw of shape {cone.raw.shape}. Put t first and v after it."
        )
    raw, slope, unlimited = (
        jnp.moveaxis(x, axis, -1) for x in (cone.raw, cone.bound, cone.unlimited)
    )
    # Only the direction of (1, s), which is the surface, matters, and no scale of raw.
    scale, steepness = unit(raw), unit(jnp.maximum(slope, 1))
    up, out = 1 / steepness, slope / steepness

    def lengths(raw: jax.Array) -> tuple[jax.Array, jax.Array]:
        square = jnp.sum(raw[..., 1:] ** 2, axis=-1, keepdims=True)
        positive = square > 0
        return raw[..., :1], jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)

    top, length = lengths(raw / scale)
    inside = (up * length <= out * top) & (top >= 0)
    stays = inside | unlimited
    apart = stays | (out * length <= -up * top)  # inside, or in the polar cone
    outside = jnp.where(apart, 0, raw) / scale
    top, length = lengths(outside)
    height = (up * top + out * length) / (up**2 + out**2)
    of_length = height / jnp.where(length > 0, length, 1)
    # The scale goes where neither the height nor a length may overflow that the entries do not.
    on_top, on_rest = scale * up * height, scale * out * (of_length * outside[..., 1:])
    on_top = in_place_of(on_top, within(on_top, cone.dtype))

    top, rest = raw[..., :1], raw[..., 1:]
    kept_top = jnp.where(unlimited, _formulas.at_least(top, jnp.zeros_like(top)), top)
    top = jnp.where(stays, kept_top, on_top).astype(cone.dtype)
    # The product rounds, here and where it is checked.
    most = slope * top.astype(raw.dtype) * (1 - 2 * float(jnp.finfo(raw.dtype).eps))
    of_rest = Lengths(rest, jnp.zeros_like(rest), most, unlimited, (-1,), cone.dtype)
    output = jnp.concatenate([top, held(of_rest, on_rest, stays)], axis=-1)
    return jnp.moveaxis(output, -1, axis)
