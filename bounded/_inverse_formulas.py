"""The formulas behind `bounded.inverses`: raw by output, for outputs of the constraint of the name.

Arguments are arrays of one shape and one floating dtype, float32 at least, without NaN. A missing
bound is -inf or +inf, and lower <= upper.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bounded import _formulas

Formula = Callable[..., jax.Array]


@jax.custom_jvp
def log_ratio(x: jax.Array, y: jax.Array) -> jax.Array:
    """`log(x / y)`, also where the quotient leaves the dtype's range."""
    quotient = x / y
    within = (quotient >= jnp.finfo(x.dtype).tiny) & jnp.isfinite(quotient)
    return jnp.where(within, jnp.log(quotient), jnp.log(x) - jnp.log(y))


log_ratio.defjvps(
    lambda dot, output, x, y: dot / x,
    lambda dot, output, x, y: -dot / y,
)


@jax.custom_jvp
def _arctanh(y: jax.Array, bound: jax.Array) -> jax.Array:
    """`artanh(y / bound)` for |y| < bound, from the distance to the nearer of ±bound."""
    size = jnp.abs(y)
    return jnp.sign(y) * jnp.log1p(size / (bound / 2 - size / 2)) / 2


def _arctanh_slope(y: jax.Array, bound: jax.Array) -> jax.Array:
    return (1 / (bound - y) + 1 / (bound + y)) / 2


_arctanh.defjvps(
    lambda dot, output, y, bound: _arctanh_slope(y, bound) * dot,
    lambda dot, output, y, bound: -(y / bound) * _arctanh_slope(y, bound) * dot,
)


def _open(formula: Formula, at_point: Formula) -> Formula:
    """A formula for outputs strictly between the bounds, and ∓inf on them, NaN beyond them.

    Where lower = upper, `at_point(y)`. The formula never sees another output, so that its
    derivatives are finite.
    """

    def inverse(y: jax.Array, lower: jax.Array, upper: jax.Array, *hyper: jax.Array) -> jax.Array:
        inside = (y > lower) & (y < upper)
        safe = (jnp.where(inside, x, other) for x, other in ((y, 0), (lower, -1), (upper, 1)))
        at_bound = jnp.where(y == upper, jnp.inf, jnp.where(y == lower, -jnp.inf, jnp.nan))
        at_bound = jnp.where((y == upper) & (y == lower), at_point(y), at_bound)
        return jnp.where(inside, formula(*safe, *hyper), at_bound)

    return inverse


def _one_sided(formula: Formula, beyond: Formula) -> Formula:
    """`formula(distance to the bound)`, mirrored for a lower bound; on the bound and outside it,
    `beyond(y, bound)`; without a bound y."""

    def inverse(y: jax.Array, lower: jax.Array, upper: jax.Array, *hyper: jax.Array) -> jax.Array:
        mirrored = jnp.isinf(upper)
        z, bound = jnp.where(mirrored, -y, y), jnp.where(mirrored, -lower, upper)
        unbounded, inside = jnp.isinf(bound), z < bound
        distance = jnp.where(inside & ~unbounded, bound - z, 1)
        raw = jnp.where(inside, formula(distance, *hyper), beyond(z, bound))
        return jnp.where(unbounded, y, jnp.where(mirrored, -raw, raw))

    return inverse


def _never_reached(y: jax.Array, bound: jax.Array) -> jax.Array:
    return jnp.where(y == bound, -jnp.inf, jnp.nan)


def _saturation(distance: jax.Array, temperature: jax.Array) -> jax.Array:
    """`1 - exp(-d / t)`; a quotient that underflows counts as the smallest normal number."""
    quotient = jnp.maximum(distance / temperature, jnp.finfo(distance.dtype).tiny)
    return -jnp.expm1(-quotient)


def _softplus(distance: jax.Array, temperature: jax.Array) -> jax.Array:
    return distance + temperature * jnp.log(_saturation(distance, temperature))


def _squareplus(distance: jax.Array, temperature: jax.Array) -> jax.Array:
    return distance - temperature * (temperature / distance)


def _smooth_clip(
    y: jax.Array, lower: jax.Array, upper: jax.Array, temperature: jax.Array
) -> jax.Array:
    bend = log_ratio(_saturation(y - lower, temperature), _saturation(upper - y, temperature))
    return y + temperature * bend


def _knee_tanh(y: jax.Array, lower: jax.Array, upper: jax.Array, width: jax.Array) -> jax.Array:
    width = knee_width(lower, upper, width)

    def to_bound(distance: jax.Array) -> jax.Array:
        """Raw's distance to the bound by the output's, which is less than the width."""
        inside = jnp.where(distance < width, distance, width)
        return width * (1 - jnp.log1p(2 * (width - inside) / inside) / 2)

    above, below = upper - y, y - lower
    bent_below = jnp.where(below < width, lower + to_bound(below), y)
    return jnp.where(above < width, upper - to_bound(above), bent_below)


def knee_width(lower: jax.Array, upper: jax.Array, width: jax.Array) -> jax.Array:
    """The width where it is below half the interval, else that half."""
    return jnp.minimum(width, upper / 2 - lower / 2)


def _sigmoid_interval(
    y: jax.Array, lower: jax.Array, upper: jax.Array, temperature: jax.Array
) -> jax.Array:
    return temperature * log_ratio(y / 2 - lower / 2, upper / 2 - y / 2)


def _stretched(y: jax.Array, upper: jax.Array) -> jax.Array:
    """y between -upper and upper, which is not negative."""
    inside = _open(lambda y, lower, upper: _arctanh(y, upper), jnp.zeros_like)
    return jnp.where(jnp.isinf(upper), y, inside(y, -upper, upper))


def stretched_tanh(y: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    return _stretched(y, jnp.abs(upper))


def half_tanh(y: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    return jnp.where(y <= 0, y, _stretched(y, jnp.maximum(upper, 0)))


def sigmoid_interval(
    y: jax.Array, lower: jax.Array, upper: jax.Array, temperature: jax.Array
) -> jax.Array:
    unbounded = jnp.isinf(lower) | jnp.isinf(upper)
    inside = _open(_sigmoid_interval, jnp.zeros_like)(y, lower, upper, temperature)
    return jnp.where(unbounded, _formulas.clip(y, lower, upper), inside)


def tanh_interval(y: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    return sigmoid_interval(y, lower, upper, jnp.full_like(y, 0.5))


def leaky_clip(y: jax.Array, lower: jax.Array, upper: jax.Array, slope: jax.Array) -> jax.Array:
    return _formulas.clip(y, lower, upper)


clip = straight_through_clip = _formulas.clip
smooth_clip = _open(_smooth_clip, lambda y: y)
knee_tanh = _open(_knee_tanh, lambda y: y)
relu_offset = _one_sided(lambda distance: distance, lambda y, bound: jnp.zeros_like(y))
softplus_offset = _one_sided(_softplus, _never_reached)
squareplus_offset = _one_sided(_squareplus, _never_reached)
exp_offset = _one_sided(jnp.log, _never_reached)
