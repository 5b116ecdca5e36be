"""Dials, starts and soft strategies: what is compared with what."""

import csv
import io
import math
from dataclasses import replace

import pytest

from experiments.analysis import frontier, question_tables, starts, study, tables
from experiments.analysis.effects import AGAINST
from experiments.analysis.frontier import WEIGHTS
from experiments.analysis.turned import turned
from experiments.data.dials import DIALS
from experiments.training.strategies import TRAINED
from experiments.usage import UsageError
from tests.experiments import written


def rows_of(table):
    return list(csv.DictReader(io.StringIO(tables.to_csv(table))))


def dialled():
    """`clip` errs a tenth more for every value of the dial, and so many times more on the base."""
    records = []
    for place, dataset in enumerate(DIALS["windows"].values()):
        for name, factor in {AGAINST: 1.0, "clip": 1.1**place}.items():
            for seed in range(3):
                mse = factor * (1 + seed)
                records.append(written.record(name, dataset, "mlp", seed, mse=mse))
    return study.read({}, records)


def every(found):
    return turned(found.runs, found.strategies, found.backbones)


def test_each_value_of_a_dial_is_compared_at_itself():
    found = [one for one in every(dialled()) if one.dial == "windows"]
    assert [one.value for one in found] == sorted(DIALS["windows"])
    for place, one in enumerate(found):
        assert (one.strategy, one.backbone) == ("clip", "mlp")
        assert one.effect.value == pytest.approx(place * math.log(1.1))
        assert one.effect.error == pytest.approx(0, abs=1e-12)
    rows = rows_of(question_tables.dials(dialled()))
    assert len(rows) == len(found) + len(DIALS) - 1  # the base is a value of every dial
    assert {row["over"] for row in rows} == {"seeds"}
    assert question_tables.dials(study.read({}, [written.record("clip", "dial_base")])).rows == []


def begun(start, clip):
    """`clip` on two groups, one of two datasets; with some seeds it does not start."""
    records = []
    for dataset in ("dew_point_jfk", "dew_point_ewr", "spectrum"):
        for seed in range(4):
            dead = float(start == "zero" and dataset == "spectrum" and seed == 0)
            one = written.record("clip", dataset, "mlp", seed, mse=clip * (1 + seed))
            training = {**one.cell.training, "start": start}
            cell = replace(one.cell, training=training)
            metrics = {**one.metrics, "gradient_dead_fraction": dead}
            records.append(replace(one, cell=cell, metrics=metrics))
    return study.read({}, records)


def test_two_ways_to_start_are_paired_by_seed_and_counted_by_group():
    (found,) = starts.compare(begun("zero", 2.0), begun("constant", 1.0))
    assert (found.strategy, found.backbone, len(found.effects)) == ("clip", "mlp", 2)
    assert found.never == (0.125, 0)  # a quarter on one group of two
    assert found.center[0] == pytest.approx(-math.log(2))
    (row,) = rows_of(starts.table(begun("zero", 2.0), begun("constant", 1.0)))
    for column in ("center", "change", "alike"):
        assert float(row[column]) == pytest.approx(-0.5)
    assert float(row["never_first"]) == 0.125
    rows = rows_of(starts.by_group(begun("zero", 2.0), begun("constant", 1.0)))
    assert [row["group"] for row in rows] == ["dew_point", "spectrum"]
    assert [float(row["change"]) for row in rows] == pytest.approx([-0.5, -0.5])
    with pytest.raises(UsageError, match="no finished run of the same strategy"):
        starts.compare(begun("zero", 2.0), study.read({}, written.sweep(["wind"], ["clip"])))


def tried(name, dataset, rate, mse, outside=0.0, **hyperparameters):
    one = written.record(name, dataset, phase="tune", seed=1000, mse=mse, learning_rate=rate)
    cell = replace(one.cell, hyperparameters=hyperparameters)
    return replace(one, cell=cell, metrics={**one.metrics, "violation_rate_1e-4": outside})


def test_a_soft_strategy_is_compared_at_its_own_learning_rate_on_every_group():
    records = []
    for dataset in ("wind", "spectrum"):
        records += [
            tried(AGAINST, dataset, 0.003, 1.0),
            tried(AGAINST, dataset, 0.01, 0.5),
            tried("hinge", dataset, 0.003, 2.0, 0.2, weight=1.0),
            tried("hinge", dataset, 0.01, 0.5, 0.3, weight=1.0),
            tried("hinge", dataset, 0.003, 4.0, 0.1, weight=10.0),
        ]
    records.append(tried("hinge", "wind", 0.003, 1.0, weight=0.1))  # on one group of two
    records.append(tried("hinge", "wind", 0.1, 1.0, weight=1.0))  # at a rate of its own
    groups = {"wind": "wind", "spectrum": "spectrum"}
    found = frontier.points(records, groups)
    assert [(one.rate, one.weight, one.outside) for one in found] == [
        (0.003, 1.0, pytest.approx(0.2)),
        (0.003, 10.0, pytest.approx(0.1)),
        (0.01, 1.0, pytest.approx(0.3)),
    ]
    assert [one.change for one in found] == pytest.approx([math.log(2), math.log(4), 0.0])
    assert {one.groups for one in found} == {2}
    rows = rows_of(question_tables.soft_frontier(study.read({}, records)))
    assert [row["weight"] for row in rows] == ["1.0", "10.0", "1.0"]
    assert frontier.points(records[2:5], groups) == []


def test_each_soft_strategy_has_the_weight_that_is_named():
    assert all(weight in TRAINED[name].grid for name, weight in WEIGHTS.items())
    soft = {name for name, row in TRAINED.items() if row.guarantee == "never" and row.grid}
    assert soft == WEIGHTS.keys()
