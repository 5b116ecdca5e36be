"""The table of strategies: named ways to train and evaluate under a bound.

A strategy is two pure functions,

    train(raw, lower, upper, progress, state, hyper) -> (output, penalty)
    evaluate(raw, lower, upper, hyper) -> output

with progress in [0, 1], `state` of shape (T, F) and `hyper` a vector, so that one `lax.switch`
serves every row. To add one: a row in `TRAINED`, through `constraint_row` if it is a constraint.
"""

import importlib
import os
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from bounded import constraints, penalties
from experiments.choices import UsageError, choose
from experiments.datasets import Dataset

HYPER_LENGTH = 2
Bound = jax.Array | None
BOTH = ("lower", "upper")


@dataclass(frozen=True, eq=False)
class Strategy:
    """A row of the table."""

    name: str
    train: Callable[..., tuple[jax.Array, jax.Array]]
    evaluate: Callable[..., jax.Array]
    summary: str
    guarantee: str  # of `lower <= output <= upper`: "always", "where u >= 0" or "never"
    sides: tuple[str, ...] = BOTH  # the dataset's sides that it is given
    one_side: bool = False  # of two such sides, only the upper one is given
    needs: tuple[str, ...] = ()  # sides filled from the training range where they are not given
    hyperparameters: Mapping[str, float] = field(default_factory=dict)  # with their defaults

    def hyper(self, values: Mapping[str, float]) -> np.ndarray:
        """The vector that `train` and `evaluate` read."""
        vector = [values[name] for name in self.hyperparameters]
        return np.array(vector + [0] * (HYPER_LENGTH - len(vector)), np.float32)


def constraint_row(
    constraint: Callable[..., jax.Array],
    summary: str,
    guarantee: str,
    *,
    name: str | None = None,
    **row,
) -> Strategy:
    """A strategy that trains and evaluates through one constraint."""
    names = tuple(row.get("hyperparameters", ()))

    def evaluate(raw: jax.Array, lower: Bound, upper: Bound, hyper: jax.Array) -> jax.Array:
        keywords = {key: hyper[index] for index, key in enumerate(names)}
        return constraint(raw, lower, upper, **keywords)

    def train(raw, lower, upper, progress, state, hyper):
        return evaluate(raw, lower, upper, hyper), jnp.zeros((), raw.dtype)

    return Strategy(name or constraint.__name__, train, evaluate, summary, guarantee, **row)


def _squared_hinge_train(raw, lower, upper, progress, state, hyper):
    return raw, hyper[0] * penalties.squared_hinge(raw, lower, upper)


def _identity_evaluate(raw, lower, upper, hyper):
    return raw


def _offset(raw: jax.Array, lower: Bound = None, upper: Bound = None) -> jax.Array:
    return (lower if upper is None else upper) - raw


def _clip_to_sequence_maximum(raw: jax.Array, lower: Bound, upper: jax.Array) -> jax.Array:
    return constraints.clip(raw, lower, constraints.sequence_maximum(upper))


def _by_name(*rows: Strategy) -> dict[str, Strategy]:
    return {row.name: row for row in rows}


TRAINED = _by_name(
    constraint_row(
        constraints.identity,
        "control: no constraint",
        "never",
        name="unconstrained",
        sides=(),
    ),
    constraint_row(constraints.clip, "min(max(z, l), u): Minimum", "always"),
    constraint_row(constraints.straight_through_clip, "clip forward, identity backward", "always"),
    constraint_row(
        constraints.smooth_clip,
        "smooth minimum and maximum",
        "always",
        hyperparameters={"temperature": 0.1},
    ),
    constraint_row(
        constraints.relu_offset,
        "u - relu(z): modified ReLU",
        "always, for one side",
        one_side=True,
    ),
    constraint_row(
        constraints.softplus_offset,
        "u - softplus(z)",
        "always, for one side",
        one_side=True,
        hyperparameters={"temperature": 1.0},
    ),
    constraint_row(
        constraints.stretched_tanh,
        "|u| tanh(z)",
        "upper, where u >= 0",
        sides=("upper",),
        needs=("upper",),
    ),
    constraint_row(
        constraints.half_tanh,
        "min(z, 0) + u tanh(max(z, 0))",
        "upper, where u >= 0",
        sides=("upper",),
        needs=("upper",),
    ),
    constraint_row(constraints.tanh_interval, "tanh between the bounds", "always", needs=BOTH),
    constraint_row(
        constraints.tanh_interval,
        "tanh between constants: the training range",
        "never: the input's bound is not used",
        name="tanh_range",
        sides=(),
        needs=BOTH,
    ),
    constraint_row(
        _clip_to_sequence_maximum,
        "clip, bounded above by the window's maximum",
        "never above: a looser bound",
        name="clip_to_sequence_maximum",
        needs=("upper",),
    ),
    Strategy(
        "squared_hinge",
        _squared_hinge_train,
        _identity_evaluate,
        "raw, and a squared penalty on its violation",
        "never",
        hyperparameters={"weight": 1.0},
    ),
    constraint_row(
        _offset,
        "control: u - z, the offset without its constraint",
        "never",
        name="offset_unconstrained",
        one_side=True,
    ),
)
"""Strategies with a network; the baselines below have none."""


