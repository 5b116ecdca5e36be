"""The LSTM autoencoder of StackOverflow 47848606, in `flax.nnx`, ending in a constraint."""

from collections.abc import Callable
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from bounded.constraints import clip
from bounded.lstm import lstm, lstm_scan, project

Constraint = Callable[..., jax.Array]


class LSTMAutoencoder(nnx.Module):
    """Encoder, code, decoder, one dense layer for every step, constraint.

    The encoder's last hidden state is the code. The decoder reads the code at every step and
    returns a sequence; the same dense layer maps each step to raw, which the constraint maps to
    the output. With `condition_decoder` the decoder reads the inputs at every step as well, or what
    is known ahead in a forecast, whose outputs are of other steps than the inputs.

    Weights start as in Keras: uniform Glorot kernels, orthogonal recurrent weights, zero biases
    but for the forget gates, which start at 1.

    Args:
      in_features: features of the inputs.
      out_features: features of the output.
      hidden_features: hidden units of either LSTM; also the size of the code.
      constraint: a function `(raw, lower, upper) -> output`, such as those of
        `bounded.constraints`.
      condition_decoder: whether the decoder also reads the inputs.
      known_features: features of what it reads in place of the inputs, in a forecast.
      dtype: what the factors of the LSTMs' recurrent products are rounded to; `jnp.bfloat16` for
        mixed precision. Weights, sums and outputs keep theirs.
      scan: whether the LSTMs are plain scans, slower backward, but with forward mode (`jvp`,
        `jacfwd`) and second derivatives.
      rngs: the generator of the initial weights.

    Example:
      >>> model = LSTMAutoencoder(1, 2, hidden_features=4, rngs=nnx.Rngs(0))
      >>> inputs = jnp.ones((3, 8, 1))
      >>> model(inputs, upper=inputs).shape
      (3, 8, 2)
      >>> model(inputs, upper=inputs, lengths=jnp.array([5, 8, 2])).shape
      (3, 8, 2)
      >>> model(inputs, upper=1.0, steps=4).shape
      (3, 4, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden_features: int = 150,
        constraint: Constraint = clip,
        condition_decoder: bool = False,
        *,
        known_features: int | None = None,
        dtype: DTypeLike | None = None,
        scan: bool = False,
        rngs: nnx.Rngs,
    ):
        known_features = in_features if known_features is None else known_features
        decoder_features = hidden_features + (known_features if condition_decoder else 0)
        self.encoder = _LSTM(in_features, hidden_features, dtype, scan, rngs=rngs)
        self.decoder = _LSTM(decoder_features, hidden_features, dtype, scan, rngs=rngs)
        self.dense = nnx.Linear(
            hidden_features,
            out_features,
            kernel_init=nnx.initializers.glorot_uniform(),
            rngs=rngs,
        )
        self.in_features = in_features
        self.known_features = known_features
        self.hidden_features = hidden_features
        self.condition_decoder = condition_decoder
        self.constraint = constraint

    def __call__(
        self,
        inputs: jax.Array,
        lower: jax.Array | None = None,
        upper: jax.Array | None = None,
        lengths: jax.Array | None = None,
        *,
        steps: int | None = None,
        known: jax.Array | None = None,
    ) -> jax.Array:
        """Reconstruct: inputs (B, T, in_features) to an output (B, T, out_features) in its bounds;
        or forecast, where `steps` or `known` is given, an output of that many steps.

        With `lengths`, windows are padded at their end. Code, outputs and gradients are those of
        the windows without their padding and with the same lengths, to the bit on CPU; those
        without lengths, whose sums have another order, agree to rounding and are faster. What the
        padding holds does not matter. Outputs beyond a window's length mean nothing: leave them out
        of the loss, as with `where` of `jnp.mean`.

        Args:
          inputs: windows, (B, T, in_features).
          lower: lower bound, broadcastable to the output.
          upper: upper bound, broadcastable to the output.
          lengths: (B,), whole numbers from 1 to T; None: every window has all T steps. Of a
            forecast, only the inputs are padded.
          steps: of the output, H, in a forecast.
          known: what a conditioned decoder reads in a forecast, (B, H, known_features).
        """
        code = self.encode(inputs, lengths)
        if steps is None and known is None:
            raw = self.decode(code, inputs.shape[1], inputs, lengths)
        else:
            ahead = inputs if known is None else known
            raw = self.decode(code, ahead.shape[1] if steps is None else steps, known)
        return self.constraint(raw, lower, upper)

    def encode(self, inputs: jax.Array, lengths: jax.Array | None = None) -> jax.Array:
        """The code of each window: (B, T, in_features) to (B, hidden_features)."""
        _check_sequence("inputs", inputs, self.in_features)
        if lengths is None:
            return self.encoder(inputs.shape[1], inputs)[:, -1]
        lengths = _checked_lengths(lengths, *inputs.shape[:2])
        hidden = self.encoder(inputs.shape[1], _without_padding(inputs, lengths), padded=True)
        return jnp.take_along_axis(hidden, lengths[:, None, None] - 1, axis=1)[:, 0]

    def decode(
        self,
        code: jax.Array,
        length: int,
        inputs: jax.Array | None = None,
        lengths: jax.Array | None = None,
    ) -> jax.Array:
        """Raw outputs, before the constraint: (B, hidden_features) to (B, length, out_features).

        Args:
          code: codes, (B, hidden_features).
          length: the number of steps to decode.
          inputs: windows, (B, length, in_features), or in a forecast what is known ahead, (B,
            length, known_features); read only where the decoder is conditioned.
          lengths: (B,), whole numbers from 1 to length, where windows are padded.
        """
        if code.ndim != 2 or code.shape[1] != self.hidden_features:
            raise ValueError(f"code must be (B, {self.hidden_features}), got {code.shape}.")
        parts = [code[:, None]]
        if self.condition_decoder:
            if inputs is None:
                raise ValueError(
                    "This decoder reads the inputs (condition_decoder=True), but got none: "
                    "call decode(code, length, inputs)."
                )
            _check_sequence("inputs", inputs, self.known_features)
            parts.append(inputs)
        if lengths is None:
            return self.dense(self.decoder(length, *parts))
        lengths = _checked_lengths(lengths, len(code), length)
        parts[1:] = [_without_padding(part, lengths) for part in parts[1:]]
        return self._dense_by_step(self.decoder(length, *parts, padded=True))

    def _dense_by_step(self, hidden: jax.Array) -> jax.Array:
        """The dense layer with a product a step, so that no sum runs over padding."""
        bias = None if self.dense.bias is None else self.dense.bias[...]
        columns = hidden.transpose(1, 2, 0)
        return project(self.dense.kernel[...].T, columns, bias).transpose(2, 0, 1)


def _check_sequence(name: str, array: jax.Array, features: int) -> None:
    if array.ndim != 3 or array.shape[1] == 0 or array.shape[2] != features:
        raise ValueError(f"{name} must be (B, T, {features}) with T > 0, got {array.shape}.")


def _checked_lengths(lengths: jax.Array, windows: int, steps: int) -> jax.Array:
    lengths = jnp.asarray(lengths)
    if lengths.shape != (windows,) or not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise ValueError(
            f"lengths must be whole numbers of shape ({windows},), one a window, got "
            f"{lengths.dtype} of shape {lengths.shape}."
        )
    known = None if isinstance(lengths, jax.core.Tracer) else np.asarray(lengths)
    if known is not None and ((known < 1) | (known > steps)).any():
        raise ValueError(f"lengths must lie between 1 and {steps}, the steps, got {lengths}.")
    return lengths


def _without_padding(inputs: jax.Array, lengths: jax.Array) -> jax.Array:
    """Inputs with zeros for padding, so that nothing there, NaN included, is of any effect."""
    steps = jnp.arange(inputs.shape[1])[None, :, None]
    return jnp.where(steps < lengths[:, None, None], inputs, 0)


class _LSTM(nnx.Module):
    """Weights of one layer, in the layout of `bounded.lstm.lstm`."""

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        dtype: DTypeLike | None,
        scan: bool,
        *,
        rngs: nnx.Rngs,
    ):
        glorot = nnx.initializers.glorot_uniform(in_axis=1, out_axis=0)
        orthogonal = nnx.initializers.orthogonal()
        gates = 4 * hidden_features
        forget = slice(hidden_features, 2 * hidden_features)
        self.kernel = nnx.Param(glorot(rngs.params(), (gates, in_features)))
        self.recurrent = nnx.Param(orthogonal(rngs.params(), (gates, hidden_features)))
        self.bias = nnx.Param(jnp.zeros(gates).at[forget].set(1))
        self.dtype = dtype
        self.scan = scan

    def __call__(self, steps: int, *parts: jax.Array, padded: bool = False) -> jax.Array:
        """Hidden states (B, steps, H) of parts (B, steps, F), or (B, 1, F) where every step reads
        the same, side by side on the features. Where windows are padded by a plain scan, which sums
        its derivatives step by step: so steps without any change none of their bits."""
        splits = np.cumsum([part.shape[2] for part in parts])[:-1]
        kernels = jnp.split(self.kernel[...], splits, axis=1)
        biases = [self.bias[...], *[None] * (len(parts) - 1)]
        columns = [part.transpose(1, 2, 0) for part in parts]
        projected = reduce(jnp.add, map(project, kernels, columns, biases))
        layer = lstm_scan if self.scan or padded else lstm
        return layer(projected, self.recurrent[...], steps, self.dtype).transpose(2, 0, 1)
