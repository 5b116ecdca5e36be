"""What a strategy is, how one is made of a constraint or a penalty, and the bounds it is given.

A strategy is two pure functions,

    train(raw, lower, upper, progress, state, hyper) -> (output, penalty)
    evaluate(raw, lower, upper, hyper) -> output

with progress in [0, 1], `state` of shape (T, F) and `hyper` a vector, so that one `lax.switch`
serves every row. The penalty is added to the loss: a scalar, or one value an entry, of raw's shape,
of which the mean over the targets that are there is taken.

A row of your own stands in a module of yours, and is named as `--strategies mine:annealed`:

    from functools import partial
    from bounded.constraints import smooth_clip
    from experiments.training.strategy_rows import Strategy

    def at(progress, hyper):  # the temperature falls from 1 to a floor
        return partial(smooth_clip, temperature=hyper[0] ** progress)
    annealed = Strategy(
        "annealed",
        train=lambda raw, lower, upper, progress, state, hyper: (
            at(progress, hyper)(raw, lower, upper), 0.0),
        evaluate=lambda raw, lower, upper, hyper: at(1.0, hyper)(raw, lower, upper),
        begins_through=lambda lower, upper, hyper: at(0.0, hyper),
        grid={"floor": (0.03, 0.01, 0.1)},  # hyper[0]; at most three, the default first
    )

`begins_through` gives the constraint at whose inverse of the targets the network begins: left out
where raw is the output, or is wherever it is inside. The inverse of one that `bounded` does not
know is looked for by bisection. With a `state`, `update` gives the next one of each batch.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bounded.constraints import identity
from experiments.usage import choose

HYPER_LENGTH = 3
Bound = jax.Array | None
BOTH = ("lower", "upper")
GUARANTEES = ("always", "where u >= 0", "never", "not stated")


def _keep_state(state, raw, lower, upper, hyper):
    return state


def free(lower, upper, hyper):
    """What a network begins through whose outputs are raw, or are that wherever it is inside."""
    return identity


@dataclass(frozen=True, eq=False)
class Strategy:
    """A row of the table."""

    name: str
    train: Callable[..., tuple[jax.Array, jax.Array]]
    evaluate: Callable[..., jax.Array]
    summary: str = ""
    source: str = ""
    guarantee: str = "always"  # that the bounds hold, on the sides it is given: of GUARANTEES
    sides: tuple[str, ...] = BOTH  # the dataset's sides that it is given
    one_side: bool = False  # of two such sides, only the upper one is given; see `is_clipped`
    needs: tuple[str, ...] = ()  # sides filled from the training range where they are not given
    coupled: bool = False  # given the bounds of the features' sum, (…, T, 1), in place of their own
    grid: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # the default value first
    own: bool = False  # whether it is the user's
    # (state, raw, lower, upper, hyper) -> state: once an epoch, to the mean over its batches
    update: Callable[..., jax.Array] = _keep_state
    # (lower, upper, hyper) -> the constraint through which its network begins at the targets
    begins_through: Callable[..., Callable[..., jax.Array]] = free

    def is_clipped(self, bounds: Mapping[str, Bound]) -> bool:
        """Whether its output is clipped where it counts: that of a map which is given the upper
        one of two sides alone, for the sake of the lower one."""
        both = all(bounds[side] is not None for side in BOTH)
        return self.one_side and both and self.guarantee == GUARANTEES[0]

    @property
    def hyperparameters(self) -> dict[str, float]:
        """Their defaults."""
        return {name: values[0] for name, values in self.grid.items()}

    def hyper(self, values: Mapping[str, float]) -> np.ndarray:
        """The vector that `train` and `evaluate` read.

        Raises:
          UsageError: for a name that is not a hyperparameter of this row.
        """
        for name in values:
            choose(f"hyperparameter of {self.name}", name, self.grid)
        vector = [values[name] for name in self.grid][:HYPER_LENGTH]
        return np.array(vector + [0] * (HYPER_LENGTH - len(vector)), np.float32)


def constraint_row(
    constraint: Callable[..., jax.Array],
    summary: str,
    source: str,
    *,
    name: str | None = None,
    scheduled: bool = False,
    **row,
) -> Strategy:
    """A strategy that trains and evaluates through one constraint.

    If that is scheduled it also takes `progress`: in training as it goes from 0 to 1, where it is
    evaluated 1, and where its network begins 0.
    """
    names = tuple(row.get("grid", ()))

    def at(progress: Any, hyper: jax.Array) -> Callable[..., jax.Array]:
        given = {"progress": progress} if scheduled else {}
        return partial(constraint, **given, **{key: hyper[n] for n, key in enumerate(names)})

    def evaluate(raw: jax.Array, lower: Bound, upper: Bound, hyper: jax.Array) -> jax.Array:
        return at(1.0, hyper)(raw, lower, upper)

    def train(raw, lower, upper, progress, state, hyper):
        return at(progress, hyper)(raw, lower, upper), jnp.zeros((), raw.dtype)

    row = {"begins_through": lambda lower, upper, hyper: at(0.0, hyper), **row}
    return Strategy(name or constraint.__name__, train, evaluate, summary, source, **row)


def penalty_row(
    penalty: Callable[..., jax.Array], name: str, summary: str, source: str, **row
) -> Strategy:
    """A soft strategy: the output is raw, with `penalty(raw, lower, upper, progress, state, hyper)`
    in the loss."""

    def train(raw, *rest):
        return raw, penalty(raw, *rest)

    return Strategy(name, train, _raw, summary, source, "never", **row)


def budget_row(budget: Callable[..., jax.Array], summary: str, source: str) -> Strategy:
    """A strategy that trains and evaluates through a budget of `bounded.sets`, for the sum of the
    features: exact where the dataset bounds it on both sides, which are then taken as equal."""

    def with_total(lower: Bound, upper: Bound) -> Callable[..., jax.Array]:
        return partial(budget, total=upper[..., 0], equality=lower is not None)

    def constraint(raw: jax.Array, lower: Bound, upper: Bound) -> jax.Array:
        return with_total(lower, upper)(raw)

    return constraint_row(
        constraint,
        summary,
        source,
        name=budget.__name__,
        coupled=True,
        begins_through=lambda lower, upper, hyper: with_total(lower, upper),
    )


def _raw(raw, lower, upper, hyper):
    return raw


def check_row(row: Strategy) -> None:
    """That a row which is not of the table can be trained.

    Raises:
      ValueError: with the field that is not as it should be.
    """
    for field_ in ("sides", "needs"):
        given = getattr(row, field_)
        if not isinstance(given, tuple) or not set(given) <= set(BOTH):
            raise ValueError(f"its {field_} must be a tuple of {' and '.join(BOTH)}, got {given!r}")
    for field_ in ("train", "evaluate", "update", "begins_through"):
        if not callable(getattr(row, field_)):
            raise ValueError(f"its {field_} must be a function, got {getattr(row, field_)!r}")
    if len(row.grid) > HYPER_LENGTH:
        raise ValueError(f"it may have {HYPER_LENGTH} hyperparameters, got {', '.join(row.grid)}")
    for name, values in row.grid.items():
        numbers = isinstance(values, tuple) and values
        if not numbers or any(type(one) not in (int, float) for one in values):
            raise ValueError(
                f"its grid must have a tuple of numbers for {name}, the default first, "
                f"got {values!r}"
            )


def bound_sources(strategy: Strategy, dataset_sides: Collection[str]) -> dict[str, str | None]:
    """Where a strategy's two bounds come from, on a dataset that has these sides.

    "dataset"; "training range" (a constant per feature, for a side that the strategy needs and
    the dataset lacks or the strategy ignores); or None for no bound. For a coupled strategy the
    bounds are those of the features' sum, and there is nothing in place of one that is lacking.
    """
    if strategy.coupled:
        return {side: "dataset" if f"sum_{side}" in dataset_sides else None for side in BOTH}
    given = [side for side in strategy.sides if side in dataset_sides]
    if strategy.one_side and len(given) == 2:
        given = ["upper"]
    return {
        side: "dataset" if side in given else "training range" if side in strategy.needs else None
        for side in BOTH
    }


def select_bounds(
    strategy: Strategy, part: Mapping[str, Bound], constants: Mapping[str, jax.Array]
) -> list[Bound]:
    """The (lower, upper) that a strategy is given, from a batch's own and the constants."""
    if strategy.coupled:
        return [part[f"sum_{side}"] for side in BOTH]
    batch = {side: part[side] for side in BOTH if part[side] is not None}
    shape = next(iter(batch.values())).shape
    available = {
        "dataset": batch,
        "training range": {side: jnp.broadcast_to(constants[side], shape) for side in BOTH},
    }
    sources = bound_sources(strategy, batch)
    return [available[sources[side]][side] if sources[side] else None for side in BOTH]
