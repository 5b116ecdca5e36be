"""Untrained rows of the table: the bound itself, clipped climatology, a scaled bound."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bounded import constraints, metrics

Data = Mapping[str, Any]  # of `cell.data_of`


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


def _climatology_clipped_baseline(data: Data) -> np.ndarray:
    part = data["final"]
    shaped = jnp.broadcast_to(_climatology(data["train"]), part["targets"].shape)
    return np.asarray(constraints.clip(shaped, part["lower"], part["upper"]))


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


def measure(name: str, data: Data) -> tuple[dict[str, float], np.ndarray]:
    """A baseline's metrics on the final part of the data, and its output."""
    output = BASELINES[name][0](data)
    found = scores(output, data["final"])
    return {name: float(value) for name, value in found.items()}, output
