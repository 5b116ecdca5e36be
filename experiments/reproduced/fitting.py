"""Fitting two functions that keep a nonlinear equality, the study `function_fitting` of ENFORCE.

Lastrucci and Schweidtmann, "ENFORCE: Nonlinear constrained learning with adaptive-depth neural
projection", arXiv 2502.06774; code and published numbers, of one seed, at github
process-intelligence-research/ENFORCE (`tests/fixtures/benchmark_baselines/function_fitting.json`).

    y1 = 2 sin 5x,   y2 = -sin² 5x - x²,   and   (y1 / 2)² + x² + y2 = 0   for x in [-2, 2].

They project in every one of their 50,000 epochs. `nonlinear_projection` is dearer than their
Newton steps, so here a free network is trained for as long, and goes on through the projection for
some epochs more, at a tenth of the rate.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from bounded.sets import nonlinear_projection
from experiments.reproduced import networks
from experiments.reproduced.tables import Row

SIZES = (1, 64, 64, 2)
TRAIN, TEST = 1000, 100_000
EPOCHS, LEARNING_RATE = 50_000, 1e-3
PROJECTED_EPOCHS = 500
DISPLACEMENT = 0.5  # weight of the squared displacement in the loss, as theirs
SEEDS = 5
METRICS = ("mse_y1", "mse_y2", "mean_residual", "max_residual")
PUBLISHED = {
    "unconstrained": (0.00015490103, 0.00033547494, 0.013328652, 0.16590166),
    "ENFORCE": (8.533903e-05, 4.244213e-05, 8.4901217e-08, 9.5367432e-07),
}
"""Each of METRICS, by method, on the 100,000 test points."""

COLUMNS = ("task", "method", "source", "seeds", *METRICS, *(f"{name}_std" for name in METRICS))


class Data(NamedTuple):
    """Inputs, and targets in standard units with what takes them there."""

    train: np.ndarray  # (N,)
    test: np.ndarray
    targets: np.ndarray  # (N, 2)
    middle: np.ndarray  # (2,)
    scale: np.ndarray  # (2,)


def data() -> Data:
    """Their points, from the generator that they drew from."""
    draw = np.random.RandomState(41)
    train, test = (draw.uniform(-2, 2, count) for count in (TRAIN, TEST))
    outputs = target(train)
    middle, scale = outputs.mean(axis=0), outputs.std(axis=0)
    found = train, test, (outputs - middle) / scale, middle, scale
    return Data(*(x.astype(np.float32) for x in found))


def target(x: np.ndarray) -> np.ndarray:
    return np.stack([2 * np.sin(5 * x), -(np.sin(5 * x) ** 2) - x**2], axis=1)


def residual(output: Any, x: Any) -> Any:
    """Of outputs (..., 2) in their own units, which should be 0."""
    return (output[..., 0] / 2) ** 2 + x**2 + output[..., 1]


def projected(given: Data, raw: jax.Array, x: jax.Array, **more: Any) -> jax.Array:
    """The nearest outputs that keep the equality, in standard units."""

    def equality(y: jax.Array, x: jax.Array) -> jax.Array:
        return residual(given.middle + given.scale * y, x)

    return nonlinear_projection(raw, equality=equality, parameters=x, **more)


def raw_of(given: Data, weights: networks.Parameters, x: jax.Array) -> jax.Array:
    inputs = (x - given.train.mean()) / given.train.std()
    return networks.raw_output(weights, inputs[:, None])[:, 0]


def fit(
    given: Data,
    weights: networks.Parameters,
    epochs: int,
    learning_rate: float,
    constraint: Callable[[jax.Array], jax.Array],
) -> networks.Parameters:
    """Full batches; the loss is that of the constrained output, with its displacement."""
    adam = optax.adam(learning_rate)

    def loss(weights: networks.Parameters) -> jax.Array:
        raw = raw_of(given, weights, jnp.asarray(given.train))
        output = constraint(raw)
        moved = jnp.mean((output - raw) ** 2)
        return jnp.mean((output - given.targets) ** 2) + DISPLACEMENT * moved

    def update(carry: tuple, _: None) -> tuple[tuple, None]:
        weights, state = carry
        change, state = adam.update(jax.grad(loss)(weights), state)
        return (optax.apply_updates(weights, change), state), None

    @jax.jit
    def run(weights: networks.Parameters) -> networks.Parameters:
        return lax.scan(update, (weights, adam.init(weights)), length=epochs)[0][0]

    return run(weights)


def measure(given: Data, output: jax.Array) -> dict[str, float]:
    """Of outputs of the test points in standard units."""
    found = given.middle + given.scale * np.asarray(output)
    errors = np.mean((found - target(given.test)) ** 2, axis=0)
    off = np.abs(residual(found, given.test))
    return dict(zip(METRICS, map(float, (*errors, off.mean(), off.max())), strict=True))


def of_seed(given: Data, key: jax.Array) -> dict[str, dict[str, float]]:
    """Each metric by method."""
    x = jnp.asarray(given.test)
    layer = jax.jit(lambda raw: projected(given, raw, x))
    weights = networks.our_weights(key, SIZES, "float32", kaiming=False)
    free = fit(given, weights, EPOCHS, LEARNING_RATE, lambda raw: raw)
    through = fit(
        given,
        free,
        PROJECTED_EPOCHS,
        LEARNING_RATE / 10,
        lambda raw: projected(given, raw, jnp.asarray(given.train), tolerance=1e-4),
    )
    raw = raw_of(given, free, x)
    return {
        "unconstrained": measure(given, raw),
        "nonlinear_projection, when evaluated": measure(given, layer(raw)),
        "nonlinear_projection, in training too": measure(given, layer(raw_of(given, through, x))),
    }


def rows(seeds: int = SEEDS) -> Iterator[Row]:
    """Every row of the table, as it is trained."""
    for method, values in PUBLISHED.items():
        row = {"task": "function_fitting", "method": method, "source": "published", "seeds": 1}
        yield row | dict(zip(METRICS, values, strict=True))
    each = [of_seed(data(), key) for key in jax.random.split(jax.random.key(0), seeds)]
    for method in each[0]:
        row = {"task": "function_fitting", "method": method, "source": "ours", "seeds": seeds}
        for name in METRICS:
            values = [one[method][name] for one in each]
            row |= {name: float(np.mean(values)), f"{name}_std": float(np.std(values))}
        yield row
