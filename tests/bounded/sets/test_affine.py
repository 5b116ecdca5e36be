"""Affine sets: by hand, against cvxpy, and at degenerate places."""

import subprocess
import sys
from functools import partial

import cvxpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import block_diag

from bounded import metrics
from bounded.sets import (
    Rows,
    affine_excess,
    affine_hardnet,
    affine_projection,
    affine_projection_with_residual,
    affine_radial,
    affine_soft_radial,
    box_rows,
    monotone_rows,
    quantile_rows,
    rate_rows,
    stack_rows,
    sum_rows,
)
from tests.bounded.sets.affine_cases import BATCH, CASES, INF, ROWS, SIZE, cases, in_full, padded
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("unoptimised")
JITTED = tuple(map(jax.jit, (affine_hardnet, affine_projection, affine_radial, affine_soft_radial)))
hardnet, projection, radial, soft_radial = JITTED
FROM_INTERIOR = (radial, soft_radial)
excess = jax.jit(affine_excess)
rank_fraction = jax.jit(metrics.jacobian_rank_fraction)
COTANGENT = np.linspace(-1, 2, BATCH * SIZE).reshape(BATCH, SIZE)


# Cases are at one shape (`in_full`) and in double precision: what is compiled is compiled once.
@jax.jit
def pull_back(cotangent, raw, *rows):
    """The output, its residual, by how much rows are violated, and the slopes."""

    def through(raw, *rows):
        return affine_projection_with_residual(raw, Rows(*rows))

    output, pullback, residual = jax.vjp(through, raw, *rows, has_aux=True)
    return output, residual, affine_excess(output, Rows(*rows)), pullback(cotangent)


def project(*arguments):
    return np.asarray(pull_back(COTANGENT, *arguments)[0])


@partial(jax.jit, static_argnums=0)
def output_and_slopes(function, cotangent, raw, rows, **extra):
    def through(raw, rows, extra):
        return function(raw, rows, **extra)

    output, pullback = jax.vjp(through, raw, rows, extra)
    return output, *pullback(cotangent[:, : output.shape[-1]])


SETS = 20  # of HardNet's cases


def by_hardnet(cotangent, raw, matrix, lower, upper):
    """Output and slopes to raw and rows, as many sets as are given."""
    count, size = np.broadcast_shapes(np.shape(raw), np.shape(cotangent))
    cotangent, *_ = in_full(matrix, lower, upper, cotangent, batch=SETS, count=3)
    raw, *rows = in_full(matrix, lower, upper, raw, batch=SETS, count=3)
    found = output_and_slopes(affine_hardnet, cotangent, raw, Rows(*rows))
    output, *slopes = jax.device_get(found)
    return [x[:count, :size] for x in (output, slopes[0])], slopes[1]


def name_of(value):
    return value if isinstance(value, str) else value.__name__


# Where the projection is smooth in all its arguments: strictly complementary, rows independent.
SMOOTH = ("generic", "two sides", "constant", "budget", "vertex", "equality and inequality")


def by_cvxpy(raw, matrix, lower, upper):
    y = cvxpy.Variable(SIZE)
    equal = upper == lower
    above, below = (upper < INF) & ~equal, (lower > -INF) & ~equal
    rows = [matrix[equal] @ y == upper[equal]] if equal.any() else []
    rows += [matrix[above] @ y <= upper[above]] if above.any() else []
    rows += [matrix[below] @ y >= lower[below]] if below.any() else []
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(y - raw)), rows)
    problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return y.value


def solve(most, rows):
    problem = cvxpy.Problem(cvxpy.Maximize(most), rows)
    problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)


@pytest.mark.usefixtures("x64")
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")  # asked for too many digits
@pytest.mark.parametrize("name", CASES)
def test_the_projection_is_that_of_cvxpy(name):
    output, residual, off, _ = pull_back(COTANGENT, *CASES[name])
    expected = [by_cvxpy(*arguments) for arguments in zip(*CASES[name], strict=True)]
    np.testing.assert_allclose(output, expected, atol=1e-6)
    assert np.max(residual) < 1e-13
    assert np.max(off) < 1e-13


@pytest.mark.usefixtures("x64")
def test_degenerate_sets_are_solved_however_they_fall():
    """At a vertex of more rows than outputs these come and go, and the inverse loses digits."""
    for seed in range(40):
        drawn = dict(cases(seed))
        for name in ("bounds of 0", "vertex", "empty interior"):
            assert np.max(pull_back(COTANGENT, *drawn[name])[1]) < 1e-13, (name, seed)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", CASES)
