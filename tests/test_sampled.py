"""What `make test` leaves to `make thorough`."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.sampled import sampled, sampled_unoptimised

ROOT = Path(__file__).parent.parent


def test_what_is_not_in_the_sample_is_marked():
    one, other = sampled([("a", 1), ("b", 2)], lambda case: case[0] == "a")
    assert one == pytest.param("a", 1)
    assert other == pytest.param("b", 2, marks=pytest.mark.thorough)
    assert [len(param.values) for param in sampled("ab", {"a"})] == [1, 1]


def test_what_is_optimised_is_all_left_to_thorough():
    marks = pytest.mark.optimised, pytest.mark.thorough
    left = [pytest.param(value, marks=marks) for value in "ab"]
    assert sampled_unoptimised("ab", {"a"}) == [pytest.param("a"), *left]


def test_a_sample_of_nothing_or_of_other_values_is_refused():
    with pytest.raises(ValueError, match=r"none of \['a', 'b'\] is in the sample"):
        sampled("ab", "c".__eq__)
    with pytest.raises(ValueError, match=r"\['c'\] of the sample are none of \['a', 'b'\]"):
        sampled("ab", {"a", "c"})


def collected(*given):
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, *given, __file__], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return {line.split("::")[1] for line in run.stdout.splitlines() if "::" in line}


def test_make_test_takes_the_sample():
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert options["addopts"][-2:] == ["-m", "not slow and not thorough"]


@pytest.mark.thorough
def test_make_test_leaves_this_to_make_thorough():
    name = "test_make_test_leaves_this_to_make_thorough"
    assert collected() == collected("-m", "not slow") - {name}
