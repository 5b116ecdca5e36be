"""Numbers of a study: exact small cases, and the same from rliable and scikit-posthocs."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from experiments.analysis import statistics
from experiments.analysis.statistics import Scores, Spread, skill_scores
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


def test_the_interquartile_mean_drops_a_quarter_on_either_side():
    values = np.array([[1.0, 2.0], [3.0, 100.0]])
    assert statistics.interquartile_mean(values) == 2.5
    assert statistics.interquartile_mean(np.stack([values, values + 1])).tolist() == [2.5, 3.5]


def test_ranks_share_ties_and_average_over_groups():
    best, same, worst = [[3.0, 1.0]], [[1.0, 1.0]], [[0.0, 0.0]]
    np.testing.assert_allclose(
        statistics.average_rank(np.array([best, same, worst])), [1.25, 1.75, 3.0]
    )


def test_a_bootstrap_of_seeds_that_agree_has_no_width_and_follows_its_generator():
    low, high = statistics.bootstrap(
        np.ones((2, 5, 3)), statistics.interquartile_mean, np.random.default_rng(0)
    )
    assert low.tolist() == high.tolist() == [1, 1]
    twice = [
        statistics.bootstrap(SCORES, statistics.interquartile_mean, np.random.default_rng(seed))
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


def test_a_performance_profile_is_the_share_above():
    profile = statistics.performance_profile(
        np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([-1.0, 0.0, 2.5, 3.0])
    )
    np.testing.assert_allclose(profile, [1, 0.75, 0.25, 0])


def test_runs_with_skill_are_those_above_zero():
    values = np.array([[0.5, 0.0, 0.0], [-1.0, 0.4, -1.0], [0.7, 0.2, 0.0]])  # seeds, groups
    np.testing.assert_allclose(statistics.mean_with_skill(values), [0.6, 0.3, np.nan])


def test_ties_count_half_an_improvement():
    one, other = np.array([[1.0, 5.0], [2.0, 5.0]]), np.array([[1.0, 5.0], [0.0, 5.0]])
    # First group: 1 = 1, 1 > 0, 2 > 1, 2 > 0; second: ties.
    assert statistics.probability_of_improvement(one, other) == (3.5 / 4 + 0.5) / 2
    assert statistics.probability_of_improvement(one, one) == 0.5


def test_holms_steps_by_hand():
    np.testing.assert_allclose(statistics.holm([0.01, 0.04, 0.03, 0.5]), [0.04, 0.09, 0.09, 0.5])
    np.testing.assert_allclose(statistics.holm([0.9, 0.8]), [1, 1])


def scores_of(values):
    groups = tuple(str(index) for index in range(values.shape[-1]))
    return Scores(("clip", "smooth_clip", "relu_offset"), groups, values)


def test_five_groups_are_underpowered_whatever_comes_out():
    clip = np.zeros((3, 5))
    values = np.stack([clip, clip + np.arange(1, 6), clip])
    found = statistics.planned_comparisons(scores_of(values))
    assert list(found) == ["smooth_clip", "relu_offset"]
    better, same = found.values()
    assert (better.better, same.better) == (5, 0)
    assert better.p_value == 2 * 2 / 2**5
    assert better.underpowered
    assert same.p_value == 1


def test_seven_groups_are_enough_for_two_comparisons():
    clip = np.zeros((3, 7))
    values = np.stack([clip, clip + np.arange(1, 8), clip - np.arange(1, 8)])
    for found in statistics.planned_comparisons(scores_of(values)).values():
        assert found.p_value == 2 * 2 / 2**7
        assert not found.underpowered


def test_at_most_six_comparisons_are_planned_each_with_its_reason():
    assert len(statistics.PLANNED) <= 6
    assert all(statistics.PLANNED.values())


def test_the_same_as_rliable():
    metrics = pytest.importorskip("rliable.metrics")
    for one in SCORES:
        expected = metrics.aggregate_iqm(one)
        np.testing.assert_allclose(statistics.interquartile_mean(one), expected)
        for other in SCORES:
            np.testing.assert_allclose(
                statistics.probability_of_improvement(one, other),
                metrics.probability_of_improvement(one, other),
            )


def test_the_same_as_scikit_posthocs():
    posthocs = pytest.importorskip("scikit_posthocs")
    block = np.random.default_rng(0).normal(size=(8, 2))  # groups, strategies
    expected = np.array(posthocs.posthoc_wilcoxon(list(block.T)))[0, 1]
    values = np.stack([block[:, :1].T, block[:, 1:].T])
    scores = Scores(("clip", "smooth_clip"), tuple("abcdefgh"), values)
    found = statistics.planned_comparisons(scores)["smooth_clip"]
    np.testing.assert_allclose(found.p_value, expected)
    p_values = [0.01, 0.02, 0.03, 0.2]
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    np.testing.assert_allclose(
        statistics.holm(p_values), multitest.multipletests(p_values, method="holm")[1]
    )


def test_friedman_by_its_formula():
    values = SCORES[:, :1]
    ranks = stats.rankdata(values[:, 0], axis=0)
    k, n = ranks.shape
    chi2 = 12 * n / (k * (k + 1)) * (np.sum(ranks.mean(axis=1) ** 2) - k * (k + 1) ** 2 / 4)
    np.testing.assert_allclose(statistics.friedman(values), stats.chi2.sf(chi2, k - 1))


def test_spread_over_seeds_by_hand():
    found = statistics.spread([1.0, 3.0, None])
    assert (found.mean, found.count) == (2, 2)
    assert found.deviation == pytest.approx(np.sqrt(2))
    assert np.isnan(statistics.spread([1.0]).deviation)
    assert np.isnan(statistics.spread([None]).mean)
    assert terminal.cell_text(statistics.spread([1.0, 3.0])) == "2.000 ± 1.414"
    assert terminal.cell_text(statistics.spread([0.5])) == "0.500"
    assert terminal.cell_text(None) == "–"
