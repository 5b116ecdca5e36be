"""Tables of a study, from records written by hand, and how they are written."""

import csv
import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.analysis import (
    evidence,
    ranking_tables,
    result_tables,
    setup_tables,
    statistics,
    study,
    tables,
)
from experiments.analysis.statistics import Estimate
from experiments.analysis.tables import Column, Table, slug, text_of
from experiments.training.baselines import BASELINES
from tests.experiments import written

TABLE = Table(
    "small",
    "ranking",
    "100 % of `it`",
    (Column("name"), Column("skill", signed=True), Column("share", percent=True)),
    (("a_b & <c>", Estimate(0.5, 0.25, 0.75), 0.1234), ("d", None, 0.0)),
    notes=("A note_",),
)


def rows_of(table):
    return list(csv.DictReader(io.StringIO(tables.to_csv(table))))


def test_csv_holds_plain_numbers_and_intervals_in_columns_of_their_own():
    assert rows_of(TABLE) == [
        {
            "name": "a_b & <c>",
            "skill": "0.5",
            "skill_low": "0.25",
            "skill_high": "0.75",
            "share": "0.1234",
        },
        {"name": "d", "skill": "", "skill_low": "", "skill_high": "", "share": "0.0"},
    ]


def test_latex_is_escaped_and_ruled_by_booktabs():
    text = tables.to_latex(TABLE)
    assert (
        r"{a\_b \& \textless{}c\textgreater{}} & {+0.500 [+0.250, +0.750]} & {12.3 \%} \\" in text
    )
    assert r"{d} & {–} & {0 \%} \\" in text
    assert r"\caption{100 \% of it}" in text
    assert text.count(r"\toprule") == text.count(r"\midrule") == 2
    assert text.count(r"\bottomrule") == 1
    assert r"\noindent A note\_\par" in text


@given(st.text('\\&%$#_{}~^<>|"`\n\r aé', max_size=30))
def test_latex_of_any_name_has_no_sign_that_it_would_read_as_a_command(name):
    text = tables.escape(name)
    for command in {*tables.LATEX.values()} - {"", " "}:
        text = text.replace(command, "")
    assert not set(text) & set("\\&%$#_{}~^\n\r")


@pytest.mark.parametrize(
    ("entry", "column", "text"),
    [
        (0.12345, Column(""), "0.123"),
        (-0.12345, Column(""), "−0.123"),
        (0.0, Column(""), "0"),
        (0.0001, Column(""), "<0.001"),
        (-0.0001, Column(""), ">−0.001"),
        (3, Column(""), "3"),
        (12.625, Column("", digits=1), "12.6"),
        (0.5, Column("", percent=True), "50.0 %"),
        (0.0001, Column("", percent=True), "<0.1 %"),
        (0.5, Column("", signed=True), "+0.500"),
        (Estimate(0.5, 0.4, 0.6), Column("", percent=True), "50.0 % [40.0, 60.0]"),
        (Estimate(0.5), Column(""), "0.500"),
        (Estimate(math.nan), Column(""), "–"),
        (None, Column(""), "–"),
        ("x", Column(""), "x"),
    ],
)
def test_numbers_as_they_are_shown(entry, column, text):
    assert text_of(entry, column) == text


def test_a_column_is_titled_by_its_key_unless_it_says_more():
    assert Column("learning_rate").title == "learning rate"
    assert Column("tried", "points tried").title == "points tried"
    shown = tables.by_backbone(
        ["none"], {Column("r2_lost", "loss", signed=True): lambda of: {of: 1}}
    )
    assert shown == {Column("r2_lost_none", "loss, none", signed=True): {"none": 1}}


def test_anchors_are_of_the_keys_and_fit_an_id():
    anchor = TABLE.anchor(TABLE.rows[0])
    assert anchor.startswith("small-a_b")
    assert re.fullmatch(r"[\w.-]+", anchor)
    assert anchor != TABLE.anchor(TABLE.rows[1])


NAMES = st.text("ab-_./: <é", max_size=200)


@given(NAMES, NAMES)
def test_names_that_differ_have_slugs_that_differ(one, other):
    assert (slug(one) == slug(other)) == (one == other)
    assert re.fullmatch(r"[A-Za-z0-9_.-]*", slug(one))
    assert len(slug(one)) <= 80


DATASETS = [*written.STUDY, "irradiance_soiled", "irradiance_autoencoder", "sines"]


@pytest.fixture(scope="module")
def whole():
    return study.read(written.manifest(DATASETS), written.sweep(DATASETS))


