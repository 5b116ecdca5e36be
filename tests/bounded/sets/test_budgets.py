"""Budgets: values by hand, sums by hypothesis, and a solver."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bounded import sets
from bounded.constraints import clip
from tests.bounded.sets.cases import BUDGETS

pytestmark = pytest.mark.usefixtures("unoptimised")
SIZE = 5
every_budget = pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
either_sum = pytest.mark.parametrize("equality", [False, True], ids=["at most", "equal"])


@cache
def compiled(budget, equality):
    return jax.jit(partial(budget, equality=equality))


def sum_in_order(output):
    """From the first entry to the last, in the output's dtype."""
    return np.add.accumulate(np.asarray(output), axis=-1)[..., -1]


def draw_sets(generator, count, dtype, equality, largest=6):
    """raw, total and caps over many magnitudes, with ties, zeros, and missing caps."""
    scale = 10.0 ** generator.uniform(-3, largest, (count, 1))
    raw = (generator.normal(size=(count, SIZE)) * scale).astype(dtype)
    raw[: count // 4, 1] = raw[: count // 4, 0]
    total = (10.0 ** generator.uniform(-3, 2, count)).astype(dtype)
    total[: count // 10] = 0
    upper = (generator.random((count, SIZE)) * 2 * np.float64(total)[:, None]).astype(dtype)
    upper[generator.random(upper.shape) < 0.2] = 0
    upper[generator.random(upper.shape) < 0.3] = np.inf
    if equality:
        total = np.minimum(total, np.float64(upper).sum(-1) * 0.9).astype(dtype)
    return raw, total, upper


def test_values_by_hand():
    raw, total = jnp.array([3.0, 1.0, -2.0]), 2.0
    np.testing.assert_allclose(sets.budget_projection(raw, total), [2, 0, 0])
    np.testing.assert_allclose(sets.budget_projection(raw, 3.0), [2.5, 0.5, 0])
    np.testing.assert_allclose(sets.budget_projection(raw, 3.0, upper=2.0), [2, 1, 0])
    np.testing.assert_allclose(sets.budget_rescale(raw, total), [1.5, 0.5, 0])
    np.testing.assert_allclose(
        sets.budget_rescale(raw, 6.0, equality=True, upper=4), [3.25, 1.75, 1]
    )
    zeros = jnp.zeros(3)
    for even in (sets.budget_softmax, sets.budget_sequential):
        np.testing.assert_allclose(even(zeros, 2.0), [0.5, 0.5, 0.5])
        np.testing.assert_allclose(even(zeros, 3.0, equality=True), [1, 1, 1])
    np.testing.assert_allclose(
        sets.budget_softmax(raw, total), 2 * jnp.exp(raw) / (1 + jnp.exp(raw).sum()), rtol=1e-6
    )
    first = 2 / (1 + 3 * np.exp(-3.0))
    second = (2 - first) / (1 + 2 * np.exp(-1.0))
    third = (2 - first - second) / (1 + np.exp(2.0))
    np.testing.assert_allclose(
        sets.budget_sequential(raw, total), [first, second, third], rtol=1e-6
    )


@pytest.mark.parametrize("name", ["budget_projection", "budget_rescale"])
def test_inside_the_set_two_are_the_identity(name):
    raw = jnp.array([[0.25, 0.5], [0, 1.0], [0.3, 0.7]])
    np.testing.assert_array_equal(BUDGETS[name](raw, 1.0), raw)


@every_budget
def test_one_entry_is_an_entry_between_zero_and_the_total(budget):
    raw = jnp.linspace(-2, 4, 13)[:, None]
    output = budget(raw, 1.5)
    assert ((output >= 0) & (output <= 1.5)).all()
    if budget in (sets.budget_projection, sets.budget_rescale):
        np.testing.assert_array_equal(output, clip(raw, 0.0, 1.5))
    np.testing.assert_allclose(budget(raw, 1.5, equality=True), 1.5)


@pytest.mark.optimised
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
@every_budget
@either_sum
def test_the_sum_and_the_entries_hold_exactly(budget, equality, seed):
    raw, total, upper = draw_sets(np.random.default_rng(seed), 400, np.float32, equality)
    output = np.asarray(compiled(budget, equality)(raw, total, upper=upper))
    check_feasible(output, total, upper, equality)


def draw_unlike(generator, count, equality):
    """raw, total and caps from 1e-6 to 1e6 in one set."""
    size, upper = 10.0 ** generator.uniform(-6, 6, (2, count, SIZE))
    raw = (generator.normal(size=(count, SIZE)) * size).astype(np.float32)
    upper[: count // 2][generator.random((count // 2, SIZE)) < 0.3] = np.inf
    upper = upper.astype(np.float32)
    total = 10.0 ** generator.uniform(-6, 6, count)
    total = np.minimum(total, np.float64(upper).sum(-1) * 0.9) if equality else total
    return raw, total.astype(np.float32), upper


@pytest.mark.optimised
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
@every_budget
@either_sum
def test_they_do_among_entries_of_unlike_scale(budget, equality, seed):
    raw, total, upper = draw_unlike(np.random.default_rng(seed), 400, equality)
    output = np.asarray(compiled(budget, equality)(raw, total, upper=upper))
    check_feasible(output, total, upper, equality)


@pytest.mark.optimised
@every_budget
@either_sum
def test_they_hold_in_double_precision(budget, equality, x64):
    raw, total, upper = draw_sets(np.random.default_rng(0), 2000, np.float64, equality, largest=14)
    output = np.asarray(budget(raw, total, equality=equality, upper=upper))
    assert output.dtype == np.float64
    check_feasible(output, total, upper, equality)


def check_feasible(output, total, upper, equality):
    assert (output >= 0).all()
    assert (output <= upper).all()
    assert (sum_in_order(output) <= total).all()
    if equality:
        missing = np.abs(np.float64(output).sum(-1) - total)
        assert (missing <= 2 * SIZE * np.finfo(output.dtype).eps * total).all()


@pytest.mark.optimised
@every_budget
@pytest.mark.parametrize(("equality", "dtype"), [(False, jnp.float16), (True, jnp.bfloat16)])
def test_in_half_precision_the_sum_is_right_to_its_rounding(budget, equality, dtype):
    raw, total, upper = draw_sets(np.random.default_rng(1), 1000, np.float32, equality, largest=3)
    raw, total, upper = (jnp.asarray(x, dtype) for x in (raw, total, upper))
    output = compiled(budget, equality)(raw, total, upper=upper)
    assert output.dtype == dtype
    assert ((output >= 0) & (output <= upper)).all()
    output, total, upper = (np.float64(x) for x in (output, total, upper))
    over = output.sum(-1) - total
    limit = 2 * SIZE * float(jnp.finfo(dtype).eps) * total
    assert (over <= limit).all()
    assert not equality or (over >= -limit)[upper.sum(-1) >= total].all()


@pytest.mark.optimised
@every_budget
@either_sum
def test_the_dtypes_extremes_are_kept_within(budget, equality):
    top = np.finfo(np.float32).max
    rows = np.array([[top, -top, 0, 1, top], [top] * SIZE, [-top] * SIZE, [0] * SIZE], np.float32)
    raw, total = np.tile(rows, (100, 1)), np.repeat(np.float32([0, 1e-3, 1, top]), 100)
    output = np.asarray(compiled(budget, equality)(raw, total, upper=np.full_like(raw, np.inf)))
    assert np.isfinite(output).all()
    assert (output >= 0).all()
    assert (sum_in_order(output) <= total).all()


def test_a_large_raw_and_a_small_total_keep_their_digits():
    raw, total = jnp.array([1e6, 1e6 + 0.5, 1e6, -1e6]), 1e-3
    np.testing.assert_allclose(sets.budget_projection(raw, total), [0, 1e-3, 0, 0], rtol=1e-6)
    tied = jnp.array([1e6, 1e6, 1.0])
    np.testing.assert_allclose(sets.budget_projection(tied, total), [5e-4, 5e-4, 0], rtol=1e-6)
    caps = jnp.array([2e-4, 3e-4, 1.0])
    found = sets.budget_projection(tied, total, upper=caps)
    np.testing.assert_allclose(found, [2e-4, 3e-4, 5e-4], rtol=1e-6)
    np.testing.assert_allclose(sets.budget_softmax(tied, total), [5e-4, 5e-4, 0], rtol=1e-5)


@either_sum
def test_the_projection_is_that_of_a_solver(equality, x64):
    cvxpy = pytest.importorskip("cvxpy", reason="the solver is a development dependency")
    generator = np.random.default_rng(2)
    variable, raw, upper = cvxpy.Variable(SIZE), cvxpy.Parameter(SIZE), cvxpy.Parameter(SIZE)
    total = cvxpy.Parameter()
    spent = cvxpy.sum(variable)
    held = [variable >= 0, variable <= upper, spent == total if equality else spent <= total]
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(variable - raw)), held)
    for case in range(40):
        raw.value = generator.normal(size=SIZE) * generator.choice([0.1, 1, 10])
        upper.value = generator.random(SIZE) * generator.choice([0.5, 5], SIZE)
        upper.value[: case % 3] = 0  # an empty interior
        raw.value[:2] = raw.value[0] if case % 4 == 0 else raw.value[:2]
        least = upper.value.sum() * 0.9
        total.value = min(generator.choice([0, 0.3, 2]), least if equality else np.inf)
        problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
        found = sets.budget_projection(
            raw.value, total.value, equality=equality, upper=np.array(upper.value)
        )
        np.testing.assert_allclose(found, variable.value, atol=1e-6)


@every_budget
def test_a_set_that_is_not_a_number_spoils_no_other(budget):
    raw = jnp.array([[1.0, jnp.nan], [1.0, 2.0], [1.0, 2.0]])
    output = budget(raw, jnp.array([1.0, jnp.nan, 1.0]))
    assert jnp.isnan(output[:2]).all()
    assert jnp.isfinite(output[2]).all()
    assert jnp.isnan(budget(raw[2], 1.0, upper=jnp.array([1.0, jnp.nan]))).all()


@every_budget
@either_sum
def test_without_a_total_entries_are_clipped_and_a_negative_one_is_zero(budget, equality):
    raw = jnp.array([[-1.0, 3.0], [4.0, 0.5]])
    found = budget(raw, jnp.inf, equality=equality, upper=jnp.array([jnp.inf, 1.0]))
    np.testing.assert_array_equal(found, clip(raw, 0.0, jnp.array([[jnp.inf, 1.0]])))
    np.testing.assert_array_equal(budget(raw, -1.0, equality=equality), jnp.zeros((2, 2)))


@every_budget
def test_caps_that_cannot_take_up_the_total_are_the_output(budget):
    upper = jnp.array([0.5, 0.25, 0.0])
    found = budget(jnp.array([1.0, -3.0, 2.0]), 2.0, equality=True, upper=upper)
    np.testing.assert_allclose(found, upper, rtol=1e-5)


@every_budget
def test_an_infinite_cap_is_no_cap(budget):
    raw = jnp.array([[1.0, -0.5, 2.0], [0.1, 0.2, -3.0]])
    for equality in (False, True):
        free = budget(raw, 1.5, equality=equality)
        np.testing.assert_allclose(
            budget(raw, 1.5, equality=equality, upper=jnp.inf), free, rtol=1e-5
        )


def test_nothing_is_compiled_twice():
    traces = []

    @jax.jit
    def output(raw, total):
        traces.append(1)
        return sets.budget_projection(raw, total)

    for value in (1.0, 2.0):
        output(jnp.full((2, 3), value), jnp.array([1.0, value]))
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "message"),
    [
        ((jnp.array([1, 2]), 1.0), {}, TypeError, "floating-point raw, got int32"),
        ((jnp.ones(2), 1j), {}, TypeError, "a real total"),
        (
            (jnp.ones((2, 3)), jnp.ones(3)),
            {},
            ValueError,
            r"total must broadcast to \(2,\).*got \(3,\)",
        ),
        ((jnp.ones((2, 3)), 1.0), {"upper": jnp.ones(2)}, ValueError, r"upper must .*\(2, 3\)"),
        ((jnp.ones((2, 3)), 1.0), {"axis": 2}, ValueError, r"axis 2 is not one of raw"),
        ((jnp.array(1.0), 1.0), {}, ValueError, r"axis -1 is not one of raw, whose shape is \(\)"),
        ((jnp.ones(2, jnp.float16), 1e6), {}, ValueError, "total has finite values .* infinite in"),
    ],
)
def test_what_cannot_be_used_is_refused(arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        sets.budget_softmax(*arguments, **keywords)
