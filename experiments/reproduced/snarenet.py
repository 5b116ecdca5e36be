"""Learning to solve programs with quadratic rows, and nonconvex ones: SnareNet's, run again.

Chu, Boukas and Udell, "SnareNet: Flexible Repair Layers for Neural Networks with Hard
Constraints", arXiv 2602.09317; programs as github miniyachi/SnareNet draws them
(`datasets/noncvx/generate_dataset.py` and `datasets/cvx_qcqp/generate_dataset.py`), numbers as its
`notebooks/opt_learning.ipynb` prints them. `noncvx` is `nonconvex` of `dc3`, drawn anew. `qcqp` is

    minimise  ½ yᵀ Q y + pᵀ y   subject to   A y = x   and   yᵀ Hᵢ y + gᵢᵀ y <= hᵢ,

with every Hᵢ diagonal and positive. In the metric of Q its solution is the projection of `-Q⁻¹ p`,
so `nonlinear_projection` solves it. That costs too much to train through for long: the network
first learns with a penalty, as theirs do, and goes on through the projection for some batches.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize, stats

from bounded.sets import nonlinear_projection
from experiments.reproduced import dc3, networks
from experiments.reproduced.dc3 import EQUALITIES, INEQUALITIES, OUTPUTS, PROGRAMS, TEST, TRAIN
from experiments.reproduced.tables import Row

EPOCHS = {"noncvx": 100, "qcqp": 100}  # of `qcqp`, of the free network
PENALTY = 10.0  # weight of the squared violation, as theirs
PROJECTED_PROGRAMS = 2000  # of one epoch through the projection, at a tenth of the rate
SEEDS = 3
FLOOR = 1e-16  # of a gap in the geometric mean, as theirs
TASKS = {"noncvx": "nonconvex", "qcqp": "convex"}
"""By name: the objective, as in `dc3`."""

PUBLISHED = {
    ("noncvx", "DC3"): (2.68, 1.35, 8.81),
    ("noncvx", "HardNet"): (0.917, 0.099, 10.2),
    ("noncvx", "HProj"): (3.72, 7.12, 597.0),
    ("noncvx", "SnareNet"): (0.0790, 0.0100, 0.428),
    ("qcqp", "DC3"): (11.6, 5.7, 16.7),
    ("qcqp", "HProj"): (34.1, 75.7, 77.8),
    ("qcqp", "SnareNet"): (0.0260, 0.0027, 0.125),
}
"""Geometric mean of the gaps, its standard deviation over seeds, and the largest gap."""

COLUMNS = (
    *("task", "method", "source", "seeds", "gap", "gap_std", "gap_max"),
    *("gap_min", "objective", "max_equality", "max_inequality", "broken"),
)


class Programs(NamedTuple):
    """Rows are `bend @ y² + inequality @ y <= level`."""

    shared: dc3.Programs
    bend: np.ndarray  # (k, n)


def programs(task: str) -> Programs:
    """Theirs, from the generator that they drew from, in the order that they drew in."""
    draw = np.random.RandomState(2025)
    if task == "noncvx":
        curvature, linear = draw.random_sample(OUTPUTS), draw.random_sample(OUTPUTS)
        inequality = draw.normal(size=(INEQUALITIES, OUTPUTS))
        equality = draw.normal(size=(EQUALITIES, OUTPUTS))
        level = np.abs(inequality @ np.linalg.pinv(equality)).sum(axis=1)
        right = draw.uniform(-1, 1, (PROGRAMS, EQUALITIES))
        bend = np.zeros_like(inequality)
    else:
        curvature, linear = draw.random_sample(OUTPUTS) / 2, draw.uniform(-1, 1, OUTPUTS)
        equality = draw.uniform(-1, 1, (EQUALITIES, OUTPUTS))
        right = draw.uniform(-0.5, 0.5, (PROGRAMS, EQUALITIES))
        inequality = draw.uniform(-1, 1, (INEQUALITIES, OUTPUTS))
        bend = draw.uniform(0, 0.1, (INEQUALITIES, OUTPUTS))
        level = _room(equality, right, inequality, bend)
    return Programs(dc3.Programs(curvature, linear, equality, inequality, level, right), bend)


def _room(
    equality: np.ndarray, right: np.ndarray, inequality: np.ndarray, bend: np.ndarray
) -> np.ndarray:
    """Levels that leave 0.1 at `A⁺ x` for every x that is as long as the longest."""
    inverse = np.linalg.pinv(equality)
    longest = np.linalg.norm(right, axis=1).max()
    quadratic = np.einsum("va,iv,vb->iab", inverse, bend, inverse)
    steepest = np.linalg.norm(quadratic, 2, axis=(1, 2))
    return steepest * longest**2 + np.linalg.norm(inequality @ inverse, axis=1) * longest + 0.1


def excess(given: Programs, output: Any) -> Any:
    """What is to be <= 0 of outputs, (N, n), as (N, k)."""
    shared, bend = given
    return output**2 @ bend.T + output @ shared.inequality.T - shared.level[None]


def best(given: Programs, task: str) -> np.ndarray:
    """The test programs' optima, (TEST,): of `qcqp` ours, of `noncvx` SLSQP's, called as theirs."""
    if task == "noncvx":
        return np.array([_local(given.shared, right) for right in given.shared.right[-TEST:]])
    with jax.enable_x64(True):
        return np.asarray(objective(given, task, solution(given, given.shared.right[-TEST:])))


def _local(given: dc3.Programs, right: np.ndarray) -> float:
    """Their tolerance leaves it up to 1e-4 above the local optimum."""
    rows = [
        {
            "type": "eq",
            "fun": lambda y: given.equality @ y - right,
            "jac": lambda y: given.equality,
        },
        {
            "type": "ineq",
            "fun": lambda y: given.level - given.inequality @ y,
            "jac": lambda y: -given.inequality,
        },
    ]
    found = optimize.minimize(
        lambda y: 0.5 * y**2 @ given.curvature + np.sin(y) @ given.linear,
        np.linalg.lstsq(given.equality, right, rcond=None)[0],
        jac=lambda y: given.curvature * y + given.linear * np.cos(y),
        method="SLSQP",
        constraints=rows,
        bounds=[(-100, 100)] * OUTPUTS,
        options={"ftol": 1e-4, "maxiter": 1000},
    )
    return float(found.fun)


def solution(given: Programs, right: np.ndarray) -> np.ndarray:
    """Of `qcqp`, (N, n), in coordinates of the null space in which the metric is I."""
    in_set = dc3.set_of(given.shared)
    curvature, linear = map(jnp.asarray, given.shared[:2])
    basis = in_set.basis
    factor = jnp.linalg.cholesky(basis.T @ (curvature[:, None] * basis))
    basis = jax.scipy.linalg.solve_triangular(factor, basis.T, lower=True).T
    start = right @ in_set.inverse.T
    raw = -(start * curvature[None] + linear[None]) @ basis
    layer = jax.jit(lambda start, raw: _projected(given, basis, start, raw))
    return np.asarray(layer(start, raw))


def _projected(
    given: Programs, basis: jax.Array, start: jax.Array, raw: jax.Array, **more: Any
) -> jax.Array:
    """`start + basis @ c`, (N, n), with the c nearest to raw that keeps the inequalities."""
    shared = given.shared._replace(
        inequality=jnp.asarray(given.shared.inequality, raw.dtype),
        level=jnp.asarray(given.shared.level, raw.dtype),
    )
    cast = Programs(shared, jnp.asarray(given.bend, raw.dtype))

    def inequality(coordinates: jax.Array, start: jax.Array) -> jax.Array:
        return excess(cast, (start + basis @ coordinates)[None])[0]

    nearest = nonlinear_projection(raw, inequality=inequality, parameters=start, **more)
    return start + nearest @ basis.T


def objective(given: Programs, task: str, output: Any) -> jax.Array:
    return dc3.objectives(given.shared, TASKS[task], output)


def train(given: Programs, key: jax.Array) -> dict[str, np.ndarray]:
    """Outputs of `qcqp`'s test programs, (TEST, n), by method."""
    in_set = jax.tree.map(lambda x: x.astype(jnp.float32), dc3.set_of(given.shared))
    right = jnp.asarray(given.shared.right, jnp.float32)
    of_weights, of_orders, of_last = jax.random.split(key, 3)

    def free(weights: networks.Parameters, right: jax.Array) -> jax.Array:
        return in_set.output(right, networks.raw_output(weights, right)[:, 0])

    def projected(weights: networks.Parameters, right: jax.Array, **more: Any) -> jax.Array:
        raw = networks.raw_output(weights, right)[:, 0]
        return _projected(given, in_set.basis, right @ in_set.inverse.T, raw, **more)

    def with_penalty(weights: networks.Parameters, right: jax.Array) -> jax.Array:
        output = free(weights, right)
        off = jnp.sum(jax.nn.relu(excess(given, output)) ** 2, axis=1)
        return jnp.mean(objective(given, "qcqp", output) + PENALTY * off)

    def through(weights: networks.Parameters, right: jax.Array) -> jax.Array:
        return jnp.mean(objective(given, "qcqp", projected(weights, right, tolerance=1e-4)))

    rate, test = dc3.LEARNING_RATE, right[-TEST:]
    weights = networks.our_weights(of_weights, dc3.SIZES, "float32", kaiming=False)
    weights = dc3.descend(weights, with_penalty, right[:TRAIN], EPOCHS["qcqp"], rate, of_orders)
    last = dc3.descend(weights, through, right[:PROJECTED_PROGRAMS], 1, rate / 10, of_last)
    layer = jax.jit(projected)
    return {
        "nonlinear_projection, when evaluated": np.asarray(layer(weights, test)),
        "nonlinear_projection, in training too": np.asarray(layer(last, test)),
    }


