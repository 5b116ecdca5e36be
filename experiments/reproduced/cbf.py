"""Steering a unicycle past two obstacles: HardNet's `cbf`, run again.

Min and Azizan, "HardNet: Hard-constrained neural networks with universal approximation
guarantees", arXiv 2410.10807; the system as github azizanlab/hardnet has it
(`datasets/cbf/safe_control.py`), numbers as its `exp_cbf.ipynb` prints them.

A state is (px, py, angle, speed, turn); accelerations of speed and turn are `nominal(x) + y`, with
y the network's. Every obstacle gives a row on y: a control barrier function may not fall faster
than it allows, so that a state from which both hold never comes to touch an obstacle. The network
learns from the cost of its own rollout of one second, and never sees a good control.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bounded.sets import Rows, affine_hardnet, affine_projection
from experiments.reproduced import dc3, networks
from experiments.reproduced.tables import Row

STATES, TEST = 1000, 84
TRAIN = 833
OBSTACLES = np.array([(-2.25, 0.5, 0.5, 0.75), (-0.8, 0.0, 0.5, 0.5)])  # centre and half axes
AHEAD, STEEP, DECAY = 0.1, 10, 20  # of the point that is kept off; kappa and alpha
STEPS, SECONDS = 50, 0.02
FASTEST = 100.0  # a control above it takes shorter steps
PARTS, TEST_PARTS = 75, 200  # that a rollout of STEPS may take, in training and after
SIZES = (6, 200, 200, 2)
EPOCHS, LEARNING_RATE, PENALTY = 100, 1e-3, 0.01
SEEDS = 3
START = np.array([[-4.0, 0.0, -np.pi / 4, 0.0, 0.0], [-3.5, 0.5, -np.pi / 8, 0.0, 0.0]])

PUBLISHED = {
    "CBF-QP": (948.32, 0.00, 0.00, 0.00),
    "NN": (421.92, 0.15, 157.62, 0.90),
    "Soft": (480.10, 0.54, 6.92, 0.05),
    "DC3": (480.21, 0.71, 6.86, 0.13),
    "HardNet-Aff": (518.85, 8.71, 0.00, 0.00),
}
"""Cost and violation, each with its standard deviation over seeds."""

COLUMNS = (
    *("task", "method", "source", "seeds", "cost", "cost_std", "violation", "violation_std"),
    *("violation_max", "unfinished"),
)


def states() -> np.ndarray:
    """Where their rollouts begin, from the generator that they drew from, (STATES, 5)."""
    draw = np.random.RandomState(17)

    def some(count: int) -> np.ndarray:
        share = draw.random_sample((count, 5))
        return share * START[0] + (1 - share) * START[1]

    found = some(STATES)
    failed = np.arange(STATES)
    while len(failed):
        failed = failed[np.asarray(barriers(found[failed])).min(axis=-1) < 0]
        found[failed] = some(len(failed))
    return found


def barriers(state: Any) -> jax.Array:
    """h of states (N, 5), (N, 2): what is to stay >= 0."""
    px, py, angle, speed, turn = (jnp.asarray(state)[..., k, None] for k in range(5))
    middle_x, middle_y, half_x, half_y = OBSTACLES.T[:, None]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x, y = px + AHEAD * cos - middle_x, py + AHEAD * sin - middle_y
    x_dot, y_dot = speed * cos - AHEAD * sin * turn, speed * sin + AHEAD * cos * turn
    off = (x / half_x) ** 2 + (y / half_y) ** 2 - 1
    off_dot = 2 * x * x_dot / half_x**2 + 2 * y * y_dot / half_y**2
    return off_dot + STEEP * off


def drift(state: jax.Array) -> jax.Array:
    """How a state (..., 5) moves without control; control is added to its last two."""
    _, _, angle, speed, turn = (state[..., k] for k in range(5))
    zero = jnp.zeros_like(turn)
    return jnp.stack([speed * jnp.cos(angle), speed * jnp.sin(angle), turn, zero, zero], axis=-1)


def nominal(state: jax.Array) -> jax.Array:
    """The control that drives to the origin, blind to obstacles, (..., 2)."""
    px, py, angle, speed, turn = (state[..., k] for k in range(5))
    cos, sin, far = jnp.cos(angle), jnp.sin(angle), jnp.sqrt(px**2 + py**2)
    wanted_turn = 10 * (px * sin - py * cos) / (far + 1e-5)
    wanted_speed = jnp.clip(10 * far * (-px * cos - py * sin), -5, 5)
    return jnp.stack([5 * (wanted_speed - speed), 5 * (wanted_turn - turn)], axis=-1)


def rows_at(state: jax.Array) -> Rows:
    """`matrix @ y <= upper` of states (N, 5): no barrier may fall faster than DECAY of it."""

    def summed(state: jax.Array) -> jax.Array:
        return jnp.sum(barriers(state), axis=0)

    slopes = jnp.swapaxes(jax.jacrev(summed)(state), 0, 1)  # (N, 2, 5)
    moving = drift(state).at[..., 3:].add(nominal(state))
    upper = jnp.einsum("nij,nj->ni", slopes, moving) + DECAY * barriers(state)
    return Rows(-slopes[..., 3:], upper=upper)


def cost(state: jax.Array, output: jax.Array) -> jax.Array:
    """Of being there a second, (N,)."""
    control = nominal(state) + output
    far = 100 * (state[:, 0] ** 2 + state[:, 1] ** 2)
    return far + 0.1 * jnp.sum(state[:, 3:] ** 2, axis=1) + 0.1 * jnp.sum(control**2, axis=1)


def excess(state: jax.Array, output: jax.Array) -> jax.Array:
    """By how much each row is violated, (N, 2)."""
    rows = rows_at(state)
    return jax.nn.relu(jnp.einsum("nij,nj->ni", rows.matrix, output) - rows.upper)


Policy = Callable[[jax.Array], jax.Array]
Layer = Callable[[jax.Array, Rows], jax.Array]


def rollout(
    policy: Policy, state: jax.Array, parts: int, penalty: float = 0
) -> tuple[jax.Array, ...]:
    """Cost with the penalty, (N,), and excess, (N, 2), over the second, and steps left, (N,).

    A step is taken in as many parts as it needs to keep the control times the part small.
    """

    def advance(carry: tuple, _: None) -> tuple[tuple, None]:
        state, left, steps, spent, off = carry
        output = policy(state)
        control = nominal(state) + output
        size = lax.stop_gradient(jnp.max(jnp.abs(control), axis=1))
        part = jnp.minimum(left, SECONDS * FASTEST / size)
        now = excess(state, output)
        spent = spent + part * (cost(state, output) + penalty * jnp.sum(now**2, axis=1))
        off = off + part[:, None] * now
        state = state + part[:, None] * drift(state).at[..., 3:].add(control)
        left = left - part
        steps = steps - (left <= 0)
        left = jnp.where(left > 0, left, jnp.where(steps > 0, SECONDS, 0))
        return (state, left, steps, spent, off), None

    zero = jnp.zeros(len(state), state.dtype)
    start = state, zero + SECONDS, zero + STEPS, zero, jnp.zeros((len(state), 2), state.dtype)
    (_, _, steps, spent, off), _ = lax.scan(advance, start, length=parts)
    return spent, off, jnp.maximum(steps, 0)


def policy_of(layer: Layer | None, weights: networks.Parameters) -> Policy:
    def policy(state: jax.Array) -> jax.Array:
        angle = state[:, 2:3]
        encoded = [state[:, :2], jnp.cos(angle), jnp.sin(angle), state[:, 3:]]
        raw = networks.raw_output(weights, jnp.concatenate(encoded, axis=1))[:, 0]
        return layer(raw, rows_at(state)) if layer else raw

    return policy


def train(begin: np.ndarray, layer: Layer | None, penalty: float, key: jax.Array) -> Policy:
    """Of float64, from a network that learned in float32."""
    of_weights, of_orders = jax.random.split(key)

    def loss(weights: networks.Parameters, state: jax.Array) -> jax.Array:
        policy = policy_of(layer, weights)
        return jnp.mean(rollout(policy, state, PARTS, penalty)[0])

    weights = networks.our_weights(of_weights, SIZES, "float32", kaiming=False)
    begin = jnp.asarray(begin[:TRAIN], jnp.float32)
    weights = dc3.descend(weights, loss, begin, EPOCHS, LEARNING_RATE, of_orders)
    with jax.enable_x64(True):
        return policy_of(layer, jax.tree.map(lambda x: x.astype(np.float64), weights))


def measure(policy: Policy, begin: np.ndarray) -> dict[str, float]:
    """Means over the test rollouts: of the cost, and of the larger of both rows' excess."""
    with jax.enable_x64(True):
        run = jax.jit(lambda state: rollout(policy, state, TEST_PARTS))
        spent, off, left = (np.asarray(x) for x in run(jnp.asarray(begin[-TEST:])))
    return {
        "cost": float(spent.mean()),
        "violation": float(off.max(axis=1).mean()),
        "violation_max": float(off.max()),
        "unfinished": float(np.mean(left > 0)),
    }


