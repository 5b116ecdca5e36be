"""Speed, as ratios side by side in one run: `python -m experiments.benchmark`.

Machines are shared and noisy, so that every round times every candidate in turn, and a ratio is
the median over rounds of the ratio within a round.
"""

import argparse
import inspect
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bounded import constraints
from bounded.autoencoder import LSTMAutoencoder
from experiments import figures, projections, report, store
from experiments.choices import UsageError, choose
from experiments.datasets import load
from experiments.devices import cores, inherited, use_all_cores
from experiments.stacks import SGEMM, SHARE, STACKS, Shape, Stack, environment, serve
from experiments.strategies import TRAINED
from experiments.sweep import names
from experiments.training import Runner, Settings

SHAPES = (
    Shape(150, 24, 1, 32),  # the original question's model
    Shape(64, 24, 1, 32),
    Shape(32, 24, 1, 32),
    Shape(150, 144, 3, 32),
)
LEAST_SECONDS = 0.7  # of one timing
Row = dict[str, Any]


class Trainer:
    """A stack that trains in processes of its own, at the caller's command."""

    def __init__(self, stack: Stack, shape: Shape, cores: Sequence[int]):
        groups = [[core] for core in cores] if stack.per_core else [list(cores)]
        self.dtype = stack.dtype
        spawn = multiprocessing.get_context("spawn")
        self._connections, self._processes = [], []
        for group in groups:
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=serve, args=(stack.build, shape, theirs), daemon=True)
            with inherited(group, environment(stack, group)):
                process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)
        self.built = self._receive()
        self.error = next((reply["error"] for reply in self.built if "error" in reply), None)
        self.peak_mb = 0.0
        self._calls = 1
        if not self.error:
            self._calls = max(1, round(LEAST_SECONDS / self._seconds()))

    def rate(self) -> float:
        """Sequences a second, timed once."""
        sequences = sum(reply["sequences"] for reply in self.built)
        return sequences * self._calls / self._seconds()

    def close(self) -> None:
        for connection, process in zip(self._connections, self._processes, strict=True):
            with suppress(BrokenPipeError):  # one that failed has left
                connection.send(0)
            process.join()

    def _seconds(self) -> float:
        started = time.perf_counter()
        for connection in self._connections:
            connection.send(self._calls)
        self.peak_mb = sum(reply["peak_mb"] for reply in self._receive())
        return time.perf_counter() - started

    def _receive(self) -> list[dict]:
        return [connection.recv() for connection in self._connections]


def throughput(shape: Shape, stacks: Sequence[str], rounds: int) -> list[Row]:
    """A row a stack: sequences a second over rounds that time every stack in turn.

    Besides the stacks: `bounded` on one core, and the machine's own product of matrices.
    """
    every = cores()
    trainers = {name: Trainer(STACKS[name], shape, every) for name in stacks}
    if "bounded" in stacks:
        trainers["bounded, 1 core"] = Trainer(STACKS["bounded"], shape, every[:1])
        trainers["sgemm"] = Trainer(SGEMM, shape, every)
    running = {name: trainer for name, trainer in trainers.items() if not trainer.error}
    rates: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(rounds):
        for name, trainer in running.items():
            rates[name].append(trainer.rate())
    rows = []
    for name, trainer in trainers.items():
        trainer.close()
        row: Row = {"stack": name, **shape._asdict(), "dtype": trainer.dtype}
        if trainer.error:
            rows.append(row | {"error": trainer.error})
            continue
        row |= {
            "sequences_per_second": statistics.median(rates[name]),
            "spread": [min(rates[name]), max(rates[name])],
            "build_seconds": max(reply["build_seconds"] for reply in trainer.built),
            "peak_mb": trainer.peak_mb,
        }
        if "bounded" in rates:
            pairs = zip(rates["bounded"], rates[name], strict=True)
            row["times_slower_than_bounded"] = statistics.median(a / b for a, b in pairs)
        rows.append(row)
    return rows


def operations(shape: Shape) -> float:
    """Floating-point operations in products of matrices, a sequence trained: forward and twice
    that backward."""
    hidden, steps, features, _ = shape
    gates = 4 * hidden
    encoder = steps * gates * (features + hidden)
    decoder = (steps + 1) * gates * hidden
    return 3 * 2 * (encoder + decoder + steps * hidden * features)


