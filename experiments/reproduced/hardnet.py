"""Learning with piecewise constraints, the tables of HardNet, run again.

Min and Azizan, "Hard-constrained neural networks with universal approximation guarantees", arXiv
2410.10807; the published numbers are those of the notebooks `exp_pwc` and `exp_pwcbox` at github
azizanlab/hardnet, which the paper rounds. `published` is theirs; `exact` begins with torch's random
numbers, as they did; `ours` with our own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bounded import metrics, penalties
from experiments.reproduced import networks, tables
from experiments.reproduced.networks import Points, Training
from experiments.reproduced.tables import SEEDS, Methods, Row
from experiments.training.strategies import DC3_STEPS, TRAINED, Strategy

SIZES = (1, 200, 200, 1)
EPOCHS = 1000
TORCH_SEEDS = (1, 2, 3, 4, 5)
Formula = Callable[[np.ndarray], np.ndarray] | float


@dataclass(frozen=True)
class Task:
    """One function to learn, with the pieces of its target and bounds."""

    name: str
    points: int  # to train on
    limit: float  # they lie in ±limit
    target: tuple[Formula, ...]
    lower: tuple[Formula, ...]
    upper: tuple[Formula, ...]
    soft_epochs: int  # of HardNet-Aff, with a penalty in place of the projection

    def train(self) -> Points:
        generator = np.random.RandomState(17)  # the generator that they drew from
        return self._at(generator.uniform(-self.limit, self.limit, (self.points, 1)))

    def test(self) -> Points:
        return self._at(np.linspace(-2, 2, 401)[:, None])

    def _at(self, x: np.ndarray) -> Points:
        pieces = [x <= -1, (x > -1) & (x <= 0), (x > 0) & (x <= 1), x > 1]

        def values(formulas: tuple[Formula, ...]) -> np.ndarray:
            return np.piecewise(x, pieces, formulas)[:, None]

        return Points(x, values(self.target), values(self.lower), values(self.upper))


def _sine(x: np.ndarray) -> np.ndarray:
    return np.sin(np.pi * (x + 1) / 2)


def _arch(x: np.ndarray) -> np.ndarray:
    return 4 - 9 * (x - 2 / 3) ** 2


_pwc = partial(
    Task,
    points=50,
    target=(lambda x: -5 * _sine(x), 0, _arch, lambda x: 8 - 5 * x),
    lower=(lambda x: 5 * _sine(x) ** 2, -np.inf, lambda x: _arch(x) * x, -np.inf),
    upper=(np.inf, 0, np.inf, lambda x: 7.5 - 4.5 * x),
    soft_epochs=0,
)
TASKS = {
    "pwc": _pwc("pwc", limit=1.2),
    "pwcfull": _pwc("pwcfull", limit=2.0),
    "pwcbox": Task(
        "pwcbox",
        points=10,
        limit=2.0,
        target=(lambda x: -5 * _sine(x) - 2, -2, lambda x: _arch(x) - 2, lambda x: 3 / x**2 - 2),
        lower=(
            lambda x: 5 * _sine(x) ** 2 - 2,
            -2,
            lambda x: _arch(x) * x - 2,
            lambda x: 3 / x**3 - 2,
        ),
        upper=(lambda x: -3 * _sine(x), -2, lambda x: 3 - 4 * (x - 0.5) ** 2, 2),
        soft_epochs=100,
    ),
}

METRICS = ("mse", "max_violation", "mean_violation", "num_violations")
PUBLISHED: dict[tuple[str, str], tuple[tuple[float, float], ...]] = {
    ("pwc", "NN"): ((1.85, 0.19), (3.16, 0.29), (0.60, 0.04), (212.2, 7.19)),
    ("pwc", "Soft"): ((2.36, 0.22), (3.70, 0.25), (0.69, 0.03), (205.2, 1.94)),
    ("pwc", "DC3"): ((1.15, 0.10), (2.31, 0.23), (0.43, 0.02), (207.0, 3.58)),
    ("pwc", "HardNet-Aff"): ((0.16, 0.01), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
    ("pwcfull", "NN"): ((0.04, 0.01), (0.73, 0.07), (0.02, 0.01), (42.4, 5.31)),
    ("pwcfull", "Soft"): ((0.05, 0.01), (0.69, 0.04), (0.02, 0.0), (28.6, 2.42)),
    ("pwcfull", "DC3"): ((0.04, 0.01), (0.48, 0.03), (0.01, 0.0), (30.6, 1.85)),
    ("pwcfull", "HardNet-Aff"): ((0.06, 0.01), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
    ("pwcbox", "NN"): ((0.14, 0.04), (0.92, 0.15), (0.12, 0.02), (166.2, 5.6)),
    ("pwcbox", "Soft"): ((0.15, 0.05), (0.99, 0.18), (0.11, 0.02), (165.6, 8.62)),
    ("pwcbox", "DC3"): ((0.20, 0.10), (1.27, 0.43), (0.12, 0.05), (165.4, 8.55)),
    ("pwcbox", "HardNet-Aff"): ((0.15, 0.01), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
}
"""Mean and standard deviation over five seeds of each of METRICS, by task and method."""


def _same_sign_evaluate(raw, lower, upper, hyper):
    rate, momentum = hyper[0], hyper[1]
    output, velocity = raw, jnp.zeros_like(raw)
    for _ in range(DC3_STEPS):
        velocity = momentum * velocity + rate * 2 * metrics.excess(output, lower, upper)
        output = output - velocity
    return output


def _same_sign_train(raw, lower, upper, progress, state, hyper):
    output = _same_sign_evaluate(raw, lower, upper, hyper)
    return output, hyper[2] * penalties.squared_hinge(output, lower, upper)


SAME_SIGN_DC3 = replace(
    TRAINED["dc3_correction"],
    name="dc3_same_sign",
    train=_same_sign_train,
    evaluate=_same_sign_evaluate,
    summary="DC3 with the correction of their pwcbox: below the lower bound it steps further down",
)


def methods(task: Task, *, exact: bool = False) -> Methods:
    """What they compared, as rows of our table; exact: as their code has it."""
    projected = TRAINED["clip"], {}
    if task.soft_epochs:
        warmup = {"warmup": task.soft_epochs / EPOCHS, "weight": 10.0}
        projected = TRAINED["clip_after_warmup"], warmup
    dc3 = SAME_SIGN_DC3 if exact and task.name == "pwcbox" else TRAINED["dc3_correction"]
    return {
        "NN": (TRAINED["unconstrained"], {}),
        "Soft": (TRAINED["squared_hinge"], {"weight": 10.0}),
        "DC3": (dc3, {"rate": 0.01, "momentum": 0.5, "weight": 10.0}),
        "HardNet-Aff": projected,
    }


def run(
    task: Task, strategy: Strategy, values: dict[str, float], initial: networks.Parameters
) -> dict[str, np.ndarray]:
    """Each metric by seed, on the 401 points."""
    setting = Training(EPOCHS, learning_rate=1e-4, loss_factor=task.points)  # they sum over points
    return networks.run(strategy, values, task.train(), task.test(), setting, initial)


def our_weights(seeds: int) -> networks.Parameters:
    keys = jax.random.split(jax.random.key(0), seeds)
    return jax.vmap(lambda key: networks.our_weights(key, SIZES, "float64", kaiming=True))(keys)


def their_weights() -> networks.Parameters:
    return networks.stack(
        [networks.torch_weights(seed, SIZES, "float64", kaiming=True) for seed in TORCH_SEEDS]
    )


COLUMNS = tables.columns(METRICS)


def rows(catalogue: Sequence[str] = tuple(TRAINED)) -> Iterator[Row]:
    """Every row of the table, as it is trained; none that is `exact` without torch.

    Args:
      catalogue: the strategies that are added to theirs.
    """
    with jax.enable_x64(True):
        ours = our_weights(SEEDS)
        theirs = their_weights() if networks.has_torch() else None
        for task in TASKS.values():
            yield from tables.comparison(
                task.name,
                METRICS,
                partial(run, task),
                published={name: _published(task, name) for name in methods(task)},
                methods=methods(task) | {name: (TRAINED[name], {}) for name in catalogue},
                exact=methods(task, exact=True),
                ours=ours,
                theirs=theirs,
            )


def _published(task: Task, method: str) -> Row:
    row = {"seeds": len(TORCH_SEEDS)}
    for metric, (mean, deviation) in zip(METRICS, PUBLISHED[task.name, method], strict=True):
        row |= {metric: mean, f"{metric}_std": deviation}
    return row
