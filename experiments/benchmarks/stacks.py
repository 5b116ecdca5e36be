"""The original question's model, trained by this project and by other stacks.

For `experiments.benchmark`. Every stack trains the same: LSTM encoder, its last state repeated,
LSTM decoder, one dense layer a step, the minimum with the input; mean squared error, Adam,
float32 but for `bounded-bfloat16`. A `build` imports its stack and returns `train(calls)`, which
runs that many units of work to their end, and the sequences trained in a unit.
"""

import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

UPDATES = 16  # a unit of work
LEARNING_RATE = 1e-3
SHARE = 0.8  # of the input, the target


class Shape(NamedTuple):
    hidden: int
    steps: int
    features: int
    batch: int

    def __str__(self) -> str:
        return "x".join(map(str, self))


SHAPES = (
    Shape(150, 24, 1, 32),  # the original question's model
    Shape(64, 24, 1, 32),
    Shape(32, 24, 1, 32),
    Shape(150, 144, 3, 32),
)
Built = tuple[Callable[[int], None], int]


@dataclass(frozen=True)
class Stack:
    """One way to train the model."""

    build: Callable[[Shape], Built]
    packages: tuple[str, ...]  # what it needs, by import name
    environment: dict[str, str] = field(default_factory=dict)
    per_core: bool = False  # one process a core, each with its own model; else one in all
    dtype: str = "float32"  # of the factors of the recurrent products

    def missing(self) -> list[str]:
        return [package for package in self.packages if find_spec(package) is None]


def _windows(shape: Shape) -> np.ndarray:
    generator = np.random.default_rng(0)
    size = (UPDATES * shape.batch, shape.steps, shape.features)
    return generator.uniform(size=size).astype(np.float32)


def _jax_trainer(advance: Callable[[Any], Any], state: Any) -> Callable[[int], None]:
    """From what one unit of work makes of the state of training."""
    import jax

    def train(calls: int) -> None:
        nonlocal state
        for _ in range(calls):
            state = advance(state)
        jax.block_until_ready(state)

    return train


def _bounded(shape: Shape, dtype: str = "float32") -> Built:
    from experiments.data.datasets import Dataset
    from experiments.training.cell import Settings
    from experiments.training.devices import use_all_cores
    from experiments.training.runner import Run, Runner
    from experiments.training.strategies import TRAINED

    use_all_cores()
    inputs = np.concatenate([_windows(shape), np.ones((4, *_windows(shape).shape[1:]), np.float32)])
    split = np.repeat(np.arange(3, dtype=np.uint8), [len(inputs) - 4, 2, 2])
    dataset = Dataset(
        name="benchmark",
        role="study",
        group="benchmark",
        inputs=inputs,
        targets=SHARE * inputs,
        lower=None,
        upper=inputs,
        split=split,
        scale=1.0,
        unit="1",
        hash="",
    )
    settings = Settings(
        hidden=shape.hidden, dtype=dtype, epochs=1, batches_per_epoch=UPDATES, batch=shape.batch
    )
    runner = Runner(dataset, "bottleneck", settings, [TRAINED["clip"]], cells=32)
    cells = [Run("clip", {}, LEARNING_RATE, seed) for seed in range(runner.batch)]
    jobs, state = runner.begin(cells)
    train = _jax_trainer(lambda state: runner.advance(jobs, state)[0], state)
    return train, UPDATES * shape.batch * runner.batch


