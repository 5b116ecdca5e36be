"""A cell has the same numbers to the bit, whatever else is trained or compiled beside it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.data.catalogue import Entry
from experiments.data.datasets import load, prepared
from experiments.training import runner
from experiments.training.cell import Program, Settings
from experiments.training.runner import Run, Runner
from experiments.training.strategies import TRAINED
from tests.experiments.training.line import LINE
from tests.experiments.training.test_runner import CELLS, assert_same
from tests.sampled import sampled

pytestmark = pytest.mark.optimised
SETTINGS = Settings(hidden=4, epochs=2, batches_per_epoch=2, batch=8)
NAMES = [name for name, *_ in CELLS]
TWO = CELLS[::2]


def few_short_windows():
    """Of which XLA makes less code."""
    inputs = np.random.default_rng(0).uniform(1, 2, (20, 4, 1))
    arrays = {"inputs": inputs, "targets": 0.9 * inputs, "upper": inputs + 0.1}
    arrays["split"] = np.repeat([0, 1, 2], [14, 3, 3])
    return prepared("mine", Entry(lambda: arrays, "", "1"))


def of_rows(backbone, names):
    dataset = few_short_windows() if backbone == LINE else load("irradiance")
    return Runner(dataset, backbone, SETTINGS, [TRAINED[name] for name in names])


class Learning(Program):
    """Whose cells end with what they learnt: to measure it takes as long to compile as training."""

    def finish(self, data, job, state):
        learnt = jnp.concatenate([x.ravel() for x in jax.tree.leaves(state.best_parameters)])
        return {}, learnt, jnp.zeros((1, 1, 1)), jnp.zeros(1)


@pytest.fixture
def learning(monkeypatch, backbone):
    if backbone == LINE:
        monkeypatch.setattr(runner, "Program", Learning)
    yield
    runner._compile.cache_clear()


# test_runner.py compares others in batches, as they are unoptimised.
@pytest.mark.parametrize("backbone", sampled((LINE, "bottleneck"), {LINE}))
@pytest.mark.usefixtures("learning")
def test_a_cells_numbers_depend_on_neither_its_batch_nor_what_else_is_compiled(backbone):
    with_others, with_none = of_rows(backbone, NAMES[::2]), of_rows(backbone, NAMES[2:])
    together = with_others.run(TWO)
    assert_same(together[0], with_others.run(TWO[:1])[0])
    assert_same(together[1], with_others.run([TWO[1], *TWO[:1]])[0])
    assert_same(together[1], with_others.run(TWO)[1])
    assert_same(together[1], with_none.run(TWO[1:])[0])


@pytest.fixture(scope="module")
def every_row():
    return of_rows("bottleneck", TRAINED)


@pytest.mark.slow
def test_few_rows_that_are_compiled_together_have_the_same_numbers(every_row):
    few = of_rows("bottleneck", NAMES)
    for run in CELLS:
        assert_same(few.run([run])[0], every_row.run([run])[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_a_strategy_that_is_compiled_alone_has_the_same_numbers(every_row, name):
    cells = [Run(name, {}, 3e-3, seed) for seed in range(2)]
    alone = of_rows("bottleneck", [name])
    for one, other in zip(alone.run(cells), every_row.run(cells), strict=True):
        assert_same(one, other)