def test_derivatives_match_finite_differences(name):
    arguments = [np.array(x) for x in CASES[name]]
    *_, found = pull_back(COTANGENT, *arguments)
    assert all(np.isfinite(slopes).all() for slopes in found)
    equal = arguments[2] == arguments[3]
    found = [*found[:2], np.where(equal, 0, found[2]), found[3] + np.where(equal, found[2], 0)]
    for i in range(4) if name in SMOOTH else range(1):  # to raw it is smooth at nearly all raw
        expected = np.zeros_like(arguments[i])
        for entry in np.ndindex(arguments[i].shape[1:]):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [x.copy() for x in arguments]
                moved[i][:, *entry] += step
                moved[2] = np.where(equal, moved[3], moved[2])  # an equality moves with its upper
                ends.append(np.sum(COTANGENT * project(*moved), -1))
            expected[:, *entry] = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(found[i], expected, atol=1e-4)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", CASES)
def test_the_jacobian_is_the_projection_along_the_active_rows(name):
    _, matrix, lower, upper = CASES[name]
    jacobian = np.stack(
        [pull_back(np.eye(SIZE)[[i] * BATCH], *CASES[name])[3][0] for i in range(SIZE)], 1
    )
    np.testing.assert_allclose(jacobian, np.swapaxes(jacobian, 1, 2), atol=1e-9)
    np.testing.assert_allclose(jacobian @ jacobian, jacobian, atol=1e-9)
    output = project(*CASES[name])
    place = np.einsum("bmn,bn->bm", matrix, output)
    on = np.isclose(place, upper, atol=1e-9) | np.isclose(place, lower, atol=1e-9)
    active = np.where(on[..., None], matrix, 0)
    if name not in ("budget of 0", "bounds of 0"):  # there more rows hold than are active
        rank = np.linalg.matrix_rank(active)
        np.testing.assert_allclose(np.trace(jacobian, axis1=1, axis2=2), SIZE - rank, atol=1e-9)


@pytest.mark.usefixtures("x64")
def test_projections_by_hand():
    triangle, upper = np.array([[1, 1], [-1, 0]]), np.array([1, 0])
    found = project(*in_full(triangle, None, upper, [[2, 1], [-1, 0.5], [-1, 3]]))
    np.testing.assert_allclose(found[:3, :2], [[1, 0], [0, 0.5], [0, 1]], atol=1e-6)
    found = project(*in_full(triangle, -upper, None, [2, -3]))  # mirrored
    np.testing.assert_allclose(found[0, :2], [0, -1], atol=1e-6)


@pytest.mark.usefixtures("x64")
def test_hardnet_by_hand():
    # The second row's value stays at 1, although the nearest point inside would change it.
    matrix, raw = np.array([[1, 0], [1, 1]]), np.array([[3, -2], [3, -2], [3, -2], [0.5, -0.5]])
    upper = np.array([[1, 2], [1, INF], [1, 0], [1, 0]])
    lower = np.array([[-INF, -INF], [-INF, -INF], [0, 0], [0, 0]])
    (found, slopes), _ = by_hardnet(np.ones((4, 2)), raw, matrix, lower, upper)
    np.testing.assert_allclose(found, [[1, 0], [1, -2], [1, -1], [0.5, -0.5]], atol=1e-6)
    np.testing.assert_allclose(slopes[2:], 0, atol=1e-12)  # along an equality


