"""What the planned comparisons say, and the tables that they stand in."""

import csv
import io
import math

import numpy as np
import pytest
from scipy import stats

from experiments.analysis import columns, planned, planned_tables, pooling, study, tables
from experiments.analysis.effects import AGAINST, Effect
from experiments.analysis.planned import PLANNED
from experiments.analysis.study import Choice
from experiments.training.baselines import BASELINES
from experiments.training.strategies import TRAINED
from tests.experiments import written

GROUPS = [name for name in written.STUDY if written.DATASETS[name].group == name]


def effects_of(*values, error=0.002):
    return {
        f"group {place}": Effect(value, error, 9, "seeds", value, value, 10)
        for place, value in enumerate(values)
    }


def around(mean, spread, groups=8):
    """Effects with that mean and that standard deviation."""
    values = stats.norm.ppf((np.arange(groups) + 0.5) / groups)
    return effects_of(*(mean + spread * values / values.std(ddof=1)))


def verdicts(**by_strategy):
    return {one.strategy: one.verdict for one in planned.compare({"mlp": by_strategy})}


def test_at_most_six_are_planned_each_of_the_table_and_with_its_question():
    assert len(PLANNED) <= 6
    assert all(question.endswith("?") for question in PLANNED.values())
    assert TRAINED.keys() > {AGAINST, *PLANNED}
    assert AGAINST not in PLANNED


def test_a_verdict_is_one_of_four():
    assert verdicts(
        clip=around(0.2, 0.03),
        straight_through_clip=around(0.0, 0.01),
        smooth_clip=around(0.03, 0.2),
        tanh_interval=around(-0.2, 0.03),
        unconstrained=around(1.0, 0.01),
    ) == {
        "clip": "worse",
        "straight_through_clip": "equivalent",
        "smooth_clip": "open",
        "tanh_interval": "better",
    }


def test_a_difference_that_does_not_count_is_equivalent():
    (one,) = planned.compare({"mlp": {"clip": around(0.01, 0.004)}})
    assert one.p_difference < 0.05
    assert one.verdict == "equivalent"


def test_of_few_groups_there_is_no_verdict():
    assert verdicts(clip=around(0.5, 0.01, 5)) == {"clip": "open"}
    assert verdicts(clip=around(0.5, 0.01, 6)) == {"clip": "worse"}
    assert verdicts(clip=effects_of(0.5)) == {"clip": "open"}
    assert planned.compare({}) == []


def test_p_values_are_adjusted_for_every_backbone_together():
    one = {"clip": around(0.05, 0.05), "smooth_clip": around(0.2, 0.1)}
    other = {"clip": around(0.02, 0.05)}
    found = planned.compare({"mlp": one, "gru": other})
    assert [(each.strategy, each.backbone) for each in found] == [
        ("clip", "mlp"),
        ("clip", "gru"),
        ("smooth_clip", "mlp"),
    ]
    values = [[one.value for one in each.effects.values()] for each in found]
    alone = [pooling.p_signed_rank(of) for of in values]
    np.testing.assert_allclose([each.p_difference for each in found], pooling.holm(alone))
    alone = [pooling.p_within(of, math.log(1.05)) for of in values]
    np.testing.assert_allclose([each.p_equivalence for each in found], pooling.holm(alone))


def test_within_and_between_make_the_error_of_the_mean():
    (one,) = planned.compare({"mlp": {"clip": around(0.1, 0.05)}})
    spread = math.hypot(one.within, one.pooled.between)
    assert spread / math.sqrt(8) == pytest.approx(one.pooled.error)
    assert one.within == pytest.approx(0.002)


def test_one_enormous_ratio_pulls_the_mean_and_decides_nothing():
    effects = around(0.0, 0.01, 15) | {"odd": Effect(7.0, 0.1, 9, "seeds", 7.0, 7.0, 10)}
    (one,) = planned.compare({"mlp": {"clip": effects}})
    assert one.pooled.mean == pytest.approx(7 / 16, rel=0.05)
    assert one.center[0] < 0.01
    assert one.verdict == "equivalent"
    assert pooling.median([each.median for each in effects.values()])[0] < 0.01
    effects = around(0.2, 0.05, 15) | {"odd": Effect(-7.0, 0.1, 9, "seeds", -7.0, -7.0, 10)}
    (one,) = planned.compare({"mlp": {"clip": effects}})
    assert one.pooled.mean < 0 < one.center[0]
    assert one.verdict == "worse"


