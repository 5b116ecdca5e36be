"""Loss terms that encourage a bound without enforcing it."""

import jax
import jax.numpy as jnp

from bounded.metrics import excess


def squared_hinge(
    output: jax.Array, lower: jax.Array | None = None, upper: jax.Array | None = None
) -> jax.Array:
    """Mean over entries of `relu(output - upper)² + relu(lower - output)²`.

    A scalar, 0 with zero gradient where every entry is inside. The quadratic exterior penalty
    (Nocedal and Wright 2006, chapter 17): outputs settle outside, by an amount that shrinks as
    its weight in the loss grows. It belongs on raw: on a projected output it is identically 0.

    Args:
      output: what the bound is asked of, any shape.
      lower: lower bound, broadcastable to output; None or -inf for no bound.
      upper: upper bound, broadcastable to output; None or inf for no bound.
    """
    return jnp.mean(excess(output, lower, upper) ** 2)
