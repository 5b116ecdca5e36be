"""The table of strategies: named ways to train and evaluate under a bound.

To add one: a row in `TRAINED`, through `constraint_row` if it is a constraint, or through
`penalty_row` if it is a penalty on raw.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp

from bounded import constraints, metrics, penalties
from bounded.sets import budgets
from experiments.training.baselines import BASELINES
from experiments.training.strategy_names import Grid, base_of, parse
from experiments.training.strategy_rows import (
    BOTH,
    Bound,
    Strategy,
    budget_row,
    constraint_row,
    free,
    penalty_row,
)
from experiments.usage import UsageError, choose

DC3_STEPS = 10
STACKOVERFLOW = "StackOverflow 47848606"


def _clip(raw, lower, upper, hyper):
    return constraints.clip(raw, lower, upper)


def _by_entry(penalty: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """A penalty in place of its mean over entries, some of which may not count."""

    def values(output: jax.Array, **given: Bound) -> jax.Array:
        known = {key: of for key, of in given.items() if of is not None}
        whole = {key: jnp.broadcast_to(of, output.shape) for key, of in known.items()}
        each = jnp.vectorize(
            lambda output, *rest: penalty(output, **dict(zip(whole, rest, strict=True)))
        )
        return each(output, *whole.values())

    return values


_hinge, _squared_hinge = _by_entry(penalties.hinge), _by_entry(penalties.squared_hinge)


def _weighted(penalty: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    def weighted(raw, lower, upper, progress, state, hyper):
        return hyper[0] * penalty(raw, lower=lower, upper=upper)

    return weighted


def _sum_squared_hinge(raw, lower, upper, progress, state, hyper):
    total = jnp.sum(raw, axis=-1, keepdims=True)
    return hyper[0] * _squared_hinge(total, lower=lower, upper=upper)


def _log_barrier(raw, lower, upper, progress, state, hyper):
    sharpness = penalties.geometric_schedule(progress, hyper[0], hyper[1])
    barrier = _by_entry(penalties.log_barrier)
    return barrier(raw, lower=lower, upper=upper, sharpness=sharpness)


def _augmented_lagrangian(raw, lower, upper, progress, state, hyper):
    lagrangian = _by_entry(penalties.augmented_lagrangian)
    return lagrangian(raw, lower=lower, upper=upper, multipliers=state, penalty=hyper[0])


def _update_multipliers(state, raw, lower, upper, hyper):
    return penalties.update_multipliers(state, raw, lower, upper, penalty=hyper[0])


def _clip_at_evaluation_train(raw, lower, upper, progress, state, hyper):
    return raw, jnp.zeros((), raw.dtype)


def _clip_after_warmup_train(raw, lower, upper, progress, state, hyper):
    warmup, weight = hyper[0], hyper[1]
    soft = progress < warmup
    output = jnp.where(soft, raw, constraints.clip(raw, lower, upper))
    return output, jnp.where(soft, weight, 0) * _squared_hinge(raw, lower=lower, upper=upper)


def _clip_with_displacement_train(raw, lower, upper, progress, state, hyper):
    # The mean squared displacement of the projection from raw is the squared hinge of raw.
    output = constraints.clip(raw, lower, upper)
    return output, hyper[0] * _squared_hinge(raw, lower=lower, upper=upper)


def _dc3_evaluate(raw, lower, upper, hyper):
    """Steps of gradient descent with momentum on the squared violation, unrolled."""
    rate, momentum = hyper[0], hyper[1]
    descent = jax.grad(lambda output: jnp.sum(metrics.excess(output, lower, upper) ** 2))
    output, velocity = raw, jnp.zeros_like(raw)
    for _ in range(DC3_STEPS):
        velocity = momentum * velocity + rate * descent(output)
        output = output - velocity
    return output


def _dc3_train(raw, lower, upper, progress, state, hyper):
    output = _dc3_evaluate(raw, lower, upper, hyper)
    return output, hyper[2] * _squared_hinge(output, lower=lower, upper=upper)


def _annealed_evaluate(raw, lower, upper, hyper):
    return constraints.smooth_clip(raw, lower, upper, temperature=hyper[1])


def _annealed_first(lower, upper, hyper):
    return partial(constraints.smooth_clip, temperature=hyper[0])


def _annealed_train(raw, lower, upper, progress, state, hyper):
    temperature = penalties.geometric_schedule(progress, hyper[0], hyper[1])
    output = constraints.smooth_clip(raw, lower, upper, temperature=temperature)
    return output, jnp.zeros((), raw.dtype)


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
        STACKOVERFLOW,
        name="unconstrained",
        sides=(),
        guarantee="never",
    ),
    constraint_row(
        constraints.clip,
        "min(max(z, l), u): Minimum, projection",
        f"{STACKOVERFLOW}; OptNet 2017, HardNet-Aff 2024",
    ),
    constraint_row(
        constraints.straight_through_clip, "clip forward, identity backward", "Bengio et al. 2013"
    ),
    constraint_row(
        constraints.leaky_clip,
        "clip forward, a small slope backward where active",
        "Maas et al. 2013; Bengio et al. 2013",
        grid={"slope": (0.1, 0.01, 0.3)},
    ),
    constraint_row(
        constraints.smooth_clip,
        "smooth minimum and maximum",
        "Cook 2010; Klimek and Perelstein 2020",
        grid={"temperature": (0.1, 0.03, 0.3)},
    ),
    Strategy(
        "annealed_smooth_clip",
        _annealed_train,
        _annealed_evaluate,
        "smooth_clip, its temperature falling to a floor",
        "annealing as in Jang et al. 2017",
        grid={"temperature": (1.0,), "floor": (0.03, 0.01, 0.1)},
        begins_through=_annealed_first,
    ),
    constraint_row(
        constraints.knee_tanh,
        "z, then a tanh that ends in the bound",
        f"{STACKOVERFLOW}, moved to the bound",
        grid={"width": (0.1, 0.03, 0.3)},
    ),
    constraint_row(
        constraints.relu_offset, "u - relu(z): modified ReLU", STACKOVERFLOW, one_side=True
    ),
    constraint_row(
        constraints.softplus_offset,
        "u - t softplus(z / t)",
        "Dugas et al. 2001",
        one_side=True,
        grid={"temperature": (1.0, 0.1, 0.3)},
    ),
    constraint_row(
        constraints.squareplus_offset,
        "u - (z + √(z² + 4t²)) / 2: an algebraic tail",
        "Barron 2021",
        one_side=True,
        grid={"temperature": (1.0, 0.1, 0.3)},
    ),
    constraint_row(constraints.exp_offset, "u - exp(z)", "Stan; NumPyro less_than", one_side=True),
    constraint_row(
        constraints.stretched_tanh,
        "|u| tanh(z)",
        STACKOVERFLOW,
        sides=("upper",),
        needs=("upper",),
        guarantee="where u >= 0",
    ),
    constraint_row(
        constraints.half_tanh,
        "min(z, 0) + u tanh(max(z, 0))",
        STACKOVERFLOW,
        sides=("upper",),
        needs=("upper",),
        guarantee="where u >= 0",
    ),
    constraint_row(constraints.tanh_interval, "tanh between the bounds", STACKOVERFLOW, needs=BOTH),
    constraint_row(
        constraints.sigmoid_interval,
        "logistic function between the bounds",
        "Stan; NumPyro interval",
        needs=BOTH,
        grid={"temperature": (1.0, 0.3, 3.0)},
    ),
    constraint_row(
        constraints.tanh_interval,
        "tanh between constants: the training range",
        STACKOVERFLOW,
        name="tanh_range",
        sides=(),
        needs=BOTH,
        guarantee="never",
    ),
    constraint_row(
        _clip_to_sequence_maximum,
        "clip, bounded above by the window's maximum",
        STACKOVERFLOW,
        name="clip_to_sequence_maximum",
        needs=("upper",),
        guarantee="never",
        begins_through=free,
    ),
    Strategy(
        "clip_at_evaluation",
        _clip_at_evaluation_train,
        _clip,
        "train free, clip when evaluated",
        "post-processing",
    ),
    Strategy(
        "clip_after_warmup",
        _clip_after_warmup_train,
        _clip,
        "raw with a squared hinge for a share of training, then clip",
        "HardNet: Min and Azizan 2024",
        grid={"warmup": (0.1, 0.3), "weight": (1.0, 10.0)},
    ),
    Strategy(
        "clip_with_displacement",
        _clip_with_displacement_train,
        _clip,
        "clip, and a weight on |output - raw|²",
        "ENFORCE: Lastrucci and Schweidtmann 2025",
        grid={"weight": (0.1, 0.01, 1.0)},
    ),
    Strategy(
        "dc3_correction",
        _dc3_train,
        _dc3_evaluate,
        f"{DC3_STEPS} unrolled gradient steps on the squared violation",
        "DC3 without equalities: Donti et al. 2021",
        grid={"rate": (0.1, 0.3), "momentum": (0.5,), "weight": (1.0, 10.0)},
        guarantee="never",
    ),
    penalty_row(
        _weighted(_hinge),
        "hinge",
        "raw, and a penalty on its violation",
        "Nocedal and Wright 2006, 17.2",
        grid={"weight": (1.0, 0.1, 10.0)},
    ),
    penalty_row(
        _weighted(_squared_hinge),
        "squared_hinge",
        "raw, and a squared penalty on its violation",
        "Nocedal and Wright 2006, 17.1",
        grid={"weight": (1.0, 10.0, 100.0)},
    ),
    penalty_row(
        _log_barrier,
        "log_barrier",
        "raw, and an extended logarithmic barrier that sharpens",
        "Kervadec et al. 2022",
        grid={"sharpness": (5.0,), "last_sharpness": (500.0, 50.0, 5000.0)},
    ),
    penalty_row(
        _augmented_lagrangian,
        "augmented_lagrangian",
        "raw, and multipliers of its violation by output position",
        "Hestenes 1969, Powell 1969; Fioretto et al. 2020",
        grid={"penalty": (1.0, 0.1, 10.0)},
        update=_update_multipliers,
    ),
    constraint_row(
        _offset,
        "control: u - z, the offset without its constraint",
        "control for the offsets",
        name="offset_unconstrained",
        one_side=True,
        guarantee="never",
        begins_through=lambda lower, upper, hyper: constraints.relu_offset,
    ),
)
"""Strategies with a network, for bounds of single entries; the baselines have none."""

COUPLED = _by_name(
    budget_row(
        budgets.budget_projection,
        "nearest outputs with 0 <= y and their sum in its bound",
        "Held et al. 1974; Duchi et al. 2008",
    ),
    budget_row(
        budgets.budget_softmax,
        "the sum's bound, dealt by a softmax with a slack class",
        "Harder et al. 2023",
    ),
    budget_row(
        budgets.budget_sequential,
        "stick-breaking: each feature takes a share of what is left",
        "Stan; NumPyro simplex",
    ),
    budget_row(
        budgets.budget_rescale,
        "relu, scaled down where the sum exceeds its bound",
        "Harder et al. 2023",
    ),
    penalty_row(
        _sum_squared_hinge,
        "sum_squared_hinge",
        "raw, and a squared penalty on the violation of its sum",
        "Nocedal and Wright 2006, 17.1",
        coupled=True,
        grid={"weight": (1.0, 10.0, 100.0)},
    ),
)
"""Strategies with a network for a bound of the features' sum, on datasets that have one."""

