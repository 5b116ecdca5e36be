"""Rows that give way: against cvxpy, and where the set is empty."""

import cvxpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bounded.sets import Rows, affine_elastic, affine_projection
from tests.bounded.sets.affine_cases import BATCH, CASES, INF, ROWS, SIZE, in_full
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("unoptimised")


@jax.jit
def elastic(raw, matrix, lower, upper, penalty):
    return affine_elastic(raw, Rows(matrix, lower, upper), penalty=penalty)


projection = jax.jit(affine_projection)


COTANGENT = np.linspace(-1, 2, BATCH * SIZE).reshape(BATCH, SIZE)


@jax.jit
def with_slopes(*arguments):
    """At one shape and in double precision, so that it is compiled once."""
    output, pullback = jax.vjp(elastic, *arguments)
    return output, pullback(COTANGENT)


def cases():
    """Sets that are empty, and a penalty that is too small for some; (raw, rows, penalty)."""
    draw = np.random.default_rng(3)
    raw = 2 * draw.normal(size=(BATCH, SIZE))
    few = draw.normal(size=(BATCH, 3, SIZE))
    against = np.concatenate([few, -few], 1)
    apart = draw.uniform(0.1, 1, (BATCH, 3))
    gap = np.concatenate([-apart, -apart], 1)
    penalty = draw.uniform(0.2, 3, (BATCH, ROWS))
    return {
        "empty": (*in_full(against, np.full_like(gap, -INF), gap, raw), penalty),
        "empty, dear": (*in_full(against, np.full_like(gap, -INF), gap, raw), 50 + penalty),
        "equalities apart": (*in_full(against, gap, gap, raw), penalty),
        "cheap": (*CASES["two sides"], penalty),
        "cheap equalities": (*CASES["equality and inequality"], penalty / 2),
    }


ELASTIC = cases()


def by_cvxpy(raw, matrix, lower, upper, penalty):
    norm = np.linalg.norm(matrix, axis=1)
    exists = (norm > 0) & ((lower > -INF) | (upper < INF))
    matrix, lower, upper, norm, penalty = (x[exists] for x in (matrix, lower, upper, norm, penalty))
    y, off = cvxpy.Variable(SIZE), cvxpy.Variable(len(matrix), nonneg=True)
    value, above, below = matrix @ y, upper < INF, lower > -INF
    rows = [off[i] >= (value[i] - upper[i]) / norm[i] for i in np.flatnonzero(above)]
    rows += [off[i] >= (lower[i] - value[i]) / norm[i] for i in np.flatnonzero(below)]
    price = (cvxpy.sum_squares(y - raw) + cvxpy.sum_squares(off)) / 2 + penalty @ off
    problem = cvxpy.Problem(cvxpy.Minimize(price), rows)
    problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    return y.value


@pytest.mark.usefixtures("x64")
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")  # asked for too many digits
@pytest.mark.parametrize("name", ELASTIC)
def test_it_is_that_of_cvxpy(name):
    expected = [by_cvxpy(*one) for one in zip(*ELASTIC[name], strict=True)]
    np.testing.assert_allclose(with_slopes(*ELASTIC[name])[0], expected, atol=1e-6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", CASES)
def test_with_a_penalty_that_is_large_enough_it_is_the_projection(name):
    penalty = np.full((BATCH, ROWS), 1e4)
    expected = projection(CASES[name][0], Rows(*CASES[name][1:]))
    np.testing.assert_allclose(with_slopes(*CASES[name], penalty)[0], expected, atol=1e-9)


def padded_single(matrix, upper, raw, penalty):
    """At the shape of all others, in single precision."""
    penalty = np.broadcast_to(penalty, (BATCH, ROWS))
    return map(np.float32, (*in_full(matrix, None, upper, raw), penalty))


def test_large_enough_is_the_distance_of_one_row():
    raw, penalty = np.array([3, 4]), np.full((BATCH, ROWS), 3.0)  # 4 outside
    penalty[0] = 4.001
    held, given_way, *_ = np.asarray(elastic(*padded_single([[3, 4]], [5], raw, penalty)))
    np.testing.assert_allclose(held[:2], [0.6, 0.8], atol=1e-6)
    # v + 3 = the distance moved = 4 - v
    np.testing.assert_allclose(given_way[:2] @ raw - 5, 2.5, atol=1e-5)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ELASTIC)
def test_derivatives_match_finite_differences(name):
    arguments = [np.array(x) for x in ELASTIC[name]]
    found = jax.device_get(with_slopes(*arguments)[1])
    equal = arguments[2] == arguments[3]
    upper = found[3] + np.where(equal, found[2], 0)
    found = [*found[:2], np.where(equal, 0, found[2]), upper, found[4]]
    draw = np.random.default_rng(1)
    for i, slopes in enumerate(found):
        assert np.isfinite(slopes).all()
        direction = draw.normal(size=slopes.shape)
        if i == 1:  # rows of zeros have no direction
            direction = direction * arguments[1].any(-1, keepdims=True)
        ends = []
        for step in (1e-6, -1e-6):
            moved = list(arguments)
            moved[i] = arguments[i] + step * direction
            moved[2] = np.where(equal, moved[3], moved[2])  # an equality moves with its upper
            ends.append(np.sum(COTANGENT * np.asarray(with_slopes(*moved)[0]), -1))
        expected = (ends[0] - ends[1]) / 2e-6
        along = np.sum((slopes * direction).reshape(BATCH, -1), -1)
        np.testing.assert_allclose(along, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("x64")
def test_an_empty_set_teaches():
    case = in_full(np.ones((2, 1)), [1, -INF], [INF, -1], [0.6])
    _, (slopes, *_) = with_slopes(*case, np.full((BATCH, ROWS), 10.0))
    # Of y - raw + (y + 1) + (y - 1).
    np.testing.assert_allclose(np.asarray(slopes)[0, 0], COTANGENT[0, 0] / 3, rtol=1e-5)


def test_a_penalty_that_is_none_is_refused():
    raw, row = np.ones(2, np.float32), Rows(np.ones((1, 2), np.float32), upper=1.0)
    for penalty, match in (
        (0.0, "penalty must be positive and finite"),
        (-1.0, "penalty must be positive and finite"),
        (np.nan, "penalty must be positive and finite"),
        (np.ones(3), "penalty of shape"),
    ):
        with pytest.raises(ValueError, match=match):
            jax.eval_shape(lambda raw, given=penalty: affine_elastic(raw, row, penalty=given), raw)


@pytest.mark.parametrize("penalty", [1e7, 1e12, 1e30])
def test_a_small_output_is_held_however_large_the_penalty(penalty):
    upper = [1e6, 1, 1e-6]
    output = np.asarray(elastic(*padded_single(np.eye(3), upper, [3e6, 5, 1e-3], penalty)))
    np.testing.assert_allclose(output[0, :3], upper, rtol=1e-6)


@pytest.mark.parametrize("dtype", sampled(["bfloat16", "float16"], {"bfloat16"}))
def test_half_precisions_compute_in_single(dtype):
    narrow = [x.astype(jnp.dtype(dtype)) for x in ELASTIC["empty"]]
    output = elastic(*narrow)
    assert output.dtype == dtype
    expected = elastic(*(np.float32(x) for x in narrow))
    np.testing.assert_array_equal(output, np.asarray(expected).astype(dtype))