def of_seed(given: Programs, task: str, key: jax.Array) -> dict[str, np.ndarray]:
    """Outputs of the test programs, (TEST, n), by method."""
    if task == "qcqp":
        return train(given, key)
    return {
        name: dc3.train(given.shared, TASKS[task], layer, EPOCHS[task], key)
        for name, layer in dc3.LAYERS.items()
    }


def measure(given: Programs, task: str, output: np.ndarray, optima: np.ndarray) -> dict[str, Any]:
    """Of the test programs; `broken` is the share that is violated by more than 1e-4 anywhere."""
    output = output.astype(np.float64)
    with jax.enable_x64(True):
        reached = np.asarray(objective(given, task, output))
    gap = reached - optima
    off_equality = np.abs(output @ given.shared.equality.T - given.shared.right[-TEST:])
    off_inequality = np.maximum(excess(given, output), 0)
    worst = np.maximum(off_equality.max(axis=1), off_inequality.max(axis=1))
    return {
        "gap": float(stats.gmean(np.maximum(gap, FLOOR))),
        "gap_max": float(gap.max()),
        "gap_min": float(gap.min()),
        "objective": float(reached.mean()),
        "max_equality": float(off_equality.max()),
        "max_inequality": float(off_inequality.max()),
        "broken": float(np.mean(worst > dc3.TOLERANCE)),
    }


def rows(seeds: int = SEEDS) -> Iterator[Row]:
    """Every row of the table, as it is trained."""
    for task in TASKS:
        yield from of_task(task, seeds)


def of_task(task: str, seeds: int) -> Iterator[Row]:
    for (name, method), (gap, deviation, largest) in PUBLISHED.items():
        if name == task:
            row = {"task": task, "method": method, "source": "published", "seeds": 5}
            yield row | {"gap": gap, "gap_std": deviation, "gap_max": largest}
    given = programs(task)
    optima = best(given, task)
    keys = jax.random.split(jax.random.key(0), seeds)
    outputs = [of_seed(given, task, key) for key in keys]
    for method in outputs[0]:
        each = [measure(given, task, one[method], optima) for one in outputs]
        gaps = [one["gap"] for one in each]
        yield {
            **{name: max(one[name] for one in each) for name in each[0]},
            **{
                name: float(np.mean([one[name] for one in each]))
                for name in ("gap_max", "objective")
            },
            "task": task,
            "method": method,
            "source": "ours",
            "seeds": seeds,
            "gap": float(np.mean(gaps)),
            "gap_std": float(np.std(gaps)),
            "gap_min": min(one["gap_min"] for one in each),
        }
