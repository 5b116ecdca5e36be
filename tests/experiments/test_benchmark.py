import json

import pytest

from experiments import benchmark
from experiments.benchmarks import throughput
from experiments.benchmarks.stacks import STACKS, Shape, Stack

SMALL = Shape(2, 3, 1, 2)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(throughput, "LEAST_SECONDS", 0.0)


def failing(shape):
    raise RuntimeError("not on this machine")


@pytest.mark.thorough  # four processes that import, two that compile
@pytest.mark.usefixtures("quick", "unoptimised_processes")
def test_throughput_has_a_row_a_stack_and_says_what_failed(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(STACKS, "failing", Stack(failing, ()))
    monkeypatch.setitem(STACKS, "absent", Stack(failing, ("no_such_package",)))
    arguments = ["--shapes", "2x3x1x2", "--stacks", "bounded,failing,absent", "--rounds", "2"]
    assert benchmark.main([*arguments, "--out", str(tmp_path), "--training-only"]) == 0
    rows = json.loads((tmp_path / "throughput.json").read_text())
    by_stack = {row["stack"]: row for row in rows}
    assert list(by_stack) == ["bounded", "failing", "bounded, 1 core", "sgemm"]
    row = by_stack["bounded"]
    assert row.items() >= {**SMALL._asdict(), "dtype": "float32"}.items()
    low, high = row["spread"]
    assert 0 < low <= row["sequences_per_second"] <= high
    assert row["times_slower_than_bounded"] == 1
    assert "not on this machine" in by_stack["failing"]["error"]
    printed = capsys.readouterr().out
    assert "absent: missing, for want of no_such_package" in printed
    assert "not on this machine" in printed
    assert (tmp_path / "throughput.png").exists()


def test_an_unknown_stack_is_refused(capsys):
    assert benchmark.main(["--stacks", "torhc"]) == 2
    assert "Did you mean 'torch'?" in capsys.readouterr().err