def throughput_table(rows: Sequence[Row], shape: Shape) -> Table:
    table = Table(box=SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.title = f"Training, sequences a second: hidden x steps x features x batch = {shape}"
    for title in (
        "stack",
        "median",
        "lowest to highest",
        "bounded is faster by",
        "start",
        "memory",
    ):
        table.add_column(title, justify="left" if title == "stack" else "right")
    found = {row["stack"]: row for row in rows}
    for name, row in found.items():
        if name == "sgemm":
            continue
        if "error" in row:
            table.add_row(name, row["error"])
            continue
        low, high = row["spread"]
        table.add_row(
            name,
            f"{row['sequences_per_second']:,.0f}",
            f"{low:,.0f} to {high:,.0f}",
            f"{row['times_slower_than_bounded']:.2f}" if "times_slower_than_bounded" in row else "",
            f"{row['build_seconds']:.1f} s",
            f"{row['peak_mb']:,.0f} MB",
        )
    if "sgemm" in found and "error" not in found.get("bounded", {"error": ""}):
        peak = 1e9 * found["sgemm"]["sequences_per_second"]
        share = found["bounded"]["sequences_per_second"] * operations(shape) / peak
        table.caption = (
            f"The machine's own product of matrices: {peak / 1e9:,.0f} GFLOP/s on all cores; "
            f"bounded reaches {100 * share:.0f} % of it."
        )
    return table


def growth(counts: Sequence[int] = (1, 4, 16, 64)) -> Table:
    """Seconds of a sweep's cells of one dataset, compilation apart, by their number."""
    settings = Settings(hidden=32, epochs=5)
    runner = Runner(load("irradiance"), "bottleneck", settings, [TRAINED["clip"]])
    cells = [("clip", {}, 3e-3, seed) for seed in range(max(counts))]
    runner.run(cells[: runner.batch])
    table = Table("cells", "seconds", "seconds a cell", box=SIMPLE_HEAD, title_justify="left")
    table.title = (
        f"Cells of one dataset on {runner.batch} at a time, compiled once in "
        f"{runner.compile_seconds:.1f} s"
    )
    for count in counts:
        started = time.perf_counter()
        for start in range(0, count, runner.batch):
            runner.run(cells[start : min(start + runner.batch, count)])
        seconds = time.perf_counter() - started
        table.add_row(str(count), f"{seconds:.2f}", f"{seconds / count:.3f}")
    return table


def side_by_side(
    candidates: dict[str, Callable[[], jax.Array]], rounds: int, calls: int
) -> dict[str, list[float]]:
    """Seconds a call of each candidate in each round, after one call that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for call in candidates.values():
        jax.block_until_ready(call())
    for _ in range(rounds):
        for name, call in candidates.items():
            started = time.perf_counter()
            for _ in range(calls):
                jax.block_until_ready(call())
            seconds[name].append((time.perf_counter() - started) / calls)
    return seconds


def ratios(seconds: dict[str, list[float]], reference: str) -> dict[str, float]:
    """Each candidate's time in those of the reference."""
    return {
        name: statistics.median(
            one / other for one, other in zip(times, seconds[reference], strict=True)
        )
        for name, times in seconds.items()
    }


def constraint_overhead(
    shape: Shape = SHAPES[0], rounds: int = 30, calls: int = 10
) -> dict[str, list[float]]:
    """Seconds of the autoencoder's forward and backward pass, by constraint."""
    inputs = jax.random.uniform(jax.random.key(0), (shape.batch, shape.steps, shape.features))
    return side_by_side(
        {
            name: _loss_and_gradient(getattr(constraints, name), shape.hidden, inputs)
            for name in _constraint_names()
        },
        rounds,
        calls,
    )


def _constraint_names() -> list[str]:
    """Every public constraint; `identity` first."""
    functions = inspect.getmembers(constraints, inspect.isfunction)
    return [
        name
        for name, function in sorted(functions, key=lambda pair: pair[0] != "identity")
        if not name.startswith("_") and "raw" in inspect.signature(function).parameters
    ]


def _loss_and_gradient(
    constraint: Callable[..., jax.Array], hidden: int, inputs: jax.Array
) -> Callable[[], jax.Array]:
    features = inputs.shape[-1]
    model = LSTMAutoencoder(features, features, hidden, constraint, rngs=nnx.Rngs(0))
    graph, parameters = nnx.split(model)
    sides = ("lower", "upper") if "interval" in constraint.__name__ else ("upper",)
    bounds = {"lower": jnp.zeros_like(inputs), "upper": inputs}
    bounds = {side: bounds[side] for side in sides}

    def loss(parameters: nnx.State, inputs: jax.Array, bounds: dict) -> jax.Array:
        output = nnx.merge(graph, parameters)(inputs, **bounds)
        return jnp.mean((output - SHARE * inputs) ** 2)

    step = jax.jit(jax.value_and_grad(loss))
    return lambda: step(parameters, inputs, bounds)


def overhead_table(seconds: dict[str, list[float]], shape: Shape = SHAPES[0]) -> Table:
    table = Table("constraint", "ms", "ratio to identity", box=SIMPLE_HEAD, title_justify="left")
    table.title = f"What a constraint adds: LSTMAutoencoder, forward and backward, {shape}"
    for name, ratio in ratios(seconds, "identity").items():
        table.add_row(name, f"{1e3 * statistics.median(seconds[name]):.2f}", f"{ratio:.3f}")
    return table


def projections_table(batch: int = 4096, size: int = 12, rounds: int = 20, calls: int = 3) -> Table:
    """Seconds of projection layers, forward and with the derivative, in those of the first."""
    raw, candidates, missing = projections.candidates(batch, size)
    columns = [
        side_by_side(
            {name: partial(run(one.layer), raw) for name, one in candidates.items()}, rounds, calls
        )
        for run in (jax.jit, projections.backward)
    ]
    heads = ("layer", "steps", "distance", "forward, ms", "ratio", "with derivative, ms", "ratio")
    table = Table(*heads, box=SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.title = f"Projections onto y >= 0, sum(y) <= total: {batch} x {size}, float32"
    reference = next(iter(candidates))
    for name, one in candidates.items():
        cells = [name, one.steps, f"{one.distance:.0e}"]
        for seconds in columns:
            median = statistics.median(seconds[name])
            cells += [f"{1e3 * median:.2f}", f"{ratios(seconds, reference)[name]:.2f}"]
        table.add_row(*cells)
    table.caption = "\n".join(f"{name}: missing, {reason}" for name, reason in missing.items())
    return table


def _shapes(text: str) -> tuple[Shape, ...]:
    return tuple(Shape(*map(int, shape.split("x"))) for shape in text.split(","))


def _measure_all(options: argparse.Namespace, console: Console) -> None:
    for name in options.stacks:
        choose("stack", name, STACKS)
    present = []
    for name in options.stacks:
        if missing := STACKS[name].missing():
            console.print(f"{name}: missing, for want of {', '.join(missing)} (extra `bench`)")
        else:
            present.append(name)
    rows: list[Row] = []
    for shape in options.shapes:
        rows += throughput(shape, present, options.rounds)
        console.print(throughput_table(rows[-len(present) - 2 :], shape))
    options.out.mkdir(parents=True, exist_ok=True)
    store.write_json(options.out / "throughput.json", rows)
    figures.save(figures.throughput(rows), options.out / "throughput.png")
    console.print(f"{options.out}: throughput.json, throughput.png")
    if not options.training_only:
        console.print(growth())
        console.print(overhead_table(constraint_overhead()))
        console.print(projections_table())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmark", description=__doc__)
    parser.add_argument(
        "--shapes",
        type=_shapes,
        default=SHAPES,
        help="hidden x steps x features x batch, comma-separated, such as 100x48x4x64",
    )
    parser.add_argument(
        "--stacks", type=names, default=tuple(STACKS), help=f"of {', '.join(STACKS)}"
    )
    parser.add_argument("--rounds", type=int, default=5, help="timings of each; default: 5")
    parser.add_argument("--out", type=Path, default=Path("results/benchmark"))
    parser.add_argument(
        "--training-only", action="store_true", help="leave out cells, constraints and projections"
    )
    options = parser.parse_args(arguments)
    try:
        _measure_all(options, report.make_console())
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    use_all_cores()
    sys.exit(main())
