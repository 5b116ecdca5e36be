"""One cell as pure functions of the data: its start, a chunk of training epochs, its end.

A cell is a few traced numbers (`Job`): the strategy is an index into `lax.switch`, and its
hyperparameters, the learning rate and the seed are data. So one compilation serves them all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from bounded import metrics
from bounded.constraints import clip
from experiments.data.checks import SPLITS
from experiments.data.datasets import Dataset
from experiments.training.blocks import block_mse, blocks_of
from experiments.training.networks import Autoencoder, Data, network
from experiments.training.own_metrics import own_metrics
from experiments.training.strategy_rows import HYPER_LENGTH, Strategy, select_bounds

# Of what is told apart by a name, the precision of all products of float32 on an accelerator.
DTYPES = {"float32": "float32", "bfloat16": "float32", "tensorfloat32": "tensorfloat32"}
STARTS = ("constant", "zero")
EXAMPLE_QUANTILES = (0.5, 0.9)


@dataclass(frozen=True)
class Settings:
    """What is compiled into a runner; the same for all its cells."""

    hidden: int = 64  # hidden units of encoder and decoder
    dtype: str = "float32"  # of the factors of products, one of DTYPES; bfloat16: of recurrent ones
    epochs: int = 60  # of `batches_per_epoch` updates each, at most
    patience: int = 0  # epochs after its best look at validation that a run ends; 0: at `epochs`
    batches_per_epoch: int = 16  # the same on every dataset, so that updates are
    batch: int = 32  # windows a batch; within an epoch none comes again before all have come
    clip_norm: float = 1.0  # of the gradient's global norm
    start: str = "constant"  # the output layer's first bias: by the strategy's inverse, or "zero"
    metrics: str = ""  # the user's own, module:function, comma-separated

    @property
    def evaluate_every(self) -> int:
        """Epochs between two looks at validation: at most five, and a divisor of `epochs`."""
        return max(every for every in range(1, 6) if self.epochs % every == 0)

    @property
    def schedule(self) -> int:
        """Epochs in which a strategy's progress goes from 0 to 1: before these no run ends."""
        return min(self.patience or self.epochs, self.epochs)


class Job(NamedTuple):
    """One cell as the compiled runner sees it."""

    strategy: Any  # index into the runner's strategies
    hyper: Any  # (HYPER_LENGTH,)
    learning_rate: Any
    seed: Any
    bias: Any  # (F,), where the network begins

    @classmethod
    def shapes(cls, data: Data, *batch: int) -> "Job":
        """Of a batch of jobs on such data, or without one of a single job."""
        features = data["train"]["targets"].shape[2]
        return cls(
            jax.ShapeDtypeStruct(batch, jnp.int32),
            jax.ShapeDtypeStruct((*batch, HYPER_LENGTH), jnp.float32),
            jax.ShapeDtypeStruct(batch, jnp.float32),
            jax.ShapeDtypeStruct(batch, jnp.uint32),
            jax.ShapeDtypeStruct((*batch, features), jnp.float32),
        )


class State(NamedTuple):
    """What a cell carries from chunk to chunk of epochs."""

    parameters: Any
    optimizer: Any
    best_parameters: Any
    best_mse: jax.Array  # theirs, on validation
    epoch: jax.Array
    best_epoch: jax.Array
    strategy_state: jax.Array  # (T, F)


def example_windows(dataset: Dataset, split: str) -> np.ndarray:
    """Indices, within the split, of a typical window and one whose target varies much."""
    part = dataset.part(split)
    targets, counts = part["targets"], part["where"]
    targets = targets if counts is None else np.ma.array(targets, mask=~counts)
    spread = np.ma.filled(targets.std(axis=1).mean(axis=-1), 0)
    rank = np.round(np.array(EXAMPLE_QUANTILES) * (len(spread) - 1)).astype(int)
    return np.argsort(spread, kind="stable")[rank]


def data_of(dataset: Dataset, split: str) -> Data:
    """The arrays that a cell's functions take.

    Args:
      dataset: the dataset.
      split: where the metrics are taken at the end, "test" or "validation".
    """
    return {
        "train": dataset.part("train"),
        "validation": dataset.part("validation"),
        "final": dataset.part(split),
        "range": dataset.target_range(),
        "scale": np.array(dataset.scale, np.float32),
        "examples": example_windows(dataset, split),
        "blocks": blocks_of(np.flatnonzero(dataset.split == SPLITS.index(split))),
    }


