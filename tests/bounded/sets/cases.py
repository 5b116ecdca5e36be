"""The list of functions on sets that every property test goes through: a new one is a line here."""

from functools import partial

import jax.numpy as jnp
import numpy as np

from bounded.sets import (
    Rows,
    affine_elastic,
    affine_excess,
    affine_hardnet,
    affine_projection,
    affine_projection_with_residual,
    affine_radial,
    budget_projection,
    budget_rescale,
    budget_sequential,
    budget_softmax,
    nonlinear_projection,
)

BUDGETS = {
    "budget_projection": budget_projection,
    "budget_rescale": budget_rescale,
    "budget_sequential": budget_sequential,
    "budget_softmax": budget_softmax,
}
MATRIX = jnp.array([[1.0, 1.0, 1.0], [1.0, -1.0, 0.5]])


def through_budget(budget, raw, bound, *, capped=False, equality=False):
    upper = 0.8 * jnp.asarray(bound)[..., None] if capped else None
    return budget(raw, bound, upper=upper, equality=equality)


def through_rows(function, raw, bound, *, equality=False, batched=False, **extra):
    bound = jnp.asarray(bound)
    matrix = MATRIX.astype(bound.dtype)
    if batched:
        matrix = jnp.broadcast_to(matrix, (*bound.shape, *matrix.shape))
    upper = jnp.stack([bound, 2 * bound], -1)
    lower = upper if equality else jnp.stack([jnp.zeros_like(bound), -bound], -1)
    if function is affine_radial:
        # On the rows' own lines with equality, inside of them otherwise.
        on_lines = jnp.stack([4 * bound, -2 * bound, bound], -1) / 3
        extra["interior"] = on_lines if equality else jnp.stack([bound / 6] * 3, -1)
    return function(raw, Rows(matrix, lower=lower, upper=upper), **extra)


def through_functions(raw, bound):
    def inside(y, bound):  # of a ball, and below a saddle
        return jnp.stack([y @ y - bound**2, y[0] * y[1] - y[2] - bound / 2])

    def on(y, bound):
        return y[0] - bound * jnp.sin(y[1]) / 2

    return nonlinear_projection(raw, inequality=inside, equality=on, parameters=bound)


CASES = {
    f"{budget.__name__}{', capped' * capped}{', equal' * equality}": partial(
        through_budget, budget, capped=capped, equality=equality
    )
    for budget in BUDGETS.values()
    for capped in (False, True)
    for equality in (False, True)
} | {
    f"{function.__name__}{', equal' * equality}{', batched' * batched}": partial(
        through_rows, function, equality=equality, batched=batched
    )
    for function in (affine_projection, affine_hardnet, affine_radial)
    for equality, batched in ((False, False), (True, False), (False, True))
}
CASES |= {
    "affine_elastic, batched": partial(through_rows, affine_elastic, batched=True, penalty=0.5),
    "nonlinear_projection": through_functions,
}
# For what hangs on how a function is built and not on its formula: each once, at its fullest.
FULLEST = {
    name: case
    for name, case in CASES.items()
    if name.endswith(("capped, equal", "batched", "nonlinear_projection"))
}
AFFINE = {
    "affine_projection": affine_projection,
    "affine_projection_with_residual": lambda raw, rows: affine_projection_with_residual(raw, rows)[
        0
    ],
    "affine_hardnet": affine_hardnet,
    "affine_radial": lambda raw, rows: affine_radial(
        raw, rows, interior=jnp.zeros(np.shape(raw), getattr(raw, "dtype", float))
    ),
    "affine_elastic": lambda raw, rows: affine_elastic(raw, rows, penalty=10.0),
    "affine_excess": affine_excess,
}
RAW = jnp.array([[1.0, 0.3, 2.0], [0.5, 1.5, -0.2], [0.1, 0.2, 0.15], [2.5, -1.0, 0.4]])
BOUND = jnp.array([1.0, 1.5, 1.2, 0.7])
