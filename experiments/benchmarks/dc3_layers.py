"""Projections at the size of DC3's quadratic programs, for `experiments.benchmark`: 100 outputs,
50 equalities whose right side is the input, 50 inequalities. And how their time grows.

In float64, each with the loosest setting that leaves no row off by more than 1e-6 at unit norm and
no derivative to raw by more than 1e-3.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table
from scipy import sparse

from bounded.sets import Rows, affine_projection
from experiments.benchmarks.projection_layers import INSTALL_PINET, cotangent
from experiments.benchmarks.side_by_side import ratios, side_by_side
from experiments.figures.style import STYLE

RESIDUAL = 1e-6
SLOPE_TOLERANCE = 1e-3  # of derivatives of the order of 1
SIZE = 100  # outputs; half as many equalities, and half as many inequalities
SIZES, BATCHES = (10, 20, 50, SIZE), (1, 8, 64, 1024)
MIDDLE = 64  # sets at a time, where the number of outputs grows
COLORS = ("#0072B2", "#D55E00", "#009E73", "#7A4E9E")
INSTALL = {
    "pinet": INSTALL_PINET,
    "qpax": "pip install --no-deps qpax",
    "osqp": "pip install osqp",
}

Layer = Callable[[Any], Any]  # raw to output
Row = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """Forward and, where there is one, the derivative to raw for `cotangent`."""

    forward: Layer
    backward: Layer | None = None
    setting: str = "exact"


def problem(batch: int, size: int = SIZE) -> tuple[np.ndarray, Rows]:
    """raw, (batch, size), and sets that are never empty, of one matrix with rows of unit norm.

    As DC3 has them (Donti et al., 2021): `A y = x` and `G y <= sum(|G A⁺|)`, x in [-1, 1].
    """
    draw = np.random.default_rng(17)
    equal, other = draw.normal(size=(2, size // 2, size))
    x = draw.uniform(-1, 1, (batch, len(equal)))
    most = np.abs(other @ np.linalg.pinv(equal)).sum(-1)
    most = np.broadcast_to(most, x.shape)
    matrix = np.concatenate([equal, other])
    norm = np.linalg.norm(matrix, axis=-1)
    upper = np.concatenate([x, most], axis=-1) / norm
    lower = np.concatenate([x, np.full_like(most, -np.inf)], axis=-1) / norm
    raw = draw.normal(size=(batch, size))
    return raw, Rows(matrix / norm[:, None], lower, upper)


def residual(output: np.ndarray, rows: Rows) -> float:
    """By how much a row is off, at most."""
    place = output @ np.asarray(rows.matrix).T
    return float(np.max(np.maximum(place - rows.upper, rows.lower - place)))


def differentiated(layer: Layer) -> Layer:
    return jax.jit(lambda raw: jax.vjp(layer, raw)[1](jnp.asarray(cotangent(raw), raw.dtype))[0])


def ours(rows: Rows) -> Candidate:
    layer = jax.jit(partial(affine_projection, rows=Rows(*map(jnp.asarray, rows))))
    return Candidate(layer, differentiated(layer))


def halves(rows: Rows) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """A, x, G and the most of `problem`."""
    matrices, bounds = jnp.split(jnp.asarray(rows.matrix), 2), jnp.split(rows.upper, 2, axis=-1)
    return matrices[0], bounds[0], matrices[1], bounds[1]


def pinet(rows: Rows, steps: int, backward_steps: int) -> Layer:
    """Π-net (Grontas et al., 2025), the bounds constants of the layer, as there they must be."""
    import pinet as theirs

    equal, x, other, most = halves(rows)
    equalities = theirs.EqualityConstraint(a_mat=equal[None], b=x[..., None], method=None)
    infinite = jnp.full((1, len(other), 1), -jnp.inf)
    inequalities = theirs.AffineInequalityConstraint(
        c_mat=other[None], lb=infinite, ub=most[:1, :, None]
    )
    call = theirs.Project(eq_constraint=equalities, ineq_constraint=inequalities).call

    @jax.jit
    def layer(raw: jax.Array) -> jax.Array:
        instance = theirs.ProjectionInstance(x=raw[..., None])
        projected: jax.Array = call(y_raw=instance, n_iter=steps, n_iter_bwd=backward_steps)[0].x
        return projected[..., 0]

    return layer


def qpax(rows: Rows, tolerance: float) -> Layer:
    """An interior-point method (Tracy and Manchester, 2024), `vmap` of one set."""
    import qpax as theirs

    equal, x, other, most = halves(rows)

    def one(raw: jax.Array, x: jax.Array, most: jax.Array) -> jax.Array:
        problem = jnp.eye(raw.size), -raw, equal, x, other, most
        solved: jax.Array = theirs.solve_qp_primal(
            *problem, solver_tol=tolerance, target_kappa=tolerance
        )
        return solved

    return jax.jit(lambda raw: jax.vmap(one)(raw, x, most))


def osqp(rows: Rows, tolerance: float) -> Layer:
    """OSQP (Stellato et al., 2020), one set after the other: the matrix is factorised once, every
    set begins anew."""
    import osqp as theirs

    solver, size = theirs.OSQP(), rows.matrix.shape[-1]
    solver.setup(
        sparse.eye(size, format="csc"),
        np.zeros(size),
        sparse.csc_matrix(rows.matrix),
        rows.lower[0],
        rows.upper[0],
        eps_abs=tolerance,
        eps_rel=tolerance,
        max_iter=100_000,
        verbose=False,
        warm_starting=False,
    )

    def solve(raw: np.ndarray) -> np.ndarray:
        found = []
        for z, lower, upper in zip(np.asarray(raw), rows.lower, rows.upper, strict=True):
            solver.update(q=-z, l=lower, u=upper)
            found.append(solver.solve(raise_error=True).x)
        return np.stack(found)

    return solve


def loosest(
    settings: Sequence[Any],
    build: Callable[[Any], Layer],
    off: Callable[[Layer], float],
    most: float,
) -> Any:
    """The first setting, from loose to tight, whose layer is off by no more than that."""
    for setting in settings:
        if off(build(setting)) <= most:
            return setting
    raise ArithmeticError(f"not within {most} at {settings[-1]}")


def candidates(raw: np.ndarray, rows: Rows) -> tuple[dict[str, Candidate], dict[str, str]]:
    """Those that are installed and come near enough; and why the others are left out."""
    exact = ours(rows)
    slope = np.asarray(exact.backward(raw))

    def off(layer: Layer) -> float:
        return residual(np.asarray(layer(raw)), rows)

    def slope_off(layer: Layer) -> float:
        return float(np.max(np.abs(differentiated(layer)(jnp.asarray(raw)) - slope)))

    def by_pinet() -> Candidate:
        counts = [2**power for power in range(4, 14)]
        steps = loosest(counts, lambda count: pinet(rows, count, 1), off, RESIDUAL)
        build = partial(pinet, rows, steps)
        backward_steps = loosest(counts, build, slope_off, SLOPE_TOLERANCE)
        layer = build(backward_steps)
        return Candidate(layer, differentiated(layer), f"{steps} and {backward_steps} steps")

    def by_qpax() -> Candidate:
        if len(raw) > MIDDLE:
            raise ArithmeticError(f"left out beyond {MIDDLE} sets, where a call takes minutes")
        small = 10.0 ** np.arange(-3, -11, -1)
        forward = loosest(small, partial(qpax, rows), off, RESIDUAL)
        backward = loosest(small, partial(qpax, rows), slope_off, SLOPE_TOLERANCE)
        text = f"tolerances {forward:.0e} and {backward:.0e}"
        return Candidate(qpax(rows, forward), differentiated(qpax(rows, backward)), text)

    def by_osqp() -> Candidate:
        small = 10.0 ** np.arange(-5, -11, -1)
        tolerance = loosest(small, partial(osqp, rows), off, RESIDUAL)
        return Candidate(osqp(rows, tolerance), setting=f"tolerance {tolerance:.0e}")

    found, missing = {"affine_projection": exact}, {}
    others = {"Π-net": by_pinet, "qpax, vmap": by_qpax, "OSQP in a loop": by_osqp}
    for (name, build), (module, install) in zip(others.items(), INSTALL.items(), strict=True):
        if find_spec(module) is None:
            missing[name] = f"no module {module}; {install}"
            continue
        try:
            found[name] = build()
        except ArithmeticError as error:
            missing[name] = str(error)
    return found, missing


def measure(batch: int, size: int = SIZE, rounds: int = 10) -> list[Row]:
    """A row a layer: how far it is off, seconds forward and with the derivative, and their ratios
    to the first's."""
    with jax.enable_x64(True):
        raw, rows = problem(batch, size)
        found, missing = candidates(raw, rows)
        on_device = jnp.asarray(raw)
        lines: dict[str, Row] = {
            name: {"layer": name, "batch": batch, "size": size, "setting": one.setting}
            | {"off": max(residual(np.asarray(one.forward(on_device)), rows), 0)}
            for name, one in found.items()
        }
        forward = {name: one.forward for name, one in found.items()}
        backward = {name: one.backward for name, one in found.items() if one.backward}
        for part, layers in {"forward": forward, "derivative": backward}.items():
            ready = {name: partial(layer, on_device) for name, layer in layers.items()}
            seconds = side_by_side(ready, rounds, calls=1)
            ratio = ratios(seconds, "affine_projection")
            for name in layers:
                median = statistics.median(seconds[name])
                lines[name] |= {part: median, f"{part}_ratio": ratio[name]}
    return [*lines.values(), *({"layer": name, "missing": why} for name, why in missing.items())]


