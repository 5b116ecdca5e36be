# %% [markdown]
"""
# From records to a paper's figure

A sweep leaves a record of every run, with what was run and what came out, and beside it the run's
training curve. From these every figure of its page can be drawn again, of the strategies and in the
form that a paper wants.
"""

# %%
# %matplotlib inline
from pathlib import Path

import matplotlib.pyplot as plt

import experiments
from experiments.figures import plots
from experiments.store import load, load_arrays

folder = Path(experiments.__file__).parent.parent / "results" / "sizes"  # or your own
records = load(folder)
print(len(records), "records. The first:", records[0]["config"]["strategy"]["name"])

# %% [markdown]
"""
## A figure of the page, of some strategies

`experiments.figures.plots` has each kind of figure as a function of records. It gives a figure of
matplotlib, to change and to save; [the recipes](../docs/recipes.md) list them.
"""

# %%
wanted = "clip", "smooth_clip", "squared_hinge", "unconstrained"
chosen = [one for one in records if one["config"]["strategy"]["name"] in wanted]
figure = plots.training_curves(chosen, "bikeshare", folder)
figure.savefig("curves.pdf")
figure

# %% [markdown]
"""
## A figure of your own

`load_arrays` gives what a record is too small for: histories, and example windows.
"""

# %%
own, axes = plt.subplots(figsize=(3.4, 2.6), layout="constrained", dpi=200)
for name, color in (("clip", "#0072B2"), ("unconstrained", "#000000")):
    for one in records:
        config = one["config"]
        place = config["strategy"]["name"], config["dataset"]["name"], config["backbone"]
        if place == (name, "bikeshare", "conditioned_64"):
            arrays = load_arrays(folder, one["id"])
            label = name if config["seed"] == 0 else None
            axes.plot(arrays["history_epoch"], arrays["history_mse"], color=color, label=label)
axes.set(xlabel="epoch", ylabel="validation error", title="Every line is a seed")
axes.legend(frameon=False)
own.savefig("own.pdf")
plt.show()

# %% [markdown]
"""
## All at once

`python -m experiments.report results/sizes --format pdf --strategies clip,smooth_clip` draws
every figure of these strategies, as wide as a page, and writes their tables, into
`results/sizes/paper/`. With `--latex` the tables come for LaTeX as well.
"""
