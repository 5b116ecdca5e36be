"""A window of each dataset under a few strategies, with what the bound forbids shaded."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from experiments.analysis.study import Study
from experiments.analysis.tables import slug
from experiments.console import trimmed
from experiments.figures.style import (
    FORBIDDEN,
    MOST_SHOWN,
    Sketch,
    at_bottom,
    at_left,
    few,
    legend_above,
    look,
    panels,
    short,
)

COLUMNS = 3
LETTER = 0.075  # inches, of an axis' name
EDGE = 0.05  # inches left of it
Examples = Mapping[str, np.ndarray]  # `example_*` of one cell: (windows, T, features)


def examples(
    of: Study, dataset: str, backbone: str, seed: int, found: Mapping[str, Examples]
) -> Sketch:
    """The window of the test split whose target varies much, a panel a strategy; in the unit and
    with the names that the dataset has.

    Args:
      of: what says so.
      dataset: its name.
      backbone: whose outputs they are.
      seed: of the cells.
      found: by strategy.
    """
    names = few(found)
    first = found[names[0]]
    targets = first["example_targets"][-1]
    features = targets.shape[-1]
    feature = int(np.argmax([_spread(column) for column in targets.T]))
    target = _line(first, "targets", feature)
    bounds = {
        key: _line(first, key, feature) for key in ("lower", "upper") if f"example_{key}" in first
    }
    outputs = {name: _line(found[name], "output", feature) for name in names}
    about = of.about(dataset)
    scale = float(about.get("scale") or 1)
    limits = _limits(target, list(bounds.values()), list(outputs.values()))
    steps = np.arange(len(target))
    # Between missing targets a single one is no line.
    dots = {"marker": ".", "markersize": 3} if np.isnan(target).any() else {}
    figure, grid = panels(
        len(names), COLUMNS, (1.8, 1.1), left=0.75, right=0.1, top=0.55, gap=(0.1, 0.3), least=1.4
    )
    for axes, name in zip(grid, names, strict=True):
        axes.plot(steps, target * scale, "--", color="black", linewidth=1.1, label="target", **dots)
        output = np.clip(outputs[name], *limits)
        axes.plot(steps, output * scale, color=look(name)["color"], linewidth=1.6, label="output")
        for edge, bound in bounds.items():
            end = limits[edge == "upper"] * scale
            shade = {"color": FORBIDDEN, "linewidth": 0, "label": "outside the bound"}
            axes.fill_between(steps, np.clip(bound, *limits) * scale, end, **shade)
        axes.set_title(short(name), fontsize=8, pad=3)
        axes.set(xlim=(0, steps[-1]), ylim=np.multiply(limits, scale), xticks=[], yticks=[])
        axes.grid(False)
        if at_left(axes):
            axes.yaxis.set_major_locator(MaxNLocator(4))
        if at_bottom(grid, axes):
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    legend_above(figure, [*grid[0].lines, *grid[0].collections[:1]])
    figure.supxlabel(_when(first))
    room = int(figure.get_figheight() / LETTER)
    figure.supylabel(_values(about, feature, features, room), x=EDGE / figure.get_figwidth())
    many = len(found) > MOST_SHOWN
    of_feature = f", feature {feature + 1} of {features}" if features > 1 else ""
    return Sketch(
        name=f"example_{slug(dataset)}_{slug(backbone)}",
        figure=figure,
        title=f"Example window: {of.title(dataset) or short(dataset)}, {backbone}",
        caption=(
            f"One test window whose target varies much{of_feature}, and each strategy's output "
            f"(seed {seed}); an output beyond its panel runs along the edge. One window shows in "
            "what way a strategy errs, and proves nothing."
            + f" Of more than {MOST_SHOWN} strategies: your own, one of each family."
            * many
        ),
        dataset=dataset,
    )


def _spread(values: np.ndarray) -> float:
    """Of what is known."""
    known = values[np.isfinite(values)]
    return float(known.std()) if known.size else -1.0


def _values(about: Mapping[str, Any], feature: int, features: int, room: int) -> str:
    """What the y axis is called, in so many letters: the column and its unit."""
    if not about.get("scale"):
        return "Scaled value"
    columns, unit = about.get("columns") or (), trimmed(about.get("unit") or "", room // 2)
    unit = f" [{unit}]" if unit not in ("", "1") else ""
    numbered = f"Target {feature + 1}" if features > 1 else "Target"
    name = columns[feature] if feature < len(columns) else numbered
    return trimmed(name, room - len(unit)) + unit


def _when(found: Examples) -> str:
    """What the x axis is called: steps, and from when to when."""
    if "example_times" not in found:
        return "Step"
    times = found["example_times"][-1]
    first, last = trimmed(str(times[0]), 30), trimmed(str(times[-1]), 30)
    return f"Step, {first}" if first == last else f"Step, {first} to {last}"


def _line(found: Examples, key: str, feature: int) -> np.ndarray:
    """One feature of the last window; of one step, a level line."""
    values = found[f"example_{key}"][-1, :, feature].astype(float)
    return np.broadcast_to(values, max(len(values), 2))


def _limits(
    target: np.ndarray, bounds: Sequence[np.ndarray], outputs: Sequence[np.ndarray]
) -> tuple[float, float]:
    """Of the y axis: what the target spans, of the bounds what lies no farther beyond than that,
    and of the outputs what lies not far beyond both."""
    low, high = _span([target] if np.isfinite(target).any() else bounds)
    ends = _span([np.array([low, high]), *bounds])
    room = (high - low) or 0.1 * (ends[1] - ends[0])
    low, high = max(low - room, ends[0]), min(high + room, ends[1])
    room = max(0.4 * (high - low), 1e-6)
    low, high = _span([np.clip(np.ravel(outputs), low - room, high + room), np.array([low, high])])
    margin = 0.08 * (high - low) + 1e-6
    return low - margin, high + margin


def _span(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """From the least to the most that is known; of nothing, from 0 to 0."""
    known = np.concatenate([np.ravel(one) for one in values] or [np.zeros(0)])
    known = known[np.isfinite(known)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
