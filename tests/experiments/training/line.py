"""Networks that are compiled soon, for tests of what trains them."""

import jax
import pytest
from flax import nnx

from tests.sampled import sampled


class Line(nnx.Module):
    def __init__(self, in_features, out_features, steps, rngs):
        self.dense = nnx.Linear(in_features, out_features, rngs=rngs)

    def __call__(self, inputs, bounds):
        return self.dense(inputs)


class Wide(nnx.Module):
    """Wide enough for a product to depend on how many threads share it."""

    def __init__(self, in_features, out_features, steps, rngs):
        self.first = nnx.Linear(in_features, 150, rngs=rngs)
        orthogonal = nnx.initializers.orthogonal()  # by LAPACK, which depends on them too
        self.second = nnx.Linear(150, 600, kernel_init=orthogonal, rngs=rngs)
        self.last = nnx.Linear(600, out_features, rngs=rngs)

    def __call__(self, inputs, bounds):
        return self.last(nnx.tanh(self.second(nnx.tanh(self.first(inputs)))))


def wide_gradient():
    """Of such a network's weights, at their first values."""

    @jax.jit
    def gradient():
        inputs = jax.random.normal(jax.random.key(0), (64, 24, 4))
        found = nnx.grad(lambda network: (network(inputs, None) ** 2).mean())(
            Wide(4, 1, 24, nnx.Rngs(0))
        )
        return jax.tree.leaves(found)

    return jax.device_get(gradient())


LINE, WIDE = f"{__name__}:Line", f"{__name__}:Wide"


def or_bottleneck(names):
    """It, of a few strategies; the bottleneck, with two more, in `make thorough`."""
    both = [(LINE, names), ("bottleneck", ["clip", "squared_hinge", *names])]
    return pytest.mark.parametrize(("backbone", "names"), sampled(both, both[:1]))
