# %% [markdown]
"""
# Your own strategy and metric in a sweep

A strategy is a function of raw and bounds. This one gives a share of the interval, as
`sigmoid_interval` has it, by an arctangent, whose derivative dies away more slowly.

A metric is a function of outputs, targets and bounds: by how much the highest hour of a day is
missed.
"""

# %%
# %matplotlib inline
from functools import partial

import jax.numpy as jnp

from experiments.figures import plots
from experiments.store import load
from experiments.sweep import run_sweep


def arctan_interval(raw, lower, upper, sharpness=1.0):
    share = 0.5 + jnp.arctan(sharpness * raw) / jnp.pi
    return lower + (upper - lower) * share


def peak_error(output, target, lower, upper, where):
    """All are (windows, steps, features), in the dataset's unit."""
    missed = jnp.max(output, axis=1, where=where, initial=-jnp.inf)
    missed -= jnp.max(target, axis=1, where=where, initial=-jnp.inf)
    return jnp.mean(jnp.abs(missed))


# %% [markdown]
"""
Both are handed over as they are; on the command line they are `--strategies mine:arctan_interval`
and `--metrics mine:peak_error`.
"""

# %%
rows = run_sweep(
    "smoke",
    out="results/own_strategy",
    datasets=["flights"],
    strategies=[
        partial(arctan_interval, sharpness=2.0),
        "sigmoid_interval",
        "climatology_clipped",
    ],
    metrics=[peak_error],
    hidden=16,
    seeds=1,
    epochs=40,
)
# %%
missed = {row["strategy"]: row["value"] for row in rows if row["metric"].endswith("peak_error")}
for name, value in missed.items():
    print(f"{name}: misses the peak by {value:.2f} departures an hour")

# %% [markdown]
"""
Every figure of the sweep's page can be drawn from its records.
"""

# %%
figure = plots.training_curves(load("results/own_strategy"), "flights", "results/own_strategy")
figure.savefig("own_strategy.png", dpi=150, bbox_inches="tight")
figure
