"""Inverses of the constraints, and the logarithms of their derivatives.

`inverses.NAME(output, lower=None, upper=None, **hyperparameters) -> raw` undoes the constraint of
that name, and takes what it takes, output in place of raw:

    >>> from bounded import constraints, inverses
    >>> raw = inverses.smooth_clip(0.9, upper=1.0, temperature=0.5)
    >>> round(float(constraints.smooth_clip(raw, upper=1.0, temperature=0.5)), 5)
    0.9

What they share:

* Strict maps, which reach their bound at infinity: an output on the bound gives the infinite raw
  that leads there, one outside gives NaN. Where `lower = upper` every raw gives the output, and
  the inverse is 0, or the bound itself where raw has the units of the output (`smooth_clip`,
  `knee_tanh`).
* Clips and `relu_offset`, which reach it: their inverse is a right inverse. It is the identity
  (`relu_offset`: the distance to the bound) inside; an output on the bound or outside gives the raw
  nearest to the inside that leads to the bound.
* A missing or infinite bound passes the output through, as the constraint passes raw.
* Precision: with eps that of the dtype, raw is right to 8 eps times the largest of |raw|, 1 and the
  temperature or width, and the constraint takes it back to the output to 16 eps times the largest
  of |output|, its bounds and the temperature or width. float16 and bfloat16 are computed in float32
  and rounded at the end. A distance to the bound below twice the smallest normal number counts as
  none.
* Derivatives are those of the formula; where raw is infinite or NaN they are given as 0, so that
  such an entry can be masked.

Errors: those of the constraint.

`log_derivative(constraint, raw, lower, upper, **hyperparameters)` is `log |d output / d raw|`,
which turns a density of raw into one of the output:

    >>> log_density = inverses.log_derivative(constraints.exp_offset, -3.0, upper=2.0)
    >>> float(log_density)
    -3.0

`budget_softmax`, `budget_sequential`, `ball_radial` and `affine_soft_radial` are the inverses of
the functions of `bounded.sets` of these names.
"""

from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature
from types import ModuleType

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from bounded import _formulas, _inverse_formulas, _log_derivatives, constraints
from bounded._budget_inverses import budget_sequential, budget_softmax
from bounded.sets._lengths import bounded_by, outwards
from bounded.sets._problem import from_interior
from bounded.sets.rows import Rows

__all__ = [
    "affine_soft_radial",
    "ball_radial",
    "budget_sequential",
    "budget_softmax",
    "clip",
    "exp_offset",
    "half_tanh",
    "identity",
    "knee_tanh",
    "leaky_clip",
    "log_derivative",
    "relu_offset",
    "sigmoid_interval",
    "smooth_clip",
    "softplus_offset",
    "squareplus_offset",
    "straight_through_clip",
    "stretched_tanh",
    "tanh_interval",
]

Constraint = Callable[..., jax.Array]


