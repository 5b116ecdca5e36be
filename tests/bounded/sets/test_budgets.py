"""Budgets: values by hand, sums by hypothesis, and a solver."""

from functools import cache, partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bounded import sets
from tests.bounded.sets.cases import BUDGETS
from tests.sampled import sampled, sampled_unoptimised

pytestmark = pytest.mark.usefixtures("unoptimised")
SIZE = 5
every_budget = pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
# Of each budget one, for what XLA optimises, which takes long.
IN_SAMPLE = (
    (sets.budget_projection, True),
    (sets.budget_rescale, False),
    (sets.budget_sequential, False),
    (sets.budget_softmax, True),
)
sampled_sums = pytest.mark.parametrize(
    ("budget", "equality"),
    sampled(product(BUDGETS.values(), (False, True)), IN_SAMPLE),
)
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


SEQUENTIAL = sets.budget_sequential


def in_four(budget, raw, total, upper=np.inf, equality=False):
    """Of at most four sets, by what other tests compile too."""
    raw, total, upper = (np.asarray(x, np.float32) for x in (raw, total, upper))
    given = np.broadcast_to(raw, (4, 3)), np.broadcast_to(total, 4), np.broadcast_to(upper, (4, 3))
    return np.asarray(compiled(budget, equality)(*given[:2], upper=given[2]))


def test_values_by_hand():
    raw, total = np.float32([3, 1, -2]), 2.0
    np.testing.assert_allclose(in_four(sets.budget_rescale, raw, total)[0], [1.5, 0.5, 0])
    caps = [[np.inf], [np.inf], [2], [2]]
    projections = in_four(sets.budget_projection, raw, [2, 3, 3, 3], caps)
    np.testing.assert_allclose(projections[:3], [[2, 0, 0], [2.5, 0.5, 0], [2, 1, 0]])
    rescaled = in_four(sets.budget_rescale, raw, 6, 4, equality=True)
    np.testing.assert_allclose(rescaled[0], [3.25, 1.75, 1])
    zeros = np.zeros(3, np.float32)
    softened, even, even_and_equal = jax.jit(
        lambda raw, zeros: (
            sets.budget_softmax(raw, total),
            sets.budget_softmax(zeros, total),
            sets.budget_softmax(zeros, 3.0, equality=True),
        )
    )(raw, zeros)
    np.testing.assert_allclose(even, np.full(3, 0.5))
    np.testing.assert_allclose(even_and_equal, np.ones(3))
    np.testing.assert_allclose(in_four(SEQUENTIAL, zeros, 2), np.full((4, 3), 0.5))
    np.testing.assert_allclose(in_four(SEQUENTIAL, zeros, 3, equality=True), np.ones((4, 3)))
    np.testing.assert_allclose(softened, 2 * np.exp(raw) / (1 + np.exp(raw).sum()), rtol=1e-6)
    first = 2 / (1 + 3 * np.exp(-3.0))
    second = (2 - first) / (1 + 2 * np.exp(-1.0))
    third = (2 - first - second) / (1 + np.exp(2.0))
    in_order = in_four(SEQUENTIAL, raw, total)
    np.testing.assert_allclose(in_order[0], [first, second, third], rtol=1e-6)


@pytest.mark.parametrize("name", ["budget_projection", "budget_rescale"])
def test_inside_the_set_two_are_the_identity(name):
    raw = np.float32([[0.25, 0.5, 0], [0, 1, 0], [0.3, 0.7, 0], [0.25, 0.25, 0.5]])
    np.testing.assert_array_equal(in_four(BUDGETS[name], raw, 1), raw)


def test_one_entry_is_an_entry_between_zero_and_the_total():
    raw = np.linspace(-2, 4, 13, dtype=np.float32)[:, None]
    found = jax.jit(
        lambda raw: {
            name: (budget(raw, 1.5), budget(raw, 1.5, equality=True))
            for name, budget in BUDGETS.items()
        }
    )(raw)
    for name, (output, equal) in jax.device_get(found).items():
        assert ((output >= 0) & (output <= 1.5)).all(), name
        np.testing.assert_allclose(equal, 1.5, err_msg=name)
    for name in ("budget_projection", "budget_rescale"):
        np.testing.assert_array_equal(found[name][0], np.clip(raw, 0, 1.5))


@pytest.mark.optimised
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
@sampled_sums
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
@sampled_sums
def test_they_do_among_entries_of_unlike_scale(budget, equality, seed):
    raw, total, upper = draw_unlike(np.random.default_rng(seed), 400, equality)
    output = np.asarray(compiled(budget, equality)(raw, total, upper=upper))
    check_feasible(output, total, upper, equality)


@pytest.mark.optimised
@pytest.mark.parametrize(
    ("budget", "equality"),
    sampled(
        product(BUDGETS.values(), (False, True)),
        [(sets.budget_rescale, False)],
    ),
)
def test_they_hold_in_double_precision(budget, equality, x64):
    raw, total, upper = draw_sets(np.random.default_rng(0), 2000, np.float64, equality, largest=14)
    output = np.asarray(compiled(budget, equality)(raw, total, upper=upper))
    assert output.dtype == np.float64
    check_feasible(output, total, upper, equality)


def check_feasible(output, total, upper, equality):
    assert (output >= 0).all()
    assert (output <= upper).all()
    assert (sum_in_order(output) <= total).all()
    if equality:
        missing = np.abs(np.float64(output).sum(-1) - total)
        assert (missing <= 2 * SIZE * np.finfo(output.dtype).eps * total).all()


