"""A cell has the same numbers to the bit, whatever else is trained or compiled beside it."""

import pytest

from experiments.data.datasets import load
from experiments.training.runner import Run, Runner
from experiments.training.strategies import TRAINED
from tests.experiments.training.line import LINE
from tests.experiments.training.test_runner import CELLS, SETTINGS, assert_same
from tests.sampled import sampled

pytestmark = pytest.mark.optimised
NAMES = [name for name, *_ in CELLS]
TWO = CELLS[:2]


def of_rows(backbone, names):
    return Runner(load("irradiance"), backbone, SETTINGS, [TRAINED[name] for name in names])


# test_runner.py compares the bottleneck's in batches, as they are unoptimised.
@pytest.fixture(scope="module", params=sampled((LINE, "bottleneck"), {LINE}))
def backbone(request):
    return request.param


@pytest.fixture(scope="module")
def runner(backbone):
    return of_rows(backbone, NAMES)


def test_a_cells_numbers_do_not_depend_on_its_batch(runner):
    together = runner.run(TWO)
    assert_same(together[0], runner.run(TWO[:1])[0])
    assert_same(together[1], runner.run(CELLS[1:])[0])
    assert_same(together[1], runner.run(TWO)[1])


def test_a_cells_numbers_do_not_depend_on_what_else_is_compiled(backbone, runner):
    alone = of_rows(backbone, ["smooth_clip"])
    assert_same(alone.run(TWO[1:])[0], runner.run(TWO[1:])[0])


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
