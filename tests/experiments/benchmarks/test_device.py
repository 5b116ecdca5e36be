"""The command for an accelerator, at toy sizes on a CPU."""

import dataclasses
import io
import json
import time

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments import store
from experiments.benchmarks import agreement, device, device_speed, device_tests
from experiments.benchmarks.device_speed import Scale
from experiments.benchmarks.stacks import Shape
from tests.experiments.written import record

TOY = Scale(
    hidden=(2,),
    cells=(1,),
    stacked=(2,),
    product=100,
    rounds=1,
    batches=(5,),
    preset="smoke",
    epochs=1,
    tests=("tests/test_changed.py",),
)
SHAPE = Shape(1, 1, 1, 32)


def printed(table):
    console = Console(file=io.StringIO(), width=80)
    console.print(table)
    return console.file.getvalue()


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(device, "CPU", TOY)
    monkeypatch.setattr(device, "apart", lambda function, seconds, *given: function(*given))


def test_sections_share_the_time_and_none_ends_the_others(toy, monkeypatch, tmp_path, capsys):
    seen = []

    def lacking(given):
        raise device.NotMeasuredError("missing, for want of a thing")

    def failing(given):
        raise RuntimeError("Unable to load cuPTI")

    def plain(given):
        seen.append(given)
        return {"number": 1}

    sections = {"lacking": lacking, "failing": failing, "plain": plain}
    monkeypatch.setattr(
        device, "SECTIONS", {name: device.Section(of, 0.5) for name, of in sections.items()}
    )
    out = tmp_path / "device"
    arguments = ["--out", str(out), "--sections", "lacking,failing,plain"]
    assert device.main([*arguments, "--minutes", "2"]) == 0
    found = json.loads((out / "device.json").read_text())
    assert found["machine"]["backend"] == "cpu"
    assert found["machine"]["packages"]["jax"] == jax.__version__
    assert found["lacking"] == {"missing": "missing, for want of a thing"}
    assert "RuntimeError: Unable to load cuPTI" in found["failing"]["error"]
    assert found["plain"] == {"number": 1}
    (given,) = seen
    assert given.left > 60  # what the others left over
    assert given.found.keys() == {"machine", "lacking", "failing"}
    text = capsys.readouterr().out
    assert "lacking: missing, for want of a thing" in text
    assert "failing: failed, RuntimeError: Unable to load cuPTI" in text

    assert device.main([*arguments, "--minutes", "0.1"]) == 0
    assert len(seen) == 1
    assert "plain: skipped, no time is left for it" in capsys.readouterr().out


def test_an_unknown_section_is_refused(capsys):
    assert device.main(["--sections", "sped"]) == 2
    assert "Did you mean 'speed'?" in capsys.readouterr().err


@pytest.mark.thorough
def test_what_runs_apart_gives_a_value_or_why_there_is_none():
    with pytest.raises(device.NotMeasuredError, match=r"ValueError: invalid literal.*'x'"):
        device.apart(int, 60, "x")
    started = time.monotonic()
    with pytest.raises(device.NotMeasuredError, match="not done after 0 s"):
        device.apart(time.sleep, 0.1, 600)
    assert time.monotonic() - started < 300


LOG = """\
created: 2/2 workers
tests/bounded/test_a.py::test_one[clip-upper]
[gw1] [ 33%] PASSED tests/bounded/test_a.py::test_one[clip-upper]
[gw0] [ 66%] FAILED tests/bounded/test_a.py::test_two[a b]
[gw0] [100%] SKIPPED tests/bounded/test_a.py::test_three
FAILED tests/bounded/test_a.py::test_two[a b] - assert 1 == 2
SKIPPED [1] tests/conftest.py:91: one device
"""


def test_outcomes_are_read_from_what_pytest_prints():
    of = "tests/bounded/test_a.py::"
    assert device_tests.outcomes(LOG) == {
        f"{of}test_one[clip-upper]": "PASSED",
        f"{of}test_two[a b]": "FAILED",
        f"{of}test_three": "SKIPPED",
    }


def test_tests_that_take_too_long_are_ended_and_said_so(tmp_path):
    found = device_tests.run(["tests/test_changed.py"], "cpu", tmp_path / "tests.txt", 0.5)
    assert found["status"] is None
    assert found["passed"] == 0
    assert "The time was over before all had run." in printed(device_tests.make_table(found))


@pytest.mark.thorough
def test_every_case_is_run(tmp_path):
    found = device_tests.run(["tests/test_sampled.py"], "cpu", tmp_path / "tests.txt", 120)
    name = "test_make_test_leaves_this_to_make_thorough"
    assert f"{name} " in (tmp_path / "tests.txt").read_text(encoding="utf-8")
    assert found["status"] == 0


def test_failures_are_named():
    found = {"platforms": "cuda,cpu", "passed": 9, "failed": 21, "skipped": 1, "seconds": 7.0}
    found |= {"status": 1, "failures": [f"test_{index}" for index in range(21)]}
    text = printed(device_tests.make_table(found))
    assert "test_19" in text
    assert "and 1 more, in device.json" in text


def row(stack, rates, dtype="float32", **changes):
    found = {"stack": stack, "hidden": 1, "dtype": dtype, "rates": rates}
    return found | {"sequences": 512, "build_seconds": 2.0} | changes


