"""The formulas behind `bounded.constraints`, each with its derivatives in closed form.

Arguments are arrays of one shape and one floating dtype; a missing bound is -inf or +inf, and
lower <= upper. What a formula means, and where its derivatives come from, is in the docstring of
the constraint of its name.
"""

from collections.abc import Callable
from functools import reduce

import jax
import jax.numpy as jnp
from jax import lax

Formula = Callable[..., jax.Array]


def _ordered(x: jax.Array) -> jax.Array:
    """Integers in the order of the floats; XLA on CPU compares subnormal floats as zeros."""
    integer = jnp.dtype(f"int{8 * x.dtype.itemsize}")
    bits = lax.bitcast_convert_type(x, integer)
    return jnp.where(bits < 0, jnp.iinfo(integer).min - bits, bits)


# XLA on CPU moves bfloat16 through float32, and some processors make zeros of its subnormal numbers
# on the way back: so bounds of that type are selected and negated among their bits.
@jax.custom_jvp
def select(condition: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
    """`jnp.where`."""
    if one.dtype != jnp.bfloat16:
        return jnp.where(condition, one, other)
    return _float(jnp.where(condition, _bits(one), _bits(other)))


select.defjvps(
    None,
    lambda dot, output, condition, one, other: jnp.where(condition, dot, 0),
    lambda dot, output, condition, one, other: jnp.where(condition, 0, dot),
)


@jax.custom_jvp
def negative(x: jax.Array) -> jax.Array:
    """`-x`."""
    return -x if x.dtype != jnp.bfloat16 else _float(_bits(x) ^ jnp.int16(-(2**15)))


negative.defjvps(lambda dot, output, x: -dot)


def _bits(x: jax.Array) -> jax.Array:
    return lax.bitcast_convert_type(x, jnp.int16)


def _float(bits: jax.Array) -> jax.Array:
    return lax.bitcast_convert_type(bits, jnp.bfloat16)


def _above(x: jax.Array, bound: jax.Array) -> jax.Array:
    """Where x > bound, NaN in x apart; a NaN bound counts, so that it shows in the output."""
    return ((_ordered(x) > _ordered(bound)) & ~jnp.isnan(x)) | jnp.isnan(bound)


def _under(x: jax.Array, bound: jax.Array) -> jax.Array:
    return ((_ordered(x) < _ordered(bound)) & ~jnp.isnan(x)) | jnp.isnan(bound)


def at_most(x: jax.Array, upper: jax.Array) -> jax.Array:
    return select(_above(x, upper), upper, x)


def at_least(x: jax.Array, lower: jax.Array) -> jax.Array:
    return select(_under(x, lower), lower, x)


def apart_from_nan(formula: Formula, *arguments: jax.Array) -> jax.Array:
    """The formula; NaN where an argument is NaN, with a derivative of 1 to each.

    The formula never sees a NaN: 0 times its derivative there would be NaN too, also in the
    gradient of a loss that leaves such an entry out.
    """
    unknown = reduce(jnp.logical_or, map(jnp.isnan, arguments))
    known = [select(unknown, jnp.ones_like(x), x) for x in arguments]
    return select(unknown, reduce(jnp.add, arguments), formula(*known))


# Rounding can put a formula's value outside; `below` puts it back and keeps its derivative.
below = jax.custom_jvp(at_most)
below.defjvps(lambda dot, output, x, upper: dot, None)


def clip(raw: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    return at_most(at_least(raw, lower), upper)


def _lower_active(raw: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    return _under(raw, lower) & ~_above(lower, upper)


def _upper_active(raw: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    return _above(at_least(raw, lower), upper)


straight_through_clip = jax.custom_jvp(clip)
straight_through_clip.defjvps(
    lambda dot, output, *where: dot,
    lambda dot, output, *where: jnp.where(_lower_active(*where), dot, 0),
    lambda dot, output, *where: jnp.where(_upper_active(*where), dot, 0),
)


@jax.custom_jvp
def leaky_clip(raw: jax.Array, lower: jax.Array, upper: jax.Array, slope: jax.Array) -> jax.Array:
    return clip(raw, lower, upper)


leaky_clip.defjvps(
    lambda dot, output, raw, lower, upper, slope: jnp.where(
        _lower_active(raw, lower, upper) | _upper_active(raw, lower, upper), slope * dot, dot
    ),
    lambda dot, output, raw, lower, upper, slope: jnp.where(
        _lower_active(raw, lower, upper), (1 - slope) * dot, 0
    ),
    lambda dot, output, raw, lower, upper, slope: jnp.where(
        _upper_active(raw, lower, upper), (1 - slope) * dot, 0
    ),
    None,
)


def _finite(x: jax.Array) -> jax.Array:
    """x, no larger than the dtype's largest number, so that its product with 0 is 0."""
    return jnp.where(jnp.isinf(x), jnp.sign(x) * jnp.finfo(x.dtype).max, x)


exp = jax.custom_jvp(jnp.exp)
exp.defjvps(lambda dot, output, z: _finite(output) * dot)


@jax.custom_jvp
def sigmoid(x: jax.Array) -> jax.Array:
    """The logistic function, with both tails from exp(-|x|)."""
    tail = jnp.exp(-jnp.abs(x))
    return jnp.where(x < 0, tail, 1) / (1 + tail)


@jax.custom_jvp
def _sigmoid_slope(x: jax.Array) -> jax.Array:
    """`σ(x) σ(-x)`, an even function."""
    tail = jnp.exp(-jnp.abs(x))
    return tail / (1 + tail) ** 2


sigmoid.defjvps(lambda dot, output, x: _sigmoid_slope(x) * dot)
_sigmoid_slope.defjvps(lambda dot, output, x: -jnp.tanh(x / 2) * output * dot)


def _sech_squared(x: jax.Array) -> jax.Array:
    return 4 * _sigmoid_slope(2 * x)


def _within_range(x: jax.Array) -> jax.Array:
    """x where twice of it is finite, so that its product with 0 is 0."""
    largest = x.dtype.type(float(jnp.finfo(x.dtype).max) / 2)  # which older numpy widens
    return jnp.clip(x, -largest, largest)


def _sigmoid_moment(x: jax.Array) -> jax.Array:
    """`x σ(x) σ(-x)`."""
    return _within_range(x) * _sigmoid_slope(x)


def _softplus_tail(x: jax.Array) -> jax.Array:
    """`softplus(x) - max(x, 0)`, an even function."""
    return jnp.log1p(jnp.exp(-jnp.abs(x)))


@jax.custom_jvp
def _softplus_slope(x: jax.Array) -> jax.Array:
    """`softplus(x) - x σ(x)`, the derivative of `t softplus(z / t)` to t at x = z / t; even."""
    x = jnp.abs(_within_range(x))
    return _softplus_tail(x) + x * sigmoid(-x)


_softplus_slope.defjvps(lambda dot, output, x: -_sigmoid_moment(x) * dot)


@jax.custom_jvp
def softplus(z: jax.Array, temperature: jax.Array) -> jax.Array:
    """`t softplus(z / t)`."""
    return jnp.maximum(z, 0) + temperature * _softplus_tail(z / temperature)


softplus.defjvps(
    lambda dot, output, z, temperature: sigmoid(z / temperature) * dot,
    lambda dot, output, z, temperature: _softplus_slope(z / temperature) * dot,
)


@jax.custom_jvp
def _quarter_hypotenuse(z: jax.Array, temperature: jax.Array) -> jax.Array:
    """`√(z² + 4t²) / 4`, without a square or a sum that may overflow."""
    half = jnp.abs(z) / 2
    longer, shorter = jnp.maximum(half, temperature), jnp.minimum(half, temperature)
    return longer / 2 * jnp.sqrt(1 + (shorter / longer) ** 2)


_quarter_hypotenuse.defjvps(
    lambda dot, output, z, temperature: z / 16 / output * dot,
    lambda dot, output, z, temperature: temperature / 4 / output * dot,
)


@jax.custom_jvp
def squareplus(z: jax.Array, temperature: jax.Array) -> jax.Array:
    """`(z + √(z² + 4t²)) / 2`; below zero by its reciprocal, which keeps its digits."""
    half_above = jnp.abs(z) / 4 + _quarter_hypotenuse(z, temperature)
    return jnp.where(z < 0, temperature * (temperature / 2 / half_above), 2 * half_above)


squareplus.defjvps(
    lambda dot, output, z, temperature: output / 4 / _quarter_hypotenuse(z, temperature) * dot,
    lambda dot, output, z, temperature: temperature / 2 / _quarter_hypotenuse(z, temperature) * dot,
)


def _in_temperatures(distance: jax.Array, temperature: jax.Array) -> jax.Array:
    """`distance / t`; an infinite one stays so, and does not depend on t."""
    infinite = jnp.isinf(distance)
    return jnp.where(infinite, distance, jnp.where(infinite, 0, distance) / temperature)


@jax.custom_jvp
def smooth_clip(
    raw: jax.Array, lower: jax.Array, upper: jax.Array, temperature: jax.Array
) -> jax.Array:
    from_lower = _in_temperatures(raw - lower, temperature)
    from_upper = _in_temperatures(upper - raw, temperature)
    bend = temperature * (_softplus_tail(from_lower) - _softplus_tail(from_upper))
    wide = clip(raw, lower, upper) + bend
    # Of an interval narrower than the bend the difference above keeps no digits.
    size = _in_temperatures(upper - lower, temperature)
    growth = jnp.expm1(jnp.minimum(size, 1))
    narrow = jnp.where(
        from_lower < from_upper,
        lower + temperature * jnp.log1p(sigmoid(-from_upper) * growth),
        upper - temperature * jnp.log1p(sigmoid(-from_lower) * growth),
    )
    return clip(jnp.where(size < 1, narrow, wide), lower, upper)


smooth_clip.defjvps(
    lambda dot, output, raw, lower, upper, temperature: (
        sigmoid(_in_temperatures(raw - lower, temperature))
        * sigmoid(_in_temperatures(upper - raw, temperature))
        * -jnp.expm1(_in_temperatures(lower - upper, temperature))
        * dot
    ),
    lambda dot, output, raw, lower, upper, temperature: (
        sigmoid(_in_temperatures(lower - raw, temperature)) * dot
    ),
    lambda dot, output, raw, lower, upper, temperature: (
        sigmoid(_in_temperatures(raw - upper, temperature)) * dot
    ),
    lambda dot, output, raw, lower, upper, temperature: (
        (
            _softplus_slope(_in_temperatures(raw - lower, temperature))
            - _softplus_slope(_in_temperatures(upper - raw, temperature))
        )
        * dot
    ),
)


tanh = jax.custom_jvp(jnp.tanh)
tanh.defjvps(lambda dot, output, z: _sech_squared(z) * dot)


def _knee(distance: jax.Array, width: jax.Array) -> jax.Array:
    """Place on a knee that ends in a bound: 0 where it begins, 1 at the bound."""
    bends = width > 0
    place = jnp.where(bends, distance / jnp.where(bends, width, 1) + 1, jnp.inf)
    return jnp.where(~bends & (distance < 0), -jnp.inf, place)


def _by_knee(
    raw: jax.Array,
    lower: jax.Array,
    upper: jax.Array,
    width: jax.Array,
    *,
    above: Formula,
    below: Formula,
    between: jax.Array | float,
) -> jax.Array:
    """`above` and `below` of the place on the upper and the lower knee, or `between`.

    Off the knees the place is taken as 1, for a derivative there may overflow, or be NaN.
    """
    over, under = raw - upper, lower - raw
    high, low = _knee(over, width) > 0, _knee(under, width) > 0
    distance = jnp.where(high, over, jnp.where(low, under, 0))
    place = _knee(distance, jnp.where(high | low, width, 1))
    return jnp.where(high, above(place), jnp.where(low, below(place), between))


def _knee_rest(place: jax.Array) -> jax.Array:
    """`1 - tanh(x)`: what is left to the bound, in widths."""
    return 2 * sigmoid(-2 * place)


def _knee_slope(place: jax.Array) -> jax.Array:
    """`1 - tanh(x) - (1 - x) sech²(x)`, the derivative of that in raw's units to the width."""
    place = _within_range(place)
    tail = jnp.exp(-2 * place)
    return 2 * tail * (2 * place - 1 + tail) / (1 + tail) ** 2


@jax.custom_jvp
def knee_tanh(raw: jax.Array, lower: jax.Array, upper: jax.Array, width: jax.Array) -> jax.Array:
    bent = _by_knee(
        raw,
        lower,
        upper,
        width,
        above=lambda place: upper - width * _knee_rest(place),
        below=lambda place: lower + width * _knee_rest(place),
        between=raw,
    )
    return clip(bent, lower, upper)


def _tanh_squared(x: jax.Array) -> jax.Array:
    return jnp.tanh(x) ** 2


knee_tanh.defjvps(
    lambda dot, output, *where: (
        _by_knee(*where, above=_sech_squared, below=_sech_squared, between=1) * dot
    ),
    lambda dot, output, *where: (
        _by_knee(*where, above=jnp.zeros_like, below=_tanh_squared, between=0) * dot
    ),
    lambda dot, output, *where: (
        _by_knee(*where, above=_tanh_squared, below=jnp.zeros_like, between=0) * dot
    ),
    lambda dot, output, *where: (
        _by_knee(*where, above=lambda x: -_knee_slope(x), below=_knee_slope, between=0) * dot
    ),
)


@jax.custom_jvp
def sigmoid_interval(
    raw: jax.Array, lower: jax.Array, upper: jax.Array, temperature: jax.Array
) -> jax.Array:
    # From the nearer bound, so that the tails keep their digits.
    distance = (upper / 2 - lower / 2) * (2 * sigmoid(-jnp.abs(raw) / temperature))
    return clip(jnp.where(raw < 0, lower + distance, upper - distance), lower, upper)


sigmoid_interval.defjvps(
    lambda dot, output, raw, lower, upper, temperature: (
        _finite((upper / 2 - lower / 2) * (2 * _sigmoid_slope(raw / temperature) / temperature))
        * dot
    ),
    lambda dot, output, raw, lower, upper, temperature: sigmoid(-raw / temperature) * dot,
    lambda dot, output, raw, lower, upper, temperature: sigmoid(raw / temperature) * dot,
    lambda dot, output, raw, lower, upper, temperature: (
        _finite((lower / 2 - upper / 2) * (2 * _sigmoid_moment(raw / temperature) / temperature))
        * dot
    ),
)