def test_with_groups_alike_an_erratic_one_weighs_as_much():
    effects = effects_of(*[0.0] * 7) | {"odd": Effect(0.8, 0.5, 9, "seeds", 0.0, math.nan, 10)}
    (one,) = planned.compare({"mlp": {"clip": effects}})
    assert one.pooled.mean < 0.01
    assert planned.alike(effects.values()).mean == pytest.approx(0.1)
    assert planned.started(effects.values()) == 0  # of those in which some run starts
    assert math.isnan(planned.started([effects["odd"]]))


def test_ranks_share_ties_and_average_over_groups():
    effects = {
        "clip": effects_of(0.0, 0.0),
        "smooth_clip": effects_of(0.0, -1.0),
        "hinge": effects_of(1.0, 1.0),
        "relu_offset": effects_of(1.0),
    }
    found = planned.average_ranks(effects, effects)
    assert found == {"clip": 1.75, "smooth_clip": 1.25, "hinge": 3.0}
    assert planned.average_ranks({}, []) == {}


def rows_of(table):
    return list(csv.DictReader(io.StringIO(tables.to_csv(table))))


@pytest.fixture(scope="module")
def whole():
    return study.read(written.manifest(GROUPS), written.sweep(GROUPS))


def test_the_table_has_each_comparison_with_what_it_rests_on(whole):
    rows = rows_of(planned_tables.comparisons(whole))
    there = [name for name in PLANNED if name in written.STRATEGIES]
    assert [(row["strategy"], row["backbone"]) for row in rows] == [
        (name, backbone) for name in there for backbone in written.BACKBONES
    ]
    found = {(one.strategy, one.backbone): one for one in whole.comparisons}
    for row in rows:
        one = found[row["strategy"], row["backbone"]]
        assert float(row["change"]) == pytest.approx(math.expm1(one.pooled.mean))
        assert float(row["change_low"]) == pytest.approx(math.expm1(one.pooled.interval[0]))
        assert float(row["prediction_high"]) == pytest.approx(math.expm1(one.pooled.prediction[1]))
        assert float(row["median_low"]) <= float(row["median"]) <= float(row["median_high"])
        assert (row["groups"], row["verdict"]) == (str(len(GROUPS)), one.verdict)
        assert float(row["never_start"]) == 0
        outside = written.OUTSIDE.get(row["strategy"], 0.0)
        assert float(row["violation_rate"]) == pytest.approx(outside)
    by_group = rows_of(planned_tables.by_group(whole))
    assert len(by_group) == len(rows) * len(GROUPS)
    assert {row["over"] for row in by_group} == {"seeds"}
    notes = " ".join(planned_tables.comparisons(whole).notes)
    assert f"Holm for {len(rows)} comparisons" in notes
    assert "within 5 %" in notes


def test_gains_are_held_beside_how_often_the_free_network_is_outside():
    outside = dict(zip(GROUPS, (0.0, 0.1, 0.2, 0.3), strict=False))
    assert len(outside) == 4
    records = [
        written.record(name, dataset, seed=seed, mse=error, violation_rate=share)
        for dataset, share in outside.items()
        for seed in range(2)
        for name, error in {
            "unconstrained": 0.5,
            "clip_at_evaluation": 0.4,
            "clip": 0.4 - share,
            "smooth_clip": 0.4,
        }.items()
    ]
    found = study.read(written.manifest(list(outside)), records)
    rows = {row["strategy"]: row for row in rows_of(planned_tables.comparisons(found))}
    assert float(rows["clip"]["correlation_outside"]) == pytest.approx(-1)
    assert rows["smooth_clip"]["correlation_outside"] == ""  # the same everywhere
    by_group = rows_of(planned_tables.by_group(found))
    shares = {row["group"]: float(row["outside"]) for row in by_group}
    assert sorted(shares.values()) == pytest.approx(list(outside.values()))


