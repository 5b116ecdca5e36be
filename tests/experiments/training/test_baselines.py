"""Ridge regression on the flattened window, by its normal equations."""

import numpy as np
import pytest

from experiments.training.baselines import BASELINES, PENALTIES, _ridge, measure
from experiments.training.blocks import blocks_of


def part_of(windows, where=None, steps=3, **given):
    """Targets that are nearly a line in the inputs, below an upper bound."""
    rng = np.random.default_rng(windows)
    inputs = rng.normal(size=(windows, steps, 2)).astype(np.float32)
    future = rng.normal(size=(windows, 2, 1)).astype(np.float32)
    targets = inputs[:, :2] * [1.0, 2.0] + future + 0.1 * rng.normal(size=(windows, 2, 2)) + 3
    upper = np.where(np.arange(2)[:, None], np.inf, np.full(targets.shape, 4.0))
    part = {"inputs": inputs, "future": future, "targets": targets, "upper": upper}
    part = {key: of.astype(np.float32) for key, of in part.items()}
    return part | {"lower": None, "sum_lower": None, "sum_upper": None, "where": where} | given


def data_of(train, **given):
    parts = {"train": train, "validation": part_of(9), "final": part_of(5)}
    return parts | given


def by_hand(train, part, penalty, column):
    """One target at one step, where all windows in which it counts are the rows."""
    counts = np.ones(train["targets"].shape, bool) if train["where"] is None else train["where"]
    rows = counts.reshape(len(counts), -1)[:, column]
    read = [
        np.hstack([of[key].reshape(len(of[key]), -1) for key in ("inputs", "future")])
        for of in (train, part)
    ]
    ones = [np.hstack([np.ones((len(of), 1)), of]).astype(float) for of in (read[0][rows], read[1])]
    wanted = train["targets"].reshape(len(counts), -1)[rows, column].astype(float)
    shrink = rows.sum() * penalty * np.diag([0.0, *np.ones(ones[0].shape[1] - 1)])
    return ones[1] @ np.linalg.solve(ones[0].T @ ones[0] + shrink, ones[0].T @ wanted)


def missing(windows):
    where = np.random.default_rng(0).uniform(size=(windows, 2, 2)) < 0.7
    where[:, 1, 1] = where[:, 0, 0]  # a pattern of two targets
    return where


@pytest.mark.parametrize(
    "train",
    [part_of(12), part_of(4), part_of(12, missing(12))],
    ids=["more windows than features", "fewer", "missing targets"],
)
@pytest.mark.parametrize("penalty", [1e-3, 1.0])
def test_it_solves_the_normal_equations(train, penalty):
    part = part_of(5)
    found = _ridge(train)(part, penalty)
    assert (found.shape, found.dtype) == (part["targets"].shape, np.float32)
    for column, of in enumerate(found.reshape(5, -1).T):
        np.testing.assert_allclose(of, by_hand(train, part, penalty, column), rtol=1e-5)


def test_the_penalty_has_the_least_clipped_error_on_validation():
    train = part_of(40)
    train["targets"] += np.random.default_rng(1).normal(size=(40, 2, 2)).astype(np.float32)
    data = data_of(train, blocks=blocks_of(np.arange(5)))
    predict, held = _ridge(data["train"]), data["validation"]
    outputs = [np.minimum(predict(held, one), held["upper"]) for one in PENALTIES]
    errors = [np.mean((output - held["targets"]) ** 2) for output in outputs]
    best = PENALTIES[int(np.argmin(errors))]
    assert PENALTIES[0] < best < PENALTIES[-1]
    found, output, blocks = measure("ridge_clipped", data)
    final = data["final"]
    np.testing.assert_array_equal(output, np.minimum(predict(final, best), final["upper"]))
    assert (output == final["upper"]).any()
    assert found["violation_rate"] == 0
    assert found["r2"] > 0.7
    np.testing.assert_allclose(blocks.mean(), found["mse"], rtol=1e-6)


def test_both_bounds_clip():
    final = part_of(5)
    final |= {"lower": np.full_like(final["targets"], 3.9)}
    output = BASELINES["ridge_clipped"][0](data_of(part_of(40), final=final))
    assert (output[:, 0] <= 4).all()
    assert output.min() == np.float32(3.9)


def test_what_counts_nowhere_is_nowhere_read():
    """A padded dataset: steps beyond a window's length hold anything."""
    where = np.arange(2) < np.tile([1, 2, 2], 10)[:, None]
    train = part_of(30, np.repeat(where[..., None], 2, axis=2))
    held = part_of(9, np.repeat(where[:9, :, None], 2, axis=2))
    other = [
        of | {"targets": np.where(of["where"], of["targets"], 1e9).astype(np.float32)}
        for of in (train, held)
    ]
    final = part_of(5)
    one, two = (
        BASELINES["ridge_clipped"][0](data_of(a, validation=b, final=final))
        for a, b in ((train, held), other)
    )
    np.testing.assert_array_equal(one, two)


def test_a_step_without_a_target_has_the_mean_of_its_feature():
    where = np.ones((12, 2, 2), bool)
    where[:, 1, 0] = False
    train = part_of(12, where)
    found = _ridge(train)(part_of(5), 1.0)
    np.testing.assert_allclose(found[:, 1, 0], train["targets"][:, 0, 0].mean(), rtol=1e-6)


def test_of_one_window_and_of_inputs_that_do_not_vary_it_is_the_mean():
    one, part = part_of(1), part_of(5)
    for penalty in PENALTIES:
        np.testing.assert_allclose(_ridge(one)(part, penalty), np.repeat(one["targets"], 5, axis=0))
    flat = part_of(12) | {"inputs": np.ones((12, 3, 2), np.float32), "future": None}
    found = _ridge(flat)(part | {"future": None}, PENALTIES[0])
    np.testing.assert_allclose(found, np.tile(flat["targets"].mean(0), (5, 1, 1)), rtol=1e-6)
    output = BASELINES["ridge_clipped"][0](data_of(one))
    assert np.isfinite(output).all()