def test_the_headline_is_by_skill_and_shows_what_loses_to_a_baseline(whole):
    rows = rows_of(ranking_tables.headline(whole))
    assert [row["strategy"] for row in rows][:3] == [
        "straight_through_clip",
        "smooth_clip",
        "clip",
    ]
    found = {row["strategy"]: row for row in rows}
    ranking = whole.rankings["conditioned"]
    assert float(found["clip"]["skill_conditioned"]) == ranking.skill["clip"].value
    assert float(found["clip"]["skill_conditioned_low"]) < ranking.skill["clip"].value
    above = {
        name for name in BASELINES if ranking.skill[name].value > ranking.skill["relu_offset"].value
    }
    assert above == {"climatology_clipped", "scaled_bound"}
    assert found["relu_offset"]["baselines_above_conditioned"] == "2"
    assert found["relu_offset"]["baselines_above_bottleneck"] == "2"
    assert found["clip"]["baselines_above_bottleneck"] == "0"
    assert found["bound"]["baselines_above_bottleneck"] == ""
    assert float(found["clip"]["blocked_bottleneck"]) == pytest.approx(0.05)
    assert float(found["climatology_clipped"]["skill_bottleneck"]) == 0
    assert {name for name, row in found.items() if row["guarantee"] == "untrained"} == {*BASELINES}
    assert found["clip"]["guarantee"] == "always"
    assert found["relu_offset"]["guarantee"] == "always (one side)"


def test_skill_is_that_of_the_study_datasets_alone(whole):
    groups = {name: written.DATASETS[name].group for name in written.STUDY}
    expected = statistics.skill_scores(whole.records, "bottleneck", groups)
    assert whole.rankings["bottleneck"].scores.groups == expected.groups
    assert statistics.mean(expected.of("clip")) == whole.rankings["bottleneck"].skill["clip"].value
    assert set(expected.groups) == set(groups.values())


def test_runs_without_skill_are_counted_and_untrained_rows_have_none():
    records = written.sweep(["wind", "flights"], seeds=4)
    (lost,) = [
        one for one in records if one.id == written.record("clip", "wind", "conditioned", 3).id
    ]
    lost.metrics["mse"] = 0.5  # that of the reference
    rows = rows_of(ranking_tables.headline(study.read({}, records)))
    found = {row["strategy"]: row for row in rows}
    assert found["clip"]["failing_conditioned"] == "0.125"
    assert found["clip"]["failing_bottleneck"] == "0.0"
    assert found["relu_offset"]["failing_bottleneck"] == "1.0"
    assert found["climatology_clipped"]["failing_bottleneck"] == ""


def test_only_a_function_of_the_users_own_is_called_one():
    names = ("clip", "budget_softmax", "mine:clip")
    found = study.read({}, [written.record(name, "household_hourly") for name in names])
    rows = {row["strategy"]: row["summary"] for row in rows_of(setup_tables.strategies(found))}
    own = [name for name, summary in rows.items() if summary == "a function of the user's own"]
    assert own == ["mine:clip"]


def test_strategies_for_a_sum_are_not_ranked():
    records = written.sweep(["household_hourly"])
    records += written.sweep(["household_hourly"], ("budget_softmax",))
    found = study.read({}, records)
    assert all("budget_softmax" not in ranking.skill for ranking in found.rankings.values())
    shown = {table.name: {row[0] for row in table.rows} for table in evidence.gather(found)}
    assert "budget_softmax" not in shown["headline"] | shown["every_strategy"]
    assert "budget_softmax" in shown["metrics-household_hourly-bottleneck"]
    assert found.left_out == ()


def test_a_share_counts_each_group_once():
    """Two datasets of one group, one of another."""
    datasets = ["diffuse_greensboro", "diffuse_sand_point", "wind"]
    rates = dict(zip(datasets, (0.2, 0.4, 0.0), strict=True))
    records = [
        written.record(strategy, name, violation_rate=rates[name])
        for strategy in ("unconstrained", "clip", "climatology_clipped")
        for name in datasets
    ]
    ranking = study.read({}, records).rankings["bottleneck"]
    assert ranking.shares["clip"]["violation_rate"] == pytest.approx(0.15)
    assert math.isnan(ranking.shares["climatology_clipped"]["blocked_fraction"])


