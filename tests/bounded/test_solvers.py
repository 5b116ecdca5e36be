"""`clip` against a solver of quadratic programs: the point and its derivative."""

import cvxpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bounded.constraints import clip

pytestmark = pytest.mark.usefixtures("unoptimised")
SIZE = 12
STEP = 1e-3
SIDES = [("lower",), ("upper",), ("lower", "upper")]


def solve(raw, lower, upper):
    """The nearest point to raw within the bounds, by Clarabel's interior point method."""
    output = cvxpy.Variable(SIZE)
    limits = [output >= lower] * (lower is not None) + [output <= upper] * (upper is not None)
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(output - raw)), limits)
    accuracy = {f"tol_{name}": 1e-11 for name in ("gap_abs", "gap_rel", "feas")}
    problem.solve(solver=cvxpy.CLARABEL, **accuracy)
    return output.value


@pytest.mark.filterwarnings("ignore")  # of the solver
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("sides", SIDES, ids="+".join)
@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10_000))
def test_clip_is_the_projection_that_a_solver_finds(sides, seed):
    generator = np.random.default_rng(seed)
    one, other = generator.normal(size=(2, SIZE))
    bounds = {"lower": np.minimum(one, other), "upper": np.maximum(one, other)}
    lower, upper = (bounds[side] if side in sides else None for side in ("lower", "upper"))
    raw, tangent = 2 * generator.normal(size=SIZE), generator.uniform(-1, 1, SIZE)
    for bound in bounds.values():  # no kink within the differences below
        raw = np.where(np.abs(raw - bound) < 10 * STEP, bound + 20 * STEP, raw)
    output, derivative = jax.jvp(
        lambda raw: clip(raw, lower, upper), (jnp.asarray(raw),), (jnp.asarray(tangent),)
    )
    np.testing.assert_allclose(output, solve(raw, lower, upper), rtol=0, atol=1e-6)
    ahead, behind = (solve(raw + sign * STEP * tangent, lower, upper) for sign in (1, -1))
    np.testing.assert_allclose(derivative, (ahead - behind) / (2 * STEP), rtol=0, atol=1e-4)
