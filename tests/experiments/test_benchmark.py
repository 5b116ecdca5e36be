import jax.numpy as jnp

from bounded import constraints
from experiments import benchmark
from experiments.stacks import Shape


def test_constraint_overhead_covers_every_constraint():
    seconds = benchmark.constraint_overhead(Shape(2, 3, 1, 2), rounds=2, calls=1)
    names = list(seconds)
    assert names[0] == "identity"
    assert len(names) == 14
    assert all(callable(getattr(constraints, name)) for name in names)
    assert all(len(times) == 2 and min(times) > 0 for times in seconds.values())


def test_ratios_are_within_rounds():
    seconds = {"identity": [1.0, 2.0, 4.0], "other": [2.0, 2.0, 6.0]}
    assert benchmark.ratios(seconds, "identity") == {"identity": 1, "other": 1.5}


def test_every_round_times_every_candidate_in_turn():
    order = []
    candidates = {name: lambda name=name: order.append(name) or jnp.zeros(()) for name in "ab"}
    benchmark.side_by_side(candidates, rounds=2, calls=2)
    assert "".join(order) == "ab" + "aabb" * 2