@pytest.mark.usefixtures("x64")
def test_hardnet_is_the_nearest_point_whose_rows_are_clipped():
    """Rows of unlike norm; among them equalities, rows with one bound, and rows without."""
    draw = np.random.default_rng(5)
    raw, count = 2 * draw.normal(size=(SETS, SIZE)), 3
    matrix = np.eye(count, SIZE) + 0.3 * draw.normal(size=(SETS, count, SIZE))
    assert np.max(np.linalg.cond(matrix)) < 10
    matrix *= 10 ** draw.uniform(-1, 1, (SETS, count, 1))
    place = np.einsum("bmn,bn->bm", matrix, raw)
    lower = draw.normal(size=(SETS, count))
    upper = lower + draw.choice([0, 1], (SETS, count)) * draw.uniform(0, 2, (SETS, count))
    free = draw.random((2, SETS, count)) < 0.3
    lower, upper = np.where(free[0], -INF, lower), np.where(free[1], INF, upper)
    for kind in (place < lower, place > upper, lower == upper, free.all(0)):
        assert kind.any()
    (found, _), _ = by_hardnet(raw, raw, matrix, lower, upper)
    clipped = np.where(free.all(0), INF, np.clip(place, lower, upper))
    expected = [
        by_cvxpy(z, a[to < INF], to[to < INF], to[to < INF])
        for z, a, to in zip(raw, matrix, clipped, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.usefixtures("x64")
def test_the_radial_map_goes_as_far_as_a_linear_program():
    """From the center of the largest ball inside, to raw at the farthest."""
    raw, matrix, lower, upper = map(np.concatenate, zip(*CASES.values(), strict=True))
    count, equal = len(raw), (lower == upper).ravel()
    rows, each = block_diag(matrix, format="csr"), np.repeat(np.arange(count), ROWS)
    high, low = upper.ravel(), lower.ravel()
    above, below = (high < INF) & ~equal, (low > -INF) & ~equal

    y, radius = cvxpy.Variable(count * SIZE), cvxpy.Variable(count)
    norm = np.linalg.norm(matrix, axis=-1).ravel()
    room = cvxpy.multiply(norm, radius[each])
    solve(
        cvxpy.sum(radius),
        [
            radius <= 1,
            cvxpy.abs(y) <= 1e3,
            rows[equal] @ y == high[equal],
            (rows @ y + room)[above] <= high[above],
            (rows @ y - room)[below] >= low[below],
        ],
    )
    roomy, interior = radius.value > 1e-3, y.value.reshape(count, SIZE)
    named = np.repeat(list(CASES), BATCH)
    assert set(CASES) - set(named[roomy]) == {"budget of 0", "empty interior"}

    equalities = matrix * equal.reshape(count, ROWS, 1)
    way = raw - interior
    way = way - np.einsum("bnm,bmk,bk->bn", np.linalg.pinv(equalities), equalities, way)
    factor = cvxpy.Variable(count)
    slope, place = rows @ way.ravel(), rows @ y.value
    reached = place + cvxpy.multiply(slope, factor[each])
    above, below = above & roomy[each], below & roomy[each]
    solve(
        cvxpy.sum(factor),
        [factor <= 1, reached[above] <= high[above], reached[below] >= low[below]],
    )
    given = (x.reshape(-1, BATCH, *x.shape[1:]) for x in (raw, matrix, lower, upper, interior))
    found = np.concatenate(
        [
            output_and_slopes(affine_radial, COTANGENT, z, Rows(*rows), interior=point)[0]
            for z, *rows, point in zip(*given, strict=True)
        ]
    )
    expected = interior + factor.value[:, None] * way
    assert 0.1 < np.mean(factor.value[roomy] < 0.999) < 0.9
    np.testing.assert_allclose(found[roomy], expected[roomy], atol=1e-6)


def from_point(function, raw, interior, matrix, lower, upper):
    """Outputs and slopes, at the shape of the others, of sets of two outputs."""
    raw, *rows = in_full(matrix, lower, upper, raw)
    interior, *_ = in_full(matrix, lower, upper, interior)
    found = output_and_slopes(function.__wrapped__, raw, raw, Rows(*rows), interior=interior)
    output, slopes, *others = jax.device_get(found)
    return output[:, :2], slopes[:, :2], others


SQUARE = np.eye(2), None, 2.0 * np.ones(2)
WITH_LINE = [[1, 0], [0, 1], [1, -2]], [-INF, -INF, 0], [2, 2, 0]


@pytest.mark.usefixtures("x64")
def test_radial_by_hand():
    raw = np.array([[5, 1], [1.5, -7]])
    (outside, inside, *_), *_ = from_point(radial, raw, [1, 0], *SQUARE)
    np.testing.assert_allclose(outside, [2, 0.25], atol=1e-5)
    np.testing.assert_array_equal(inside, raw[1])
    on_line, *_ = from_point(radial, [3, 3], [0, 0], *WITH_LINE)
    np.testing.assert_allclose(on_line[0], [2, 1], atol=1e-5)


@pytest.mark.usefixtures("x64")
def test_soft_radial_by_hand():
    # Twice as far outside along the first axis as the set goes; inside; a direction without bounds.
    raw = [[3, 0], [1.5, 0], [0.5, -7], [1, 0]]
    expected = [[1 + 2 / 5**0.5, 0], [1 + 0.5 / 1.25**0.5, 0], [0.5, -7], [1, 0]]
    found, *_ = from_point(soft_radial, raw, [1, 0], *SQUARE)
    np.testing.assert_allclose(found[:4], expected, rtol=1e-5)
    on_line, *_ = from_point(soft_radial, [3, 3], [0, 0], *WITH_LINE)
    # On the line (3.6, 1.8), 1.8 times as far as the first row allows.
    np.testing.assert_allclose(on_line[0], np.array([2, 1]) * 1.8 / np.hypot(1, 1.8), rtol=1e-5)


@pytest.mark.parametrize("function", sampled(FROM_INTERIOR, [soft_radial]), ids=name_of)
def test_far_raw_is_met_by_a_row(function):
    rows, zeros = box_rows(-1.0, np.ones(3, np.float32)), np.zeros(3, np.float32)
    from_zero = partial(function, rows=rows, interior=zeros)

    @jax.jit
    def both(raw, along):
        slope = jax.grad(lambda z: from_zero(z).sum())
        return from_zero(raw), jax.jvp(slope, (raw,), (along,))[1]

    for size in (1e15, 1e30, 3e38):
        for along in np.eye(3, dtype=np.float32):
            output, second = both(np.float32([size, 1, -size / 2]), along)
            np.testing.assert_allclose(output, [1, 0, -0.5], atol=1e-5)
            assert np.isfinite(second).all()


@pytest.mark.thorough  # both are the points that cvxpy finds
@pytest.mark.usefixtures("x64")
def test_with_one_row_hardnet_is_the_projection():
    draw = np.random.default_rng(1)
    raw, row = draw.normal(size=(2, 20, SIZE))
    upper = np.concatenate([draw.normal(size=(18, 1)), [[INF], [0.3]]])
    for lower in (upper, upper - 0.2):
        arguments = (raw, Rows(row[:, None], lower, upper))
        np.testing.assert_allclose(hardnet(*arguments), projection(*arguments), atol=1e-13)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("function", [hardnet, *FROM_INTERIOR, excess], ids=name_of)
def test_derivatives_of_the_closed_forms_match_finite_differences(function):
    draw = np.random.default_rng(2)
    # Of excess each row is an output.
    batch, count = SETS if function is hardnet else BATCH, ROWS if function in FROM_INTERIOR else 3
    raw, matrix = 3 * draw.normal(size=(BATCH, SIZE)), draw.normal(size=(BATCH, 3, SIZE))
    upper, interior = draw.uniform(0.5, 1, (BATCH, 3)), draw.normal(size=(BATCH, SIZE)) / 50
    cotangent = padded(COTANGENT, (batch, SIZE))
    raw, *rows = in_full(matrix, None, upper, raw, batch=batch, count=count)
    extra = {"interior": interior} if function in FROM_INTERIOR else {}
    run = partial(output_and_slopes, function.__wrapped__, cotangent)
    output, *slopes = run(raw, Rows(*rows), **extra)
    leaves, tree = jax.tree.flatten((raw, Rows(*rows), extra))
    for i, slope in enumerate(jax.tree.leaves(slopes)):
        real = np.isfinite(leaves[i]) & (leaves[i] != 0)
        direction = np.where(real, draw.normal(size=slope.shape), 0)
        ends = []
        for step in (1e-6, -1e-6):
            moved = [*leaves]
            moved[i] = leaves[i] + step * direction
            raw, rows, extra = jax.tree.unflatten(tree, moved)
            ends.append(np.sum(cotangent[:, : output.shape[-1]] * run(raw, rows, **extra)[0]))
        np.testing.assert_allclose(np.sum(slope * direction), (ends[0] - ends[1]) / 2e-6, 1e-4)


@pytest.mark.thorough  # the projection's Jacobian and finite differences above, test_balls.py
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("function", "ranks"),
    list(zip(JITTED, ((0, 1, 2, 3), (0, 1, 2, 3), (2, 2, 2, 3), (3, 3, 3, 3)), strict=True)),
    ids=map(name_of, JITTED),
)
def test_where_each_is_dead(function, ranks):
    """Beyond a vertex of a cube, beyond an edge, beyond a side, and inside; judged in single
    precision, for the margin of rounding shows in the derivative."""
    raw = np.array([[3.0, 4, 5], [3, 4, 0.5], [3, 0.3, 0.5], [0.2, 0.3, 0.5]])
    extra = {"interior": np.zeros(3)} if function in FROM_INTERIOR else {}
    through = partial(function, rows=box_rows(-1.0, np.ones(3)), **extra)
    jacobian = np.asarray(jax.jit(partial(metrics.set_jacobian, through))(raw))
    found = [float(rank_fraction(one[None])) for one in np.float32(jacobian)]
    np.testing.assert_allclose(3 * np.array(found), ranks)
    if function in FROM_INTERIOR:
        along = np.einsum("bij,bj->bi", jacobian, raw)[:3]
        gauge = np.max(raw, -1, keepdims=True)[:3]
        expected = 0 if function is radial else raw[:3] / (1 + gauge**2) ** 1.5
        np.testing.assert_allclose(along, np.broadcast_to(expected, (3, 3)), atol=1e-12)


@pytest.mark.thorough  # its equalities are below
@pytest.mark.usefixtures("x64")
def test_with_equalities_the_soft_radial_map_loses_those_alone():
    rows = stack_rows(sum_rows(1.0, size=4), box_rows(0.0, np.full(4, 0.6)))
    raw = 3 * np.random.default_rng(4).normal(size=(20, 4))
    through = partial(affine_soft_radial, rows=rows, interior=np.full(4, 0.25))
    both = jax.jit(lambda raw: (through(raw), metrics.set_jacobian(through, raw)))
    output, jacobian = both(raw)
    np.testing.assert_allclose(rank_fraction(jacobian), 3 / 4)
    np.testing.assert_allclose(np.sum(output, -1), 1, atol=1e-12)


def test_second_derivatives():
    rows = Rows(np.float32([[1, 1], [1, -1]]), upper=np.float32([1, 5]))

    def half_squared(z):
        return jnp.sum((z - affine_projection(z, rows)) ** 2) / 2

    # Of the distance, halved and squared, it is I less the derivative of the projection.
    hessian = jax.jit(jax.hessian(half_squared))(np.float32([2, 0.4]))
    np.testing.assert_allclose(hessian, [[0.5, 0.5], [0.5, 0.5]], atol=1e-6)


@pytest.mark.usefixtures("x64")
def test_raw_inside_and_on_the_boundary_stays_and_keeps_its_gradient():
    raw = np.array([[0.3, 0.7], [1, -2], [0.1, 0.2]])
    rows = np.eye(2), None, np.ones(2)
    short = raw - [[0, 0], [0.01, 0], [0, 0]]  # of the boundary: the radial map needs room
    full, *of_full = in_full(*rows, raw)
    output, *_, slopes = pull_back(full, full, *of_full)
    for expected, found in (
        (raw, (output, slopes[0])),
        (raw, by_hardnet(raw, raw, *rows)[0]),
        (short, from_point(radial, short, [0, 0], *rows)[:2]),
    ):
        for one in found:
            np.testing.assert_array_equal(one[:3, :2], expected)


@pytest.mark.usefixtures("x64")
def test_a_radial_point_without_slack_stays_where_it_is():
    """z0 on the bound, as where the bound is 0: pinned, with finite derivatives of 0."""
    for function in FROM_INTERIOR:
        output, *slopes = from_point(function, [1, 2], [0, 0], np.eye(2), None, np.zeros(2))
        np.testing.assert_array_equal(output, 0)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(slopes))


