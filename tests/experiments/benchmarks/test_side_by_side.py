import jax.numpy as jnp

from experiments.benchmarks.side_by_side import ratios, side_by_side


def test_ratios_are_within_rounds():
    seconds = {"identity": [1.0, 2.0, 4.0], "other": [2.0, 2.0, 6.0]}
    assert ratios(seconds, "identity") == {"identity": 1, "other": 1.5}


def test_every_round_times_every_candidate_in_turn():
    order = []
    candidates = {name: lambda name=name: order.append(name) or jnp.zeros(()) for name in "ab"}
    side_by_side(candidates, rounds=2, calls=2)
    assert "".join(order) == "ab" + "aabb" * 2