def resolve(name: str) -> Strategy:
    """The trained strategy of that name, or a row around `module:function`.

    Raises:
      UsageError: if there is no such name, module or function.
    """
    if ":" not in name:
        return choose("strategy", name, TRAINED)
    module, function = name.split(":", 1)
    sys.path.insert(0, os.getcwd())
    try:
        constraint = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"Strategy {name!r} cannot be imported ({error}). Give module:function, where the "
            "module lies in this folder or is installed."
        ) from error
    finally:
        sys.path.pop(0)
    return constraint_row(constraint, "the user's own", "not stated", name=name)


def check_fit(strategy: Strategy, dataset: Dataset) -> None:
    """Try a strategy on a dataset's shapes, before anything is compiled.

    Raises:
      UsageError: with what the strategy said, or the shape that it gave.
    """

    def run(lower: Bound, upper: Bound) -> tuple[jax.Array, jax.Array]:
        raw = jnp.zeros(dataset.targets.shape)
        bounds = select_bounds(strategy, lower, upper, dataset.target_range())
        state, hyper = raw[0], strategy.hyper(strategy.hyperparameters)
        return strategy.train(raw, *bounds, 0.0, state, hyper)

    try:
        output, _ = jax.eval_shape(run, dataset.lower, dataset.upper)
    except Exception as error:
        raise UsageError(f"{strategy.name} does not fit {dataset.name}: {error}") from error
    if output.shape != dataset.targets.shape:
        raise UsageError(
            f"{strategy.name} on {dataset.name} must give shape {dataset.targets.shape}, "
            f"got {output.shape}."
        )


def bound_sources(strategy: Strategy, dataset_sides: Collection[str]) -> dict[str, str | None]:
    """Where a strategy's two bounds come from, on a dataset that has these sides.

    "dataset"; "training range" (a constant per feature, for a side that the strategy needs and
    the dataset lacks or the strategy ignores); or None for no bound.
    """
    given = [side for side in strategy.sides if side in dataset_sides]
    if strategy.one_side and len(given) == 2:
        given = ["upper"]
    return {
        side: "dataset" if side in given else "training range" if side in strategy.needs else None
        for side in BOTH
    }


def select_bounds(
    strategy: Strategy, lower: Bound, upper: Bound, constants: Mapping[str, jax.Array]
) -> list[Bound]:
    """The (lower, upper) that a strategy is given, from a batch's own and the constants."""
    batch = {
        side: bound for side, bound in {"lower": lower, "upper": upper}.items() if bound is not None
    }
    shape = next(iter(batch.values())).shape
    available = {
        "dataset": batch,
        "training range": {side: jnp.broadcast_to(constants[side], shape) for side in BOTH},
    }
    sources = bound_sources(strategy, batch)
    return [available[sources[side]][side] if sources[side] else None for side in BOTH]


def _bound_or_range(dataset: Dataset, split: str) -> np.ndarray:
    """The upper bound, or the lower one where there is no upper; constant where infinite."""
    side = "lower" if dataset.upper is None else "upper"
    constant = dataset.target_range()[side]
    bound = dataset.part(split)[side]
    return np.where(np.isinf(bound), constant, bound)


def _scaled_bound_baseline(dataset: Dataset, split: str) -> np.ndarray:
    bound, target = _bound_or_range(dataset, "train"), dataset.part("train")["targets"]
    power = (bound**2).sum((0, 1))
    factor = (bound * target).sum((0, 1)) / np.where(power == 0, 1, power)
    return factor * _bound_or_range(dataset, split)


def _climatology_clipped_baseline(dataset: Dataset, split: str) -> np.ndarray:
    part = dataset.part(split)
    climatology = dataset.part("train")["targets"].mean(axis=0, keepdims=True)
    shaped = jnp.broadcast_to(climatology, part["targets"].shape)
    return np.asarray(constraints.clip(shaped, part["lower"], part["upper"]))


BASELINES: dict[str, tuple[Callable[[Dataset, str], np.ndarray], str]] = {
    "bound": (_bound_or_range, "the bound itself"),
    "climatology_clipped": (
        _climatology_clipped_baseline,
        "the training mean by step and feature, clipped by the bounds",
    ),
    "scaled_bound": (
        _scaled_bound_baseline,
        "the bound times its least-squares factor, by feature",
    ),
}
"""Untrained rows: a function from a dataset and a split to an output, and what it is."""

EVERY_STRATEGY = (*TRAINED, *BASELINES)
