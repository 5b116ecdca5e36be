"""Untrained rows of the table: the bound itself, clipped climatology, a scaled bound."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from bounded import constraints, metrics
from experiments.data.datasets import Dataset


def _bound_or_range(dataset: Dataset, split: str) -> np.ndarray:
    """The upper bound, or the lower one where there is no upper; constant where infinite."""
    side = "lower" if dataset.upper is None else "upper"
    constant = dataset.target_range()[side]
    bound = dataset.part(split)[side]
    return np.where(np.isinf(bound), constant, bound)


def _scaled_bound_baseline(dataset: Dataset, split: str) -> np.ndarray:
    bound, target = _bound_or_range(dataset, "train"), dataset.part("train")["targets"]
    power = (bound**2).sum((0, 1))
    factor = (bound * target).sum((0, 1)) / np.where(power == 0, 1, power)
    return factor * _bound_or_range(dataset, split)


def _climatology_clipped_baseline(dataset: Dataset, split: str) -> np.ndarray:
    part = dataset.part(split)
    climatology = dataset.part("train")["targets"].mean(axis=0, keepdims=True)
    shaped = jnp.broadcast_to(climatology, part["targets"].shape)
    return np.asarray(constraints.clip(shaped, part["lower"], part["upper"]))


BASELINES: dict[str, tuple[Callable[[Dataset, str], np.ndarray], str]] = {
    "bound": (_bound_or_range, "the bound itself"),
    "climatology_clipped": (
        _climatology_clipped_baseline,
        "the training mean by step and feature, clipped by the bounds",
    ),
    "scaled_bound": (
        _scaled_bound_baseline,
        "the bound times its least-squares factor, by feature",
    ),
}
"""By name: a function from a dataset and a split to an output, and what it is."""


def scores(output: jax.Array, part: Mapping[str, jax.Array | None]) -> dict[str, jax.Array]:
    """The metrics that there are without a network."""
    return {
        **metrics.reconstruction(output, part["targets"]),
        **metrics.violation(output, part["lower"], part["upper"]),
        **metrics.sum_violation(output, part["sum_lower"], part["sum_upper"]),
    }


def measure(name: str, dataset: Dataset, split: str) -> tuple[dict[str, float], np.ndarray]:
    """A baseline's metrics on a split, and its output."""
    output = BASELINES[name][0](dataset, split)
    found = scores(output, dataset.part(split))
    return {name: float(value) for name, value in found.items()}, output
