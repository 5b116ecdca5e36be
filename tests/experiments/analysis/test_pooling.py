"""Effects of groups as one: by hand, against statsmodels 0.15.0, and on made studies."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.analysis import pooling
from experiments.analysis.pooling import Pooled, center, p_signed_rank, p_within, pool

EFFECTS = [-0.12, 0.05, -0.30, 0.02, 0.18, -0.07]
ERRORS = [0.05, 0.08, 0.10, 0.04, 0.12, 0.06]
MARGIN = math.log(1.05)


def test_the_same_as_statsmodels():
    """combine_effects(EFFECTS, ERRORS², method_re="pm", use_t=True, atol=1e-14)."""
    found = pool(EFFECTS, ERRORS)
    assert found.mean == pytest.approx(-0.04421142679855399, abs=1e-8)
    assert found.between**2 == pytest.approx(0.016744128231170458, abs=1e-8)
    assert found.error == pytest.approx(0.061046106712367446, abs=1e-8)
    assert found.interval == pytest.approx((-0.20113544, 0.11271259), abs=1e-7)


def test_where_groups_agree_by_chance_the_error_is_not_below_that_without_their_factor():
    """combine_effects gives 0.02423377 (sd_eff_w_re), and with the factor 0.00636868."""
    found = pool([-0.01, 0.01, -0.02, 0.0], [0.05, 0.04, 0.06, 0.05])
    assert found.between == 0
    assert found.mean == pytest.approx(-0.0019412724306688413)
    assert found.error == pytest.approx(0.024233771751660582)


def test_two_groups_by_hand():
    """Paule and Mandel's variance of (0, 1) with equal variances v is 1/2 - v."""
    found = pool([0.0, 1.0], [0.5, 0.5])
    assert found.between**2 == pytest.approx(0.25)
    assert found.mean == pytest.approx(0.5)
    assert found.error == pytest.approx(0.5)  # 1 / √(2 / 0.5)
    assert found.interval == pytest.approx((0.5 - 12.7062 * 0.5, 0.5 + 12.7062 * 0.5), rel=1e-4)
    assert np.isnan(found.prediction).all()


def test_without_errors_of_their_own_it_is_the_plain_mean():
    found = pool(EFFECTS, [0.0] * 6)
    expected = stats.ttest_1samp(EFFECTS, 0)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.between == pytest.approx(np.std(EFFECTS, ddof=1))


def test_groups_that_agree_and_a_group_alone():
    same = pool([0.2, 0.2, 0.2], [0.0, 0.0, 0.0])
    assert same.mean == pytest.approx(0.2)
    assert same.error == same.between == 0
    alone = pool([0.2], [0.1])
    assert alone.mean == 0.2
    assert np.isnan(alone.interval).all()


def test_an_error_of_zero_among_others_does_not_break_it():
    found = pool([0.0, 1.0, 0.3], [0.0, 0.1, 0.2])
    assert 0 < found.mean < 1
    assert found.between > 0
    assert np.isfinite(found.interval).all()


def test_a_prediction_is_of_one_more_group():
    found = Pooled(0.1, 0.03, 0.04, 10)
    half = stats.t.ppf(0.975, 8) * 0.05
    assert found.prediction == pytest.approx((0.1 - half, 0.1 + half))


def test_signed_ranks_by_hand():
    """Of four effects with one sign, one of 2⁴ ways of signing them is as far to that side."""
    assert p_signed_rank([0.1, 0.2, 0.3, 40.0]) == pytest.approx(2 / 16)
    assert p_signed_rank([-0.1, 0.2, 0.3, 0.4]) == pytest.approx(4 / 16)
    assert p_signed_rank([0.0] * 5) == 1
    assert p_signed_rank([0.0, 0.0, 0.2, 0.3, 0.4]) > 0.05
    assert np.isnan([p_signed_rank([0.2]), p_within([0.2], MARGIN)]).all()


def test_equivalence_is_the_larger_of_two_one_sided_tests():
    values = np.array([-0.04, 0.01, 0.02, 0.03, 0.2])
    both = [stats.wilcoxon(values - 0.05, alternative="less").pvalue]
    both += [stats.wilcoxon(values + 0.05, alternative="greater").pvalue]
    assert both[0] > both[1]
    assert p_within(values, 0.05) == p_within(-values, 0.05) == pytest.approx(both[0])
    assert p_within([0.0] * 5, 0.05) == pytest.approx(1 / 32)


def test_the_center_is_the_median_of_pairs():
    assert center([0.0, 1.0, 5.0]) == pytest.approx(np.median([0, 0.5, 2.5, 1, 3, 5]))
    assert center([3.0]) == 3


def test_the_interval_covers_the_mean_about_as_often_as_it_says():
    """Ten groups with errors of very different size, and none or much between them."""
    generator = np.random.default_rng(0)
    errors = np.geomspace(0.01, 0.3, 10)
    for between in (0.0, 0.1):
        covered = [
            low < 0.05 < high
            for low, high in (
                pool(generator.normal(0.05, np.hypot(between, errors)), errors).interval
                for _ in range(400)
            )
        ]
        assert 0.92 < np.mean(covered) <= 1


def test_a_median_lies_between_two_of_the_groups():
    """Of sixteen the fourth and the thirteenth: outside lie 2 · P(at most 3 of 16) = 2.1 %."""
    assert pooling.median(range(16)) == (7.5, 3.0, 12.0)
    assert pooling.median([5, 1, 4, 2, 6, 3]) == (3.5, 1.0, 6.0)
    value, *ends = pooling.median([1, 2, 3, 4, 1000])
    assert value == 3
    assert np.isnan(ends).all()


def test_holms_steps_by_hand():
    np.testing.assert_allclose(pooling.holm([0.01, 0.04, 0.03, 0.5]), [0.04, 0.09, 0.09, 0.5])
    np.testing.assert_allclose(pooling.holm([0.9, 0.8]), [1, 1])
    np.testing.assert_allclose(pooling.holm([0.02, np.nan, 0.01]), [0.02, np.nan, 0.02])
    assert pooling.holm([]).size == 0


def made(between, within, effect, groups=8, studies=3000):
    """Studies of groups whose mean effect is that: each one's mean and error."""
    generator = np.random.default_rng(1)
    drawn = generator.normal(effect, math.hypot(between, within), (studies, groups))
    return drawn.mean(axis=1), drawn.std(axis=1, ddof=1) / math.sqrt(groups)


def test_what_is_detectable_is_found_in_four_of_five_studies():
    effect = pooling.detectable(0.1, 0.05, 8, tests=6)
    mean, error = made(0.1, 0.05, effect)
    found = np.abs(mean) / error > stats.t.isf(0.05 / 6 / 2, 7)
    assert found.mean() == pytest.approx(0.8, abs=0.025)
    assert pooling.detectable(0.1, 0.05, 16, tests=6) < effect
    assert pooling.detectable(0.1, 0.05, 8, tests=24) > effect


def test_within_the_least_margin_nothing_is_shown_to_be_nothing_in_four_of_five_studies():
    margin = pooling.least_margin(0.1, 0.05, 8, tests=6)
    mean, error = made(0.1, 0.05, 0.0)
    shown = np.abs(mean) + stats.t.isf(0.05 / 6, 7) * error < margin
    assert shown.mean() == pytest.approx(0.8, abs=0.025)
