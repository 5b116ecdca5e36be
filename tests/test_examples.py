"""The scripts in examples/ do what they say."""

import runpy
from pathlib import Path

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


def test_every_script_is_tried():
    tried = {"start", "numpyro_density", "flow"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tried
