"""Each kind of figure as a function of records, drawn of a small sweep."""

import io

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from experiments import store
from experiments.analysis import study
from experiments.figures import constraint_shapes, draw, plots
from experiments.figures.style import HEALTH, styled
from experiments.usage import UsageError
from tests.experiments import written
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("few_shapes")
DATASETS = (
    "wind",
    "flights",
    "irradiance_soiled",
    "irradiance",
    "sines",
    "dial_base",
    "dial_windows_50",
)
STRATEGIES = (
    "unconstrained",
    "clip",
    "smooth_clip",
    "clip_at_evaluation",
    "tanh_interval",
    "climatology_clipped",
)
GIVEN = {
    "seeds": ({}, "seeds"),
    "planned_comparisons": ({}, "planned_comparisons"),
    "dials": ({"backbone": "conditioned"}, "dials_conditioned"),
    "soft_frontier": ({}, "soft_frontier"),
    "rule": ({}, "rule"),
    "gradient_health": ({}, "gradient_health"),
    "collapse": ({}, "collapse"),
    "wrong_bound": ({"dataset": "irradiance_soiled"}, "wrong_bound_irradiance_soiled"),
    "training_curves": ({"dataset": "wind"}, "training_curves_wind"),
    "example_window": ({"dataset": "wind", "backbone": "bottleneck"}, "example_wind_bottleneck"),
}
"""What each function is given, and the figure of the page that it draws."""


def arrays_of(record):
    if not record.cell.is_trained:
        return {}
    epochs = np.array([5, 10, 15])
    history = {f"history_{name}": 1 / epochs for name in ("mse", *HEALTH)}
    target = np.linspace(0.2, 0.8, 4)[None, :, None] * np.ones((2, 1, 1))
    windows = {"example_targets": target, "example_upper": target + 0.1}
    return {"history_epoch": epochs, **history, **windows, "example_output": target - 0.1}


def tuning():
    names = ("clip_at_evaluation", "hinge")
    return [
        written.record(name, dataset, phase="tune", seed=1000)
        for name in names
        for dataset in ("wind", "flights")
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "mine"
    described = written.manifest(list(DATASETS))
    described["datasets"]["wind"] |= {"unit": "kn", "columns": ["gust"]}
    written.save(folder, [], described)
    for record in [*written.sweep(DATASETS, STRATEGIES, seeds=2), *tuning()]:
        store.save(folder, record, arrays_of(record))
    return folder


@pytest.fixture(scope="module")
def records(folder):
    return store.load(folder)


@pytest.fixture(scope="module")
def page(folder):
    """The figures of the page by name."""
    read = store.read(folder)
    found = study.read(store.read_manifest(folder), read)
    with styled():
        return {one.name: one.figure for one in draw.sketches(found, store.arrays_of(folder, read))}


def texts(figure):
    figure.draw_without_rendering()
    found = figure.findobj(lambda part: isinstance(part, Text) and part.get_text())
    return [(one.get_text(), one.get_fontsize(), one.get_parse_math()) for one in found]


def test_every_kind_has_a_documented_function(page):
    assert set(plots.__all__) == {*GIVEN, "constraint_shapes", "starts"}
    assert all(getattr(plots, name).__doc__ for name in plots.__all__)
    kinds = {*(name for _, name in GIVEN.values()), "constraint_shapes"}
    left = {name for name in page if not name.startswith(tuple(plots.__all__))} - kinds
    assert {name.split("_")[0] for name in left} == {"example"}


@pytest.mark.parametrize("name", sampled(GIVEN, {"seeds", "dials", "example_window"}))
def test_it_is_the_figure_of_the_page(folder, records, page, name):
    given, of_page = GIVEN[name]
    before = dict(matplotlib.rcParams)
    figure = getattr(plots, name)(records, folder=folder, **given)
    assert dict(matplotlib.rcParams) == before
    assert isinstance(figure, Figure)
    with styled():
        expected = texts(page[of_page])
    assert texts(figure) == expected
    assert figure.get_size_inches().tolist() == page[of_page].get_size_inches().tolist()
    figure.savefig(io.BytesIO(), format="svg")


def test_shapes_are_of_no_records():
    assert len(plots.constraint_shapes().axes) == len(constraint_shapes.SHAPES)


def test_two_sweeps_that_start_in_two_ways(folder, records):
    figure = plots.starts(records, records, folder, folder)
    assert [axes.get_title() for axes in figure.axes] == ["bottleneck"] * 2 + ["conditioned"] * 2


def test_of_some_records_those_are_drawn_and_a_folder_may_be_left_out(records):
    few = [one for one in records if one["config"]["strategy"]["name"] != "smooth_clip"]
    labels = plots.seeds(few).axes[0].get_yticklabels()
    assert {label.get_text() for label in labels} == {*STRATEGIES} - {"smooth_clip"}


@pytest.mark.parametrize("name", GIVEN)
def test_what_is_not_there_is_said(folder, records, name):
    given, _ = GIVEN[name]
    baselines = [one for one in records if one["config"]["backbone"] == "none"]
    function = getattr(plots, name)
    if name not in ("seeds", "wrong_bound"):  # which baselines alone have too
        with pytest.raises(UsageError, match="These records hold nothing to draw here: that takes"):
            function(baselines, folder=folder, **given)
    if "dataset" in given:
        with pytest.raises(UsageError, match="Unknown dataset 'winds'. Did you mean 'wind'"):
            function(records, folder=folder, **{**given, "dataset": "winds"})
