"""The same function inside other people's code: a few lines each."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import optax
import pytest
from flax import nnx
from numpyro import distributions as dist
from numpyro.infer import MCMC, NUTS

from bounded.constraints import sigmoid_interval, smooth_clip

pytestmark = pytest.mark.usefixtures("unoptimised")
X = np.linspace(0.1, 1, 32, dtype=np.float32)[:, None]
Y = 0.8 * X  # the target lies below the bound, X itself


def fit(predict, parameters):
    """Some steps of Adam; the last loss and prediction."""

    def loss(parameters):
        return jnp.mean((predict(parameters, X) - Y) ** 2)

    optimizer = optax.adam(0.02)

    def step(carry, _):
        parameters, state = carry
        value, gradient = jax.value_and_grad(loss)(parameters)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(parameters, updates), state), value

    @jax.jit
    def run(parameters):
        start = parameters, optimizer.init(parameters)
        (parameters, _), values = jax.lax.scan(step, start, length=200)
        return values[-1], predict(parameters, X)

    return run(parameters)


def check(predict, parameters):
    value, output = fit(predict, parameters)
    assert value < 1e-2  # that of the zero function is 0.24
    assert (np.asarray(output) <= X).all()


def test_plain_jax():
    def predict(weights, x):
        raw = jnp.tanh(x @ weights["hidden"]) @ weights["out"]
        return smooth_clip(raw, upper=x, temperature=0.5)

    @jax.jit
    def draw():
        keys = jax.random.split(jax.random.key(0))
        shapes = {"hidden": (1, 8), "out": (8, 1)}
        return {n: jax.random.normal(k, shapes[n]) for n, k in zip(shapes, keys, strict=True)}

    check(predict, draw())


def test_flax_nnx():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.hidden = nnx.Linear(1, 8, rngs=rngs)
            self.out = nnx.Linear(8, 1, rngs=rngs)

        def __call__(self, x):
            return smooth_clip(self.out(nnx.tanh(self.hidden(x))), upper=x, temperature=0.5)

    graph, parameters = nnx.split(Net(nnx.Rngs(0)))
    check(lambda parameters, x: nnx.merge(graph, parameters)(x), parameters)


def test_flax_linen():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return smooth_clip(nn.Dense(1)(nn.tanh(nn.Dense(8)(x))), upper=x, temperature=0.5)

    net = Net()
    check(net.apply, jax.jit(net.init)(jax.random.key(0), X))


def test_equinox():
    class Net(eqx.Module):
        layers: eqx.nn.MLP

        def __call__(self, x):
            return smooth_clip(self.layers(x), upper=x, temperature=0.5)

    net = Net(eqx.nn.MLP(1, 1, 8, 1, jnp.tanh, key=jax.random.key(0)))
    arrays, static = eqx.partition(net, eqx.is_array)
    check(lambda arrays, x: jax.vmap(eqx.combine(arrays, static))(x), arrays)


@pytest.mark.thorough  # as test_equivalences.py, inside a sampler
def test_numpyro():
    def model(x, y):
        weight = numpyro.sample("weight", dist.Normal(0, 5))
        mean = sigmoid_interval(weight * x, jnp.zeros_like(x), x)
        numpyro.deterministic("mean", mean)
        numpyro.sample("y", dist.Normal(mean, 0.05), obs=y)

    sampler = MCMC(NUTS(model), num_warmup=100, num_samples=100, progress_bar=False)
    sampler.run(jax.random.key(0), X, Y)
    mean = sampler.get_samples()["mean"]
    assert ((mean >= 0) & (mean <= X[None])).all()
    np.testing.assert_allclose(mean.mean(0)[-1], Y[-1], atol=0.1)
