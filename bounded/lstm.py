"""One LSTM layer: a scan over time with a hand-derived backward pass.

Arrays put time first, then features, then the batch. XLA's CPU runtime pays for every operation
of a loop, and its products are fastest as `weights @ columns`; so the loops hold one product
and a few elementwise operations a step, and all that does not depend on the step before is done
for all steps at once, outside.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

Axes = tuple[tuple[str, ...], tuple[str, ...]]


def project(kernel: jax.Array, inputs: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """The inputs' share of the gates, `kernel @ inputs[t] + bias` for every step.

    Args:
      kernel: (4H, F), gates in the order input, forget, cell, output.
      inputs: (steps, F, B).
      bias: (4H,).

    Returns:
      (steps, 4H, B), as `lstm` reads it.

    Example:
      >>> project(jnp.ones((8, 4)), jnp.ones((3, 4, 5))).shape
      (3, 8, 5)
    """
    if bias is not None:  # the weight of a feature that is always 1
        kernel = jnp.concatenate([kernel, bias[:, None]], axis=1)
        inputs = jnp.concatenate([inputs, jnp.ones_like(inputs[:, :1])], axis=1)
    # A product a step: on CPU it is fast backward too, where the gradient of one product for all
    # steps is a slow sum over the outer axes of two arrays.
    return jnp.broadcast_to(kernel, (len(inputs), *kernel.shape)) @ inputs


def lstm(
    projected: jax.Array, recurrent: jax.Array, steps: int, dtype: DTypeLike | None = None
) -> jax.Array:
    """Hidden states of an LSTM layer (Hochreiter and Schmidhuber 1997; Gers et al. 2000).

    With `i, f, g, o` the four blocks of `projected[t] + recurrent @ h[t-1]`,
    `c[t] = σ(f) c[t-1] + σ(i) tanh(g)` and `h[t] = σ(o) tanh(c[t])`, from zero states.

    The backward pass is written by hand, so there is no forward mode (`jvp`, `jacfwd`) and no
    second derivative through it: use `lstm_scan`, the same function without it, for those.

    Args:
      projected: the inputs' share of the gates, bias included: (steps, 4H, B), or (1, 4H, B)
        where every step has the same.
      recurrent: recurrent weights, (4H, H), gates in the order input, forget, cell, output.
      steps: the number of steps.
      dtype: what the recurrent products' factors are rounded to, forward and backward, such as
        `jnp.bfloat16`; their sums, and all else, keep the dtype of projected. None: no rounding.

    Returns:
      The hidden states, (steps, H, B).

    Raises:
      ValueError: if projected holds neither 1 nor `steps` steps.

    Example:
      >>> recurrent = jnp.zeros((8, 2))
      >>> lstm(jnp.ones((3, 8, 5)), recurrent, steps=3).shape
      (3, 2, 5)
    """
    # Products that are summed over shards need a place for the sum, which a scan's own have.
    if any(map(_has_explicit_shards, (projected, recurrent))):
        return lstm_scan(projected, recurrent, steps, dtype)
    # A derivative to what the shards of a `shard_map` have in common is the sum of theirs.
    own, shared = _axes_of_shards(projected), _axes_of_shards(recurrent)
    return _by_hand(projected, recurrent, steps, dtype, (tuple(shared - own), tuple(own - shared)))


def lstm_scan(
    projected: jax.Array, recurrent: jax.Array, steps: int, dtype: DTypeLike | None = None
) -> jax.Array:
    """`lstm` as a plain scan: slower backward, but differentiable in any way and any number of
    times.

    Example:
      >>> recurrent, moved = jnp.zeros((8, 2)), jnp.ones((3, 8, 5))
      >>> hidden, change = jax.jvp(lambda x: lstm_scan(x, recurrent, 3), (moved,), (moved,))
      >>> change.shape
      (3, 2, 5)
    """
    return _scan(projected, recurrent, steps, dtype)[0]


def _scan(
    projected: jax.Array, recurrent: jax.Array, steps: int, dtype: DTypeLike | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Hidden states, cells (steps, H, B) and activated gates (steps, 4H, B)."""
    if projected.shape[0] not in (1, steps):
        raise ValueError(
            f"projected must hold 1 or {steps} steps on its first axis, got shape "
            f"{projected.shape}."
        )
    every_step_alike = projected.shape[0] == 1 != steps
    rounded = recurrent.astype(dtype or recurrent.dtype)

    def step(
        carry: tuple[jax.Array, jax.Array], row: jax.Array | None
    ) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array, jax.Array]]:
        hidden, cell = carry
        gates = (projected[0] if row is None else row) + _product(rounded, hidden)
        i, f, g, o = jnp.split(gates, 4)
        i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
        cell = f * cell + i * g
        hidden = o * jnp.tanh(cell)
        return (hidden, cell), (hidden, cell, jnp.concatenate([i, f, g, o]))

    zeros = jnp.zeros((recurrent.shape[1], projected.shape[2]), projected.dtype)
    (like, _), _ = jax.eval_shape(lambda: step((zeros, zeros), projected[0]))
    zeros = jnp.zeros_like(like)
    return lax.scan(step, (zeros, zeros), None if every_step_alike else projected, steps)[1]


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _by_hand(
    projected: jax.Array,
    recurrent: jax.Array,
    steps: int,
    dtype: DTypeLike | None,
    summed: Axes,
) -> jax.Array:
    return lstm_scan(projected, recurrent, steps, dtype)


