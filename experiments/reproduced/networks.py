"""Small networks of published studies, trained for many seeds in one compiled call.

Parameters are pairs of weights (outputs, inputs) and biases (outputs,), as torch keeps them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from bounded import metrics
from experiments.training.strategy_rows import Strategy, select_bounds
from experiments.usage import UsageError

Parameters = list[tuple[jax.Array | np.ndarray, jax.Array | np.ndarray]]


class Points(NamedTuple):
    """Points as windows of one step and one feature; a bound that is missing is infinite."""

    inputs: Any  # (N, features)
    targets: Any  # (N, 1, 1)
    lower: Any  # (N, 1, 1)
    upper: Any  # (N, 1, 1)


@dataclass(frozen=True)
class Training:
    """What is compiled in, the same for every seed."""

    epochs: int
    learning_rate: float  # of Adam
    batch: int | None = None  # None: all points at once
    loss_factor: float = 1.0  # on the mean over points, which only Adam's epsilon can see


def raw_output(parameters: Parameters, inputs: jax.Array) -> jax.Array:
    """ReLU layers and a linear one: (N, features) to (N, 1, 1)."""
    columns = inputs.T
    for weights, bias in parameters[:-1]:
        columns = jax.nn.relu(weights @ columns + bias[:, None])
    weights, bias = parameters[-1]
    return (weights @ columns + bias[:, None]).T[:, None, :]


def our_weights(key: jax.Array, sizes: Sequence[int], dtype: str, *, kaiming: bool) -> Parameters:
    """Weights and biases uniform in ±1/√fan_in, as torch's linear layers start; with `kaiming` the
    weights are normal with a deviation of √(2/fan_in) instead."""
    keys = jax.random.split(key, (len(sizes) - 1, 2))
    layers = []
    for (fan_in, fan_out), (of_weights, of_bias) in zip(pairwise(sizes), keys, strict=True):
        limit, shape = 1 / math.sqrt(fan_in), (fan_out, fan_in)
        if kaiming:
            weights = math.sqrt(2 / fan_in) * jax.random.normal(of_weights, shape, dtype)
        else:
            weights = jax.random.uniform(of_weights, shape, dtype, -limit, limit)
        layers.append((weights, jax.random.uniform(of_bias, (fan_out,), dtype, -limit, limit)))
    return layers


def torch_weights(seed: int, sizes: Sequence[int], dtype: str, *, kaiming: bool) -> Parameters:
    """What torch's linear layers start with after `torch.manual_seed(seed)`; the draws differ by
    dtype. With `kaiming` the weights are drawn again, Kaiming-normal, once all layers are made.

    Raises:
      UsageError: where torch is not installed.
    """
    torch = import_torch()
    torch.manual_seed(seed)
    layers = [torch.nn.Linear(*pair, dtype=getattr(torch, dtype)) for pair in pairwise(sizes)]
    if kaiming:
        for layer in layers:
            torch.nn.init.kaiming_normal_(layer.weight)
    return [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in layers]


def has_torch() -> bool:
    return find_spec("torch") is not None


TORCH_MISSING = (
    "The rows `exact` begin with torch's random numbers, and torch is not installed. "
    "Install the extra: pip install -e '.[bench]'."
)


def import_torch() -> Any:
    """torch, whose random numbers the published runs began with."""
    if not has_torch():
        raise UsageError(TORCH_MISSING)
    import torch

    return torch


def stack(seeds: Sequence[Parameters]) -> Parameters:
    """The parameters of many seeds, along a first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *seeds)


def run(
    strategy: Strategy,
    values: Mapping[str, float],
    points: Points,
    test: Points,
    training: Training,
    initial: Parameters,
    orders: jax.Array | None = None,
    scale: float = 1.0,
) -> dict[str, np.ndarray]:
    """Each metric by seed, on the test points after training: see `train` and `measure`."""
    hyper = strategy.hyper({**strategy.hyperparameters, **values})
    trained = train(strategy, hyper, points, training, initial, orders)
    output = evaluate(strategy, hyper, trained, test, target_range(points))
    return measure(output, test, scale)


