"""What is the user's own: how it is found, and run where a sweep is planned."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax

from experiments.training import limits
from experiments.usage import UsageError

_known: dict[str, Any] = {}  # what `known` gave


@contextmanager
def known(objects: Mapping[str, Any]) -> Iterator[None]:
    """Within, these names stand for these objects."""
    _known.update(objects)
    try:
        yield
    finally:
        for name in objects:
            _known.pop(name, None)


@contextmanager
def users_code(name: str, says: Callable[[str], str]) -> Iterator[None]:
    """Within, code of the user's own is run where a sweep is planned.

    Args:
      name: what it is called.
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


def given(name: str) -> Any:
    """What a name stands for within `known`; None outside."""
    return _known.get(name)


def imported(kind: str, name: str, path: str) -> Any:
    """What `module:function` stands for; the module is looked for in this folder too.

    Args:
      kind: what it is to be, such as "strategy".
      name: what was given.
      path: that, without hyperparameters.

    Raises:
      UsageError: if there is no such thing.
    """
    if (found := given(path)) is not None:
        return found
    module, _, function = path.partition(":")

    def says(error: str) -> str:
        return (
            f"{kind.capitalize()} {name!r} cannot be imported ({error}). Give module:function, "
            "where the module lies in this folder or is installed."
        )

    with users_code(name, says):
        sys.path.insert(0, os.getcwd())
        try:
            return getattr(importlib.import_module(module), function)
        finally:
            sys.path.pop(0)
