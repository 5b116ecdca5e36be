"""Fitting a noisy sine below its envelope, the study `sin_ineq` of ENFORCE, run again.

Lastrucci and Schweidtmann, "ENFORCE: Nonlinear constrained learning with adaptive-depth neural
projection", arXiv 2502.06774; the published numbers, of one seed, are those that the code at github
process-intelligence-research/ENFORCE (`tests/fixtures/benchmark_baselines/sin_ineq.json`) holds
itself to. `exact` begins with torch's random numbers and takes torch's order of the batches, as
they did; `ours` with our own.

Everything is trained in units of the training labels' standard deviation, about their mean.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.reproduced import networks, tables
from experiments.reproduced.networks import Points, Training
from experiments.reproduced.tables import Row
from experiments.training.strategies import TRAINED
from experiments.training.strategy_rows import Strategy, bound_sources

SIZES = (1, 64, 64, 1)
SEEDS = 30
CATALOGUE_SEEDS = 10
TORCH_SEED = 49941
TRAIN, TEST = 1200, 300
OUTPUTS = 3  # of their network: y, and a multiplier for either bound
TOLERANCE = 1e-4
NEWTON_STEPS = 10  # they allow 100; from anywhere near the bounds it takes four
TRAINING = Training(epochs=500, learning_rate=1e-3, batch=128, loss_factor=1 / OUTPUTS)


@dataclass(frozen=True)
class Data:
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
        bounds = (
            ((bound - middle) / scale)[:, None] for bound in (-_envelope(x_of), _envelope(x_of))
        )
        return Points((x_of - x.mean()) / x.std(), ((y - middle) / scale)[:, None], *bounds)

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
    strategy: Strategy,
    values: dict[str, float],
    initial: networks.Parameters,
    orders: jax.Array,
    training: Training = TRAINING,
) -> dict[str, np.ndarray]:
    """Train every seed and measure on the test points: each metric by seed."""
    given = data()
    hyper = strategy.hyper({**strategy.hyperparameters, **values})
    trained = networks.train(strategy, hyper, given.train, training, initial, orders)
    constants = networks.target_range(given.train)
    output = networks.evaluate(strategy, hyper, trained, given.test, constants)
    found = networks.measure(output, given.test, given.scale)
    for side in ("above", "below"):
        found[f"infeasible_{side}"] = 100 * found[side] / TEST
    return found


def our_start(seeds: int) -> tuple[networks.Parameters, jax.Array]:
    """Initial weights and the order of the points in every epoch, of every seed."""

    def start(key: jax.Array) -> tuple[networks.Parameters, jax.Array]:
        of_weights, of_orders = jax.random.split(key)
        keys = jax.random.split(of_orders, TRAINING.epochs)
        orders = jax.vmap(lambda key: jax.random.permutation(key, TRAIN))(keys)
        return networks.uniform_weights(of_weights, SIZES, "float32"), orders

    return jax.vmap(start)(jax.random.split(jax.random.key(0), seeds))


def their_start() -> tuple[networks.Parameters, np.ndarray]:
    """The same of their seed."""
    weights = networks.torch_weights(TORCH_SEED, SIZES, "float32", kaiming=False)
    torch, orders = networks.import_torch(), []
    for epoch in range(TRAINING.epochs):
        torch.manual_seed(TORCH_SEED + epoch)
        orders.append(torch.randperm(TRAIN).numpy())
    return networks.stack([weights]), np.stack(orders)[None]


COLUMNS = (
    "task",
    "method",
    "source",
    "seeds",
    "mse",
    "mse_std",
    "max_violation",
    "mean_violation",
    "infeasible_above",
    "infeasible_below",
    "mse_low",
    "mse_high",
    "max_violation_std",
    "mean_violation_std",
    "infeasible_above_std",
    "infeasible_below_std",
)


def rows(catalogue: Sequence[str] = CATALOGUE) -> Iterator[Row]:
    """Every row of the table, as it is trained; none that is `exact` without torch.

    Args:
      catalogue: the strategies that are added to theirs.
    """
    ours = our_start(SEEDS)
    some = jax.tree.map(lambda leaf: leaf[:CATALOGUE_SEEDS], ours)
    theirs = their_start() if networks.has_torch() else None
    methods = {"unconstrained": TRAINED["unconstrained"], "ENFORCE": enforce(data().scale)}
    for name, strategy in methods.items():
        row = {"task": "sin_ineq", "method": name, "source": "published", "seeds": 1}
        yield row | dict(zip(METRICS, PUBLISHED[name], strict=True))
        if theirs:
            yield _row(name, "exact", strategy, {}, theirs)
        yield _row(name, "ours", strategy, {}, ours)
    for name in catalogue:
        if name not in methods:
            # The weight that they give the displacement.
            values = {"weight": 0.5} if name == "clip_with_displacement" else {}
            yield _row(name, "ours", TRAINED[name], values, some)


def _row(name: str, source: str, strategy: Strategy, values: dict[str, float], start: tuple) -> Row:
    found = run(strategy, values, *start)
    row = {"task": "sin_ineq", "method": name, "source": source, "seeds": len(found["mse"])}
    return row | tables.over_seeds(found, METRICS)
