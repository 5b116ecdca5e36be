"""Missing targets count in no number: by hand, and whatever the arrays hold there."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from bounded.penalties import update_multipliers
from experiments.data.catalogue import Entry
from experiments.data.datasets import prepared
from experiments.training import cell
from experiments.training.baselines import BASELINES, _climatology, measure
from experiments.training.cell import Settings, data_of
from experiments.training.runner import Run, Runner, counted_steps, first_bias
from experiments.training.strategies import TRAINED
from tests.experiments.training.line import or_bottleneck

SETTINGS = Settings(hidden=3, epochs=2, batches_per_epoch=2, batch=4, start="zero")
WHERE = np.array([[[True, True], [False, True]], [[True, False], [False, False]]])
VALUES = np.arange(8, dtype=np.float32).reshape(2, 2, 2)


def dataset(some_are_missing=True, padding=0):
    """A window of each split has no target, and a step of all training windows has none, where
    some are missing."""
    rng = np.random.default_rng(0)
    targets = rng.uniform(1, 2, (20, 4, 2))
    missing = rng.uniform(size=targets.shape) < 0.3
    missing[[0, 14, 17]] = missing[:14, 1, 0] = True
    missing &= some_are_missing
    upper = targets + rng.uniform(-0.2, 1, targets.shape).clip(0)
    upper[missing] = 0.05  # as no sequence's maximum is
    arrays = {"inputs": targets, "targets": np.where(missing, np.nan, targets), "upper": upper}
    if padding:
        beyond = (0, 0), (0, padding), (0, 0)
        arrays = {key: np.pad(of, beyond, constant_values=np.nan) for key, of in arrays.items()}
        arrays["targets"][:, 4:] = 99
        arrays["lengths"] = np.full(20, 4)
    arrays["split"] = np.repeat([0, 1, 2], [14, 3, 3])
    return prepared("mine", Entry(lambda: arrays, "", "1"))


def with_other_values_where_missing(found):
    return replace(
        found,
        targets=np.where(found.where, found.targets, 7),
        upper=np.where(found.where, found.upper, 0.1).astype(np.float32),
    )


@pytest.fixture(scope="module")
def both():
    return dataset(), with_other_values_where_missing(dataset())


@or_bottleneck(["augmented_lagrangian", "clip_to_sequence_maximum"])
def test_what_is_missing_or_beyond_a_windows_end_counts_in_no_number(backbone, names):
    """Whatever is there; and windows that are padded train to the numbers of those that are not."""
    plain, padded = dataset(some_are_missing=False), dataset(some_are_missing=False, padding=2)
    missing = dataset(padding=2)  # for which nothing else is compiled
    changed = with_other_values_where_missing(missing)
    found = {}
    for key, of in enumerate((plain, padded, missing, changed)):
        runner = Runner(of, backbone, SETTINGS, [TRAINED[name] for name in names])
        for name in names:
            (found[name, key],) = runner.run([Run(name, {}, 3e-2, 0)])
    for name in names:
        in_plain, in_padded, first, second = (found[name, key] for key in range(4))
        assert in_plain.error is in_padded.error is first.error is None
        for metric, value in in_plain.metrics.items():
            np.testing.assert_allclose(in_padded.metrics[metric], value, rtol=2e-4, atol=1e-6)
        np.testing.assert_equal(second.metrics, first.metrics)
        np.testing.assert_equal(second.history, first.history)


@pytest.mark.parametrize("name", BASELINES)
def test_nor_that_of_a_baseline(both, name):
    first, second = (measure(name, data_of(of, "test"))[0] for of in both)
    np.testing.assert_equal(second, first)


def test_nor_the_windows_that_are_shown_the_ranges_and_the_starts(both):
    first, second = (data_of(of, "test") for of in both)
    np.testing.assert_array_equal(first["examples"], second["examples"])
    for side in ("lower", "upper"):
        np.testing.assert_array_equal(first["range"][side], second["range"][side])
    for row in (TRAINED["clip"], TRAINED["smooth_clip"], own_row()):
        hyper = row.hyper(row.hyperparameters)
        begin = jax.jit(partial(first_bias, row))
        starts = [begin(data["train"], data["range"], hyper) for data in (first, second)]
        np.testing.assert_array_equal(*starts)


def own_row():
    """One whose inverse `bounded` does not know."""
    return replace(
        TRAINED["clip"], own=True, begins_through=lambda lower, upper, hyper: lambda raw, *_: raw
    )


def test_means_are_over_what_counts():
    mean = jax.jit(cell.mean_of_counted)
    assert mean(VALUES, None) == VALUES.mean()
    assert mean(VALUES, WHERE) == VALUES[WHERE].mean()
    steps, more = VALUES[..., :1], WHERE.copy()  # of the features' sum, which needs them all
    more[1, 0] = True
    assert mean(steps, WHERE) == 0
    assert mean(steps, more) == 2
    assert mean(VALUES, np.zeros_like(WHERE)) == 0
    np.testing.assert_array_equal(counted_steps({"where": WHERE}), [[True, False], [False, False]])


@jax.jit
def both_slopes(output, part):
    return cell.slope_of_squared_error(output, part), jax.grad(cell.squared_error)(output, part)


@pytest.mark.parametrize("where", [None, WHERE, np.zeros_like(WHERE)])
def test_the_slope_is_that_of_the_error(where):
    part = {"targets": np.ones_like(VALUES), "where": where}
    found, expected = both_slopes(VALUES, part)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_multipliers_follow_what_counts():
    state = np.full((2, 2), 0.5, "f")
    row, hyper = TRAINED["augmented_lagrangian"], np.array([2, 0, 0], np.float32)
    part = {"lower": None, "upper": np.full_like(VALUES, 1), "sum_lower": None, "sum_upper": None}
    given = {"data": {"range": dict.fromkeys(("lower", "upper"), np.zeros(2, "f"))}, "state": state}
    job = cell.Job(0, hyper, 0, 0, 0)

    @jax.jit
    def both(where):
        found = cell.proposed(row, VALUES, part={**part, "where": where}, job=job, **given)
        return found, update_multipliers(state, VALUES, upper=1.0, penalty=2.0, where=where)

    for where in (None, WHERE):
        found, expected = both(where)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found[1, 0] == 0.5  # where nothing counts


def test_windows_are_shown_by_what_is_known_of_them(both):
    of, _ = both
    known = np.zeros_like(of.where)
    known[17:, :2] = True
    targets = np.zeros_like(of.targets)
    targets[17:, 0] = np.array([1, 2, 3])[:, None]  # what varies less, hidden, varies most
    targets[17:, 2:] = np.array([90, 50, 0])[:, None, None]
    found = cell.example_windows(replace(of, targets=targets, where=known), "test")
    assert found.tolist() == [1, 2]


def test_climatology_is_the_mean_of_what_is_known():
    found = _climatology({"targets": VALUES, "where": WHERE})
    np.testing.assert_allclose(found, [[[2, 1], [2, 3]]])
    np.testing.assert_array_equal(
        _climatology({"targets": VALUES, "where": None}), VALUES.mean(0, keepdims=True)
    )
