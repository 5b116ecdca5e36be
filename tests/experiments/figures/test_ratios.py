"""Axes in per cent, and labels that do not lie on each other."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.figures import ratios, style


@pytest.mark.parametrize("values", [[], [np.nan, 0.01], [-9.0, 9.0], [0.4]])
def test_an_axis_reaches_as_far_as_it_must_and_no_farther(values):
    low, high = ratios.reach(values)
    assert -ratios.MOST <= low <= -ratios.LEAST
    assert ratios.LEAST <= high <= ratios.MOST
    known = [value for value in values if abs(value) < ratios.MOST]
    assert all(low < value < high for value in known)


def test_per_cent_are_of_the_ratio():
    assert ratios.percent_text(0.0) == "0"
    assert ratios.percent_text(math.log(1.2)) == "+20 %"
    assert ratios.percent_text(math.log(0.8)) == "−20 %"
    for which in ("x", "y"):
        _, (axes,) = style.panels(1, 1, (3.0, 3.0))
        ratios.percent_axis(axes, which, (-0.3, 0.3))
        axis = axes.xaxis if which == "x" else axes.yaxis
        labels = [label.get_text() for label in axis.get_ticklabels()]
        assert labels == sorted(labels, key=lambda text: float(text.strip(" %").replace("−", "-")))
        assert {"−20 %", "0", "+20 %"} <= set(labels)


@given(st.lists(st.floats(-10, 10), max_size=8))
def test_labels_keep_their_order_and_distance_and_move_no_more_than_they_must(values):
    values = sorted(values)
    found = ratios.apart(values, 1.0)
    assert len(found) == len(values)
    assert all(b - a >= 1 - 1e-9 for a, b in itertools.pairwise(found))
    assert sum(found) == pytest.approx(sum(values), abs=1e-6)
    if all(b - a >= 1 for a, b in itertools.pairwise(values)):
        assert found == pytest.approx(values)
