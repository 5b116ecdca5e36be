"""Projections in a weighted metric, and hierarchies: against cvxpy, MinT's own formula, by hand."""

from functools import partial

import cvxpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bounded.sets import (
    Rows,
    affine_excess,
    affine_projection,
    affine_projection_with_residual,
    hierarchy_rows,
)
from tests.bounded.sets.affine_cases import BATCH, CASES, INF, SIZE, cases, in_full, padded
from tests.bounded.sets.test_affine import SMOOTH
from tests.bounded.sets.test_feasible import off_in_roundings, unlike_weights, wide_scales
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("unoptimised")
KINDS = ("diagonal", "matrix")
either_kind = pytest.mark.parametrize("kind", sampled(KINDS, {"matrix"}))
SUMMING = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], *np.eye(4, dtype=int)])


projection = jax.jit(affine_projection)
excess = jax.jit(affine_excess)


@jax.jit
def project(weights, raw, *rows):
    return affine_projection_with_residual(raw, Rows(*rows), weights=weights)


def draw_weights(kind, seed=0):
    """One a set."""
    draw = np.random.default_rng(seed)
    scale = 10 ** draw.uniform(-1, 1, (BATCH, SIZE))
    if kind == "diagonal":
        return scale**2
    root = np.eye(SIZE) + 0.5 * draw.normal(size=(BATCH, SIZE, SIZE))
    return scale[..., None] * (root @ np.swapaxes(root, 1, 2)) * scale[:, None]


def full(weights):
    return weights if weights.ndim == 3 else weights[..., None] * np.eye(SIZE)


def by_cvxpy(weights, raw, matrix, lower, upper):
    y, root = cvxpy.Variable(len(raw)), np.linalg.cholesky(weights).T
    equal = upper == lower
    above, below = (upper < INF) & ~equal, (lower > -INF) & ~equal
    rows = [matrix[equal] @ y == upper[equal]] if equal.any() else []
    rows += [matrix[above] @ y <= upper[above]] if above.any() else []
    rows += [matrix[below] @ y >= lower[below]] if below.any() else []
    distance = cvxpy.sum_squares(root @ (y - raw))
    problem = cvxpy.Problem(cvxpy.Minimize(distance), rows)
    problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    return y.value


@pytest.mark.usefixtures("x64")
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")  # asked for too many digits
@either_kind
@pytest.mark.parametrize("name", CASES)
def test_it_is_the_point_that_cvxpy_finds(name, kind):
    weights = draw_weights(kind)
    output, residual = project(weights, *CASES[name])
    expected = [by_cvxpy(*given) for given in zip(full(weights), *CASES[name], strict=True)]
    np.testing.assert_allclose(output, expected, atol=1e-6)
    assert np.max(residual) < 1e-13
    assert np.max(excess(output, Rows(*CASES[name][1:]))) < 1e-12


@pytest.mark.usefixtures("x64")
@either_kind
def test_degenerate_sets_are_solved_however_they_fall(kind):
    tried = 0
    for seed in range(60):
        weights, drawn = draw_weights(kind, seed), dict(cases(seed))
        if np.max(np.linalg.cond(full(weights))) > 1e6:
            continue
        tried += 1
        for name in ("bounds of 0", "vertex", "two sides"):
            assert np.max(project(weights, *drawn[name])[1]) < 1e-12, (name, seed)
    assert tried > 30


@pytest.mark.usefixtures("x64")
@either_kind
def test_derivatives_match_finite_differences_to_the_weights_too(kind):
    draw = np.random.default_rng(1)
    cotangent = draw.normal(size=(BATCH, SIZE))

    @jax.jit
    def pull_back(*arguments):
        return jax.vjp(lambda *x: project(*x)[0], *arguments)[1](cotangent)

    for name in SMOOTH:
        arguments = [draw_weights(kind), *(np.array(x) for x in CASES[name])]
        equal = arguments[3] == arguments[4]
        for i, slopes in enumerate(pull_back(*arguments)):
            if i == 3 and equal.any():  # an equality moves with both of its bounds
                continue
            direction = draw.normal(size=slopes.shape)
            if i == 0 and kind == "matrix":
                direction = direction + np.swapaxes(direction, 1, 2)
            direction = np.where(np.isfinite(arguments[i]), direction, 0)
            if i == 4:
                direction = np.where(equal, 0, direction)
            ends = []
            for step in (1e-6, -1e-6):
                moved = [*arguments]
                moved[i] = arguments[i] + step * direction
                ends.append(np.sum(cotangent * project(*moved)[0]))
            expected = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(np.sum(slopes * direction), expected, rtol=1e-4, atol=1e-4)


