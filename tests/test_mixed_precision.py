"""docs/mixed_precision.md: its block compares two sweeps."""

import re
from pathlib import Path

import pytest

from experiments.figures import draw
from experiments.sweep import run_sweep
from tests.experiments.sweeps import by_either, run_by

pytestmark = pytest.mark.usefixtures("unoptimised")
PAGE = (Path(__file__).parent.parent / "docs" / "mixed_precision.md").read_text(encoding="utf-8")


@by_either
def test_the_page_on_mixed_precision_compares_two_sweeps(tmp_path, monkeypatch, capsys, runner):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(draw, "draw_all", lambda folder, found: None)
    run_by(monkeypatch, runner)
    for dtype in ("float32", "bfloat16"):
        run_sweep(
            "smoke",
            datasets=["irradiance"],
            strategies=["clip"],
            backbones=["mlp"],
            epochs=1,
            seeds=4,
            dtype=dtype,
            out=f"results/{dtype}",
        )
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    capsys.readouterr()
    exec(code, {})
    said = capsys.readouterr().out
    number = r"-?[01]\.[0-9]{2}"
    line = rf"irradiance mlp between dtypes {number}, between seeds {number}\n"
    assert re.fullmatch(line, said)
