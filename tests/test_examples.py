"""The scripts in examples/ do what they say."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from experiments.figures import draw

pytestmark = pytest.mark.usefixtures("unoptimised")
EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def test_the_start_gives_every_output_a_gradient():
    names = run("start")
    assert names["before"] < 0.75
    assert names["after"] > 0.99


def test_a_density_inside_bounds_recovers_its_parameters():
    found = run("numpyro_density")["found"]
    assert abs(found["mean"] + 1) < 0.1
    assert abs(found["deviation"] - 0.5) < 0.07


def test_a_flow_that_ends_in_a_constraint_stays_inside_and_is_a_density():
    names = run("flow")
    assert abs(names["parameters"]["mean"] - 1.8) < 0.1
    assert abs(names["mass"] - 1) < 2e-3
    assert ((names["drawn"] >= 0) & (names["drawn"] <= 2)).all()


@pytest.fixture
def sweeping(monkeypatch, tmp_path):
    """In a folder of its own, without the figures of its page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(draw, "draw_all", lambda folder, found: None)
    return tmp_path


def test_a_forecast_of_ones_own_data_stays_within_its_bounds(sweeping):
    names = run("own_forecast")
    assert names["outside"]["clip"] == 0
    assert min(names["skill"][name] for name in ("clip", "unconstrained")) > 0.2
    parked = names["tomorrow"]["outputs"]
    assert ((parked >= 0) & (parked <= names["PLACES"])).all()
    assert np.isnan(names["tomorrow"]["targets"]).any()


def test_a_network_of_ones_own_is_swept(sweeping):
    skill = run("own_network")["skill"]
    assert skill.keys() == {"mlp", "here:Linear"}
    assert min(skill.values()) > 0.5


def test_a_strategy_and_a_metric_of_ones_own_are_swept_and_plotted(sweeping):
    missed = run("own_strategy")["missed"]
    assert "here:arctan_interval(sharpness=2.0)" in missed
    assert all(0 < value < 20 for value in missed.values())
    assert (sweeping / "own_strategy.png").stat().st_size > 10_000


def test_every_script_is_tried():
    tried = {"start", "numpyro_density", "flow", "own_forecast", "own_network", "own_strategy"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tried