def test_datasets_of_other_roles_have_tables_of_their_own(whole):
    found = evidence.gather(whole)
    assert [table.name for table in found if table.section == "collapse"] == [
        "collapse-irradiance_autoencoder",
        "collapse-sines",
    ]
    (wrong,) = [table for table in found if table.section == "wrong"]
    assert wrong.name == "wrong_bound-irradiance_soiled"
    assert list(dict.fromkeys(of.dataset for of in found if of.dataset)) == whole.every_dataset
    (row,) = [row for row in rows_of(wrong) if row["strategy"] == "clip"]
    measured = whole.measured("irradiance_soiled", "bottleneck")
    one, other = (measured[name]["mse"].mean for name in ("clip", "unconstrained"))
    assert float(row["ratio_bottleneck"]) == pytest.approx(one / other)
    low, high = float(row["ratio_bottleneck_low"]), float(row["ratio_bottleneck_high"])
    assert low < one / other < high


def test_the_ratio_of_errors_pairs_runs_of_the_same_seed():
    """Seeds differ, and on each the other has twice the error: the ratio has no width."""
    errors = {"unconstrained": 1.0, "clip": 2.0, "bound": 4.0}
    records = [
        written.record(
            name, "irradiance_soiled", seed=seed, mse=error * (1 + (name != "bound") * seed)
        )
        for name, error in errors.items()
        for seed in range(3)
    ]
    records = list({one.id: one for one in records}.values())
    records.append(written.record("smooth_clip", "irradiance_soiled", seed=7))
    table = result_tables.wrong_bound(study.read({}, records), "irradiance_soiled")
    rows = {row["strategy"]: row for row in rows_of(table)}
    found = [float(rows["clip"][f"ratio_bottleneck{end}"]) for end in ("", "_low", "_high")]
    assert found == pytest.approx([2, 2, 2])
    assert float(rows["bound"]["ratio_bottleneck"]) == pytest.approx(2)
    assert rows["unconstrained"]["ratio_bottleneck"] == "1.0"
    assert rows["unconstrained"]["ratio_bottleneck_low"] == ""
    single = study.read({}, [one for one in records if one.cell.seed == 0])
    (row,) = [
        row
        for row in rows_of(result_tables.wrong_bound(single, "irradiance_soiled"))
        if row["strategy"] == "clip"
    ]
    assert row["ratio_bottleneck"] == "2.0"
    assert row["ratio_bottleneck_low"] == ""
    assert rows["smooth_clip"]["ratio_bottleneck"] == ""  # no seed in common


def test_the_ranking_is_the_mean_of_skills_group_by_group(whole):
    ranking = whole.rankings["conditioned"]
    table = ranking_tables.skills_by_group(whole, "conditioned")
    assert [column.key for column in table.columns[1:]] == list(ranking.scores.groups)
    for row in rows_of(table):
        skills = [float(row[name]) for name in ranking.scores.groups]
        expected = ranking.skill[row["strategy"]].value
        assert sum(skills) / len(skills) == pytest.approx(expected, abs=1e-12)


def test_a_run_that_fails_on_one_dataset_of_a_group_counts_as_half_of_one():
    """One seed of five has no skill on a dataset of two, though some over the group."""
    records = written.sweep(["dew_point_jfk", "dew_point_ewr", "wind"])
    for record in records:
        cell = record.cell
        if cell.strategy == "clip":
            lost = (cell.dataset, cell.seed) == ("dew_point_jfk", 2)
            record.metrics["mse"] = 0.6 if lost else 0.1
    ranking = study.read({}, records).rankings["bottleneck"]
    assert ranking.scores.groups == ("dew_point", "wind")
    assert (ranking.scores.of("clip") > 0).all()
    assert ranking.failing["clip"] == pytest.approx(1 / 5 / 2 / 2)


def test_a_strategy_has_no_row_on_a_dataset_that_it_did_not_run_on():
    kinds = {"irradiance_autoencoder": "collapse", "irradiance_soiled": "wrong_bound"}
    records = written.sweep(list(kinds), seeds=1) + written.sweep(["wind"], ["budget_softmax"])
    found = {table.name: table for table in evidence.gather(study.read({}, records))}
    assert "budget_softmax" in study.read({}, records).strategies
    for dataset, kind in kinds.items():
        there = [row["strategy"] for row in rows_of(found[f"{kind}-{dataset}"])]
        assert sorted(there) == sorted(written.STRATEGIES)


def test_metrics_are_means_with_intervals_over_seeds(whole):
    table = result_tables.metrics(whole, "wind", "conditioned")
    assert table.name == "metrics-wind-conditioned"
    (row,) = [row for row in rows_of(table) if row["strategy"] == "clip"]
    spread = whole.measured("wind", "conditioned")["clip"]["mse"]
    assert (float(row["mse_low"]), float(row["mse_high"])) == spread.interval
    assert row["seeds"] == "5"
    assert "leaves out the sampling of the data" in table.notes[0]