@pytest.mark.usefixtures("x64")
def test_the_residual_tells_of_empty_sets_and_of_too_few_steps():
    matrix = np.array([[1, 0], [-1, 0]])
    # 2 <= y <= 1
    raw, *rows = in_full(matrix, None, [[1, -2], [1, 2]], [[3, 0], [3, 0]])
    _, residual, *_ = pull_back(COTANGENT, raw, *rows)
    assert residual[0] >= 0.5
    assert residual[1] == 0
    of_none = jax.jit(partial(affine_projection_with_residual, steps=np.int64(0)))
    output, residual = of_none(raw, Rows(*rows))
    np.testing.assert_array_equal(output, raw)
    np.testing.assert_array_equal(residual[:2], 2)


def test_steps_are_a_whole_number_that_is_not_negative():
    raw, rows = np.float32([3, 0]), box_rows(0.0, np.ones(2, np.float32))
    for function in (affine_projection, affine_projection_with_residual):
        name = function.__name__
        for steps in (2.5, True, "all", np.bool_(True), jnp.array(3)):
            with pytest.raises(TypeError, match=f"{name} needs a whole number as steps, got .*int"):
                function(raw, rows, steps=steps)
        with pytest.raises(ValueError, match=f"{name} needs steps of at least 0, got -1.*leave"):
            function(raw, rows, steps=-1)
    with pytest.raises(TypeError, match="needs a whole number as steps"):
        jax.jit(lambda steps: affine_projection(raw, rows, steps=steps))(3)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "shared", sampled([True, False], bool), ids=["shared matrix", "a matrix each"]
)
def test_equalities_that_all_sets_have_take_no_steps_and_change_nothing(shared):
    """Rows 0, 1 and 2 are equalities, row 2 the sum of the others; row 3 is one in the first set
    alone."""
    draw = np.random.default_rng(0)
    matrix = draw.normal(size=(4, SIZE))
    matrix[2] = matrix[0] + matrix[1]
    place = matrix @ draw.normal(size=SIZE)
    lower = np.stack([place, np.where(np.arange(4) == 3, -np.inf, place)])
    raw, upper = draw.normal(size=(2, SIZE)) + 3, np.stack([place, place])
    given = matrix if shared else np.stack([matrix, matrix])
    alone = project(*in_full(matrix, lower, upper, raw))[:2]  # among sets without equalities

    @jax.jit
    def run(raw):  # by rows that are known
        first = Rows(given[..., :3, :], lower[:, :3], upper[:, :3])
        return (
            affine_projection_with_residual(raw, Rows(given, lower, upper)),
            affine_projection_with_residual(raw, first, steps=0)[1],
        )

    (together, residual), after_none = run(raw)
    assert np.all(residual < 1e-14)
    np.testing.assert_allclose(together, alone, atol=1e-13)
    assert np.all(after_none < 1e-13)


