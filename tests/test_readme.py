"""The README's own words, and those of the pages on sweeps, tried."""

import re
from operator import attrgetter
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import pytest

import bounded
from experiments.figures import draw
from tests.experiments.sweeps import by_either, run_by

pytestmark = pytest.mark.usefixtures("unoptimised")
ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


SHORTER = {
    "epochs=20": "backbones=['mlp']",
    "workers=2": "workers=None",
    "(1, 0.1, 0.01)": "(0.1,)",
}


def python_in(path):
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def test_it_is_read_in_two_minutes():
    assert len(README.split()) < 700


def test_the_example_runs_as_it_stands():
    example, at_the_end = python_in(ROOT / "README.md")
    assert len(example.splitlines()) < 15
    names: dict = {}
    with jax.numpy_rank_promotion("allow"):  # as it is for a reader
        exec(example, names)
        assert (names["y"] >= names["lower"]).all()
        assert (names["raw"] > names["upper"]).any()
        exec(at_the_end, names)
    assert (names["y"] <= names["upper"]).all()


def test_what_the_table_names_can_be_imported():
    table = README.split("## Which one?")[1].split("\n\n")[1].splitlines()
    _, _, *rows = [line.strip("|").split("|") for line in table]
    assert len(rows) == 6
    for row in rows:
        assert len(row) == 4
        (name,) = re.findall(r"`([\w.]+)`", row[1])
        assert callable(attrgetter(name)(bounded))


@by_either
def test_a_sweep_from_python_and_plots_of_ones_own(tmp_path, monkeypatch, runner):
    """What the examples of docs/sweep.md read and write; the second reads the first's records."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(draw, "draw_all", lambda folder, found: None)
    run_by(monkeypatch, runner)
    figures = "temperature.png", "curves.png"
    for code, figure in zip(python_in(ROOT / "docs" / "sweep.md"), figures, strict=True):
        plt.figure()
        for written, instead in SHORTER.items():
            assert (written in code) == (figure == figures[0])
            code = code.replace(written, instead)
        exec(code, {"__name__": "__main__"})
        assert (tmp_path / figure).stat().st_size > 0
        drawn = plt.gca().collections or plt.gca().lines
        assert len(drawn) == len(plt.gca().get_legend().get_texts()) >= 2
        plt.close()
