"""Rows hold: exactly where an interior is known, else to roundings in each row's own scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bounded.sets import (
    Rows,
    affine_elastic,
    affine_excess,
    affine_hardnet,
    affine_projection,
    affine_projection_with_residual,
    affine_radial,
    affine_soft_radial,
    box_rows,
    stack_rows,
)
from tests.bounded.sets.affine_cases import BATCH, CASES, SIZE
from tests.bounded.sets.cases import AFFINE

JITTED = tuple(map(jax.jit, (affine_hardnet, affine_projection, affine_radial, affine_soft_radial)))
hardnet, projection, radial, soft_radial = JITTED


@pytest.mark.usefixtures("unoptimised")
def test_a_row_is_held_in_its_own_scale():
    raw, rows = jnp.array([1e6, 0.9]), box_rows(0.0, jnp.array([1e7, 0.5]))
    for name in ("affine_projection", "affine_hardnet"):
        np.testing.assert_array_equal(AFFINE[name](raw, rows), [1e6, 0.5])


def wide_scales(seed):
    """raw and rows: outputs, row norms and bounds from 1e-6 to 1e6, boxes, pairs and one sum."""
    draw = np.random.default_rng(seed)
    scale = 10.0 ** draw.uniform(-6, 6, (8, 6))
    raw = draw.normal(size=(8, 6)) * scale * 10.0 ** draw.integers(0, 3, (8, 6))
    pairs = np.kron(np.eye(3), [[1.0, 1.0]]) * 10.0 ** draw.uniform(-6, 6, (8, 3, 1))
    of_pairs = np.einsum("bmn,bn->bm", pairs, scale) * draw.uniform(0.1, 0.9, (8, 3))
    boxes = box_rows(0.0, jnp.asarray(scale, jnp.float32))
    pairs = Rows(jnp.asarray(pairs, jnp.float32), upper=jnp.asarray(of_pairs, jnp.float32))
    one = Rows(jnp.ones((1, 6)), upper=jnp.asarray(0.5 * scale.sum(-1, keepdims=True), jnp.float32))
    return jnp.asarray(raw, jnp.float32), boxes, pairs, one, jnp.asarray(0.01 * scale, jnp.float32)


def off_in_roundings(output, raw, rows):
    """Of every row, in units of what its own terms are rounded by."""
    output, raw, *rows = (np.asarray(x, np.float64) for x in (output, raw, *rows))
    matrix, lower, upper = rows
    eps, size = np.finfo(np.float32).eps, np.abs(matrix)
    place = np.einsum("...mn,...n->...m", matrix, output)
    own = np.einsum("...mn,...n->...m", size, np.abs(output) + eps * np.abs(raw))
    bound = np.where(place > upper, upper, lower)
    off = np.maximum(place - upper, lower - place)
    return np.where(off > 0, off, 0) / (eps * (own + np.where(off > 0, np.abs(bound), 1)))


BY_NAME = {function.__name__: function for function in (*JITTED, jax.jit(affine_elastic))}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
@example(seed=0)
@pytest.mark.parametrize("name", BY_NAME)
def test_rows_of_unlike_scale_are_each_held_in_their_own(name, seed):
    raw, boxes, pairs, one, inside = wide_scales(seed)
    rows = stack_rows(boxes, pairs, one)
    extra = {}
    if name == "affine_hardnet":  # of full rank
        firsts = Rows(boxes.matrix[::2], boxes.lower[:, ::2], boxes.upper[:, ::2])
        rows = stack_rows(firsts, pairs)
    if name in ("affine_radial", "affine_soft_radial"):
        extra = {"interior": inside}
    if name == "affine_elastic":
        extra = {"penalty": 1e12}
    output = BY_NAME[name](raw, rows, **extra)
    assert np.max(off_in_roundings(output, raw, rows)) <= 2 * 6 + 8


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
@example(seed=0)
@pytest.mark.parametrize("kind", ["diagonal", "matrix"])
def test_they_are_where_the_distance_is_weighted_too(kind, seed):
    raw, boxes, pairs, one, inside = wide_scales(seed)
    rows, draw = stack_rows(boxes, pairs, one), np.random.default_rng(seed)
    weights = (0.01 / np.asarray(inside)) ** 2 * 10 ** draw.uniform(-1, 1, (8, 6))
    if kind == "matrix":
        weights = np.sqrt(weights[..., None] * weights[:, None]) * (0.7 * np.eye(6) + 0.3)
    weights = jnp.asarray(weights / np.max(weights), jnp.float32)
    output = projection(raw, rows, weights=weights)
    assert np.max(off_in_roundings(output, raw, rows)) <= 2 * 6 + 8


def name_of(value):
    return value if isinstance(value, str) else value.__name__


def exact(function):
    """Jitted, with a known interior at 0."""

    def with_interior(raw, matrix, upper):
        return function(raw, Rows(matrix, upper=upper), interior=0 * raw)

    return jax.jit(with_interior)


EXACT = {function: exact(function) for function in JITTED}


@pytest.mark.parametrize(
    ("function", "dtype"),
    [(function, dtype) for function in JITTED for dtype in ("float32", "float64")]
    + [(radial, "float16"), (soft_radial, "bfloat16"), (projection, "bfloat16")]
    + [(hardnet, "float16"), (hardnet, "bfloat16")],
    ids=name_of,
)
def test_with_an_interior_rows_hold_exactly_in_any_order_of_summation(function, dtype):
    rows, wide = 3, "float32" if dtype in ("float16", "bfloat16") else dtype
    limit = 100 if dtype == "float16" else 1e6

    def floats(low, high, shape):
        return arrays(np.float64, shape, elements=st.floats(low, high))

    @settings(deadline=None, max_examples=30)
    @given(
        # Where products underflow nothing is promised.
        floats(-limit, limit, (BATCH, SIZE)).map(lambda x: np.where(abs(x) < 1e-12, 0, x)),
        floats(-2, 2, (BATCH, rows, SIZE)).map(lambda x: np.where(abs(x) < 1e-3, 0, x)),
        floats(0, 10, (BATCH, rows)).map(lambda x: np.where(x < 1e-3, 0, x)),
    )
    def check(raw, matrix, upper):
        if function is hardnet:  # of full rank, and well enough
            matrix = matrix + 8 * np.eye(rows, SIZE)
        raw, matrix, upper = (jnp.asarray(x, dtype) for x in (raw, matrix, upper))
        output = EXACT[function](raw, matrix, upper)
        assert output.dtype == dtype
        output, matrix, upper = (np.asarray(x, wide) for x in (output, matrix, upper))
        assert np.isfinite(output).all()
        terms = matrix * output[:, None]
        for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
            place = np.zeros_like(upper)
            for i in order:
                place = place + terms[..., i]
            assert (place <= upper).all()
        assert (np.sum(terms.astype(np.longdouble), -1) <= upper).all()

    with jax.enable_x64(dtype == "float64"):
        check()


@pytest.mark.parametrize("function", JITTED, ids=name_of)
@pytest.mark.parametrize("little", [1e-35, 1e-38, 1e-30, 1e-22])
def test_with_an_interior_they_hold_beside_an_output_that_is_huge(function, little):
    raw = jnp.array([little, little / 32, 0, 1024], jnp.float32)
    matrix = jnp.array([[8, 1, 0, 0], [0, 8, 0, 0], [0, 1e-3, 8, 0]], jnp.float32)
    upper = jnp.array([0, 0, 1e-37], jnp.float32)
    output = EXACT[function](raw, matrix, upper)
    assert (np.asarray(matrix) @ np.asarray(output) <= np.asarray(upper)).all()
    assert output[3] == 1024


MOST = float(np.finfo(np.float32).max)


@pytest.mark.usefixtures("unoptimised")
@pytest.mark.parametrize("function", JITTED, ids=name_of)
def test_the_interior_may_be_as_far_as_numbers_go(function):
    row = jnp.array([[1.0, 0, 0]])
    interior = MOST * jnp.array([[-1.0, -1, 1], [-1e-38, -1, -1], [-1e-38, 0, 0]])
    raw = MOST * jnp.array([[1.0, 1, -1], [1, 1, 1], [-1e-38, 1, -1]])
    output = function(raw, Rows(row, upper=0.0), interior=interior)
    assert np.isfinite(output).all()
    assert (output[:, 0] <= 0).all()
    np.testing.assert_array_equal(output[2], raw[2])
    slope = jax.vmap(jax.jacobian(lambda raw, z: function(raw, Rows(row, upper=0.0), interior=z)))
    assert not np.isnan(slope(raw[:2], interior[:2])).any()


@jax.jit
def project(raw, *rows):
    output, residual = affine_projection_with_residual(raw, Rows(*rows))
    return output, residual, affine_excess(output, Rows(*rows))


@pytest.mark.parametrize("name", CASES)
def test_without_an_interior_rows_hold_to_rounding(name):
    raw, *rows = (np.asarray(x, np.float32) for x in CASES[name])
    output, residual, excess = project(raw, *rows)
    assert output.dtype == residual.dtype == np.float32
    assert np.max(residual) < 100 * np.finfo(np.float32).eps
    assert np.max(excess) < 1e-4
