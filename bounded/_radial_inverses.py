"""Inverses of radial maps, shown to users as `bounded.inverses.ball_radial` and the like."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from bounded.sets._active_set import product
from bounded.sets._lengths import Lengths, bounded_by, scaled
from bounded.sets._problem import from_interior
from bounded.sets.rows import Rows


def ball_radial(
    output: ArrayLike,
    radius: ArrayLike,
    *,
    axis: int | Sequence[int] = -1,
    center: ArrayLike | None = None,
) -> jax.Array:
    """Inverse of `sets.ball_radial`: `raw = c + d r / sqrt(r² - ‖d‖²)`, with `d = y - c`.

    An output on the boundary gives infinite entries, one outside, by more than
    `(n + 16) eps radius` with n entries, gives NaN. Where the radius is 0 every raw gives the
    output: the center.

    Args:
      output: the wanted outputs y, any shape.
      radius: r, of output's shape without `axis`, or what broadcasts to that.
      axis: along which the outputs share the ball.
      center: c, broadcastable to output; None for 0.

    Example:
      >>> print(ball_radial(jnp.array([3.0, 0.0]), 5.0))
      [3.75 0.  ]
    """
    return bounded_by("ball_radial", _ball_radial, output, "radius", radius, axis, center)


def affine_soft_radial(output: ArrayLike, rows: Rows, *, interior: ArrayLike) -> jax.Array:
    """Inverse of `sets.affine_soft_radial`: `raw = z0 + d / sqrt(1 - g(d)²)`, with `d = y - z0`.

    An output on the boundary gives infinite entries, one outside, by more than the margin of
    `bounded.sets.affine`, gives NaN. Equalities count as held; where there are some, raw is
    determined along them alone.

    Args:
      output: the wanted outputs y, (..., n).
      rows: the set, m rows.
      interior: z0, (..., n): inside every inequality, and on every equality.

    Example:
      >>> from bounded.sets import box_rows
      >>> rows = box_rows(-5.0, jnp.full(2, 5.0))
      >>> print(affine_soft_radial(jnp.array([3.0, 0.0]), rows, interior=jnp.zeros(2)).round(4))
      [3.75 0.  ]
    """
    problem, start, point = from_interior("affine_soft_radial", output, rows, interior)
    length, direction, reach = problem.way(start, point)
    place = product(problem.matrix, point)
    eps = (2 * point.shape[-1] + 8) * float(jnp.finfo(problem.dtype).eps)
    noise = eps * product(jnp.abs(problem.matrix), jnp.abs(point) + jnp.abs(start))
    fits = jnp.ones_like(length, bool)
    for sign, bound in ((1, problem.upper), (-1, problem.lower)):
        exists = ~jnp.isinf(bound) & (problem.lower != problem.upper)
        bound = jnp.where(exists, bound, 0)
        holds = ~exists | (sign * (place - bound) <= noise + eps * jnp.abs(bound))
        fits &= jnp.all(holds, axis=-1, keepdims=True)
    inside = length < reach
    share = jnp.where(inside & jnp.isfinite(reach), length / jnp.where(inside, reach, 1), 0)
    raw = start + direction * (length / jnp.sqrt((1 - share) * (1 + share)))
    raw = jnp.where(inside, raw, _infinite(direction))
    return problem.finish(jnp.where(fits, raw, jnp.nan))


def _ball_radial(ball: Lengths) -> jax.Array:
    offset = ball.raw - ball.center
    direction, ratio, square = scaled(offset, ball.bound, ball.axes)
    count = math.prod(offset.shape[place] for place in ball.axes)
    eps = (count + 16) * float(jnp.finfo(ball.dtype).eps)
    fits = square <= (ratio * (1 + eps)) ** 2
    gap = ratio**2 - square
    inside = gap > 0
    raw = ball.center + direction * (ball.bound / jnp.sqrt(jnp.where(inside, gap, 1)))
    raw = jnp.where(inside, raw, jnp.where(ball.bound > 0, _infinite(direction), ball.center))
    raw = jnp.where(fits, raw, jnp.nan)
    return jnp.where(ball.unlimited, ball.raw, raw).astype(ball.dtype)


def _infinite(direction: jax.Array) -> jax.Array:
    return jnp.where(direction == 0, 0, jnp.sign(direction) * jnp.inf)
