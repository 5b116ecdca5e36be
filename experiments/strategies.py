"""The table of strategies: named ways to train and evaluate under a bound.

A strategy is two pure functions,

    train(raw, lower, upper, progress, state, hyper) -> (output, penalty)
    evaluate(raw, lower, upper, hyper) -> output

with progress in [0, 1], `state` of shape (T, F) and `hyper` a vector, so that one `lax.switch`
serves every row. To add one: a row in `TRAINED`, through `constraint_row` if it is a constraint,
or through `penalty_row` if it is a penalty on raw.
"""

import ast
import hashlib
import importlib
import math
import os
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np

from bounded import budgets, constraints, metrics, penalties
from experiments.baselines import BASELINES
from experiments.choices import UsageError, choose
from experiments.datasets import Dataset

HYPER_LENGTH = 3
DC3_STEPS = 10
Bound = jax.Array | None
BOTH = ("lower", "upper")
STACKOVERFLOW = "StackOverflow 47848606"


def _keep_state(state, raw, lower, upper, hyper):
    return state


@dataclass(frozen=True, eq=False)
class Strategy:
    """A row of the table."""

    name: str
    train: Callable[..., tuple[jax.Array, jax.Array]]
    evaluate: Callable[..., jax.Array]
    summary: str
    guarantee: str  # that the dataset's bounds hold, on the sides it is given: one of GUARANTEES
    source: str
    sides: tuple[str, ...] = BOTH  # the dataset's sides that it is given
    one_side: bool = False  # of two such sides, only the upper one is given
    needs: tuple[str, ...] = ()  # sides filled from the training range where they are not given
    coupled: bool = False  # given the bounds of the features' sum, (…, T, 1), in place of their own
    grid: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # the default value first
    hash: str | None = None  # of the source, where it is the user's own
    # (state, raw, lower, upper, hyper) -> state: once an epoch, to the mean over its batches
    update: Callable[..., jax.Array] = _keep_state

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


GUARANTEES = ("always", "where u >= 0", "never", "not stated")


def constraint_row(
    constraint: Callable[..., jax.Array],
    summary: str,
    guarantee: str,
    source: str,
    *,
    name: str | None = None,
    **row,
) -> Strategy:
    """A strategy that trains and evaluates through one constraint."""
    names = tuple(row.get("grid", ()))

    def evaluate(raw: jax.Array, lower: Bound, upper: Bound, hyper: jax.Array) -> jax.Array:
        keywords = {key: hyper[index] for index, key in enumerate(names)}
        return constraint(raw, lower, upper, **keywords)

    def train(raw, lower, upper, progress, state, hyper):
        return evaluate(raw, lower, upper, hyper), jnp.zeros((), raw.dtype)

    return Strategy(name or constraint.__name__, train, evaluate, summary, guarantee, source, **row)


def penalty_row(
    penalty: Callable[..., jax.Array], name: str, summary: str, source: str, **row
) -> Strategy:
    """A soft strategy: the output is raw, with `penalty(raw, lower, upper, progress, state, hyper)`
    in the loss."""

    def train(raw, *rest):
        return raw, penalty(raw, *rest)

    return Strategy(name, train, _raw, summary, "never", source, **row)


def budget_row(budget: Callable[..., jax.Array], summary: str, source: str) -> Strategy:
    """A strategy that trains and evaluates through a budget of `bounded.sets`, for the sum of the
    features: exact where the dataset bounds it on both sides, which are then taken as equal."""

    def constraint(raw: jax.Array, lower: Bound, upper: Bound) -> jax.Array:
        return budget(raw, upper[..., 0], equality=lower is not None)

    name = budget.__name__
    return constraint_row(constraint, summary, "always", source, name=name, coupled=True)


def _raw(raw, lower, upper, hyper):
    return raw


def _clip(raw, lower, upper, hyper):
    return constraints.clip(raw, lower, upper)