# What differs between strategies, each a branch of a switch: entry by entry alone. Reductions
# stay outside, where they are compiled once for all.


def training(
    strategy: Strategy, data: Data, part: Data, job: Job, progress: Any, state: jax.Array
) -> Callable:
    """raw -> (output, penalty) in training."""
    bounds = select_bounds(strategy, part, data["range"])

    def train(raw: jax.Array) -> tuple[jax.Array, jax.Array]:
        output, penalty = strategy.train(raw, *bounds, progress, state, job.hyper)
        penalty = jnp.asarray(penalty)
        return output, mean_of_counted(penalty, part["where"]) if penalty.ndim else penalty

    return train


def mean_of_counted(values: jax.Array, where: jax.Array | None) -> jax.Array:
    """The mean over the entries that count, 0 where none does.

    Args:
      values: (windows, H, K), or one a step, (windows, H, 1).
      where: (windows, H, K), or None where all count; a step counts where all its features do.
    """
    if where is None:
        return jnp.mean(values)
    counts = where if values.shape == where.shape else jnp.all(where, axis=-1, keepdims=True)
    return jnp.sum(jnp.where(counts, values, 0)) / jnp.maximum(jnp.sum(counts), 1)


def evaluation(
    strategy: Strategy, raw: jax.Array, *, data: Data, part: Data, job: Job
) -> jax.Array:
    """The output that counts: of a map that takes one side, clipped to the other."""
    output = strategy.evaluate(raw, *select_bounds(strategy, part, data["range"]), job.hyper)
    if strategy.is_clipped(part):
        return clip(output, part["lower"], part["upper"])
    return output


def training_slope(
    strategy: Strategy,
    raw: jax.Array,
    *,
    data: Data,
    part: Data,
    job: Job,
    progress: Any,
    state: jax.Array,
) -> tuple[jax.Array, ...]:
    """Output, penalty, the objective's derivative to raw, and the state as the batch has it."""
    train = training(strategy, data, part, job, progress, state)
    (output, penalty), pullback = jax.vjp(train, raw)
    error_slope = slope_of_squared_error(output, part)
    (slope,) = pullback((error_slope, jnp.ones_like(penalty)))
    return (
        output,
        penalty,
        slope,
        proposed(strategy, raw, data=data, part=part, job=job, state=state),
    )


def proposed(
    strategy: Strategy, raw: jax.Array, *, data: Data, part: Data, job: Job, state: jax.Array
) -> jax.Array:
    """The strategy's state as a batch has it; where entries do not count, the mean over windows
    of what each proposes by itself."""
    bounds, where = select_bounds(strategy, part, data["range"]), part["where"]
    if where is None:
        return strategy.update(state, raw, *bounds, job.hyper)

    def alone(*window: Any) -> jax.Array:
        return strategy.update(state, *jax.tree.map(lambda one: one[None], window), job.hyper)

    proposals = jnp.where(where, jax.vmap(alone)(raw, *bounds), 0)
    counts = jnp.sum(where, axis=0)
    return jnp.where(counts == 0, state, jnp.sum(proposals, axis=0) / jnp.maximum(counts, 1))


def final_gradients(
    strategy: Strategy,
    raw: jax.Array,
    *,
    data: Data,
    part: Data,
    job: Job,
    state: jax.Array,
    signs: jax.Array,
) -> tuple[jax.Array, jax.Array, tuple]:
    """What is evaluated, with the penalty of the end of training, and the derivatives that gradient
    health is measured by."""
    train = training(strategy, data, part, job, 1.0, state)
    output = evaluation(strategy, raw, data=data, part=part, job=job)
    found = metrics.gradients(train, raw, signs, part["targets"], where=part["where"])
    return output, train(raw)[1], found


def final_jacobian(
    strategy: Strategy, raw: jax.Array, *, data: Data, part: Data, job: Job, state: jax.Array
) -> jax.Array:
    """Of each step's outputs to its raw."""
    train = training(strategy, data, part, job, 1.0, state)
    return metrics.set_jacobian(lambda raw: train(raw)[0], raw)


def squared_error(output: jax.Array, part: Data) -> jax.Array:
    return mean_of_counted((output - part["targets"]) ** 2, part["where"])


def slope_of_squared_error(output: jax.Array, part: Data) -> jax.Array:
    slope, where = 2 * (output - part["targets"]), part["where"]
    if where is None:
        return slope / output.size
    return jnp.where(where, slope, 0) / jnp.maximum(jnp.sum(where), 1)


