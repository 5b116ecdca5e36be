# %% [markdown]
"""
# Your own network in a sweep

A network of your own joins a sweep as a class or by name, beside those that come along. Here it is
a linear map over the steps of a window, in the manner of DLinear (Zeng et al. 2023), and one over
its features.

It maps inputs and bounds to raw, and the strategy takes raw from there. It may read the bounds:
this one begins from them.
"""

# %%
from flax import nnx

from experiments.sweep import run_sweep


class Linear(nnx.Module):
    """Inputs (windows, steps, in_features) and bounds to raw (windows, steps, out_features)."""

    def __init__(self, in_features, out_features, steps, rngs):
        self.over_steps = nnx.Linear(steps, steps, rngs=rngs)
        self.over_features = nnx.Linear(in_features, out_features, rngs=rngs)

    def __call__(self, inputs, bounds):
        _, upper = bounds  # (lower, upper): arrays, or None where the data have no such side
        steps = self.over_steps(inputs.swapaxes(1, 2)).swapaxes(1, 2)
        return upper + self.over_features(steps)


# %% [markdown]
"""
`mlp` is one of the networks that come along. On the command line a class is named `--backbones
mine:Linear`. [Your own](../docs/own.md) has what a network may ask for.
"""

# %%
rows = run_sweep(
    "smoke",
    out="results/own_network",
    datasets=["dew_point_ewr"],
    strategies=["clip", "climatology_clipped"],
    backbones=[Linear, "mlp"],
    hidden=16,
    seeds=1,
    epochs=40,
)
skill = {
    row["backbone"]: row["value"]
    for row in rows
    if row["metric"] == "skill" and row["strategy"] == "clip"
}
for backbone, value in skill.items():
    print(f"{backbone}: skill {value:.2f}")
