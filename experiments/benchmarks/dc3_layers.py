"""The projection at the size of DC3's quadratic programs, for `experiments.benchmark`: 100 outputs,
50 equalities whose right side is the input, 50 inequalities; beside OSQP, one set after the other.

In float64, both with no row off by more than 1e-6 at unit norm.
"""

import statistics
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from scipy import sparse

from bounded.sets import Rows, affine_projection
from experiments.benchmarks.side_by_side import ratios, side_by_side

RESIDUAL = 1e-6
SIZE, EQUALITIES, INEQUALITIES = 100, 50, 50


def problem(batch: int) -> tuple[np.ndarray, Rows]:
    """raw, (batch, SIZE), and sets that are never empty, of one matrix with rows of unit norm.

    As DC3 has them (Donti et al., 2021): `A y = x` and `G y <= sum(|G A⁺|)`, x in [-1, 1].
    """
    draw = np.random.default_rng(17)
    equal, other = draw.normal(size=(EQUALITIES, SIZE)), draw.normal(size=(INEQUALITIES, SIZE))
    x = draw.uniform(-1, 1, (batch, EQUALITIES))
    most = np.abs(other @ np.linalg.pinv(equal)).sum(-1)
    most = np.broadcast_to(most, (batch, INEQUALITIES))
    matrix = np.concatenate([equal, other])
    norm = np.linalg.norm(matrix, axis=-1)
    upper = np.concatenate([x, most], axis=-1) / norm
    lower = np.concatenate([x, np.full_like(most, -np.inf)], axis=-1) / norm
    raw = draw.normal(size=(batch, SIZE))
    return raw, Rows(matrix / norm[:, None], lower, upper)


def residual(output: np.ndarray, rows: Rows) -> float:
    """By how much a row is off, at most."""
    place = output @ np.asarray(rows.matrix).T
    return float(np.max(np.maximum(place - rows.upper, rows.lower - place)))


def osqp_in_a_loop(raw: np.ndarray, rows: Rows, tolerance: float) -> Callable[[], np.ndarray]:
    """The matrix is factorised once; every set begins anew."""
    import osqp

    solver = osqp.OSQP()
    solver.setup(
        sparse.eye(SIZE, format="csc"),
        -raw[0],
        sparse.csc_matrix(rows.matrix),
        rows.lower[0],
        rows.upper[0],
        eps_abs=tolerance,
        eps_rel=tolerance,
        max_iter=100_000,
        verbose=False,
        warm_starting=False,
    )

    def solve() -> np.ndarray:
        found = []
        for z, lower, upper in zip(raw, rows.lower, rows.upper, strict=True):
            solver.update(q=-z, l=lower, u=upper)
            found.append(solver.solve().x)
        return np.stack(found)

    return solve


def good_enough_osqp(raw: np.ndarray, rows: Rows) -> Callable[[], np.ndarray]:
    """With the largest tolerance that will do."""
    for tolerance in 10.0 ** np.arange(-5, -11, -1):
        solve = osqp_in_a_loop(raw, rows, tolerance)
        if residual(solve(), rows) <= RESIDUAL:
            return solve
    raise ArithmeticError(f"no tolerance brings OSQP within {RESIDUAL}")


def measure(batch: int, rounds: int, calls: int) -> list[tuple[str, ...]]:
    """A line of the table for each layer, with the derivative where it has one."""
    with jax.enable_x64(True):
        raw, rows = problem(batch)
        on_device = jnp.asarray(raw)
        rows_on_device = Rows(*map(jnp.asarray, rows))
        layer = partial(affine_projection, rows=rows_on_device)
        pull_back = jax.jit(lambda z: jax.vjp(layer, z)[1](jnp.ones_like(z))[0])
        forward = {"affine_projection": partial(jax.jit(layer), on_device)}
        if find_spec("osqp") is not None:
            forward["OSQP in a loop"] = good_enough_osqp(raw, rows)
        off = {name: residual(np.asarray(call()), rows) for name, call in forward.items()}
        seconds = side_by_side(forward, rounds, calls)
        slopes = side_by_side({"affine_projection": partial(pull_back, on_device)}, rounds, calls)
    as_ratio = ratios(seconds, "affine_projection")
    return [
        (
            str(batch),
            name,
            f"{max(off[name], 0):.0e}",
            f"{1e3 * statistics.median(seconds[name]):.2f}",
            f"{as_ratio[name]:.2f}",
            f"{1e3 * statistics.median(slopes[name]):.2f}" if name in slopes else "none",
        )
        for name in forward
    ]


def make_table(batches: tuple[int, ...] = (1, 1024), rounds: int = 10, calls: int = 1) -> Table:
    heads = ("batch", "layer", "off", "forward, ms", "ratio", "with derivative, ms")
    table = Table(*heads, box=SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.title = (
        f"{SIZE} outputs, {EQUALITIES} equalities and {INEQUALITIES} inequalities, float64"
    )
    for batch in batches:
        for line in measure(batch, rounds, calls):
            table.add_row(*line)
    if find_spec("osqp") is None:
        table.caption = "OSQP in a loop: missing, no module osqp; pip install osqp"
    return table
