"""Trains cells of one dataset and backbone: compiled once, mapped over cells."""

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.stages import Compiled, Lowered

from bounded import metrics, starts
from bounded.constraints import identity
from experiments.data.arrays import aligned
from experiments.data.datasets import Dataset
from experiments.training import devices
from experiments.training.backbones import factory_of
from experiments.training.cell import Data, Job, Program, Settings, State, data_of
from experiments.training.own_metrics import functions
from experiments.training.strategy_rows import Strategy, constraint_row, select_bounds

REACH, HALVINGS, CLOSE = 100.0, 40, 1e-3  # of the search for an inverse, in scaled units
MOST_AT_ONCE = 4096  # cells that an accelerator trains side by side
ROOM = 0.8  # of an accelerator's free memory, that these may take
OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"  # as XLA says it
# Beside a strategy that is compiled alone. A switch of one branch is none: XLA would fuse the
# strategy with what is around it, to other bits than where it is compiled with others.
STAND_IN = constraint_row(lambda raw, lower, upper: raw, "", "", name="stand-in", sides=())


@dataclass(frozen=True)
class Result:
    """What training one cell gave."""

    metrics: dict[str, float]  # on the runner's split, by the best parameters on validation
    history: dict[str, np.ndarray]  # on validation, one row a chunk of epochs
    examples: np.ndarray  # outputs on `example_windows`
    block_mse: np.ndarray  # of consecutive blocks of the runner's split
    error: str | None  # why it failed
    seconds: float = 0.0  # of training, the cell's share of its batch
    output: np.ndarray | None = None  # on the runner's split, if that is to be saved
    parameters: Any = None  # the best, if they are to be saved


class Run(NamedTuple):
    """A cell as it is asked for."""

    strategy: str
    hyperparameters: Mapping[str, float]  # those that are not the defaults
    learning_rate: float
    seed: int


