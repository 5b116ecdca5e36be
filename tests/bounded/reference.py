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


# By name: the formula, the hyperparameter's name or None, and its default.
FORMULAS = {
    "clip": (clip, None, None),
    "straight_through_clip": (clip, None, None),
    "leaky_clip": (clip, None, None),
    "smooth_clip": (smooth_clip, "temperature", 0.1),
    "knee_tanh": (knee_tanh, "width", 0.1),
    "relu_offset": (_offset(relu), None, None),
    "softplus_offset": (_offset(softplus), "temperature", 1.0),
    "squareplus_offset": (_offset(squareplus), "temperature", 1.0),
    "exp_offset": (_offset(np.exp), None, None),
    "stretched_tanh": (
        lambda z, lower, upper: np.where(upper.real < 0, -upper, upper) * np.tanh(z),
        None,
        None,
    ),
    "half_tanh": (
        lambda z, lower, upper: np.where(z.real > 0, upper * np.tanh(relu(z)), z),
        None,
        None,
    ),
    "tanh_interval": (lambda z, lower, upper: sigmoid_interval(z, lower, upper, 0.5), None, None),
    "sigmoid_interval": (sigmoid_interval, "temperature", 1.0),
}


def value(name, z, lower=None, upper=None, **hyper):
    """The formula's value, in extended precision, of arrays in any precision."""
    formula, parameter, default = FORMULAS[name]
    arguments = {"z": z, "lower": lower, "upper": upper}
    wide = {
        key: None if array is None else np.asarray(array, np.longdouble)
        for key, array in arguments.items()
    }
    extra = [np.longdouble(hyper.get(parameter, default))] if parameter else []
    with np.errstate(all="ignore"):
        return formula(*wide.values(), *extra)


def derivative(argument, name, z, lower=None, upper=None, **hyper):
    """The formula's derivative to "z", "lower", "upper" or its hyperparameter."""
    formula, parameter, default = FORMULAS[name]
    wide = {"z": z, "lower": lower, "upper": upper}
    if parameter:
        wide[parameter] = hyper.get(parameter, default)
    for key, array in wide.items():
        if array is not None:
            wide[key] = np.asarray(array, np.longdouble).astype(np.clongdouble)
    wide[argument] = wide[argument] + 1j * STEP
    with np.errstate(all="ignore"):
        return np.imag(formula(*wide.values())) / STEP
