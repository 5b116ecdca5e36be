"""Sequences a second that stacks train, side by side: measured, in a table and in a figure."""

import multiprocessing
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table

from experiments.benchmarks.stacks import SGEMM, STACKS, Shape, Stack, environment, serve
from experiments.figures.style import STYLE, panels, row_labels
from experiments.training.devices import cores, inherited

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
        self.built: list[dict] = []
        self.error: str | None = None
        self.peak_mb = 0.0
        self._calls = 1

    def wait(self, seconds: float | None = None) -> "Trainer":
        """Until it is built, but for so long at most; then `error` says why it is not."""
        ends = None if seconds is None else time.monotonic() + seconds
        for connection in self._connections:
            if connection.poll(ends and max(0, ends - time.monotonic())):
                with suppress(EOFError):
                    self.built.append(connection.recv())
                    continue
                self.built.append({"error": "it died"})
            else:
                self.built.append({"error": f"not ready after {seconds:.0f} s"})
        self.error = next((reply["error"] for reply in self.built if "error" in reply), None)
        if not self.error:
            try:
                self._calls = max(1, round(LEAST_SECONDS / self._seconds()))
            except (EOFError, OSError):
                self.error = "it died while it was timed"
        return self

    def rate(self) -> float:
        """Sequences a second, timed once."""
        sequences = sum(reply["sequences"] for reply in self.built)
        return sequences * self._calls / self._seconds()

    def close(self) -> None:
        for connection, process in zip(self._connections, self._processes, strict=True):
            if self.error:  # one that failed has left, or hangs
                process.kill()
            else:
                connection.send(0)
            process.join()

    def _seconds(self) -> float:
        started = time.perf_counter()
        for connection in self._connections:
            connection.send(self._calls)
        self.peak_mb = sum(connection.recv()["peak_mb"] for connection in self._connections)
        return time.perf_counter() - started


def measure(shape: Shape, stacks: Sequence[str], rounds: int) -> list[Row]:
    """A row a stack: sequences a second over rounds that time every stack in turn.

    Besides the stacks: `bounded` on one core, and the machine's own product of matrices.
    """
    every = cores()
    trainers = {name: Trainer(STACKS[name], shape, every).wait() for name in stacks}
    if "bounded" in stacks:
        trainers["bounded, 1 core"] = Trainer(STACKS["bounded"], shape, every[:1]).wait()
        trainers["sgemm"] = Trainer(SGEMM, shape, every).wait()
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


def make_table(rows: Sequence[Row], shape: Shape) -> Table:
    table = Table("stack", box=SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.title = f"Training, sequences a second: hidden x steps x features x batch = {shape}"
    for title in ("median", "lowest to highest", "bounded is faster by", "start", "memory"):
        table.add_column(title, justify="right")
    found = {row["stack"]: row for row in rows}
    for name, row in found.items():
        if name == "sgemm":
            continue
        if "error" in row:
            table.add_row(name, row["error"])
            continue
        low, high = row["spread"]
        ratio = row.get("times_slower_than_bounded")
        table.add_row(
            name,
            f"{row['sequences_per_second']:,.0f}",
            f"{low:,.0f} to {high:,.0f}",
            "" if ratio is None else f"{ratio:.2f}",
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


def draw(rows: Sequence[Row]) -> Figure:
    """Training throughput by stack, a panel a shape; whiskers from the lowest to the highest."""
    shown = [row for row in rows if "spread" in row and row["stack"] != "sgemm"]
    of_shape: dict[Shape, list[Row]] = {}
    for row in shown:
        of_shape.setdefault(Shape(*(row[key] for key in Shape._fields)), []).append(row)
    stacks = list(dict.fromkeys(row["stack"] for row in shown))
    with matplotlib.rc_context(STYLE):
        size = (4.4, 0.24 * len(stacks))
        figure, grid = panels(len(of_shape), 1, size, left=1.9, gap=(0.2, 0.6))
        for axes, (shape, found) in zip(grid, of_shape.items(), strict=True):
            for row in found:
                place, rate = stacks.index(row["stack"]), row["sequences_per_second"]
                low, high = row["spread"]
                color = "#0072B2" if row["stack"].startswith("bounded") else "#999999"
                axes.barh(place, rate, color=color, height=0.7)
                axes.plot([low, high], [place, place], color="black", linewidth=1)
                axes.text(high, place, f" {rate:,.0f}", va="center", fontsize=8)
            hidden, steps, features, batch = shape
            axes.set_title(f"{hidden} hidden, {steps} steps × {features}, batch {batch}")
            row_labels(axes, stacks)
            axes.set_xlim(0, 1.25 * axes.get_xlim()[1])
            axes.grid(axis="y", visible=False)
        figure.supxlabel("Sequences trained a second (median; line: lowest to highest)")
    return figure
