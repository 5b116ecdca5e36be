"""The error of blocks of windows, from which intervals over a split are made."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

MOST = 16


def blocks_of(rows: np.ndarray) -> np.ndarray:
    """Which windows of a split are in which of B blocks, at most MOST: (B, windows) of bool.

    Windows that follow one another know of each other. So a block is a run of them, or several
    neighbouring runs where there are more than MOST. A split of one run has blocks of nearly equal
    size.

    Args:
      rows: (windows,), their places in the dataset, ascending.
    """
    run = np.cumsum(np.diff(rows, prepend=rows[:1]) > 1)
    if not run.any():
        run = np.arange(len(rows))
    runs = len(np.unique(run))
    block = run * min(MOST, runs) // max(runs, 1)
    return block == np.arange(min(MOST, runs))[:, None]


def block_mse(output: jax.Array, part: Mapping[str, Any], blocks: jax.Array) -> jax.Array:
    """The mean squared error of each block, over the entries that count; NaN where none does, (B,).

    Weighted by how many count in each, the mean of all is `mse`.

    Args:
      output: (windows, H, K).
      part: the data that it is of.
      blocks: of `blocks_of`.
    """
    where = part["where"]
    where = jnp.ones(output.shape, bool) if where is None else where
    error = jnp.sum(jnp.where(where, output - part["targets"], 0) ** 2, axis=(1, 2))
    counted = jnp.where(blocks, jnp.sum(where, axis=(1, 2))[None], 0)
    return jnp.sum(jnp.where(blocks, error[None], 0), axis=1) / jnp.sum(counted, axis=1)
