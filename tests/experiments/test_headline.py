"""The README's headline: its numbers are those of the records, its links lead to them."""

import csv
import re
from pathlib import Path

import pytest

from experiments import captions, evidence, headline, report, store, study, tables
from experiments.choices import UsageError
from tests.experiments import written

ROOT = Path(__file__).parents[2]
REFERENCE, SUPPLEMENT = Path("results/reference"), Path("results/supplement")
LINK = re.compile(r"\[([^\]\[]*(?:\[[^\]]*\])?)\]\(([^)#]*)#L(\d+)\)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    datasets = ["wind", "flights", "irradiance_autoencoder"]
    records = written.sweep(datasets, seeds=2)
    found = written.save(tmp_path_factory.mktemp("made"), records, written.manifest(datasets))
    (found / "figures").mkdir()
    words = captions.Words(title="", caption="It shows.", alt="Skills.")
    captions.keep(found, [("skill_violation.png", words)], records)
    report.build(found, with_figures=False)
    return found


@pytest.fixture(scope="module")
def text(folder):
    return headline.text(folder)


def assert_links_hold(text):
    """Each number stands in the line that it is linked to, to as many digits as are shown."""
    links = LINK.findall(text)
    assert len(links) > 10
    for shown, name, line in links:
        with open(name, encoding="utf-8", newline="") as file:
            row = list(csv.reader(file))[int(line) - 1]
        said = shown.partition(" [")[0].replace("−", "-").replace("+", "")
        number, percent, _ = said.partition(" %")
        if number[0] in "<>":  # too small to be shown
            continue
        scale, digits = (100 if percent else 1), len(number.partition(".")[2])
        found = [scale * float(text) for text in row if re.fullmatch(r"-?\d[\d.e-]*", text)]
        assert any(abs(float(number) - one) <= 0.51 * 10**-digits for one in found), shown


def test_it_says_what_the_page_says_and_links_to_the_tables(folder, text):
    assert text.startswith("7 trained strategies and 3 untrained baselines on 2 study datasets")
    assert "\n1. Of the 5 strategies with a guarantee that no run broke" in text
    assert f"![Skills.]({folder}/figures/skill_violation.png)\n\n*It shows.*" in text
    assert "\n| The bound must never break | `straight_through_clip` | Skill [" in text
    assert "\n| strategy | bound holds | skill, bottleneck |" in text
    assert "(#" not in text
    assert_links_hold(text)


def test_it_stands_between_the_marks_and_nothing_else_changes(
    folder, text, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    begin, end = headline.MARKS
    Path("README.md").write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    assert headline.main([str(folder)]) == 0
    assert Path("README.md").read_text() == f"before\n{begin}\n\n{text}\n\n{end}\nafter\n"
    assert headline.main(["nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_sweep_that_answers_nothing_says_what_it_lacks(tmp_path):
    one = [written.record("clip", "wind")]
    text = headline.text(written.save(tmp_path / "made", one, written.manifest(["wind"])))
    assert "**Incomplete: " in text
    assert "|" not in text


def test_a_readme_without_marks_is_refused():
    for readme in ("# bounded\n", "".join(reversed(headline.MARKS))):
        with pytest.raises(UsageError, match="no lines"):
            headline.put(readme, "text")


def test_the_readmes_numbers_are_those_of_the_reference_results(monkeypatch):
    monkeypatch.chdir(ROOT)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    text = headline.text(REFERENCE)
    assert headline.put(readme, text) == readme, "run: python -m experiments.headline " + str(
        REFERENCE
    )
    assert readme.count(str(SUPPLEMENT)) > 5
    assert_links_hold(readme)


@pytest.mark.parametrize("folder", [REFERENCE, SUPPLEMENT], ids=str)
def test_the_tables_are_those_of_the_records(folder, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = study.read(store.read_manifest(folder), store.load(folder))
    for table in evidence.gather(found).tables:
        path = folder / "tables" / f"{table.name}.csv"
        assert path.read_text(encoding="utf-8") == tables.to_csv(table), path
