"""The network that is compiled soonest, for tests of what trains it."""

import pytest
from flax import nnx

from tests.sampled import sampled


class Line(nnx.Module):
    def __init__(self, in_features, out_features, steps, rngs):
        self.dense = nnx.Linear(in_features, out_features, rngs=rngs)

    def __call__(self, inputs, bounds):
        return self.dense(inputs)


LINE = f"{__name__}:Line"


def or_bottleneck(names):
    """It, of a few strategies; the bottleneck, with two more, in `make thorough`."""
    both = [(LINE, names), ("bottleneck", ["clip", "squared_hinge", *names])]
    return pytest.mark.parametrize(("backbone", "names"), sampled(both, both[:1]))