def keys(job: Job) -> jax.Array:
    """For the initial weights, the shuffling and the metrics."""
    return jax.random.split(jax.random.key(job.seed), 3)


def _precise(method: Callable) -> Callable:
    """With products as precise as the program's dtype says, whatever JAX does by default."""

    @wraps(method)
    def traced(self: "Program", *given: Any) -> Any:
        with jax.default_matmul_precision(self._precision):
            return method(self, *given)

    return traced


class Program:
    """What is compiled: pure functions of the data and one cell.

    Args:
      backbone: one of backbones.BACKBONES, or module:factory.
      settings: what the cells have in common.
      strategies: the rows that a cell may name.
      data: of `data_of`, or the shapes of it.
    """

    def __init__(
        self, backbone: str, settings: Settings, strategies: tuple[Strategy, ...], data: Data
    ):
        self._settings, self._strategies = settings, strategies
        self._precision = DTYPES[settings.dtype]
        recurrent = "bfloat16" if settings.dtype == "bfloat16" else "float32"
        self._network = network(backbone, settings.hidden, recurrent, data["train"])

    @_precise
    def initialize(self, data: Data, job: Job) -> State:
        """The state before training."""
        parameters = self._network.initial(keys(job)[0], job.bias)
        return State(
            parameters=parameters,
            optimizer=self._optimizer(job).init(parameters),
            best_parameters=parameters,
            best_mse=jnp.array(jnp.inf),
            epoch=jnp.array(0),
            best_epoch=jnp.array(0),
            strategy_state=jnp.zeros(data["train"]["targets"].shape[1:]),
        )

    @_precise
    def advance(self, data: Data, job: Job, state: State) -> tuple[State, dict]:
        """A chunk of epochs and a look at validation: the new state, and a row of the history.

        Of a run that is over, the state as it is and a row of zeros.
        """
        chunk = partial(self._chunk, data, job)
        if not self._settings.patience:
            return chunk(state)
        _, row = jax.eval_shape(chunk, state)
        nothing = jax.tree.map(lambda value: jnp.zeros(value.shape, value.dtype), row)
        is_over = state.epoch - state.best_epoch >= self._settings.patience
        return lax.cond(is_over, lambda state: (state, nothing), chunk, state)

    def _chunk(self, data: Data, job: Job, state: State) -> tuple[State, dict]:
        numbers = state.epoch + jnp.arange(self._settings.evaluate_every)
        carry = (state.parameters, state.optimizer, state.strategy_state)
        (parameters, optimizer, strategy_state), losses = lax.scan(
            partial(self._epoch, data, job), carry, numbers
        )
        part = data["validation"]
        raw = self._network.raw(parameters, part)
        row, _ = self._measure(data, job, raw, part, strategy_state)
        epoch = state.epoch + self._settings.evaluate_every
        # By what tuning chooses by too, whatever a strategy adds to its loss.
        better = (row["mse"] < state.best_mse) | (state.epoch == 0)
        best = jax.tree.map(
            lambda new, old: jnp.where(better, new, old),
            (parameters, row["mse"], epoch),
            (state.best_parameters, state.best_mse, state.best_epoch),
        )
        best_parameters, best_mse, best_epoch = best
        state = State(
            parameters, optimizer, best_parameters, best_mse, epoch, best_epoch, strategy_state
        )
        return state, {"epoch": epoch, "train_loss": jnp.mean(losses), **row}

    @_precise
    def finish(
        self, data: Data, job: Job, state: State
    ) -> tuple[dict, jax.Array, jax.Array, jax.Array]:
        """Metrics of the best parameters, outputs of `example_windows`, Jacobians of sets, and
        the error of blocks of windows."""
        part, parameters, strategy_state = (
            data["final"],
            state.best_parameters,
            state.strategy_state,
        )
        raw, pullback = jax.vjp(lambda parameters: self._network.raw(parameters, part), parameters)
        _, slope, _ = self._objective(data, job, raw, part, 1.0, strategy_state)
        found, output = self._measure(data, job, raw, part, strategy_state)

        gradient_norm = optax.tree.norm(pullback(slope)[0])
        found |= own_metrics(self._settings.metrics, output, part, data["scale"])
        found |= {"gradient_norm": gradient_norm, **self._reliance(data, job, raw, state)}
        jacobian = self._switch(
            final_jacobian, raw, job, data=data, part=part, state=state.strategy_state
        )
        return found, output[data["examples"]], jacobian, block_mse(output, part, data["blocks"])

    @_precise
    def outputs(self, data: Data, job: Job, state: State) -> jax.Array:
        """Of the best parameters, (windows, H, K)."""
        part = data["final"]
        raw = self._network.raw(state.best_parameters, part)
        return self._switch(evaluation, raw, job, data=data, part=part)

    def _reliance(self, data: Data, job: Job, raw: jax.Array, state: State) -> dict:
        """How much of the output, and of raw, is lost with codes of other windows; NaN of a
        network without a code."""
        part, parameters, network = data["final"], state.best_parameters, self._network
        names = "code_reliance", "raw_code_reliance"
        if not isinstance(network, Autoencoder):
            return dict.fromkeys(names, jnp.array(jnp.nan))

        def decoded(code: jax.Array) -> tuple[jax.Array, jax.Array]:
            raw = network.decode(parameters, code, part)
            return self._switch(evaluation, raw, job, data=data, part=part), raw

        code, given = network.encode(parameters, part), (part["targets"], raw)
        found = metrics.code_reliances(decoded, code, given, keys(job)[2], where=part["where"])
        return dict(zip(names, found, strict=True))

    def _switch(self, branch: Callable, raw: jax.Array, job: Job, **rest: Any) -> Any:
        """`branch` for the job's strategy."""
        branches = [partial(branch, strategy, job=job, **rest) for strategy in self._strategies]
        return lax.switch(job.strategy, branches, raw)

    def _optimizer(self, job: Job) -> optax.GradientTransformation:
        clipping = optax.clip_by_global_norm(self._settings.clip_norm)
        return optax.chain(clipping, optax.adam(job.learning_rate))

    def _epoch(
        self, data: Data, job: Job, carry: tuple, number: jax.Array
    ) -> tuple[tuple, jax.Array]:
        """`batches_per_epoch` updates; the strategy's state follows the mean over its batches."""
        updates = self._settings.batches_per_epoch
        key = jax.random.fold_in(keys(job)[1], number)
        order = jax.random.permutation(key, len(data["train"]["inputs"]))
        rows = jnp.resize(order, (updates, self._settings.batch))
        steps = number * updates + jnp.arange(updates)
        (*trained, _), (losses, proposals) = lax.scan(
            partial(self._update, data, job), carry, (steps, rows)
        )
        return (*trained, jnp.mean(proposals, axis=0)), losses

    def _update(
        self, data: Data, job: Job, carry: tuple, step: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple, tuple[jax.Array, jax.Array]]:
        """A training step, on the windows `rows`."""
        parameters, optimizer_state, strategy_state = carry
        index, rows = step
        part = jax.tree.map(lambda array: array[rows], data["train"])
        schedule = self._settings.schedule * self._settings.batches_per_epoch
        progress = jnp.minimum(index / schedule, 1)
        raw, pullback = jax.vjp(lambda parameters: self._network.raw(parameters, part), parameters)
        loss, slope, proposal = self._objective(data, job, raw, part, progress, strategy_state)
        (gradient,) = pullback(slope)
        change, optimizer_state = self._optimizer(job).update(gradient, optimizer_state)
        parameters = optax.apply_updates(parameters, change)
        return (parameters, optimizer_state, strategy_state), (loss, proposal)

    def _objective(
        self, data: Data, job: Job, raw: jax.Array, part: Data, progress: Any, state: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The training loss, its derivative to raw, and the strategy's state as proposed."""
        output, penalty, slope, proposal = self._switch(
            training_slope, raw, job, data=data, part=part, progress=progress, state=state
        )
        return squared_error(output, part) + penalty, slope, proposal

    def _measure(
        self, data: Data, job: Job, raw: jax.Array, part: Data, state: jax.Array
    ) -> tuple[dict, jax.Array]:
        """Metrics of one split that follow from raw, and the outputs they are of."""
        signs = jax.random.rademacher(keys(job)[2], raw.shape, raw.dtype)
        bounds, where = (part["lower"], part["upper"]), part["where"]
        sums = None if where is None else jnp.all(where, axis=-1, keepdims=True)
        output, penalty, gradients = self._switch(
            final_gradients, raw, job, data=data, part=part, state=state, signs=signs
        )
        found = {
            "loss": squared_error(output, part) + penalty,
            **metrics.reconstruction(output, part["targets"], where=where),
            **metrics.violation(output, *bounds, where=where),
            **metrics.sum_violation(output, part["sum_lower"], part["sum_upper"], where=sums),
            **metrics.gradient_health(*gradients, part["targets"], *bounds, where=where),
        }
        return found, output