def test_groups_that_are_clear_by_themselves_are_counted():
    ratios = {GROUPS[0]: 0.5, GROUPS[1]: 2.0, GROUPS[2]: 1.0, GROUPS[3]: 0.5}
    records = [
        written.record(name, dataset, backbone, seed, mse=factor * (1 + 0.01 * noise))
        for dataset, ratio in ratios.items()
        for backbone in written.BACKBONES
        for seed, noise in enumerate((0, 1, 2))
        for name, factor, noise in (
            ("clip", ratio, noise),
            ("clip_at_evaluation", 1.0, (noise * 2) % 3),
        )
    ]
    found = rows_of(planned_tables.clear(study.read(written.manifest(list(ratios)), records)))
    one = {"strategy": "clip", "better": "2", "worse": "1", "of": "4"}
    whole = {"strategy": "clip", "backbone": "all", "better": "4", "worse": "2", "of": "8"}
    assert found == [one | {"backbone": of} for of in written.BACKBONES] + [whole]


def test_every_strategy_stands_beside_with_its_rank(whole):
    rows = {row["strategy"]: row for row in rows_of(planned_tables.every_strategy(whole))}
    assert rows.keys() == {*written.STRATEGIES}
    assert float(rows[AGAINST]["change_bottleneck"]) == 0
    planned_row = rows_of(planned_tables.comparisons(whole))[0]
    assert rows["clip"]["change_bottleneck_low"] == planned_row["change_low"]
    assert float(rows["bound"]["change_bottleneck"]) > 3
    assert rows["bound"]["rank_bottleneck"] == rows["bound"]["never_start_bottleneck"] == ""
    ranks = [float(row["rank_bottleneck"] or 0) for row in rows.values()]
    trained = len(written.STRATEGIES) - len(BASELINES)
    assert sum(ranks) == pytest.approx(trained * (trained + 1) / 2)


def test_a_choice_shows_its_own_and_adjusts_for_all():
    records = written.sweep(GROUPS[:7], seeds=2)
    every = rows_of(planned_tables.comparisons(study.read({}, records)))
    few = study.read({}, records, Choice(strategies=["clip"]))
    shown = rows_of(planned_tables.comparisons(few))
    assert shown == [row for row in every if row["strategy"] == "clip"]
    names = [row["strategy"] for row in rows_of(planned_tables.every_strategy(few))]
    assert names == ["clip"]


def test_runs_that_never_start_are_listed_with_their_seeds():
    records = written.sweep(["wind", "flights"])
    for record in records:
        cell = record.cell
        if cell.strategy == "clip" and cell.seed in (1, 3) and cell.backbone == "conditioned":
            record.metrics["gradient_dead_fraction"] = 1.0
    found = study.read({}, records)
    rows = rows_of(planned_tables.never_start(found))
    assert [(row["strategy"], row["backbone"], row["dataset"]) for row in rows] == [
        ("clip", "conditioned", "flights"),
        ("clip", "conditioned", "wind"),
    ]
    assert {(row["runs"], row["of"], row["seeds"]) for row in rows} == {("2", "5", "1, 3")}
    (row,) = [
        row
        for row in rows_of(planned_tables.comparisons(found))
        if (row["strategy"], row["backbone"]) == ("clip", "conditioned")
    ]
    assert float(row["never_start"]) == pytest.approx(0.4)


def test_what_could_have_been_shown_follows_from_the_spreads(whole):
    rows = rows_of(planned_tables.power(whole))
    (one,) = [
        each
        for each in whole.comparisons
        if (each.strategy, each.backbone) == (rows[0]["strategy"], rows[0]["backbone"])
    ]
    tests = len(whole.comparisons)
    expected = pooling.detectable(one.pooled.between, one.within, planned.BEFOREHAND, tests)
    assert float(rows[0]["detectable_beforehand"]) == pytest.approx(math.expm1(expected))
    assert float(rows[0]["detectable"]) > 0
    assert planned_tables.power(study.read({}, written.sweep(["wind"]))).rows == []


def test_a_ratio_beyond_all_numbers_is_still_written():
    assert columns.percent_change(1e6).value == math.inf
    assert columns.percent_change(math.log(1.2)).value == pytest.approx(0.2)
