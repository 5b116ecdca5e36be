"""Affine sets of every kind, degenerate ones among them, at one shape."""

import numpy as np

from bounded.sets import rate_rows, stack_rows, sum_rows

BATCH, ROWS, SIZE = 5, 8, 4
INF = np.inf


def padded(values, shape, fill=0.0):
    """Of a shape, which has more axes, that are shared, or entries, that are filled."""
    values = np.asarray(values, float)
    values = np.broadcast_to(values, (*shape[: len(shape) - values.ndim], *values.shape))
    missing = [(0, most - own) for most, own in zip(shape, values.shape, strict=True)]
    return np.pad(values, missing, constant_values=fill)


def in_full(matrix, lower, upper, raw, *, batch=BATCH, count=ROWS):
    """A case at the shape of all others, so that it needs no program of its own; missing rows,
    outputs and sets are zeros without a bound, and a side that is None is without bounds."""
    none = np.full(1, INF)
    return (
        padded(raw, (batch, SIZE)),
        padded(matrix, (batch, count, SIZE)),
        padded(-none if lower is None else lower, (batch, count), -INF),
        padded(none if upper is None else upper, (batch, count), INF),
    )


def cases(seed=0):
    """Sets by name, each (raw, matrix, lower, upper)."""
    draw = np.random.default_rng(seed)
    raw = 3 * draw.normal(size=(BATCH, SIZE))
    dense = draw.normal(size=(BATCH, ROWS, SIZE))
    below = np.full((BATCH, ROWS), -INF)
    inside = draw.uniform(0.1, 1, (BATCH, ROWS))
    few, narrow = dense[:, :3], inside[:, :3]
    twice = np.concatenate([few, few, 2 * few[:, :1]], 1)
    flat = np.concatenate([few[:, :2], -few[:, :2]], 1)
    on_flat = np.einsum("bmn,bn->bm", few[:, :2], draw.normal(size=(BATCH, SIZE)))
    budget = np.concatenate([-np.eye(SIZE), np.ones((1, SIZE))])
    total = np.concatenate([np.zeros((BATCH, SIZE)), draw.uniform(0, 2, (BATCH, 1))], 1)
    simplex = np.where(np.arange(SIZE + 1) == SIZE, total, -INF)
    box = np.concatenate([np.eye(SIZE), np.ones((1, SIZE))])
    capped = np.concatenate([draw.integers(0, 2, (BATCH, SIZE)), draw.uniform(0, 1, (BATCH, 1))], 1)
    rates = stack_rows(rate_rows(draw.uniform(0, 0.5, (BATCH, SIZE - 1))), sum_rows(1.0, size=SIZE))
    equal = np.arange(ROWS) < 2
    same = np.concatenate([narrow, narrow, 2 * narrow[:, :1]], 1)
    sets = {
        "generic": (dense, inside, below),
        "two sides": (dense, inside, inside - 1.2),
        "constant": (dense[0], inside, below),
        "inactive": (dense, inside + 100, below),
        "redundant": (twice, np.concatenate([narrow, narrow + 1, 2 * narrow[:, :1]], 1), None),
        "parallel": (twice, np.concatenate([narrow, narrow / 2, 3 * narrow[:, :1]], 1), None),
        "repeated": (twice, same, None),
        "empty interior": (flat, np.concatenate([on_flat, -on_flat], 1), None),
        "bounds of 0": (dense, 0 * inside, below),
        "vertex": (dense, np.where(np.arange(ROWS) < 4, 0.01, inside), inside - 2),
        "budget": (budget, total, None),
        "budget of 0": (budget, 0 * total, None),
        "budget in full": (budget, total, simplex),
        "caps of 0": (box, capped, np.zeros((BATCH, SIZE + 1))),
        "rates and sum": (np.asarray(rates.matrix), rates.upper, rates.lower),
        "equality and inequality": (dense, np.where(equal, 0, inside), np.where(equal, 0, -INF)),
        "equality twice": (twice, same, same),
    }
    for name, (matrix, upper, lower) in sets.items():
        upper = np.broadcast_to(upper, (BATCH, matrix.shape[-2]))
        if lower is None:
            lower = np.full_like(upper, -INF)
        yield name, in_full(matrix, lower, upper, raw)


CASES = dict(cases())
