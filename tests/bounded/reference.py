"""The constraints' formulas in extended precision, for real and complex arguments.

Complex arguments give derivatives to the last digit, by a step along the imaginary axis (Squire
and Trapp 1998); so every comparison is of real parts. A bound is an array or None.
"""

import numpy as np

STEP = np.longdouble("1e-150")


def clip(z, lower, upper):
    if lower is not None:
        z = np.where(z.real < lower.real, lower, z)
    return z if upper is None else np.where(z.real > upper.real, upper, z)


def smooth_clip(z, lower, upper, temperature):
    output = clip(z, lower, upper)
    if lower is not None:
        output = output + temperature * _tail((z - lower) / temperature)
    if upper is not None:
        output = output - temperature * _tail((upper - z) / temperature)
    return output


def knee_tanh(z, lower, upper, width):
    if lower is not None and upper is not None:
        half = (upper - lower) / 2
        width = np.where(half.real < np.real(width), half, width)
    safe = np.where(np.real(width) == 0, 1, width)
    output = z
    if upper is not None:
        bent = upper - width * _rest((z - upper) / safe + 1)
        output = np.where(z.real > (upper - width).real, bent, output)
    if lower is not None:
        bent = lower + width * _rest((lower - z) / safe + 1)
        output = np.where(z.real < (lower + width).real, bent, output)
    return output


def _rest(x):
    """1 - tanh(x)."""
    return 2 / (1 + np.exp(2 * x))


def relu(z):
    return np.where(z.real > 0, z, 0)


def softplus(z, temperature):
    return np.where(z.real < 0, 0, z) + temperature * _tail(z / temperature)


def squareplus(z, temperature):
    root = np.sqrt(z**2 + 4 * temperature**2)
    return np.where(z.real < 0, 2 * temperature**2 / (root - z), (z + root) / 2)


def sigmoid_interval(z, lower, upper, temperature):
    x = z / temperature
    nearer = 1 / (1 + np.exp(np.where(x.real < 0, -x, x)))
    return np.where(x.real < 0, lower + (upper - lower) * nearer, upper - (upper - lower) * nearer)


def _tail(x):
    """log(1 + exp(-|x|)); `np.log1p` loses the digits of small complex arguments."""
    small = np.exp(np.where(x.real < 0, x, -x))
    return 2 * np.arctanh(small / (2 + small))


def _offset(distance):
    def formula(z, lower, upper, *hyper):
        return lower + distance(-z, *hyper) if upper is None else upper - distance(z, *hyper)

    return formula


def stretched_tanh(z, lower, upper):
    return np.where(upper.real < 0, -upper, upper) * np.tanh(z)


def half_tanh(z, lower, upper):
    return np.where(z.real > 0, upper * np.tanh(relu(z)), z)


relu_offset, softplus_offset, squareplus_offset, exp_offset = map(
    _offset, (relu, softplus, squareplus, np.exp)
)


# Inverses, of outputs inside.


def smooth_clip_inverse(y, lower, upper, temperature):
    above = 0 if lower is None else temperature * np.log(-np.expm1(-(y - lower) / temperature))
    below = 0 if upper is None else temperature * np.log(-np.expm1(-(upper - y) / temperature))
    return y + above - below


def knee_tanh_inverse(y, lower, upper, width):
    w = width if lower is None or upper is None else np.minimum(width, (upper - lower) / 2)
    raw = y
    if upper is not None:
        knee = upper - w + w * np.log((2 * w - upper + y) / (upper - y)) / 2
        raw = np.where(upper - y < w, knee, raw)
    if lower is not None:
        knee = lower + w - w * np.log((2 * w - y + lower) / (y - lower)) / 2
        raw = np.where(y - lower < w, knee, raw)
    return raw


def sigmoid_interval_inverse(y, lower, upper, temperature):
    return temperature * np.log((y - lower) / (upper - y))


def stretched_tanh_inverse(y, lower, upper):
    bound = abs(upper)
    return np.sign(y) * np.log1p(2 * abs(y) / (bound - abs(y))) / 2


def half_tanh_inverse(y, lower, upper):
    return np.where(y <= 0, y, stretched_tanh_inverse(np.where(y <= 0, 0, y), lower, upper))


def _offset_inverse(of_distance):
    def inverse(y, lower, upper, *hyper):
        if upper is None:
            return -of_distance(y - lower, *hyper)
        return of_distance(upper - y, *hyper)

    return inverse


relu_offset_inverse, softplus_offset_inverse, squareplus_offset_inverse, exp_offset_inverse = map(
    _offset_inverse,
    (
        lambda d: d,
        lambda d, t: d + t * np.log(-np.expm1(-d / t)),
        lambda d, t: d - t**2 / d,
        np.log,
    ),
)