def train(
    strategy: Strategy,
    hyper: np.ndarray,
    points: Points,
    training: Training,
    initial: Parameters,
    orders: jax.Array | None = None,
) -> Parameters:
    """The parameters after training, of every seed, on the host; devices share the seeds.

    Args:
      strategy: the row of the table that is trained.
      hyper: its vector of hyperparameters.
      points: to train on.
      training: the rest of the setting.
      initial: parameters of every seed, along a first axis.
      orders: (seeds, epochs, N), the order of the points in each epoch; None where
        all points come at once.
    """
    seeds, devices = len(initial[0][0]), jax.local_device_count()
    padded = np.arange(-(-seeds // devices) * devices) % seeds
    each = jax.tree.map(lambda leaf: jnp.asarray(leaf)[padded], (initial, orders))
    trained = _train(strategy, training, jnp.asarray(hyper), points, each)
    # On the host, for what follows would gather them from the devices, and on CPU devices that
    # share their threads with other work may then wait for each other until XLA aborts.
    return jax.tree.map(lambda leaf: leaf[:seeds], jax.device_get(trained))


@partial(jax.jit, static_argnums=(0, 1))
def _train(
    strategy: Strategy, training: Training, hyper: jax.Array, points: Points, each: tuple
) -> Parameters:
    on_device = partial(_train_one, strategy, training)
    seeds, everywhere = PartitionSpec("seeds"), PartitionSpec()
    return jax.shard_map(
        lambda hyper, points, each: lax.map(lambda one: on_device(hyper, points, *one), each),
        mesh=Mesh(jax.local_devices(), ("seeds",)),
        in_specs=(everywhere, everywhere, seeds),
        out_specs=seeds,
        check_vma=False,
    )(hyper, points, each)


def _train_one(
    strategy: Strategy,
    training: Training,
    hyper: jax.Array,
    points: Points,
    initial: Parameters,
    orders: jax.Array | None,
) -> Parameters:
    adam = optax.adam(training.learning_rate)
    constants = target_range(points)

    def update(progress: jax.Array, state: jax.Array, carry: tuple, part: Points) -> tuple:
        parameters, optimizer = carry
        bounds = select_bounds(strategy, part._asdict(), constants)

        def loss(parameters: Parameters) -> tuple[jax.Array, jax.Array]:
            raw = raw_output(parameters, part.inputs)
            output, penalty = strategy.train(raw, *bounds, progress, state, hyper)
            error = jnp.mean((output - part.targets) ** 2)
            return training.loss_factor * (error + penalty), raw

        gradient, raw = jax.grad(loss, has_aux=True)(parameters)
        change, optimizer = adam.update(gradient, optimizer)
        carry = optax.apply_updates(parameters, change), optimizer
        return carry, strategy.update(state, raw, *bounds, hyper)

    def epoch(carry: tuple, row: tuple[jax.Array, jax.Array | None]) -> tuple[tuple, None]:
        (parameters, optimizer, state), (number, order) = carry, row
        of_batch = partial(update, number / np.float32(training.epochs), state)
        carry = parameters, optimizer
        if order is None:
            carry, state = of_batch(carry, points)
            return (*carry, state), None
        whole = len(order) // training.batch * training.batch
        batches = order[:whole].reshape(-1, training.batch)

        def of_rows(carry: tuple, rows: jax.Array) -> tuple:
            return of_batch(carry, jax.tree.map(lambda leaf: leaf[rows], points))

        carry, proposals = lax.scan(of_rows, carry, batches)
        if whole < len(order):
            carry, last = of_rows(carry, order[whole:])
            proposals = jnp.concatenate([proposals, last[None]])
        return (*carry, proposals.mean(axis=0)), None

    state = jnp.zeros(points.targets.shape[1:], points.targets.dtype)
    numbers = jnp.arange(training.epochs, dtype=np.float32)
    carry = initial, adam.init(initial), state
    return lax.scan(epoch, carry, (numbers, orders))[0][0]


def target_range(points: Points) -> dict[str, jax.Array]:
    """The constants of strategies that know no bound: the targets' range."""
    return {
        "lower": jnp.min(points.targets, axis=(0, 1)),
        "upper": jnp.max(points.targets, axis=(0, 1)),
    }


@partial(jax.jit, static_argnums=0)
def evaluate(
    strategy: Strategy,
    hyper: np.ndarray,
    parameters: Parameters,
    points: Points,
    constants: dict[str, jax.Array],
) -> jax.Array:
    """The output of every seed, (seeds, N, 1, 1)."""
    bounds = select_bounds(strategy, points._asdict(), constants)

    def output(parameters: Parameters) -> jax.Array:
        return strategy.evaluate(raw_output(parameters, points.inputs), *bounds, hyper)

    return lax.map(output, parameters)


def measure(output: jax.Array, points: Points, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Errors and violations by seed, of outputs (seeds, N, 1, 1), in units of `scale`.

    `num_violations`, `above` and `below` count points outside by more than 1e-4. All are NaN where
    an output is.
    """

    def count(distance: jax.Array) -> jax.Array:
        known = ~jnp.isnan(distance).any()
        return jnp.where(known, jnp.sum(distance > 1e-4), jnp.nan)

    def of_seed(output: jax.Array) -> dict[str, jax.Array]:
        over = scale * metrics.excess(output, None, points.upper)
        under = scale * metrics.excess(output, points.lower, None)
        return {
            "mse": scale**2 * jnp.mean((output - points.targets) ** 2),
            "max_violation": jnp.max(over + under),
            "mean_violation": jnp.mean(over + under),
            "num_violations": count(over + under),
            "above": count(over),
            "below": count(under),
        }

    return {name: np.asarray(found) for name, found in jax.vmap(of_seed)(output).items()}
