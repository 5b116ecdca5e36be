"""The forest of the planned comparisons, from records written by hand."""

import math

import pytest
from matplotlib import rc_context

from experiments.analysis import study
from experiments.analysis.effects import AGAINST
from experiments.figures import comparisons, ratios, style
from tests.experiments import written

RATIOS = {"clip": 1.1, "tanh_interval": 0.5, "softplus_offset": 50.0}
GROUPS = ("wind", "flights", "bikeshare", "spectrum", "cyclones", "baseball", "crime", "gasoline")


@pytest.fixture(autouse=True)
def drawn_in_style():
    with rc_context(style.STYLE):
        yield


def sketch():
    """Three strategies, each in the same ratio to AGAINST everywhere, but for `clip` in the wind;
    a quarter of its runs never start."""
    records = []
    for dataset in GROUPS:
        for seed in range(4):
            for name, ratio in {AGAINST: 1.0, **RATIOS}.items():
                odd = name == "clip" and dataset == "wind"
                dead = float(name == "clip" and seed == 0)
                mse = 0.1 * (1 + seed) * (1.2 if odd else ratio)
                given = {"seed": seed, "mse": mse, "gradient_dead_fraction": dead}
                records.append(written.record(name, dataset, **given))
    return comparisons.planned(study.read({}, records))


def test_means_dots_and_verdicts_stand_in_their_rows():
    drawn = sketch()
    (axes,) = drawn.figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(RATIOS)
    said = [text.get_text() for text in axes.texts]
    assert said == ["worse\n25 % never start", "better", "worse"]
    marks = {line.get_label(): line for line in axes.lines if line.get_label() in RATIOS}
    assert marks["clip"].get_xdata() == pytest.approx([math.log(1.1)])  # by rank
    assert marks["softplus_offset"].get_marker() == ">"
    low, high = axes.get_xlim()
    assert marks["softplus_offset"].get_xdata() == [high]
    assert (low, high) == (-ratios.MOST, ratios.MOST)
    dots = [line for line in axes.lines if line.get_marker() == "o" and line.get_markersize() < 4]
    held = [sorted(line.get_xdata()) for line in dots]
    assert held[0] == pytest.approx([math.log(1.1)] * 7 + [math.log(1.2)])
    assert held[2] == []  # those of the third are arrows
    assert "8 groups" in drawn.caption


def test_without_what_is_compared_with_there_is_none():
    records = [written.record("clip", "wind"), written.record("unconstrained", "wind")]
    assert comparisons.planned(study.read({}, records)) is None
