"""The network of a backbone, as functions of its parameters."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from bounded.autoencoder import LSTMAutoencoder
from bounded.constraints import identity
from experiments.data.checks import BOUNDS, is_forecast
from experiments.training.backbones import factory_of
from experiments.training.users_code import users_code
from experiments.usage import UsageError

CHUNK = 512  # windows that a network is evaluated on at once
Data = dict[str, Any]  # of `cell.data_of`


class Autoencoder:
    """The LSTM autoencoder."""

    def __init__(self, backbone: str, hidden: int, dtype: str, part: Data):
        self._shapes = part["inputs"].shape[2], part["targets"].shape[2], hidden
        self._known = jax.eval_shape(known_ahead, part).shape[2]
        self._conditioned, self._dtype = backbone == "conditioned", dtype
        self._graph = nnx.split(nnx.eval_shape(lambda: self._model(jax.random.key(0))))[0]

    def _model(self, key: jax.Array) -> LSTMAutoencoder:
        return LSTMAutoencoder(
            *self._shapes,
            identity,
            condition_decoder=self._conditioned,
            known_features=self._known,
            dtype=self._dtype,
            rngs=nnx.Rngs(key),
        )

    def initial(self, key: jax.Array, bias: jax.Array) -> Any:
        """Parameters, with which raw lies about the bias, (K,)."""
        model = self._model(key)
        model.dense.bias[...] = bias
        return nnx.split(model)[1]

    def encode(self, parameters: Any, part: Data) -> jax.Array:
        model = nnx.merge(self._graph, parameters)
        given = {key: part[key] for key in ("inputs", "lengths")}
        return in_chunks(lambda of: model.encode(of["inputs"], of["lengths"]), given)

    def decode(self, parameters: Any, code: jax.Array, part: Data) -> jax.Array:
        model = nnx.merge(self._graph, parameters)
        steps, lengths = part["targets"].shape[1], None if is_forecast(part) else part["lengths"]
        return in_chunks(
            lambda of: model.decode(of["code"], steps, of["known"], of["lengths"]),
            {"code": code, "known": known_ahead(part), "lengths": lengths},
        )

    def raw(self, parameters: Any, part: Data) -> jax.Array:
        return self.decode(parameters, self.encode(parameters, part), part)


class Factory:
    """A network that a factory makes, see `backbones`; it begins about the bias, which stays."""

    def __init__(self, name: str, factory: Callable[..., nnx.Module], hidden: int, part: Data):
        self._name, self._factory = name, factory
        self._given = self._arguments(hidden, part)
        model = nnx.eval_shape(lambda: self._model(jax.random.key(0)))
        self._graph, self._rest = self._checked(model)
        named = _parameters(type(model).__call__)
        self._reads = [key for key in ("future", "lengths") if key in named]

    def _arguments(self, hidden: int, part: Data) -> dict[str, int]:
        known = _parameters(self._factory)
        future, steps = part["future"], part["inputs"].shape[1]
        more = {
            "hidden": hidden,
            "horizon": part["targets"].shape[1],
            "future_features": 0 if future is None else future.shape[2],
        }
        if is_forecast(part) and "horizon" not in known:
            raise UsageError(
                f"{self._name} gives raw of the steps of its inputs, {steps}, but the data are a "
                f"forecast of {more['horizon']}: name horizon (and future_features) among its "
                "arguments."
            )
        return {
            "in_features": part["inputs"].shape[2],
            "out_features": part["targets"].shape[2],
            "steps": steps,
            **{key: value for key, value in more.items() if key in known},
        }

    def _model(self, key: jax.Array) -> nnx.Module:
        return self._factory(**self._given, rngs=nnx.Rngs(key))

    def _checked(self, model: Any) -> tuple[Any, Any]:
        if not isinstance(model, nnx.Module):
            raise UsageError(f"{self._name} must give an nnx.Module, got {type(model).__name__}.")
        graph, _, rest = nnx.split(model, nnx.Param, ...)
        kinds = sorted({type(variable).__name__ for _, variable in nnx.to_flat_state(rest)})
        if kinds:
            raise UsageError(
                f"{self._name} holds variables that are not nnx.Param ({', '.join(kinds)}), which "
                "nothing here would update: leave out dropout and batch statistics."
            )
        return graph, rest

    def initial(self, key: jax.Array, bias: jax.Array) -> Any:
        return {"model": nnx.split(self._model(key))[1], "bias": bias}

    def raw(self, parameters: Any, part: Data) -> jax.Array:
        model = nnx.merge(self._graph, parameters["model"], self._rest)
        names = ("inputs", *BOUNDS, *self._reads)

        def given(of: Data) -> jax.Array:
            more = {key: of[key] for key in self._reads}
            return model(of["inputs"], (of["lower"], of["upper"]), **more)

        raw = in_chunks(given, {key: part[key] for key in names})
        found = getattr(raw, "shape", None), getattr(raw, "dtype", type(raw).__name__)
        if found != (part["targets"].shape, jnp.float32):
            raise UsageError(
                f"{self._name} must give raw of float32 {part['targets'].shape}, got {found[1]} of "
                f"{found[0]}."
            )
        return raw + lax.stop_gradient(parameters["bias"])[None, None]


def _parameters(function: Callable[..., Any]) -> Mapping[str, Any]:
    of = function.__init__ if inspect.isclass(function) else function
    return inspect.signature(of).parameters


def network(backbone: str, hidden: int, dtype: str, part: Data) -> Autoencoder | Factory:
    """The network of a backbone, for windows such as those of a part of the data."""
    factory = factory_of(backbone)
    if factory is None:
        return Autoencoder(backbone, hidden, dtype, part)
    return Factory(backbone, factory, hidden, part)


def check_network(backbone: str, hidden: int, dtype: str, part: Data, name: str) -> None:
    """Try a network on a dataset's shapes, before anything is compiled.

    Args:
      backbone: its name.
      hidden: hidden units.
      dtype: of the factors of recurrent products.
      part: a part of the data, or the shapes of it.
      name: the dataset's.

    Raises:
      UsageError: with what the network said, or the shape that it gave.
    """

    def raw(part: Data) -> jax.Array:
        found = network(backbone, hidden, dtype, part)
        bias = jnp.zeros(part["targets"].shape[2])
        return found.raw(found.initial(jax.random.key(0), bias), part)

    def says(error: str) -> str:
        return f"{backbone} does not fit {name}: {error}"

    with users_code(backbone, says):
        jax.eval_shape(raw, part)


def known_ahead(part: Data) -> jax.Array:
    """What a conditioned decoder reads at each step it gives: the inputs; in a forecast what is
    known ahead, or, where nothing is, the bounds, with 0 for none."""
    if not is_forecast(part):
        return part["inputs"]
    if part["future"] is not None:
        return part["future"]
    bounds = [part[side] for side in BOUNDS if part[side] is not None]
    return jnp.concatenate([jnp.where(jnp.isinf(bound), 0, bound) for bound in bounds], axis=-1)


def in_chunks(function: Callable[[Data], jax.Array], part: Data) -> jax.Array:
    """A function of windows, and its derivative, computed for CHUNK of them at a time, so that
    memory does not grow with what happens within."""
    windows = len(jax.tree.leaves(part)[0])
    if windows <= CHUNK:
        return function(part)
    rows = jnp.arange(-(-windows // CHUNK) * CHUNK).reshape(-1, CHUNK)
    rows = jnp.minimum(rows, windows - 1)  # the last chunk is filled up with the last window
    chunk = jax.checkpoint(lambda rows: function(jax.tree.map(lambda array: array[rows], part)))
    found = lax.map(chunk, rows)
    return found.reshape(-1, *found.shape[2:])[:windows]
