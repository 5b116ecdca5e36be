"""Hard constraints on outputs together: sets that depend on the input.

Budgets, `y >= 0` and `sum(y) <= total(x)` along an axis: pure functions
`budget_…(raw, total, *, axis=-1, equality=False, upper=None) -> output` that work under `jit`,
`vmap`, `grad`, `jvp` and `scan`, for any leading shape. What they share:

* `0 <= output <= upper` holds exactly, in every floating dtype, and so does `sum(output) <= total`
  in float32 and float64, for the sum from the first entry to the last in that dtype. In bfloat16
  and float16, which are computed in float32 and rounded at the end, and for `equality`, the sum is
  right to `2 n eps total`, with n entries.
* `None` or inf means no cap; where the total is inf there is no budget, and the output is
  `clip(raw, 0, upper)`, whatever the function. A negative total or cap is taken as 0, and nothing
  is guaranteed about it. Where the caps cannot take up the total, `equality` gives the caps.
* NaN in raw, a cap or the total gives NaN in that set and in no other.
* Subnormal outputs are 0.

Errors: `TypeError` for a raw that is not floating point; `ValueError` for a total or caps that do
not broadcast, and for an axis that raw does not have.
"""

from bounded.budgets import (
    budget_projection,
    budget_rescale,
    budget_sequential,
    budget_softmax,
)

__all__ = ["budget_projection", "budget_rescale", "budget_sequential", "budget_softmax"]
