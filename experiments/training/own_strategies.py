"""Strategies by name: a row of the table, or one around a function of the user's own."""

import ast
import importlib
import math
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import ModuleType

import jax
import jax.numpy as jnp

from experiments.data.datasets import Dataset
from experiments.training import limits
from experiments.training.strategies import COUPLED, TRAINED
from experiments.training.strategy_rows import BOTH, Bound, Strategy, constraint_row, select_bounds
from experiments.usage import UsageError, choose


def is_own(name: str) -> bool:
    """Whether a strategy's name is `module:function`, not one of the table."""
    return ":" in name


def resolve(name: str) -> Strategy:
    """The trained strategy of that name, or a row around `module:function`.

    A user's function may be given hyperparameters, `module:function(temperature=0.1)`.

    Raises:
      UsageError: if there is no such name, module or function, or its hyperparameters are no
        numbers by name.
    """
    if not is_own(name):
        return choose("strategy", name, TRAINED | COUPLED)
    path, values = _parse_call(name)
    module, function = path.split(":", 1)

    def says(error: str) -> str:
        return (
            f"Strategy {name!r} cannot be imported ({error}). Give module:function, where the "
            "module lies in this folder or is installed."
        )

    with users_code(name, says):
        constraint = getattr(_import(module), function)
        if not callable(constraint):
            raise TypeError(f"{path} is no function")
    return replace(
        constraint_row(partial(constraint, **values), "your own", module, name=name),
        guarantee="not stated",
        grid={key: (value,) for key, value in values.items()},
        own=True,
    )


@contextmanager
def users_code(name: str, says: Callable[[str], str]) -> Iterator[None]:
    """Within, code of a strategy of the user's own is run where a sweep is planned.

    Args:
      name: the strategy's.
      says: what there is to say of an error.

    Raises:
      UsageError: if it fails, exits, takes longer than `limits.patient` says, or sets what the
        other strategies run with.
    """
    before = jax.config.values
    try:
        with limits.ended_after(limits.patience()):
            yield
    except (UsageError, KeyboardInterrupt):
        raise
    except BaseException as error:
        exits = isinstance(error, SystemExit)
        raise UsageError(says(f"it calls sys.exit({error})" if exits else str(error))) from error
    finally:
        now = jax.config.values
        changed = sorted(key for key in before if now[key] != before[key])
        for key in changed:
            jax.config.update(key, before[key])
    if changed:
        raise UsageError(
            f"{name} sets {', '.join(changed)} of jax, with which every other strategy would run "
            "too: leave that out, or set it for the whole sweep in the environment, such as "
            "JAX_ENABLE_X64=1."
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

    def says(error: str) -> str:
        return f"{strategy.name} does not fit {dataset.name}: {error}"

    for count in windows:
        shape = (count, *dataset.targets.shape[1:])
        like = jax.ShapeDtypeStruct(shape, jnp.float32)
        part = {side: like if side in dataset.sides() else None for side in BOTH}
        with users_code(strategy.name, says):
            jax.eval_shape(run, like, part)
