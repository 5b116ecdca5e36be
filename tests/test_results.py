"""What is committed under results/ follows from its records."""

import shutil
from pathlib import Path

import pytest

from experiments import store
from experiments.analysis import evidence, tables
from experiments.analysis.study import finals
from experiments.figures import captions, draw
from experiments.figures.style import styled
from experiments.page import build

ROOT = Path(__file__).parent.parent
FOLDERS = ["reference", "supplement"]


@pytest.mark.parametrize("name", FOLDERS)
def test_tables_are_those_of_the_records(name):
    folder = ROOT / "results" / name
    found = build.read(folder, store.read(folder))
    made = {f"{table.name}.csv": tables.to_csv(table) for table in evidence.gather(found)}
    assert made.keys() == {path.name for path in (folder / "tables").glob("*.csv")}
    for file, text in made.items():
        assert (folder / "tables" / file).read_text(encoding="utf-8") == text, file


@pytest.mark.parametrize("name", FOLDERS)
def test_figures_are_of_the_records_and_have_their_words(name):
    folder = ROOT / "results" / name
    assert captions.drawn(folder) == captions.digest(store.read(folder))
    drawn = {path.name for path in (folder / "figures").glob("*.png")}
    assert drawn <= captions.read(folder).keys()


def test_figures_are_those_that_would_be_drawn_today():
    folder = ROOT / "results" / "supplement"
    found = build.read(folder, store.read(folder))
    arrays = store.arrays_of(folder, finals(found))
    with styled():
        words = {f"{of.name}.png": (of.title, of.caption) for of in draw.sketches(found, arrays)}
    kept = captions.read(folder)
    assert {name: (of.title, of.caption) for name, of in kept.items()} == words


def test_records_of_before_fingerprints_are_reported(tmp_path, monkeypatch):
    """The committed page, made again."""
    shutil.copytree(ROOT / "results" / "supplement", tmp_path / "supplement")
    records = build.build(tmp_path / "supplement", with_figures=False)
    assert all(record.sources and record.fingerprint is None for record in records)
    page = (tmp_path / "supplement" / "report.html").read_text(encoding="utf-8")
    assert page == (ROOT / "results" / "supplement" / "report.html").read_text(encoding="utf-8")