def rows(seeds: int = SEEDS) -> Iterator[Row]:
    """Every row of the table, as it is trained."""
    for method, values in PUBLISHED.items():
        row = {"task": "cbf", "method": method, "source": "published", "seeds": 5}
        yield row | dict(
            zip(("cost", "cost_std", "violation", "violation_std"), values, strict=True)
        )
    begin = states()
    for method, policy in POLICIES.items():
        yield {"task": "cbf", "method": method, "source": "ours"} | measure(policy, begin)
    keys = jax.random.split(jax.random.key(0), seeds)
    for method, (layer, penalty) in LEARNERS.items():
        each = [measure(train(begin, layer, penalty, key), begin) for key in keys]
        row = {"task": "cbf", "method": method, "source": "ours", "seeds": seeds}
        row |= {name: max(one[name] for one in each) for name in each[0]}
        for name in ("cost", "violation"):
            values = [one[name] for one in each]
            row |= {name: float(np.mean(values)), f"{name}_std": float(np.std(values))}
        yield row


POLICIES: dict[str, Policy] = {
    "affine_projection of the nominal control": lambda state: affine_projection(
        nominal(state), rows_at(state)
    ),
    "affine_projection of 0": lambda state: affine_projection(
        jnp.zeros_like(nominal(state)), rows_at(state)
    ),
}
LEARNERS: dict[str, tuple[Layer | None, float]] = {
    "no constraint": (None, 0.0),
    "penalty": (None, PENALTY),
    "affine_projection": (affine_projection, 0.0),
    "affine_hardnet": (affine_hardnet, 0.0),
}
"""By name: the last layer, and the weight of the penalty."""
