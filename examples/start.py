"""A network's last bias, set where its constraint gives the targets, in Flax.

Wind speed is at least 0, and a network's raw begins around 0: on the bound of a clip, where half of
the features have no gradient. Begun inside, all have one.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from bounded import constraints, starts
from bounded.autoencoder import LSTMAutoencoder

inputs = 5 + jax.random.gamma(jax.random.key(0), 2.0, (32, 8, 3))
targets, lower = inputs, jnp.zeros(3)

model = LSTMAutoencoder(3, 3, 16, constraints.clip, rngs=nnx.Rngs(0))


def alive(model):
    """The share of outputs strictly inside, where the clip has a gradient for any change."""
    output = model(inputs, lower)
    return float(jnp.mean(output > 0))


before = alive(model)
model.dense.bias[...] = starts.constant(model.constraint, targets, lower)
after = alive(model)
print(f"outputs with a gradient: {before:.0%} at zero, {after:.0%} at the start")
