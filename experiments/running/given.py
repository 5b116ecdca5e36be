"""Strategies, datasets, networks and metrics that are given as objects, in place of names.

A function that can be imported goes by `module:function`, as if it had been named so. What only
this process has goes by a name of its own, which stands for it within `named` alone.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data.catalogue import DATASETS
from experiments.data.datasets import Dataset, load, prepared
from experiments.data.user_files import entry_of
from experiments.training import users_code
from experiments.training.strategies import table_row
from experiments.training.strategy_names import base_of, spelled
from experiments.training.strategy_rows import Strategy
from experiments.usage import UsageError

HERE = "here"  # in place of a module, of what cannot be imported


@dataclass(frozen=True)
class Names:
    """What is given, by name; None where nothing is."""

    strategies: list[str] | None
    datasets: list[str] | None
    backbones: list[str] | None
    metrics: list[str] | None
    code_here: tuple[str, ...]  # functions and rows that only this process has
    datasets_here: tuple[str, ...]

    def check_workers(self) -> None:
        """Refuse to run elsewhere what only this process has.

        Raises:
          UsageError: with what to do.
        """
        if self.code_here:
            raise UsageError(
                f"{', '.join(self.code_here)}: a lambda, a Strategy, a nested function, or "
                "one of a notebook or of the script that is run cannot be imported by workers. "
                "Move it into a module, such as mine.py, and give 'mine:NAME'; or leave out "
                "workers and dask."
            )
        if self.datasets_here:
            raise UsageError(
                f"{', '.join(self.datasets_here)}: workers cannot read arrays of this process. "
                "Save them, numpy.savez('mine.npz', **arrays), and give 'mine.npz'; or leave out "
                "workers and dask."
            )


@contextmanager
def named(
    strategies: Iterable[Any] | None = None,
    datasets: Iterable[Any] | None = None,
    backbones: Iterable[Any] | None = None,
    metrics: Iterable[Any] | None = None,
    allow_infeasible: bool = False,
) -> Iterator[Names]:
    """Within, names stand for what is given.

    Args:
      strategies: names, functions or rows.
      datasets: names, paths, datasets, or dicts of arrays, perhaps with a `name`.
      backbones: names or factories.
      metrics: names or functions.
      allow_infeasible: whether targets may break their bounds.

    Raises:
      UsageError: for anything else, or two of one name.
    """
    code: dict[str, Any] = {}
    sets: dict[str, Dataset] = {}

    def read(kind: str, given: Iterable[Any] | None, name: Callable[[Any], str]) -> Any:
        if given is None or isinstance(given, str):  # which `make_plan` refuses
            return given
        if isinstance(given, Mapping) or not isinstance(given, Iterable):
            raise UsageError(
                f"{kind} must be a list, got a {type(given).__name__}: put it in brackets, [...]."
            )
        return [name(one) for one in given]

    names = Names(
        read("strategies", strategies, lambda one: _named_strategy(one, code)),
        read("datasets", datasets, lambda one: _named_dataset(one, sets, allow_infeasible)),
        read("backbones", backbones, lambda one: _named_function("backbone", one, code)),
        read("metrics", metrics, lambda one: _named_function("metric", one, code)),
        tuple(code),
        tuple(sets),
    )
    with users_code.known({**code, **sets}):
        yield names


def _named_strategy(given: Any, rows: dict[str, Any]) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, Strategy):
        if table_row(given.name) is given:
            return given.name
        return _put(rows, _label(given.name), given)
    if isinstance(given, partial) and not given.args:
        values = {key: (value,) for key, value in given.keywords.items()}
        return spelled(base_of(_named_strategy(given.func, rows)), values)
    if not isinstance(given, str) and not callable(given):
        raise UsageError(f"A strategy must be a name, a function or a Strategy, got {given!r}.")
    return _named_function("strategy", given, rows)


def _named_function(kind: str, given: Any, found: dict[str, Any]) -> str:
    if isinstance(given, str):
        return given
    if not callable(given):
        raise UsageError(f"A {kind} must be a name or a function, got {given!r}.")
    if _is_importable(given):
        return f"{given.__module__}:{given.__name__}"
    function = given.func if isinstance(given, partial) else given
    return _put(found, _label(getattr(function, "__name__", type(function).__name__)), given)


def _label(name: str) -> str:
    plain = re.sub(r"[^\w.-]+", "_", name).strip("_")
    return f"{HERE}:{plain or 'strategy'}"


def _is_importable(function: Callable) -> bool:
    """Whether another process finds it too, under its module's name."""
    module, name = getattr(function, "__module__", None), getattr(function, "__name__", "")
    if module in (None, "__main__", "__mp_main__"):
        return False
    found = sys.modules.get(module)
    has_file = getattr(found, "__spec__", None) is not None  # not so of what runpy runs
    return has_file and getattr(found, name, None) is function


def _named_dataset(given: Any, sets: dict[str, Dataset], allow_infeasible: bool) -> str:
    if isinstance(given, str | Path):
        return str(given)
    if isinstance(given, Dataset):
        dataset = given
    elif isinstance(given, Mapping):
        dataset = _of_arrays(given, f"dataset{len(sets) + 1}", allow_infeasible)
    else:
        raise UsageError(
            "A dataset must be a name, a path, a dict of inputs, targets, upper and/or lower, or a "
            f"Dataset, got {type(given).__name__}."
        )
    if dataset.name in DATASETS:
        if load(dataset.name, allow_infeasible).hash == dataset.hash:
            return dataset.name
        raise UsageError(
            f"Another dataset is called {dataset.name} in the table: give yours another name."
        )
    return _put(sets, dataset.name, dataset)


def _of_arrays(given: Mapping[str, Any], name: str, allow_infeasible: bool) -> Dataset:
    """Arrays as a dataset, read and checked as if they came from a file."""
    arrays = {key: value for key, value in given.items() if value is not None}
    name = arrays.pop("name", name)
    if not isinstance(name, str) or not name or name != Path(name).name:
        raise UsageError(f"A dataset's name must be a text without slashes, got {name!r}.")
    try:
        found = {str(key): np.asarray(array) for key, array in arrays.items()}
    except ValueError as error:
        raise UsageError(f"{name}: cannot be read as arrays ({error}).") from error
    return prepared(name, entry_of(name, name, found), allow_infeasible)


def _put(found: dict[str, Any], name: str, given: Any) -> str:
    if found.setdefault(name, given) is not given:
        raise UsageError(f"Two of what is given would be called {name}: give them other names.")
    return name
