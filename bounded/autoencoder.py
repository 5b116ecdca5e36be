"""The LSTM autoencoder of StackOverflow 47848606, in `flax.nnx`, ending in a constraint."""

from collections.abc import Callable
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from bounded.constraints import clip
from bounded.lstm import lstm, project

Constraint = Callable[..., jax.Array]


class LSTMAutoencoder(nnx.Module):
    """Encoder, code, decoder, one dense layer for every step, constraint.

    The encoder's last hidden state is the code. The decoder reads the code at every step and
    returns a sequence; the same dense layer maps each step to raw, which the constraint maps to
    the output. With `condition_decoder` the decoder reads the inputs at every step as well.

    Weights start as in Keras: uniform Glorot kernels, orthogonal recurrent weights, zero biases
    but for the forget gates, which start at 1.

    Args:
      in_features: features of the inputs.
      out_features: features of the output.
      hidden_features: hidden units of either LSTM; also the size of the code.
      constraint: a function `(raw, lower, upper) -> output`, such as those of
        `bounded.constraints`.
      condition_decoder: whether the decoder also reads the inputs.
      dtype: what the factors of the LSTMs' recurrent products are rounded to; `jnp.bfloat16` for
        mixed precision. Weights, sums and outputs keep theirs.
      rngs: the generator of the initial weights.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden_features: int = 150,
        constraint: Constraint = clip,
        condition_decoder: bool = False,
        *,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        decoder_features = hidden_features + (in_features if condition_decoder else 0)
        self.encoder = _LSTM(in_features, hidden_features, dtype, rngs=rngs)
        self.decoder = _LSTM(decoder_features, hidden_features, dtype, rngs=rngs)
        self.dense = nnx.Linear(
            hidden_features,
            out_features,
            kernel_init=nnx.initializers.glorot_uniform(),
            rngs=rngs,
        )
        self.in_features = in_features
        self.hidden_features = hidden_features
        self.condition_decoder = condition_decoder
        self.constraint = constraint

    def __call__(
        self,
        inputs: jax.Array,
        lower: jax.Array | None = None,
        upper: jax.Array | None = None,
    ) -> jax.Array:
        """Reconstruct: inputs (B, T, in_features) to an output (B, T, out_features) in its bounds.

        Args:
          inputs: windows, (B, T, in_features).
          lower: lower bound, broadcastable to the output.
          upper: upper bound, broadcastable to the output.
        """
        raw = self.decode(self.encode(inputs), inputs.shape[1], inputs)
        return self.constraint(raw, lower, upper)

    def encode(self, inputs: jax.Array) -> jax.Array:
        """The code of each window: (B, T, in_features) to (B, hidden_features)."""
        self._check_inputs(inputs)
        return self.encoder(inputs.shape[1], inputs)[:, -1]

    def decode(self, code: jax.Array, length: int, inputs: jax.Array | None = None) -> jax.Array:
        """Raw outputs, before the constraint: (B, hidden_features) to (B, length, out_features).

        Args:
          code: codes, (B, hidden_features).
          length: the number of steps to decode.
          inputs: windows, (B, length, in_features); read only where the decoder is conditioned.
        """
        if code.ndim != 2 or code.shape[1] != self.hidden_features:
            raise ValueError(f"code must be (B, {self.hidden_features}), got {code.shape}.")
        if not self.condition_decoder:
            return self.dense(self.decoder(length, code[:, None]))
        if inputs is None:
            raise ValueError(
                "This decoder reads the inputs (condition_decoder=True), but got none: "
                "call decode(code, length, inputs)."
            )
        self._check_inputs(inputs)
        return self.dense(self.decoder(length, code[:, None], inputs))

    def _check_inputs(self, inputs: jax.Array) -> None:
        if inputs.ndim != 3 or inputs.shape[1] == 0 or inputs.shape[2] != self.in_features:
            raise ValueError(
                f"inputs must be (B, T, {self.in_features}) with T > 0, got {inputs.shape}."
            )


class _LSTM(nnx.Module):
    """Weights of one layer, in the layout of `bounded.lstm.lstm`."""

    def __init__(
        self, in_features: int, hidden_features: int, dtype: DTypeLike | None, *, rngs: nnx.Rngs
    ):
        glorot = nnx.initializers.glorot_uniform(in_axis=1, out_axis=0)
        orthogonal = nnx.initializers.orthogonal()
        gates = 4 * hidden_features
        forget = slice(hidden_features, 2 * hidden_features)
        self.kernel = nnx.Param(glorot(rngs.params(), (gates, in_features)))
        self.recurrent = nnx.Param(orthogonal(rngs.params(), (gates, hidden_features)))
        self.bias = nnx.Param(jnp.zeros(gates).at[forget].set(1))
        self.dtype = dtype

    def __call__(self, steps: int, *parts: jax.Array) -> jax.Array:
        """Hidden states (B, steps, H) of parts (B, steps, F), or (B, 1, F) where every step reads
        the same, side by side on the features."""
        splits = np.cumsum([part.shape[2] for part in parts])[:-1]
        kernels = jnp.split(self.kernel[...], splits, axis=1)
        biases = [self.bias[...], *[None] * (len(parts) - 1)]
        columns = [part.transpose(1, 2, 0) for part in parts]
        projected = reduce(jnp.add, map(project, kernels, columns, biases))
        return lstm(projected, self.recurrent[...], steps, self.dtype).transpose(2, 0, 1)
