import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from bounded.constraints import clip
from bounded.penalties import squared_hinge


def test_squared_hinge_by_hand():
    output = jnp.array([-3.0, 0, 1, 4])
    np.testing.assert_allclose(squared_hinge(output, -1.0, 1.0), (4 + 0 + 0 + 9) / 4)
    np.testing.assert_allclose(squared_hinge(output, upper=1.0), 9 / 4)
    np.testing.assert_allclose(squared_hinge(output, lower=-1.0), 4 / 4)
    np.testing.assert_array_equal(squared_hinge(output), 0)


def test_squared_hinge_is_zero_with_zero_gradient_inside():
    output = jnp.array([-1.0, 0, 1])
    value, gradient = jax.value_and_grad(squared_hinge)(output, -1.0, 1.0)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_squared_hinge_ignores_infinite_bounds():
    value, gradient = jax.value_and_grad(squared_hinge)(jnp.array([5.0, -5]), -jnp.inf, jnp.inf)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_a_penalty_on_a_projected_output_is_identically_zero():
    raw = jnp.array([-3.0, 0, 4])
    np.testing.assert_array_equal(
        jax.grad(lambda z: squared_hinge(clip(z, -1.0, 1.0), -1.0, 1.0))(raw), 0
    )
    assert squared_hinge(raw, -1.0, 1.0) > 0


@pytest.mark.usefixtures("x64")
def test_squared_hinge_derivatives():
    output = jnp.linspace(-2.03, 2.01, 7)
    check_grads(squared_hinge, (output, -jnp.ones(7), jnp.ones(7)), order=1)
