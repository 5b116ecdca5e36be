"""What pads a window changes no bit of what comes of the window, as XLA optimises by itself."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bounded import constraints
from bounded.autoencoder import LSTMAutoencoder


def compiled(model):
    """Of inputs, targets and lengths: the code, the output, and the gradients of weights and
    inputs, of a loss that leaves the padding out."""
    graph, shapes = nnx.split(model)
    draw = np.random.default_rng(0)
    parameters = jax.tree.map(
        lambda leaf: draw.uniform(-0.5, 0.5, leaf.shape).astype(leaf.dtype), shapes
    )

    @jax.jit
    def run(parameters, inputs, targets, lengths):
        ends = jnp.full(len(inputs), inputs.shape[1]) if lengths is None else lengths
        within = jnp.arange(inputs.shape[1])[None, :, None] < ends[:, None, None]

        def loss(parameters, inputs):
            model = nnx.merge(graph, parameters)
            output = model(inputs, upper=jnp.full((), 0.1), lengths=lengths)
            return jnp.sum((output - targets) ** 2, where=within), output

        found, output = jax.grad(loss, (0, 1), has_aux=True)(parameters, inputs)
        code = nnx.merge(graph, parameters).encode(inputs, lengths)
        return code, output, *found

    return lambda *given: run(parameters, *given)


EVERY = [
    ((scan, conditioned), size)
    for scan in (True, False)
    for conditioned in (True, False)
    for size in ((1, 3, 5), (3, 1, 2), (32, 21, 32))
]


@pytest.mark.thorough  # the test below, of which little depends on how XLA optimises
@pytest.mark.parametrize(("network", "size"), EVERY)
def test_a_padded_window_is_the_window_to_the_bit(network, size):
    assert_the_same_to_the_bit(network, size)


@pytest.mark.usefixtures("unoptimised")
def test_a_padded_window_is_the_window_to_the_bit_unoptimised():
    assert_the_same_to_the_bit((False, True), (1, 3, 5))


def assert_the_same_to_the_bit(network, size):
    (scan, conditioned), (batch, length, steps) = network, size
    make = partial(LSTMAutoencoder, 2, 2, 8, constraints.smooth_clip, conditioned, scan=scan)
    run = compiled(nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0))))
    window = np.random.default_rng(2).normal(size=(batch, length, 2)).astype(np.float32)
    padding = ((0, 0), (0, steps - length), (0, 0))
    padded = np.pad(window, padding, constant_values=np.nan)
    lengths = np.full(batch, length)
    expected = run(window, 0.5 * window, lengths)
    code, output, weights, inputs = run(padded, np.pad(0.5 * window, padding), lengths)
    np.testing.assert_array_equal(code, expected[0])
    np.testing.assert_array_equal(output[:, :length], expected[1])
    np.testing.assert_array_equal(inputs, np.pad(expected[3], padding))
    jax.tree.map(np.testing.assert_array_equal, weights, expected[2])
    if size != (3, 1, 2):
        return
    plain = run(window, 0.5 * window, None)
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5 * max(1, np.abs(other).max()))
