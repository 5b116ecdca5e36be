"""Learning to solve quadratic programs, convex and not: the first tables of DC3, run again.

Donti, Rolnick and Kolter, "DC3: A learning method for optimization with hard constraints", arXiv
2104.12225; programs as github locuslab/DC3 draws them (`datasets/simple/make_dataset.py` and
`datasets/nonconvex/make_dataset.py`). Every program has its own right side x of the equalities:

    minimise  ½ yᵀ Q y + pᵀ y   (or pᵀ sin y)   subject to   A y = x   and   G y <= h.

`opt` is the same kind of program, nonconvex, as HardNet draws it (Min and Azizan, arXiv 2410.10807;
github azizanlab/hardnet, `datasets/opt/make_dataset.py`).

The network never sees a solution: it learns from the objective of its own feasible outputs. It
gives coordinates in the null space of A, about `A⁺ x`, where every x has a point inside. As that
basis is orthonormal, projecting there is projecting onto the whole set.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from bounded.sets import Rows, affine_hardnet, affine_projection, affine_radial, affine_soft_radial
from experiments.analysis import statistics
from experiments.reproduced import networks
from experiments.reproduced.tables import Row

OUTPUTS, EQUALITIES, INEQUALITIES, PROGRAMS = 100, 50, 50, 10_000
TRAIN, TEST = 8334, 833  # the first and the last of them, as they divide them
HIDDEN, BATCH = 200, 200
SIZES = (EQUALITIES, HIDDEN, HIDDEN, OUTPUTS - EQUALITIES)
EPOCHS, LEARNING_RATE = 10, 1e-3
SEEDS = 3
TOLERANCE = 1e-4
TASKS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "convex": lambda y: y,
    "nonconvex": jnp.sin,
    "opt": jnp.sin,
}
"""By name: what of y the linear part of the objective is taken of."""

PUBLISHED = {
    ("convex", "OSQP"): -15.05,
    ("convex", "DC3"): -13.46,
    ("nonconvex", "IPOPT"): -11.59,
    ("nonconvex", "DC3"): -10.66,
    ("opt", "IPOPT"): -14.28,
    ("opt", "Soft"): -13.13,
    ("opt", "DC3"): -12.57,
    ("opt", "HardNet-Aff"): -14.10,
}
"""Mean objective on the test programs, by task and method."""

COLUMNS = (
    *("task", "method", "source", "seeds", "objective", "objective_std"),
    *("objective_low", "objective_high", "gap", "max_equality", "max_inequality", "broken"),
)


class Programs(NamedTuple):
    """What all programs share, and the right sides of their equalities."""

    curvature: np.ndarray  # (n,): the diagonal of Q
    linear: np.ndarray  # (n,)
    equality: np.ndarray  # (m, n)
    inequality: np.ndarray  # (k, n)
    level: np.ndarray  # (k,)
    right: np.ndarray  # (N, m)


def programs(task: str) -> Programs:
    """Theirs, from the generator that they drew from, in the order that they drew in."""
    draw = np.random.RandomState(17)
    curvature, linear = draw.random_sample(OUTPUTS), draw.random_sample(OUTPUTS)
    if task == "opt":
        inequality = draw.normal(size=(INEQUALITIES, OUTPUTS))
        equality = draw.normal(size=(EQUALITIES, OUTPUTS))
        right = draw.uniform(-1, 1, (PROGRAMS, EQUALITIES))
    else:
        equality = draw.normal(size=(EQUALITIES, OUTPUTS))
        right = draw.uniform(-1, 1, (PROGRAMS, EQUALITIES))
        inequality = draw.normal(size=(INEQUALITIES, OUTPUTS))
    level = np.abs(inequality @ np.linalg.pinv(equality)).sum(axis=1)
    return Programs(curvature, linear, equality, inequality, level, right)


class Set(NamedTuple):
    """The feasible set in coordinates c: `y = inverse @ x + basis @ c`."""

    inverse: jax.Array  # (n, m)
    basis: jax.Array  # (n, n - m), orthonormal
    matrix: jax.Array  # (k, n - m)
    of_right: jax.Array  # (k, m)
    level: jax.Array  # (k,)

    def rows(self, right: jax.Array) -> Rows:
        return Rows(self.matrix, upper=self.level[None] - right @ self.of_right.T)

    def output(self, right: jax.Array, coordinates: jax.Array) -> jax.Array:
        return right @ self.inverse.T + coordinates @ self.basis.T


def set_of(given: Programs) -> Set:
    inverse = np.linalg.pinv(given.equality)
    basis = np.linalg.svd(given.equality)[2][EQUALITIES:].T
    matrices = inverse, basis, given.inequality @ basis, given.inequality @ inverse, given.level
    return Set(*map(jnp.asarray, matrices))


Layer = Callable[[jax.Array, Rows], jax.Array]
LAYERS: dict[str, Layer] = {
    "affine_projection": affine_projection,
    "affine_hardnet": affine_hardnet,
    "affine_radial": lambda raw, rows: affine_radial(raw, rows, interior=jnp.zeros_like(raw)),
    "affine_soft_radial": lambda raw, rows: affine_soft_radial(
        raw, rows, interior=jnp.zeros_like(raw)
    ),
}


def objectives(given: Programs, task: str, output: jax.Array) -> jax.Array:
    """Of every output, (N,)."""
    curvature, linear = (jnp.asarray(x, output.dtype) for x in given[:2])
    return 0.5 * output**2 @ curvature + TASKS[task](output) @ linear


def optimum(given: Programs) -> np.ndarray:
    """The solutions of the convex test programs: the projection of `-Q⁻¹ p` in the metric of Q."""
    scale = np.sqrt(given.curvature)
    right = given.right[-TEST:]
    lower = np.concatenate([right, np.full((TEST, INEQUALITIES), -np.inf)], axis=1)
    upper = np.concatenate([right, np.broadcast_to(given.level, (TEST, INEQUALITIES))], axis=1)
    rows = Rows(np.concatenate([given.equality, given.inequality]) / scale, lower, upper)
    raw = np.broadcast_to(-given.linear / scale, (TEST, OUTPUTS))
    return np.asarray(jax.jit(affine_projection)(raw, rows)) / scale


def train(given: Programs, task: str, layer: Layer, epochs: int, key: jax.Array) -> np.ndarray:
    """Outputs of the test programs, (TEST, n), of a network that learned from the others.

    Two hidden layers of ReLUs, as theirs, without their batch normalisation and dropout. Adam's
    rate falls to 0 along a cosine.
    """
    in_set = jax.tree.map(lambda x: x.astype(jnp.float32), set_of(given))
    right = jnp.asarray(given.right, jnp.float32)
    of_weights, of_orders = jax.random.split(key)

    @jax.jit
    def outputs(weights: networks.Parameters, right: jax.Array) -> jax.Array:
        raw = networks.raw_output(weights, right)[:, 0]
        return in_set.output(right, layer(raw, in_set.rows(right)))

    def loss(weights: networks.Parameters, right: jax.Array) -> jax.Array:
        return jnp.mean(objectives(given, task, outputs(weights, right)))

    weights = networks.our_weights(of_weights, SIZES, "float32", kaiming=False)
    weights = descend(weights, loss, right[:TRAIN], epochs, LEARNING_RATE, of_orders)
    return np.asarray(outputs(weights, right[-TEST:]))


def descend(
    weights: networks.Parameters,
    loss: Callable[[networks.Parameters, jax.Array], jax.Array],
    right: jax.Array,
    epochs: int,
    learning_rate: float,
    key: jax.Array,
) -> networks.Parameters:
    """Adam on batches of the programs, in another order each epoch."""
    batches = len(right) // BATCH
    adam = optax.adam(optax.cosine_decay_schedule(learning_rate, max(epochs * batches, 1)))

    def update(carry: tuple, rows: jax.Array) -> tuple[tuple, None]:
        weights, state = carry
        change, state = adam.update(jax.grad(loss)(weights, right[rows]), state)
        return (optax.apply_updates(weights, change), state), None

    def epoch(carry: tuple, key: jax.Array) -> tuple[tuple, None]:
        order = jax.random.permutation(key, len(right))[: batches * BATCH]
        return lax.scan(update, carry, order.reshape(batches, BATCH))

    @jax.jit
    def run(weights: networks.Parameters, keys: jax.Array) -> networks.Parameters:
        return lax.scan(epoch, (weights, adam.init(weights)), keys)[0][0]

    return run(weights, jax.random.split(key, epochs))


def measure(given: Programs, task: str, outputs: np.ndarray) -> dict[str, Any]:
    """Of the test programs; `broken` is the share that is violated by more than 1e-4 anywhere."""
    outputs = outputs.astype(np.float64)
    off_equality = np.abs(outputs @ given.equality.T - given.right[-TEST:])
    off_inequality = np.maximum(outputs @ given.inequality.T - given.level, 0)
    worst = np.maximum(off_equality.max(axis=1), off_inequality.max(axis=1))
    return {
        "objective": float(np.mean(objectives(given, task, jnp.asarray(outputs)))),
        "max_equality": float(off_equality.max()),
        "max_inequality": float(off_inequality.max()),
        "broken": float(np.mean(worst > TOLERANCE)),
    }


def rows(epochs: int = EPOCHS, seeds: int = SEEDS) -> Iterator[Row]:
    """Every row of the table, as it is trained; `gap` is the share missing to the optimum."""
    for task in TASKS:
        given = programs(task)
        best = min(value for (name, _), value in PUBLISHED.items() if name == task)
        if task == "convex":
            with jax.enable_x64(True):
                found = measure(given, task, optimum(given))
            best = found["objective"]
        for (name, method), value in PUBLISHED.items():
            if name == task:
                row = {"task": task, "method": method, "source": "published"}
                yield row | {"objective": value, "gap": 1 - value / best}
        if task == "convex":
            row = {"task": task, "method": "affine_projection, solving", "source": "ours"}
            yield row | found | {"gap": 0.0}
        for name, layer in LAYERS.items():
            keys = jax.random.split(jax.random.key(0), seeds)
            each = [measure(given, task, train(given, task, layer, epochs, key)) for key in keys]
            objective = [one["objective"] for one in each]
            low, high = statistics.spread(objective).interval
            yield {
                **{key: max(one[key] for one in each) for key in each[0]},
                "task": task,
                "method": name,
                "source": "ours",
                "seeds": seeds,
                "objective": float(np.mean(objective)),
                "objective_std": float(np.std(objective)),
                "objective_low": low,
                "objective_high": high,
                "gap": 1 - float(np.mean(objective)) / best,
            }
