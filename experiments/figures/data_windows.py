"""A window of each of the study's datasets: `python -m experiments.figures.data_windows`."""

from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from experiments.console import trimmed
from experiments.data.datasets import Dataset, load
from experiments.data.study import STUDY
from experiments.data.windows import FOLDER
from experiments.figures.draw import save
from experiments.figures.style import FORBIDDEN, legend_above, panels, styled

PATH = FOLDER / "windows.png"
STRIP = [0, -0.62, 1, 0.4]  # below its panel, in parts of that
INPUT, BOUND = "#0072B2", "#D55E00"
MARGIN = 0.08  # of what is drawn


def windows(names: Iterable[str] = STUDY) -> Figure:
    """Target and bounds of one window of each test split, in the dataset's unit, and below them
    what the network reads, each in standard deviations from its mean.

    Args:
      names: of the datasets.
    """
    found = [load(name) for name in names]
    figure, grid = panels(
        len(found), 3, (1.6, 0.85), left=0.55, right=0.1, top=0.75, bottom=0.9, gap=(0.5, 1.15)
    )
    for axes, dataset in zip(grid, found, strict=True):
        part = dataset.part("test")
        feature = int(np.argmax(part["targets"].std((0, 1))))
        window = typical(part["targets"][..., feature])

        def of(key: str, part=part, at=(window, slice(None), feature), scale=dataset.scale):
            return None if part[key] is None else part[key][at] * scale

        target, lower, upper = map(of, ("targets", "lower", "upper"))
        steps = np.arange(len(target))
        shown = np.concatenate([line for line in (target, lower, upper) if line is not None])
        room = MARGIN * np.ptp(shown)
        low, high = shown.min() - room, shown.max() + room
        for bound, end in ((lower, low), (upper, high)):
            if bound is not None:
                axes.fill_between(steps, bound, end, color=FORBIDDEN, linewidth=0)
                axes.plot(steps, bound, color=BOUND, linewidth=0.9)
        axes.plot(steps, target, "--", color="black", linewidth=1.2)
        axes.set(xlim=(0, steps[-1]), ylim=(low, high))
        axes.set_title(_title(dataset, feature), fontsize=8, pad=3, loc="left")
        axes.tick_params(labelbottom=False)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        strip = axes.inset_axes(STRIP)
        strip.plot(steps, part["inputs"][window], color=INPUT, linewidth=0.9)
        strip.set(xlim=(0, steps[-1]))
        strip.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        strip.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    lines = {"target": ("black", "--"), "bound": (BOUND, "-"), "what is read": (INPUT, "-")}
    handles = [Line2D([], [], color=of, ls=dash, label=name) for name, (of, dash) in lines.items()]
    outside = Patch(color=FORBIDDEN, linewidth=0, label="outside the bound")
    legend_above(figure, [*handles, outside])
    figure.supxlabel("step", y=0.008)
    return figure


def typical(targets: np.ndarray) -> int:
    """The window that as many vary more than as vary less, (windows, T)."""
    return int(np.argsort(targets.std(axis=1), kind="stable")[len(targets) // 2])


def _title(dataset: Dataset, feature: int) -> str:
    what = [dataset.columns[feature]] if dataset.columns else []
    unit = [] if dataset.unit == "1" else [dataset.unit]
    return f"{dataset.name}\n{trimmed(', '.join(what + unit), 33)}"


if __name__ == "__main__":
    with styled():
        save(windows(), PATH, 150)