@pytest.mark.thorough  # test_edges.py, with derivatives
@pytest.mark.parametrize("function", JITTED, ids=name_of)
def test_nan_fills_its_own_outputs_and_no_others(function):
    raw, upper = np.ones((3, SIZE), np.float32), np.full((3, 2), 0.5, np.float32)
    raw[1, 0] = upper[2, 1] = np.nan
    rows = Rows(np.stack([np.eye(2, SIZE, dtype=np.float32)] * 3), upper=upper)
    output = function(raw, rows, interior=0 * raw)
    np.testing.assert_array_equal(np.isnan(output).all(-1), [False, True, True])
    assert np.isfinite(output[0]).all()


@pytest.mark.parametrize("function", sampled([*JITTED, excess], (hardnet, excess)), ids=name_of)
def test_leading_axes_broadcast_and_vmap_agrees(function):
    draw = np.random.default_rng(3)
    raw = 2 * draw.normal(size=(2, 3, SIZE)).astype(np.float32)
    matrix = draw.normal(size=(3, 2, SIZE)).astype(np.float32)
    upper = draw.uniform(0.1, 1, (2, 1, 2)).astype(np.float32)
    extra = {"interior": np.zeros(SIZE, np.float32)} if function in FROM_INTERIOR else {}

    def through(raw, matrix, upper):
        return function(raw, Rows(matrix, upper=upper), **extra)

    @jax.jit
    def ways(raw, matrix, upper):
        each = jnp.broadcast_to(upper, (2, 3, 2))
        mapped = jax.vmap(jax.vmap(through), (0, None, 0))(raw, matrix, each)
        return through(raw, matrix, upper), mapped, through(raw, matrix[0], upper)

    output, mapped, shared = ways(raw, matrix, upper)
    np.testing.assert_allclose(output, mapped, atol=1e-5)
    np.testing.assert_allclose(shared[:, 0], output[:, 0], atol=1e-5)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("function", sampled(JITTED, [soft_radial]), ids=name_of)