EVERY_STRATEGY = (*TRAINED, *COUPLED, *BASELINES)


def with_values(row: Strategy, name: str, values: Grid) -> Strategy:
    """A row with other hyperparameters, under another name.

    Raises:
      UsageError: if it has none of that name; says which it has.
    """
    for key in values:
        if not row.grid:
            raise UsageError(f"{row.name} has no hyperparameters, got {key}: leave it out.")
        choose(f"hyperparameter of {row.name}", key, row.grid)
    given = {key: tuple(map(float, of)) for key, of in values.items()}
    return replace(row, name=name, grid={**row.grid, **given})


def table_row(name: str) -> Strategy | None:
    """The row of the table that a name is of, with the hyperparameters that the name gives; None
    where it is of none, or cannot be read."""
    row = (TRAINED | COUPLED).get(base_of(name))
    if row is None or row.name == name:
        return row
    with suppress(UsageError):
        return with_values(row, name, parse(name)[1])
    return None


def is_coupled(strategy: str) -> bool:
    """Whether a row of the table is for a bound of the features' sum."""
    return base_of(strategy) in COUPLED


def guarantee(strategy: str) -> str:
    """What a strategy promises about the dataset's bounds; of a baseline, that it is one."""
    if strategy in BASELINES:
        return "untrained"
    row = table_row(strategy)
    return row.guarantee if row else "not stated"


def holds(strategy: str) -> str:
    """The same for a reader, who must know when it is of one side alone."""
    said, row = guarantee(strategy), table_row(strategy)
    partly = row is not None and said != "never" and (row.one_side or len(row.sides) == 1)
    return said + " (one side)" * partly
