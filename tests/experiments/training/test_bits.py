"""A cell has the same numbers to the bit, whatever else is trained or compiled beside it."""

import pytest

from experiments.data.datasets import load
from experiments.training.runner import Run, Runner
from experiments.training.strategies import TRAINED
from tests.experiments.training.test_runner import CELLS, SETTINGS, assert_same

pytestmark = pytest.mark.optimised
NAMES = ("unconstrained", *(name for name, *_ in CELLS))


@pytest.fixture(scope="module")
def runner():
    return Runner(load("irradiance"), "bottleneck", SETTINGS, [TRAINED[name] for name in NAMES])


def test_a_cells_numbers_do_not_depend_on_its_batch(runner):
    together = runner.run(CELLS[:2])
    assert_same(together[0], runner.run(CELLS[:1])[0])
    assert_same(together[1], runner.run([CELLS[1], CELLS[2]])[0])
    assert_same(together[1], runner.run(CELLS[:2])[1])


def test_a_cells_numbers_do_not_depend_on_what_else_is_compiled(runner):
    cell = CELLS[1:2]
    alone = Runner(load("irradiance"), "bottleneck", SETTINGS, [TRAINED["smooth_clip"]])
    assert_same(alone.run(cell)[0], runner.run(cell)[0])


@pytest.fixture(scope="module")
def every_row():
    return Runner(load("irradiance"), "bottleneck", SETTINGS, list(TRAINED.values()))


@pytest.mark.slow
def test_few_rows_that_are_compiled_together_have_the_same_numbers(every_row):
    few = Runner(load("irradiance"), "bottleneck", SETTINGS, [TRAINED[name] for name in NAMES[1:]])
    for run in CELLS:
        assert_same(few.run([run])[0], every_row.run([run])[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_a_strategy_that_is_compiled_alone_has_the_same_numbers(every_row, name):
    cells = [Run(name, {}, 3e-3, seed) for seed in range(2)]
    alone = Runner(load("irradiance"), "bottleneck", SETTINGS, [TRAINED[name]])
    for one, other in zip(alone.run(cells), every_row.run(cells), strict=True):
        assert_same(one, other)
