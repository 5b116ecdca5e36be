import numpy as np
import pytest

from experiments.benchmarks import torch_vmap
from experiments.benchmarks.stacks import STACKS, Shape, dataset, windows

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


def test_the_dataset_holds_the_windows_that_all_stacks_train_on():
    found = dataset(SMALL)
    train = found.part("train")
    np.testing.assert_array_equal(train["inputs"], windows(SMALL))
    np.testing.assert_array_equal(train["upper"], train["inputs"])
    assert len(found.part("validation")["inputs"]) == len(found.part("test")["inputs"]) == 2


def test_stacked_models_in_torch_train_as_each_alone(monkeypatch):
    torch = pytest.importorskip("torch", reason="of the extra bench")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    train, sequences = torch_vmap.build(SMALL, cells=3)
    train(1)
    assert sequences == 3 * 16 * SMALL.batch
    hidden, inputs = SMALL.hidden, torch.rand(2, SMALL.steps, SMALL.features)
    encoder = torch.nn.LSTM(SMALL.features, hidden, batch_first=True)
    decoder = torch.nn.LSTM(hidden, hidden, batch_first=True)
    dense = torch.nn.Linear(hidden, SMALL.features)
    parameters = {"dense": dense.weight, "dense_bias": dense.bias}
    for name, layer in (("encoder", encoder), ("decoder", decoder)):
        parameters[name] = layer.weight_ih_l0
        parameters[f"{name}_recurrent"] = layer.weight_hh_l0
        parameters[f"{name}_bias"] = layer.bias_ih_l0 + layer.bias_hh_l0
    _, (code, _) = encoder(inputs)
    states, _ = decoder(code[0][:, None].expand(-1, SMALL.steps, -1))
    output = torch.minimum(dense(states), inputs)
    expected = torch.mean((output - 0.8 * inputs) ** 2)
    torch.testing.assert_close(torch_vmap.loss(parameters, inputs), expected)
