"""The question's own model in Keras, with the answers' `Lambda` layers, beside ours.

StackOverflow 47848606: an LSTM autoencoder whose output should stay below its input. Both start
from Keras's weights and take the same steps on the same batches.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax

from bounded import constraints
from bounded.autoencoder import LSTMAutoencoder
from experiments.reproduced.tables import Row
from experiments.usage import UsageError

HIDDEN, STEPS, FEATURES, BATCH = 150, 24, 1, 32  # the question's
UPDATES = 20
LEARNING_RATE = 1e-3
DTYPES = ("float32", "float64")
TOLERANCE = 1e-4
COMPARED = ("raw", "output", "losses", "weights")
COLUMNS = ("strategy", "ours", "dtype", *COMPARED, "weights_moved")

STRATEGIES: dict[str, tuple[Callable[..., Any], Callable[..., jax.Array], str]] = {
    "stretched tanh": (
        lambda ops, x, z: ops.abs(x) * ops.tanh(z),
        constraints.stretched_tanh,
        "stretched_tanh",
    ),
    "half-linear half-tanh": (
        lambda ops, x, z: ops.where(z < 0, z, x * ops.tanh(z)),
        constraints.half_tanh,
        "half_tanh",
    ),
    "modified ReLU": (lambda ops, x, z: x - ops.relu(z), constraints.relu_offset, "relu_offset"),
    "Minimum": (lambda ops, x, z: ops.minimum(z, x), constraints.clip, "clip"),
    "normalise and end in tanh": (
        lambda ops, x, z: ops.tanh(z),
        lambda raw, lower, upper: constraints.tanh_interval(raw, -1.0, 1.0),
        "tanh_interval from -1 to 1",
    ),
    "sequence maximum": (
        lambda ops, x, z: ops.minimum(z, ops.max(x, axis=1, keepdims=True)),
        lambda raw, lower, upper: constraints.clip(raw, None, constraints.sequence_maximum(upper)),
        "clip to sequence_maximum",
    ),
}
"""By name: the answer as a function of (keras.ops, input, raw), ours, and its name."""


def import_keras() -> Any:
    """Keras 3, on TensorFlow unless KERAS_BACKEND says otherwise.

    Raises:
      UsageError: where one of the two is not installed.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import keras
    except ImportError as error:
        raise UsageError(
            f"This study needs Keras on {os.environ['KERAS_BACKEND']}, and {error.name} is not "
            "installed. Install the extra: pip install -e '.[bench]'."
        ) from error
    return keras


def batches(dtype: str) -> np.ndarray:
    """Windows of every update, in [-1, 1]: both signs of the input and of raw occur."""
    size = (UPDATES, BATCH, STEPS, FEATURES)
    return np.random.default_rng(0).uniform(-1, 1, size).astype(dtype)


def ours_from_keras(
    weights: list[np.ndarray], constraint: Callable[..., jax.Array]
) -> LSTMAutoencoder:
    """Our model with Keras's weights, in the order of its `get_weights()`.

    Gates stand in the same order (input, forget, cell, output); the LSTMs' matrices are
    transposed, the dense layer's is not.
    """
    features, hidden = weights[0].shape[0], weights[1].shape[0]
    model = LSTMAutoencoder(features, weights[7].shape[0], hidden, constraint, rngs=nnx.Rngs(0))
    # New parameters, for assigning to the old ones would round to their dtype.
    for layer, (kernel, recurrent, bias) in (
        (model.encoder, weights[0:3]),
        (model.decoder, weights[3:6]),
    ):
        layer.kernel, layer.recurrent = nnx.Param(kernel.T), nnx.Param(recurrent.T)
        layer.bias = nnx.Param(bias)
    model.dense.kernel, model.dense.bias = map(nnx.Param, weights[6:8])
    return jax.tree.map(jnp.asarray, model)


def weights_as_keras(parameters: nnx.State) -> list[np.ndarray]:
    """The inverse of `ours_from_keras`."""
    arrays = []
    for layer in (parameters["encoder"], parameters["decoder"]):
        arrays += [layer["kernel"][...].T, layer["recurrent"][...].T, layer["bias"][...]]
    dense = parameters["dense"]
    return [np.asarray(array) for array in (*arrays, dense["kernel"][...], dense["bias"][...])]


