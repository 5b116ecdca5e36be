"""The network that is compiled soonest, for tests of what trains it."""

from flax import nnx


class Line(nnx.Module):
    def __init__(self, in_features, out_features, steps, rngs):
        self.dense = nnx.Linear(in_features, out_features, rngs=rngs)

    def __call__(self, inputs, bounds):
        return self.dense(inputs)


LINE = f"{__name__}:Line"
