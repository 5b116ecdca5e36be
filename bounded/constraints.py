"""Hard elementwise constraints: pure functions `(raw, lower=None, upper=None) -> output`.

Every function here broadcasts and promotes its arguments as `jnp.clip` does and works under
`jit`, `vmap`, `grad`, `jvp` and `scan`. What they share:

* `raw` is floating point, of any shape; `lower` and `upper` broadcast to it. `None` and ±inf
  both mean "no bound": such an entry passes raw through on that side.
* A *hard* constraint satisfies `lower <= output <= upper` exactly, in the output's dtype, for
  every finite raw. Where a docstring names a condition, the guarantee ends with it.
* `lower > upper` at an entry: the upper bound wins, as in `jnp.clip`.
* NaN in raw or in a bound gives NaN at that entry and nowhere else.
* Derivatives are those of the formula, in closed forms whose tails underflow alike on both
  sides. "0" below means exactly 0.

Errors: `TypeError` for a raw that is not floating point; `ValueError` where no bound is given
(`identity` apart), where a side is given that the function does not support, or missing where it
needs both, and for a temperature that is not positive.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike


def identity(
    raw: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """No constraint: `output = raw`; the bounds are ignored and both may be missing.

    Enforces nothing. Derivative: 1 to raw, 0 to the bounds.

    Args:
      raw: the network's last linear output, any shape.
      lower: ignored, apart from broadcasting and promotion.
      upper: ignored, apart from broadcasting and promotion.
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
    """
    return _clip(*_prepare("clip", raw, lower, upper))


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
    """
    return _straight_through_clip(*_prepare("straight_through_clip", raw, lower, upper))


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
    """
    raw, lower, upper = _prepare("smooth_clip", raw, lower, upper)
    temperature = _positive("temperature", temperature, raw.dtype)
    return _smooth_clip(raw, _at_most(lower, upper), upper, temperature)


def relu_offset(
    raw: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> jax.Array:
    """A nonnegative distance below the bound: `u - relu(z)`; above a lower bound, `l + relu(-z)`.

    Hard, for one side. Derivative to raw: -1 where z > 0, else 0 (mirrored for a lower bound);
    to the bound: 1. The same function as `clip` of `u - z`: note the sign, a larger raw gives a
    smaller output.

    The "modified ReLU" of StackOverflow 47848606.

    Args:
      raw: the network's last linear output z, any shape.
      lower: lower bound l, broadcastable to raw; not together with upper.
      upper: upper bound u, broadcastable to raw; not together with lower.
    """
    return _one_sided("relu_offset", lambda z, u: _below(u - jax.nn.relu(z), u), raw, lower, upper)


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
    """

    def formula(z: jax.Array, u: jax.Array) -> jax.Array:
        return _below(u - _softplus(z, _positive("temperature", temperature, z.dtype)), u)

    return _one_sided("softplus_offset", formula, raw, lower, upper)


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
    """
    _refuse_lower("stretched_tanh", lower)
    return _one_sided("stretched_tanh", lambda z, u: jnp.abs(u) * _tanh(z), raw, None, upper)


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
    """
    _refuse_lower("half_tanh", lower)

    def formula(z: jax.Array, u: jax.Array) -> jax.Array:
        return _at_most(z, jnp.zeros_like(z)) + u * _tanh(jax.nn.relu(z))

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
    """
    if lower is None or upper is None:
        missing = "lower" if lower is None else "upper"
        raise ValueError(
            f"tanh_interval needs both bounds, but {missing} is missing. "
            "Give it, or use clip or smooth_clip, which take one side."
        )
    raw, lower, upper = _prepare("tanh_interval", raw, lower, upper)
    unbounded = jnp.isinf(lower) | jnp.isinf(upper)
    low, high = jnp.where(unbounded, 0, lower), jnp.where(unbounded, 0, upper)
    inside = _tanh_interval(raw, _at_most(low, high), high)
    return jnp.where(unbounded, _clip(raw, lower, upper), inside)


def sequence_maximum(bound: ArrayLike, axis: int = -2) -> jax.Array:
    """The bound's maximum over time, to bound every step of a window alike: `max_t u_t`.

    A bound helper, not a constraint: `clip(raw, upper=sequence_maximum(upper))`. **It is a looser
    bound**: the output may exceed u wherever u lies below its maximum. Derivative: 1 to the
    largest entry, shared equally by ties.

    Args:
      bound: an upper bound, of shape (..., T, F).
      axis: the axis of time.

    Returns:
      An array of shape (..., 1, F), which broadcasts against raw.
    """
    return jnp.max(jnp.asarray(bound), axis=axis, keepdims=True)


def _prepare(
    name: str,
    raw: ArrayLike,
    lower: ArrayLike | None,
    upper: ArrayLike | None,
    optional: bool = False,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Promote to one dtype and broadcast to one shape; a missing or infinite bound becomes ∓inf."""
    if not jnp.issubdtype(jnp.result_type(raw), jnp.floating):
        raise TypeError(
            f"{name} needs a floating-point raw, got {jnp.result_type(raw)}. "
            "Convert it first, for example raw.astype(jnp.float32)."
        )
    if lower is None and upper is None and not optional:
        raise ValueError(
            f"{name} needs a bound, but lower and upper are both None. "
            "Give one, or use identity for no constraint."
        )
    bounds = [bound for bound in (lower, upper) if bound is not None]
    dtype = jnp.result_type(raw, *bounds)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{name} needs real bounds, got {dtype}.")
    lower = jnp.asarray(-jnp.inf if lower is None else lower, dtype)
    upper = jnp.asarray(jnp.inf if upper is None else upper, dtype)
    raw, lower, upper = jnp.broadcast_arrays(jnp.asarray(raw, dtype), lower, upper)
    return (
        raw,
        jnp.where(jnp.isinf(lower), -jnp.inf, lower),
        jnp.where(jnp.isinf(upper), jnp.inf, upper),
    )


