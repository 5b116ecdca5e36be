"""Untrained rows of the table: the bound itself, clipped climatology, a scaled bound, ridge."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from bounded import metrics
from experiments.training.blocks import block_mse

Data = Mapping[str, Any]  # of `cell.data_of`
PENALTIES = tuple(10.0 ** (half / 2) for half in range(-10, 7))  # of ridge, a training window


def _bound_or_range(data: Data, part: str) -> np.ndarray:
    """The upper bound, or the lower one where there is no upper; constant where infinite."""
    side = "lower" if data[part]["upper"] is None else "upper"
    bound = data[part][side]
    return np.where(np.isinf(bound), data["range"][side], bound)


def _bound(data: Data) -> np.ndarray:
    return _bound_or_range(data, "final")


def _scaled_bound_baseline(data: Data) -> np.ndarray:
    train = data["train"]
    counts = True if train["where"] is None else train["where"]
    bound = _bound_or_range(data, "train").astype(np.float64) * counts  # whose square is finite
    target = train["targets"] * counts
    power = (bound**2).sum((0, 1))
    factor = (bound * target).sum((0, 1)) / np.where(power == 0, 1, power)
    return (factor * _bound_or_range(data, "final")).astype(target.dtype)


def _climatology(train: Data) -> np.ndarray:
    """The mean training target of each step and feature; where a step has none, of the feature."""
    targets, counts = train["targets"], train["where"]
    if counts is None:
        return targets.mean(axis=0, keepdims=True)
    known = np.ma.array(targets, mask=~counts)
    by_step, by_feature = known.mean(axis=0, keepdims=True), known.mean(axis=(0, 1), keepdims=True)
    return np.ma.where(by_step.mask, by_feature, by_step).filled(0).astype(targets.dtype)


def _clipped(output: np.ndarray, part: Data) -> np.ndarray:
    found = np.broadcast_to(output, part["targets"].shape)
    for side, limit in (("lower", np.maximum), ("upper", np.minimum)):
        found = found if part[side] is None else limit(found, part[side])
    return found


def _climatology_clipped_baseline(data: Data) -> np.ndarray:
    return _clipped(_climatology(data["train"]), data["final"])


def _ridge_clipped_baseline(data: Data) -> np.ndarray:
    """Hoerl and Kennard 1970. Clipped, the penalty has the least error on validation."""
    predict, held = _ridge(data["train"]), data["validation"]
    counts = True if held["where"] is None else held["where"]

    def error(penalty: float) -> float:
        missed = _clipped(predict(held, penalty), held).astype(np.float64) - held["targets"]
        return np.mean(missed**2, where=counts)

    final = data["final"]
    return _clipped(predict(final, min(PENALTIES, key=error)), final)


def _flattened(part: Data) -> np.ndarray:
    """What a network reads of each window, as one row."""
    given = [part[key] for key in ("inputs", "future") if part[key] is not None]
    return np.concatenate([of.reshape(len(of), -1) for of in given], axis=1, dtype=np.float64)


def _ridge(train: Data) -> Callable[[Data, float], np.ndarray]:
    """Each target, at each step, as a line in all that a network reads of its window.

    Least squares over the training windows in which it counts, with a penalty on the squared
    weights, times these windows; the intercept is free. Where it counts in none it is as in
    `_climatology`.

    Returns:
      a function of a part and a penalty to its outputs.
    """
    inputs, targets = _flattened(train), train["targets"]
    targets = targets.reshape(len(targets), -1).astype(np.float64)
    where = np.ones(targets.shape, bool) if train["where"] is None else train["where"]
    # Targets that count in the same windows have one decomposition.
    patterns, pattern_of = np.unique(where.reshape(targets.shape), axis=1, return_inverse=True)
    solved = []
    for index, counts in enumerate(patterns.T):
        these = np.flatnonzero(pattern_of.reshape(-1) == index)
        if counts.any():
            read, wanted = inputs[counts], targets[counts][:, these]
            center, mean = read.mean(axis=0), wanted.mean(axis=0)
            left, singular, right = np.linalg.svd(read - center, full_matrices=False)
            along = left.T @ (wanted - mean)
            solved.append((these, center, mean, singular, right, along, len(read)))

    def predict(part: Data, penalty: float) -> np.ndarray:
        given, shape = _flattened(part), part["targets"].shape
        found = np.tile(_climatology(train).reshape(1, -1), (len(given), 1))
        for these, center, mean, singular, right, along, windows in solved:
            shrunk = singular / (singular**2 + windows * penalty)
            weights = right.T @ (shrunk[:, None] * along)
            found[:, these] = mean + (given - center) @ weights
        return found.reshape(shape)

    return predict


BASELINES: dict[str, tuple[Callable[[Data], np.ndarray], str]] = {
    "bound": (_bound, "the bound itself"),
    "climatology_clipped": (
        _climatology_clipped_baseline,
        "the training mean by step and feature, clipped by the bounds",
    ),
    "scaled_bound": (
        _scaled_bound_baseline,
        "the bound times its least-squares factor, by feature",
    ),
    "ridge_clipped": (
        _ridge_clipped_baseline,
        "ridge regression on the flattened window, penalised by validation, clipped by the bounds",
    ),
}
"""By name: a function from the data to an output on its final part, and what it is."""


def scores(output: jax.Array, part: Mapping[str, jax.Array | None]) -> dict[str, jax.Array]:
    """The metrics that there are without a network."""
    where = part["where"]
    sums = None if where is None else where.all(axis=-1, keepdims=True)
    return {
        **metrics.reconstruction(output, part["targets"], where=where),
        **metrics.violation(output, part["lower"], part["upper"], where=where),
        **metrics.sum_violation(output, part["sum_lower"], part["sum_upper"], where=sums),
    }


@jax.jit  # step by step, to compile it takes several times as long
def _measured(output: jax.Array, part: Data, blocks: jax.Array) -> tuple[dict, jax.Array]:
    return scores(output, part), block_mse(output, part, blocks)


def measure(name: str, data: Data) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """A baseline's metrics on the final part of the data, its output, and the error of blocks."""
    output = BASELINES[name][0](data)
    found, blocks = jax.device_get(_measured(output, data["final"], data["blocks"]))
    return {name: float(value) for name, value in found.items()}, output, blocks