def test_an_interval_ends_where_the_metric_does():
    rates = {0: 0.0, 1: 1.0}
    records = [
        written.record(
            "clip", "wind", seed=seed, violation_rate=rate, r2=rate, violation_mean=2 + rate
        )
        for seed, rate in rates.items()
    ]
    (row,) = rows_of(result_tables.metrics(study.read({}, records), "wind", "bottleneck"))
    assert (row["violation_rate_low"], row["violation_rate_high"]) == ("0.0", "1.0")
    assert float(row["r2_low"]) < -5
    assert row["r2_high"] == "1.0"
    assert float(row["violation_mean_high"]) > 3


def test_what_was_chosen_is_there_with_its_error_on_validation():
    tried = {0.001: 0.4, 0.003: 0.2, 0.01: 0.3}
    records = [
        written.record("clip", "wind", seed=seed, phase="tune", mse=mse, learning_rate=rate)
        for rate, mse in tried.items()
        for seed in (1000, 1001)
    ]
    records += [written.record("clip", "wind", learning_rate=0.003)]
    (row,) = rows_of(setup_tables.chosen(study.read({}, records)))
    assert (row["learning_rate"], float(row["validation_mse"]), row["tried"]) == ("0.003", 0.2, "3")


def test_how_runs_ended_and_which_rates_were_taken_is_counted():
    rates = 0.001, 0.003, 0.01
    places = [("clip", "wind", rates[0]), ("clip", "flights", rates[1]), ("bound", "wind", None)]
    records = [
        written.record(strategy, dataset, seed=1000, phase="tune", learning_rate=rate)
        for strategy, dataset, _ in places[:2]
        for rate in rates
    ]
    finals = [
        written.record(strategy, dataset, seed=seed, learning_rate=taken, gradient_dead_fraction=0)
        for strategy, dataset, taken in places
        for seed in range(2)
    ]
    finals[0].metrics["gradient_dead_fraction"] = 1.0
    curves = {0: [3.0, np.nan, 2.0], 1: [1.0, 3.0, 2.0], 2: [3.0, 1.0], 3: [np.nan, np.nan]}
    epochs = {0: [0, 1, 2], 1: [0, 1, 2], 2: [0, 1], 3: [0, 2]}  # at most 2
    arrays = {
        finals[one].id: {"history_mse": np.array(of), "history_epoch": np.array(epochs[one])}
        for one, of in curves.items()
    }
    row, whole = rows_of(setup_tables.checks(study.read({}, records + finals, arrays=arrays)))
    assert whole == row | {"backbone": "all"}
    assert row == {
        "backbone": "bottleneck",
        "runs": "4",
        "to_the_end": "0.75",
        "best_at_the_end": "0.5",
        "never_start": "0.25",
        "choices": "2",
        "at_an_edge": "0.5",
    }


def test_nothing_is_said_of_how_runs_ended_where_nothing_is_known():
    row, _ = rows_of(setup_tables.checks(study.read({}, [written.record("clip", "wind")])))
    assert (row["runs"], row["to_the_end"], row["choices"], row["at_an_edge"]) == ("1", "", "", "")


def test_failed_cells_are_listed_with_their_reasons():
    records = written.sweep(["wind"], seeds=2)
    records.append(written.record("exp_offset", "wind", error="loss is not finite"))
    found = study.read({}, records)
    (row,) = rows_of(setup_tables.failed(found))
    assert (row["strategy"], row["reason"]) == ("exp_offset", "loss is not finite")
    counted = {row["strategy"]: row["failed"] for row in rows_of(ranking_tables.headline(found))}
    assert (counted["exp_offset"], counted["clip"]) == ("1", "0")


def test_a_dataset_without_every_seed_is_left_out_and_said():
    records = written.sweep(["wind", "flights"], seeds=3)
    lost = written.record("clip", "flights", seed=2).id
    found = study.read({}, [record for record in records if record.id != lost])
    assert found.rankings["bottleneck"].scores.groups == ("wind",)
    assert found.rankings["conditioned"].scores.groups == ("flights", "wind")
    assert found.left_out == (
        "flights: unconstrained and clip do not have every seed (bottleneck)",
    )


def test_two_versions_of_a_dataset_take_no_other_out_of_the_ranking():
    records = written.sweep(["wind", "flights"], seeds=3)
    for record in written.sweep(["wind"], seeds=3):
        records.append(replace(record, cell=replace(record.cell, data_hash="1")))
    found = study.read({}, records)
    assert found.left_out == ()
    assert found.rankings["bottleneck"].scores.groups == ("flights", "wind")


