"""The datasets of the study, one of each source: `python -m experiments.data.study` tells of them.

The table that it prints stands in the README.
"""

import numpy as np

from experiments.data.checks import SPLITS
from experiments.data.datasets import Dataset, load

WHY = {
    "household_hourly": "many targets are 0; ten minutes would take six times as long to train on",
    "diffuse_greensboro": "on the bound by night, where it is 0, and often by day; one site of two",
    "dew_point_jfk": "one airport of three that are nearly one, and of `wind`",
    "daily_temperature": "a low below a high, and never on it",
    "flights": "hard; at the airports of `dew_point`, but of other records",
    "bikeshare": "a part whose share goes by the day",
    "parking": "the bound stays through a window; repaired",
    "wind_farm": "nearly a constant share, four times; their sum is not told",
    "cyclones": "few windows, many targets at 0",
    "baseball": "three kinds of one whole",
    "crime": "the bound is all there is to read",
    "gasoline": "hardly changes",
    "employment": "grows for decades; every target has a bound of its own",
    "hourly_temperature": "both sides, tight",
    "exchange_rate": "both sides, tighter",
    "spectrum": "made; the bound is what is measured",
}
"""By dataset: why this one of its source."""

STUDY: tuple[str, ...] = tuple(WHY)


def on_bound(dataset: Dataset, side: str) -> float:
    """Share of the test split's targets that are on that side's bound."""
    part = dataset.part("test")
    return float(np.mean(part["targets"] == part[side]))


def left_by_share(dataset: Dataset) -> np.ndarray:
    """What a constant share of the upper bound leaves of the test targets' mean squared distance
    from the training mean, by feature; the share is that of least squares in training."""
    train, test = dataset.part("train"), dataset.part("test")
    bound, target = (train[key].astype(float) for key in ("upper", "targets"))
    share = (bound * target).sum((0, 1)) / (bound**2).sum((0, 1))
    left = np.square(test["targets"] - share * test["upper"]).mean((0, 1))
    return left / np.square(test["targets"] - target.mean((0, 1))).mean((0, 1))


def table() -> list[str]:
    """Lines of Markdown."""
    heads = "dataset", "why this one", "windows", "steps", "inputs", "bounds", "on it", "left"
    rows = [" | ".join(heads), " | ".join(["---"] * len(heads)), *map(_row, STUDY)]
    return [f"| {row} |" for row in rows]


def _row(name: str) -> str:
    dataset = load(name)
    windows = np.bincount(dataset.split, minlength=len(SPLITS))
    lower = dataset.lower
    bounds = "above" if lower is None else "0, above" if not lower.any() else "below, above"
    sides = ("upper",) if lower is None else ("lower", "upper")
    return " | ".join(
        (
            f"`{name}`",
            WHY[name],
            " / ".join(map(str, windows)),
            str(dataset.targets.shape[1]),
            f"{dataset.inputs.shape[2]} → {dataset.targets.shape[2]}",
            bounds,
            ", ".join(f"{100 * on_bound(dataset, side):.0f} %" for side in sides),
            ", ".join(f"{left:.2g}" for left in left_by_share(dataset)),
        )
    )


if __name__ == "__main__":
    print(*table(), sep="\n")
