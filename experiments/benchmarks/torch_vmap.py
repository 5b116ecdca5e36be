"""Many of the same model side by side in PyTorch: `torch.func.vmap` over stacked parameters.

For `experiments.benchmarks.device`. cuDNN's LSTM cannot be mapped over, so that its step is written
out: as in `bounded.lstm` the inputs are projected for all steps at once. Every model has its own
order of the windows, as every cell has.
"""

from experiments.benchmarks.stacks import (
    LEARNING_RATE,
    SHARE,
    UPDATES,
    Built,
    Shape,
    torch_device,
    windows,
)


def build(shape: Shape, cells: int, device: str = "cpu", dtype: str = "float32") -> Built:
    import torch

    where = torch_device(device, dtype)
    hidden, _, features, batch = shape
    sizes = {
        "encoder": (4 * hidden, features),
        "encoder_recurrent": (4 * hidden, hidden),
        "encoder_bias": (4 * hidden,),
        "decoder": (4 * hidden, hidden),
        "decoder_recurrent": (4 * hidden, hidden),
        "decoder_bias": (4 * hidden,),
        "dense": (features, hidden),
        "dense_bias": (features,),
    }
    stacked = {
        name: (2 * torch.rand(cells, *size, device=where) - 1) / hidden**0.5
        for name, size in sizes.items()
    }
    optimizer = torch.optim.Adam(stacked.values(), lr=LEARNING_RATE, foreach=True)
    slopes = torch.func.vmap(torch.func.grad(loss))
    given = torch.from_numpy(windows(shape)).to(where)
    orders = torch.rand(cells, len(given), device=where).argsort(1).split(batch, 1)

    def train(calls: int) -> None:
        for _ in range(calls):
            for order in orders:
                for name, slope in slopes(stacked, given[order]).items():
                    stacked[name].grad = slope
                optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return train, UPDATES * batch * cells


def loss(parameters: dict, inputs):
    """Of one model on a batch of windows, (batch, steps, features)."""
    import torch

    def layer(name: str, projected) -> list:
        """Hidden states of an LSTM whose inputs' share of the gates is (batch, steps, 4 hidden)."""
        recurrent, bias = parameters[f"{name}_recurrent"], parameters[f"{name}_bias"]
        state = torch.zeros_like(projected[:, 0, : recurrent.shape[1]])
        cell, states = state, []
        for step in range(projected.shape[1]):
            gates = projected[:, step] + state @ recurrent.T + bias
            enter, keep, value, leave = gates.chunk(4, dim=1)
            cell = torch.sigmoid(keep) * cell + torch.sigmoid(enter) * torch.tanh(value)
            state = torch.sigmoid(leave) * torch.tanh(cell)
            states.append(state)
        return states

    code = layer("encoder", inputs @ parameters["encoder"].T)[-1]
    repeated = (code @ parameters["decoder"].T)[:, None].expand(-1, inputs.shape[1], -1)
    states = torch.stack(layer("decoder", repeated), dim=1)
    raw = states @ parameters["dense"].T + parameters["dense_bias"]
    return torch.mean((torch.minimum(raw, inputs) - SHARE * inputs) ** 2)
