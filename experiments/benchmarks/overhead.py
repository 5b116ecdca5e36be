"""What a constraint adds to a model's step, and what a further cell adds to a sweep."""

import inspect
import statistics
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from rich.box import SIMPLE_HEAD
from rich.table import Table

from bounded import constraints
from bounded.autoencoder import LSTMAutoencoder
from experiments.benchmarks.side_by_side import ratios, side_by_side
from experiments.benchmarks.stacks import SHAPES, SHARE, Shape
from experiments.data.datasets import load
from experiments.training.cell import Settings
from experiments.training.runner import Run, Runner
from experiments.training.strategies import TRAINED


def constraint_overhead(
    shape: Shape = SHAPES[0], rounds: int = 30, calls: int = 10
) -> dict[str, list[float]]:
    """Seconds of the autoencoder's forward and backward pass, by constraint; `identity` first."""
    inputs = jax.random.uniform(jax.random.key(0), (shape.batch, shape.steps, shape.features))
    functions = inspect.getmembers(constraints, inspect.isfunction)
    candidates = {
        name: _loss_and_gradient(function, shape.hidden, inputs)
        for name, function in sorted(functions, key=lambda pair: pair[0] != "identity")
        if not name.startswith("_") and "raw" in inspect.signature(function).parameters
    }
    return side_by_side(candidates, rounds, calls)


def _loss_and_gradient(
    constraint: Callable[..., jax.Array], hidden: int, inputs: jax.Array
) -> Callable[[], jax.Array]:
    features = inputs.shape[-1]
    model = LSTMAutoencoder(features, features, hidden, constraint, rngs=nnx.Rngs(0))
    graph, parameters = nnx.split(model)
    bounds = {"upper": inputs}
    if "interval" in constraint.__name__:
        bounds["lower"] = jnp.zeros_like(inputs)

    def loss(parameters: nnx.State, inputs: jax.Array, bounds: dict) -> jax.Array:
        output = nnx.merge(graph, parameters)(inputs, **bounds)
        return jnp.mean((output - SHARE * inputs) ** 2)

    step = jax.jit(jax.value_and_grad(loss))
    return lambda: step(parameters, inputs, bounds)


def constraint_table(seconds: dict[str, list[float]], shape: Shape = SHAPES[0]) -> Table:
    table = Table("constraint", "ms", "ratio to identity", box=SIMPLE_HEAD, title_justify="left")
    table.title = f"What a constraint adds: LSTMAutoencoder, forward and backward, {shape}"
    for name, ratio in ratios(seconds, "identity").items():
        table.add_row(name, f"{1e3 * statistics.median(seconds[name]):.2f}", f"{ratio:.3f}")
    return table


def cell_table(counts: Sequence[int] = (1, 4, 16, 64)) -> Table:
    """Seconds of a sweep's cells of one dataset, compilation apart, by their number."""
    settings = Settings(hidden=32, epochs=5)
    rows = [TRAINED["clip"]]
    runner = Runner(load("irradiance"), "bottleneck", settings, rows, cells=max(counts))
    cells = [Run("clip", {}, 3e-3, seed) for seed in range(max(counts))]
    runner.run(cells[: runner.batch])
    table = Table("cells", "seconds", "seconds a cell", box=SIMPLE_HEAD, title_justify="left")
    table.title = (
        f"Cells of one dataset on {runner.batch} at a time, compiled once in "
        f"{runner.compile_seconds:.1f} s"
    )
    for count in counts:
        started = time.perf_counter()
        runner.run(cells[:count])
        seconds = time.perf_counter() - started
        table.add_row(str(count), f"{seconds:.2f}", f"{seconds / count:.3f}")
    return table