def measure_all(rounds: int = 10) -> list[Row]:
    """As the number of outputs grows, and that of sets."""
    places = [(MIDDLE, size) for size in SIZES] + [(batch, SIZE) for batch in BATCHES]
    return [row for place in dict.fromkeys(places) for row in measure(*place, rounds)]


def make_table(rows: Sequence[Row]) -> Table:
    """What `measure_all` gives of the sets of full size."""
    heads = ("batch", "layer", "setting", "off", "forward, ms", "ratio", "derivative, ms", "ratio")
    table = Table(*heads, box=SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.title = (
        f"{SIZE} outputs, {SIZE // 2} equalities and {SIZE // 2} inequalities, float64; "
        "derivative: with the way forward"
    )
    for row in rows:
        if row.get("size") != SIZE:
            continue
        cells = [str(row["batch"]), row["layer"], row["setting"], f"{row['off']:.0e}"]
        for part in ("forward", "derivative"):
            known = part in row
            cells.append(f"{1e3 * row[part]:.2f}" if known else "none")
            cells.append(f"{row[f'{part}_ratio']:.2f}" if known else "")
        table.add_row(*cells)
    missing = {row["layer"]: row["missing"] for row in rows if "missing" in row}
    table.caption = "\n".join(f"{name}: missing, {why}" for name, why in missing.items())
    return table


def draw(rows: Sequence[Row]) -> Figure:
    """Forward milliseconds a set: against the number of outputs, and of sets at a time."""
    shown = [row for row in rows if "forward" in row]
    layers = list(dict.fromkeys(row["layer"] for row in shown))
    sides = (("size", "batch", MIDDLE), ("batch", "size", SIZE))
    with matplotlib.rc_context(STYLE):
        figure, pair = plt.subplots(1, 2, figsize=(7.2, 3.0), sharey=True, layout="constrained")
        for axes, (by, fixed, at) in zip(pair, sides, strict=True):
            for layer, color in zip(layers, COLORS, strict=False):
                points = sorted(
                    (row[by], 1e3 * row["forward"] / row["batch"])
                    for row in shown
                    if row["layer"] == layer and row[fixed] == at
                )
                axes.plot(*zip(*points, strict=True), "o-", color=color, label=layer)
            axes.set(xscale="log", yscale="log")
            values = sorted({row[by] for row in shown if row[fixed] == at})
            axes.set_xticks(values, [f"{value:,}" for value in values])
            axes.minorticks_off()
            axes.yaxis.set_major_formatter("{x:g}")
        pair[0].set(
            xlabel=f"Outputs of a set, {MIDDLE} sets at a time", ylabel="Milliseconds a set"
        )
        pair[1].set_xlabel(f"Sets at a time, {SIZE} outputs each")
        figure.suptitle("Projection layers: milliseconds a set, forward", fontweight="bold")
        figure.legend(*pair[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