def _positive(name: str, value: ArrayLike, dtype: jnp.dtype) -> jax.Array:
    value = jnp.asarray(value, dtype)
    if not isinstance(value, jax.core.Tracer) and not bool(
        jnp.all((value > 0) & jnp.isfinite(value))
    ):
        raise ValueError(f"{name} must be positive and finite in {dtype}, got {value}.")
    return value


def _refuse_lower(name: str, lower: ArrayLike | None) -> None:
    if lower is not None:
        raise ValueError(
            f"{name} bounds the upper side alone, but lower was given. "
            "Use clip, smooth_clip or tanh_interval for two sides, or relu_offset for a lower one."
        )


def _one_sided(
    name: str,
    formula: Callable[[jax.Array, jax.Array], jax.Array],
    raw: ArrayLike,
    lower: ArrayLike | None,
    upper: ArrayLike | None,
) -> jax.Array:
    """`formula(raw, upper)`, mirrored for a lower bound; entries without a bound pass raw."""
    if lower is not None and upper is not None:
        raise ValueError(
            f"{name} bounds one side, but lower and upper were both given. "
            "Use clip, smooth_clip or tanh_interval for two sides."
        )
    mirrored = upper is None
    raw, lower, upper = _prepare(name, raw, lower, upper)
    z, bound = (-raw, -lower) if mirrored else (raw, upper)
    unbounded = jnp.isinf(bound)
    output = formula(z, jnp.where(unbounded, 0, bound))
    return jnp.where(unbounded, raw, -output if mirrored else output)


def _ordered(x: jax.Array) -> jax.Array:
    """Integers in the order of the floats; XLA on CPU compares subnormal floats as zeros."""
    integer = jnp.dtype(f"int{8 * x.dtype.itemsize}")
    bits = lax.bitcast_convert_type(x, integer)
    return jnp.where(bits < 0, jnp.iinfo(integer).min - bits, bits)


def _beyond(x: jax.Array, bound: jax.Array) -> jax.Array:
    """Where x > bound, NaN in x apart; a NaN bound is beyond, so that it shows in the output."""
    return ((_ordered(x) > _ordered(bound)) & ~jnp.isnan(x)) | jnp.isnan(bound)


def _at_most(x: jax.Array, upper: jax.Array) -> jax.Array:
    return jnp.where(_beyond(x, upper), upper, x)