def test_cells_a_minute_and_shares_by_hand():
    a_cell = 60 * 16 * 32
    rows = [
        row("bounded x 1", [a_cell, 2 * a_cell, 3 * a_cell]),
        row("bounded x 4", [4 * a_cell, 4 * a_cell, 3 * a_cell], sequences=4 * 512),
        row("bounded x 9", [a_cell, a_cell, a_cell], sequences=4 * 512),
        {"stack": "torch", "hidden": 1, "dtype": "float32", "error": "missing"},
        row("product", [9.0, 10.0, 11.0]),
    ]
    one, four, nine, torch, product = device_speed.with_numbers(rows, SHAPE)
    assert one["cells_per_minute"] == 120
    assert one["spread"] == [60, 180]
    assert four["ratio"] == 2  # the median of 4, 2 and 1
    assert four["side_by_side"] == 4
    # 6 x 17 operations a sequence, of 10 x 10⁹ a second.
    assert one["share_of_peak"] == pytest.approx(2 * a_cell * 6 * 17 / 1e10)
    assert "cells_per_minute" not in product
    assert device_speed.best([one, four, nine, torch], hidden=1) == 4
    assert device_speed.best([one], hidden=2) is None
    text = printed(device_speed.make_table([one, four, nine, torch, product]))
    assert "torch: missing" in text
    assert "bounded x 9: 4 side by side." in text
    assert "bounded x 4: " not in text
    assert "One large product in float32: 0.01 TFLOP/s." in text


def test_every_stack_that_is_compared_is_there():
    names = list(device_speed.stacks(Scale(), "gpu"))
    assert names[:5] == [f"bounded x {count}" for count in (1, 32, 256, 1024, 4096)]
    assert names[5:] == ["torch, cuDNN", *(f"torch.func.vmap x {n}" for n in (32, 1024)), "product"]
    train, operations = device_speed.product(SHAPE, 100, "tensorfloat32")
    train(2)
    assert operations == 2e-3


@pytest.mark.thorough
def test_a_units_parts_are_those_of_every_batch():
    shape = Shape(2, 3, 1, 2)
    ready = device_speed.parts(shape, each=2)
    losses, slopes = ready["forward"](), ready["derivative"]()
    assert losses.shape == (2,)
    assert 0 < losses.min() < losses.max() < 16  # of 16 batches in [0, 1]; two seeds
    assert {leaf.shape[0] for leaf in jax.tree.leaves(slopes)} == {2}
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))
    seconds = {"forward": 0.016, "derivative": 0.048, "whole": 0.064}
    found = {"hidden": 2, "side_by_side": 2, "of_a_device": 2, "seconds": seconds}
    text = printed(device_speed.profile_table(found))
    assert [line.split()[-2] for line in text.splitlines() if "%" in line] == [
        "25",
        "50",
        "25",
        "100",
    ]


def test_cells_of_two_folders_are_compared(tmp_path):
    folders = tmp_path / "cpu", tmp_path / "device"
    clip, hinge = record("clip", "sines", mse=0.2), record("hinge", "sines", mse=0.1)
    bound, alone = record("bound", "sines"), record("clip", "wind")
    for factor, folder in zip((1.0, 1.00001), folders, strict=True):
        (folder / "cells").mkdir(parents=True)
        looks = {"history_mse": np.array([1.0 * factor, 0.5])}
        store.save(folder, bound, {})
        store.save(folder, clip, looks)
        other = dataclasses.replace(hinge, metrics={"mse": 0.1 * (2 if factor > 1 else 1)})
        store.save(folder, other, {"history_mse": np.array([2 * factor**100, 1])})
    store.save(folders[0], alone, {"history_mse": np.ones(1)})
    found = agreement.compared(*folders)
    assert [one["cell"].split()[0] for one in found["cells"]] == sorted(
        ("clip", "hinge"), key=lambda name: {"clip": clip, "hinge": hinge}[name].id
    )
    assert found["compared"] == 2
    assert found["first_agree"] == 1  # 1e-5 is within 1e-4, 1e-3 is not
    assert found["median_ratio"] == pytest.approx(1.5)
    assert found["largest_ratio"] == pytest.approx(2)
    text = printed(agreement.make_table(found))
    assert "1 of 2" in text
    assert "hinge on sines" in text
    assert "0" in printed(agreement.make_table({"cells": [], **agreement.summary([])}))


@pytest.mark.slow
def test_the_whole_command_at_toy_sizes(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "CPU", TOY)
    assert device.main(["--minutes", "10", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "device.json").read_text())
    assert found.keys() == {"machine", *device.SECTIONS}
    assert not [name for name, of in found.items() if "error" in of or "missing" in of]
    assert found["tests"]["passed"] > 0
    assert found["tests"]["failures"] == []
    assert found["agreement"]["first_agree"] == found["agreement"]["compared"] > 0
    assert found["agreement"]["largest_ratio"] == 1
    assert list((tmp_path / "trace").rglob("*.xplane.pb"))


def test_errors_of_zero_are_alike_and_leave_a_finite_ratio():
    assert agreement.ratio(0.0, 0.0) == 1
    assert agreement.ratio(0.2, 0.1) == pytest.approx(2)
    rows = [dict.fromkeys(("first", "last"), agreement.ratio(a, 0.0)) for a in (0.0, 1.0)]
    found = agreement.summary(rows)
    assert found["first_agree"] == 1
    assert 1e6 < found["largest_ratio"] < np.inf
