"""Hard elementwise constraints: pure functions `(raw, lower=None, upper=None) -> output`.

Every function here promotes its arguments as `jnp.clip` does and works under `jit`, `vmap`,
`grad`, `jvp` and `scan`. What they share:

* `raw` is floating point, of any shape, which is also the output's; `lower` and `upper` broadcast
  to it. `None` and ±inf both mean "no bound": such an entry passes raw through on that side. Which
  sides are *given* is decided by `None` alone.
* Hyperparameters are scalars, or arrays that broadcast to raw, and are taken in its dtype.
* Arguments are arrays, numbers, lists, or objects that turn into arrays, such as `nnx.Param`.
* Bounds of a wider dtype than the output's, such as float64 numpy arrays, are rounded inwards, so
  that the output lies inside them as they were given. (As *arguments* of a function under `jit`
  they are narrowed by jax, to the nearest, before they get here.)
* A *hard* constraint satisfies `lower <= output <= upper` exactly, in the output's dtype, for
  every finite raw. Where a docstring names a condition, the guarantee ends with it.
* `lower > upper` at an entry: the upper bound wins, as in `jnp.clip`.
* NaN in raw or in a bound gives NaN at that entry and nowhere else (`identity` ignores bounds). An
  entry that a loss leaves out, such as a masked one, has the derivative 0, even if it is NaN.
* Derivatives are those of the formula, in closed forms whose tails underflow alike on both
  sides, finite unless they overflow the dtype themselves. "0" below means exactly 0.

Errors: `TypeError` for a raw that is not floating point and for masked arrays; `ValueError` for an
argument that does not broadcast to raw, where no bound is given (`identity` apart), where a side is
given that the function does not support, or missing where it needs both. Where they are known at
trace time, `ValueError` also for a hyperparameter outside its range and for a finite bound that is
infinite in the dtype of the output.

With z the raw, u the upper bound, l the lower one; t and w are hyperparameters:

| function | output for `y <= u` | sides |
|---|---|---|
| `clip` | `min(z, u)` | one or two |
| `straight_through_clip` | `min(z, u)`, derivative 1 | one or two |
| `leaky_clip` | `min(z, u)`, derivative `slope` where active | one or two |
| `smooth_clip` | `u - t softplus((u - z) / t)` | one or two |
| `knee_tanh` | `z`, from `u - w` on a tanh that ends in `u` | one or two |
| `relu_offset` | `u - relu(z)` | one |
| `softplus_offset` | `u - t softplus(z / t)` | one |
| `squareplus_offset` | `u - (z + √(z² + 4t²)) / 2` | one |
| `exp_offset` | `u - exp(z)` | one |
| `tanh_interval` | `(l + u) / 2 + (u - l) / 2 tanh(z)` | needs two |
| `sigmoid_interval` | `l + (u - l) σ(z / t)` | needs two |
| `stretched_tanh` | `\\|u\\| tanh(z)` | upper |
| `half_tanh` | `min(z, 0) + u tanh(max(z, 0))` | upper |
| `identity` | `z` | none |

| function | holds | derivative to raw is exactly 0 |
|---|---|---|
| `clip` | always | wherever the bound is active |
| `straight_through_clip` | always | never |
| `leaky_clip` | always | never |
| `smooth_clip` | always | where `l = u`; by underflow, far outside |
| `knee_tanh` | always | where `l = u`; by underflow, far outside |
| `relu_offset` | always | wherever `z <= 0` |
| `softplus_offset` | always | by underflow, near the bound |
| `squareplus_offset` | always | never in practice: its tail is algebraic |
| `exp_offset` | always | by underflow, near the bound |
| `tanh_interval` | always, for the bounds given | where `l = u`; by underflow, near a bound |
| `sigmoid_interval` | always, for the bounds given | where `l = u`; by underflow, near a bound |
| `stretched_tanh` | only where `u >= 0` | where `u = 0`; by underflow, near a bound |
| `half_tanh` | only where `u >= 0` | where `u = 0 < z`; by underflow, near the bound |
| `identity` | never | never |

The examples need `import jax, jax.numpy as jnp` and the function, as in `from bounded import clip`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from bounded import _arguments, _formulas


def identity(
    raw: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """No constraint: `output = raw`; the bounds are ignored and both may be missing.

    Enforces nothing. Derivative: 1 to raw, 0 to the bounds.

    Args:
      raw: the network's last linear output, any shape.
      lower: ignored, apart from promotion; broadcastable to raw.
      upper: ignored, apart from promotion; broadcastable to raw.

    Example:
      >>> identity(jnp.array([-2.0, 0.5]), upper=0.0)
      Array([-2. ,  0.5], dtype=float32)
    """
    return _prepare("identity", raw, lower, upper, optional=True)[0]


def clip(
    raw: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """Euclidean projection onto the interval: `min(max(raw, lower), upper)`.

    Hard, with one side or two. Derivative to raw: 1 inside and on a bound, 0 outside: an entry
    that the network pushes out of the interval learns nothing until others bring it back.
    Derivative to a bound: 1 where it is active (raw strictly beyond it), else 0.

    `Minimum` in Keras; in one dimension also the projections of OptNet (Amos and Kolter, 2017)
    and HardNet (Min and Azizan, 2024).

    Args:
      raw: the network's last linear output, any shape.
      lower: lower bound, broadcastable to raw.
      upper: upper bound, broadcastable to raw.

    Example:
      >>> clip(jnp.array([-2.0, 0.5, 3.0]), upper=jnp.array([1.0, 1.0, jnp.inf]))
      Array([-2. ,  0.5,  3. ], dtype=float32)
    """
    return _formulas.clip(*_prepare("clip", raw, lower, upper))


def straight_through_clip(
    raw: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """`clip` forward, the identity backward.

    Hard, with one side or two. Derivative to raw: 1 everywhere, which is not the derivative of
    the output, so an active entry keeps learning and may drift ever further outside. Derivatives
    to the bounds: those of `clip`.

    Straight-through estimator (Bengio, Léonard and Courville, 2013).

    Args:
      raw: the network's last linear output, any shape.
      lower: lower bound, broadcastable to raw.
      upper: upper bound, broadcastable to raw.

    Example:
      >>> raw = jnp.array([-2.0, 0.5, 3.0])
      >>> straight_through_clip(raw, -1.0, 1.0)
      Array([-1. ,  0.5,  1. ], dtype=float32)
      >>> jax.grad(lambda raw: straight_through_clip(raw, -1.0, 1.0).sum())(raw)
      Array([1., 1., 1.], dtype=float32)
    """
    return _formulas.straight_through_clip(*_prepare("straight_through_clip", raw, lower, upper))


def leaky_clip(
    raw: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    slope: ArrayLike = 0.1,
) -> jax.Array:
    """`clip` forward, a small slope backward where a bound is active.

    Hard, with one side or two. Derivative to raw: 1 inside and on a bound, `slope` outside, which
    is not the derivative of the output there: an active entry keeps learning, slowly. Derivative
    to a bound: `1 - slope` where it is active, else 0. To raw, slope 0 is `clip` and slope 1
    `straight_through_clip`. No derivative to the slope: the output does not depend on it.

    The leaky ReLU's slope (Maas, Hannun and Ng, 2013) in a straight-through estimator (Bengio,
    Léonard and Courville, 2013).

    Args:
      raw: the network's last linear output, any shape.
      lower: lower bound, broadcastable to raw.
      upper: upper bound, broadcastable to raw.
      slope: in [0, 1], without unit.

    Example:
      >>> raw = jnp.array([-2.0, 0.5, 3.0])
      >>> leaky_clip(raw, -1.0, 1.0)
      Array([-1. ,  0.5,  1. ], dtype=float32)
      >>> jax.grad(lambda raw: leaky_clip(raw, -1.0, 1.0, slope=0.25).sum())(raw)
      Array([0.25, 1.  , 0.25], dtype=float32)
    """
    raw, lower, upper = _prepare("leaky_clip", raw, lower, upper)
    slope = _arguments.share("slope", slope, raw)
    return _formulas.apart_from_nan(_formulas.leaky_clip, raw, lower, upper, slope)


def smooth_clip(
    raw: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    temperature: ArrayLike = 0.1,
) -> jax.Array:
    """Smooth `clip`, a difference of softplus functions.

    For an upper bound alone, the smooth minimum `u - t softplus((u - z) / t)`; for a lower bound
    alone, its mirror image; for both, `l + t softplus((z - l) / t) - t softplus((z - u) / t)`,
    of which the one-sided forms are the limits. With temperature t -> 0 it is `clip`.

    Hard, with one side or two. With σ the logistic function, the derivative to raw is
    `σ((z - l) / t) σ((u - z) / t) (1 - exp(-(u - l) / t))`: positive, 0 only where it underflows
    or where l = u. Derivative to u: `σ((z - u) / t)`, to l: `σ((l - z) / t)`. The output lies
    up to `t log 2` off raw near a bound, and reaches the bound only by rounding.

    The smooth maximum of Cook (2010, "Soft maximum"), known as soft clipping; the two-sided form
    follows Klimek and Perelstein (2020, "Neural network-based approach to phase space
    integration").

    Args:
      raw: the network's last linear output z, any shape.
      lower: lower bound l, broadcastable to raw.
      upper: upper bound u, broadcastable to raw.
      temperature: t > 0, in the units of raw: the width of the bend.

    Example:
      >>> [f"{y:.2f}" for y in smooth_clip(jnp.array([-2.0, 0.5, 3.0]), upper=1.0, temperature=0.5)]
      ['-2.00', '0.34', '0.99']
    """
    raw, lower, upper = _prepare("smooth_clip", raw, lower, upper)
    temperature = _arguments.positive("temperature", temperature, raw)
    lower = _formulas.at_most(lower, upper)
    return _formulas.apart_from_nan(_formulas.smooth_clip, raw, lower, upper, temperature)


def knee_tanh(
    raw: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    width: ArrayLike = 0.1,
) -> jax.Array:
    """Raw itself up to a knee, then a tanh that ends in the bound.

    For an upper bound, z up to `u - w`, then `u - w + w tanh((z - u + w) / w)`; mirrored for a
    lower one. Where the interval is narrower than two widths, w is half of it, so that the knees
    meet in its middle; with a width of half the interval or more it is `tanh_interval` of
    `(z - (l + u) / 2) / w`.

    Hard, with one side or two. Derivative to raw: 1 between the knees, `sech²((z - u + w) / w)`
    on the upper one, 0 only where it underflows or where l = u. Derivative to u on its knee, at a
    fixed width: `tanh²((z - u + w) / w)`; where the interval sets the width, its share through w
    is added. The output reaches the bound only by rounding.

    The half-linear half-tanh of StackOverflow 47848606, moved from zero to the bound.

    Args:
      raw: the network's last linear output z, any shape.
      lower: lower bound l, broadcastable to raw.
      upper: upper bound u, broadcastable to raw.
      width: w > 0, in the units of raw: how far from the bound the bend begins.

    Example:
      >>> [f"{y:.2f}" for y in knee_tanh(jnp.array([-2.0, 0.5, 3.0]), upper=1.0, width=1.0)]
      ['-2.00', '0.46', '1.00']
    """
    raw, lower, upper = _prepare("knee_tanh", raw, lower, upper)
    lower = _formulas.at_most(lower, upper)
    width, half = _arguments.positive("width", width, raw), upper / 2 - lower / 2
    width = jnp.where(width < half, width, half)
    return _formulas.apart_from_nan(_formulas.knee_tanh, raw, lower, upper, width)


def relu_offset(
    raw: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """A nonnegative distance below the bound: `u - relu(z)`; above a lower bound, `l + relu(-z)`.

    Hard, for one side. Derivative to raw: -1 where z > 0, else 0 (mirrored for a lower bound);
    to the bound: 1. Its values are those of `clip` of `u - z`: note the sign, a larger raw gives a
    smaller output.

    The "modified ReLU" of StackOverflow 47848606.

    Args:
      raw: the network's last linear output z, any shape.
      lower: lower bound l, broadcastable to raw; not together with upper.
      upper: upper bound u, broadcastable to raw; not together with lower.

    Example:
      >>> relu_offset(jnp.array([-2.0, 0.5, 3.0]), upper=1.0)
      Array([ 1. ,  0.5, -2. ], dtype=float32)
    """
    return _offset("relu_offset", jax.nn.relu, raw, lower, upper)


def softplus_offset(
    raw: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    temperature: ArrayLike = 1.0,
) -> jax.Array:
    """A positive distance below the bound: `u - t softplus(z / t)`.

    Above a lower bound, `l + t softplus(-z / t)`. Hard, for one side. Derivative to raw:
    `-σ(z / t)` with σ the logistic function (mirrored for a lower bound), 0 only where it
    underflows; to the bound: 1. The output reaches the bound only by rounding. A larger raw
    gives a smaller output.

    Softplus: Dugas et al. (2001).

    Args:
      raw: the network's last linear output z, any shape.
      lower: lower bound l, broadcastable to raw; not together with upper.
      upper: upper bound u, broadcastable to raw; not together with lower.
      temperature: t > 0, in the units of raw: the width of the bend.

    Example:
      >>> [f"{y:.2f}" for y in softplus_offset(jnp.array([-2.0, 0.5, 3.0]), upper=1.0)]
      ['0.87', '0.03', '-2.05']
    """
    return _offset("softplus_offset", _formulas.softplus, raw, lower, upper, temperature)


def squareplus_offset(
    raw: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    temperature: ArrayLike = 1.0,
) -> jax.Array:
    """A positive distance with an algebraic tail below the bound: `u - (z + √(z² + 4t²)) / 2`.

    Above a lower bound, `l + (-z + √(z² + 4t²)) / 2`. Hard, for one side. Derivative to raw:
    `-(1 + z / √(z² + 4t²)) / 2` (mirrored for a lower bound); towards the bound it decays as
    `-t² / z²`, so that it underflows, to exactly 0, much later than that of `softplus_offset`; to
    the bound: 1. The output reaches the bound only by rounding. A larger raw gives a smaller
    output.

    Squareplus with b = 4t² (Barron, 2021, "Squareplus: a softplus-like algebraic rectifier").

    Args:
      raw: the network's last linear output z, any shape.
      lower: lower bound l, broadcastable to raw; not together with upper.
      upper: upper bound u, broadcastable to raw; not together with lower.
      temperature: t > 0, in the units of raw: the distance from the bound at z = 0.

    Example:
      >>> [f"{y:.2f}" for y in squareplus_offset(jnp.array([-2.0, 0.5, 3.0]), upper=1.0)]
      ['0.59', '-0.28', '-2.30']
    """
    return _offset("squareplus_offset", _formulas.squareplus, raw, lower, upper, temperature)


def exp_offset(
    raw: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """A positive distance on a logarithmic scale below the bound: `u - exp(z)`.

    Above a lower bound, `l + exp(-z)`. Hard, for one side. Derivative to raw: `-exp(z)` (mirrored
    for a lower bound), 0 only where it underflows; to the bound: 1. The output reaches the bound
    only by rounding, and **is infinite where exp(z) overflows**, in float32 from z = 89, in
    float16 from z = 12; the derivative there is the dtype's largest number. A larger raw gives a
    smaller output.

    The transform of a variable with one bound in Stan (Stan reference manual, "Constraint
    transforms") and the bijector of `less_than` and `greater_than` in NumPyro.

    Args:
      raw: the network's last linear output z, any shape.
      lower: lower bound l, broadcastable to raw; not together with upper.
      upper: upper bound u, broadcastable to raw; not together with lower.

    Example:
      >>> [f"{y:.2f}" for y in exp_offset(jnp.array([-2.0, 0.5, 3.0]), upper=1.0)]
      ['0.86', '-0.65', '-19.09']
    """
    return _offset("exp_offset", _formulas.exp, raw, lower, upper)


def stretched_tanh(
    raw: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """A tanh stretched to the bound: `|u| tanh(z)`.

    Enforces `-|u| <= output <= |u|`, so `output <= u` only where u >= 0: **where u < 0 outputs
    lie above the bound**. Upper side alone. Derivative to raw: `|u| sech²(z)`, which is 0 where
    u = 0 and where it underflows; to u: `sign(u) tanh(z)`.

    The "stretched tanh" of StackOverflow 47848606.

    Args:
      raw: the network's last linear output z, any shape.
      lower: not supported.
      upper: upper bound u, broadcastable to raw.

    Example:
      >>> [f"{y:.2f}" for y in stretched_tanh(jnp.array([-2.0, 0.5, 3.0]), upper=2.0)]
      ['-1.93', '0.92', '1.99']
    """
    _refuse_lower("stretched_tanh", lower)

    def formula(z: jax.Array, u: jax.Array) -> jax.Array:
        return jnp.abs(u) * _formulas.tanh(z)

    return _one_sided("stretched_tanh", formula, raw, None, upper)


def half_tanh(
    raw: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """Linear below zero, a tanh stretched to the bound above: `min(z, 0) + u tanh(max(z, 0))`.

    Enforces `output <= u` only where u >= 0: **where u < 0 outputs lie above the bound**. Upper
    side alone. Derivative to raw: 1 for z <= 0, then `u sech²(z)`, which is 0 where u = 0 and
    where it underflows; to u: `tanh(max(z, 0))`.

    The "half-linear half-tanh" of StackOverflow 47848606.

    Args:
      raw: the network's last linear output z, any shape.
      lower: not supported.
      upper: upper bound u, broadcastable to raw.

    Example:
      >>> [f"{y:.2f}" for y in half_tanh(jnp.array([-2.0, 0.5, 3.0]), upper=2.0)]
      ['-2.00', '0.92', '1.99']
    """
    _refuse_lower("half_tanh", lower)

    def formula(z: jax.Array, u: jax.Array) -> jax.Array:
        return _formulas.at_most(z, jnp.zeros_like(z)) + u * _formulas.tanh(jax.nn.relu(z))

    return _one_sided("half_tanh", formula, raw, None, upper)


def tanh_interval(
    raw: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """A tanh over the whole interval: `(l + u) / 2 + (u - l) / 2 tanh(z)`.

    Hard; needs both sides. The bounds must come from the input for the output to respect it:
    **with a constant range, such as that of the training data, the input's own bound is ignored
    and broken**. Derivative to raw: `(u - l) / 2 sech²(z)`, which is 0 where l = u and where it
    underflows; to u: `σ(2z)`, to l: `σ(-2z)`, with σ the logistic function. An entry with an
    infinite side has no interval; its other side is clipped.

    The "normalise and end in tanh" of StackOverflow 47848606.

    Args:
      raw: the network's last linear output z, any shape.
      lower: lower bound l, broadcastable to raw.
      upper: upper bound u, broadcastable to raw.

    Example:
      >>> [f"{y:.2f}" for y in tanh_interval(jnp.array([-2.0, 0.5, 3.0]), 0.0, 2.0)]
      ['0.04', '1.46', '2.00']
    """
    return _interval("tanh_interval", raw, lower, upper, 0.5)


def sigmoid_interval(
    raw: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    temperature: ArrayLike = 1.0,
) -> jax.Array:
    """A logistic function over the whole interval: `l + (u - l) σ(z / t)`.

    Hard; needs both sides, which must come from the input, as for `tanh_interval`: that function
    is this one at t = 1/2. Derivative to raw: `(u - l) σ(z / t) σ(-z / t) / t`, which is 0 where
    l = u and where it underflows; to u: `σ(z / t)`, to l: `σ(-z / t)`. An entry with an infinite
    side has no interval; its other side is clipped.

    The transform of a variable with two bounds in Stan (Stan reference manual, "Constraint
    transforms") and the bijector of `interval` in NumPyro, there with t = 1.

    Args:
      raw: the network's last linear output z, any shape.
      lower: lower bound l, broadcastable to raw.
      upper: upper bound u, broadcastable to raw.
      temperature: t > 0, in the units of raw: a raw within ±t/2 covers 24 % of the interval, one
        within ±3 t covers 91 %.

    Example:
      >>> [f"{y:.2f}" for y in sigmoid_interval(jnp.array([-2.0, 0.5, 3.0]), 0.0, 2.0)]
      ['0.24', '1.24', '1.91']
    """
    return _interval("sigmoid_interval", raw, lower, upper, temperature)


def sequence_maximum(bound: ArrayLike, axis: int = -2) -> jax.Array:
    """The bound's maximum over time, to bound every step of a window alike: `max_t u_t`.

    A bound helper, not a constraint: `clip(raw, upper=sequence_maximum(upper))`. **It is a looser
    bound**: the output may exceed u wherever u lies below its maximum; one step without a bound
    (inf) frees the whole window. Derivative: 1 to the largest entry, shared equally by ties.

    Args:
      bound: an upper bound, of shape (..., T, F).
      axis: the axis of time.

    Returns:
      An array of shape (..., 1, F), which broadcasts against raw.

    Example:
      >>> bound = jnp.array([[1.0], [3.0]])
      >>> clip(jnp.array([[2.0], [5.0]]), upper=sequence_maximum(bound))
      Array([[2.],
             [3.]], dtype=float32)
    """
    return jnp.max(jnp.asarray(_arguments.array("bound", bound)), axis=axis, keepdims=True)


def _prepare(
    name: str,
    raw: ArrayLike,
    lower: ArrayLike | None,
    upper: ArrayLike | None,
    optional: bool = False,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """In one dtype and in raw's shape; a missing or infinite bound becomes ∓inf."""
    raw = _arguments.floating(name, "raw", raw)
    if lower is None and upper is None and not optional:
        raise ValueError(
            f"{name} needs a bound, but lower and upper are both None. "
            "Give one, or use identity for no constraint."
        )
    raw, lower, upper = _arguments.with_bounds(name, raw, lower, upper)
    return raw, _or_infinite(lower, -jnp.inf, raw), _or_infinite(upper, jnp.inf, raw)


def _or_infinite(bound: jax.Array | None, infinity: float, raw: jax.Array) -> jax.Array:
    none = jnp.full_like(raw, infinity)
    return none if bound is None else _formulas.select(jnp.isinf(bound), none, bound)


def _refuse_lower(name: str, lower: ArrayLike | None) -> None:
    if lower is not None:
        raise ValueError(
            f"{name} bounds the upper side alone, but lower was given. "
            "Use clip, smooth_clip or tanh_interval for two sides, or relu_offset for a lower one."
        )


def _one_sided(
    name: str,
    formula: Callable[..., jax.Array],
    raw: ArrayLike,
    lower: ArrayLike | None,
    upper: ArrayLike | None,
    temperature: ArrayLike | None = None,
) -> jax.Array:
    """`formula(raw, upper)`, mirrored for a lower bound; entries without a bound pass raw.

    A temperature is the formula's third argument.
    """
    if lower is not None and upper is not None:
        raise ValueError(
            f"{name} bounds one side, but lower and upper were both given. "
            "Use clip, smooth_clip or tanh_interval for two sides."
        )
    mirrored = upper is None
    raw, lower, upper = _prepare(name, raw, lower, upper)
    hyper = () if temperature is None else (_arguments.positive("temperature", temperature, raw),)
    z, bound = map(_formulas.negative, (raw, lower)) if mirrored else (raw, upper)
    unbounded, zero = jnp.isinf(bound), jnp.zeros_like(raw)
    z, bound = _formulas.select(unbounded, zero, z), _formulas.select(unbounded, zero, bound)
    output = _formulas.apart_from_nan(formula, z, bound, *hyper)
    return _formulas.select(unbounded, raw, _formulas.negative(output) if mirrored else output)


def _offset(
    name: str,
    distance: Callable[..., jax.Array],
    raw: ArrayLike,
    lower: ArrayLike | None,
    upper: ArrayLike | None,
    temperature: ArrayLike | None = None,
) -> jax.Array:
    """`upper - distance(raw)`, mirrored for a lower bound."""

    def formula(z: jax.Array, u: jax.Array, *hyper: jax.Array) -> jax.Array:
        return _formulas.below(u - distance(z, *hyper), u)

    return _one_sided(name, formula, raw, lower, upper, temperature)


def _interval(
    name: str,
    raw: ArrayLike,
    lower: ArrayLike | None,
    upper: ArrayLike | None,
    temperature: ArrayLike,
) -> jax.Array:
    """The whole interval by a logistic function; an entry with an infinite side is clipped."""
    if lower is None or upper is None:
        missing = "lower" if lower is None else "upper"
        raise ValueError(
            f"{name} needs both bounds, but {missing} is missing. "
            "Give it, or use clip or smooth_clip, which take one side."
        )
    raw, lower, upper = _prepare(name, raw, lower, upper)
    temperature = _arguments.positive("temperature", temperature, raw)
    unbounded, zero = jnp.isinf(lower) | jnp.isinf(upper), jnp.zeros_like(raw)
    low, high = _formulas.select(unbounded, zero, lower), _formulas.select(unbounded, zero, upper)
    inside = _formulas.apart_from_nan(
        _formulas.sigmoid_interval, raw, _formulas.at_most(low, high), high, temperature
    )
    return _formulas.select(unbounded, _formulas.clip(raw, lower, upper), inside)
