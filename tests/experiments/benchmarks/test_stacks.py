import pytest

from experiments.benchmarks.stacks import STACKS, Shape

SMALL = Shape(2, 3, 1, 2)


@pytest.mark.parametrize("name", ["flax-nnx", "torch"])
def test_stacks_train(name, monkeypatch):
    """In this process; those of the extra `bench` only where it is installed."""
    if missing := STACKS[name].missing():
        pytest.skip(f"{', '.join(missing)} of the extra bench")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    train, sequences = STACKS[name].build(SMALL)
    train(2)
    assert sequences == 16 * SMALL.batch
