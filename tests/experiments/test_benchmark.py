import json

import jax.numpy as jnp
import pytest

from bounded import constraints
from experiments import benchmark
from experiments.stacks import STACKS, Shape, Stack


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


SMALL = Shape(2, 3, 1, 2)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(benchmark, "LEAST_SECONDS", 0.0)


def failing(shape):
    raise RuntimeError("not on this machine")


@pytest.mark.usefixtures("quick")
def test_throughput_has_a_row_a_stack_and_says_what_failed(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(STACKS, "failing", Stack(failing, ()))
    monkeypatch.setitem(STACKS, "absent", Stack(failing, ("no_such_package",)))
    arguments = ["--shapes", "2x3x1x2", "--stacks", "bounded,failing,absent", "--rounds", "2"]
    assert benchmark.main([*arguments, "--out", str(tmp_path), "--training-only"]) == 0
    rows = json.loads((tmp_path / "throughput.json").read_text())
    by_stack = {row["stack"]: row for row in rows}
    assert list(by_stack) == ["bounded", "failing", "bounded, 1 core", "sgemm"]
    row = by_stack["bounded"]
    assert row.items() >= {**SMALL._asdict(), "dtype": "float32"}.items()
    low, high = row["spread"]
    assert 0 < low <= row["sequences_per_second"] <= high
    assert row["times_slower_than_bounded"] == 1
    assert "not on this machine" in by_stack["failing"]["error"]
    printed = capsys.readouterr().out
    assert "absent: missing, for want of no_such_package" in printed
    assert "not on this machine" in printed
    assert (tmp_path / "throughput.png").exists()


@pytest.mark.parametrize("name", ["flax-nnx", "torch"])
def test_stacks_train(name, monkeypatch):
    """In this process; those of the extra `bench` only where it is installed."""
    if missing := STACKS[name].missing():
        pytest.skip(f"{', '.join(missing)} of the extra bench")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    train, sequences = STACKS[name].build(SMALL)
    train(2)
    assert sequences == 16 * SMALL.batch


def test_operations_by_hand():
    # One step of one feature and unit: gates 4 x (1 + 1) and 4 x 1 twice, dense 1; x 2 x 3.
    assert benchmark.operations(Shape(1, 1, 1, 8)) == 6 * (8 + 8 + 1)


def test_an_unknown_stack_is_refused(capsys):
    assert benchmark.main(["--stacks", "torhc"]) == 2
    assert "Did you mean 'torch'?" in capsys.readouterr().err