Residuals = tuple[jax.Array, jax.Array, jax.Array, jax.Array, int]


def _forward(
    projected: jax.Array,
    recurrent: jax.Array,
    steps: int,
    dtype: DTypeLike | None,
    summed: Axes,
) -> tuple[jax.Array, Residuals]:
    hidden, cell, gates = _scan(projected, recurrent, steps, dtype)
    return hidden, (hidden, cell, gates, recurrent, projected.shape[0])


def _backward(
    steps: int,
    dtype: DTypeLike | None,
    summed: Axes,
    residuals: Residuals,
    of_hidden: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    hidden, cell, gates, recurrent, rows = residuals
    size = recurrent.shape[1]
    i, f, g, o = jnp.split(gates, 4, axis=1)
    squashed = jnp.tanh(cell)
    # What the derivatives of cell and hidden state are multiplied by, on the way to the gates.
    by_gate = jnp.concatenate(
        [g * i * (1 - i), _before(cell) * f * (1 - f), i * (1 - g**2), squashed * o * (1 - o)],
        axis=1,
    )
    by_cell = o * (1 - squashed**2)
    is_output_gate = jnp.arange(4)[:, None, None] == 3
    # Without the barrier XLA folds the transposition back into a slower product.
    transposed = lax.optimization_barrier(recurrent.T.astype(dtype or recurrent.dtype))

    def step(
        carry: tuple[jax.Array, jax.Array], row: tuple[jax.Array, ...]
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        from_later, of_cell = carry
        of_hidden, by_gate, by_cell, f = row
        of_hidden = of_hidden + from_later
        of_cell = of_cell + of_hidden * by_cell
        reached = jnp.where(is_output_gate, of_hidden[None], of_cell[None])
        of_gates = (by_gate.reshape(4, size, -1) * reached).reshape(4 * size, -1)
        return (_product(transposed, of_gates), of_cell * f), of_gates

    zeros = jnp.zeros_like(cell[0])
    rows_of_loop = (of_hidden, by_gate, by_cell, f)
    _, of_gates = lax.scan(step, (zeros, zeros), rows_of_loop, reverse=True)

    def columns(x: jax.Array) -> jax.Array:
        return x.transpose(1, 0, 2).reshape(x.shape[1], -1)

    of_recurrent = _product(columns(of_gates).astype(transposed.dtype), columns(_before(hidden)).T)
    of_projected = of_gates if rows == steps else _sum_over_steps(of_gates)
    axes_of_projected, axes_of_recurrent = summed
    return lax.psum(of_projected, axes_of_projected), lax.psum(of_recurrent, axes_of_recurrent)


_by_hand.defvjp(_forward, _backward)


def _product(rounded: jax.Array, columns: jax.Array) -> jax.Array:
    """Their product, of factors in the dtype of the first and with sums in that of the second."""
    return lax.dot(rounded, columns.astype(rounded.dtype), preferred_element_type=columns.dtype)


def _has_explicit_shards(x: jax.Array) -> bool:
    return any(jax.typeof(x).sharding.spec)


def _axes_of_shards(x: jax.Array) -> frozenset[str]:
    """The axes of a `shard_map`'s mesh along which each shard has an x of its own."""
    kind = jax.eval_shape(lambda: x).manual_axis_type
    return frozenset(kind.varying) if kind else frozenset()


def _before(states: jax.Array) -> jax.Array:
    """The states of the step before, from zeros."""
    return jnp.concatenate([jnp.zeros_like(states[:1]), states[:-1]])


def _sum_over_steps(x: jax.Array) -> jax.Array:
    """Sum over the first axis, kept, by halves: XLA's own on CPU takes many times as long."""
    while len(x) > 1:
        half = len(x) // 2
        x = jnp.concatenate([x[:half] + x[half : 2 * half], x[2 * half :]])
    return x
