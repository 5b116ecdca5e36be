"""The README's own words, and the other pages', tried."""

import csv
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from bounded import constraints, sets
from experiments.figures import draw

pytestmark = pytest.mark.usefixtures("unoptimised")
ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def python_in(path):
    return re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)


LOSS, SETS, SWEEP, CURVES = python_in(ROOT / "README.md")


def test_the_five_lines_of_the_readme_run():
    names: dict = {}
    exec(LOSS, names)
    weights = {"hidden": jnp.ones((3, 4)), "out": jnp.ones((4, 3))}
    loss, gradient = jax.value_and_grad(names["loss"])(weights, jnp.ones((2, 3)), jnp.zeros((2, 3)))
    assert jnp.isfinite(loss)
    assert (gradient["out"] != 0).all()


def test_the_readmes_sets_hold():
    names: dict = {}
    exec(SETS, names)
    assert names["shares"].sum() < 2
    assert (names["shares"] > 0).all()
    np.testing.assert_allclose(names["nearest"], [1.5, 0.5, 0], atol=1e-6)
    functions = [name for name in sets.__all__ if callable(getattr(sets, name))]
    for name in functions:
        if name.startswith("budget") or name in ("affine_projection", "affine_hardnet"):
            assert f"`{name}`" in README, name


LINK = re.compile(r"\[([^\]\[]*(?:\[[^\]]*\])?)\]\(([^)#]*)#L(\d+)\)")


def test_numbers_stand_in_the_lines_that_they_are_linked_to():
    """To as many digits as are shown."""
    links = LINK.findall(README)
    assert len(links) > 20
    for shown, name, line in links:
        with open(ROOT / name, encoding="utf-8", newline="") as file:
            row = list(csv.reader(file))[int(line) - 1]
        number, percent, _ = shown.partition(" [")[0].replace("−", "-").partition(" %")
        scale, digits = (100 if percent else 1), len(number.partition(".")[2])
        found = [scale * float(text) for text in row if re.fullmatch(r"-?\d[\d.e-]*", text)]
        assert any(abs(float(number) - one) <= 0.51 * 10**-digits for one in found), shown


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_what_is_linked_is_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), target


def test_every_constraint_is_in_the_readme():
    public = [name for name, value in vars(constraints).items() if callable(value)]
    for name in public:
        if not name.startswith("_") and name.islower():
            assert f"`{name}" in README, name


@pytest.mark.usefixtures("unoptimised_processes")
def test_a_sweep_from_python_and_plots_of_ones_own(tmp_path, monkeypatch):
    """What the README's examples read and write; the second reads the first's records."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(draw, "draw_all", lambda folder, found: None)
    for code, figure in [(SWEEP, "temperature.png"), (CURVES, "curves.png")]:
        plt.figure()
        exec(code, {"__name__": "__main__"})
        assert (tmp_path / figure).stat().st_size > 0
        drawn = plt.gca().collections or plt.gca().lines
        assert len(drawn) == len(plt.gca().get_legend().get_texts()) >= 2
        plt.close()
