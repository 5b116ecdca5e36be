"""Budgets: derivatives by finite differences and by hand, and their ranks."""

from functools import partial
from itertools import product

import jax
import numpy as np
import pytest

from bounded import metrics, sets
from tests.bounded.sets.cases import BUDGETS
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("unoptimised")
SIZE = 5
rank_fraction = jax.jit(metrics.jacobian_rank_fraction)


@pytest.mark.parametrize(
    ("budget", "equality", "capped"),
    sampled(
        product(BUDGETS.values(), (False, True), (False, True)),
        lambda one: one[1:] == (True, True) or one == (sets.budget_projection, False, False),
    ),
)
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

    along, step = jax.jit(lambda step: jax.jvp(weighted, (step,), (1.0,))), 1e-6
    (_, found), (above, _), (below, _) = jax.device_get([along(x) for x in (0.0, step, -step)])
    difference = (above - below) / (2 * step)
    np.testing.assert_allclose(found, difference, atol=1e-6)


def test_the_projections_jacobian_is_dead_along_the_common_shift():
    raw = np.float32([3, 2.5, -1])
    to_both = jax.jit(jax.jacobian(sets.budget_projection, (0, 1)))
    jacobian, to_total = jax.device_get(to_both(raw, 4.0))
    np.testing.assert_allclose(jacobian, [[0.5, -0.5, 0], [-0.5, 0.5, 0], [0, 0, 0]])
    np.testing.assert_allclose(to_total, [0.5, 0.5, 0])
    assert rank_fraction(jacobian) == np.float32(1 / 3)
    np.testing.assert_allclose(to_both(raw, 9.0)[0], np.diag([1, 1, 0]))


@pytest.mark.thorough  # finite differences are above
def test_the_ranks_of_the_others():
    raw = np.float32([[1, 0.5, 2], [0.1, 0.2, 0.1]])

    expected = {
        (sets.budget_softmax, False): 3,
        (sets.budget_softmax, True): 2,
        (sets.budget_sequential, False): 3,
        (sets.budget_sequential, True): 2,
        (sets.budget_rescale, False): 2,
    }

    @jax.jit
    def jacobians(raw):
        return [
            metrics.set_jacobian(partial(budget, total=1.0, equality=equality), raw)
            for budget, equality in expected
        ]

    for jacobian, rank in zip(jacobians(raw), expected.values(), strict=True):
        assert jacobian.shape == (2, 3, 3)
        assert 3 * rank_fraction(np.asarray(jacobian)[0]) == pytest.approx(rank)


@pytest.mark.parametrize(
    ("budget", "equality"),
    sampled(
        product(BUDGETS.values(), (False, True)),
        [
            (sets.budget_projection, False),
            (sets.budget_sequential, True),
            (sets.budget_softmax, True),
        ],
    ),
)
def test_no_derivative_is_nan_where_the_set_is_a_point(budget, equality):
    raw = np.float32([[1, 1, 1], [0, 0, 0], [-1, 2, 2]])
    gradients = jax.jit(
        jax.grad(
            lambda raw, total, upper: budget(raw, total, equality=equality, upper=upper).sum(),
            argnums=(0, 1, 2),
        )
    )
    for total, upper in [(0, np.inf), (0, 0), (1, 0), (2, [0, 1, 1])]:
        found = gradients(raw, np.float32(total), np.broadcast_to(np.float32(upper), 3))
        assert all(np.isfinite(gradient).all() for gradient in found)
