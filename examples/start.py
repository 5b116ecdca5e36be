# %% [markdown]
"""
# Why clip dies, and the cure

`clip` passes no gradient where its bound is active. A network that begins with all of its outputs
on or beyond the bound has no gradient at all, and stays there for ever. The cure is one line: begin
the last bias where the constraint gives the targets.

Here wind speeds are at least 0, and a network's raw begins around 0, on the bound.
"""

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax

import bounded

SEEDS, STEPS = 20, 150
inputs = jax.random.uniform(jax.random.key(0), (128, 1))
targets = 3 + 4 * inputs

# %% [markdown]
"""
A small network, and its training as a function of the seed and of the last bias, so that all seeds
train at once.
"""


# %%
def output(weights):
    raw = jnp.tanh(inputs @ weights["hidden"]) @ weights["out"] + weights["bias"]
    return bounded.clip(raw, lower=0.0)


def loss(weights):
    return jnp.mean((output(weights) - targets) ** 2)


def train(key, bias):
    """The loss at every step."""
    first, last = jax.random.split(key)
    weights = {
        "hidden": jax.random.normal(first, (1, 16)),
        "out": jax.random.normal(last, (16, 1)) / 4,
        "bias": bias,
    }
    adam = optax.adam(0.03)

    def step(carry, _):
        weights, state = carry
        value, gradient = jax.value_and_grad(loss)(weights)
        updates, state = adam.update(gradient, state)
        return (optax.apply_updates(weights, updates), state), value

    return jax.lax.scan(step, (weights, adam.init(weights)), length=STEPS)[1]


train_all = jax.jit(jax.vmap(train, in_axes=(0, None)))
keys = jax.random.split(jax.random.key(1), SEEDS)

# %% [markdown]
"""
`bounded.constant` gives the start: the mean, over the training targets, of the raw that would give
them. For a clip that is the mean target; for other constraints it goes through their inverse.
"""

# %%
start = bounded.constant(bounded.clip, targets, lower=0.0)
losses = {
    "Begun at 0, on the bound": train_all(keys, jnp.zeros(1)),
    f"Begun at {start[0]:.1f}, where bounded.constant says": train_all(keys, start),
}
stuck = [int(jnp.sum(of[:, -1] == of[:, 0])) for of in losses.values()]

# %%
figure, panels = plt.subplots(2, sharex=True, figsize=(4.6, 4.6), layout="constrained", dpi=200)
for panel, (title, of), dead in zip(panels, losses.items(), stuck, strict=True):
    alive = of[:, -1] != of[:, 0]
    panel.plot(of[alive].T, color="#0072B2", linewidth=1)
    panel.plot(of[~alive].T, color="#D55E00", linewidth=1)
    panel.set(yscale="log", ylim=(1e-4, 100))
    panel.set_title(title, fontsize=10)
    color = "#D55E00" if dead else "black"
    words = f"{dead} of {SEEDS} never learn"
    panel.text(0.97, 0.8, words, transform=panel.transAxes, ha="right", color=color)
panels[1].set_xlabel("Step")
figure.supylabel("Mean squared error", fontsize=10)
figure.suptitle("A clip that begins on its bound may never learn", fontsize=11, weight="bold")
plt.show()

# %% [markdown]
"""
A line is a seed. The orange ones lie on one another: they have no gradient from the first step to
the last, and no learning rate will move them.

Other ways out are a constraint whose derivative is not 0 there (`smooth_clip`,
`straight_through_clip`), or no bound in training and a clip at the end. They help; beginning inside
costs nothing and helps all of them. In Flax, `model.dense.bias[...] = start`. A
[sweep](own_forecast.py) begins every network so, unless it is told `--start zero`.
"""
