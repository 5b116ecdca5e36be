"""Figures of dials, starts and soft strategies, from records written by hand."""

import math

import numpy as np
import pytest
from matplotlib import rc_context

from experiments.analysis import study
from experiments.analysis.effects import AGAINST
from experiments.analysis.judged import judge
from experiments.data.dials import DIALS
from experiments.figures import begun, frontiers, judgement, style, turns
from tests.experiments import written
from tests.experiments.analysis.test_judged import records as judged_records
from tests.experiments.analysis.test_questions import begun as begun_in
from tests.experiments.analysis.test_questions import dialled, tried


@pytest.fixture(autouse=True)
def drawn_in_style():
    with rc_context(style.STYLE):
        yield


def test_a_dial_has_a_panel_with_a_line_a_strategy_that_is_named_above():
    (sketch,) = turns.dials(dialled())
    assert sketch.name == "dials_mlp"
    (axes,) = sketch.figure.axes  # the others have the base alone
    assert axes.get_xlabel() == turns.LABELS["windows"]
    (line,) = [line for line in axes.lines if line.get_label() == "clip"]
    heights = math.log(1.1) * np.arange(len(DIALS["windows"]))
    np.testing.assert_allclose(line.get_ydata(), heights, atol=1e-12)
    assert list(line.get_xdata()) == list(range(len(heights)))
    numbers = [label.get_text() for label in axes.get_xticklabels()]
    assert numbers == [f"{value:g}" for value in sorted(DIALS["windows"])]
    assert line.get_color() == style.look("clip")["color"]
    (legend,) = sketch.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["clip"]
    assert turns.LABELS.keys() == DIALS.keys()
    assert list(turns.dials(study.read({}, written.sweep(["wind"], seeds=1)))) == []


def test_starts_stand_open_and_filled_with_their_errors_beside():
    sketch = begun.starts(begun_in("zero", 1.2), begun_in("constant", 1.0))
    shares, errors = sketch.figure.axes
    marks = [line for line in shares.lines if line.get_linestyle() == "None"]
    assert [(mark.get_xdata()[0], mark.get_markerfacecolor()) for mark in marks] == [
        (12.5, "white"),
        (0.0, style.look("clip")["color"]),
    ]
    marks = [line for line in errors.lines if line.get_linestyle() == "None"]
    places = [x for line in marks for x in line.get_xdata()]
    assert places == pytest.approx([-math.log(1.2)] * 3)  # two groups, and all
    assert sketch.title == "Where a network starts: zero against constant"
    assert errors.get_xlabel() == "mse relative to zero"


def test_lines_join_what_differs_in_the_weight_alone():
    records = []
    for dataset in ("wind", "spectrum"):
        records += [tried(AGAINST, dataset, rate, 1.0) for rate in (0.003, 0.01)]
        for weight in (1.0, 10.0, 100.0):
            records.append(
                tried("hinge", dataset, 0.003, 1 + weight / 200, 1 / weight, weight=weight)
            )
        records.append(tried("hinge", dataset, 0.01, 0.9, 0.5, weight=1.0))
    records += [written.record("clip", "wind")]
    (axes,) = frontiers.soft_frontier(study.read({}, records)).figure.axes
    lines = [line for line in axes.lines if line.get_marker() == style.look("hinge")["marker"]]
    assert [list(line.get_xdata()) for line in lines] == [
        pytest.approx([100, 10, 1]),
        pytest.approx([50]),
    ]
    assert [text.get_text() for text in axes.texts] == ["1", "100"]
    assert frontiers.soft_frontier(study.read({}, records[-1:])) is None


def test_new_groups_are_filled_and_old_ones_open():
    sketch = judgement.rule(study.read({}, judged_records()))
    interval, offset = sketch.figure.axes
    assert interval.get_title() == "tanh_interval, mlp\nnew: {} of 3".format(
        sum(bool(one) for one in told("share"))
    )
    for axes, kind in ((interval, "share"), (offset, "distance")):
        marks = [line for line in axes.lines if line.get_marker() == "o"]
        known = [one for one in judge_all() if not math.isnan(one.lean(kind))]
        assert len(marks) == len(known)
        hollow = [line.get_markerfacecolor() == "white" for line in marks]
        assert hollow == [not one.is_new for one in known]
    assert judgement.rule(study.read({}, [written.record("clip", "wind")])) is None


def judge_all():
    found = study.read({}, judged_records())
    return judge(found.runs, found.groups, found.backbones)


def told(kind):
    return [one.agrees(kind) for one in judge_all() if one.is_new]
