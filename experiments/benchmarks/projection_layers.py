"""Projection layers side by side, for `experiments.benchmark`: `y >= 0` and `sum(y) <= total`.

Forward, and forward and backward to raw, in float32. Those that iterate take as few steps as their
output and their derivative need to come within tolerances of the exact ones: 1, 2, 4, ….
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from bounded import sets
from experiments.benchmarks.side_by_side import ratios, side_by_side

TOLERANCE = 1e-4  # of outputs, which are of the order of 1
SLOPE_TOLERANCE = 1e-3  # of derivatives, of that order too: Π-net's stop short of 1e-4 in float32
MOST_STEPS = 4096
INSTALL_PINET = "pip install --no-deps pinet-hcnn beartype jaxtyping equinox"

Layer = Callable[[jax.Array], jax.Array]
Row = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A layer that is near enough, and what it took."""

    layer: Layer
    steps: str  # "exact", or how many forward and backward
    distance: float  # from the exact output, at most


class Exact(NamedTuple):
    output: np.ndarray
    derivative: np.ndarray  # to raw, for `cotangent`
    margin: np.ndarray  # by how much a set's bounds are active or not, at least


def exact(raw: np.ndarray, total: np.ndarray) -> Exact:
    """The projection by sorting, in float64.

    Args:
      raw: (batch, n).
      total: (batch,), positive.
    """
    raw, total = raw.astype(float), total.astype(float)
    falling = -np.sort(-raw)
    shares = (np.cumsum(falling, -1) - total[:, None]) / np.arange(1, raw.shape[-1] + 1)
    last = np.sum(falling > shares, -1, keepdims=True) - 1
    shift = np.maximum(np.take_along_axis(shares, last, -1), 0)
    positive = raw > shift
    mean = np.sum(cotangent(raw) * positive, -1) / np.maximum(np.sum(positive, -1), 1)
    derivative = positive * (cotangent(raw) - np.where(shift > 0, mean[:, None], 0))
    over = np.sum(np.maximum(raw, 0), -1) - total
    margin = np.minimum(np.min(np.abs(raw - shift), -1), np.abs(over))
    return Exact(np.maximum(raw - shift, 0), derivative, margin)


def cotangent(raw: jax.Array | np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.linspace(-1, 1, raw.shape[-1], dtype=np.float32), raw.shape)


def backward(layer: Layer) -> Layer:
    """The derivative to raw for a fixed cotangent, through the forward pass."""
    return jax.jit(lambda raw: jax.vjp(layer, raw)[1](jnp.asarray(cotangent(raw)))[0])


def dykstra(raw: jax.Array, total: jax.Array, steps: int) -> jax.Array:
    """Of one set, with as many steps for all and the derivative through them: the naive way."""

    def step(carry: tuple, _: None) -> tuple:
        output, low, high = carry
        above = jax.nn.relu(output + low)
        low, given = output + low - above, above + high
        output = given - jax.nn.relu(jnp.sum(given) - total) / given.size
        return (output, low, given - output), None

    start = (raw, jnp.zeros_like(raw), jnp.zeros_like(raw))
    return jax.lax.scan(step, start, None, steps)[0][0]


def pinet(total: jax.Array, size: int) -> Callable[[int, int, jax.Array], jax.Array]:
    """Π-net (Grontas et al., 2025), its bounds constants of the layer, as there they must be: a
    function of steps, backward steps and raw."""
    import pinet as theirs

    infinite = jnp.full((1, 1, 1), jnp.inf)
    rows = theirs.AffineInequalityConstraint(
        c_mat=jnp.ones((1, 1, size)), lb=-infinite, ub=total[:, None, None]
    )
    sides = {"lb": jnp.zeros((1, size, 1)), "ub": jnp.broadcast_to(infinite, (1, size, 1))}
    box = theirs.BoxConstraint(theirs.BoxConstraintSpecification(**sides))
    call = theirs.Project(ineq_constraint=rows, box_constraint=box).call

    def layer(steps: int, backward_steps: int, raw: jax.Array) -> jax.Array:
        instance = theirs.ProjectionInstance(x=raw[..., None])
        return call(y_raw=instance, n_iter=steps, n_iter_bwd=backward_steps)[0].x[..., 0]

    return layer


