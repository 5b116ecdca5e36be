"""Strategies by name: a row of the table, or one around a function of the user's own."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.datasets import Dataset
from experiments.training import limits
from experiments.training.strategies import COUPLED, TRAINED, with_values
from experiments.training.strategy_names import Grid, is_own, parse
from experiments.training.strategy_rows import (
    HYPER_LENGTH,
    Bound,
    Strategy,
    check_row,
    constraint_row,
    select_bounds,
)
from experiments.usage import UsageError, choose

_made: dict[str, tuple[object, Strategy]] = {}  # what a row was last made of, and the row
_known: dict[str, Any] = {}  # what `known` gave


@contextmanager
def known(objects: Mapping[str, Any]) -> Iterator[None]:
    """Within, these names stand for these functions and rows."""
    _known.update(objects)
    try:
        yield
    finally:
        for name in objects:
            _known.pop(name, None)


def resolve(name: str) -> Strategy:
    """The trained strategy of that name: a row of the table, `module:row` where that is a
    `Strategy` (see `strategy_rows`), or one around `module:function`.

    A function is called as a constraint is; one with a parameter `progress` is given that too, see
    `constraint_row`. Any may be given hyperparameters, `smooth_clip(temperature=0.5)`, or lists of
    them to tune over, the default first; a function is given these as traced values. The same name
    gives the same row, while it stands for the same.

    Raises:
      UsageError: if there is no such name, module or function, or its hyperparameters are no
        numbers by name.
    """
    base, values = parse(name)
    if is_own(base):
        found = _import(name, base)
    else:
        found = choose("strategy", base, TRAINED | COUPLED)
        if not values:
            return found
    if name not in _made or _made[name][0] is not found:
        own = is_own(base)
        row = _row(name, base, found, values) if own else with_values(found, name, values)
        _made[name] = found, row
    return _made[name][1]


def _row(name: str, base: str, found: Any, values: Grid) -> Strategy:
    """A row of the user's own, or one around a function of theirs."""
    if not isinstance(found, Strategy):
        return _row_around(name, base, found, values)
    try:
        check_row(found)
    except ValueError as error:
        raise UsageError(f"Strategy {name!r} cannot be trained: {error}.") from error
    row = with_values(found, name, values)

    def train(raw, *rest):
        pair = found.train(raw, *rest)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"its train must give (output, penalty), got {_kind(pair)}")
        return pair[0], jnp.asarray(pair[1], raw.dtype)  # which may be a number of Python's

    return replace(row, train=train, guarantee="not stated", own=True)


def _row_around(
    name: str, base: str, constraint: Callable[..., jax.Array], values: Grid
) -> Strategy:
    fixed = {key: of[0] for key, of in values.items() if len(of) == 1}
    tuned = {key: of for key, of in values.items() if len(of) > 1}
    if len(tuned) > HYPER_LENGTH:
        raise UsageError(f"Strategy {name!r}: at most {HYPER_LENGTH} hyperparameters may be lists.")
    scheduled = _takes_progress(constraint)
    if scheduled and "progress" in values:
        raise UsageError(f"Strategy {name!r}: progress is what training gives it; leave it out.")
    row = constraint_row(
        partial(constraint, **fixed),
        "your own",
        base.split(":")[0],
        name=name,
        scheduled=scheduled,
        grid=tuned,
    )
    grid = tuned | {key: (value,) for key, value in fixed.items()}
    return replace(row, guarantee="not stated", grid=grid, own=True)


def _takes_progress(function: Callable) -> bool:
    with suppress(TypeError, ValueError):  # of one that shows no parameters
        return "progress" in inspect.signature(function).parameters
    return False


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


