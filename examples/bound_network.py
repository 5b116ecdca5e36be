# %% [markdown]
"""
# Bound your network

A constraint takes raw, what a network's last linear layer gives, and the bounds of that input. So
it fits any library: it is a function of arrays. Here the same network is bounded in Flax, Equinox
and plain JAX.

The data: how fast the wind blows in the mean of an hour, from its strongest gust. No mean exceeds
its gust, and none is below 0.
"""

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from flax import nnx

import bounded

keys = jax.random.split(jax.random.key(0), 4)
gust = 2 + 10 * jax.random.uniform(keys[0], (512, 1))
wind = gust * jax.random.beta(keys[1], 4.0, 2.0, gust.shape)
outside, error = {}, {}


def report(library, output):
    """How many outputs lie outside of their bounds, and the mean squared error."""
    outside[library] = int(jnp.sum((output < 0) | (output > gust)))
    error[library] = float(jnp.mean((output - wind) ** 2))
    print(f"{library}: {outside[library]} outside, mean squared error {error[library]:.2f}")


# %% [markdown]
"""
The bias of the last layer should begin at the raw that gives the targets. `bounded.constant` says
where that is. [Why clip dies](start.py) shows what happens without it.
"""

# %%
start = bounded.constant(bounded.smooth_clip, wind, lower=0.0, upper=gust)
print(f"begin at {start[0]:.2f}")

# %% [markdown]
"""
## Flax

The constraint stands at the end of `__call__`.
"""


# %%
class Net(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.Linear(1, 16, rngs=rngs)
        self.last = nnx.Linear(16, 1, rngs=rngs)
        self.last.bias[...] = start

    def __call__(self, gust):
        raw = self.last(nnx.tanh(self.hidden(gust / 10)))
        return bounded.smooth_clip(raw, lower=0.0, upper=gust)


net = Net(nnx.Rngs(0))
optimizer = nnx.Optimizer(net, optax.adam(0.01), wrt=nnx.Param)


@nnx.jit
def step(net, optimizer):
    gradient = nnx.grad(lambda net: jnp.mean((net(gust) - wind) ** 2))(net)
    optimizer.update(net, gradient)


for _ in range(200):
    step(net, optimizer)
report("Flax", net(gust))

# %% [markdown]
"""
## Equinox

The same, of one example; `jax.vmap` makes it one of a batch.
"""


# %%
class Module(eqx.Module):
    layers: eqx.nn.MLP

    def __call__(self, gust):
        raw = self.layers(gust / 10)
        return bounded.smooth_clip(raw, lower=0.0, upper=gust)


def loss_of(module):
    return jnp.mean((jax.vmap(module)(gust) - wind) ** 2)


module = Module(eqx.nn.MLP(1, 1, 16, 1, jnp.tanh, key=keys[2]))
module = eqx.tree_at(lambda module: module.layers.layers[-1].bias, module, start)
adam = optax.adam(0.01)
state = adam.init(eqx.filter(module, eqx.is_array))


@eqx.filter_jit
def step_of(module, state):
    gradient = eqx.filter_grad(loss_of)(module)
    updates, state = adam.update(gradient, state)
    return eqx.apply_updates(module, updates), state


for _ in range(200):
    module, state = step_of(module, state)
report("Equinox", jax.vmap(module)(gust))

# %% [markdown]
"""
## Plain JAX

A network is a function of its weights, and so is a bounded one.
"""


# %%
def predict(weights, gust):
    raw = jnp.tanh(gust / 10 @ weights["hidden"] + weights["shift"]) @ weights["out"]
    return bounded.smooth_clip(raw + weights["bias"], lower=0.0, upper=gust)


def loss(weights):
    return jnp.mean((predict(weights, gust) - wind) ** 2)


first, last = jax.random.split(keys[3])
weights = {
    "hidden": jax.random.normal(first, (1, 16)),
    "shift": jnp.zeros(16),
    "out": jax.random.normal(last, (16, 1)) / 4,
    "bias": start,
}
state = adam.init(weights)


@jax.jit
def update(weights, state):
    updates, state = adam.update(jax.grad(loss)(weights), state)
    return optax.apply_updates(weights, updates), state


for _ in range(200):
    weights, state = update(weights, state)
report("plain JAX", predict(weights, gust))

# %% [markdown]
"""
## Without a bound in training

The bound can also wait until the network is used: train on raw, then `bounded.clip` what it gives.
It holds as exactly, and the network has learnt nothing of it. [Which one?](../docs/choosing.md)
says when that is the better way.
"""