def candidates(batch: int, size: int) -> tuple[jax.Array, dict[str, Candidate], dict[str, str]]:
    """Raw, the layers that come within the tolerance, and why the others are left out."""
    draw = np.random.default_rng(0)
    raw = draw.normal(size=(batch, size)).astype(np.float32)
    total = draw.uniform(0.5, 4, batch).astype(np.float32)
    solution = exact(raw, total)
    clear = solution.margin > 10 * TOLERANCE  # elsewhere the tolerance decides what is active

    def distance(layer: Layer) -> float:
        return float(np.max(np.abs(jax.jit(layer)(raw) - solution.output)))

    def near(layer: Layer) -> bool:
        return distance(layer) <= TOLERANCE

    def near_with_slopes(layer: Layer) -> bool:
        if not near(layer):
            return False
        off = np.abs(backward(layer)(raw) - solution.derivative)[clear]
        return np.max(off, initial=0) <= SLOPE_TOLERANCE

    def fewest(build: Callable[[int], Layer], enough: Callable[[Layer], bool]) -> int:
        steps = 1
        while not enough(build(steps)):
            steps *= 2
            if steps > MOST_STEPS:
                raise ArithmeticError(f"not within the tolerance after {MOST_STEPS} steps")
        return steps

    totals = jnp.asarray(total)
    at_most = sets.sum_rows(totals, size=size)._replace(lower=None)
    rows = sets.stack_rows(sets.box_rows(0.0, jnp.full(size, jnp.inf)), at_most)

    def by_pinet() -> tuple[Layer, str]:
        if find_spec("pinet") is None:
            raise ImportError(f"no module pinet; {INSTALL_PINET}")
        build = pinet(totals, size)
        steps = fewest(lambda steps: partial(build, steps, 1), near)
        backward_steps = fewest(lambda count: partial(build, steps, count), near_with_slopes)
        return partial(build, steps, backward_steps), f"{steps} and {backward_steps}"

    def by_dykstra() -> tuple[Layer, str]:
        def build(steps: int) -> Layer:
            return lambda z: jax.vmap(partial(dykstra, steps=steps))(z, totals)

        steps = fewest(build, near_with_slopes)
        return build(steps), str(steps)

    builds = {
        "affine_projection": lambda: (lambda z: sets.affine_projection(z, rows), "exact"),
        "budget_projection": lambda: (partial(sets.budget_projection, total=totals), "exact"),
        "pinet": by_pinet,
        "dykstra, vmap": by_dykstra,
    }
    found: dict[str, Candidate] = {}
    missing: dict[str, str] = {}
    for name, build in builds.items():
        try:
            layer, steps = build()
        except (ArithmeticError, AttributeError, ImportError) as error:
            missing[name] = str(error)
        else:
            found[name] = Candidate(layer, steps, distance(layer))
    return jnp.asarray(raw), found, missing


def measure(batch: int = 4096, size: int = 12, rounds: int = 20, calls: int = 3) -> list[Row]:
    """A row a layer: seconds forward and with the derivative, and their ratios to the first's."""
    raw, found, missing = candidates(batch, size)
    rows: dict[str, Row] = {
        name: {"layer": name, "batch": batch, "size": size, "steps": one.steps}
        | {"distance": one.distance}
        for name, one in found.items()
    }
    for part, run in {"forward": jax.jit, "derivative": backward}.items():
        ready = {name: partial(run(one.layer), raw) for name, one in found.items()}
        seconds = side_by_side(ready, rounds, calls)
        ratio = ratios(seconds, next(iter(found)))
        for name, row in rows.items():
            row |= {part: statistics.median(seconds[name]), f"{part}_ratio": ratio[name]}
    return [*rows.values(), *({"layer": name, "missing": why} for name, why in missing.items())]


def make_table(rows: Sequence[Row]) -> Table:
    """What `measure` gives, one batch a table."""
    heads = ("layer", "steps", "distance", "forward, ms", "ratio", "with derivative, ms", "ratio")
    table = Table(*heads, box=SIMPLE_HEAD, title_justify="left", caption_justify="left")
    for row in rows:
        if "missing" in row:
            continue
        table.title = (
            f"Projections onto y >= 0, sum(y) <= total: {row['batch']} x {row['size']}, float32"
        )
        cells = [row["layer"], row["steps"], f"{row['distance']:.0e}"]
        for part in ("forward", "derivative"):
            cells += [f"{1e3 * row[part]:.2f}", f"{row[f'{part}_ratio']:.2f}"]
        table.add_row(*cells)
    missing = [row for row in rows if "missing" in row]
    table.caption = "\n".join(f"{row['layer']}: missing, {row['missing']}" for row in missing)
    return table
