"""Skills of a study and spreads over seeds: exact small cases."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from experiments.analysis import statistics
from experiments.analysis.statistics import Spread, skill_scores
from experiments.cells import Cell, Record
from experiments.page import terminal

GENERATOR = np.random.default_rng(0)
SCORES = GENERATOR.normal(size=(4, 5, 3))  # strategies, seeds, groups


def record(strategy, dataset, seed, mse, backbone="bottleneck"):
    cell = Cell(dataset, "0", "final", strategy, backbone, seed)
    return Record(cell, "failed" if mse is None else "done", {"mse": mse})


def test_the_interval_of_a_mean_is_students():
    values = [1.0, 2.0, 4.0]
    found = statistics.spread(values).interval
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(found, expected)
    assert np.isnan(Spread(1.0, float("nan"), 1).interval).all()


GROUPS = {"a": "first", "b": "first", "c": "second"}


def study():
    """Two seeds of a strategy on three datasets in two groups, whose reference has an mse of 2."""
    reference = [record("climatology_clipped", name, 0, 2.0, "none") for name in GROUPS]
    trained = [
        record("clip", name, seed, mse)
        for (name, seed), mse in {
            ("a", 0): 1.0,
            ("b", 0): 2.0,
            ("c", 0): 0.0,
            ("a", 1): 1.0,
            ("b", 1): 1.0,
            ("c", 1): 100.0,
        }.items()
    ]
    return reference + trained


def test_the_score_is_a_skill_floored_and_averaged_over_related_datasets():
    scores = skill_scores(study(), "bottleneck", GROUPS)
    assert scores.strategies == ("climatology_clipped", "clip")
    assert scores.groups == ("first", "second")
    np.testing.assert_allclose(scores.of("clip"), [[0.25, 1.0], [0.5, -1.0]])
    np.testing.assert_allclose(scores.of("climatology_clipped"), 0)


def skills(records):
    """Those of `summary`, by strategy, dataset and phase."""
    return {
        (row["strategy"], row["dataset"], row["phase"]): row["value"]
        for row in statistics.summary(records)
        if row["metric"] == "skill"
    }


def test_skill_is_a_metric_of_the_summary_and_not_floored():
    records = [record("climatology_clipped", "a", 0, 2.0, "none"), record("clip", "a", 0, 1.0)]
    records += [record("hinge", "a", 0, 100.0), record("relu_offset", "a", 0, None)]
    found = skills(records)
    assert found == {
        ("climatology_clipped", "a", "final"): 0.0,
        ("clip", "a", "final"): 0.5,
        ("hinge", "a", "final"): -49.0,
    }
    spread = statistics.over_seeds(statistics.summary(records))["a", "bottleneck", "clip"]
    assert spread["skill"].mean == 0.5


def test_no_skill_is_made_up():
    """Without a baseline of the same data and phase there is none; of an error that is null, or
    so large that nothing could be averaged with it, it is null."""
    reference = record("climatology_clipped", "a", 0, 2.0, "none")
    clip = record("clip", "a", 0, 1.0)
    tune = replace(clip, cell=replace(clip.cell, phase="tune"))
    newer = replace(clip, cell=replace(clip.cell, data_hash="1"))
    bare = replace(clip, metrics={"r2": 0.5})
    assert skills([reference, record("clip", "b", 0, 1.0), tune, newer, bare]) == {
        ("climatology_clipped", "a", "final"): 0.0
    }
    assert skills([clip, replace(reference, metrics={"mse": 0.0})]) == {}
    assert skills([clip, replace(reference, metrics={"mse": None})]) == {}
    null = replace(clip, metrics={"mse": None})
    assert skills([reference, null])["clip", "a", "final"] is None
    assert skills([replace(reference, metrics={"mse": 1e-300}), clip])["clip", "a", "final"] is None


def test_a_failed_cell_scores_the_floor_and_a_missing_one_leaves_its_strategy_out():
    failed = [record("exp_offset", name, seed, None) for name in GROUPS for seed in range(2)]
    scores = skill_scores(study() + failed, "bottleneck", GROUPS)
    np.testing.assert_allclose(scores.of("exp_offset"), -1)
    assert "exp_offset" not in skill_scores(study() + failed[1:], "bottleneck", GROUPS).strategies


def test_a_test_error_that_is_not_finite_scores_the_floor():
    null = [record("exp_offset", name, seed, 1.0) for name in GROUPS for seed in range(2)]
    null[0].metrics["mse"] = None  # as a record has it for NaN and infinity
    scores = skill_scores(study() + null, "bottleneck", GROUPS)
    np.testing.assert_allclose(scores.of("exp_offset"), [[(-1 + 0.5) / 2, 0.5], [0.5, 0.5]])


def test_other_backbones_and_other_datasets_do_not_count():
    others = [
        record("clip", "a", 7, 9.0, "conditioned"),
        record("clip", "autoencoder", 0, 0.0),
    ]
    found, expected = (
        skill_scores(study() + others, "bottleneck", GROUPS),
        skill_scores(study(), "bottleneck", GROUPS),
    )
    np.testing.assert_array_equal(found.values, expected.values)
    assert skill_scores([], "bottleneck", GROUPS).strategies == ()


def test_a_bootstrap_of_seeds_that_agree_has_no_width_and_follows_its_generator():
    low, high = statistics.bootstrap(np.ones((2, 5, 3)), statistics.mean, np.random.default_rng(0))
    assert low.tolist() == high.tolist() == [1, 1]
    twice = [
        statistics.bootstrap(SCORES, statistics.mean, np.random.default_rng(seed))
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(twice[0], twice[1])
    assert (np.array(twice[0]) != np.array(twice[2])).any()


def test_a_bootstrap_covers_the_mean_about_as_often_as_it_says():
    """Ten seeds, whose effect groups share for the most part: a bootstrap of each group apart
    covers 64 %, a plain percentile interval 88 %."""
    generator = np.random.default_rng(0)
    trials = generator.normal(size=(1000, 10, 1)) + 0.3 * generator.normal(size=(1000, 10, 4))
    low, high = statistics.bootstrap(
        trials, lambda values: values.mean(axis=(-2, -1)), generator, resamples=1000
    )
    covered = np.mean((low < 0) & (high > 0))
    assert 0.91 < covered < 0.97


def test_a_bootstrap_draws_the_same_seeds_for_every_strategy():
    """Two strategies that differ by the same on every seed differ by that."""
    values = np.random.default_rng(0).normal(size=(1, 10, 3)) + np.array([[[0.0]], [[1.0]]])
    low, high = statistics.bootstrap(
        values,
        lambda values: statistics.mean(values)[..., 1] - statistics.mean(values)[..., 0],
        np.random.default_rng(0),
    )
    np.testing.assert_allclose([low, high], 1)


def test_a_bootstrap_resamples_seeds_within_a_group():
    """Groups differ, seeds do not: a bootstrap that mixed groups would have a width."""
    values = np.broadcast_to([0.0, 1.0, 5.0], (4, 3))
    low, high = statistics.bootstrap(
        values, lambda values: values.mean(axis=(-2, -1)), np.random.default_rng(0)
    )
    assert low == high == 2


def test_spread_over_seeds_by_hand():
    found = statistics.spread([1.0, 3.0, None])
    assert (found.mean, found.count) == (2, 2)
    assert found.deviation == pytest.approx(np.sqrt(2))
    assert np.isnan(statistics.spread([1.0]).deviation)
    assert np.isnan(statistics.spread([None]).mean)
    assert terminal.cell_text(statistics.spread([1.0, 3.0])) == "2.000 ± 1.414"
    assert terminal.cell_text(statistics.spread([0.5])) == "0.500"
    assert terminal.cell_text(None) == "–"
