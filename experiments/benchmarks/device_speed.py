"""Cells a minute on a device, and where a step goes: for `experiments.benchmarks.device`.

A cell is 60 epochs of 16 updates on 32 windows of 24 steps and one feature. Every count of cells
side by side, and every other stack, is a process of its own, and they are timed in turn.
"""

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from bounded.constraints import clip
from experiments.benchmarks import torch_vmap
from experiments.benchmarks.side_by_side import side_by_side
from experiments.benchmarks.stacks import (
    SHARE,
    UPDATES,
    Built,
    Shape,
    Stack,
    bounded,
    dataset,
    torch_lstm,
)
from experiments.benchmarks.throughput import Trainer, operations
from experiments.training.cell import Settings
from experiments.training.devices import cores
from experiments.training.networks import network

EPOCHS = Settings.epochs  # of a cell
STEPS, FEATURES, BATCH = 24, 1, 32
BUILDING = 0.6  # of the time, at most, until all are built
FIRST = "bounded x 1"  # what others are ratios to
Row = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    hidden: tuple[int, ...] = (32, 64, 150)
    cells: tuple[int, ...] = (1, 32, 256, 1024, 4096)  # side by side
    stacked: tuple[int, ...] = (32, 1024)  # models side by side in PyTorch
    product: int = 8192  # rows and columns of the factors of one large product
    rounds: int = 3
    batches: tuple[int, ...] = (1_000, 10_000, 100_000)  # of projection layers
    preset: str = "default"  # of the sweep that is compared
    epochs: int = 50  # of its
    tests: tuple[str, ...] = ("tests/bounded",)


def product(shape: Shape, size: int, dtype: str) -> Built:
    """One large product of float32, as fast as the device has it: a sequence is 10⁹ operations."""
    one, other = jnp.asarray(np.random.default_rng(0).uniform(size=(2, size, size)), jnp.float32)
    with jax.default_matmul_precision(dtype):
        multiply = jax.jit(jnp.matmul).lower(one, other).compile()

    def train(calls: int) -> None:
        jax.block_until_ready([multiply(one, other) for _ in range(calls)][-1])

    return train, 2 * size**3 / 1e9


def stacks(scale: Scale, backend: str) -> dict[str, Stack]:
    """Those that are timed in the first rounds, in float32."""
    device = "cuda" if backend == "gpu" else "cpu"
    one_model = "torch, cuDNN" if device == "cuda" else "torch"
    return {
        **{f"bounded x {count}": _bounded(count) for count in scale.cells},
        one_model: Stack(partial(torch_lstm, device=device), ("torch",)),
        **{
            f"torch.func.vmap x {count}": Stack(
                partial(torch_vmap.build, cells=count, device=device), ("torch",)
            )
            for count in scale.stacked
        },
        "product": Stack(partial(product, size=scale.product, dtype="float32"), ()),
    }


def _bounded(count: int, dtype: str = "float32") -> Stack:
    return Stack(partial(bounded, cells=count, dtype=dtype), (), dtype=dtype)


def measure(hidden: int, scale: Scale, backend: str, seconds: float) -> list[Row]:
    """A row a stack; those of TensorFloat-32 are timed beside the fastest count of float32."""
    shape, started = Shape(hidden, STEPS, FEATURES, BATCH), time.monotonic()
    ends = started + seconds
    rows = _in_turn(shape, stacks(scale, backend), scale.rounds, started + 0.7 * seconds)
    if (count := best(rows, hidden)) is None or backend == "cpu":  # which has no TensorFloat-32
        return rows
    again = {
        f"bounded x {count}": _bounded(count),
        f"bounded x {count}, tensorfloat32": _bounded(count, "tensorfloat32"),
        "product, tensorfloat32": Stack(
            partial(product, size=scale.product, dtype="tensorfloat32"), (), dtype="tensorfloat32"
        ),
    }
    return rows + _in_turn(shape, again, scale.rounds, ends)[1:]


def _in_turn(shape: Shape, given: dict[str, Stack], rounds: int, ends: float) -> list[Row]:
    started, every = time.monotonic(), cores()
    missing = {name: stack.missing() for name, stack in given.items()}
    trainers = {
        name: Trainer(stack, shape, every) for name, stack in given.items() if not missing[name]
    }
    built = started + BUILDING * (ends - started)
    for trainer in trainers.values():
        trainer.wait(max(0.0, built - time.monotonic()))
    rates: dict[str, list[float]] = {
        name: [] for name, trainer in trainers.items() if not trainer.error
    }
    for index in range(rounds):
        if index and time.monotonic() > ends:
            break
        for name in list(rates):
            try:
                rates[name].append(trainers[name].rate())
            except (EOFError, OSError):
                trainers[name].error = "it died while it was timed"
                del rates[name]
    for trainer in trainers.values():
        trainer.close()
    rows = []
    for name, stack in given.items():
        row = {"stack": name, "hidden": shape.hidden, "dtype": stack.dtype}
        if missing[name]:
            row["error"] = f"missing, for want of {', '.join(missing[name])} (extra bench)"
        elif name not in rates:
            row["error"] = trainers[name].error
        else:
            row |= {"rates": rates[name]} | trainers[name].built[0]
        rows.append(row)
    return with_numbers(rows, shape)


