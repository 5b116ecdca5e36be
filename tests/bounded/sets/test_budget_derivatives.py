"""Budgets: derivatives by finite differences and by hand, and their ranks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bounded import metrics, sets
from tests.bounded.sets.cases import BUDGETS

pytestmark = pytest.mark.usefixtures("unoptimised")
SIZE = 5
every_budget = pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
either_sum = pytest.mark.parametrize("equality", [False, True], ids=["at most", "equal"])


@every_budget
@either_sum
@pytest.mark.parametrize("capped", [False, True], ids=["", "capped"])
def test_derivatives_are_those_of_finite_differences(budget, equality, capped, x64):
    generator = np.random.default_rng(3)
    raw = generator.normal(size=(30, SIZE))
    total = np.where(np.arange(30) % 2, 0.7, 2.5) * generator.uniform(0.9, 1.1, 30)
    weight = generator.normal(size=(30, SIZE))
    arguments = [raw, total]
    if capped:
        arguments.append(generator.uniform(0.3, 0.8, (30, SIZE)))
        total[:] = np.minimum(total, 0.8 * arguments[2].sum(-1)) if equality else total

    directions = [generator.normal(size=x.shape) for x in arguments]

    def weighted(step):
        moved = [x + step * d for x, d in zip(arguments, directions, strict=True)]
        upper = moved[2] if capped else None
        return (budget(*moved[:2], equality=equality, upper=upper) * weight).sum(-1)

    along = jax.jit(lambda step: jax.jvp(weighted, (step,), (1.0,)))
    found, step = along(0.0)[1], 1e-6
    difference = (along(step)[0] - along(-step)[0]) / (2 * step)
    np.testing.assert_allclose(found, difference, atol=1e-6)


def test_the_projections_jacobian_is_dead_along_the_common_shift():
    raw, total = jnp.array([3.0, 2.5, -1.0]), 4.0
    jacobian = jax.jacobian(sets.budget_projection)(raw, total)
    np.testing.assert_allclose(jacobian, [[0.5, -0.5, 0], [-0.5, 0.5, 0], [0, 0, 0]])
    np.testing.assert_allclose(jax.jacobian(sets.budget_projection, 1)(raw, total), [0.5, 0.5, 0])
    assert metrics.jacobian_rank_fraction(jacobian) == np.float32(1 / 3)
    inside = jax.jacobian(sets.budget_projection)(raw, 9.0)
    np.testing.assert_allclose(inside, np.diag([1, 1, 0]))


def test_the_ranks_of_the_others():
    raw = jnp.array([[1.0, 0.5, 2.0], [0.1, 0.2, 0.1]])

    def rank(budget, **keywords):
        jacobian = metrics.set_jacobian(lambda raw: budget(raw, 1.0, **keywords), raw)
        assert jacobian.shape == (2, 3, 3)
        return float(metrics.jacobian_rank_fraction(jacobian[:1])) * 3

    for budget in (sets.budget_softmax, sets.budget_sequential):
        assert rank(budget) == pytest.approx(3)
        assert rank(budget, equality=True) == pytest.approx(2)
    assert rank(sets.budget_rescale) == pytest.approx(2)


@every_budget
@either_sum
def test_no_derivative_is_nan_where_the_set_is_a_point(budget, equality):
    raw = jnp.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [-1.0, 2.0, 2.0]])
    gradients = jax.jit(
        jax.grad(
            lambda raw, total, upper: budget(raw, total, equality=equality, upper=upper).sum(),
            argnums=(0, 1, 2),
        )
    )
    for total, upper in [(0.0, np.inf), (0.0, 0.0), (1.0, 0.0), (2.0, jnp.array([0, 1.0, 1.0]))]:
        found = gradients(raw, jnp.asarray(total), jnp.broadcast_to(upper, 3))
        assert all(jnp.isfinite(gradient).all() for gradient in found)
