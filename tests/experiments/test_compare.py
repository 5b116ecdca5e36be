"""`python -m experiments.compare`: what is printed, written and refused."""

import csv

import pytest
from rich.console import Console

from experiments import compare
from tests.experiments import written

NAMES = ("clip", "straight_through_clip", "annealed_smooth_clip", "climatology_clipped", "bound")
ODD = "a_module:[red]with_a_$long_name\x1b[2J(temperature=0.1)"


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "make_console", lambda: Console(width=80))
    both = []
    for name, seeds, strategies in (
        ("one", 3, (*NAMES, ODD)),
        ("other", 2, (*NAMES, ODD, "hinge")),
    ):
        records = written.sweep(["wind", "flights"], strategies, seeds=seeds)
        described = written.manifest(["wind", "flights"], processor="x" * 300 + name)
        both.append(str(written.save(tmp_path / name, records, described)))
    return both


def test_two_sweeps_fit_80_columns(folders, capsys, tmp_path):
    kept, out = tmp_path / "differences.csv", tmp_path / "starts"
    assert compare.main([*folders, "--csv", str(kept), "--starts", str(out)]) == 0
    written_there = {path.name for path in out.iterdir()}
    assert written_there == {"starts.csv", "starts_by_group.csv", "starts.png"}
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[:2] == [f"A: {folders[0]}", f"B: {folders[1]}"]
    assert max(map(len, lines[2:])) <= 80
    for dataset in ("wind", "flights"):
        for backbone in written.BACKBONES:
            assert f"{dataset}, {backbone}: skill" in text
    assert "untrained" not in text
    assert sum(line.startswith(" annealed_smooth_clip ") for line in lines) == 4
    assert "only in B: strategies hinge" in text
    assert "\x1b[2J" not in text
    with kept.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * (2 * 4 + 2)
    assert {row["seeds"] for row in rows} == {"1", "2"}


def test_that_only_baselines_are_in_both_is_said(tmp_path, capsys):
    both = []
    for backbone in written.BACKBONES:
        records = written.sweep(["wind"], NAMES, seeds=2)
        here = [one for one in records if one.cell.backbone in (backbone, "none")]
        both.append(str(written.save(tmp_path / backbone, here)))
    assert compare.main(both) == 0
    text = capsys.readouterr().out
    assert "No strategy was trained in both on the same dataset and backbone." in text
    assert compare.main(both[:1] * 2) == 0
    assert "No strategy was trained" not in capsys.readouterr().out


def test_other_data_and_settings_are_said(tmp_path, capsys):
    first = written.save(tmp_path / "one", written.sweep(["wind"], NAMES, seeds=2))
    second = written.save(tmp_path / "other", written.sweep(["wind"], NAMES, seeds=2))
    assert compare.main([str(first), str(second)]) == 0
    assert "settings: the same" in capsys.readouterr().out
    for path in (second / "cells").iterdir():
        path.unlink()
    for one in written.sweep(["wind"], NAMES, seeds=2):
        found = one.to_json()
        found["config"]["dataset"]["hash"] = "1"
        moved = type(one).from_json({**found, "id": ""})
        (second / "cells" / f"{moved.id}.json").write_text(written.json.dumps(moved.to_json()))
    assert compare.main([str(first), str(second)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "wind, bottleneck: skill (other data)" in text
    assert "the data of A and B are not the same, so that nothing is paired" in text


def test_what_cannot_be_compared_is_refused(folders, tmp_path, capsys):
    assert compare.main([folders[0], str(tmp_path)]) == 2
    assert "holds no sweep" in capsys.readouterr().err
    apart = written.save(tmp_path / "apart", [written.record("hinge", "sines")])
    assert compare.main([folders[0], str(apart)]) == 2
    assert "no finished cell of the same strategy" in capsys.readouterr().err
    assert compare.main([*folders, "--csv", str(tmp_path / "nowhere" / "a.csv")]) == 1
    assert "cannot be written" in capsys.readouterr().err
