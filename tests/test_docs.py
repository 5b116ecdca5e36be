"""The pages in docs/: blocks run, links lead somewhere, and nothing public is missing."""

import csv
import inspect
import re
import tomllib
from importlib import import_module
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bounded
from bounded import constraints, sets
from experiments import saved
from experiments.data.user_files import NAMES
from experiments.figures import draw, plots
from experiments.sweep import main
from experiments.training.strategies import TRAINED
from extensions import gallery, pages, reference

pytestmark = pytest.mark.usefixtures("unoptimised")
ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")


def block(name):
    """What a recipe's section defines, after the page's first block."""
    names: dict = {}
    first, *sections = PAGE.split("\n## ")
    section = next(one for one in sections if one.startswith(f"{name}\n"))
    for code in re.findall(r"```python\n(.*?)```", first + section, re.DOTALL):
        exec(code, names)
    return names


def trained(name, names, progress=0.5):
    row = TRAINED[name]
    given = [names[key] for key in ("raw", "lower", "upper")]
    hyper = jnp.asarray(row.hyper(row.hyperparameters))
    output, penalty = row.train(*given, progress, jnp.zeros(()), hyper)
    loss = jnp.mean((output - names["targets"]) ** 2) + jnp.mean(penalty)
    return output, loss, row.evaluate(*given, hyper)


def test_every_strategy_without_a_function_has_a_recipe():
    own = {"clip_at_evaluation", "clip_after_warmup", "clip_with_displacement"}
    own |= {"annealed_smooth_clip", "dc3_correction"}
    assert own == set(re.findall(r"^## (\w+_\w+)$", PAGE, re.MULTILINE))
    assert own <= set(TRAINED)


def test_clip_at_evaluation():
    names = block("clip_at_evaluation")
    _, loss, evaluated = trained("clip_at_evaluation", names)
    np.testing.assert_allclose(names["loss"], loss)
    np.testing.assert_array_equal(names["output"], evaluated)


@pytest.mark.parametrize("progress", [0.05, 0.5])
def test_clip_after_warmup(progress):
    names = block("clip_after_warmup")
    given = (names[key] for key in ("raw", "lower", "upper"))
    found, penalty = names["clip_after_warmup"](*given, progress)
    output, loss, _ = trained("clip_after_warmup", names, progress)
    np.testing.assert_array_equal(found, output)
    np.testing.assert_allclose(jnp.mean((found - names["targets"]) ** 2) + penalty, loss)


def test_clip_with_displacement():
    names = block("clip_with_displacement")
    output, loss, _ = trained("clip_with_displacement", names)
    np.testing.assert_array_equal(names["output"], output)
    np.testing.assert_allclose(names["loss"], loss)


def test_annealed_smooth_clip():
    names = block("annealed_smooth_clip")
    output, _, _ = trained("annealed_smooth_clip", names)
    np.testing.assert_allclose(names["output"], output, rtol=1e-6)


def test_dc3_correction():
    names = block("dc3_correction")
    output, _, evaluated = trained("dc3_correction", names)
    np.testing.assert_allclose(names["output"], output, rtol=1e-6)
    np.testing.assert_allclose(names["output"], evaluated, rtol=1e-6)


@pytest.mark.thorough
def test_a_hierarchy_adds_up_and_a_vector_is_as_long_as_it_may():
    names = block("Hierarchies")
    np.testing.assert_allclose(names["reconciled"], [[23 / 3, 23 / 3, 0]], atol=1e-5)
    names = block("Vectors")
    np.testing.assert_allclose(names["within_gust"], [[3, 4], [3, 1]], rtol=1e-5)


@pytest.mark.thorough
def test_bounds_that_tighten_are_loose_first_and_themselves_in_the_end():
    names = block("Bounds that tighten")
    slack = [float(names["slack"](progress)) for progress in (0, 0.25, 0.5, 1)]
    assert slack == [1, 0.5, 0, 0]
    assert names["loose"] > 0.5
    np.testing.assert_array_equal(names["output"], names["raw"])
    assert (jnp.abs(names["output_of_rows"].sum(-1) - jnp.array([1.0, 1.5])) <= 0.6001).all()
    assert ((names["output_of_functions"] ** 2).sum(-1) <= 1.6001).all()


