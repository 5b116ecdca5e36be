"""Fitting a noisy sine below its envelope, the study `sin_ineq` of ENFORCE, run again.

Lastrucci and Schweidtmann, "ENFORCE: Nonlinear constrained learning with adaptive-depth neural
projection", arXiv 2502.06774; the published numbers, of one seed, are those that the code at github
process-intelligence-research/ENFORCE (`tests/fixtures/benchmark_baselines/sin_ineq.json`) holds
itself to. `exact` begins with torch's random numbers and takes torch's order of the batches, as
they did; `ours` with our own.

Everything is trained in units of the training labels' standard deviation, about their mean.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.reproduced import networks, tables
from experiments.reproduced.networks import Points, Training
from experiments.reproduced.tables import SEEDS, Row
from experiments.training.strategies import TRAINED
from experiments.training.strategy_rows import Strategy, bound_sources

SIZES = (1, 64, 64, 1)
TORCH_SEED = 49941
TRAIN, TEST = 1200, 300
OUTPUTS = 3  # of their network: y, and a multiplier for either bound
TOLERANCE = 1e-4
NEWTON_STEPS = 10  # they allow 100; from anywhere near the bounds it takes four
Start = tuple[networks.Parameters, Any]  # of every seed: weights, and the points' order by epoch
TRAINING = Training(epochs=500, learning_rate=1e-3, batch=128, loss_factor=1 / OUTPUTS)


class Data(NamedTuple):
    """Points in standard units, and how to go back."""

    train: Points
    test: Points
    scale: float


def data() -> Data:
    """Their 1,200 noisy points and 300 without noise, from the generator that they drew from."""
    generator = np.random.RandomState(41)

    def inputs(count: int) -> np.ndarray:
        return generator.uniform(0, 9.4248, (count, 1)).astype(np.float32)

    x = inputs(TRAIN)
    noise = generator.normal(0, 0.3, (TRAIN, 1)) + 0.1 * np.sign(_target(x))
    labels = _target(x) + noise.astype(np.float32)
    middle, scale = labels.mean(), labels.std()

    def points(x_of: np.ndarray, y: np.ndarray) -> Points:
        bounds = ((side * _envelope(x_of) - middle) / scale for side in (-1, 1))
        leaves = ((y - middle) / scale, *bounds)
        return Points((x_of - x.mean()) / x.std(), *(leaf[:, None] for leaf in leaves))

    x_test = inputs(TEST)
    return Data(points(x, labels), points(x_test, _target(x_test)), float(scale))


def _envelope(x: np.ndarray) -> np.ndarray:
    return 1 + x**2 / (3 * np.pi**2)


def _target(x: np.ndarray) -> np.ndarray:
    return _envelope(x) * np.sin(x)


def enforce(scale: float) -> Strategy:
    """Their layer: Newton's method on the conditions of Fischer and Burmeister, of y and a
    multiplier for either bound, in the units of y.

    From an output outside it ends on the bound, with a multiplier above 0, which the loss has as
    an output whose label is 0. Half the squared displacement is in the loss as well.
    """

    def conditions(z: jax.Array, lower: jax.Array, upper: jax.Array) -> tuple[jax.Array, ...]:
        """The two conditions, and their derivatives to y and to their multiplier: (N, 2) each."""
        y, multipliers = z[:, :1], z[:, 1:]
        beyond = jnp.concatenate([y - upper, lower - y], axis=1)
        root = jnp.sqrt(multipliers**2 + beyond**2 + 1e-8)
        to_y = jnp.array([[1.0, -1.0]], z.dtype) * (beyond / root + 1)
        return root - multipliers + beyond, to_y, multipliers / root - 1

    def step(z: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
        """The nearest point where the conditions, linearised, are 0."""
        values, to_y, to_multiplier = conditions(z, lower, upper)
        square, product = to_y**2 + to_multiplier**2, to_y[:, :1] * to_y[:, 1:]
        determinant = square[:, :1] * square[:, 1:] - product**2
        weights = (square[:, ::-1] * values - product * values[:, ::-1]) / determinant
        along_y = jnp.sum(to_y * weights, axis=1, keepdims=True)
        return z - jnp.concatenate([along_y, to_multiplier * weights], axis=1)

    def project(raw: jax.Array, lower: jax.Array, upper: jax.Array, norm) -> jax.Array:
        raw, lower, upper = (scale * part[:, 0] for part in (raw, lower, upper))

        def further(z: jax.Array, _) -> tuple[jax.Array, None]:
            left = norm(jnp.abs(conditions(z, lower, upper)[0])) > TOLERANCE
            return jnp.where(left, step(z, lower, upper), z), None

        first = step(jnp.pad(raw, ((0, 0), (0, OUTPUTS - 1))), lower, upper)
        return lax.scan(further, first, length=NEWTON_STEPS)[0]

    def train(raw, lower, upper, progress, state, hyper):
        z = project(raw, lower, upper, jnp.mean)
        output = z[:, None, :1] / scale
        displacement = jnp.mean((output - raw) ** 2)
        multipliers = jnp.mean(jnp.sum(z[:, 1:] ** 2, axis=1))
        return output, hyper[0] * (displacement + multipliers) + multipliers

    def evaluate(raw, lower, upper, hyper):
        return project(raw, lower, upper, jnp.max)[:, None, :1] / scale

    return Strategy(
        "ENFORCE",
        train,
        evaluate,
        "Newton's method on the conditions of Fischer and Burmeister",
        "Lastrucci and Schweidtmann 2025",
        "never",
        grid={"weight": (0.5,)},
    )


METRICS = ("mse", "max_violation", "mean_violation", "infeasible_above", "infeasible_below")
PUBLISHED = {
    "unconstrained": (0.014645633, 0.2427045, 0.0239112, 15.333333, 9.333333),
    "ENFORCE": (0.012205354, 0.0, 0.0, 0.0, 0.0),
}
"""Each of METRICS, by method; percentages of the test points, and the larger and the sum of their
two sides' maximum and mean violation."""