def with_numbers(rows: Sequence[Row], shape: Shape) -> list[Row]:
    """What follows from sequences a second: of a product, 10⁹ operations."""
    rates = {row["stack"]: row["rates"] for row in rows if "rates" in row}
    peaks = {
        row["dtype"]: statistics.median(row["rates"])
        for row in rows
        if row["stack"].startswith("product") and "rates" in row
    }
    first = rates.get(FIRST) or next(iter(rates.values()), None)
    found = []
    for row in rows:
        if "rates" not in row or row["stack"].startswith("product"):
            found.append(row)
            continue
        a_cell = EPOCHS * UPDATES * shape.batch
        rate = statistics.median(row["rates"])
        row = row | {
            "side_by_side": row["sequences"] // (UPDATES * shape.batch),
            "cells_per_minute": 60 * rate / a_cell,
            "spread": [60 * of(row["rates"]) / a_cell for of in (min, max)],
            "ratio": statistics.median(
                one / other for one, other in zip(row["rates"], first, strict=True)
            ),
        }
        if peak := peaks.get(row["dtype"]):
            row["share_of_peak"] = rate * operations(shape) / (1e9 * peak)
        found.append(row)
    return found


def best(rows: Iterable[Row], hidden: int) -> int | None:
    """How many cells side by side were the fastest in float32."""
    found = [
        (row["cells_per_minute"], row["side_by_side"])
        for row in rows
        if row["hidden"] == hidden
        and row["stack"].startswith("bounded")
        and row["dtype"] == "float32"
        and "cells_per_minute" in row
    ]
    return max(found)[1] if found else None


def make_table(rows: Sequence[Row]) -> Table:
    table = Table("stack", box=SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.title = f"Cells a minute, {rows[0]['hidden']} hidden units"
    for title in ("cells/min", "lowest, highest", "ratio", "of peak", "start"):
        table.add_column(title, justify="right")
    lines = []
    for row in rows:
        if "error" in row:
            lines.append(f"{row['stack']}: {row['error']}")
        elif "cells_per_minute" in row:
            low, high = row["spread"]
            share = row.get("share_of_peak")
            table.add_row(
                row["stack"],
                f"{row['cells_per_minute']:,.1f}",
                f"{low:,.1f}, {high:,.1f}",
                f"{row['ratio']:,.2f}",
                "" if share is None else f"{100 * share:.2f} %",
                f"{row['build_seconds']:.0f} s",
            )
            asked = int(row["stack"].partition(" x ")[2].partition(",")[0] or 1)
            if asked != row["side_by_side"]:
                lines.append(f"{row['stack']}: {row['side_by_side']} side by side.")
        else:
            peak = statistics.median(row["rates"]) / 1e3
            lines.append(f"One large product in {row['dtype']}: {peak:,.2f} TFLOP/s.")
    table.caption = "\n".join(lines)
    return table


def profiled(hidden: int, cells: int, rounds: int, folder: Path) -> Row:
    """Seconds of a unit's parts, of one device's cells, and a trace of a unit in the folder."""
    shape = Shape(hidden, STEPS, FEATURES, BATCH)
    train, sequences = bounded(shape, cells=cells)
    train(1)
    with jax.profiler.trace(str(folder)):
        train(1)
    side = sequences // (UPDATES * shape.batch)
    each = max(1, side // jax.local_device_count())
    candidates = {**parts(shape, each), "whole": partial(train, 1)}
    seconds = {
        name: statistics.median(of) for name, of in side_by_side(candidates, rounds, 1).items()
    }
    return {"hidden": hidden, "side_by_side": side, "of_a_device": each, "seconds": seconds}


def parts(shape: Shape, each: int) -> Row:
    """A unit's forward passes, and these with the derivatives, of so many cells side by side."""
    train = dataset(shape).part("train")
    found = network("bottleneck", shape.hidden, "float32", train)
    batches = jax.tree.map(lambda of: of.reshape(UPDATES, shape.batch, *of.shape[1:]), train)

    def loss(parameters: Any, part: Any) -> jax.Array:
        output = clip(found.raw(parameters, part), upper=part["upper"])
        return jnp.mean((output - SHARE * part["inputs"]) ** 2)

    def unit(function: Any, parameters: Any) -> Any:
        """Summed, so that nothing is left out."""

        def update(total: Any, part: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, function(parameters, part)), None

        like = jax.eval_shape(function, parameters, jax.tree.map(lambda of: of[0], batches))
        start = jax.tree.map(lambda of: jnp.zeros(of.shape, of.dtype), like)
        return jax.lax.scan(update, start, batches)[0]

    keys = jax.random.split(jax.random.key(0), each)
    parameters = jax.vmap(lambda key: found.initial(key, jnp.zeros(shape.features)))(keys)
    ready = {}
    for name, function in {"forward": loss, "derivative": jax.grad(loss)}.items():
        with jax.default_matmul_precision("float32"):
            mapped = jax.jit(jax.vmap(partial(unit, function))).lower(parameters).compile()
        ready[name] = partial(mapped, parameters)
    return ready


def profile_table(found: Row) -> Table:
    table = Table("part of an update", box=SIMPLE_HEAD, title_justify="left")
    for title in ("ms", "share"):
        table.add_column(title, justify="right")
    table.title = (
        f"Where an update goes, {found['hidden']} hidden units, {found['side_by_side']} cells"
    )
    forward, derivative, whole = (
        found["seconds"][name] / UPDATES for name in ("forward", "derivative", "whole")
    )
    rows = {
        "forward": forward,
        "backward": derivative - forward,
        "optimizer, batches, a look at validation": whole - derivative,
        "whole": whole,
    }
    for name, seconds in rows.items():
        table.add_row(name, f"{1e3 * seconds:.2f}", f"{100 * seconds / whole:.0f} %")
    return table