def test_equalities_hold_and_are_never_free(function):
    raw = [[3, -1, 0.5], [0.25, 0.25, 0.5]]  # the second is inside
    matrix, upper = [[1, 0, 0], [0, 1, 0], [1, 1, 1]], [0.6, 0.6, 1]
    rows = matrix, [-INF, -INF, 1], upper
    raw, *rows = in_full(*rows, raw, count=3 if function is hardnet else ROWS)
    interior = padded([1 / 3] * 3, (BATCH, SIZE))
    extra = {"interior": interior} if function in FROM_INTERIOR else {}
    through = partial(function.__wrapped__, rows=Rows(*rows))
    along = padded(np.ones(3), (BATCH, SIZE))
    given = function.__wrapped__, along, raw, Rows(*rows)
    output, slopes, *_ = jax.device_get(output_and_slopes(*given, **extra))
    np.testing.assert_allclose(np.sum(output[:, :3], -1), 1, atol=1e-6)
    known = jax.jit(through)(raw, **extra)
    np.testing.assert_allclose(known, output, atol=1e-6)
    if function is not soft_radial:
        np.testing.assert_allclose(output[1], raw[1], atol=1e-6)
    np.testing.assert_allclose(slopes[1], 0, atol=1e-6)


@pytest.mark.thorough  # as of budgets
def test_the_second_call_compiles_nothing():
    traced = []

    @jax.jit
    def loss(raw, matrix, upper):
        traced.append(1)
        return jnp.sum(projection(raw, Rows(matrix, upper=upper)) ** 2)

    for scale in (1.0, 3.0):
        given = scale * np.ones(3), scale * np.eye(2, 3), np.zeros(2)
        jax.grad(loss)(*map(np.float32, given))
    assert len(traced) == 1