CATALOGUE = tuple(
    name
    for name, row in TRAINED.items()
    if name in ("unconstrained", "stretched_tanh")  # the envelope is symmetric: |u| tanh(z) fits
    or set(bound_sources(row, ("lower", "upper")).values()) == {"dataset"}
)
"""Strategies that take both bounds."""


def run(
    strategy: Strategy, values: dict[str, float], start: Start, training: Training = TRAINING
) -> dict[str, np.ndarray]:
    """Each metric by seed, on the test points."""
    given = data()
    found = networks.run(strategy, values, given.train, given.test, training, *start, given.scale)
    for side in ("above", "below"):
        found[f"infeasible_{side}"] = 100 * found[side] / TEST
    return found


def our_start(seeds: int) -> Start:
    def start(key: jax.Array) -> Start:
        of_weights, of_orders = jax.random.split(key)
        keys = jax.random.split(of_orders, TRAINING.epochs)
        orders = jax.vmap(lambda key: jax.random.permutation(key, TRAIN))(keys)
        return networks.our_weights(of_weights, SIZES, "float32", kaiming=False), orders

    return jax.vmap(start)(jax.random.split(jax.random.key(0), seeds))


def their_start() -> Start:
    weights = networks.torch_weights(TORCH_SEED, SIZES, "float32", kaiming=False)
    torch, orders = networks.import_torch(), []
    for epoch in range(TRAINING.epochs):
        torch.manual_seed(TORCH_SEED + epoch)
        orders.append(torch.randperm(TRAIN).numpy())
    return networks.stack([weights]), np.stack(orders)[None]


COLUMNS = tables.columns(METRICS)


def rows(catalogue: Sequence[str] = CATALOGUE) -> Iterator[Row]:
    """Every row of the table, as it is trained; none that is `exact` without torch.

    Args:
      catalogue: the strategies that are added to theirs.
    """
    methods = {
        "unconstrained": (TRAINED["unconstrained"], {}),
        "ENFORCE": (enforce(data().scale), {}),
    }
    others = {name: (TRAINED[name], {}) for name in catalogue if name not in methods}
    if "clip_with_displacement" in others:  # with the weight that they give the displacement
        others["clip_with_displacement"][1]["weight"] = 0.5
    return tables.comparison(
        "sin_ineq",
        METRICS,
        run,
        published={
            name: {"seeds": 1} | dict(zip(METRICS, values, strict=True))
            for name, values in PUBLISHED.items()
        },
        methods=methods | others,
        exact=methods,
        ours=our_start(SEEDS),
        theirs=their_start() if networks.has_torch() else None,
    )
