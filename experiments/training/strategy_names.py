"""How strategies are named: a row of the table, or `module:function`; hyperparameters after it.

`smooth_clip(temperature=0.5)` is that row with another default, and no other value tried. A list is
a grid to tune over, the default first: `smooth_clip(temperature=[0.1,0.5])`.
"""

import ast
import math
from collections.abc import Mapping
from typing import Any

from experiments.usage import UsageError

Grid = Mapping[str, tuple[float, ...]]


def base_of(name: str) -> str:
    """A strategy's name without its hyperparameters."""
    return name.partition("(")[0].strip()


def is_own(name: str) -> bool:
    """Whether a strategy's name is `module:function`, not one of the table."""
    return ":" in base_of(name)


def parse(name: str) -> tuple[str, dict[str, tuple[float, ...]]]:
    """A name without its hyperparameters, and the values that it gives each, the default first.

    Raises:
      UsageError: if the hyperparameters are no finite numbers by name.
    """
    base, parenthesis, rest = name.partition("(")
    try:
        call = ast.parse(f"f({rest}" if parenthesis else "f()", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError("hyperparameters go by name")
        values = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
        if len(values) < len(call.keywords):
            raise ValueError("each hyperparameter goes by its name, once")
    except (SyntaxError, ValueError) as error:
        raise UsageError(
            f"Strategy {name!r} cannot be read ({error}). Give {base}, or "
            f"{base}(temperature=0.1) with numbers by name, or with a list of numbers to try, "
            "the default first."
        ) from error
    return base.strip(), {key: _numbers(name, key, values[key]) for key in sorted(values)}


def _numbers(name: str, key: str, given: Any) -> tuple[float, ...]:
    values = given if isinstance(given, list) else [given]
    odd = [one for one in values if type(one) not in (int, float) or not math.isfinite(one)]
    if odd or not values:
        raise UsageError(
            f"Strategy {name!r}: {key} must be a finite number, got {(odd or [given])[0]!r}; or a "
            "list of some, to be tuned over."
        )
    return tuple(dict.fromkeys(values))


def one_spelling(name: str) -> str:
    """The name that a strategy has in records, however it is given: keys sorted, no spaces.

    Raises:
      UsageError: if it cannot be read.
    """
    base, grid = parse(name)
    if not is_own(name):  # a row of the table, to which 1 and 1.0 are the same
        grid = {key: tuple(map(_shortest, values)) for key, values in grid.items()}
    return spelled(base, grid)


def spelled(base: str, grid: Grid) -> str:
    """The name of a strategy with hyperparameters."""
    given = ",".join(_spelled(*item) for item in sorted(grid.items()))
    return f"{base}({given})" if given else base


def _spelled(key: str, values: tuple[float, ...]) -> str:
    found = [repr(value) for value in values]
    return f"{key}={found[0]}" if len(found) == 1 else f"{key}=[{','.join(found)}]"


def _shortest(value: float) -> float:
    return int(value) if value == int(value) and abs(value) < 1e15 else value
