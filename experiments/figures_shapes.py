"""Each constraint's output and derivative, computed by the functions of `bounded.constraints`."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bounded import constraints
from experiments.drawing import FORBIDDEN, Sketch, foot, look, panels

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


def constraint_shapes() -> Sketch:
    """Small multiples of every constraint."""
    figure, grid = panels(
        len(SHAPES), 5, (1.72, 1.45), left=0.5, right=0.1, top=0.6, gap=(0.15, 0.4)
    )
    for index, axes in enumerate(grid):
        _shape(axes, *SHAPES[index], *curves()[index])
        axes.tick_params(labelleft=index % 5 == 0, labelbottom=index + 5 >= len(SHAPES))
    figure.legend(
        handles=[
            Line2D([], [], color="black", linewidth=1.6, label="output"),
            Line2D([], [], color="black", linewidth=1.1, linestyle="--", label="derivative"),
            Patch(color=FORBIDDEN, label="outside the bound"),
        ],
        loc="upper center",
        ncols=3,
        borderaxespad=0.1,
    )
    foot(figure, "raw: the network's output before the constraint")
    return Sketch(
        name="constraint_shapes",
        figure=figure,
        title="What each constraint does",
        caption=(
            "Output (line) and its derivative (dashed) against raw, by the library's own "
            "functions with their default hyperparameters; upper bound 1, where two sides are "
            "taken also lower bound -1; shaded is what the bound forbids. The derivatives marked * "
            "are not those of the output: straight-through and leaky clipping pass another one "
            "backward. The last of the tanh shapes break a bound below 0."
        ),
        alt=(
            "Fifteen panels of output and derivative against raw. The derivative of clip and of "
            "relu_offset is exactly 0 beyond the bound; straight_through_clip keeps 1 there, "
            "leaky_clip 0.1; the smooth ones fall towards 0. All outputs stay within the bound, "
            "but for stretched_tanh and half_tanh with the bound -1, which lie above it."
        ),
    )


def _shape(
    axes: Axes, name: str, bounds: dict[str, float], output: np.ndarray, slope: np.ndarray
) -> None:
    color = look(name)["color"]
    axes.axhspan(bounds["upper"], 3, color=FORBIDDEN, linewidth=0)
    if "lower" in bounds:
        axes.axhspan(-3, bounds["lower"], color=FORBIDDEN, linewidth=0)
    axes.plot(RAW, output, color=color, linewidth=1.8, label="output")
    axes.plot(RAW, slope, color=color, linewidth=1.1, linestyle="--", label="derivative")
    star = "*" if name in NOT_OF_THE_OUTPUT else ""
    where = f", u = {bounds['upper']:g}" if bounds == BELOW_ZERO else ""
    axes.set_title(f"{name}{star}{where}", fontsize=8, pad=3)
    axes.set_xlim(-3, 3)
    axes.set_ylim(-2.2, 1.6)
    axes.set_xticks([-2, 0, 2])
    axes.set_yticks([-2, -1, 0, 1])
