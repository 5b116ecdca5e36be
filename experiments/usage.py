"""Look a name up, and say what the names are when it is not there."""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


class UsageError(ValueError):
    """Something the user gave cannot be used; the message says what would be."""


def choose(kind: str, name: str, options: Mapping[str, T]) -> T:
    """`options[name]`, or a `UsageError` with the nearest name and all of them."""
    if name in options:
        return options[name]
    nearest = get_close_matches(name, options, n=1, cutoff=0)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise UsageError(f"Unknown {kind} {name!r}.{hint} Valid names: {', '.join(options)}.")


def in_order(names: Collection[str], options: Collection[str]) -> list[str]:
    """The names that are options, with hyperparameters or without, in the options' order; then the
    others by name."""
    bases = {name: name.partition("(")[0] for name in sorted(names)}
    known = [name for option in options for name, base in bases.items() if option == base]
    return known + sorted(set(names) - set(known), key=_by_numbers)


def _by_numbers(name: str) -> list[str]:
    """For names that differ in a number, such as a size."""
    return [part.zfill(20) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
