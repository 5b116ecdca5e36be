"""Blocks of windows and their errors, by hand."""

import numpy as np
import pytest

from experiments.data.datasets import load
from experiments.training.blocks import MOST, block_mse, blocks_of

pytestmark = pytest.mark.usefixtures("unoptimised")


def test_a_block_is_a_run_of_windows_that_follow_one_another():
    found = blocks_of(np.array([3, 4, 7, 11, 12, 13]))
    np.testing.assert_array_equal(
        found, [[1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]
    )


@pytest.mark.parametrize("windows", [1, MOST - 1, MOST, 37])
def test_a_split_of_one_run_has_blocks_of_nearly_equal_size(windows):
    found = blocks_of(np.arange(windows) + 5)
    assert found.shape == (min(MOST, windows), windows)
    sizes = found.sum(1)
    assert sizes.max() - sizes.min() <= 1
    np.testing.assert_array_equal(found.sum(0), 1)
    assert (np.diff(found.argmax(0)) >= 0).all()


def test_neighbouring_runs_share_a_block_where_there_are_many():
    found = blocks_of(np.arange(0, 60, 3))
    assert found.shape == (MOST, 20)
    assert set(found.sum(1)) == {1, 2}
    assert blocks_of(np.zeros(0, int)).shape == (0, 0)


def test_a_dataset_of_blocks_of_days_has_as_many():
    assert len(blocks_of(load("daily_temperature").rows("test"))) == 4


def test_errors_of_blocks_are_of_the_entries_that_count():
    targets = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    where = np.ones((4, 3, 2), bool)
    where[1], where[2, 1:] = False, False
    error = np.array([2, 0, 3, 1], np.float32)[:, None, None]
    output = np.where(where, targets + error, np.nan)
    blocks = np.eye(3, dtype=bool)[[0, 1, 2, 2]].T
    found = block_mse(output, {"targets": targets, "where": where}, blocks)
    np.testing.assert_allclose(found, [4, np.nan, (2 * 9 + 6 * 1) / 8], rtol=1e-5)
    found = block_mse(targets + error, {"targets": targets, "where": None}, blocks)
    np.testing.assert_allclose(found, [4, 0, 5], rtol=1e-5)
