# %% [markdown]
"""
# A flow inside bounds

A normalising flow that ends in a constraint has no sample outside its bounds, and its density stays
exact: `inverses.log_derivative` is the logarithm of the last layer's derivative.

One affine layer and `smooth_clip` on a normal base; any flow ends in the same three lines of
`log_density`. Trained on data between 0 and 2 by maximum likelihood.
"""

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax
from jax.scipy.stats import norm

from bounded import constraints, inverses

# %%
lower, upper, temperature = 0.0, 2.0, 0.3


def log_density(parameters, y):
    raw = inverses.smooth_clip(y, lower, upper, temperature)
    base = norm.logpdf(raw, parameters["mean"], jnp.exp(parameters["log_deviation"]))
    return base - inverses.log_derivative(
        constraints.smooth_clip, raw, lower, upper, temperature=temperature
    )


def sample(parameters, key, count):
    noise = jax.random.normal(key, (count,))
    raw = parameters["mean"] + jnp.exp(parameters["log_deviation"]) * noise
    return constraints.smooth_clip(raw, lower, upper, temperature)


# %% [markdown]
"""
## Fit it

The data are drawn from a flow whose parameters are known.
"""

# %%
truth = {"mean": jnp.array(1.8), "log_deviation": jnp.array(-0.5)}
data = sample(truth, jax.random.key(0), 2000)

parameters = {"mean": jnp.array(0.0), "log_deviation": jnp.array(0.0)}
optimizer = optax.adam(0.05)


@jax.jit
def step(parameters, state):
    loss, slope = jax.value_and_grad(lambda p: -jnp.mean(log_density(p, data)))(parameters)
    change, state = optimizer.update(slope, state)
    return optax.apply_updates(parameters, change), state, loss


state = optimizer.init(parameters)
for _ in range(300):
    parameters, state, loss = step(parameters, state)

# %% [markdown]
"""
The density inside the bounds has the mass 1, and it is where the data are.
"""

# %%
grid = jnp.linspace(lower, upper, 20_001)[1:-1]
mass = float(jnp.sum(jnp.exp(log_density(parameters, grid))) * (grid[1] - grid[0]))
drawn = sample(parameters, jax.random.key(1), 10_000)
print(f"mean {parameters['mean']:.2f} of 1.8, mass inside {mass:.3f}")

# %%
figure, axes = plt.subplots(figsize=(4.6, 2.8), layout="constrained", dpi=200)
axes.hist(data, bins=40, density=True, color="#cccccc", label="data")
axes.plot(
    grid, jnp.exp(log_density(parameters, grid)), color="#0072B2", label="density of the flow"
)
axes.set(xlabel="y", xlim=(-0.2, 2.2), title="All of the density lies between the bounds")
axes.legend(frameon=False)
plt.show()
