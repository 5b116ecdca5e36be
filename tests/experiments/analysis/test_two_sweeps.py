"""Two sweeps side by side: what is matched, and the numbers by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from experiments.analysis import study, tables, two_sweeps
from experiments.usage import UsageError
from tests.experiments.written import manifest, record

REFERENCE = record("climatology_clipped", "wind", mse=0.5)


def clip(errors, strategy="clip", **more):
    """A cell for each seed."""
    return [record(strategy, "wind", seed=seed, mse=mse, **more) for seed, mse in errors.items()]


def compared(first, second, *, plans=({}, {})):
    one, other = (
        study.read(manifest(["wind"], **plan), records)
        for plan, records in zip(plans, (first, second), strict=True)
    )
    return two_sweeps.compare(one, other)


def test_skill_is_paired_by_seed():
    """The seeds that only one has count nowhere."""
    first = [REFERENCE, *clip({0: 0.25, 1: 0.30, 2: 0.20, 7: 9.0})]
    second = [REFERENCE, *clip({0: 0.20, 1: 0.26, 2: 0.14, 8: 9.0})]
    found, _ = compared(first, second).differences
    gains = [0.1, 0.08, 0.12]
    assert found.place == ("clip", "wind", "bottleneck")
    assert (found.metric, found.seeds) == ("skill", 3)
    np.testing.assert_allclose(found.means, [0.5, 0.6])
    ends = stats.ttest_1samp(gains, 0).confidence_interval(0.95)
    np.testing.assert_allclose([found.change.low, found.change.high], ends)
    assert found.change.value == pytest.approx(0.1)


def test_without_the_baseline_the_error_is_compared_as_a_share():
    (found,) = compared(clip({0: 0.2, 1: 0.4}), [*clip({0: 0.1, 1: 0.2})]).differences
    assert found.metric == "mse"
    np.testing.assert_allclose(found.means, [0.3, 0.15])
    # Each seed halves: however seeds are drawn, the ratio of means is a half.
    change = found.change
    np.testing.assert_allclose([change.value, change.low, change.high], -0.5)
    one_has_it = compared([REFERENCE, *clip({0: 0.2})], clip({0: 0.1})).differences
    assert [(one.place[0], one.metric) for one in one_has_it] == [("clip", "mse")]
    (nothing,) = compared(clip({0: 0.0}), clip({0: 0.1})).differences
    assert np.isnan(nothing.change.value)


@pytest.mark.parametrize("reference", [[], [REFERENCE]])
def test_what_shares_no_seed_or_but_one_has_no_interval(reference):
    apart = compared([*reference, *clip({0: 0.2, 1: 0.3})], [*reference, *clip({2: 0.3, 3: 0.2})])
    assert (apart.differences[0].seeds, apart.differences[0].change.value) == (0, 0)
    single = compared([*reference, *clip({0: 0.25})], [*reference, *clip({0: 0.2})])
    for found in (apart, single):
        assert np.isnan([found.differences[0].change.low, found.differences[0].change.high]).all()
    assert abs(single.differences[0].change.value) == pytest.approx(0.1 if reference else 0.2)


def test_other_data_are_named_and_nothing_of_them_is_paired():
    first = [REFERENCE, *clip({0: 0.2, 1: 0.3})]
    second = [replace(one, cell=replace(one.cell, data_hash="1")) for one in first]
    found = compared(first, second)
    assert found.other_data == ("wind",)
    assert all(np.isnan(one.change.low) for one in found.differences)
    assert {row[-1] for row in two_sweeps.table(found).rows} == {"no"}
    same = compared(first, first)
    assert same.other_data == ()
    assert (same.differences[0].change.low, same.differences[0].change.high) == (0, 0)
    assert {row[-1] for row in two_sweeps.table(same).rows} == {"yes"}


def test_what_only_one_has_what_failed_and_which_settings_differ():
    first = [*clip({0: 0.2}), *clip({0: 0.2}, "hinge"), *clip({1: None}, "clip", error="diverged")]
    more = [record("clip", "flights", mse=0.1), record("clip", "wind", "conditioned", mse=0.1)]
    changed = [
        replace(one, cell=replace(one.cell, model={**one.cell.model, "hidden": 99}))
        for one in (*clip({0: 0.2}), *more)
    ]
    plans = {"versions": {"jax": "1"}}, {"versions": {"jax": "2"}, "processor": "a new one"}
    found = compared(first, changed, plans=plans)
    assert found.alone == (
        (("hinge", "wind", "bottleneck"),),
        (("clip", "wind", "conditioned"), ("clip", "flights", "bottleneck")),
    )
    assert found.failed == (1, 0)
    assert found.settings == {
        "hidden": ("8", "99"),
        "jax": ("1", "2"),
        "processor": ("", "a new one"),
    }


def test_sweeps_with_nothing_in_common_are_refused():
    with pytest.raises(UsageError, match="The first has clip on wind on bottleneck; the second"):
        compared(clip({0: 0.2}), clip({0: 0.2}, "hinge"))
    with pytest.raises(UsageError, match="the second has none that is finished"):
        compared(clip({0: 0.2}), clip({0: None}, error="diverged"))


def test_the_table_has_every_difference_with_its_interval():
    first = [REFERENCE, *clip({0: 0.25, 1: 0.30})]
    found = compared(first, [REFERENCE, *clip({0: 0.20, 1: 0.26})])
    header, *lines = tables.to_csv(two_sweeps.table(found)).splitlines()
    assert header.startswith("strategy,dataset,backbone,metric,first,second,change,change_low,")
    assert len(lines) == 2
    assert lines[0].startswith("clip,wind,bottleneck,skill,0.4")
