"""Rows of unlike scale are each held in their own, to the last roundings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bounded.sets import Rows, affine_radial, box_rows, stack_rows
from tests.bounded.sets.cases import AFFINE


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


JITTED = {name: jax.jit(AFFINE[name]) for name in ("affine_projection", "affine_hardnet")}
JITTED["affine_radial"] = jax.jit(affine_radial)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
@example(seed=0)
@pytest.mark.parametrize("name", JITTED)
def test_rows_of_unlike_scale_are_each_held_in_their_own(name, seed):
    raw, boxes, pairs, one, inside = wide_scales(seed)
    rows = stack_rows(boxes, pairs, one)
    extra = {}
    if name == "affine_hardnet":  # of full rank
        firsts = Rows(boxes.matrix[::2], boxes.lower[:, ::2], boxes.upper[:, ::2])
        rows = stack_rows(firsts, pairs)
    if name == "affine_radial":
        extra = {"interior": inside}
    output = JITTED[name](raw, rows, **extra)
    assert np.max(off_in_roundings(output, raw, rows)) <= 2 * 6 + 8