def _at_least(x: jax.Array, lower: jax.Array) -> jax.Array:
    return jnp.where(_beyond(-x, -lower), lower, x)


def _clip(raw: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    return _at_most(_at_least(raw, lower), upper)


# Rounding can put a formula's value outside; `_below` puts it back and keeps its derivative.
_below = jax.custom_jvp(_at_most)
_below.defjvps(lambda dot, output, x, upper: dot, None)

_straight_through_clip = jax.custom_jvp(_clip)
_straight_through_clip.defjvps(
    lambda dot, output, raw, lower, upper: dot,
    lambda dot, output, raw, lower, upper: jnp.where(
        _beyond(-raw, -lower) & ~_beyond(lower, upper), dot, 0
    ),
    lambda dot, output, raw, lower, upper: jnp.where(_beyond(_at_least(raw, lower), upper), dot, 0),
)


def _sigmoid(x: jax.Array) -> jax.Array:
    """The logistic function, with both tails from exp(-|x|)."""
    tail = jnp.exp(-jnp.abs(x))
    return jnp.where(x < 0, tail, 1) / (1 + tail)


def _softplus_tail(x: jax.Array) -> jax.Array:
    """`softplus(x) - max(x, 0)`, an even function."""
    return jnp.log1p(jnp.exp(-jnp.abs(x)))


def _softplus_slope(x: jax.Array) -> jax.Array:
    """`softplus(x) - x σ(x)`, the derivative of `t softplus(z / t)` to t at x = z / t; even."""
    x = jnp.minimum(jnp.abs(x), jnp.finfo(x.dtype).max)
    return _softplus_tail(x) + x * _sigmoid(-x)


@jax.custom_jvp
def _softplus(z: jax.Array, temperature: jax.Array) -> jax.Array:
    """`t softplus(z / t)`."""
    return jnp.maximum(z, 0) + temperature * _softplus_tail(z / temperature)


_softplus.defjvps(
    lambda dot, output, z, temperature: _sigmoid(z / temperature) * dot,
    lambda dot, output, z, temperature: _softplus_slope(z / temperature) * dot,
)


@jax.custom_jvp
def _smooth_clip(
    raw: jax.Array, lower: jax.Array, upper: jax.Array, temperature: jax.Array
) -> jax.Array:
    bend = _softplus_tail((raw - lower) / temperature) - _softplus_tail((upper - raw) / temperature)
    return _clip(_clip(raw, lower, upper) + temperature * bend, lower, upper)


_smooth_clip.defjvps(
    lambda dot, output, raw, lower, upper, temperature: (
        _sigmoid((raw - lower) / temperature)
        * _sigmoid((upper - raw) / temperature)
        * -jnp.expm1((lower - upper) / temperature)
        * dot
    ),
    lambda dot, output, raw, lower, upper, temperature: _sigmoid((lower - raw) / temperature) * dot,
    lambda dot, output, raw, lower, upper, temperature: _sigmoid((raw - upper) / temperature) * dot,
    lambda dot, output, raw, lower, upper, temperature: (
        (
            _softplus_slope((raw - lower) / temperature)
            - _softplus_slope((upper - raw) / temperature)
        )
        * dot
    ),
)


def _sech_squared(z: jax.Array) -> jax.Array:
    tail = jnp.exp(-2 * jnp.abs(z))
    return 4 * tail / (1 + tail) ** 2


_tanh = jax.custom_jvp(jnp.tanh)
_tanh.defjvps(lambda dot, output, z: _sech_squared(z) * dot)


@jax.custom_jvp
def _tanh_interval(raw: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    # From the nearer bound, so that the tails keep their digits.
    distance = (upper / 2 - lower / 2) * (2 * _sigmoid(-2 * jnp.abs(raw)))
    return _clip(jnp.where(raw < 0, lower + distance, upper - distance), lower, upper)


_tanh_interval.defjvps(
    lambda dot, output, raw, lower, upper: (upper / 2 - lower / 2) * _sech_squared(raw) * dot,
    lambda dot, output, raw, lower, upper: _sigmoid(-2 * raw) * dot,
    lambda dot, output, raw, lower, upper: _sigmoid(2 * raw) * dot,
)