@pytest.mark.parametrize(
    ("budget", "equality", "dtype"),
    sampled_unoptimised(
        [(f, *x) for f in BUDGETS.values() for x in ((False, "float16"), (True, "bfloat16"))],
        [(sets.budget_rescale, True, "bfloat16")],
    ),
)
def test_in_half_precision_the_sum_is_right_to_its_rounding(budget, equality, dtype):
    raw, total, upper = draw_sets(np.random.default_rng(1), 1000, np.float32, equality, largest=3)
    raw, total, upper = (x.astype(jnp.dtype(dtype)) for x in (raw, total, upper))
    output = np.asarray(compiled(budget, equality)(raw, total, upper=upper))
    assert output.dtype == dtype
    assert ((output >= 0) & (output <= upper)).all()
    output, total, upper = (np.float64(x) for x in (output, total, upper))
    over = output.sum(-1) - total
    limit = 2 * SIZE * float(jnp.finfo(dtype).eps) * total
    assert (over <= limit).all()
    assert not equality or (over >= -limit)[upper.sum(-1) >= total].all()


@pytest.mark.optimised
@sampled_sums
def test_the_dtypes_extremes_are_kept_within(budget, equality):
    top = np.finfo(np.float32).max
    rows = np.array([[top, -top, 0, 1, top], [top] * SIZE, [-top] * SIZE, [0] * SIZE], np.float32)
    raw, total = np.tile(rows, (100, 1)), np.repeat(np.float32([0, 1e-3, 1, top]), 100)
    output = np.asarray(compiled(budget, equality)(raw, total, upper=np.full_like(raw, np.inf)))
    assert np.isfinite(output).all()
    assert (output >= 0).all()
    assert (sum_in_order(output) <= total).all()


def test_a_large_raw_and_a_small_total_keep_their_digits():
    tied = [1e6, 1e6, 1]
    raw = [[1e6, 1e6 + 0.5, -1e6], tied, tied, tied]
    caps = np.where([[0], [0], [1], [1]], [2e-4, 3e-4, 1], np.inf)
    largest, shared, capped, _ = in_four(sets.budget_projection, raw, 1e-3, caps)
    softened = jax.jit(sets.budget_softmax)(np.float32(tied), np.float32(1e-3))
    np.testing.assert_allclose(largest, [0, 1e-3, 0], rtol=1e-6)
    np.testing.assert_allclose(shared, [5e-4, 5e-4, 0], rtol=1e-6)
    np.testing.assert_allclose(capped, [2e-4, 3e-4, 5e-4], rtol=1e-6)
    np.testing.assert_allclose(softened, [5e-4, 5e-4, 0], rtol=1e-5)


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
        project = compiled(sets.budget_projection, equality)
        found = project(raw.value, np.float64(total.value), upper=np.array(upper.value))
        np.testing.assert_allclose(found, variable.value, atol=1e-6)


@every_budget
def test_a_set_that_is_not_a_number_spoils_no_other(budget):
    raw = np.float32([[1, np.nan, 0], [1, 2, 0], [1, 2, 0], [1, 2, 0]])
    total, upper = np.float32([1, np.nan, 1, 1]), np.ones((4, 3), np.float32)
    upper[2, 1] = np.nan
    output = np.asarray(compiled(budget, False)(raw, total, upper=upper))
    assert np.isnan(output[:3]).all()
    assert np.isfinite(output[3]).all()


@every_budget
@either_sum
def test_without_a_total_entries_are_clipped_and_a_negative_one_is_zero(budget, equality):
    raw, total = np.float32([[-1, 3, 2], [4, 0.5, -2]] * 2), np.float32([np.inf, np.inf, -1, -1])
    upper = np.where(total > 0, np.float32([[np.inf], [1], [np.inf]]), np.float32(np.inf)).T
    found = np.asarray(compiled(budget, equality)(raw, total, upper=upper))
    np.testing.assert_array_equal(found[:2], np.clip(raw[:2], 0, upper[:2]))
    np.testing.assert_array_equal(found[2:], 0)


@every_budget
def test_caps_that_cannot_take_up_the_total_are_the_output(budget):
    raw, total = np.float32([[1, -3, 2]] * 4), np.float32([2, 3, 4, 5])
    upper = np.float32([[0.5, 0.25, 0]] * 4)
    found = compiled(budget, True)(raw, total, upper=upper)
    np.testing.assert_allclose(found, upper, rtol=1e-5)


@pytest.mark.parametrize(
    "budget",
    sampled(BUDGETS.values(), [sets.budget_softmax]),  # the others take none for one of inf
    ids=BUDGETS,
)
def test_an_infinite_cap_is_no_cap(budget):
    raw = np.float32([[1, -0.5, 2], [0.1, 0.2, -3]])
    free, capped = jax.jit(
        lambda raw: [
            [budget(raw, 1.5, equality=equality, upper=upper) for equality in (False, True)]
            for upper in (None, np.inf)
        ]
    )(raw)
    np.testing.assert_allclose(capped, free, rtol=1e-5)


def test_nothing_is_compiled_twice():
    traces = []

    @jax.jit
    def output(raw, total):
        traces.append(1)
        return sets.budget_projection(raw, total)

    for value in (1.0, 2.0):
        output(np.full((2, 3), value, np.float32), np.float32([1, value]))
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