def test_a_dataset_that_the_plan_has_not_finished_takes_no_strategy_out_of_the_ranking():
    datasets = ["wind", "flights"]
    records = written.sweep(datasets)
    lost = [
        written.record("smooth_clip", "flights", of, seed).id
        for of in written.BACKBONES
        for seed in range(5)
    ]
    rest = [record for record in records if record.id not in lost]
    found = study.read(written.manifest(datasets), rest)
    assert found.missing == {"flights": 10}
    assert found.left_out == ("flights: incomplete",)
    for ranking in found.rankings.values():
        assert ranking.scores.groups == ("wind",)
        assert "smooth_clip" in ranking.skill


def test_what_is_missing_is_missing_of_a_sessions_plan():
    """Two sessions, each with strategies and datasets that the other has not."""
    plan = written.manifest([])["plan"] | {"seeds": 1, "backbones": ["bottleneck"]}
    sessions = [
        {"plan": {**plan, "strategies": ["clip", "bound"], "datasets": ["wind"]}},
        {"plan": {**plan, "strategies": ["clip", "smooth_clip"], "datasets": ["flights"]}},
    ]
    records = [
        written.record("clip", "wind"),
        written.record("bound", "wind"),
        written.record("clip", "flights"),
    ]
    found = study.read(written.manifest([], sessions=sessions), records)
    assert found.missing == {"flights": 1}


def test_a_strategy_without_every_seed_is_left_out_and_said():
    records = written.sweep(["wind"], seeds=3)
    lost = written.record("smooth_clip", "wind", seed=2).id
    found = study.read({}, [record for record in records if record.id != lost])
    assert "smooth_clip" not in found.rankings["bottleneck"].skill
    assert found.left_out == ("smooth_clip: not every seed on every dataset (bottleneck)",)


def test_strategies_with_more_seeds_are_ranked_by_those_that_all_have():
    records = written.sweep(["wind", "flights"], seeds=8)
    few = [one for one in records if one.cell.strategy != "smooth_clip" or one.cell.seed < 5]
    ranking = study.read({}, few).rankings["bottleneck"]
    assert ranking.seeds == 5
    assert (
        ranking.skill
        == study.read({}, written.sweep(["wind", "flights"])).rankings["bottleneck"].skill
    )
    fewer = [one for one in few if one.cell.strategy != "smooth_clip" or one.cell.seed < 4]
    found = study.read({}, fewer)
    assert found.rankings["bottleneck"].seeds == 8
    assert "smooth_clip: not every seed on every dataset (bottleneck)" in found.left_out


def test_latex_of_a_studys_tables_needs_no_other_fonts(whole):
    """Beyond ASCII there are letters and a dash alone."""
    texts = [tables.to_latex(table) for table in evidence.gather(whole)]
    odd = {sign for text in texts for sign in text if ord(sign) > 127 and not sign.isalpha()}
    assert odd <= {"–"}


def test_who_holds_a_bounded_sum_is_shown_where_there_is_one():
    records = [
        written.record(name, dataset, seed=seed, **sums, jacobian_rank_fraction=rank)
        for name, far, rank in (("unconstrained", 0.5, 1.0), ("budget_softmax", 0.0, 0.5))
        for dataset, sums in (
            ("closure_greensboro", {"sum_violation_rate_1e-4": far, "sum_violation_max": 3 * far}),
            ("sines", {"sum_violation_rate_1e-4": None, "sum_violation_max": None}),
        )
        for seed in range(2)
    ]
    records.append(written.record("clip", "sines"))
    found = study.read(written.manifest(["closure_greensboro", "sines"]), records)
    (table,) = [table for table in evidence.gather(found) if table.section == "sums"]
    assert table.name == "sums-closure_greensboro"
    rows = {row["strategy"]: row for row in rows_of(table)}
    assert rows.keys() == {"unconstrained", "budget_softmax"}
    shown = ("sum_violation_bottleneck", "sum_farthest_bottleneck", "jacobian_rank_bottleneck")
    assert [float(rows["unconstrained"][key]) for key in shown] == [0.5, 1.5, 1]
    assert [float(rows["budget_softmax"][key]) for key in shown] == [0, 0, 0.5]


def test_settings_say_which_networks_and_data_are_no_lstm_and_not_of_the_table():
    def said(records):
        rows = rows_of(setup_tables.settings(study.read({}, records)))
        return {row["setting"]: row["value"] for row in rows}

    usual = said([written.record("clip", "wind")])
    own = said([written.record("clip", "prices"), written.record("clip", "wind", "mine:Net")])
    assert usual["network"].startswith("LSTM encoder")
    assert own["network"] == f"bottleneck, conditioned: {usual['network']}; another: mine:Net"
    assert own["splits"] == f"{usual['splits']}; of prices by its file, or 70/15/15 in order"
