"""Each constraint's output and derivative, computed by the functions of `bounded.constraints`."""

from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from bounded import constraints
from experiments.figures.style import (
    FORBIDDEN,
    Sketch,
    at_bottom,
    at_left,
    legend_above,
    look,
    panels,
)

TWO_SIDES = {"lower": -1.0, "upper": 1.0}
UPPER = {"upper": 1.0}
BELOW_ZERO = {"upper": -1.0}
SHAPES = (
    ("clip", TWO_SIDES),
    ("straight_through_clip", TWO_SIDES),
    ("leaky_clip", TWO_SIDES),
    ("smooth_clip", TWO_SIDES),
    ("knee_tanh", TWO_SIDES),
    ("relu_offset", UPPER),
    ("softplus_offset", UPPER),
    ("squareplus_offset", UPPER),
    ("exp_offset", UPPER),
    ("tanh_interval", TWO_SIDES),
    ("sigmoid_interval", TWO_SIDES),
    ("stretched_tanh", UPPER),
    ("stretched_tanh", BELOW_ZERO),
    ("half_tanh", UPPER),
    ("half_tanh", BELOW_ZERO),
)
NOT_OF_THE_OUTPUT = ("straight_through_clip", "leaky_clip")  # whose derivative is one of their own
RAW = np.linspace(-3, 3, 241, dtype=np.float32)


@cache
def curves() -> list[tuple[np.ndarray, np.ndarray]]:
    """Output and derivative to raw at RAW for each of SHAPES, with default hyperparameters."""

    def both(name: str, bounds: dict[str, float]) -> tuple[jax.Array, jax.Array]:
        constraint = partial(getattr(constraints, name), **bounds)
        return jax.vmap(jax.value_and_grad(constraint))(jnp.asarray(RAW))

    found = jax.jit(lambda: [both(name, bounds) for name, bounds in SHAPES])()
    return [(np.asarray(output), np.asarray(slope)) for output, slope in found]


def constraint_shapes(shows: Callable[[str], bool] = lambda name: True) -> Sketch | None:
    """Small multiples of every constraint that is to be shown, if there is one."""
    found = [(*of, *curve) for of, curve in zip(SHAPES, curves(), strict=True) if shows(of[0])]
    if not found:
        return None
    figure, grid = panels(
        len(found), 3, (1.85, 1.05), left=0.5, right=0.1, top=0.6, gap=(0.15, 0.4)
    )
    for axes, (name, bounds, output, slope) in zip(grid, found, strict=True):
        color = look(name)["color"]
        outside = axes.axhspan(bounds["upper"], 3, color=FORBIDDEN, lw=0, label="outside the bound")
        if "lower" in bounds:
            axes.axhspan(-3, bounds["lower"], color=FORBIDDEN, lw=0)
        axes.plot(RAW, output, color=color, linewidth=1.8, label="output")
        axes.plot(RAW, slope, color=color, linewidth=1.1, linestyle="--", label="derivative")
        star = "*" if name in NOT_OF_THE_OUTPUT else ""
        where = f", u = {bounds['upper']:g}" if bounds == BELOW_ZERO else ""
        axes.set_title(f"{name}{star}{where}", fontsize=8, pad=3)
        axes.set(xlim=(-3, 3), ylim=(-2.2, 1.6), xticks=[-2, 0, 2], yticks=[-2, -1, 0, 1])
        axes.tick_params(labelleft=at_left(axes), labelbottom=at_bottom(grid, axes))
    legend_above(figure, [*grid[0].lines, outside])
    figure.supxlabel("raw: the network's output before the constraint")
    return Sketch(
        name="constraint_shapes",
        figure=figure,
        title="Output and derivative of each constraint",
        caption=(
            "Output and derivative against raw, with default hyperparameters; a derivative marked "
            "* is not that of the output, but another one that is passed backward. The last of the "
            "tanh shapes break a bound below 0."
        ),
    )
