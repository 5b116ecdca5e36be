"""What a folder's names and pictures become on the page, in tables and on the terminal."""

import csv
import io
import os
import re
import warnings
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from experiments import archive, console, report, store
from experiments.figures import draw
from experiments.figures.style import short
from experiments.page import build, render
from tests.experiments import written
from tests.sampled import sampled

# Pictures.


def png(size, **more):
    buffer = io.BytesIO()
    Image.new("1", size).save(buffer, "PNG", compress_level=1, **more)
    return buffer.getvalue()


def with_text():
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("x", "\0" * 100_000_000, zip=True)
    return png((10, 10), pnginfo=info)


PICTURES = {
    "huge": lambda: png((20_000, 20_000)),
    "beyond what Pillow opens": lambda: png((20_000, 10_000)),
    "a bomb of text": with_text,
    "PostScript, which another program is run for": lambda: (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    ),
    "cut": lambda: png((10, 10))[:40],
}


@pytest.mark.parametrize("kind", sampled(PICTURES, lambda kind: kind != "huge"))
@pytest.mark.usefixtures("undrawn")
def test_a_picture_that_is_no_figure_of_a_sweep_is_not_shown(folder, kind):
    content = PICTURES[kind]()
    for name in ("a.png", "b.png"):
        (folder / "figures" / name).write_bytes(content)
    (picture,) = render.pictures(folder)
    assert (picture.name, picture.source) == ("a.png", "")
    build.build(folder)
    assert 'href="figures/a.png"' in (folder / "report.html").read_text()


# Text.

FORMULA = '=HYPERLINK("http://x")'
FORMULAS = [FORMULA, "+1", "-1+1", "@SUM(1)", "\t=1", "＝1"]


@pytest.mark.usefixtures("undrawn")
def test_no_cell_of_a_csv_file_is_a_formula(folder):
    for name in [*FORMULAS, "x\r=1"]:  # whose second line would be a row
        for record in written.sweep([name], (name, "clip"), seeds=1):
            store.save(folder, record, {})
        store.save(folder, written.record(name, "wind", error=name), {})
    build.build(folder)
    seen = set()
    for path in [folder / "summary.csv", *(folder / "tables").glob("*.csv")]:
        with path.open(newline="") as file:
            for entry in (entry for row in csv.reader(file) for entry in row):
                seen.add(entry)
                if entry.startswith(("=", "+", "-", "@", "\t", "\r")):
                    float(entry)
    assert {f"'{name}" for name in FORMULAS} <= seen


def test_nothing_that_steers_a_terminal_is_printed(folder, capsys):
    name = "\x1b[2J\x9b1m\u202egnp.exe\x07"
    for record in written.sweep([name], (name, "clip"), seeds=1):
        store.save(folder, record, {})
    (folder / "cells" / "\x1b[2J.json").write_text("{")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "draw_all", lambda folder, found: None)
        patch.setattr(warnings, "formatwarning", warnings.formatwarning)
        console.say_warnings()
        shown = io.StringIO()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert report.main([str(folder), "--latex"]) == 0
        for one in caught:
            shown.write(warnings.formatwarning(one.message, one.category, "", 0))
    console.say(Console(file=shown, force_terminal=False), f"failed {name}: {name}")
    printed = capsys.readouterr()
    text = printed.out + printed.err + shown.getvalue()
    assert "\\x1b[2J" in text
    for path in [folder / "report.html", *(folder / "tables").glob("*.tex")]:
        text += path.read_text(encoding="utf-8")
    assert not set(text) & set("\x1b\x9b\u202e\x07")


@pytest.mark.usefixtures("undrawn")
def test_a_folder_whose_name_is_no_text_is_reported(folder, tmp_path, capsys):
    odd = tmp_path / os.fsdecode(b"\xff\x1b")
    folder.rename(odd)
    assert report.main([str(odd)]) == 0
    assert archive.main([str(odd)]) == 0
    assert "page: " in (told := capsys.readouterr().out)
    assert "\\udcff\\x1b" in told
    assert "\\udcff\\x1b" in (odd / "report.html").read_text(encoding="utf-8")


def test_a_strategy_of_any_name_is_in_the_legend():
    assert short("mine:_private") == "…_private"
    assert short("mine:\x1b\n[2J") == "\\x1b [2J"


def test_every_promise_names_a_test_that_is_there():
    tests = Path(__file__).parents[2]
    text = (tests.parent / "docs" / "results_folder.md").read_text(encoding="utf-8")
    sources = "".join(path.read_text(encoding="utf-8") for path in tests.rglob("test_*.py"))
    files_named = set(re.findall(r"`((?:\w+/)?test_\w+\.py)`", text))
    tests_named = set(re.findall(r"`(test_\w+)`", text))
    assert len(files_named) > 4
    assert len(tests_named) > 15
    assert all((tests / "experiments" / name).exists() for name in files_named)
    assert not [name for name in tests_named if f"def {name}(" not in sources]
