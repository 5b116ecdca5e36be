"""What is committed under results/ follows from its records."""

import csv
import re
from pathlib import Path

import pytest

from experiments import compare, store
from experiments.analysis import evidence, tables
from experiments.figures import captions, draw
from experiments.figures.style import styled
from experiments.page import build, diagnosis, warnings
from tests.sampled import sampled

ROOT = Path(__file__).parent.parent
FOLDERS = ["reference", "dials", "starts", "starts_zero", "sizes", "budgets"]


@pytest.fixture(scope="module", params=sampled(FOLDERS, {"sizes"}))
def sweep(request):
    """A folder and its records, which are let go before the next one's."""
    folder = ROOT / "results" / request.param
    return folder, store.read(folder)


def test_tables_are_those_of_the_records(sweep):
    folder, records = sweep
    found = build.read(folder, records)
    made = {f"{table.name}.csv": tables.to_csv(table) for table in evidence.gather(found)}
    assert made.keys() == {path.name for path in (folder / "tables").glob("*.csv")}
    for file, text in made.items():
        assert (folder / "tables" / file).read_text(encoding="utf-8") == text, file


def test_figures_are_of_the_records_and_have_their_words(sweep):
    folder, records = sweep
    assert captions.drawn(folder) == captions.digest(records)
    drawn = {path.name for path in (folder / "figures").glob("*.png")}
    assert drawn <= captions.read(folder).keys()


@pytest.mark.thorough
def test_figures_are_those_that_would_be_drawn_today():
    folder = ROOT / "results" / "sizes"
    found = build.read(folder, store.read(folder))
    arrays = store.arrays_of(folder, found.finals)
    with styled():
        words = {f"{of.name}.png": (of.title, of.caption) for of in draw.sketches(found, arrays)}
    kept = captions.read(folder)
    assert {name: (of.title, of.caption) for name, of in kept.items()} == words


@pytest.mark.thorough  # beside their tables
def test_the_two_starts_are_compared_as_they_would_be_today(tmp_path):
    results = ROOT / "results"
    folders = [str(results / name) for name in ("starts_zero", "starts")]
    assert compare.main([*folders, "--starts", str(tmp_path)]) == 0
    kept, made = (
        {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.csv")}
        for folder in (results / "starts" / "compared", tmp_path)
    )
    assert len(made) == 2
    assert kept == made


def test_records_are_of_one_program_one_choice_and_one_a_seat(sweep):
    folder, records = sweep
    finals = [record for record in records if record.cell.phase == "final"]
    assert all(record.fingerprint for record in records)
    assert all(record.is_done for record in finals)
    assert len({record.cell.seat for record in finals}) == len(finals)
    found = {one.text for one in warnings.mixed(store.read_manifest(folder), records)}
    assert found <= {"Targets that break their bounds"}


def test_what_diagnose_says_of_the_study_is_in_its_table():
    """By kind: datasets, and how errors of the two constraints differ."""
    path = ROOT / "results" / "reference" / "tables" / "rule.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))

    def errors(kind, strategy, backbone=None, is_new=None):
        here = [row for row in rows if row["choice"] == kind and is_new in (None, row["is_new"])]
        return [float(r[f"change_{strategy}"]) for r in here if backbone in (None, r["backbone"])]

    numbers = {
        kind: list(map(int, re.findall(r"\d+", text))) for kind, text in diagnosis.FOUND.items()
    }
    found = []
    for backbone in ("mlp", "conditioned"):
        ratios = errors("share", "share", backbone, "yes")
        found += [sum(one < 0 for one in ratios), len(ratios), round(-100 * min(ratios))]
    assert numbers["share"] == found
    assert len(errors("level", "distance", "mlp")) == 2
    assert min(errors("level", "distance")) > 0
    (*every,) = errors("distance", "distance")
    assert len(every) == 4
    assert numbers["distance"] == [round(-100 * max(every)), round(-100 * min(every))]