def test_by_hand_the_heavy_move_less():
    case = [np.float32(x) for x in in_full(np.ones((1, 2)), None, [1], [3, 1])]
    for weights, expected in (
        (np.array([1, 2]), [1, 0]),
        (np.array([[1, 0], [0, 2]]), [1, 0]),
        (np.array([[2, 1], [1, 2]]), [1.5, -0.5]),  # symmetric in the two, as no weights at all
    ):
        of_four = np.ones(SIZE) if weights.ndim == 1 else np.eye(SIZE)
        of_four[tuple(map(slice, weights.shape))] = weights
        weights = np.float32(padded(of_four, (BATCH, *of_four.shape)))
        found = np.asarray(project(weights, *case)[0])
        np.testing.assert_allclose(found[0, :2], expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
def test_equal_weights_are_none_and_their_size_does_not_matter():
    raw, *rows = (np.asarray(x, np.float32) for x in CASES["two sides"])
    given = zip(*map(np.float64, (raw, *rows)), strict=True)
    expected = [by_cvxpy(np.eye(SIZE), *one) for one in given]
    for size in (1e-12, 1.0, 1e12):
        for weights in (
            np.full((BATCH, SIZE), size),
            np.broadcast_to(size * np.eye(SIZE), (5, 4, 4)),
        ):
            output, residual = project(weights.astype(np.float32), raw, *rows)
            np.testing.assert_allclose(output, expected, atol=2e-6)
            assert np.max(residual) < 1e-6


def test_raw_inside_stays_to_the_bit():
    raw, *rows = (np.asarray(x, np.float32) for x in CASES["inactive"])
    for kind in KINDS:
        output, residual = project(draw_weights(kind).astype(np.float32), raw, *rows)
        np.testing.assert_array_equal(output, raw)
        np.testing.assert_array_equal(residual, 0)


@pytest.mark.parametrize(
    ("kind", "axis"),
    sampled([("matrix", None), ("diagonal", 0), ("diagonal", None)], lambda x: x[1] == 0),
)
def test_shared_weights_and_any_leading_axes(kind, axis):
    draw = np.random.default_rng(3)
    raw = draw.normal(size=(2, 3, SIZE)).astype(np.float32)
    matrix = draw.normal(size=(2, SIZE)).astype(np.float32)
    root = draw.normal(size=(SIZE, SIZE))
    diagonal = draw.uniform(0.5, 2, (3, SIZE))
    weights = (
        root @ root.T + np.eye(SIZE) if kind == "matrix" else diagonal[0 if axis is None else ...]
    )

    def through(raw, weights):
        return affine_projection(raw, Rows(matrix, upper=0.1), weights=weights)

    found, expected = jax.jit(
        lambda *x: (through(*x), jax.vmap(jax.vmap(through, (0, axis)), (0, None))(*x))
    )(raw, np.float32(weights))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.thorough  # as below, with derivatives
@pytest.mark.parametrize("kind", KINDS)
def test_nan_in_weights_spoils_its_own_set(kind):
    raw, *rows = (np.asarray(x, np.float32) for x in CASES["two sides"])
    weights = draw_weights(kind).astype(np.float32)
    weights.reshape(BATCH, -1)[2, 1] = np.nan
    sound = np.arange(BATCH) != 2

    @jax.jit
    def run(weights, raw):
        output, pullback = jax.vjp(
            lambda weights, raw: affine_projection(raw, Rows(*rows), weights=weights), weights, raw
        )
        return output, pullback(jnp.broadcast_to(sound[:, None], output.shape).astype(raw.dtype))

    output, slopes = run(weights, raw)
    np.testing.assert_array_equal(np.isnan(output), ~np.broadcast_to(sound[:, None], (BATCH, SIZE)))
    for one in slopes:
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one[2], 0)
    shared = projection(raw, Rows(*rows), weights=np.full(SIZE, np.nan, np.float32))
    assert np.isnan(shared).all()


def test_a_matrix_that_is_traced_and_not_positive_definite_or_nan_spoils_its_own_set():
    raw, *rows = (np.asarray(x, np.float32) for x in CASES["two sides"])
    weights = draw_weights("matrix").astype(np.float32)
    weights[2, 1, 1] *= -1
    weights[3, 0, 0] = np.nan
    output = project(weights, raw, *rows)[0]
    np.testing.assert_array_equal(np.isnan(output).all(-1), np.isin(np.arange(BATCH), [2, 3]))


def test_rows_of_unlike_scale_are_each_held_in_their_own():
    """Few sets, of which test_feasible.py draws more."""
    for seed in range(8):
        raw, *rows, inside = wide_scales(seed)
        weights = unlike_weights("matrix", inside, np.random.default_rng(seed))
        output, _ = project(weights, raw, *rows)
        assert np.max(off_in_roundings(output, raw, Rows(*rows))) <= 2 * SIZE + 8


