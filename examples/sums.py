# %% [markdown]
"""
# Sums and hierarchies

Some bounds tie outputs together: three appliances draw no more than the mains; the regions of a
country sum to the country. `bounded.sets` has maps onto such sets, as pure functions of raw.
"""

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import bounded
from bounded import Rows, box_rows, rate_rows, stack_rows, sum_rows

raw = jax.random.normal(jax.random.key(0), (24, 3)) + jnp.array([1.0, 0.5, 0.0])
mains = 1.5 + jnp.sin(jnp.linspace(0, 6, 24)) ** 2

# %% [markdown]
"""
## Budgets

What is at least 0 and shares a total is a budget. A bound on each output alone does not hold it.
The four `budget_` functions do: `budget_projection` takes the nearest point, `budget_softmax` deals
the total out, `budget_sequential` lets each take a share of what is left, and `budget_rescale`
scales down what is too much.
"""

# %%
sums = {
    "each clipped by the mains": bounded.clip(raw, 0.0, mains[:, None]).sum(-1),
    "budget_projection": bounded.budget_projection(raw, mains).sum(-1),
    "budget_softmax": bounded.budget_softmax(raw, mains).sum(-1),
    "budget_rescale": bounded.budget_rescale(raw, mains).sum(-1),
}
over = {name: int(jnp.sum(of > mains)) for name, of in sums.items()}
for name, hours in over.items():
    print(f"{name}: {hours} of 24 hours above the mains")

# %%
figure, axes = plt.subplots(figsize=(4.6, 3.2), layout="constrained", dpi=200)
axes.fill_between(range(24), mains, 4.6, color="#dddddd", lw=0, label="above the mains")
for name, color in (
    ("each clipped by the mains", "#D55E00"),
    ("budget_projection", "#0072B2"),
    ("budget_softmax", "#009E73"),
):
    axes.plot(sums[name], color=color, label=name)
axes.set(xlabel="hour", ylabel="sum of three outputs", xlim=(0, 23), ylim=(0, 4.6))
figure.suptitle("Only a map onto the whole set keeps the sum", fontsize=11)
figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=2)
plt.show()

# %% [markdown]
"""
Caps on single outputs come with `upper=`, and `equality=True` spends the whole total.
"""

# %%
shares = bounded.budget_softmax(raw, mains, upper=0.8 * mains[:, None], equality=True)
print("sum less total:", float(jnp.max(jnp.abs(shares.sum(-1) - mains))))

# %% [markdown]
"""
## Affine sets

Every set `lower <= A y <= upper` is `Rows(A, lower, upper)`, and `affine_projection` takes raw to
its nearest point. Rows that are met often have builders: a box, a sum that is a total, a limit on
how fast a sequence may change. `stack_rows` joins them.
"""

# %%
limits = box_rows(0.0, jnp.full(4, 2.0)), sum_rows(3.0, size=4), rate_rows(jnp.full(3, 0.5))
evening = bounded.affine_projection(jnp.array([0.2, 1.9, 2.4, 0.1]), stack_rows(*limits))
print("evening:", *(f"{y:.2f}" for y in evening), f"of {evening.sum():.2f} in all")

# %% [markdown]
"""
## Hierarchies

A total and its parts, all predicted: an equality is a row whose bounds are the same. Here the
country is the sum of its two regions, and the first region of its two towns.
"""

# %%
hierarchy = Rows(
    jnp.array(
        [
            [1.0, -1.0, -1.0, 0.0, 0.0],  # country = region A + region B
            [0.0, 1.0, 0.0, -1.0, -1.0],  # region A = two towns
        ]
    ),
    lower=0.0,
    upper=0.0,
)
guesses = jnp.array([10.0, 6.0, 5.0, 2.0, 3.0])
coherent = bounded.affine_projection(guesses, hierarchy)
print("coherent:", *(f"{y:.2f}" for y in coherent))

# %% [markdown]
"""
What a set does to gradients: outputs on an edge of it depend on fewer directions of raw. The
[gallery](../docs/gallery.md) draws where, and [Which one?](../docs/choosing.md) says which function
fits which need.
"""
