"""Metrics of the user's own, `module:function`: (output, target, lower, upper, where) -> a number.

All five are (windows, H, K), in the dataset's unit; a bound that is not there is infinite, and what
is False in `where` does not count. The function is traced: it takes `jax.numpy`, not numpy.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.training.users_code import imported, users_code
from experiments.usage import UsageError

REAL = jnp.floating, jnp.integer
Part = Mapping[str, Any]  # of `cell.data_of`


def functions(metrics: str) -> dict[str, Callable[..., jax.Array]]:
    """By name.

    Args:
      metrics: their names, comma-separated.
    """
    return {name: imported("metric", name, name) for name in metrics.split(",") if name}


def own_metrics(metrics: str, output: jax.Array, part: Part, scale: Any) -> dict[str, jax.Array]:
    """Each metric of an output, by its name.

    Args:
      metrics: their names, comma-separated.
      output: in scaled units.
      part: the data that it is of.
      scale: what one scaled unit is.
    """

    def bound(side: str, without: float) -> jax.Array:
        found = part[side]
        return jnp.full(output.shape, without) if found is None else found * scale

    where = part["where"]
    given = (
        output * scale,
        part["targets"] * scale,
        bound("lower", -np.inf),
        bound("upper", np.inf),
        jnp.ones(output.shape, bool) if where is None else where,
    )
    return {name: function(*given) for name, function in functions(metrics).items()}


def check_metrics(metrics: str, part: Part, dataset: str) -> None:
    """Try metrics on a dataset's shapes, before anything is trained.

    Raises:
      UsageError: with what a metric said, or what it gave in place of a number.
    """
    like = jax.ShapeDtypeStruct(part["targets"].shape, jnp.float32)
    for name in functions(metrics):

        def says(error: str, name: str = name) -> str:
            return f"{name} does not fit {dataset}: {error}"

        def measure(output: jax.Array, name: str = name) -> Any:
            return own_metrics(name, output, part, np.float32(1))[name]

        with users_code(name, says):
            found = jax.eval_shape(measure, like)
        shape, dtype = getattr(found, "shape", None), getattr(found, "dtype", type(found).__name__)
        if shape != () or not any(jnp.issubdtype(dtype, of) for of in REAL):
            raise UsageError(f"{name} must give one number, got {dtype} of shape {shape}.")
