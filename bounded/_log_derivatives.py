"""The formulas behind `inverses.log_derivative`: the logarithm of each map's slope, by its name.

Arguments as in `bounded._inverse_formulas`, raw in place of the output.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid

from bounded import _formulas
from bounded._inverse_formulas import knee_width, log_ratio

Formula = Callable[..., jax.Array]


def _one_sided(formula: Formula) -> Formula:
    """`formula(z)`, mirrored for a lower bound; 0 without a bound."""

    def log_slope(
        raw: jax.Array, lower: jax.Array, upper: jax.Array, *hyper: jax.Array
    ) -> jax.Array:
        z = jnp.where(jnp.isinf(upper), -raw, raw)
        unbounded = jnp.isinf(upper) & jnp.isinf(lower)
        return jnp.where(unbounded, 0, formula(jnp.where(unbounded, 0, z), *hyper))

    return log_slope


def clip(raw: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    return jnp.where((raw >= lower) & (raw <= upper), 0, jnp.full_like(raw, -jnp.inf))


def leaky_clip(raw: jax.Array, lower: jax.Array, upper: jax.Array, slope: jax.Array) -> jax.Array:
    return clip(raw, lower, upper)


def smooth_clip(
    raw: jax.Array, lower: jax.Array, upper: jax.Array, temperature: jax.Array
) -> jax.Array:
    """`log(σ((z - l) / t) σ((u - z) / t) (1 - exp(-(u - l) / t)))`."""
    size = (upper - lower) / temperature
    narrow = size < jnp.finfo(raw.dtype).eps
    saturation = -jnp.expm1(-jnp.where(narrow, 1, size))
    whole = jnp.where(narrow, log_ratio(upper - lower, temperature), jnp.log(saturation))
    ends = log_sigmoid((raw - lower) / temperature) + log_sigmoid((upper - raw) / temperature)
    return whole + ends


def _log_sech_squared(x: jax.Array) -> jax.Array:
    return jnp.log(4.0) + log_sigmoid(2 * x) + log_sigmoid(-2 * x)


def knee_tanh(raw: jax.Array, lower: jax.Array, upper: jax.Array, width: jax.Array) -> jax.Array:
    """0 between the knees, the logarithm of sech² of the place on a knee."""
    width = knee_width(lower, upper, width)
    return _formulas._by_knee(
        raw, lower, upper, width, above=_log_sech_squared, below=_log_sech_squared, between=0.0
    )


def _relu(z: jax.Array) -> jax.Array:
    return jnp.where(z > 0, 0, jnp.full_like(z, -jnp.inf))


def _softplus(z: jax.Array, temperature: jax.Array) -> jax.Array:
    return log_sigmoid(z / temperature)


def _squareplus(z: jax.Array, temperature: jax.Array) -> jax.Array:
    """`log((1 + z / h) / 2)`, `h = √(z² + 4t²)`; for z < 0 as `log(2t² / (h (h + |z|)))`."""
    quarter = _formulas._quarter_hypotenuse(z, temperature)
    longer = jnp.abs(z) / 4 + quarter
    below = log_ratio(temperature, quarter) + log_ratio(temperature, longer) - jnp.log(8.0)
    return jnp.where(z < 0, below, log_ratio(longer, 2 * quarter))


def stretched_tanh(raw: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    bounded = jnp.log(jnp.abs(upper)) + _log_sech_squared(raw)
    return jnp.where(jnp.isinf(upper), 0, bounded)


def half_tanh(raw: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    return jnp.where(raw <= 0, 0, stretched_tanh(raw, lower, upper))


def sigmoid_interval(
    raw: jax.Array, lower: jax.Array, upper: jax.Array, temperature: jax.Array
) -> jax.Array:
    """`log((u - l) σ(z / t) σ(-z / t) / t)`; with an infinite side that of `clip`."""
    unbounded = jnp.isinf(lower) | jnp.isinf(upper)
    half = jnp.where(unbounded, 1, upper / 2 - lower / 2)
    x = raw / temperature
    inside = jnp.log(2.0) + log_ratio(half, temperature) + log_sigmoid(x) + log_sigmoid(-x)
    return jnp.where(unbounded, clip(raw, lower, upper), inside)


def tanh_interval(raw: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    return sigmoid_interval(raw, lower, upper, jnp.full_like(raw, 0.5))


def identity(raw: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    return jnp.zeros_like(raw)


straight_through_clip = clip
relu_offset = _one_sided(_relu)
softplus_offset = _one_sided(_softplus)
squareplus_offset = _one_sided(_squareplus)
exp_offset = _one_sided(lambda z: z)
