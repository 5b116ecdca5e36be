import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bounded.lstm import lstm


def test_agrees_with_flax_for_copied_weights():
    batch, steps, features, hidden = 3, 5, 2, 4
    cell = nnx.OptimizedLSTMCell(features, hidden, rngs=nnx.Rngs(0))
    inputs = jax.random.normal(jax.random.key(1), (batch, steps, features))
    expected = nnx.RNN(cell)(inputs)

    kernel, recurrent = cell.dense_i.kernel[...], cell.dense_h.kernel[...]
    bias = cell.dense_h.bias[...]
    projected = jnp.einsum("fg,btf->tgb", kernel, inputs) + bias[None, :, None]
    found = lstm(projected, recurrent.T, steps).transpose(2, 0, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_one_projection_serves_every_step():
    projected = jax.random.normal(jax.random.key(0), (1, 8, 3))
    recurrent = jax.random.normal(jax.random.key(1), (8, 2))
    repeated = jnp.tile(projected, (4, 1, 1))
    np.testing.assert_array_equal(lstm(projected, recurrent, 4), lstm(repeated, recurrent, 4))
    assert lstm(projected, recurrent, 1).shape == (1, 2, 3)


def test_a_step_count_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="1 or 4 steps"):
        lstm(jnp.ones((3, 8, 2)), jnp.ones((8, 2)), 4)