def test_rows_by_hand():
    upper = jnp.array([[1.0, 2, 3]])
    rows = stack_rows(box_rows(0.0, upper), sum_rows(jnp.array([2.0]), size=3))
    np.testing.assert_array_equal(rows.matrix, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    np.testing.assert_array_equal(rows.upper, [[1, 2, 3, 2]])
    np.testing.assert_array_equal(rows.lower, [[0, 0, 0, 2]])
    rates = rate_rows(jnp.array([0.5, INF]))
    np.testing.assert_array_equal(rates.matrix, [[-1, 1, 0], [0, -1, 1]])
    np.testing.assert_array_equal(rates.lower, [-0.5, -INF])
    np.testing.assert_array_equal(monotone_rows(3, gap=0.5).lower, [0.5, 0.5])
    np.testing.assert_array_equal(quantile_rows(2, steps=2).matrix, [[-1, 1, 0, 0], [0, 0, -1, 1]])


def test_rows_as_sets():
    inside, outside = np.float32([0.5, 0.6, 0.9, 1]), np.float32([3, -1, 2, 1])
    violations = {  # of the second, by hand; the first is in every set
        "box": (box_rows(0.0, jnp.full(4, 2.0)), [1, 1, 0, 0]),
        "sum": (sum_rows(3.0, size=4), [2]),
        "rates": (rate_rows(jnp.full(3, 0.5)), [3.5, 2.5, 0.5]),
        "monotone": (monotone_rows(4), [4, 0, 1]),
        "quantiles": (quantile_rows(2, steps=2), [4, 1]),
    }
    sets = {name: rows for name, (rows, _) in violations.items()}
    everything = stack_rows(*sets.values())

    @jax.jit
    def run(raw, narrow):
        output = affine_projection(narrow, everything)
        of_each = {name: affine_excess(raw, rows) for name, rows in sets.items()}
        return of_each, output, affine_excess(output, everything)

    given = np.stack([inside, outside]), outside.astype(jnp.bfloat16)
    found, output, off = jax.device_get(run(*given))
    for name, (_, expected) in violations.items():
        np.testing.assert_allclose(found[name][0], 0, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(found[name][1], expected, err_msg=name)
    assert output.dtype == jnp.bfloat16
    assert np.max(off) < 0.05


@pytest.mark.usefixtures("x64")
def test_monotone_rows_give_isotonic_regression():
    rows, raw = monotone_rows(4), [[3, -1, 2, 2], [0, 1, 2, 4]]
    pooled = project(*in_full(rows.matrix, rows.lower, None, raw))
    np.testing.assert_allclose(pooled[:2], [[1, 1, 2, 2], [0, 1, 2, 4]], atol=1e-6)


def test_what_does_not_fit_is_refused():
    raw, matrix = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
    rows = Rows(matrix, upper=1.0)
    with pytest.raises(TypeError, match="floating-point raw, got int32"):
        affine_projection(np.ones(3, int), rows)
    with pytest.raises(ValueError, match="lower and upper of the rows are both None"):
        affine_projection(raw, Rows(matrix))
    with pytest.raises(ValueError, match=r"matrix of shape \(..., rows, 3\).*got \(3,\).*\[None\]"):
        affine_projection(raw, Rows(np.ones(3), upper=1.0))
    with pytest.raises(ValueError, match=r"matrix of shape \(..., rows, 3\).*got \(3, 4\)"):
        affine_radial(raw, Rows(matrix.T, upper=1.0), interior=raw)
    with pytest.raises(ValueError, match=r"upper of shape \(..., 4\).*got \(3,\)"):
        affine_projection(raw, Rows(matrix, upper=np.ones(3)))
    with pytest.raises(ValueError, match=r"broadcast to raw's, \(2,\), but upper has \(5,\)"):
        affine_projection(raw, Rows(matrix, upper=np.ones((5, 4))))
    with pytest.raises(ValueError, match=r"interior point of shape \(..., 3\)"):
        affine_projection(raw, rows, interior=np.ones(2))
    with pytest.raises(ValueError, match="4 rows for 3 outputs. Use affine_projection"):
        jax.eval_shape(affine_hardnet, raw, rows)
    with pytest.raises(ValueError, match=r"outputs of one size, got \[3, 2\]"):
        stack_rows(monotone_rows(3), monotone_rows(2))
    with pytest.raises(ValueError, match="got two scalars"):
        box_rows(0.0, 1.0)
    with pytest.raises(ValueError, match=r"\(..., n - 1\)"):
        rate_rows(1.0)
    assert isinstance(monotone_rows(3), Rows)


@pytest.mark.usefixtures("x64")
def test_hardnet_leaves_raw_inside_alone_where_rows_are_parallel():
    parallel = np.array([[[1, 2], [2, 4]], [[1, 2], [2, 3]]])
    raw, rows = np.array([[1, 0.5], [3, 3]]), (parallel, None, np.array([4, 8]))
    for along in np.eye(2):
        (output, slope), of_rows = by_hardnet([along] * 2, raw, *rows)
        np.testing.assert_array_equal(output[0], raw[0])
        np.testing.assert_allclose(parallel[1] @ output[1], [4.0, 8.0], rtol=1e-5)
        np.testing.assert_allclose(slope[0], along, atol=1e-6)
        np.testing.assert_array_equal(of_rows.matrix[0], 0)


@pytest.mark.usefixtures("x64")
def test_hardnet_of_many_rows_is_the_closed_form_and_a_row_may_stand_twice():
    draw = np.random.default_rng(2)
    raw, matrix, upper = (
        draw.normal(size=(5, 48)),
        draw.normal(size=(40, 48)),
        draw.uniform(size=40),
    )
    value = raw @ matrix.T
    expected = raw - np.maximum(value - upper, 0) @ np.linalg.pinv(matrix).T
    twice = np.append(matrix, matrix[3:4], axis=0)
    for again in (INF, upper[3]):  # without a bound the row does not count
        rows = Rows(twice, upper=np.append(upper, again))
        np.testing.assert_allclose(hardnet(raw, rows), expected, atol=1e-9)


def test_hardnet_holds_rows_at_small_angles_and_each_in_its_own_scale():
    draw = np.random.default_rng(0)
    one, across = np.linalg.qr(draw.normal(size=(200, 4, 2)))[0].transpose(2, 0, 1)
    upper = np.full((200, 2), 0.1, np.float32)
    for sine in (1e-1, 1e-2, 2e-3):
        matrix = np.stack([one, np.sqrt(1 - sine**2) * one + sine * across], 1)
        raw, matrix = np.float32(draw.normal(size=(200, 4))), np.float32(matrix)
        output, matrix = (
            np.asarray(x, float) for x in (hardnet(raw, Rows(matrix, upper=upper)), matrix)
        )
        size = np.abs(matrix) @ np.abs(output)[..., None]
        assert np.max((matrix @ output[..., None] - 0.1) / (size + 0.1)) < 16 * 1.2e-7
    raw[:] = 1e6, 0.9, 0, 0
    matrix, upper[:] = np.broadcast_to(np.eye(2, 4, dtype=np.float32), (200, 2, 4)), (1e7, 0.5)
    output = np.asarray(hardnet(raw, Rows(matrix, upper=upper)))
    np.testing.assert_array_equal(output[0], [1e6, 0.5, 0, 0])


SIDE_BY_SIDE = """
import jax, jax.numpy as jnp
from bounded.sets import Rows, affine_hardnet, affine_projection
keys = jax.random.split(jax.random.key(0), 4)
heads = [jax.random.normal(key, (2048, 12, 20)) for key in keys]
weights = [head[:, :, :12] @ head[:, :, :12].swapaxes(1, 2) + 12 * jnp.eye(12) for head in heads]

@jax.jit
def run(heads, weights):
    hard = [affine_hardnet(head[:, 0], Rows(head, upper=0.5)) for head in heads]
    one = Rows(jnp.ones((1, 12)), upper=0.0)
    near = [affine_projection(w[:, 0], one, weights=w) for w in weights]
    return hard, near

for _ in range(20):
    jax.block_until_ready(run(heads, weights))
"""


@pytest.mark.slow  # and a process of its own: one that waits for ever cannot be ended from within
def test_several_heads_of_a_network_do_not_wait_for_each_other():
    subprocess.run([sys.executable, "-c", SIDE_BY_SIDE], timeout=120, check=True)
