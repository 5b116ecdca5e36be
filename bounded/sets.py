"""Coupled sets that depend on the input: pure functions from raw to an output inside.

`bounded.constraints` bounds every entry for itself; here entries share their bounds. Affine sets,
`lower <= matrix @ output <= upper`:

| function | output outside the set | dead to raw |
|---|---|---|
| `affine_projection` | the nearest point inside | along every active row |
| `affine_hardnet` | independent rows clipped, in closed form | one direction a broken row |
| `affine_radial` | where the ray from an interior point leaves the set | along that ray |

`affine_projection_with_residual` also returns how well it was solved, `affine_excess` by how much
each row is violated. Sets are given as matrix and bounds, or as `Rows` from `box_rows`,
`sum_rows`, `rate_rows`, `monotone_rows` and `quantile_rows`, joined by `stack_rows`:

    rows = stack_rows(box_rows(0.0, upper), sum_rows(total, size=upper.shape[-1]))
    output = affine_projection(raw, *rows)
"""

from bounded._affine import (
    affine_excess,
    affine_hardnet,
    affine_projection,
    affine_projection_with_residual,
    affine_radial,
)
from bounded._rows import (
    Rows,
    box_rows,
    monotone_rows,
    quantile_rows,
    rate_rows,
    stack_rows,
    sum_rows,
)

__all__ = [
    "Rows",
    "affine_excess",
    "affine_hardnet",
    "affine_projection",
    "affine_projection_with_residual",
    "affine_radial",
    "box_rows",
    "monotone_rows",
    "quantile_rows",
    "rate_rows",
    "stack_rows",
    "sum_rows",
]
