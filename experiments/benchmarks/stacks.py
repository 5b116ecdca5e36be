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
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from experiments.data.datasets import Dataset

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


def windows(shape: Shape) -> np.ndarray:
    """(UPDATES * batch, steps, features), on which all stacks train."""
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


def dataset(shape: Shape) -> "Dataset":
    """The same windows, as a cell trains on them."""
    from experiments.data.datasets import Dataset

    inputs = np.concatenate([windows(shape), np.ones((4, *windows(shape).shape[1:]), np.float32)])
    return Dataset(
        name="benchmark",
        role="study",
        group="benchmark",
        inputs=inputs,
        targets=SHARE * inputs,
        lower=None,
        upper=inputs,
        split=np.repeat(np.arange(3, dtype=np.uint8), [len(inputs) - 4, 2, 2]),
        scale=1.0,
        unit="1",
        hash="",
    )


def bounded(shape: Shape, dtype: str = "float32", cells: int = 32) -> Built:
    from experiments.training.cell import Settings
    from experiments.training.devices import use_all_cores
    from experiments.training.runner import Run, Runner
    from experiments.training.strategies import TRAINED

    use_all_cores()
    settings = Settings(
        hidden=shape.hidden, dtype=dtype, epochs=1, batches_per_epoch=UPDATES, batch=shape.batch
    )
    rows = [TRAINED["clip"]]
    runner = Runner(dataset(shape), "bottleneck", settings, rows, cells=cells)
    runs = [Run("clip", {}, LEARNING_RATE, seed) for seed in range(runner.batch)]
    jobs, state = runner.begin(runs)
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
    batches = jnp.asarray(windows(shape)).reshape(UPDATES, shape.batch, shape.steps, -1)

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


def torch_device(name: str, dtype: str) -> Any:
    """Torch's device of this name; there float32 is rounded to TensorFloat-32 in products, or not.

    Raises:
      RuntimeError: if this torch knows no such device.
    """
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    if name == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(f"torch {torch.__version__} finds no CUDA device")
    for backend in (torch.backends.cuda.matmul, torch.backends.cudnn):
        backend.allow_tf32 = dtype == "tensorfloat32"
    return torch.device(name)


def torch_lstm(shape: Shape, device: str = "cpu", dtype: str = "float32") -> Built:
    import torch

    where = torch_device(device, dtype)
    encoder = torch.nn.LSTM(shape.features, shape.hidden, batch_first=True, device=where)
    decoder = torch.nn.LSTM(shape.hidden, shape.hidden, batch_first=True, device=where)
    dense = torch.nn.Linear(shape.hidden, shape.features, device=where)
    parameters = [*encoder.parameters(), *decoder.parameters(), *dense.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, foreach=True)
    batches = torch.from_numpy(windows(shape)).to(where).split(shape.batch)

    def train(calls: int) -> None:
        for _ in range(calls):
            for inputs in batches:
                optimizer.zero_grad(set_to_none=True)
                _, (code, _) = encoder(inputs)
                hidden, _ = decoder(code[0][:, None].expand(-1, shape.steps, -1))
                output = torch.minimum(dense(hidden), inputs)
                ((output - SHARE * inputs) ** 2).mean().backward()
                optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

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
    given = windows(shape)

    def train(calls: int) -> None:
        model.fit(given, SHARE * given, batch_size=shape.batch, epochs=calls, verbose=0)

    return train, UPDATES * shape.batch


def _sgemm(shape: Shape) -> Built:
    """A product of two matrices, for the machine's peak: a unit is 10⁹ operations."""
    one, other = np.random.default_rng(0).uniform(size=(2, 1000, 500)).astype(np.float32)

    def train(calls: int) -> None:
        for _ in range(calls):
            one @ other.T

    return train, 1


STACKS = {
    "bounded": Stack(bounded, ()),
    "bounded-bfloat16": Stack(partial(bounded, dtype="bfloat16"), (), dtype="bfloat16"),
    "torch-per-core": Stack(torch_lstm, ("torch",), per_core=True),
    "torch": Stack(torch_lstm, ("torch",)),
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
