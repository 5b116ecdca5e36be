"""The error of consecutive blocks of windows, from which intervals over a split are made."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

BLOCKS = 16


def block_mse(output: jax.Array, part: Mapping[str, Any]) -> jax.Array:
    """The mean squared error of each of BLOCKS runs of the part's windows, in their order, (B,).

    Runs are of nearly equal size, the larger ones first, as `numpy.array_split` deals them; one a
    window where there are fewer. The mean is over the entries that count, NaN where none does.
    Weighted by how many count in each, the mean of all is `mse`.

    Args:
      output: (windows, H, K).
      part: the data that it is of.
    """
    where = part["where"]
    where = jnp.ones(output.shape, bool) if where is None else where
    error = jnp.where(where, output - part["targets"], 0)
    count = min(BLOCKS, len(output))
    runs = zip(jnp.array_split(error**2, count), jnp.array_split(where, count), strict=True)
    return jnp.stack([jnp.mean(run, where=counts) for run, counts in runs])