def _import(name: str, path: str) -> Any:
    """What `module:function` stands for; the module is looked for in this folder too."""
    if path in _known:
        return _known[path]
    module, _, function = path.partition(":")

    def says(error: str) -> str:
        return (
            f"Strategy {name!r} cannot be imported ({error}). Give module:function, where the "
            "module lies in this folder or is installed."
        )

    with users_code(name, says):
        sys.path.insert(0, os.getcwd())
        try:
            found = getattr(importlib.import_module(module), function)
        finally:
            sys.path.pop(0)
        if not callable(found) and not isinstance(found, Strategy):
            raise TypeError(f"{path} is no function and no Strategy")
    return found


def check_fit(strategy: Strategy, dataset: Dataset, windows: Collection[int]) -> None:
    """Try a strategy and its derivative on a dataset's shapes, before anything is compiled.

    Args:
      strategy: the strategy.
      dataset: the dataset.
      windows: how many there are in a batch, for each size of batch.

    Raises:
      UsageError: with what the strategy said, or the shape and dtype that it gave.
    """

    def says(error: str) -> str:
        return f"{strategy.name} does not fit {dataset.name}: {error}"

    ranges, vector = dataset.target_range(), jax.ShapeDtypeStruct((HYPER_LENGTH,), jnp.float32)
    for index, count in enumerate(windows):
        like = jax.ShapeDtypeStruct((count, *dataset.targets.shape[1:]), jnp.float32)
        part = {"lower": like, "upper": like} | dict.fromkeys(
            ("sum_lower", "sum_upper"), like.update(shape=(*like.shape[:2], 1))
        )
        part = {side: of if side in dataset.sides() else None for side, of in part.items()}
        values = jax.ShapeDtypeStruct((), jnp.float32), like.update(shape=like.shape[1:])
        run = partial(_run, strategy, ranges)
        with users_code(strategy.name, says):
            for hyper in [] if index else _points(strategy):  # whose values may be refused
                jax.eval_shape(partial(run, hyper), like, part, *values)
            if strategy.own:
                jax.eval_shape(run, vector, like, part, *values)


def _points(strategy: Strategy) -> Iterator[np.ndarray]:
    """Every value of each hyperparameter, the others at their defaults."""
    defaults = strategy.hyperparameters
    yield strategy.hyper(defaults)
    for name, values in strategy.grid.items():
        for value in values[1:]:
            yield strategy.hyper({**defaults, name: value})


def _run(
    strategy: Strategy,
    ranges: Mapping[str, jax.Array],
    hyper: jax.Array,
    raw: jax.Array,
    part: Mapping[str, Bound],
    progress: jax.Array,
    state: jax.Array,
) -> list[jax.Array]:
    """All that is asked of a strategy."""
    bounds = select_bounds(strategy, part, ranges)

    def train(raw: jax.Array) -> tuple[jax.Array, jax.Array]:
        output, penalty = strategy.train(raw, *bounds, progress, state, hyper)
        _check("in training it must give", output, raw.shape)
        if penalty.shape not in ((), raw.shape):
            raise TypeError(
                f"its penalty must be one number, or one an entry, of shape {raw.shape}, got "
                f"{_kind(penalty)}"
            )
        return output, penalty

    (output, penalty), pullback = jax.vjp(train, raw)
    evaluated = strategy.evaluate(raw, *bounds, hyper)
    _check("evaluated it must give", evaluated, raw.shape)
    updated = strategy.update(state, raw, *bounds, hyper)
    _check("its update must give", updated, state.shape)
    first = strategy.begins_through(*bounds, hyper)
    if not callable(first):
        raise TypeError(f"its begins_through must give a constraint, got {_kind(first)}")
    return [output, evaluated, updated, *pullback((output, penalty))]


def _check(what: str, found: object, shape: tuple[int, ...]) -> None:
    if (getattr(found, "shape", None), getattr(found, "dtype", None)) != (shape, jnp.float32):
        raise TypeError(f"{what} float32 of shape {shape}, got {_kind(found)}")


def _kind(found: object) -> str:
    return f"{getattr(found, 'dtype', type(found).__name__)} of {getattr(found, 'shape', None)}"
