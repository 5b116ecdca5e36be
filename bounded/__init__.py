"""Bounds that depend on the input, for the outputs of JAX networks.

`bounded.constraints` holds hard elementwise maps, `bounded.sets` maps onto coupled sets,
`bounded.penalties` loss terms for soft bounds, `bounded.metrics` what to measure and
`bounded.lstm` an LSTM layer. The Flax model is imported by its own name, `bounded.autoencoder`,
so that `import bounded` needs jax alone.
"""

from bounded import constraints, lstm, metrics, penalties, sets

__version__ = "0.1.0"

__all__ = ["constraints", "lstm", "metrics", "penalties", "sets"]