def identity(
    output: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """Inverse of `constraints.identity`: `raw = output`; the bounds are ignored.

    Args:
      output: the wanted output, any shape.
      lower: ignored, apart from promotion.
      upper: ignored, apart from promotion.

    Example:
      >>> float(identity(3.0, upper=1.0))
      3.0
    """
    return constraints.identity(output, lower, upper)


def clip(
    output: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """Right inverse of `constraints.clip`: `raw = min(max(y, l), u)`.

    The identity inside; an output outside gives the bound, at which a network still learns.

    Args:
      output: the wanted output y, any shape.
      lower: lower bound l, broadcastable to output.
      upper: upper bound u, broadcastable to output.

    Example:
      >>> clip(jnp.array([-2.0, 0.5, 2.0]), 0.0, 1.0).tolist()
      [0.0, 0.5, 1.0]
    """
    return _inverse(constraints.clip, output, lower, upper)


def straight_through_clip(
    output: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """Right inverse of `constraints.straight_through_clip`: that of `clip`.

    Args:
      output: the wanted output, any shape.
      lower: lower bound, broadcastable to output.
      upper: upper bound, broadcastable to output.

    Example:
      >>> float(straight_through_clip(2.0, upper=1.0))
      1.0
    """
    return _inverse(constraints.straight_through_clip, output, lower, upper)


def leaky_clip(
    output: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    slope: ArrayLike = 0.1,
) -> jax.Array:
    """Right inverse of `constraints.leaky_clip`: that of `clip`, whatever the slope.

    Args:
      output: the wanted output, any shape.
      lower: lower bound, broadcastable to output.
      upper: upper bound, broadcastable to output.
      slope: in [0, 1]; raw does not depend on it.

    Example:
      >>> float(leaky_clip(0.5, upper=1.0, slope=0.3))
      0.5
    """
    return _inverse(constraints.leaky_clip, output, lower, upper, slope=slope)


def smooth_clip(
    output: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    temperature: ArrayLike = 0.1,
) -> jax.Array:
    """Inverse of `constraints.smooth_clip`.

    `raw = y + t log(1 - exp(-(y - l) / t)) - t log(1 - exp(-(u - y) / t))`, without the term of a
    missing bound. On a bound ±inf, outside NaN.

    Args:
      output: the wanted output y, any shape.
      lower: lower bound l, broadcastable to output.
      upper: upper bound u, broadcastable to output.
      temperature: t > 0, that of the constraint.

    Example:
      >>> smooth_clip(jnp.array([0.0, 0.5, 1.0, 2.0]), 0.0, 1.0).tolist()
      [-inf, 0.5, inf, nan]
    """
    return _inverse(constraints.smooth_clip, output, lower, upper, temperature=temperature)


def knee_tanh(
    output: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    width: ArrayLike = 0.1,
) -> jax.Array:
    """Inverse of `constraints.knee_tanh`.

    The identity between the knees; `u - w + w artanh((y - u + w) / w)` on the upper one, mirrored
    on the lower one, with w at most half the interval. On a bound ±inf, outside NaN.

    Args:
      output: the wanted output y, any shape.
      lower: lower bound l, broadcastable to output.
      upper: upper bound u, broadcastable to output.
      width: w > 0, that of the constraint.

    Example:
      >>> knee_tanh(jnp.array([-5.0, 0.5, 1.0]), upper=1.0, width=0.5).tolist()
      [-5.0, 0.5, inf]
    """
    return _inverse(constraints.knee_tanh, output, lower, upper, width=width)


def relu_offset(
    output: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """Right inverse of `constraints.relu_offset`: `raw = max(u - y, 0)`, or `-max(y - l, 0)`.

    An output on the bound or outside gives 0, the raw that leads to the bound.

    Args:
      output: the wanted output y, any shape.
      lower: lower bound l, broadcastable to output; not together with upper.
      upper: upper bound u, broadcastable to output; not together with lower.

    Example:
      >>> relu_offset(jnp.array([0.25, 2.0]), upper=1.0).tolist()
      [0.75, 0.0]
    """
    return _inverse(constraints.relu_offset, output, lower, upper)


def softplus_offset(
    output: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    temperature: ArrayLike = 1.0,
) -> jax.Array:
    """Inverse of `constraints.softplus_offset`: `raw = d + t log(1 - exp(-d / t))`, d = u - y.

    With a lower bound, the negative of that of `d = y - l`. On the bound -inf (lower: inf), outside
    NaN.

    Args:
      output: the wanted output y, any shape.
      lower: lower bound l, broadcastable to output; not together with upper.
      upper: upper bound u, broadcastable to output; not together with lower.
      temperature: t > 0, that of the constraint.

    Example:
      >>> softplus_offset(jnp.array([1.0, 2.0]), upper=1.0).tolist()
      [-inf, nan]
    """
    return _inverse(constraints.softplus_offset, output, lower, upper, temperature=temperature)


def squareplus_offset(
    output: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    temperature: ArrayLike = 1.0,
) -> jax.Array:
    """Inverse of `constraints.squareplus_offset`: `raw = d - t² / d`, d = u - y.

    With a lower bound, the negative of that of `d = y - l`. On the bound -inf (lower: inf), outside
    NaN.

    Args:
      output: the wanted output y, any shape.
      lower: lower bound l, broadcastable to output; not together with upper.
      upper: upper bound u, broadcastable to output; not together with lower.
      temperature: t > 0, that of the constraint.

    Example:
      >>> squareplus_offset(jnp.array([0.0, 0.5]), upper=1.0).tolist()
      [0.0, -1.5]
    """
    return _inverse(constraints.squareplus_offset, output, lower, upper, temperature=temperature)


def exp_offset(
    output: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """Inverse of `constraints.exp_offset`: `raw = log(u - y)`, or `-log(y - l)`.

    On the bound -inf (lower: inf), outside NaN.

    Args:
      output: the wanted output y, any shape.
      lower: lower bound l, broadcastable to output; not together with upper.
      upper: upper bound u, broadcastable to output; not together with lower.

    Example:
      >>> exp_offset(jnp.array([0.0, 1.0]), upper=1.0).tolist()
      [0.0, -inf]
    """
    return _inverse(constraints.exp_offset, output, lower, upper)


def stretched_tanh(
    output: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """Inverse of `constraints.stretched_tanh`: `raw = artanh(y / |u|)`.

    At `y = ±|u|` ±inf, beyond NaN. Where u = 0, 0.

    Args:
      output: the wanted output y, any shape.
      lower: not supported.
      upper: upper bound u, broadcastable to output.

    Example:
      >>> stretched_tanh(jnp.array([-1.0, 0.0, 2.0]), upper=1.0).tolist()
      [-inf, 0.0, nan]
    """
    return _inverse(constraints.stretched_tanh, output, lower, upper)


def half_tanh(
    output: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """Inverse of `constraints.half_tanh`: y where y <= 0, else `artanh(y / u)`.

    At `y = u > 0` inf, beyond NaN. Where u < 0 the map takes negative values twice: this is the
    negative raw.

    Args:
      output: the wanted output y, any shape.
      lower: not supported.
      upper: upper bound u, broadcastable to output.

    Example:
      >>> half_tanh(jnp.array([-3.0, 1.0, 2.0]), upper=1.0).tolist()
      [-3.0, inf, nan]
    """
    return _inverse(constraints.half_tanh, output, lower, upper)


def tanh_interval(
    output: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """Inverse of `constraints.tanh_interval`: `raw = log((y - l) / (u - y)) / 2`.

    On a bound ±inf, outside NaN; an entry with an infinite side is clipped, as in the constraint.

    Args:
      output: the wanted output y, any shape.
      lower: lower bound l, broadcastable to output.
      upper: upper bound u, broadcastable to output.

    Example:
      >>> tanh_interval(jnp.array([0.0, 0.5, 1.0]), 0.0, 1.0).tolist()
      [-inf, 0.0, inf]
    """
    return _inverse(constraints.tanh_interval, output, lower, upper)


def sigmoid_interval(
    output: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    temperature: ArrayLike = 1.0,
) -> jax.Array:
    """Inverse of `constraints.sigmoid_interval`: `raw = t log((y - l) / (u - y))`.

    On a bound ±inf, outside NaN; an entry with an infinite side is clipped, as in the constraint.

    Args:
      output: the wanted output y, any shape.
      lower: lower bound l, broadcastable to output.
      upper: upper bound u, broadcastable to output.
      temperature: t > 0, that of the constraint.

    Example:
      >>> sigmoid_interval(jnp.array([0.0, 1.0, 3.0]), 0.0, 2.0).tolist()
      [-inf, 0.0, nan]
    """
    return _inverse(constraints.sigmoid_interval, output, lower, upper, temperature=temperature)


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
    return bounded_by("ball_radial", outwards, output, "radius", radius, axis, center)


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
    return problem.finish(problem.softly_from(start, point))


def log_derivative(
    constraint: Constraint,
    raw: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    **hyperparameters: ArrayLike,
) -> jax.Array:
    """`log |d output / d raw|` of a constraint, entry by entry, in a stable closed form.

    The constraint is the first argument, so that the call reads as that of the output does, and one
    function serves all. A density p of raw is the density of the output
    `log p(raw) - log_derivative(constraint, raw, lower, upper)`. It does not underflow where the
    derivative does; it is -inf where that is exactly 0: outside a clip's bounds (of
    `straight_through_clip` and `leaky_clip` as well: this is the output's own derivative), above
    `relu_offset`'s bound, and where `lower = upper`. Right to 8 eps times the largest of 1 and its
    own size, or of what it is a sum of.

    Args:
      constraint: one of `bounded.constraints`, also in a `functools.partial` with hyperparameters.
      raw: the network's last linear output, any shape.
      lower: lower bound, broadcastable to raw.
      upper: upper bound, broadcastable to raw.
      **hyperparameters: those of the constraint.

    Returns:
      An array of raw's shape.

    Raises:
      TypeError: for another function.

    Example:
      >>> float(log_derivative(constraints.softplus_offset, -1000.0, upper=1.0))
      -1000.0
    """
    if isinstance(constraint, partial):
        hyperparameters = {**constraint.keywords, **hyperparameters}
        constraint = constraint.func
    return _apply(_log_derivatives, constraint, raw, lower, upper, **hyperparameters)


def _inverse(
    constraint: Constraint,
    output: ArrayLike,
    lower: ArrayLike | None,
    upper: ArrayLike | None,
    **hyperparameters: ArrayLike,
) -> jax.Array:
    return _apply(_inverse_formulas, constraint, output, lower, upper, **hyperparameters)


def _apply(
    formulas: ModuleType,
    constraint: Constraint,
    x: ArrayLike,
    lower: ArrayLike | None,
    upper: ArrayLike | None,
    **hyperparameters: ArrayLike,
) -> jax.Array:
    """The formula of the constraint's name, in float32 at least; NaN where x or a bound is NaN."""
    name = getattr(constraint, "__name__", "")
    if getattr(constraints, name, None) is not constraint or not hasattr(formulas, name):
        raise TypeError(
            f"inverses knows the maps of bounded.constraints, got {constraint!r}. "
            "For a map of your own, differentiate it: jnp.log(jnp.abs(jax.grad(map)(raw)))."
        )
    checked = jax.eval_shape(lambda: constraint(x, lower, upper, **hyperparameters))
    arrays = constraints._prepare(name, x, lower, upper, optional=True)
    given = signature(constraint).bind(x, lower, upper, **hyperparameters)
    given.apply_defaults()
    hyper = [jnp.asarray(value, checked.dtype) for value in given.args[3:]]
    wide = jnp.promote_types(checked.dtype, jnp.float32)
    x, lower, upper, *hyper = (
        jnp.broadcast_to(value, checked.shape).astype(wide) for value in (*arrays, *hyper)
    )
    unknown = jnp.isnan(x) | jnp.isnan(lower) | jnp.isnan(upper)
    x, lower, upper = (
        jnp.where(unknown, known, value) for value, known in ((x, 0), (lower, -1), (upper, 1))
    )
    found = getattr(formulas, name)(x, _formulas.at_most(lower, upper), upper, *hyper)
    return jnp.where(unknown, jnp.nan, found).astype(checked.dtype)
