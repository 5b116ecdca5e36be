"""`python -m experiments.report` for a paper: what is written, where, and what is refused."""

import csv
import re

import pytest

from experiments import report
from experiments.figures import captions, draw
from tests.experiments import written
from tests.experiments.page import sweeps
from tests.experiments.sweeps import draw_only
from tests.sampled import sampled

CHOSEN = ("smooth_clip", "squared_hinge")
DATASETS = ("wind", "flights", "streamflow", "sines")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "mine"
    records = written.sweep(DATASETS, seeds=2)
    records.append(written.record("clip", "spectrum"))
    records.append(written.record("hinge", "wind", error="diverged"))
    written.save(folder, records, written.manifest([*DATASETS, "spectrum"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "draw_all", sweeps.draw)
        assert report.main([str(folder)]) == 0
    return folder


def contents(folder):
    paths = (path for path in folder.rglob("*") if path.is_file() and "paper" not in path.parts)
    return {path: path.read_bytes() for path in paths}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_figures_and_tables_of_a_part_are_written_apart_and_the_sweeps_own_stay(
    original, tmp_path, capsys
):
    before = contents(original)
    of = ["--strategies", ",".join(CHOSEN), "--datasets", "wind,flights"]
    of += ["--backbones", "bottleneck"]
    assert report.main([str(original), *of, "--format", "svg", "--latex"]) == 0
    out = original / "paper"
    assert capsys.readouterr().out == f"figures and tables: {out}\n"
    assert contents(original) == before
    assert {path.name for path in out.iterdir()} == {"figures", "tables"}
    assert {path.suffix for path in (out / "figures").iterdir()} == {".svg", ".json"}
    assert (out / "tables" / "headline.tex").exists()
    assert captions.read(out).keys() >= {"seeds.svg", "constraint_shapes.svg"}
    of_seeds = (out / "figures" / "seeds.svg").read_text()
    assert {"wind", "flights"} < set(re.findall(r">(\w+)</text>", of_seeds))
    assert "streamflow" not in of_seeds
    hidden = {"clip", "straight_through_clip", "relu_offset", "scaled_bound", "hinge"}
    for path in (out / "figures").glob("*.svg"):
        text = path.read_text()
        shown = set(re.findall(r">(\w+)\*?</text>", text))
        assert not hidden & shown, path
        assert "conditioned" not in text, path
    headline = {row["strategy"]: row for row in rows(out / "tables" / "headline.csv")}
    assert headline.keys() == set(CHOSEN)
    assert not (out / "tables" / "failed.csv").exists()


def test_what_is_shown_of_few_strategies_is_what_all_gives(original, tmp_path, monkeypatch):
    """Skill, ranks and p-values count those that are not shown."""
    monkeypatch.setattr(draw, "draw_all", lambda *of: None)
    out = tmp_path / "few"
    given = [str(original), "--out", str(out), "--strategies", ",".join(CHOSEN)]
    assert report.main(given) == 0
    for name in ("headline", "planned_comparisons", "every_strategy", "metrics-wind-bottleneck"):
        whole = {tuple(row.values()) for row in rows(original / "tables" / f"{name}.csv")}
        part = {tuple(row.values()) for row in rows(out / "tables" / f"{name}.csv")}
        part = {row[: len(next(iter(part)))] for row in part}
        assert {row[0] for row in part} <= set(CHOSEN)
        if name != "headline":  # which has a column for failed cells, where there are any
            assert part < whole
    assert "among all strategies" in report.__doc__


@pytest.mark.parametrize("of", sampled(["seeds", ""], bool))  # one figure, every figure
@pytest.mark.parametrize(
    ("form", "text"), [("pdf", b"/CIDFontType2"), ("svg", b">smooth_clip</text>")]
)
def test_text_of_a_paper_is_text_figures_are_as_wide_as_its_text_and_the_same_to_the_byte(
    original, tmp_path, monkeypatch, form, text, of
):
    draw_only(monkeypatch, of, 1 if of else None)
    written_twice = []
    for _ in range(2):  # in place of what was there before
        out = tmp_path / "paper"
        given = [str(original), "--out", str(out), "--format", form]
        assert report.main([*given, "--datasets", "wind,flights"]) == 0
        written_twice.append({path: path.read_bytes() for path in out.rglob("*.*")})
    assert written_twice[0] == written_twice[1]
    paths = [path for path in (out / "figures").iterdir() if path.suffix != ".json"]
    assert {path.suffix for path in paths} == {f".{form}"}
    assert text in (out / "figures" / f"seeds.{form}").read_bytes()
    for path in paths:
        content = path.read_bytes()
        assert b"/Type3" not in content
        size = re.search(rb"MediaBox \[ 0 0 ([\d.]+)|<svg [^>]*width=\"([\d.]+)pt", content)
        assert float(size[1] or size[2]) <= 72 * 7.1, path


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--strategies", "smoth_clip"], "Unknown strategy 'smoth_clip'. Did you mean 'smooth_c"),
        (["--datasets", "winds"], "Unknown dataset 'winds'. Did you mean 'wind'?"),
        (["--backbones", "none"], "Unknown backbone 'none'."),
        (["--strategies", "hinge", "--datasets", "sines"], "No final cell is of all that was"),
    ],
)
def test_a_name_that_is_not_there_is_refused_with_the_nearest(
    original, tmp_path, capsys, given, told
):
    assert report.main([str(original), *given, "--out", str(tmp_path / "out")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_papers_folder_is_no_sweeps(original, tmp_path, capsys):
    before = contents(original)
    assert report.main([str(original), "--out", str(original)]) == 2
    assert "is the folder of a sweep" in capsys.readouterr().err
    other = written.save(tmp_path / "other", [written.record("clip", "wind")])
    assert report.main([str(original), "--out", str(other), "--format", "pdf"]) == 2
    assert contents(original) == before
    (tmp_path / "file").write_text("mine")
    assert report.main([str(original), "--out", str(tmp_path / "file")]) == 1
    assert "cannot be written to" in capsys.readouterr().err
    assert report.main([str(tmp_path / "nothing"), "--format", "pdf"]) == 2
    assert "holds no sweep" in capsys.readouterr().err