def _weighted(penalty: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    return lambda raw, lower, upper, progress, state, hyper: hyper[0] * penalty(raw, lower, upper)


def _sum_squared_hinge(raw, lower, upper, progress, state, hyper):
    return hyper[0] * penalties.squared_hinge(jnp.sum(raw, axis=-1, keepdims=True), lower, upper)


def _log_barrier(raw, lower, upper, progress, state, hyper):
    sharpness = penalties.geometric_schedule(progress, hyper[0], hyper[1])
    return penalties.log_barrier(raw, lower, upper, sharpness)


def _augmented_lagrangian(raw, lower, upper, progress, state, hyper):
    return penalties.augmented_lagrangian(raw, lower, upper, multipliers=state, penalty=hyper[0])


def _update_multipliers(state, raw, lower, upper, hyper):
    return penalties.update_multipliers(state, raw, lower, upper, penalty=hyper[0])


def _clip_at_evaluation_train(raw, lower, upper, progress, state, hyper):
    return raw, jnp.zeros((), raw.dtype)


def _clip_after_warmup_train(raw, lower, upper, progress, state, hyper):
    warmup, weight = hyper[0], hyper[1]
    soft = progress < warmup
    output = jnp.where(soft, raw, constraints.clip(raw, lower, upper))
    return output, jnp.where(soft, weight, 0) * penalties.squared_hinge(raw, lower, upper)


def _clip_with_displacement_train(raw, lower, upper, progress, state, hyper):
    # The mean squared displacement of the projection from raw is the squared hinge of raw.
    output = constraints.clip(raw, lower, upper)
    return output, hyper[0] * penalties.squared_hinge(raw, lower, upper)


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
    return output, hyper[2] * penalties.squared_hinge(output, lower, upper)


def _annealed_evaluate(raw, lower, upper, hyper):
    return constraints.smooth_clip(raw, lower, upper, temperature=hyper[1])


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
        "never",
        STACKOVERFLOW,
        name="unconstrained",
        sides=(),
    ),
    constraint_row(
        constraints.clip,
        "min(max(z, l), u): Minimum, projection",
        "always",
        f"{STACKOVERFLOW}; OptNet 2017, HardNet-Aff 2024",
    ),
    constraint_row(
        constraints.straight_through_clip,
        "clip forward, identity backward",
        "always",
        "Bengio et al. 2013",
    ),
    constraint_row(
        constraints.leaky_clip,
        "clip forward, a small slope backward where active",
        "always",
        "Maas et al. 2013; Bengio et al. 2013",
        grid={"slope": (0.1, 0.01, 0.3)},
    ),
    constraint_row(
        constraints.smooth_clip,
        "smooth minimum and maximum",
        "always",
        "Cook 2010; Klimek and Perelstein 2020",
        grid={"temperature": (0.1, 0.03, 0.3)},
    ),
    Strategy(
        "annealed_smooth_clip",
        _annealed_train,
        _annealed_evaluate,
        "smooth_clip, its temperature falling to a floor",
        "always",
        "annealing as in Jang et al. 2017",
        grid={"temperature": (1.0,), "floor": (0.03, 0.01, 0.1)},
    ),
    constraint_row(
        constraints.knee_tanh,
        "z, then a tanh that ends in the bound",
        "always",
        f"{STACKOVERFLOW}, moved to the bound",
        grid={"width": (0.1, 0.03, 0.3)},
    ),
    constraint_row(
        constraints.relu_offset,
        "u - relu(z): modified ReLU",
        "always",
        STACKOVERFLOW,
        one_side=True,
    ),
    constraint_row(
        constraints.softplus_offset,
        "u - t softplus(z / t)",
        "always",
        "Dugas et al. 2001",
        one_side=True,
        grid={"temperature": (1.0, 0.1, 0.3)},
    ),
    constraint_row(
        constraints.squareplus_offset,
        "u - (z + √(z² + 4t²)) / 2: an algebraic tail",
        "always",
        "Barron 2021",
        one_side=True,
        grid={"temperature": (1.0, 0.1, 0.3)},
    ),
    constraint_row(
        constraints.exp_offset,
        "u - exp(z)",
        "always",
        "Stan; NumPyro less_than",
        one_side=True,
    ),
    constraint_row(
        constraints.stretched_tanh,
        "|u| tanh(z)",
        "where u >= 0",
        STACKOVERFLOW,
        sides=("upper",),
        needs=("upper",),
    ),
    constraint_row(
        constraints.half_tanh,
        "min(z, 0) + u tanh(max(z, 0))",
        "where u >= 0",
        STACKOVERFLOW,
        sides=("upper",),
        needs=("upper",),
    ),
    constraint_row(
        constraints.tanh_interval,
        "tanh between the bounds",
        "always",
        STACKOVERFLOW,
        needs=BOTH,
    ),
    constraint_row(
        constraints.sigmoid_interval,
        "logistic function between the bounds",
        "always",
        "Stan; NumPyro interval",
        needs=BOTH,
        grid={"temperature": (1.0, 0.3, 3.0)},
    ),
    constraint_row(
        constraints.tanh_interval,
        "tanh between constants: the training range",
        "never",
        STACKOVERFLOW,
        name="tanh_range",
        sides=(),
        needs=BOTH,
    ),
    constraint_row(
        _clip_to_sequence_maximum,
        "clip, bounded above by the window's maximum",
        "never",
        STACKOVERFLOW,
        name="clip_to_sequence_maximum",
        needs=("upper",),
    ),
    Strategy(
        "clip_at_evaluation",
        _clip_at_evaluation_train,
        _clip,
        "train free, clip when evaluated",
        "always",
        "post-processing",
    ),
    Strategy(
        "clip_after_warmup",
        _clip_after_warmup_train,
        _clip,
        "raw with a squared hinge for a share of training, then clip",
        "always",
        "HardNet: Min and Azizan 2024",
        grid={"warmup": (0.1, 0.3, 0.5), "weight": (1.0, 10.0)},
    ),
    Strategy(
        "clip_with_displacement",
        _clip_with_displacement_train,
        _clip,
        "clip, and a weight on |output - raw|²",
        "always",
        "ENFORCE: Lastrucci and Schweidtmann 2025",
        grid={"weight": (0.1, 0.01, 1.0)},
    ),
    Strategy(
        "dc3_correction",
        _dc3_train,
        _dc3_evaluate,
        f"{DC3_STEPS} unrolled gradient steps on the squared violation",
        "never",
        "DC3 without equalities: Donti et al. 2021",
        grid={"rate": (0.1, 0.01, 0.3), "momentum": (0.5,), "weight": (1.0, 10.0)},
    ),
    penalty_row(
        _weighted(penalties.hinge),
        "hinge",
        "raw, and a penalty on its violation",
        "Nocedal and Wright 2006, 17.2",
        grid={"weight": (1.0, 0.1, 10.0)},
    ),
    penalty_row(
        _weighted(penalties.squared_hinge),
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
        "never",
        "control for the offsets",
        name="offset_unconstrained",
        one_side=True,
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
        found, source_hash = _import(module)
        constraint = getattr(found, function)
        if not callable(constraint):
            raise TypeError(f"{path} is no function")
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"Strategy {name!r} cannot be imported ({error}). Give module:function, where the "
            "module lies in this folder or is installed."
        ) from error
    return replace(
        constraint_row(partial(constraint, **values), "your own", "not stated", module, name=name),
        grid={key: (value,) for key, value in values.items()},
        hash=source_hash,
    )


@cache
def _import(module: str) -> tuple[ModuleType, str]:
    """A module, looked for in this folder too, and a hash of its source as it was then."""
    sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module)
    finally:
        sys.path.pop(0)
    file = getattr(found, "__file__", None)
    return found, hashlib.sha256(Path(file).read_bytes() if file else b"").hexdigest()


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