def _flax_nnx(shape: Shape) -> Built:
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    class Model(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            hidden = shape.hidden
            self.encoder = nnx.RNN(nnx.OptimizedLSTMCell(shape.features, hidden, rngs=rngs))
            self.decoder = nnx.RNN(nnx.OptimizedLSTMCell(hidden, hidden, rngs=rngs))
            self.dense = nnx.Linear(hidden, shape.features, rngs=rngs)

        def __call__(self, inputs: jax.Array) -> jax.Array:
            zeros = jnp.zeros((len(inputs), shape.hidden))
            code = self.encoder(inputs, initial_carry=(zeros, zeros))[:, -1:]
            repeated = jnp.broadcast_to(code, (*inputs.shape[:2], code.shape[-1]))
            hidden = self.decoder(repeated, initial_carry=(zeros, zeros))
            return jnp.minimum(self.dense(hidden), inputs)

    graph, parameters, rest = nnx.split(Model(nnx.Rngs(0)), nnx.Param, ...)
    optimizer = optax.adam(LEARNING_RATE)
    batches = jnp.asarray(_windows(shape)).reshape(UPDATES, shape.batch, shape.steps, -1)

    @jax.jit
    def epoch(carry: tuple, batches: jax.Array) -> tuple:
        def update(carry: tuple, inputs: jax.Array) -> tuple:
            parameters, state = carry

            def loss(parameters: nnx.State) -> jax.Array:
                output = nnx.merge(graph, parameters, rest)(inputs)
                return jnp.mean((output - SHARE * inputs) ** 2)

            value, gradient = jax.value_and_grad(loss)(parameters)
            change, state = optimizer.update(gradient, state)
            return (optax.apply_updates(parameters, change), state), value

        return jax.lax.scan(update, carry, batches)[0]

    start = (parameters, optimizer.init(parameters))
    return _jax_trainer(lambda carry: epoch(carry, batches), start), UPDATES * shape.batch


def _torch(shape: Shape) -> Built:
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    encoder = torch.nn.LSTM(shape.features, shape.hidden, batch_first=True)
    decoder = torch.nn.LSTM(shape.hidden, shape.hidden, batch_first=True)
    dense = torch.nn.Linear(shape.hidden, shape.features)
    parameters = [*encoder.parameters(), *decoder.parameters(), *dense.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, foreach=True)
    batches = torch.from_numpy(_windows(shape)).split(shape.batch)

    def train(calls: int) -> None:
        for _ in range(calls):
            for inputs in batches:
                optimizer.zero_grad(set_to_none=True)
                _, (code, _) = encoder(inputs)
                hidden, _ = decoder(code[0][:, None].expand(-1, shape.steps, -1))
                output = torch.minimum(dense(hidden), inputs)
                ((output - SHARE * inputs) ** 2).mean().backward()
                optimizer.step()

    return train, UPDATES * shape.batch


def _keras(shape: Shape) -> Built:
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((shape.steps, shape.features))
    code = keras.layers.LSTM(shape.hidden)(inputs)
    repeated = keras.layers.RepeatVector(shape.steps)(code)
    hidden = keras.layers.LSTM(shape.hidden, return_sequences=True)(repeated)
    output = keras.layers.Minimum()([keras.layers.Dense(shape.features)(hidden), inputs])
    model = keras.Model(inputs, output)
    model.compile(keras.optimizers.Adam(LEARNING_RATE), "mse")
    windows = _windows(shape)

    def train(calls: int) -> None:
        model.fit(windows, SHARE * windows, batch_size=shape.batch, epochs=calls, verbose=0)

    return train, UPDATES * shape.batch


def _sgemm(shape: Shape) -> Built:
    """A product of two matrices, for the machine's peak: a unit is 10⁹ operations."""
    one, other = np.random.default_rng(0).uniform(size=(2, 1000, 500)).astype(np.float32)

    def train(calls: int) -> None:
        for _ in range(calls):
            one @ other.T

    return train, 1


STACKS = {
    "bounded": Stack(_bounded, ()),
    "bounded-bfloat16": Stack(partial(_bounded, dtype="bfloat16"), (), dtype="bfloat16"),
    "torch-per-core": Stack(_torch, ("torch",), per_core=True),
    "torch": Stack(_torch, ("torch",)),
    **{
        f"keras-{backend}": Stack(_keras, ("keras", backend), {"KERAS_BACKEND": backend})
        for backend in ("tensorflow", "torch", "jax")
    },
    "flax-nnx": Stack(_flax_nnx, ("flax",)),
}
"""By name; a stack whose packages are not there is skipped, and named as missing."""

SGEMM = Stack(_sgemm, (), per_core=True)


def environment(stack: Stack, cores: Sequence[int]) -> dict[str, str]:
    """What a process of the stack is started with."""
    threads = str(len(cores))
    return {
        **stack.environment,
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def serve(build: Callable[[Shape], Built], shape: Shape, connection) -> None:
    """In a process of its own: says what was built, then trains as often as it is asked to."""
    started = time.perf_counter()
    try:
        train, sequences = build(shape)
        train(1)
    except Exception as error:
        connection.send({"error": f"{type(error).__name__}: {error}"})
        return
    connection.send({"sequences": sequences, "build_seconds": time.perf_counter() - started})
    while calls := connection.recv():
        train(calls)
        connection.send({"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024})
