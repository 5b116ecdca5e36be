"""The error of consecutive blocks of windows, by hand."""

import numpy as np
import pytest

from experiments.training.blocks import BLOCKS, block_mse

pytestmark = pytest.mark.usefixtures("unoptimised")


def part_of(windows, where=None):
    targets = np.random.default_rng(windows).normal(size=(windows, 3, 2)).astype(np.float32)
    return {"targets": targets, "where": where}


@pytest.mark.parametrize("windows", [1, BLOCKS - 1, BLOCKS, 37])
def test_blocks_are_runs_of_windows_in_their_order(windows):
    part = part_of(windows)
    error = np.arange(windows, dtype=np.float32)[:, None, None]
    found = np.asarray(block_mse(part["targets"] + error, part))
    runs = np.array_split(np.arange(windows, dtype=float) ** 2, min(BLOCKS, windows))
    np.testing.assert_allclose(found, [run.mean() for run in runs], rtol=1e-4, atol=1e-6)
    weighted = np.average(found, weights=[len(run) for run in runs])
    np.testing.assert_allclose(weighted, np.mean(error**2), rtol=1e-4, atol=1e-6)


def test_entries_that_do_not_count_are_in_no_block():
    where = np.ones((4, 3, 2), bool)
    where[1], where[2, 1:] = False, False
    part = part_of(4, where)
    output = np.where(where, part["targets"] + 2, np.nan)
    np.testing.assert_allclose(block_mse(output, part), [4, np.nan, 4, 4], rtol=1e-5)
