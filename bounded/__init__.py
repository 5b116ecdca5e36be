"""Bounds that depend on the input, for the outputs of JAX networks.

Constraints and sets are here by their own names: `from bounded import smooth_clip, budget_softmax`.
`bounded.constraints` holds hard elementwise maps, `bounded.sets` maps onto coupled sets,
`bounded.penalties` loss terms for soft bounds, `bounded.metrics` what to measure and
`bounded.lstm` an LSTM layer. The Flax model is imported by its own name, `bounded.autoencoder`,
so that `import bounded` needs jax alone.
"""

from bounded import constraints, inverses, lstm, metrics, penalties, sets, starts
from bounded.constraints import (
    clip,
    exp_offset,
    half_tanh,
    identity,
    knee_tanh,
    leaky_clip,
    relu_offset,
    sequence_maximum,
    sigmoid_interval,
    smooth_clip,
    softplus_offset,
    squareplus_offset,
    straight_through_clip,
    stretched_tanh,
    tanh_interval,
)
from bounded.sets import (
    Rows,
    affine_excess,
    affine_hardnet,
    affine_projection,
    affine_projection_with_residual,
    affine_radial,
    box_rows,
    budget_projection,
    budget_rescale,
    budget_sequential,
    budget_softmax,
    monotone_rows,
    nonlinear_projection,
    nonlinear_residual,
    quantile_rows,
    rate_rows,
    stack_rows,
    sum_rows,
)
from bounded.starts import constant

__version__ = "0.1.0"

__all__ = [
    "Rows",
    "affine_excess",
    "affine_hardnet",
    "affine_projection",
    "affine_projection_with_residual",
    "affine_radial",
    "box_rows",
    "budget_projection",
    "budget_rescale",
    "budget_sequential",
    "budget_softmax",
    "clip",
    "constant",
    "constraints",
    "exp_offset",
    "half_tanh",
    "identity",
    "inverses",
    "knee_tanh",
    "leaky_clip",
    "lstm",
    "metrics",
    "monotone_rows",
    "nonlinear_projection",
    "nonlinear_residual",
    "penalties",
    "quantile_rows",
    "rate_rows",
    "relu_offset",
    "sequence_maximum",
    "sets",
    "sigmoid_interval",
    "smooth_clip",
    "softplus_offset",
    "squareplus_offset",
    "stack_rows",
    "starts",
    "straight_through_clip",
    "stretched_tanh",
    "sum_rows",
    "tanh_interval",
]
