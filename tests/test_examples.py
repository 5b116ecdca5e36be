"""The scripts in examples/, which are the tutorials of the site, do what they say.

`make docs` runs them all too: those that compute are `thorough` here.
"""

import re
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.figures import draw

pytestmark = pytest.mark.usefixtures("unoptimised")
EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name, shortened=("", "")):
    path = EXAMPLES / f"{name}.py"
    code = path.read_text(encoding="utf-8")
    assert shortened[0] in code
    names = {"__name__": "__main__", "__file__": str(path)}
    with jax.numpy_rank_promotion("allow"):  # as it is for a reader
        exec(compile(code.replace(*shortened), path, "exec"), names)
    plt.close("all")
    return names


@pytest.mark.thorough
def test_a_network_is_bounded_in_every_library():
    names = run("bound_network")
    assert names["outside"] == {"Flax": 0, "Equinox": 0, "plain JAX": 0}
    assert max(names["error"].values()) < 0.5 * float(names["wind"].var())


@pytest.mark.thorough
def test_a_clip_is_stuck_unless_it_begins_inside():
    zero, inside = run("start")["stuck"]
    assert zero > 2
    assert inside == 0


@pytest.mark.thorough
def test_sums_hold_as_sets_and_not_one_by_one():
    names = run("sums")
    assert names["over"].pop("each clipped by the mains") > 0
    assert set(names["over"].values()) == {0}
    np.testing.assert_allclose(names["shares"].sum(-1), names["mains"], rtol=1e-6)
    evening = names["evening"]
    assert abs(evening.sum()) <= 3.00001
    assert abs(np.diff(evening)).max() <= 0.50001
    country, first, second, *towns = names["coherent"]
    np.testing.assert_allclose([country, first], [first + second, sum(towns)], rtol=1e-6)


def test_figures_of_records_are_drawn(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = run("paper_figure")
    assert (tmp_path / "curves.pdf").read_bytes().startswith(b"%PDF")
    (axes,) = names["own"].axes
    assert len(axes.lines) == 10
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["clip", "unconstrained"]


@pytest.mark.thorough
def test_a_density_inside_bounds_recovers_its_parameters():
    found = run("numpyro_density")["found"]
    assert abs(found["mean"] + 1) < 0.1
    assert abs(found["deviation"] - 0.5) < 0.07


@pytest.mark.thorough
def test_a_flow_that_ends_in_a_constraint_stays_inside_and_is_a_density():
    names = run("flow")
    assert abs(names["parameters"]["mean"] - 1.8) < 0.1
    assert abs(names["mass"] - 1) < 2e-3
    assert ((names["drawn"] >= 0) & (names["drawn"] <= 2)).all()


@pytest.mark.thorough
def test_a_hierarchy_that_is_reconciled_errs_less_than_one_that_is_added_up():
    names = run("hierarchy")
    assert names["error"]["by variances"] < 0.9 * names["error"]["bottom-up"]
    assert names["error"]["by covariances"] < 0.9 * names["error"]["bottom-up"]
    found = np.asarray(names["forecasts"]["by variances"], float)
    np.testing.assert_allclose(found[:, 4:] @ names["summing"].T, found, rtol=1e-5)
    assert (found >= 0).all()


@pytest.fixture
def sweeping(monkeypatch, tmp_path):
    """In a folder of its own, without the figures of its page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(draw, "draw_all", lambda folder, found: None)
    return tmp_path


@pytest.mark.thorough
def test_a_forecast_of_ones_own_data_stays_within_its_bounds(sweeping):
    names = run("own_forecast")
    assert names["outside"]["clip"] == 0
    assert min(names["skill"][name] for name in ("clip", "unconstrained")) > 0.2
    parked = names["tomorrow"]["outputs"]
    assert ((parked >= 0) & (parked <= names["PLACES"])).all()
    assert np.isnan(names["tomorrow"]["targets"]).any()


@pytest.mark.thorough
def test_a_network_of_ones_own_is_swept(sweeping):
    skill = run("own_network")["skill"]
    assert skill.keys() == {"mlp", "here:Linear"}
    assert min(skill.values()) > 0.5


@pytest.mark.thorough
def test_a_strategy_and_a_metric_of_ones_own_are_swept_and_plotted(sweeping):
    missed = run("own_strategy", shortened=("epochs=40", "epochs=8"))["missed"]
    assert "here:arctan_interval(sharpness=2.0)" in missed
    assert all(0 < value < 20 for value in missed.values())
    assert (sweeping / "own_strategy.png").stat().st_size > 10_000


def test_every_script_is_tried():
    tried = re.findall(r'run\("(\w+)"', Path(__file__).read_text(encoding="utf-8"))
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(tried)
