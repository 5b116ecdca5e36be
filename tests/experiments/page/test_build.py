"""What a report writes and deletes in a folder, and what it never touches."""

import json

import numpy as np
import pytest

from experiments import report, store, sweep
from experiments.figures import captions, draw
from experiments.files import StorageError
from experiments.page import build
from tests.experiments import written
from tests.sampled import sampled


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(draw, "draw_all", lambda folder, found: None)
    records = written.sweep(["wind"], seeds=1)
    return written.save(tmp_path / "mine", records, written.manifest(["wind"]))


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_tables_are_written_in_place_of_those_made_before(folder):
    build.build(folder, latex=True)
    first = names(folder / "tables")
    assert {"headline.csv", "headline.tex", "settings.tex"} <= first
    build.build(folder)
    assert names(folder / "tables") == {name for name in first if not name.endswith(".tex")}
    assert {"headline.csv", "chosen.csv", "settings.csv"} <= names(folder / "tables")
    assert "failed.csv" not in names(folder / "tables")


def test_files_of_the_users_own_stay(folder):
    (folder / "tables").mkdir()
    (folder / "figures").mkdir()
    mine = [folder / "tables" / "mine.csv", folder / "tables" / "mine.tex", folder / "notes.txt"]
    mine += [written.figure(folder / "figures" / "mine.png")]
    for path in mine[:3]:
        path.write_text("mine")
    before = {path: path.read_bytes() for path in mine}
    for _ in range(2):
        build.build(folder)
    assert {path: path.read_bytes() for path in mine} == before


OUTSIDE = ["{0}/thesis.docx", "../../thesis.docx", "../manifest.json", "..", ".", "", "a/b.png"]


@pytest.mark.parametrize(
    "name", sampled(OUTSIDE, {"{0}/thesis.docx", "../manifest.json", ".", "a/b.png"})
)
def test_names_in_a_folders_files_are_never_paths(folder, tmp_path, name):
    """Not even where somebody else wrote them."""
    (tmp_path / "thesis.docx").write_text("years of work")
    (folder / "figures" / "a").mkdir(parents=True)
    written.figure(folder / "figures" / "a" / "b.png")
    named = name.format(tmp_path)
    said = {"records": "0", "figures": {named: {"title": "t", "caption": "c"}}}
    (folder / "figures" / "captions.json").write_text(json.dumps(said))
    (folder / "tables").mkdir()
    (folder / "tables" / "made.json").write_text(json.dumps([named, 3, None, {"a": 1}]))
    before = contents(tmp_path)
    assert named not in captions.read(folder)
    captions.keep(folder, (), [])
    assert report.main([str(folder)]) == 0
    after = contents(tmp_path)
    made = {folder / "figures" / "captions.json", folder / "tables" / "made.json"}
    assert {path: after.get(path) for path in before if path not in made} == {
        path: content for path, content in before.items() if path not in made
    }


def test_a_folder_that_a_link_leads_to_is_left_alone(folder, tmp_path, capsys):
    paper = tmp_path / "paper"
    paper.mkdir()
    (paper / "results.csv").write_text("mine")
    (paper / "made.json").write_text('["results.csv"]')
    (folder / "tables").symlink_to(paper)
    (folder / "figures").symlink_to(paper)
    before = contents(paper)
    assert report.main([str(folder)]) == 1
    assert "is a link" in capsys.readouterr().err
    captions.keep(folder, (), [])
    assert contents(paper) == before
    with pytest.raises(StorageError, match="is a link"):
        store.make_folder(folder / "figures")


def test_a_file_that_is_a_link_is_replaced_and_its_target_stays(folder, tmp_path):
    for name in ("summary.csv", "report.html", "tables/headline.csv"):
        target = tmp_path / name.replace("/", "-")
        target.write_text("mine")
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(target)
    build.build(folder)
    for name in ("summary.csv", "report.html", "tables/headline.csv"):
        assert (tmp_path / name.replace("/", "-")).read_text() == "mine"
        assert not (folder / name).is_symlink()


def test_a_sweep_takes_no_folder_with_other_things(tmp_path, capsys):
    paper = tmp_path / "paper"
    paper.mkdir()
    (paper / "manifest.json").write_text("{}")
    before = contents(paper)
    options = ["--preset", "smoke", "--strategies", "bound", "--out"]
    assert sweep.main([*options, str(paper)]) == 2
    assert "is not empty and holds no sweep" in capsys.readouterr().err
    assert contents(paper) == before


def test_blocks_of_the_test_split_come_from_the_arrays_of_final_cells(tmp_path):
    blocks = {"block_mse": np.array([0.2, 0.3, 0.25])}
    folder = written.save(tmp_path / "mine", [])
    for record in written.sweep(["wind"], ["clip", "clip_at_evaluation"], seeds=2):
        store.save(folder, record, blocks)
    found = build.read(folder, store.read(folder))
    assert found.relative["bottleneck"]["clip"]["wind"].over == "seeds and blocks"
