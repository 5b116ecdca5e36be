# %% [markdown]
"""
# A density inside bounds, in NumPyro

A constraint, its inverse and the logarithm of its derivative make a transform of NumPyro. With it a
model has densities inside bounds that depend on the input.

The data are a normal variable through `sigmoid_interval`, between 0 and a bound that differs from
row to row. The model recovers its mean and standard deviation.
"""

# %%
import jax
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS

from bounded import constraints, inverses

# %% [markdown]
"""
## The transform
"""

# %%


class Interval(dist.transforms.Transform):
    """From any real number to between lower and upper."""

    domain = dist.constraints.real

    def __init__(self, lower, upper):
        self.lower, self.upper = lower, upper

    @property
    def codomain(self):
        return dist.constraints.interval(self.lower, self.upper)

    def __call__(self, raw):
        return constraints.sigmoid_interval(raw, self.lower, self.upper)

    def _inverse(self, output):
        return inverses.sigmoid_interval(output, self.lower, self.upper)

    def log_abs_det_jacobian(self, raw, output, intermediates=None):
        return inverses.log_derivative(constraints.sigmoid_interval, raw, self.lower, self.upper)

    def tree_flatten(self):
        return (self.lower, self.upper), (("lower", "upper"), {})


# %% [markdown]
"""
## The model
"""

# %%


def model(upper, observed):
    mean = numpyro.sample("mean", dist.Normal(0.0, 5.0))
    deviation = numpyro.sample("deviation", dist.HalfNormal(5.0))
    bounded = dist.TransformedDistribution(dist.Normal(mean, deviation), Interval(0.0, upper))
    with numpyro.plate("rows", upper.size):
        numpyro.sample("observed", bounded, obs=observed)


# %% [markdown]
"""
## The posterior
"""

# %%
keys = jax.random.split(jax.random.key(0), 3)
upper = 1 + 9 * jax.random.uniform(keys[0], (400,))
observed = Interval(0.0, upper)(-1.0 + 0.5 * jax.random.normal(keys[1], (400,)))

sampler = MCMC(NUTS(model), num_warmup=300, num_samples=300, progress_bar=False)
sampler.run(keys[2], upper, observed)
found = {name: float(values.mean()) for name, values in sampler.get_samples().items()}
print(f"mean {found['mean']:.2f} of -1, deviation {found['deviation']:.2f} of 0.5")
