"""A window of each dataset under every strategy, with what the bound forbids shaded.

The panels are drawn side by side into one plane: twenty-six axes a figure, with ticks of their
own, would take most of the time that a report takes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from experiments.drawing import (
    FORBIDDEN,
    INK,
    Sketch,
    draw_lines,
    foot,
    in_families,
    listed,
    look,
    number,
    panels,
    short,
    side,
    slug,
    whole,
)

COLUMNS = 5
PANEL = (1.75, 1.1)  # inches
GAP = (0.1, 0.3)
Examples = Mapping[str, np.ndarray]  # `example_*` of one cell: (windows, T, features)
Limits = tuple[float, float]
Corner = tuple[float, float]  # lower left, of a panel of unit size


def examples(dataset: str, backbone: str, seed: int, found: Mapping[str, Examples]) -> Sketch:
    """The window of the test split whose target varies much, a panel a strategy.

    Args:
      dataset: its name.
      backbone: whose outputs they are.
      seed: of the cells.
      found: by strategy.
    """
    names = in_families(found)
    first = found[names[0]]
    feature = int(first["example_targets"][-1].std(axis=0).argmax())
    features = first["example_targets"].shape[2]
    window = {
        key: first[f"example_{key}"][-1, :, of]
        for key, of in (("targets", feature), ("lower", feature), ("upper", feature), ("inputs", 0))
        if f"example_{key}" in first and (key != "inputs" or first["example_inputs"].shape[2] == 1)
    }
    outputs = {name: found[name]["example_output"][-1, :, feature] for name in names}
    columns = min(len(names), COLUMNS)
    rows = -(-len(names) // columns)
    size = [
        many * side + (many - 1) * gap
        for many, side, gap in zip((columns, rows), PANEL, GAP, strict=True)
    ]
    figure, (axes,) = panels(1, 1, (size[0], size[1]), left=0.6, right=0.1, top=0.55)
    axes.set_axis_off()
    axes.set_xlim(0, size[0] / PANEL[0])
    axes.set_ylim(1 - size[1] / PANEL[1], 1)
    corners = [
        (
            index % columns * (1 + GAP[0] / PANEL[0]),
            -(index // columns) * (1 + GAP[1] / PANEL[1]),
        )
        for index in range(len(names))
    ]
    limits = _limits(window, outputs)
    _backgrounds(axes, window, corners, limits)
    _scales(axes, len(window["targets"]), corners, columns, limits)
    for key, color, style in (("inputs", "#777777", ":"), ("targets", "black", "--")):
        if key in window:
            lines = [_placed(window[key], corner, limits) for corner in corners]
            draw_lines(axes, lines, [color] * len(lines), 1.1, label=key, linestyle=style)
    lines = [
        _placed(outputs[name], corner, limits) for name, corner in zip(names, corners, strict=True)
    ]
    colors = [look(name)["color"] for name in names]
    draw_lines(axes, lines, colors, 1.6, label="output")
    for name, (x, y) in zip(names, corners, strict=True):
        axes.text(x + 0.5, y + 1.04, short(name), ha="center", va="bottom", fontsize=8)
    _legend(figure, "inputs" in window, wide=columns > 2)
    foot(figure, "Step")
    side(figure, "Scaled value")
    misses = {
        name: float(np.sqrt(np.mean((output - window["targets"]) ** 2)))
        for name, output in outputs.items()
    }
    nearest = sorted(names, key=misses.__getitem__)
    of_feature = f", feature {feature + 1} of {features}" if features > 1 else ""
    return Sketch(
        name=f"example_{slug(dataset)}_{backbone}",
        figure=figure,
        title=f"Example window: {short(dataset)}, {backbone}",
        caption=(
            f"One test window whose target varies much{of_feature}, and each strategy's output "
            f"(seed {seed}); shaded is what the dataset's bounds forbid. One window proves "
            "nothing: it shows in what way a strategy errs. An output beyond its panel runs along "
            "the edge."
        ),
        alt=(
            f"{len(names)} panels of a test window of {short(dataset)} on {backbone}. Nearest to "
            "the target, by root mean square error in scaled units: "
            + listed(f"{short(name)} {number(misses[name])}" for name in nearest[:3])
            + f"; farthest: {short(nearest[-1])} {number(misses[nearest[-1]])}."
        ),
        dataset=dataset,
    )


def _legend(figure: Figure, with_input: bool, wide: bool) -> None:
    handles = [
        Line2D([], [], color="black", linewidth=1.1, linestyle="--", label="target"),
        Line2D([], [], color=look("clip")["color"], linewidth=1.6, label="output"),
        Patch(color=FORBIDDEN, label="outside the bound"),
    ]
    if with_input:
        dotted = Line2D([], [], color="#777777", linewidth=1.1, linestyle=":", label="input")
        handles.insert(0, dotted)
    figure.legend(
        handles=handles, loc="upper center", ncols=len(handles) if wide else 2, borderaxespad=0.1
    )


def _limits(window: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> Limits:
    """Of the y axis: what the data span, and of the outputs what lies not far beyond."""
    data = whole(np.concatenate([window[k] for k in ("targets", "lower", "upper") if k in window]))
    shown = whole(np.concatenate(list(outputs.values())))
    room = max(0.4 * np.ptp(data), 1e-6)
    low = max(data.min() - room, shown.min(initial=data.min()))
    high = min(data.max() + room, shown.max(initial=data.max()))
    low, high = min(low, data.min()), max(high, data.max())
    margin = 0.08 * (high - low) + 1e-6
    return float(low - margin), float(high + margin)


def _placed(values: np.ndarray, corner: Corner, limits: Limits) -> np.ndarray:
    """A line in its panel, (points, 2); of one step, a level one."""
    values = np.repeat(values, 2) if len(values) == 1 else values
    y = (np.clip(values, *limits) - limits[0]) / (limits[1] - limits[0])
    return np.column_stack([corner[0] + np.linspace(0, 1, len(y)), corner[1] + y])


def _backgrounds(
    axes: Axes, window: Mapping[str, np.ndarray], corners: Sequence[Corner], limits: Limits
) -> None:
    shapes = []
    for x, y in corners:
        for bound, edge in (("upper", y + 1), ("lower", y)):
            if bound in window:
                line = _placed(window[bound], (x, y), limits)
                shapes.append(np.vstack([line, [(x + 1, edge), (x, edge)]]))
    forbidden = PolyCollection(shapes, facecolors=FORBIDDEN, linewidths=0, zorder=0.5)
    forbidden.set_label("outside the bound")
    axes.add_collection(forbidden, autolim=False)


def _scales(
    axes: Axes, steps: int, corners: Sequence[Corner], columns: int, limits: Limits
) -> None:
    """Frames; values at the left, steps below the lowest panel of each column."""
    frames = [[(x, y + 1), (x, y), (x + 1, y)] for x, y in corners]
    draw_lines(axes, frames, ["black"] * len(frames), 0.8)
    found = MaxNLocator(4).tick_values(*limits)
    values = {f"{v:g}": (v - limits[0]) / (limits[1] - limits[0]) for v in found}
    values = {text: at for text, at in values.items() if 0 <= at <= 1}
    levels = [[(x, y + at), (x + 1, y + at)] for x, y in corners for at in values.values()]
    draw_lines(axes, levels, ["#e5e5e5"] * len(levels), 0.6, zorder=0.6)
    places = [int(v) for v in MaxNLocator(4, integer=True).tick_values(0, steps - 1)]
    for index, (x, y) in enumerate(corners):
        if index % columns == 0:
            for text, at in values.items():
                axes.text(x - 0.03, y + at, text, ha="right", va="center", fontsize=8, color=INK)
        if index + columns >= len(corners):
            for step in (place for place in places if 0 <= place < max(steps, 2)):
                at = step / max(steps - 1, 1)
                axes.text(x + at, y - 0.04, f"{step}", ha="center", va="top", fontsize=8, color=INK)