def test_half_precision_and_an_interior_point():
    raw, *rows = (x.astype(jnp.bfloat16) for x in CASES["generic"])
    weights = draw_weights("matrix").astype(jnp.bfloat16)
    inside = projection(raw, Rows(*rows), weights=weights, interior=np.zeros_like(raw))
    assert inside.dtype == jnp.bfloat16
    place = np.einsum("bmn,bn->bm", *(np.float32(x) for x in (rows[0], inside)))
    assert (place <= np.float32(rows[2])).all()


@pytest.mark.usefixtures("x64")
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
def test_hierarchies_are_reconciled_as_mint_does_and_under_bounds():
    draw = np.random.default_rng(4)
    raw = 3 * draw.normal(size=(5, 7)) + 2
    root = draw.normal(size=(7, 7))
    weights = np.linalg.inv(root @ root.T + 0.5 * np.eye(7))
    inner = SUMMING.T @ weights
    mint = raw @ (SUMMING @ np.linalg.solve(inner @ SUMMING, inner)).T
    none = np.full(7, INF)
    free = hierarchy_rows(SUMMING, lower=-none, upper=none)  # as many rows as below
    found = projection(raw, free, weights=weights)
    np.testing.assert_allclose(found, mint, atol=1e-9)

    upper = np.where(np.arange(7) == 1, 2.5, INF)
    rows = hierarchy_rows(SUMMING, lower=np.zeros(7), upper=upper)
    found = np.asarray(projection(raw, rows, weights=weights))
    given = [np.broadcast_to(np.asarray(x), (*x.shape[-1:],)) for x in rows[1:]]
    expected = [by_cvxpy(weights, one, np.asarray(rows.matrix), *given) for one in raw]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found[:, 3:] @ SUMMING.T, found, atol=1e-12)
    assert (found >= -1e-14).all()
    assert (abs(found) < 1e-14).any()


def test_hierarchy_rows_by_hand():
    rows = hierarchy_rows(SUMMING)
    expected = [[1, 0, 0, -1, -1, -1, -1], [0, 1, 0, -1, -1, 0, 0], [0, 0, 1, 0, 0, -1, -1]]
    np.testing.assert_array_equal(rows.matrix, expected)
    assert rows.lower == rows.upper == 0
    assert rows.matrix.weak_type
    # An only child, a difference, and sums below what they sum.
    rows = hierarchy_rows([[1, 0], [0, 1], [1, 0], [1, -1]], lower=[0.0, 0, -1, 0])
    np.testing.assert_array_equal(rows.matrix[:2], [[1, 0, -1, 0], [0, 1, -1, 1]])
    np.testing.assert_array_equal(rows.matrix[2:], np.eye(4))
    np.testing.assert_array_equal(rows.lower, [0, 0, 0, 0, -1, 0])
    np.testing.assert_array_equal(rows.upper, [0, 0, INF, INF, INF, INF])
    assert hierarchy_rows(np.eye(3)).matrix.shape == (0, 3)
    assert hierarchy_rows(np.eye(3), upper=jnp.ones((2, 3))).upper.shape == (2, 3)


def test_what_does_not_fit_is_refused():
    raw, rows = np.ones((2, 3), np.float32), Rows(np.eye(3, dtype=np.float32), upper=0.5)
    wrong = np.diag(np.float32([1, 1, -1]))
    for weights, expected in (
        (np.ones(2), r"weights of shape \(..., 3\).*\(..., 3, 3\).*got \(2,\)"),
        (np.ones((4, 3)), r"got \(4, 3\)"),
        (np.float32([1, 0, 2]), "weights that are positive and finite, got 0.0"),
        (np.float32([1, np.inf, 2]), "positive and finite, got inf"),
        (wrong, "positive definite matrix.*shrink"),
    ):
        with pytest.raises(ValueError, match=expected):
            affine_projection(raw, rows, weights=weights)
    square = np.ones((3, 3), np.float32)
    with pytest.raises(ValueError, match=r"diagonals or a matrix.*\(1, 3, 3\)"):
        affine_projection(square, rows, weights=square)
    one = partial(affine_projection, rows=rows, weights=np.eye(3)[None])
    assert jax.eval_shape(one, square).shape == (3, 3)
    with pytest.raises(TypeError, match="cannot take a masked array as weights"):
        affine_projection(raw, rows, weights=np.ma.array([1.0, 1, 1], mask=False))
    with pytest.raises(ValueError, match="column 1 of summing has none. Stack the identity"):
        hierarchy_rows([[1, 1], [1, 0]])
    with pytest.raises(ValueError, match=r"of -1, 0 and 1, got 0.5"):
        hierarchy_rows([[0.5], [1]])
    with pytest.raises(ValueError, match=r"\(outputs, bottom series\), got \(2,\)"):
        hierarchy_rows([1, 1])
    with pytest.raises(ValueError, match=r"lower of shape \(..., 7\).*got \(4,\)"):
        hierarchy_rows(SUMMING, lower=jnp.zeros(4))
    with pytest.raises(TypeError, match="known, got one that is traced"):
        jax.jit(hierarchy_rows)(SUMMING)
