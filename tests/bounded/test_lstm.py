from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bounded.lstm import lstm, lstm_scan, project
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("unoptimised")
BATCH, STEPS, HIDDEN = 3, 7, 4


def normal(seed, *shape, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def weights_and_inputs(features):
    kernel = 0.5 * normal(features, 4 * HIDDEN, features)
    recurrent, bias = 0.5 * normal(1, 4 * HIDDEN, HIDDEN), 0.5 * normal(2, 4 * HIDDEN)
    return kernel, recurrent, bias, normal(3, STEPS, features, BATCH)


@pytest.mark.parametrize("features", sampled([1, 2, 4, 5, 9], {1, 5}))
def test_the_projection_is_an_affine_map_of_every_step(features):
    kernel, _, bias, inputs = weights_and_inputs(features)
    added = np.asarray(bias)[None, :, None]
    expected = np.einsum("gf,tfb->tgb", kernel, inputs) + added
    found, without = jax.jit(lambda *x: (project(*x), project(*x[:2])))(kernel, inputs, bias)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(without + added, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "steps"),
    sampled(
        [(1, 1), (1, 2), (2, 2), (1, STEPS), (STEPS, STEPS)], [(1, 1), (1, STEPS), (STEPS, STEPS)]
    ),
)
def test_gradients_match_automatic_differentiation_of_a_plain_scan(rows, steps):
    projected, recurrent = normal(0, rows, 4 * HIDDEN, BATCH), normal(1, 4 * HIDDEN, HIDDEN)
    cotangent = normal(2, steps, HIDDEN, BATCH)

    @partial(jax.jit, static_argnums=0)
    def gradients(layer, *weights):
        output, pullback = jax.vjp(lambda p, r: layer(p, r, steps), *weights)
        return output, *pullback(cotangent)

    both = (gradients(layer, projected, recurrent) for layer in (lstm, lstm_scan))
    for found, expected in zip(*both, strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("x64")
def test_gradients_in_double_precision_match_to_the_last_digits():
    projected = normal(0, STEPS, 4 * HIDDEN, BATCH, dtype=float)
    recurrent = normal(1, 4 * HIDDEN, HIDDEN, dtype=float)
    assert projected.dtype == jnp.float64

    @partial(jax.jit, static_argnums=0)
    def gradients(layer, *weights):
        return jax.grad(lambda p, r: jnp.sum(jnp.sin(layer(p, r, STEPS))), (0, 1))(*weights)

    both = (gradients(layer, projected, recurrent) for layer in (lstm, lstm_scan))
    for found, expected in zip(*both, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_mixed_precision_rounds_the_factors_and_nothing_else():
    """Against a plain scan over factors that are rounded by hand, in the products alone."""
    projected, recurrent = normal(0, STEPS, 4 * HIDDEN, BATCH), normal(1, 4 * HIDDEN, HIDDEN)

    def rounded(x):
        return x + jax.lax.stop_gradient(x.astype(jnp.bfloat16).astype(x.dtype) - x)

    def by_hand(projected, recurrent):
        hidden = cell = jnp.zeros((HIDDEN, BATCH))
        for row in projected:
            i, f, g, o = jnp.split(row + rounded(recurrent) @ rounded(hidden), 4)
            cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
            yield hidden

    expected = jax.jit(lambda *a: jnp.stack(list(by_hand(*a))))(projected, recurrent)
    for layer in (lstm, lstm_scan):
        found = jax.jit(layer, static_argnums=(2, 3))(projected, recurrent, STEPS, jnp.bfloat16)
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not np.allclose(lstm(projected, recurrent, STEPS), expected, atol=1e-4)

    def total(hidden):
        return jnp.sum(jnp.sin(hidden))

    gradients = jax.jit(jax.grad(lambda *a: total(lstm(*a, STEPS, jnp.bfloat16)), (0, 1)))
    plain = jax.jit(jax.grad(lambda *a: total(jnp.stack(list(by_hand(*a)))), (0, 1)))
    pairs = zip(gradients(projected, recurrent), plain(projected, recurrent), strict=True)
    for of_rounded, of_plain in pairs:  # backward, the cotangents are rounded as well: 2^-9 each
        assert of_rounded.dtype == jnp.float32
        np.testing.assert_allclose(of_rounded, of_plain, atol=0.02 * np.abs(of_plain).max())


def test_other_differentiation_goes_through_the_plain_scan():
    projected = np.ones((STEPS, 4 * HIDDEN, BATCH), np.float32)
    recurrent = np.full((4 * HIDDEN, HIDDEN), 0.1, np.float32)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda p: lstm(p, recurrent, STEPS), (projected,), (projected,))

    @jax.jit
    def run(projected):
        def total(p):
            return jnp.sum(jnp.sin(lstm_scan(p, recurrent, STEPS)))

        _, tangent = jax.jvp(total, (projected,), (projected,))
        return tangent, jax.grad(lambda p: jnp.sum(jax.grad(total)(p) ** 2))(projected)

    for derivative in run(projected):
        assert np.isfinite(derivative).all()


@pytest.mark.parametrize("features", sampled([2, 6], {2}))
def test_agrees_with_flax_for_copied_weights(features):
    cell = nnx.OptimizedLSTMCell(features, HIDDEN, rngs=nnx.Rngs(0))
    inputs = normal(1, BATCH, STEPS, features)

    @jax.jit
    def run(cell, inputs):
        kernel, recurrent = cell.dense_i.kernel[...].T, cell.dense_h.kernel[...].T
        projected = project(kernel, inputs.transpose(1, 2, 0), cell.dense_h.bias[...])
        return nnx.RNN(cell)(inputs), lstm(projected, recurrent, STEPS).transpose(2, 0, 1)

    expected, found = run(cell, inputs)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_agrees_with_torch_for_copied_weights():
    """Outputs and gradients; needs the extra `bench`."""
    torch = pytest.importorskip("torch", reason="torch is of the extra bench")
    kernel, recurrent, bias, inputs = weights_and_inputs(3)
    layer = torch.nn.LSTM(3, HIDDEN)
    named = {"weight_ih_l0": kernel, "weight_hh_l0": recurrent, "bias_ih_l0": bias}
    with torch.no_grad():
        for name, value in named.items():
            getattr(layer, name).copy_(torch.tensor(np.asarray(value)))
        layer.bias_hh_l0.zero_()
    output, _ = layer(torch.tensor(np.asarray(inputs)).permute(0, 2, 1))
    output.sin().sum().backward()

    def total(kernel, recurrent, bias):
        hidden = lstm(project(kernel, inputs, bias), recurrent, STEPS)
        return jnp.sum(jnp.sin(hidden)), hidden

    gradients, hidden = jax.grad(total, (0, 1, 2), has_aux=True)(kernel, recurrent, bias)
    np.testing.assert_allclose(hidden.transpose(0, 2, 1), output.detach().numpy(), atol=1e-5)
    for name, found in zip(named, gradients, strict=True):
        expected = getattr(layer, name).grad.numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_one_projection_serves_every_step():
    projected, recurrent = normal(0, 1, 8, 3), normal(1, 8, 2)
    repeated = np.tile(projected, (4, 1, 1))
    run = jax.jit(lambda one, each: (lstm(one, recurrent, 4), lstm(each, recurrent, 4)))
    np.testing.assert_array_equal(*run(projected, repeated))
    assert jax.eval_shape(lambda p: lstm(p, recurrent, 1), projected).shape == (1, 2, 3)


def test_a_step_count_that_does_not_fit_is_refused():
    for layer in (lstm, lstm_scan):
        with pytest.raises(ValueError, match="1 or 4 steps"):
            layer(np.ones((3, 8, 2)), np.ones((8, 2)), 4)
