"""Strategies by name: a row of the table, or one around a function of the user's own."""

import ast
import importlib
import math
import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from types import ModuleType

import jax
import jax.numpy as jnp

from experiments.data.datasets import Dataset
from experiments.training.strategies import COUPLED, TRAINED
from experiments.training.strategy_rows import BOTH, Bound, Strategy, constraint_row, select_bounds
from experiments.usage import UsageError, choose


def resolve(name: str) -> Strategy:
    """The trained strategy of that name, or a row around `module:function`.

    A user's function may be given hyperparameters, `module:function(temperature=0.1)`.

    Raises:
      UsageError: if there is no such name, module or function, or its hyperparameters are no
        numbers by name.
    """
    if ":" not in name:
        return choose("strategy", name, TRAINED | COUPLED)
    path, values = _parse_call(name)
    module, function = path.split(":", 1)
    try:
        constraint = getattr(_import(module), function)
        if not callable(constraint):
            raise TypeError(f"{path} is no function")
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"Strategy {name!r} cannot be imported ({error}). Give module:function, where the "
            "module lies in this folder or is installed."
        ) from error
    return replace(
        constraint_row(partial(constraint, **values), "your own", module, name=name),
        guarantee="not stated",
        grid={key: (value,) for key, value in values.items()},
        own=True,
    )


def _import(module: str) -> ModuleType:
    """A module, looked for in this folder too."""
    sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(module)
    finally:
        sys.path.pop(0)


def _parse_call(name: str) -> tuple[str, dict[str, float]]:
    """`module:function(key=number, …)` as path and hyperparameters."""
    path, parenthesis, rest = name.partition("(")
    try:
        call = ast.parse(f"f({rest}" if parenthesis else "f()", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError("hyperparameters go by name")
        values = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
        if len(values) < len(call.keywords):
            raise ValueError("each hyperparameter goes by its name, once")
    except (SyntaxError, ValueError) as error:
        raise UsageError(
            f"Strategy {name!r} cannot be read ({error}). Give module:function, or "
            "module:function(temperature=0.1) with numbers by name."
        ) from error
    for key, value in values.items():
        if type(value) not in (int, float) or not math.isfinite(value):
            raise UsageError(f"Strategy {name!r}: {key} must be a finite number, got {value!r}.")
    return path, values


def check_fit(strategy: Strategy, dataset: Dataset, windows: Collection[int]) -> None:
    """Try a strategy and its derivative on a dataset's shapes, before anything is compiled.

    Args:
      strategy: the strategy.
      dataset: the dataset.
      windows: how many there are in a batch, for each size of batch.

    Raises:
      UsageError: with what the strategy said, or the shape and dtype that it gave.
    """

    def run(raw: jax.Array, part: Mapping[str, Bound]) -> tuple[jax.Array, ...]:
        bounds = select_bounds(strategy, part, dataset.target_range())
        hyper = strategy.hyper(strategy.hyperparameters)

        def train(raw: jax.Array) -> tuple[jax.Array, jax.Array]:
            output, penalty = strategy.train(raw, *bounds, 0.0, raw[0], hyper)
            check(output)
            return output, penalty

        (output, penalty), pullback = jax.vjp(train, raw)
        check(evaluated := strategy.evaluate(raw, *bounds, hyper))
        return output, evaluated, pullback((output, penalty))[0]

    def check(output: object) -> None:
        found = getattr(output, "shape", None), getattr(output, "dtype", type(output).__name__)
        if found != (shape, jnp.float32):
            raise TypeError(f"it must give float32 of shape {shape}, got {found[1]} of {found[0]}")

    for count in windows:
        shape = (count, *dataset.targets.shape[1:])
        like = jax.ShapeDtypeStruct(shape, jnp.float32)
        part = {side: like if side in dataset.sides() else None for side in BOTH}
        try:
            jax.eval_shape(run, like, part)
        except (Exception, SystemExit) as error:
            raise UsageError(f"{strategy.name} does not fit {dataset.name}: {error}") from error
