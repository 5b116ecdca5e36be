"""What the terminal shows of a dataset before anything is trained on it."""

import textwrap
from collections.abc import Iterator, Mapping
from functools import partial

import jax
import numpy as np
from rich.console import Console

from bounded import starts
from experiments.analysis.rule import Fit, fitted, rule
from experiments.console import counted, say, trimmed
from experiments.data.checks import BOUNDS, SUMS
from experiments.data.datasets import Dataset
from experiments.training.strategies import TRAINED
from experiments.training.strategy_rows import select_bounds

WIDTH = 79
SPLITS = {"train": "training", "test": "test"}
ADVICE = {
    "share": "Let the network give a share of the interval: tanh_interval, sigmoid_interval.",
    "level": "Let the network give the value itself: clip, straight_through_clip, or train it "
    "without a bound and clip afterwards (clip_at_evaluation).",
    "distance": "Let the network give the distance from the bound: softplus_offset, "
    "squareplus_offset, relu_offset.",
}
FOUND = {
    "share": "In the study tanh_interval then erred less than clipping afterwards on 7 of 8 new "
    "datasets with an MLP, by at most 67 %. With an LSTM that sees the input it did on 5 of 8, by "
    "at most 13 %.",
    "level": "The study has two such datasets. On both, and with each of four networks, "
    "softplus_offset erred more than clipping afterwards.",
    "distance": "The study has one such dataset. There softplus_offset erred less than clipping "
    "afterwards with each of four networks, by 2 to 7 %, which may be chance.",
}
"""What the study says of data like it; tests/test_results.py holds it to results/reference/."""
BEGUN = {"share": "tanh_interval", "level": "clip", "distance": "softplus_offset"}
"""The strategy whose start is told."""
MOST_NUMBERS = 4


def show(console: Console, dataset: Dataset) -> None:
    """Print how tight the bounds are, which constant fits the targets, and what follows."""
    part = dataset.part("train")
    found = fitted(part["targets"], part["lower"], part["upper"], part["where"])
    best = rule({kind: fit.error for kind, fit in found.items()})
    for line in (
        *_described(dataset),
        "",
        *_on_bounds(dataset),
        "",
        *_fits(dataset, found),
        "",
        *_so(dataset, best),
    ):
        for row in textwrap.wrap(line, WIDTH, subsequent_indent="  ") or [""]:
            say(console, row)


def _described(dataset: Dataset) -> Iterator[str]:
    windows, steps, features = dataset.targets.shape
    sizes = f"{counted(windows, 'window')} of {counted(steps, 'step')}"
    unit = f", in {trimmed(dataset.unit)}" if dataset.unit else ""
    yield f"{trimmed(dataset.name)}: {sizes}, {counted(features, 'feature')}{unit}"
    if set(SUMS) & set(dataset.sides()):
        yield "The bounds of the features' sum are not looked at."


def _on_bounds(dataset: Dataset) -> Iterator[str]:
    """Of the targets that count and have such a bound, how many lie on it, and beyond."""
    yield f"{'Targets':<24}" + "".join(f"{name:>12}" for name in SPLITS.values())
    for side in (side for side in BOUNDS if side in dataset.sides()):
        for place in ("on", "beyond"):
            shares = (_share(dataset.part(split), side, place) for split in SPLITS)
            yield f"  {f'{place} {side}':<22}" + "".join(f"{share:>12}" for share in shares)


def _share(part: Mapping[str, np.ndarray], side: str, place: str) -> str:
    targets, bound = part["targets"], part[side]
    counts = np.isfinite(bound) & (True if part["where"] is None else part["where"])
    beyond = targets < bound if side == "lower" else targets > bound
    there = (targets == bound if place == "on" else beyond)[counts]
    return f"{100 * there.mean():.1f} %" if there.size else "–"


def _fits(dataset: Dataset, found: Mapping[str, Fit]) -> Iterator[str]:
    """In the dataset's unit, of which a share has none."""
    sides = _sides(dataset)
    both, has_upper = len(sides) == 2, "upper" in sides
    formulas = {
        "share": "l + a (u - l)" if both else "a u" if has_upper else "a l",
        "level": "c",
        "distance": "u - d" if has_upper else "l + d",
    }
    yield f"{'One constant a feature':<28}{'mean squared error':>20}"
    for kind, formula in formulas.items():
        constants, error = found[kind]
        values = _listed(constants if kind == "share" else constants * dataset.scale)
        if np.isnan(error):
            known = "–"
            values = "none: the bound changes sign" if kind == "share" and not both else "none"
        else:
            known = f"{error * dataset.scale**2:.4g}"
        yield f"  {kind:<10}{formula:<16}{known:>20}  " + values * (len(constants) == 1)
        if len(constants) > 1:
            yield f"    {values}"


def _sides(dataset: Dataset) -> list[str]:
    """Those that some training target has."""
    part = dataset.part("train")
    where = True if part["where"] is None else part["where"]
    given = {side: part[side] for side in BOUNDS if part[side] is not None}
    return [side for side, bound in given.items() if (np.isfinite(bound) & where).any()]


def _listed(values: np.ndarray) -> str:
    shown = ", ".join(f"{value:.4g}" for value in values[:MOST_NUMBERS])
    return shown + ", …" * (len(values) > MOST_NUMBERS)


def _so(dataset: Dataset, best: str | None) -> Iterator[str]:
    """What follows from the constant that fits best."""
    if best is None:
        yield "No training target has all the bounds: nothing is compared."
        return
    yield f"A {best} fits best. {ADVICE[best]} {FOUND[best]}"
    sides = _sides(dataset)
    if best == "share" and len(sides) == 1:
        other, extreme = ("upper", "largest") if "lower" in sides else ("lower", "smallest")
        yield (
            f"They need two bounds. For the {other} one a sweep takes a constant, the {extreme} "
            "training target; give one that you know, such as 0 of what is never negative."
        )
    if best == "distance" and len(sides) == 2:
        yield "They hold the upper bound alone."
    yield _start(dataset, best)


def _start(dataset: Dataset, best: str) -> str:
    part, row, scale = dataset.part("train"), TRAINED[BEGUN[best]], dataset.scale
    lower, upper = select_bounds(row, part, dataset.target_range())
    through = row.begins_through(lower, upper, row.hyper(row.hyperparameters))
    start = jax.jit(partial(starts.constant, through))  # op by op it takes seconds
    raw = start(part["targets"], lower, upper, where=part["where"])
    # A share has no unit; the other maps scale with their raw, bounds and temperature.
    values = _listed(np.asarray(raw) * (1 if best == "share" else scale))
    width = f" with temperature={scale:.4g}" if best == "distance" else ""
    return f"Begin at a last bias of {values}, of {row.name}{width}."
