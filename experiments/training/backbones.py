"""Networks besides the LSTM autoencoder: the three that come along, and how one of your own looks.

A factory, `factory(in_features, out_features, steps, rngs)`, gives a module that maps inputs (B,
steps, in_features) and bounds, the pair (lower, upper) of arrays or None, to raw (B, steps,
out_features):

    raw = module(inputs, bounds)

It may name more, and is given it by name: `hidden`, the hidden units; and for forecasts `horizon`,
the steps of raw, and `future_features`, those of what is known ahead. The module may name `future`,
(B, horizon, future_features) or None, and `lengths`, (B,) or None, the steps that are no padding.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.training.users_code import imported
from experiments.usage import UsageError

Bounds = tuple[jax.Array | None, jax.Array | None]


class MLP(nnx.Module):
    """Two hidden layers over the whole window, what is known ahead included."""

    def __init__(self, in_features, out_features, steps, rngs, *, hidden, horizon, future_features):
        self.shape = horizon, out_features
        read = steps * in_features + horizon * future_features
        self.first = nnx.Linear(read, hidden, rngs=rngs)
        self.second = nnx.Linear(hidden, hidden, rngs=rngs)
        self.last = nnx.Linear(hidden, horizon * out_features, rngs=rngs)

    def __call__(self, inputs, bounds, future=None):
        read = [part.reshape(len(part), -1) for part in (inputs, future) if part is not None]
        hidden = nnx.relu(self.second(nnx.relu(self.first(jnp.concatenate(read, axis=1)))))
        return self.last(hidden).reshape(-1, *self.shape)


class GRU(nnx.Module):
    """One GRU reads the inputs; from its last state on, another reads them again, or what is known
    ahead, and gives raw step by step (Cho et al. 2014)."""

    def __init__(self, in_features, out_features, steps, rngs, *, hidden, horizon, future_features):
        self.horizon, self.is_forecast = horizon, future_features > 0 or horizon != steps
        known = max(future_features, 1) if self.is_forecast else in_features
        self.encoder = nnx.GRUCell(in_features, hidden, rngs=rngs)
        self.decoder = nnx.GRUCell(known, hidden, rngs=rngs)
        self.last = nnx.Linear(hidden, out_features, rngs=rngs)

    def __call__(self, inputs, bounds, future=None, lengths=None):
        ends = jnp.full(len(inputs), inputs.shape[1]) if lengths is None else lengths
        known = inputs
        if self.is_forecast:
            known = jnp.zeros((len(inputs), self.horizon, 1)) if future is None else future
        start = jnp.zeros((len(inputs), self.encoder.hidden_features))
        states = _states(self.encoder, start, inputs)
        code = jnp.take_along_axis(states, ends[:, None, None] - 1, axis=1)[:, 0]
        return self.last(_states(self.decoder, code, known))


def _states(cell: nnx.GRUCell, start: jax.Array, inputs: jax.Array) -> jax.Array:
    def step(state: jax.Array, read: jax.Array) -> tuple[jax.Array, jax.Array]:
        return cell(state, read)

    return jax.lax.scan(step, start, inputs.swapaxes(0, 1))[1].swapaxes(0, 1)


class TCN(nnx.Module):
    """Residual convolutions over time, each wider than the last (Bai et al. 2018), that see both
    ways; in a forecast a linear map takes the steps of the inputs to those of raw."""

    def __init__(self, in_features, out_features, steps, rngs, *, hidden, horizon, future_features):
        self.first = nnx.Linear(in_features, hidden, rngs=rngs)
        self.blocks = nnx.List(
            nnx.Conv(hidden, hidden, 3, kernel_dilation=2**level, rngs=rngs) for level in range(4)
        )
        is_forecast = future_features > 0 or horizon != steps
        self.across = nnx.Linear(steps, horizon, rngs=rngs) if is_forecast else None
        self.last = nnx.Linear(hidden + future_features, out_features, rngs=rngs)

    def __call__(self, inputs, bounds, future=None, lengths=None):
        steps = jnp.arange(inputs.shape[1])[None, :, None]
        known = True if lengths is None else steps < lengths[:, None, None]
        hidden = self.first(inputs)
        for block in self.blocks:
            hidden = hidden + nnx.relu(block(jnp.where(known, hidden, 0)))
        if self.across is not None:
            across = self.across(jnp.where(known, hidden, 0).swapaxes(1, 2))
            hidden = across.swapaxes(1, 2)
        read = [part for part in (hidden, future) if part is not None]
        return self.last(jnp.concatenate(read, axis=-1))


AUTOENCODERS = ("bottleneck", "conditioned")  # LSTMs with a code; see `networks`
FACTORIES = {"mlp": MLP, "gru": GRU, "tcn": TCN}
BACKBONES = (*AUTOENCODERS, *FACTORIES)


def factory_of(backbone: str) -> Callable[..., nnx.Module] | None:
    """The factory of that name, or of `module:factory`; None of an autoencoder.

    Raises:
      UsageError: if there is no such module or function.
    """
    if backbone in AUTOENCODERS:
        return None
    if backbone in FACTORIES:
        return FACTORIES[backbone]
    found = imported("backbone", backbone, backbone)
    if not callable(found):
        raise UsageError(f"Backbone {backbone!r} is no function: it must make an nnx.Module.")
    return found
