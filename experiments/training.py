"""Pure training of one cell, compiled once a dataset and backbone and mapped over cells.

A cell is a few traced numbers (`Job`): the strategy is an index into `lax.switch`, and its
hyperparameters, the learning rate and the seed are data. So one compilation serves them all.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.stages import Lowered

from bounded import metrics
from bounded.autoencoder import LSTMAutoencoder
from bounded.constraints import identity
from experiments.datasets import Dataset
from experiments.strategies import HYPER_LENGTH, Strategy, select_bounds

BACKBONES = ("bottleneck", "conditioned")
DTYPES = ("float32", "bfloat16")
EXAMPLE_QUANTILES = (0.5, 0.9)


@dataclass(frozen=True)
class Settings:
    """What is compiled into a runner; the same for all its cells."""

    hidden: int = 64  # hidden units of encoder and decoder
    dtype: str = "float32"  # of the factors of the recurrent products; one of DTYPES
    epochs: int = 60  # of `batches_per_epoch` updates each
    batches_per_epoch: int = 16  # the same on every dataset, so that updates are
    batch: int = 32  # windows a batch; within an epoch none comes again before all have come
    clip_norm: float = 1.0  # of the gradient's global norm

    @property
    def evaluate_every(self) -> int:
        """Epochs between two looks at validation: at most five, and a divisor of `epochs`."""
        return max(every for every in range(1, 6) if self.epochs % every == 0)


class Job(NamedTuple):
    """One cell as the compiled runner sees it."""

    strategy: Any  # index into the runner's strategies
    hyper: Any  # (HYPER_LENGTH,)
    learning_rate: Any
    seed: Any


class State(NamedTuple):
    """What a cell carries from chunk to chunk of epochs."""

    parameters: Any
    optimizer: Any
    best_parameters: Any
    best_raw: jax.Array  # theirs, on validation
    epoch: jax.Array
    strategy_state: jax.Array  # (T, F)


@dataclass(frozen=True)
class Result:
    """What training one cell gave."""

    metrics: dict[str, float]  # on the runner's split, by the best parameters on validation
    history: dict[str, np.ndarray]  # on validation, one row a chunk of epochs
    examples: np.ndarray  # outputs on `example_windows`
    seconds: float  # of training, the cell's share of its batch
    error: str | None  # why it failed


def example_windows(dataset: Dataset, split: str) -> np.ndarray:
    """Indices, within the split, of a typical window and one whose target varies much."""
    spread = dataset.part(split)["targets"].std(axis=1).mean(axis=-1)
    rank = np.round(np.array(EXAMPLE_QUANTILES) * (len(spread) - 1)).astype(int)
    return np.argsort(spread, kind="stable")[rank]


class Runner:
    """Trains cells of one dataset and backbone; compiled when it is made.

    A runner of the same backbone, settings, strategies and shapes made before is not compiled
    again, even if it was of another dataset.

    Args:
      dataset: the dataset.
      backbone: one of BACKBONES.
      settings: what the cells have in common.
      strategies: the rows that a cell may name.
      split: where the metrics are taken at the end, "test" or "validation".
    """

    def __init__(
        self,
        dataset: Dataset,
        backbone: str,
        settings: Settings,
        strategies: Sequence[Strategy],
        split: str = "test",
    ):
        self._settings = settings
        self._strategies = {strategy.name: strategy for strategy in strategies}
        self._names = list(self._strategies)
        data = {
            "train": dataset.part("train"),
            "validation": dataset.part("validation"),
            "final": dataset.part(split),
            "range": dataset.target_range(),
            "examples": example_windows(dataset, split),
        }
        started = time.perf_counter()
        leaves, structure = jax.tree.flatten(jax.tree.map(jax.typeof, data))
        self._compiled = _compile(backbone, settings, tuple(strategies), structure, tuple(leaves))
        self.compile_seconds = time.perf_counter() - started
        self.batch = self._compiled.batch
        self._data = jax.device_put(data, self._compiled.replicated)

    def run(
        self,
        cells: Sequence[tuple[str, dict[str, float], float, int]],
        on_epochs: Callable[[int], None] = lambda epochs: None,
    ) -> list[Result]:
        """Train up to `batch` cells side by side.

        Args:
          cells: (strategy, hyperparameters, learning rate, seed) of each.
          on_epochs: called with the cells times epochs of each compiled chunk, after it.
        """
        started = time.perf_counter()
        jobs, state = self.begin(cells)
        rows = []
        for _ in range(self._settings.epochs // self._settings.evaluate_every):
            state, row = self.advance(jobs, state)
            rows.append(jax.device_get(row))
            on_epochs(self._settings.evaluate_every * len(cells))
        finished = self._compiled.finish(self._data, jobs, state)
        final, examples, jacobians = jax.device_get(finished)
        # Apart from the rest: singular values within two devices at once wait for each other.
        ranks = list(map(metrics.jacobian_rank_fraction, jacobians))
        final["jacobian_rank_fraction"] = np.array(ranks)
        seconds = (time.perf_counter() - started) / len(cells)
        history = {name: np.stack([row[name] for row in rows], axis=1) for name in rows[0]}
        return [
            self._result(
                {name: float(values[index]) for name, values in final.items()},
                {name: values[index] for name, values in history.items()},
                examples[index],
                seconds,
            )
            for index in range(len(cells))
        ]

    def begin(self, cells: Sequence[tuple[str, dict[str, float], float, int]]) -> tuple[Job, State]:
        """The cells as arrays, and their state before training."""
        jobs = self._jobs(cells)
        return jobs, self._compiled.initialize(self._data, jobs)

    def advance(self, jobs: Job, state: State) -> tuple[State, dict]:
        """A chunk of epochs: the new state (the old one is used up) and a row of the history."""
        return self._compiled.advance(self._data, jobs, state)

    def _result(
        self,
        final: dict[str, float],
        history: dict[str, np.ndarray],
        examples: np.ndarray,
        seconds: float,
    ) -> Result:
        diverged = ~np.isfinite(history["loss"]) | ~np.isfinite(history["train_loss"])
        error = None
        if diverged.any():
            first = int(diverged.argmax())
            error = (
                f"diverged: after epoch {history['epoch'][first]} the training loss is "
                f"{history['train_loss'][first]} and the validation loss {history['loss'][first]}"
            )
        return Result(final, history, examples, seconds, error)

    def _jobs(self, cells: Sequence[tuple[str, dict[str, float], float, int]]) -> Job:
        """Stack cells into arrays; the last one fills an incomplete batch."""
        padded = [*cells, *[cells[-1]] * (self.batch - len(cells))]
        if len(padded) != self.batch:
            raise ValueError(f"run takes 1 to {self.batch} cells, got {len(cells)}.")
        hyper = [
            self._strategies[name].hyper({**self._strategies[name].hyperparameters, **values})
            for name, values, *_ in padded
        ]
        return Job(
            np.array([self._names.index(cell[0]) for cell in padded], np.int32),
            np.stack(hyper),
            np.array([cell[2] for cell in padded], np.float32),
            np.array([cell[3] for cell in padded], np.uint32),
        )


@dataclass(frozen=True)
class _Compiled:
    """The three functions of `_cell_functions`, compiled for `batch` cells side by side."""

    initialize: Callable
    advance: Callable
    finish: Callable
    batch: int
    replicated: NamedSharding  # where they expect the data


def cells_at_once() -> int:
    """Cells that this process trains side by side."""
    return jax.local_device_count() * (1 if _on_cpu() else 32)


def _on_cpu() -> bool:
    """Whether cells follow one another on a device: on CPU a batched product is slower than one
    cell after the other (`lax.map`), and one cell a device at a time keeps its numbers the same
    whatever else is trained. Elsewhere a device trains many at once (`vmap`)."""
    return jax.default_backend() == "cpu"


@cache
def _compile(
    backbone: str,
    settings: Settings,
    strategies: tuple[Strategy, ...],
    structure: Any,
    leaves: tuple[Any, ...],
) -> _Compiled:
    data = jax.tree.unflatten(structure, leaves)
    mesh = Mesh(jax.local_devices(), ("cells",))
    batch = cells_at_once()
    replicated, divided = PartitionSpec(), PartitionSpec("cells")

    def lower(function: Callable, *cells: Any, donate: tuple[int, ...] = ()) -> Lowered:
        def on_device(data: Any, *cells: Any) -> Any:
            if _on_cpu():
                return lax.map(lambda cell: function(data, *cell), cells)
            return jax.vmap(partial(function, data))(*cells)

        mapped = jax.shard_map(
            on_device,
            mesh=mesh,
            in_specs=(replicated, *[divided] * len(cells)),
            out_specs=divided,
            check_vma=False,
        )
        return jax.jit(mapped, donate_argnums=donate).lower(data, *cells)

    initialize, advance, finish = _cell_functions(backbone, settings, strategies, data)
    jobs = Job(
        jax.ShapeDtypeStruct((batch,), jnp.int32),
        jax.ShapeDtypeStruct((batch, HYPER_LENGTH), jnp.float32),
        jax.ShapeDtypeStruct((batch,), jnp.float32),
        jax.ShapeDtypeStruct((batch,), jnp.uint32),
    )
    states = jax.eval_shape(jax.vmap(initialize, (None, 0)), data, jobs)
    lowered = [
        lower(advance, jobs, states, donate=(2,)),
        lower(finish, jobs, states),
        lower(initialize, jobs),
    ]
    with ThreadPoolExecutor() as pool:
        advance, finish, initialize = pool.map(Lowered.compile, lowered)
    return _Compiled(initialize, advance, finish, batch, NamedSharding(mesh, replicated))


def _cell_functions(
    backbone: str, settings: Settings, strategies: tuple[Strategy, ...], shapes: dict
) -> tuple[Callable, Callable, Callable]:
    """Three pure functions of the data and one cell: initialize, advance (a chunk), finish."""
    inputs, targets = (shapes["train"][key].shape for key in ("inputs", "targets"))

    def model(key: jax.Array) -> LSTMAutoencoder:
        return LSTMAutoencoder(
            inputs[2],
            targets[2],
            settings.hidden,
            identity,
            condition_decoder=backbone == "conditioned",
            dtype=settings.dtype,
            rngs=nnx.Rngs(key),
        )

    graph = nnx.split(nnx.eval_shape(lambda: model(jax.random.key(0))))[0]

    def encode(parameters: Any, part: dict) -> jax.Array:
        return nnx.merge(graph, parameters).encode(part["inputs"])

    def decode(parameters: Any, code: jax.Array, part: dict) -> jax.Array:
        return nnx.merge(graph, parameters).decode(code, part["inputs"].shape[1], part["inputs"])

    def raw_output(parameters: Any, part: dict) -> jax.Array:
        return decode(parameters, encode(parameters, part), part)

    def switch(job: Job, function: Callable, *operands: Any) -> Any:
        """`function(strategy, *operands)` for the job's strategy."""
        branches = [partial(function, strategy) for strategy in strategies]
        return lax.switch(job.strategy, branches, *operands)

    # The branches of a switch hold what differs between strategies, entry by entry; reductions
    # stay outside, where they are compiled once.

    def training(
        strategy: Strategy, data: dict, part: dict, job: Job, progress: Any, state: jax.Array
    ) -> Callable:
        """raw -> (output, penalty) in training."""
        bounds = select_bounds(strategy, part, data["range"])
        return lambda raw: strategy.train(raw, *bounds, progress, state, job.hyper)

    def evaluate(strategy: Strategy, data: dict, part: dict, job: Job, raw: Any) -> jax.Array:
        bounds = select_bounds(strategy, part, data["range"])
        return strategy.evaluate(raw, *bounds, job.hyper)

    def squared_error(output: jax.Array, part: dict) -> jax.Array:
        return jnp.mean((output - part["targets"]) ** 2)

    def objective(
        data: dict, job: Job, raw: jax.Array, part: dict, progress: Any, state: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The training loss, its derivative to raw, and the state as the batch would have it."""

        def of(strategy: Strategy, raw: jax.Array) -> tuple[jax.Array, ...]:
            train = training(strategy, data, part, job, progress, state)
            (output, penalty), pullback = jax.vjp(train, raw)
            error_slope = 2 * (output - part["targets"]) / output.size
            (slope,) = pullback((error_slope, jnp.ones_like(penalty)))
            bounds = select_bounds(strategy, part, data["range"])
            return output, penalty, slope, strategy.update(state, raw, *bounds, job.hyper)

        output, penalty, slope, proposal = switch(job, of, raw)
        return squared_error(output, part) + penalty, slope, proposal

    def final_loss(data: dict, job: Job, raw: jax.Array, part: dict, state: jax.Array) -> jax.Array:
        """The loss of what would be evaluated, with the penalty of the end of training."""

        def of(strategy: Strategy, raw: jax.Array) -> tuple[jax.Array, jax.Array]:
            penalty = training(strategy, data, part, job, 1.0, state)(raw)[1]
            return evaluate(strategy, data, part, job, raw), penalty

        output, penalty = switch(job, of, raw)
        return squared_error(output, part) + penalty

    def measure(
        data: dict, job: Job, raw: jax.Array, part: dict, state: jax.Array
    ) -> tuple[dict, jax.Array]:
        """Metrics of one split that follow from raw, and the outputs they are of."""
        signs = jax.random.rademacher(keys(job)[2], raw.shape, raw.dtype)
        bounds = part["lower"], part["upper"]

        def of(strategy: Strategy, raw: jax.Array) -> tuple[jax.Array, jax.Array, tuple]:
            train = training(strategy, data, part, job, 1.0, state)
            output = evaluate(strategy, data, part, job, raw)
            return output, train(raw)[1], metrics.gradients(train, raw, signs)

        output, penalty, gradients = switch(job, of, raw)
        found = {
            "loss": squared_error(output, part) + penalty,
            **metrics.reconstruction(output, part["targets"]),
            **metrics.violation(output, *bounds),
            **metrics.sum_violation(output, part["sum_lower"], part["sum_upper"]),
            **metrics.gradient_health(*gradients, part["targets"], *bounds),
        }
        return found, output

    def optimizer(job: Job) -> optax.GradientTransformation:
        clipping = optax.clip_by_global_norm(settings.clip_norm)
        return optax.chain(clipping, optax.adam(job.learning_rate))

    def keys(job: Job) -> jax.Array:
        """For the initial weights, the shuffling and the metrics."""
        return jax.random.split(jax.random.key(job.seed), 3)

    def initialize(data: dict, job: Job) -> State:
        parameters = nnx.split(model(keys(job)[0]))[1]
        return State(
            parameters=parameters,
            optimizer=optimizer(job).init(parameters),
            best_parameters=parameters,
            best_raw=jnp.zeros(shapes["validation"]["targets"].shape),
            epoch=jnp.array(0),
            strategy_state=jnp.zeros(targets[1:]),
        )

    def advance(data: dict, job: Job, state: State) -> tuple[State, dict]:
        updates = settings.batches_per_epoch

        def update(carry: Any, index_and_rows: Any) -> tuple[Any, tuple[jax.Array, jax.Array]]:
            parameters, optimizer_state, strategy_state = carry
            index, rows = index_and_rows
            part = jax.tree.map(lambda array: array[rows], data["train"])
            progress = index / (settings.epochs * updates)
            raw, pullback = jax.vjp(lambda parameters: raw_output(parameters, part), parameters)
            loss, slope, proposal = objective(data, job, raw, part, progress, strategy_state)
            (gradient,) = pullback(slope)
            change, optimizer_state = optimizer(job).update(gradient, optimizer_state)
            parameters = optax.apply_updates(parameters, change)
            return (parameters, optimizer_state, strategy_state), (loss, proposal)

        def epoch(carry: Any, number: jax.Array) -> tuple[Any, jax.Array]:
            key = jax.random.fold_in(keys(job)[1], number)
            order = jax.random.permutation(key, len(data["train"]["inputs"]))
            rows = jnp.resize(order, (updates, settings.batch))
            steps = number * updates + jnp.arange(updates)
            (*trained, _), (losses, proposals) = lax.scan(update, carry, (steps, rows))
            return (*trained, jnp.mean(proposals, axis=0)), losses

        numbers = state.epoch + jnp.arange(settings.evaluate_every)
        carry = (state.parameters, state.optimizer, state.strategy_state)
        (parameters, optimizer_state, strategy_state), losses = lax.scan(epoch, carry, numbers)
        part = data["validation"]
        raw = raw_output(parameters, part)
        row, _ = measure(data, job, raw, part, strategy_state)
        # Both under the present state, for multipliers change what a loss means.
        best_loss = final_loss(data, job, state.best_raw, part, strategy_state)
        better = (row["loss"] < best_loss) | (state.epoch == 0)
        best_parameters, best_raw = jax.tree.map(
            lambda new, old: jnp.where(better, new, old),
            (parameters, raw),
            (state.best_parameters, state.best_raw),
        )
        state = State(
            parameters=parameters,
            optimizer=optimizer_state,
            best_parameters=best_parameters,
            best_raw=best_raw,
            epoch=state.epoch + settings.evaluate_every,
            strategy_state=strategy_state,
        )
        return state, {"epoch": state.epoch, "train_loss": jnp.mean(losses), **row}

    def finish(data: dict, job: Job, state: State) -> tuple[dict, jax.Array, jax.Array]:
        part, parameters = data["final"], state.best_parameters
        raw, pullback = jax.vjp(lambda parameters: raw_output(parameters, part), parameters)
        _, slope, _ = objective(data, job, raw, part, 1.0, state.strategy_state)
        found, output = measure(data, job, raw, part, state.strategy_state)

        def decoded(code: jax.Array) -> jax.Array:
            return switch(
                job,
                lambda strategy, raw: evaluate(strategy, data, part, job, raw),
                decode(parameters, code, part),
            )

        def jacobian(strategy: Strategy, raw: jax.Array) -> jax.Array:
            train = training(strategy, data, part, job, 1.0, state.strategy_state)
            return metrics.set_jacobian(lambda raw: train(raw)[0], raw)

        code = encode(parameters, part)
        reliance = metrics.code_reliance(decoded, code, part["targets"], keys(job)[2])
        gradient_norm = optax.tree.norm(pullback(slope)[0])
        found |= {"gradient_norm": gradient_norm, "code_reliance": reliance}
        return found, output[data["examples"]], switch(job, jacobian, raw)

    return initialize, advance, finish
