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
    affine_soft_radial,
    ball_projection,
    ball_radial,
    budget_projection,
    budget_rescale,
    budget_sequential,
    budget_softmax,
    cone_projection,
    nonlinear_projection,
)

BUDGETS = {
    "budget_projection": budget_projection,
    "budget_rescale": budget_rescale,
    "budget_sequential": budget_sequential,
    "budget_softmax": budget_softmax,
}
RADIAL = (affine_radial, affine_soft_radial)
BALLS = {"ball_projection": ball_projection, "ball_radial": ball_radial}
MATRIX = jnp.array([[1.0, 1.0, 1.0], [1.0, -1.0, 0.5]])


def through_budget(budget, raw, bound, *, capped=False, equality=False):
    upper = 0.8 * jnp.asarray(bound)[..., None] if capped else None
    return budget(raw, bound, upper=upper, equality=equality)


def through_rows(function, raw, bound, *, equality=False, batched=False, weighted="", **extra):
    bound = jnp.asarray(bound)
    if weighted:  # of unlike size, and those of each set their own
        weights = jnp.stack([bound, 2 + bound, 9 * bound], -1)
        eye = jnp.eye(3, dtype=bound.dtype)[(None,) * bound.ndim]
        full = eye * weights[..., None] + 0.2
        extra["weights"] = full if weighted == "matrix" else weights
    matrix = MATRIX.astype(bound.dtype)
    if batched:
        matrix = jnp.broadcast_to(matrix, (*bound.shape, *matrix.shape))
    upper = jnp.stack([bound, 2 * bound], -1)
    lower = upper if equality else jnp.stack([jnp.zeros_like(bound), -bound], -1)
    if function in RADIAL:
        # On the rows' own lines with equality, inside of them otherwise.
        on_lines = jnp.stack([4 * bound, -2 * bound, bound], -1) / 3
        extra["interior"] = on_lines if equality else jnp.stack([bound / 6] * 3, -1)
    return function(raw, Rows(matrix, lower=lower, upper=upper), **extra)


def projection_with_residual(raw, rows, **extra):
    return affine_projection_with_residual(raw, rows, **extra)[0]


def through_ball(ball, raw, bound, *, centered=False):
    bound = jnp.asarray(bound)
    center = jnp.stack([bound / 2, -bound / 4, bound], -1) if centered else None
    return ball(raw, bound, center=center)


def through_cone(raw, bound):
    return cone_projection(raw, slope=bound)


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
    for function in (affine_projection, affine_hardnet, *RADIAL)
    for equality, batched in ((False, False), (True, False), (False, True))
}
CASES |= {
    f"{name}{', centered' * centered}": partial(through_ball, ball, centered=centered)
    for name, ball in BALLS.items()
    for centered in (False, True)
} | {"cone_projection": through_cone, "nonlinear_projection": through_functions}
CASES |= {
    "affine_elastic, batched": partial(through_rows, affine_elastic, batched=True, penalty=0.5),
    "affine_projection_with_residual": partial(through_rows, projection_with_residual),
}
CASES |= {
    f"affine_projection, weighted by a {weighted}": partial(
        through_rows, affine_projection, equality=equality, weighted=weighted
    )
    for weighted, equality in (("diagonal", False), ("matrix", True))
}
# For what hangs on how a function is built and not on its formula: each once, at its fullest.
FULLEST = {
    name: case
    for name, case in CASES.items()
    if name.endswith(
        (
            "capped, equal",
            "batched",
            "centered",
            "cone_projection",
            "matrix",
            "nonlinear_projection",
        )
    )
}
AFFINE = {
    "affine_projection": affine_projection,
    "affine_projection_with_residual": projection_with_residual,
    "affine_hardnet": affine_hardnet,
    **{
        function.__name__: partial(
            lambda function, raw, rows: function(
                raw, rows, interior=jnp.zeros(np.shape(raw), getattr(raw, "dtype", float))
            ),
            function,
        )
        for function in RADIAL
    },
    "affine_elastic": lambda raw, rows: affine_elastic(raw, rows, penalty=10.0),
    "affine_excess": affine_excess,
}
RAW = jnp.array([[1.0, 0.3, 2.0], [0.5, 1.5, -0.2], [0.1, 0.2, 0.15], [2.5, -1.0, 0.4]])
BOUND = jnp.array([1.0, 1.5, 1.2, 0.7])
