"""Speed, as ratios side by side in one run: `python -m experiments.benchmark`.

Machines are shared and noisy, so that every round times every candidate in turn, and a ratio is
the median over rounds of the ratio within a round.
"""

import inspect
import statistics
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from rich.console import Console
from rich.table import Table

from bounded import constraints
from bounded.autoencoder import LSTMAutoencoder

# The original question's model and windows.
HIDDEN, STEPS, BATCH = 150, 24, 32


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
    hidden: int = HIDDEN, steps: int = STEPS, batch: int = BATCH, rounds: int = 30, calls: int = 10
) -> dict[str, list[float]]:
    """Seconds of the autoencoder's forward and backward pass, by constraint."""
    inputs = jax.random.uniform(jax.random.key(0), (batch, steps, 1))
    return side_by_side(
        {
            name: _loss_and_gradient(getattr(constraints, name), hidden, inputs)
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
    model = LSTMAutoencoder(1, 1, hidden, constraint, rngs=nnx.Rngs(0))
    graph, parameters = nnx.split(model)
    sides = ("lower", "upper") if "interval" in constraint.__name__ else ("upper",)
    bounds = {"lower": jnp.zeros_like(inputs), "upper": inputs}
    bounds = {side: bounds[side] for side in sides}

    def loss(parameters: nnx.State, inputs: jax.Array, bounds: dict) -> jax.Array:
        output = nnx.merge(graph, parameters)(inputs, **bounds)
        return jnp.mean((output - 0.8 * inputs) ** 2)

    step = jax.jit(jax.value_and_grad(loss))
    return lambda: step(parameters, inputs, bounds)


def main() -> int:
    console = Console(width=None if sys.stdout.isatty() else 120)
    device = jax.local_devices()[0].device_kind
    seconds = constraint_overhead()
    table = Table("constraint", "ms", "ratio to identity", title_justify="left")
    table.title = (
        f"LSTMAutoencoder, forward and backward, {HIDDEN} hidden units, {STEPS} steps, "
        f"batch {BATCH}, float32, {device}"
    )
    for name, ratio in ratios(seconds, "identity").items():
        table.add_row(name, f"{1e3 * statistics.median(seconds[name]):.2f}", f"{ratio:.3f}")
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