class Runner:
    """Trains cells of one dataset and backbone; compiled when it is made.

    A runner of the same backbone, settings, strategies and shapes made before is not compiled
    again, even if it was of another dataset.

    Args:
      dataset: the dataset.
      backbone: one of backbones.BACKBONES, or module:factory.
      settings: what the cells have in common.
      strategies: the rows that a cell may name.
      split: where the metrics are taken at the end, "test" or "validation".
      save: what results hold besides: "predictions", "weights".
      cells: how many are to be run, of which an accelerator trains as many side by side as fit into
        its memory.
      own: fingerprints of what is the user's, without which a function counts as what it was.
    """

    def __init__(
        self,
        dataset: Dataset,
        backbone: str,
        settings: Settings,
        strategies: Sequence[Strategy],
        split: str = "test",
        save: Collection[str] = (),
        own: Iterable[Any] = (),
        cells: int = 1,
    ):
        self._settings, self._save = settings, save
        self._strategies = {strategy.name: strategy for strategy in strategies}
        data = jax.tree.map(aligned, data_of(dataset, split))
        started = time.perf_counter()
        leaves, structure = jax.tree.flatten(jax.tree.map(jax.typeof, data))
        rows = (*strategies, STAND_IN) if len(strategies) == 1 else tuple(strategies)
        outputs = "predictions" in save
        own = (factory_of(backbone), *functions(settings.metrics).values(), *own)
        self._compile = partial(
            _compile, backbone, settings, rows, structure, tuple(leaves), outputs, own
        )
        wanted = min(cells, cells_at_once())
        self._compiled = self._fitting(-(-wanted // jax.local_device_count()))
        self._first_bias = _compiled_bias(own)
        self.compile_seconds = time.perf_counter() - started
        self._data = jax.device_put(data, self._compiled.replicated)

    @property
    def each(self) -> int:
        """Cells that a device trains side by side, at most."""
        return self.batch // jax.local_device_count()

    @property
    def batch(self) -> int:
        """Cells that are trained side by side, at most."""
        return self._compiled.batch

    def _fitting(self, each: int) -> "_Compiled":
        """Compiled for so many cells a device, or for as many as its memory holds."""
        try:
            compiled = self._compile(each)
            if each == 1 or compiled.bytes <= ROOM * _free_memory():
                return compiled
        except jax.errors.JaxRuntimeError as error:
            if each == 1 or OUT_OF_MEMORY not in str(error):
                raise
        return self._fitting(each // 2)

    def run(
        self,
        runs: Sequence[Run],
        on_epochs: Callable[[int], None] = lambda epochs: None,
    ) -> list[Result]:
        """Train cells, up to `batch` side by side, or fewer once an accelerator's memory was full.

        Args:
          runs: the cells.
          on_epochs: called with the cells times epochs of each compiled chunk, after it.
        """
        first, rest = runs[: self.batch], runs[self.batch :]
        try:
            found = self._side_by_side(first, on_epochs)
        except jax.errors.JaxRuntimeError as error:
            if self.each == 1 or OUT_OF_MEMORY not in str(error):
                raise
            self._compiled = self._fitting(self.each // 2)
            return self.run(runs, on_epochs)
        return found + (self.run(rest, on_epochs) if rest else [])

    def _side_by_side(self, runs: Sequence[Run], on_epochs: Callable[[int], None]) -> list[Result]:
        started = time.perf_counter()
        jobs, state = self.begin(runs)
        rows, every = [], self._settings.evaluate_every
        for done in range(0, self._settings.epochs, every):
            state, row = self.advance(jobs, state)
            row = jax.device_get(row)
            if not row["epoch"].any():  # all are over
                on_epochs((self._settings.epochs - done) * len(runs))
                break
            rows.append(row)
            on_epochs(every * len(runs))
        finished = jax.device_get(self._compiled.finish(self._data, jobs, state))
        found = results(rows, *finished, counted_steps(self._here()["final"]))[: len(runs)]
        seconds = (time.perf_counter() - started) / len(runs)
        kept = self._kept(jobs, state)
        return [
            replace(result, seconds=seconds, **{key: of[index] for key, of in kept.items()})
            for index, result in enumerate(found)
        ]

    def _kept(self, jobs: Job, state: State) -> dict[str, list[Any]]:
        """What is to be saved of each cell."""
        found: dict[str, list[Any]] = {}
        if self._compiled.outputs:
            found["output"] = list(jax.device_get(self._compiled.outputs(self._data, jobs, state)))
        if "weights" in self._save:
            best = jax.device_get(state.best_parameters)
            found["parameters"] = [
                jax.tree.map(lambda leaf, index=index: leaf[index], best)
                for index in range(self.batch)
            ]
        return found

    def begin(self, runs: Sequence[Run]) -> tuple[Job, State]:
        """The cells as arrays, and their state before training."""
        jobs = stacked(runs, self._strategies, self.batch, self._bias)
        return jobs, self._compiled.initialize(self._data, jobs)

    def _bias(self, strategy: Strategy, hyper: np.ndarray) -> np.ndarray:
        """Where a cell's network begins; apart from what is compiled for all cells, so that it is
        the same whatever that is."""
        here = self._here()
        if self._settings.start == "zero":
            return np.zeros(here["train"]["targets"].shape[2], np.float32)
        return np.asarray(self._first_bias(strategy, here["train"], here["range"], hyper))

    def _here(self) -> Data:
        """The data as one device has it."""
        return jax.tree.map(lambda array: array.addressable_data(0), self._data)

    def advance(self, jobs: Job, state: State) -> tuple[State, dict]:
        """A chunk of epochs: the new state (the old one is used up) and a row of the history."""
        return self._compiled.advance(self._data, jobs, state)


@lru_cache(maxsize=4)
def _compiled_bias(own: tuple[Any, ...]) -> Callable:
    """`first_bias`, compiled anew where what is the user's became another."""
    return jax.jit(lambda *given: first_bias(*given), static_argnums=0)


def first_bias(strategy: Strategy, part: Data, ranges: Data, hyper: jax.Array) -> jax.Array:
    """The raw, one a feature, at which a network begins that is trained on these windows.

    The inverse of a function of the user's own is looked for, see `bisected`.
    """
    bounds = select_bounds(strategy, part, ranges)
    constraint = strategy.begins_through(*bounds, hyper)
    given = () if strategy.coupled else bounds  # a budget has its total already
    try:
        return starts.constant(constraint, part["targets"], *given, where=part["where"])
    except TypeError:
        if not strategy.own:
            raise
    if strategy.coupled:
        return starts.constant(identity, part["targets"], where=part["where"])
    inverse = bisected(constraint)
    return starts.constant(
        constraint, part["targets"], *given, inverse=inverse, where=part["where"]
    )


def bisected(constraint: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """The inverse of a map that rises or falls entry by entry, within REACH.

    Where there is no such raw, of a map that mixes entries for example, it is the output itself.
    """

    def inverse(output: jax.Array, lower: Any, upper: Any) -> jax.Array:
        ends = jnp.full_like(output, -REACH), jnp.full_like(output, REACH)
        first, last = (constraint(end, lower, upper) for end in ends)

        def halved(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            middle = (ends[0] + ends[1]) / 2
            is_before = (constraint(middle, lower, upper) < output) == (first < last)
            return jnp.where(is_before, middle, ends[0]), jnp.where(is_before, ends[1], middle)

        low, high = lax.fori_loop(0, HALVINGS, halved, ends)
        raw = (low + high) / 2
        error = jnp.abs(constraint(raw, lower, upper) - output)
        return jnp.where(error <= CLOSE * (1 + jnp.abs(output)), raw, output)

    return inverse


def stacked(
    runs: Sequence[Run],
    strategies: Mapping[str, Strategy],
    batch: int,
    bias: Callable[[Strategy, np.ndarray], np.ndarray],
) -> Job:
    """Cells as arrays; the last one fills an incomplete batch."""
    if not 1 <= len(runs) <= batch:
        raise ValueError(f"run takes 1 to {batch} cells, got {len(runs)}.")
    padded = [*runs, *[runs[-1]] * (batch - len(runs))]
    rows = [strategies[run.strategy] for run in padded]
    names = list(strategies)
    hyper = [
        row.hyper({**row.hyperparameters, **run.hyperparameters})
        for row, run in zip(rows, padded, strict=True)
    ]
    return Job(
        np.array([names.index(run.strategy) for run in padded], np.int32),
        np.stack(hyper),
        np.array([run.learning_rate for run in padded], np.float32),
        np.array([run.seed for run in padded], np.uint32),
        np.stack([bias(row, values) for row, values in zip(rows, hyper, strict=True)]),
    )


def counted_steps(part: Data) -> np.ndarray | None:
    """The steps of which all targets count, (windows, H); None: all."""
    return None if part["where"] is None else np.asarray(part["where"]).all(axis=-1)


def results(
    rows: Sequence[Mapping[str, np.ndarray]],
    final: Mapping[str, np.ndarray],
    examples: np.ndarray,
    jacobians: np.ndarray,
    blocks: np.ndarray,
    where: np.ndarray | None,
) -> list[Result]:
    """What came out of each cell side by side: of the chunks' rows, and of the end."""
    # Apart from the rest: singular values within two devices at once wait for each other.
    ranks = [metrics.jacobian_rank_fraction(jacobian, where=where) for jacobian in jacobians]
    final = {**final, "jacobian_rank_fraction": np.array(ranks)}
    stacked = {name: np.stack([row[name] for row in rows], axis=1) for name in rows[0]}
    histories = [
        {name: values[index, counts] for name, values in stacked.items()}
        for index, counts in enumerate(stacked["epoch"] > 0)  # not of a run that is over
    ]
    return [
        Result(
            {name: float(values[index]) for name, values in final.items() if name != "loss"},
            history,
            examples[index],
            blocks[index],
            _why_failed(history),
        )
        for index, history in enumerate(histories)
    ]


def _why_failed(history: Mapping[str, np.ndarray]) -> str | None:
    diverged = ~np.isfinite(history["loss"]) | ~np.isfinite(history["train_loss"])
    if not diverged.any():
        return None
    first = int(diverged.argmax())
    return (
        f"diverged: after epoch {history['epoch'][first]} the training loss is "
        f"{history['train_loss'][first]} and the validation loss {history['loss'][first]}"
    )


@dataclass(frozen=True)
class _Compiled:
    """The functions of a `Program`, compiled for `batch` cells side by side."""

    initialize: Callable
    advance: Callable
    finish: Callable
    batch: int
    bytes: int  # of a device's memory
    replicated: NamedSharding  # where they expect the data
    outputs: Callable | None = None


def cells_at_once() -> int:
    """Cells that this process trains side by side, at most."""
    return jax.local_device_count() * (1 if _on_cpu() else MOST_AT_ONCE)


def _free_memory() -> float:
    """Of the fullest device, in bytes; infinite where none says."""
    found = [device.memory_stats() or {} for device in jax.local_devices()]
    return min(
        stats["bytes_limit"] - stats["bytes_in_use"] if "bytes_limit" in stats else math.inf
        for stats in found
    )


def _on_cpu() -> bool:
    """Whether cells follow one another on a device: on CPU a batched product is slower than one
    cell after the other (`lax.map`), and one cell a device at a time keeps its numbers the same
    whatever else is trained. Elsewhere a device trains many at once (`vmap`)."""
    return jax.default_backend() == "cpu"


# Two backbones and two phases of one dataset. What is compiled holds memory maps, of which the
# kernel gives a process a limited number: it is let go when others come.
@lru_cache(maxsize=4)
def _compile(
    backbone: str,
    settings: Settings,
    strategies: tuple[Strategy, ...],
    structure: Any,
    leaves: tuple[Any, ...],
    outputs: bool,
    own: tuple[Any, ...],  # what names of the user's stand for, and its fingerprints
    each: int,  # cells that a device trains side by side
) -> _Compiled:
    data = jax.tree.unflatten(structure, leaves)
    mesh = Mesh(jax.local_devices(), ("cells",))
    batch = jax.local_device_count() * each
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

    program = Program(backbone, settings, strategies, data)
    jobs = Job.shapes(data, batch)
    states = jax.eval_shape(jax.vmap(program.initialize, (None, 0)), data, jobs)
    lowered = [
        lower(program.advance, jobs, states, donate=(2,)),
        lower(program.finish, jobs, states),
        lower(program.initialize, jobs),
        *([lower(program.outputs, jobs, states)] if outputs else []),
    ]
    with ThreadPoolExecutor() as pool:
        compiled = list(pool.map(Lowered.compile, lowered))
    devices.let_go()
    needed = max(map(_bytes, compiled))
    advance, finish, initialize, *rest = compiled
    sharding = NamedSharding(mesh, replicated)
    return _Compiled(initialize, advance, finish, batch, needed, sharding, *rest)


def _bytes(compiled: Compiled) -> int:
    """Of a device's memory, that a program takes."""
    of = compiled.memory_analysis()
    taken = of.argument_size_in_bytes + of.output_size_in_bytes + of.temp_size_in_bytes
    return taken - of.alias_size_in_bytes