def test_missing_targets_reach_neither_loss_nor_gradient():
    names = block("Missing targets")
    assert jnp.isfinite(names["loss_of_known"])

    def loss(raw):
        output = constraints.clip(raw, names["lower"], names["upper"])
        errors = (output - jnp.where(names["known"], names["partly"], 0)) ** 2
        return jnp.mean(errors, where=names["known"])

    gradient = jax.grad(loss)(names["raw"])
    assert jnp.isfinite(gradient).all()
    assert gradient[0, 1] == 0


def test_padding_is_left_out():
    names = block("Padded windows")
    assert names["within"].tolist() == [[True, True], [True, False]]
    assert jnp.isfinite(names["loss_within"])


def test_figures_of_records_are_drawn(tmp_path, monkeypatch):
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.chdir(tmp_path)
    names = block("Figures of records")
    assert names["figure"].get_supylabel() == "Validation mean squared error"
    assert (tmp_path / "seeds.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "curves.png").exists()
    for name in re.findall(r"^\| (`.*?) \|", PAGE.split("## Figures of records")[1], re.M):
        for function in re.findall(r"`(\w+)`", name):
            assert function in plots.__all__


def test_a_physical_bound_after_the_way_back():
    """As far outside as the page says, and exact when clipped in physical units."""
    names = block("Scaled networks")
    assert (names["scaled"] <= names["scaled_upper"]).all()
    beyond = names["physical"] - names["physical_upper"]
    eps = float(jnp.finfo(jnp.float32).eps)
    most = 2 * eps * (names["mean"] + jnp.abs(names["physical_upper"]))
    assert beyond.max() > 0
    assert (beyond <= most).all()
    assert most.max() < 7e-6
    assert (names["exact"] <= names["physical_upper"]).all()
    np.testing.assert_allclose(names["exact"], names["physical"], atol=7e-6)
    upper = names["physical_upper"]
    assert (8 * constraints.clip(jnp.full(1000, 99.0), upper=upper / 8) == upper).all()


@pytest.mark.thorough
def test_the_page_on_ones_own_is_true(tmp_path, monkeypatch):
    """Its blocks run in its order, and the model has the weights that gave the predictions."""
    page = (ROOT / "docs" / "own.md").read_text(encoding="utf-8")
    data, network, metric, result = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(draw, "draw_all", lambda folder, found: None)
    (tmp_path / "written_by_the_reader.py").write_text(network + metric)
    names: dict = {}
    exec(data, names)
    command = re.search(r"python -m experiments.sweep (.*?)\n```", page, re.DOTALL)[1].replace(
        "\\\n", " "
    )
    of = "written_by_the_reader"
    more = ["--backbones", f"bottleneck,{of}:Net", "--metrics", f"{of}:peak", "--seeds", "1"]
    more += ["--strategies", "clip"]
    assert main([*command.split(), *more]) == 0
    assert f"{of}:peak" in (tmp_path / "results" / "prices" / "summary.csv").read_text()
    exec(result, names)
    kept, scaling = names["test"], saved.scaling("results/prices", names["record"]["id"])
    inputs = (names["inputs"][kept["window"]] - scaling["inputs_mean"]) / scaling[
        "inputs_deviation"
    ]
    bounds = (jnp.asarray(kept[side] / scaling["scale"]) for side in ("lower", "upper"))
    output = names["model"](jnp.asarray(inputs, jnp.float32), *bounds) * scaling["scale"]
    np.testing.assert_allclose(output, kept["outputs"], rtol=1e-5)


def test_the_page_on_ones_own_lists_every_array_of_a_file():
    page = (ROOT / "docs" / "own.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", page.split("## Data")[1].split("```")[0], re.M)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(NAMES)


@pytest.mark.thorough  # beside the example of the README
def test_the_quickstart_runs():
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    names: dict = {}
    with jax.numpy_rank_promotion("allow"):  # as it is for a reader
        for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
            exec(code, names)
    assert names["losses"][-1] < 0.7 * names["losses"][0]


def test_every_public_name_is_in_the_reference():
    written = "\n".join(reference.pages().values())
    shown = re.findall(r"auto(?:function|class):: (\w+)", written)
    modules = {name for name in bounded.__all__ if f"bounded.{name}" in written}
    assert set(bounded.__all__) - modules <= set(shown)
    assert len(shown) == len(list(reference.names()))
    for name in reference.MODULES:
        module = import_module(f"bounded.{name}")
        assert f".. automodule:: {module.__name__}\n" in written
        assert set(getattr(module, "__all__", ())) <= set(shown)


def test_every_map_is_in_the_gallery_with_what_its_module_says_of_it():
    """A new one needs a line in a table of the docstring of `constraints` or `sets`."""
    drawn = {name for name, _ in gallery.single()}
    assert drawn == set(gallery.told(constraints))
    maps = {
        name
        for name, function in reference.public(sets).items()
        if next(iter(inspect.signature(function).parameters)) == "raw"
        and "_with_" not in name  # which give more than an output
    }
    assert maps == set(gallery.told(sets))
    for facts in (*gallery.told(constraints).values(), *gallery.told(sets).values()):
        assert facts["holds"]


@pytest.mark.thorough  # as `make docs` does
def test_every_map_onto_a_set_can_be_drawn_of_two_outputs():
    assert {name for name, *_ in gallery.together()} == set(gallery.told(sets))


def test_every_example_is_a_tutorial_with_a_title():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for path in (ROOT / "examples").glob("*.py"):
        assert f"\ngenerated/{path.stem}\n" in index, f"{path.stem} is not in docs/index.md"
        text = path.read_text(encoding="utf-8")
        assert re.match(r'# %% \[markdown\]\n"""\n# .+\n', text), f"{path.stem} has no title"


def links(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [found[1] for found in pages.LINK.findall(text)]


PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += [*(ROOT / "docs").glob("*.md"), *pages.ELSEWHERE.values()]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_what_is_linked_is_there(path):
    for target in links(path):
        assert (path.parent / target).exists(), target
        assert pages.GENERATED not in (path.parent / target).resolve().parents, target


NUMBER = re.compile(r'\[([^\]\[]*)\]\(([^)#]*)#L(\d+) "(\w+)"\)')
NUMBERS = {"README.md": 5, "docs/study.md": 60, "docs/choosing.md": 5}  # at least


@pytest.mark.parametrize("page", NUMBERS)
def test_numbers_are_those_of_the_cells_that_they_are_linked_to(page):
    """The line is in the link, the column in its title; to as many digits as are shown."""
    text = (ROOT / page).read_text(encoding="utf-8")
    links = NUMBER.findall(text)
    assert len(links) >= NUMBERS[page]
    assert len(links) == len(re.findall(r"\.csv#", text))
    for shown, name, line, column in links:
        with open((ROOT / page).parent / name, encoding="utf-8", newline="") as file:
            row = list(csv.DictReader(file))[int(line) - 2]
        number, percent, _ = shown.replace("−", "-").partition(" %")
        digits = len(number.partition(".")[2])
        there = float(row[column]) * (100 if percent else 1)
        there = there if number[0] in "+-" else abs(there)  # whose sign the words tell
        assert abs(float(number) - there) <= 0.51 * 10**-digits, (shown, name, line, column)


def test_links_lead_to_pages_on_the_site():
    def moved(text, origin, page):
        return pages.relinked(text, ROOT / origin, ROOT / page)

    generated = "docs/generated/contributing.md"
    text = '[a](docs/own.md#data), [b](examples/start.py), [c](Makefile#L2 "x"), ![d](docs/x.png)'
    assert moved(text, "CONTRIBUTING.md", generated) == (
        '[a](../own.md#data), [b](start.py), [c](path:../../Makefile "x"), ![d](../x.png)'
    )
    text = "[a](../CHANGELOG.md), [b](../bounded/starts.py), [c](https://jax.dev), [d](#e)"
    assert moved(text, "docs/own.md", "docs/own.md") == (
        "[a](generated/changelog.md), [b](generated/reference/starts.rst), "
        "[c](https://jax.dev), [d](#e)"
    )


def test_one_version_is_cited():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1]
    assert project["version"] == cited == bounded.__version__