def keras_adam(learning_rate: float, epsilon: float = 1e-7) -> optax.GradientTransformation:
    """Adam as Keras has it: epsilon is added before the second moment's bias is corrected.

    So in optax's terms its epsilon is `epsilon / √(1 - 0.999^t)`: 32 times as large at the first
    update, and another default besides.
    """
    moments = optax.scale_by_adam(eps=0)
    # On TensorFlow Keras rounds the rates of decay before it raises them to powers.
    first, second = (float(np.float32(rate)) for rate in (0.9, 0.999))

    def update(gradient: Any, state: Any, parameters: Any = None) -> tuple[Any, Any]:
        _, state = moments.update(gradient, state)

        def step(mean: jax.Array, square: jax.Array) -> jax.Array:
            count = state.count.astype(mean.dtype)
            rate = learning_rate * jnp.sqrt(1 - second**count) / (1 - first**count)
            return -rate * mean / (jnp.sqrt(square) + epsilon)

        return jax.tree.map(step, state.mu, state.nu), state

    return optax.GradientTransformation(moments.init, update)


def keras_run(answer: Callable[..., Any], dtype: str) -> dict[str, Any]:
    """The question's model in Keras: its weights, raw and constrained outputs on the first batch
    before any update, the loss of each update, and the weights after them."""
    keras = import_keras()
    with _precision(keras, dtype):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((STEPS, FEATURES))
        code = keras.layers.LSTM(HIDDEN)(inputs)
        repeated = keras.layers.RepeatVector(STEPS)(code)
        decoded = keras.layers.LSTM(HIDDEN, return_sequences=True)(repeated)
        raw = keras.layers.TimeDistributed(keras.layers.Dense(FEATURES))(decoded)
        answered = keras.layers.Lambda(
            lambda pair: answer(keras.ops, *pair), output_shape=(STEPS, FEATURES)
        )([inputs, raw])
        model, free = keras.Model(inputs, answered), keras.Model(inputs, raw)
        # Eagerly: twenty updates take less time than their compilation.
        model.compile(keras.optimizers.Adam(LEARNING_RATE), "mse", run_eagerly=True)
        windows = batches(dtype)
        found = {
            "start": model.get_weights(),
            "raw": keras.ops.convert_to_numpy(free(windows[0])),
            "output": keras.ops.convert_to_numpy(model(windows[0])),
        }
        losses = [np.ravel(model.train_on_batch(x, x))[0] for x in windows]
        return found | {"losses": np.array(losses, float), "weights": model.get_weights()}


@contextmanager
def _precision(keras: Any, dtype: str) -> Iterator[None]:
    """Of layers, and of losses, which have a setting of their own."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def our_run(
    constraint: Callable[..., jax.Array], start: list[np.ndarray], dtype: str
) -> dict[str, Any]:
    """The same of ours, from the same weights."""
    model = ours_from_keras(start, constraint)
    windows = jnp.asarray(batches(dtype))
    graph, parameters = nnx.split(model)
    adam = keras_adam(LEARNING_RATE)

    @jax.jit
    def train(parameters: nnx.State, windows: jax.Array) -> tuple[nnx.State, jax.Array]:
        def update(carry: tuple, x: jax.Array) -> tuple:
            parameters, state = carry

            def loss(parameters: nnx.State) -> jax.Array:
                return jnp.mean((nnx.merge(graph, parameters)(x, upper=x) - x) ** 2)

            value, gradient = jax.value_and_grad(loss)(parameters)
            change, state = adam.update(gradient, state)
            return (optax.apply_updates(parameters, change), state), value

        (parameters, _), losses = lax.scan(update, (parameters, adam.init(parameters)), windows)
        return parameters, losses

    trained, losses = train(parameters, windows)
    return {
        "raw": np.asarray(model.decode(model.encode(windows[0]), STEPS)),
        "output": np.asarray(model(windows[0], upper=windows[0])),
        "losses": np.asarray(losses),
        "weights": weights_as_keras(trained),
    }


def rows() -> Iterator[Row]:
    """The largest differences of each strategy and dtype."""
    for dtype in DTYPES:
        with jax.enable_x64(dtype == "float64"):
            for name, (answer, constraint, ours) in STRATEGIES.items():
                theirs = keras_run(answer, dtype)
                found = our_run(constraint, theirs["start"], dtype)
                row = {"strategy": name, "ours": ours, "dtype": dtype}
                row |= {key: _distance(found[key], theirs[key]) for key in COMPARED}
                yield row | {"weights_moved": _distance(theirs["start"], theirs["weights"])}


def _distance(one: Any, other: Any) -> float:
    return max(float(np.max(np.abs(a - b))) for a, b in zip(one, other, strict=True))
