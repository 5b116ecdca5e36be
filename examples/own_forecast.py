# %% [markdown]
"""
# Your own data in a sweep

A sweep trains every strategy on your data and says which ones hold the bound and how well they
predict. Here the data are a forecast: how full a car park will be tomorrow, between 0 and its
places.

The network reads two days of counts, and knows hour and weekday of the day to come. Now and then
the counter was down: those hours are NaN, and count nowhere.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from experiments.saved import predictions
from experiments.store import load
from experiments.sweep import run_sweep

# %% [markdown]
"""
## The data

Counts of a car park for 120 days, made up: a busy hour every day, fewer cars at weekends.
"""

# %%
DAYS, PLACES = 120, 150
rng = np.random.default_rng(0)
hour = np.arange(24 * DAYS)
phase, is_weekend = 2 * np.pi * (hour - 8) / 24, hour // 24 % 7 >= 5
busy = 0.5 + 0.6 * np.sin(phase) - 0.4 * is_weekend + rng.normal(0, 0.15, DAYS)[hour // 24]
cars = np.clip(PLACES * (busy + rng.normal(0, 0.03, len(hour))), 0, PLACES)

# %% [markdown]
"""
Windows about every midnight. Arrays are (windows, steps, features); the file says what is bounded,
and names columns, times and unit for the figures. [Your own](../docs/own.md) lists every array.
"""

# %%
midnights = np.arange(48, 24 * DAYS, 24)


def cut(series, begin, end):
    """The hours from begin to end about each midnight, (windows, steps, 1)."""
    return np.stack([series[start + begin : start + end] for start in midnights])[..., None]


targets = cut(cars, 0, 24)
targets[rng.uniform(size=targets.shape) < 0.02] = np.nan
known = [cut(series, 0, 24) for series in (np.sin(phase), np.cos(phase), is_weekend)]
np.savez(
    "garage.npz",
    inputs=cut(cars, -48, 0),
    targets=targets,
    future=np.concatenate(known, axis=-1),
    lower=0,
    upper=PLACES,
    columns=["parked"],
    unit="cars",
    title="A car park",
    times=cut(np.datetime64("2024-01-01T00") + hour, 0, 24)[..., 0],
)

# %% [markdown]
"""
## The sweep

Three strategies, one seed, 30 epochs: enough to see it work, not to rank. The same as `python -m
experiments.sweep --preset smoke --datasets garage.npz --strategies clip,unconstrained …`. Its page
is `results/garage/report.html`.
"""

# %%
rows = run_sweep(
    "smoke",
    out="results/garage",
    datasets=["garage.npz"],
    strategies=["clip", "unconstrained", "climatology_clipped"],
    backbones=["conditioned"],
    seeds=1,
    epochs=30,
    save=["predictions"],
)
# %% [markdown]
"""
*Skill* is the share of a simple prediction's error that a strategy removes; the simple prediction
is the training mean, clipped by the bound.
"""

# %%
skill = {row["strategy"]: row["value"] for row in rows if row["metric"] == "skill"}
outside = {row["strategy"]: row["value"] for row in rows if row["metric"] == "violation_rate"}
for name in ("clip", "unconstrained"):
    print(f"{name}: skill {skill[name]:.2f}, {outside[name]:.1%} of the hours outside")

# %% [markdown]
"""
## The predictions

`save=["predictions"]` keeps the outputs on the test windows.
"""

# %%
(record,) = [one for one in load("results/garage") if one["config"]["strategy"]["name"] == "clip"]
tomorrow = predictions("results/garage", record["id"])
print(f"at {tomorrow['times'][0, 12]}: {tomorrow['outputs'][0, 12, 0]:.0f} of {PLACES} places")

# %%
figure, axes = plt.subplots(figsize=(4.6, 3), layout="constrained", dpi=200)
axes.plot(tomorrow["targets"][0], "o", color="#767676", label="counted")
axes.plot(tomorrow["outputs"][0], color="#0072B2", label="predicted, clipped")
axes.axhline(PLACES, color="#D55E00", label="places")
axes.set(xlabel="hour", ylabel="cars", ylim=(-5, PLACES + 40), xticks=range(0, 24, 6))
axes.legend(frameon=False, ncols=3, loc="upper center", fontsize=8)
plt.show()

# %% [markdown]
"""
## Next

Take more: `--preset full` has every strategy, tuned, with ten seeds. [Your own
network](own_network.py), [strategy and metric](own_strategy.py) join in the same way, and [a figure
for a paper](paper_figure.py) is drawn from the records.
"""
