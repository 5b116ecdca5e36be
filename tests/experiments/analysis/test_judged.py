"""The rule of share, level and distance, judged on records written by hand."""

import csv
import io
import math

import numpy as np
import pytest

from experiments.analysis import judged, question_tables, study, tables
from experiments.analysis.effects import AGAINST, runs
from experiments.analysis.judged import FIRST, agreement, gain, judge
from experiments.data.catalogue import DATASETS
from experiments.training.strategies import TRAINED
from tests.experiments import written

SHARE, LEVEL, DISTANCE = ({"level": 1.0, "share": 0.5, "distance": 2.0},
                          {"level": 1.0, "share": 2.0, "distance": 3.0},
                          {"level": 1.0, "share": math.nan, "distance": 0.1})  # fmt: skip
FITS = {"parking": SHARE, "crime": LEVEL, "gasoline": DISTANCE, "wind": SHARE}
RATIOS = {
    "parking": {"tanh_interval": 0.5, "softplus_offset": 2.0},
    "crime": {"tanh_interval": 0.9, "softplus_offset": 1.1},
    "gasoline": {"tanh_interval": 0.8, "softplus_offset": 0.25},
    "wind": {"tanh_interval": 3.0, "softplus_offset": 2.0},
}
GROUPS = {name: name for name in FITS}


def records():
    return [
        written.record(name, dataset, "mlp", seed, mse=(1 + seed) * ratio)
        for dataset, ratios in RATIOS.items()
        for name, ratio in {AGAINST: 1.0, **ratios}.items()
        for seed in range(3)
    ]


@pytest.fixture(scope="module")
def found():
    return judge(runs(records(), {}), GROUPS, ["bottleneck", "mlp"], FITS.__getitem__)


def test_signs_are_told_where_a_kind_fits_better_than_a_level(found):
    by_name = {one.dataset: one for one in found}
    assert {name: one.agrees("share") for name, one in by_name.items()} == {
        "parking": True,
        "crime": False,
        "gasoline": None,
        "wind": False,
    }
    assert all(one.agrees("distance") for one in found)
    assert {name: one.choice for name, one in by_name.items()} == {
        "parking": "share",
        "crime": "level",
        "gasoline": "distance",
        "wind": "share",
    }
    assert {name for name, one in by_name.items() if one.is_new} == FITS.keys() - {"wind"}
    assert {one.backbone for one in found} == {"mlp"}


def test_agreement_is_counted_with_an_exact_interval(found):
    told, among, rate = agreement([one for one in found if one.is_new], "distance")
    assert (told, among, rate.value) == (3, 3, 1)
    assert (rate.low, rate.high) == (pytest.approx(0.025 ** (1 / 3)), 1)
    told, among, rate = agreement(found, "share")
    assert (told, among) == (1, 3)
    assert rate.low < 1 / 3 < rate.high
    none = agreement([], "share")
    assert none[:2] == (0, 0)
    assert math.isnan(none[2].value)


def test_the_gain_is_of_what_the_rule_takes(found):
    new = [one for one in found if one.is_new]
    expected = [math.log(0.5), 0.0, math.log(0.25)]
    assert [one.gain for one in new] == pytest.approx(expected)
    assert gain(new).mean == pytest.approx(np.mean(expected))
    assert gain(new).groups == 3
    assert gain([]) is None


def test_a_choice_that_was_not_run_says_nothing():
    part = [one for one in records() if one.cell.strategy != "softplus_offset"]
    found = {one.dataset: one for one in judge(runs(part, {}), GROUPS, ["mlp"], FITS.__getitem__)}
    assert found["gasoline"].choice is None
    assert gain([found["gasoline"]]) is None
    assert found["gasoline"].agrees("distance") is None
    assert found["parking"].choice == "share"


def test_fits_that_are_exact_or_alike_lean_as_they_must():
    def lean(share, level):
        return judged.Judged("a", "a", "mlp", {"share": share, "level": level}, {}).lean("share")

    assert lean(0.0, 1.0) == -math.inf
    assert lean(1.0, 0.0) == math.inf
    assert math.isnan(lean(0.0, 0.0))
    assert math.isnan(lean(math.nan, 1.0))
    assert lean(1.0, 1.0) == 0


def test_the_first_study_is_named_by_groups_that_there_are():
    assert {entry.group for entry in DATASETS.values()} > set(FIRST)
    assert TRAINED.keys() > set(judged.CHOICE.values())


def test_tables_have_every_dataset_and_let_new_groups_alone_decide():
    part = [one for one in records() if one.cell.dataset in ("crime", "wind")]
    found = study.read({}, part)
    rows = {row["dataset"]: row for row in csv_of(question_tables.rule(found))}
    assert {name: row["is_new"] for name, row in rows.items()} == {"crime": "yes", "wind": "no"}
    fits = judged.fits_of("crime")
    assert float(rows["crime"]["fit_level"]) == pytest.approx(fits["level"])
    assert float(rows["crime"]["change_share"]) == pytest.approx(-0.1)
    groups = {row["those"]: row for row in csv_of(question_tables.rule_agreement(found))}
    assert groups["new groups"]["of_distance"] == "1"
    told = sum(row["told_distance"] == "yes" for row in rows.values() if row["is_new"] == "yes")
    assert groups["new groups"]["told_distance"] == str(told)
    assert groups["groups of the first study"]["of_share"] == "1"
    assert question_tables.rule_agreement(study.read({}, [])).rows == []


def csv_of(table):
    return list(csv.DictReader(io.StringIO(tables.to_csv(table))))
