"""Hard constraints on outputs together: sets that depend on the input.

`bounded.constraints` bounds every entry for itself; here entries share their bounds. All are pure
functions that work under `jit`, `vmap`, `grad`, `jvp` and `scan`, for any leading shape.

**Budgets**, `0 <= y <= u` and `sum(y) <= total(x)` along an axis, or `=` with `equality`:
`budget_…(raw, total, *, axis=-1, equality=False, upper=None)`. What they share is said in
`bounded.sets.budgets`.

| function | output | holds | dead to raw |
|---|---|---|---|
| `budget_projection` | the nearest point inside | exactly | at 0, at caps; along the common shift |
| `budget_softmax` | the total, dealt by a softmax with a slack class | exactly | by underflow |
| `budget_sequential` | each takes a share of what is left | exactly | where nothing is left |
| `budget_rescale` | `clip(raw, 0, u)`, scaled down | exactly | outside [0, u]; along itself |

An equality holds to rounding, and so do sums in bfloat16 and float16.

**Affine sets**, `lower <= matrix @ output <= upper`. What they share is said in
`bounded.sets.affine`.

| function | output outside the set | holds | dead to raw |
|---|---|---|---|
| `affine_projection` | the nearest point inside | to rounding | along every active row |
| `affine_hardnet` | independent rows clipped | to rounding | a direction for each broken row |
| `affine_radial` | where the ray from inside leaves the set | exactly | along that ray |
| `affine_soft_radial` | short of that, all inside | exactly | nowhere; it fades far outside |
| `affine_elastic` | nearest at a price of violations | at a price | along every row held |

With an interior point the first two hold exactly as well. Equalities hold to rounding.

`affine_elastic` is for sets that may be empty for some inputs.
`affine_projection_with_residual` also returns how well it was solved, `affine_excess` by how much
each row is violated. Sets are given as `Rows(matrix, lower, upper)`, or by `box_rows`,
`sum_rows`, `rate_rows`, `monotone_rows`, `quantile_rows` and `hierarchy_rows`, joined by
`stack_rows`:

    rows = stack_rows(box_rows(0.0, upper), sum_rows(total, size=upper.shape[-1]))
    output = affine_projection(raw, rows)

**Balls and cones**, `‖output - center‖ <= radius` and `‖v‖ <= slope t` along an axis. What they
share is said in `bounded.sets.balls`.

| function | output outside the set | holds | dead to raw |
|---|---|---|---|
| `ball_projection` | the nearest point inside | exactly | along its distance from the center |
| `ball_radial` | short of that, all inside | exactly | nowhere; it fades far outside |
| `cone_projection` | the nearest inside | exactly | along the normal; all, in the polar cone |

**Nonlinear sets**, `inequality(y) <= 0` and `equality(y) = 0`, of functions of one output. What
they share is said in `bounded.sets.nonlinear`; `nonlinear_residual` is by how much each row is
violated.

| function | output outside the set | holds | dead to raw |
|---|---|---|---|
| `nonlinear_projection` | nearest inside, by steps | as steps allow | along every active row |
"""

from bounded.sets.affine import (
    affine_excess,
    affine_hardnet,
    affine_projection,
    affine_projection_with_residual,
    affine_radial,
    affine_soft_radial,
)
from bounded.sets.balls import ball_projection, ball_radial, cone_projection
from bounded.sets.budgets import (
    budget_projection,
    budget_rescale,
    budget_sequential,
    budget_softmax,
)
from bounded.sets.elastic import affine_elastic
from bounded.sets.nonlinear import nonlinear_projection, nonlinear_residual
from bounded.sets.rows import (
    Rows,
    box_rows,
    hierarchy_rows,
    monotone_rows,
    quantile_rows,
    rate_rows,
    stack_rows,
    sum_rows,
)

__all__ = [
    "Rows",
    "affine_elastic",
    "affine_excess",
    "affine_hardnet",
    "affine_projection",
    "affine_projection_with_residual",
    "affine_radial",
    "affine_soft_radial",
    "ball_projection",
    "ball_radial",
    "box_rows",
    "budget_projection",
    "budget_rescale",
    "budget_sequential",
    "budget_softmax",
    "cone_projection",
    "hierarchy_rows",
    "monotone_rows",
    "nonlinear_projection",
    "nonlinear_residual",
    "quantile_rows",
    "rate_rows",
    "stack_rows",
    "sum_rows",
]
