"""One LSTM layer: a scan over time."""

import jax
import jax.numpy as jnp
from jax import lax


def lstm(projected: jax.Array, recurrent: jax.Array, steps: int) -> jax.Array:
    """Hidden states of an LSTM layer (Hochreiter and Schmidhuber 1997; Gers et al. 2000).

    With `i, f, g, o` the four blocks of `projected[t] + recurrent @ h[t-1]`,
    `c[t] = σ(f) c[t-1] + σ(i) tanh(g)` and `h[t] = σ(o) tanh(c[t])`, from zero states. Features
    come first and the batch last, the fastest form of the step's product on CPU.

    Args:
      projected: the inputs' share of the gates, bias included: (steps, 4H, B), or (1, 4H, B)
        where every step has the same.
      recurrent: recurrent weights, (4H, H), gates in the order input, forget, cell, output.
      steps: the number of steps.

    Returns:
      The hidden states, (steps, H, B).

    Raises:
      ValueError: if projected holds neither 1 nor `steps` steps.
    """
    if projected.shape[0] not in (1, steps):
        raise ValueError(
            f"projected must hold 1 or {steps} steps on its first axis, got shape "
            f"{projected.shape}."
        )
    every_step_alike = projected.shape[0] == 1 != steps

    def step(
        carry: tuple[jax.Array, jax.Array], row: jax.Array | None
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        hidden, cell = carry
        gates = (projected[0] if row is None else row) + recurrent @ hidden
        i, f, g, o = jnp.split(gates, 4)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
        return (hidden, cell), hidden

    zeros = jnp.zeros((recurrent.shape[1], projected.shape[2]), projected.dtype)
    return lax.scan(step, (zeros, zeros), None if every_step_alike else projected, steps)[1]
