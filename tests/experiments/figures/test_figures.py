"""What figures hold, drawn from records written by hand; nothing is trained."""

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from PIL import Image

from bounded import constraints
from experiments.analysis import study
from experiments.analysis.tables import slug
from experiments.cells import Cell, Record
from experiments.data.catalogue import DATASETS
from experiments.figures import (
    captions,
    constraint_shapes,
    draw,
    example_windows,
    seeds,
    style,
    training_curves,
)
from experiments.figures.style import FAMILIES, STYLE, few, look, percent, short
from experiments.training.strategies import EVERY_STRATEGY, TRAINED
from tests.sampled import sampled

NONE = study.read({}, [])
STEPS = 3
STRATEGIES = ("unconstrained", "clip", "smooth_clip", "relu_offset")
ROLES = {"diffuse": "study", "sines": "autoencoder", "irradiance_soiled": "wrong_bound"}
GROUPS = {"diffuse": "irradiance", "sines": "sines", "irradiance_soiled": "irradiance"}
OWN = "my_module:of_$a_and_$b"


def record(strategy, dataset, backbone="bottleneck", seed=0, status="done", **metrics):
    """A cell's; `mse` of 0.5 unless given."""
    cell = Cell(dataset, "", "final", strategy, backbone, seed)
    shares = dict.fromkeys(style.HEALTH, 0.25 if strategy == "clip" else 0.0)
    trained = {"code_reliance": 0.2, **shares} if backbone != "none" else {}
    found = {"mse": 0.5, "r2": 0.5, "violation_rate": 0.0, **trained, **metrics}
    error = None if status == "done" else "diverged"
    return Record(cell, status, {} if error else found, error=error)


def arrays(length=4, steps=STEPS, features=1):
    """Of a cell: a history of so many chunks, and two example windows."""
    epochs = 5 * np.arange(1, length + 1)
    target = np.linspace(0.2, 0.8, steps)[:, None] * np.ones((2, 1, features))
    return {
        "history_epoch": epochs,
        "history_mse": 1 / epochs,
        **{f"history_{name}": np.linspace(0.5, 0.1, length) for name in style.HEALTH},
        "example_inputs": target[..., :1] + 0.1,
        "example_targets": target,
        "example_upper": target + 0.1,
        "example_output": target - 0.1,
    }


BOTH = ("bottleneck", "conditioned")


def sweep(seeds=2, backbones=BOTH, strategies=STRATEGIES, datasets=tuple(ROLES)):
    """Records of every strategy, and of a baseline; by default a dataset for each role."""
    found = []
    for dataset in datasets:
        found.append(record("climatology_clipped", dataset, "none", mse=1.0))
        for place, name in enumerate(strategies):
            for backbone in backbones:
                for seed in range(seeds):
                    numbers = {"mse": 0.1 * (1 + place) + 0.01 * seed, "r2": 0.9 - 0.2 * place}
                    numbers["violation_rate"] = 0.1 if name == "unconstrained" else 0.0
                    found.append(record(name, dataset, backbone, seed, **numbers))
    return found


def sketched(records, of=None, roles=ROLES, groups=GROUPS):
    """Every sketch by name; of all records, unless given, the same arrays."""
    made = arrays()
    of = {r.id: made for r in records if r.cell.is_trained} if of is None else of
    held = {r.id: of.get(r.id, {}) for r in records}
    with rc_context(STYLE):
        found = study.read(described(roles, groups), records)
        return {sketch.name: sketch for sketch in draw.sketches(found, held)}


def described(roles=ROLES, groups=GROUPS):
    """A manifest of datasets alone."""
    return {"datasets": {name: {"role": roles[name], "group": groups[name]} for name in roles}}


@pytest.fixture(autouse=True)
def drawn_in_style():
    with rc_context(STYLE):
        yield


def histories_of(records, of):
    """On `diffuse`, by backbone."""
    return training_curves.histories(records, of)["diffuse"]


@pytest.fixture(scope="module")
def drawn():
    return sketched(sweep())


def texts(axes):
    return [text.get_text() for text in axes.texts]


def row_names(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def labelled(axes):
    """Lines that carry a strategy's name."""
    return {line.get_label(): line for line in axes.lines if line.get_label() in EVERY_STRATEGY}


def test_every_figure_of_a_small_sweep_comes_in_order_with_its_words(drawn):
    of_sweep = ["seeds", "gradient_health", "collapse", "constraint_shapes"]
    of_each = [
        name
        for on in ROLES
        for name in (f"training_curves_{on}", *(f"example_{on}_{backbone}" for backbone in BOTH))
    ]
    assert list(drawn) == of_sweep + of_each
    for sketch in drawn.values():
        assert sketch.title
        assert sketch.caption.endswith(".")
        assert sketch.caption.count(". ") < 3
        assert "nan" not in (sketch.title + sketch.caption).lower()


def test_no_figure_is_wider_than_a_page_and_no_text_smaller_than_eight_points():
    records = sweep(seeds=1, strategies=tuple(TRAINED), datasets=("diffuse",))
    records += [record(name, "sines", backbone) for name in TRAINED for backbone in BOTH]
    for sketch in sketched(records).values():
        assert sketch.figure.get_size_inches()[0] <= style.WIDEST + 1e-9, sketch.name
        for axes in sketch.figure.axes:
            labels = [*axes.texts, axes.title, *axes.get_xticklabels(), *axes.get_yticklabels()]
            assert min(text.get_fontsize() for text in labels) >= 8, sketch.name


def test_every_strategy_has_one_family_and_a_look_of_its_own():
    everywhere = [name for names in FAMILIES.values() for name in names]
    assert sorted(everywhere) == sorted(EVERY_STRATEGY)
    assert sorted(style.LOOKS) == sorted(EVERY_STRATEGY)
    assert len({(*look(name).values(),) for name in EVERY_STRATEGY}) == len(EVERY_STRATEGY)
    assert look(OWN) == look(OWN)
    assert look("smooth_clip(temperature=2)")["color"] == look("smooth_clip")["color"]
    two = [look(f"smooth_clip(temperature={value})") for value in (2, 3)]
    assert two[0] != two[1], "two of one row are told apart"
    assert look(OWN)["color"] not in FAMILIES


@pytest.mark.parametrize("color", [*FAMILIES, style.OWN])
def test_a_mark_stands_out_from_white_by_three_to_one(color):
    """As WCAG 2 measures it."""
    parts = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 3


def test_of_many_strategies_ones_own_the_best_and_one_of_each_family_are_shown():
    assert set(few(TRAINED)) == set(style.ONE_OF_EACH)
    assert set(few([*TRAINED, OWN], ["hinge"])) == {OWN, "hinge", *style.ONE_OF_EACH[:4]}
    assert few(["clip", "bound"]) == ["clip", "bound"]
    assert len(few([f"mine:{number}" for number in range(9)])) == style.MOST_SHOWN


def test_only_a_share_of_none_is_zero_per_cent():
    assert [percent(share) for share in (0, 1e-9, 0.13, 1, np.nan)] == ["0", "<1", "13", "100", "–"]


@pytest.mark.parametrize(
    "name",
    sampled(["constraint_shapes", "seeds", "example_sines_conditioned"], {"seeds"}),
)
def test_with_few_colours_each_is_still_told_from_the_others(drawn, name, tmp_path):
    figure = drawn[name].figure
    draw.save(figure, tmp_path / "few.png")
    with Image.open(tmp_path / "few.png") as few:
        found = np.asarray(few.convert("RGB"), int)
    canvas = FigureCanvasAgg(figure)
    figure.dpi = draw.RESOLUTION
    canvas.draw()
    whole = np.asarray(canvas.buffer_rgba(), int)[..., :3]
    off = np.abs(found - whole).max(axis=-1)
    assert off.max() <= 24
    colours, counts = np.unique(whole.reshape(-1, 3), axis=0, return_counts=True)
    for colour in colours[counts > 0.005 * off.size]:  # of areas, where a tint is seen
        assert off[(whole == colour).all(axis=-1)].max() <= 3, colour


def test_a_training_curve_is_the_median_with_the_quartiles_of_the_seeds():
    factors = (1, 1.5, 2, 3, 1000)
    records = [record("clip", "diffuse", seed=seed) for seed in range(len(factors))]
    base = arrays()["history_mse"].astype(np.float16)  # as packed records have it
    of = {
        r.id: {**arrays(), "history_mse": factor * base}
        for r, factor in zip(records, factors, strict=True)
    }
    sketch = training_curves.training_curves(NONE, "diffuse", histories_of(records, of))
    (axes,) = sketch.figure.axes
    np.testing.assert_allclose(labelled(axes)["clip"].get_ydata(), 2 * base)
    (band,) = (one for one in axes.collections if isinstance(one, PolyCollection))
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(1.5 * base.min())
    assert heights.max() == pytest.approx(3 * base.max())
    assert texts(axes) == ["clip"]


def test_a_training_curve_goes_on_until_more_than_half_of_the_runs_have_ended():
    records = [record("clip", "diffuse", seed=seed) for seed in range(4)]
    runs = [np.array([8.0, 4, 2, 1]), np.array([9.0, 5, 3]), np.array([7.0, 3]), np.array([6.0, 2])]
    of = {
        r.id: {"history_mse": run, "history_epoch": 4 * np.arange(len(run))}
        for r, run in zip(records, runs, strict=True)
    }
    (axes,) = training_curves.training_curves(
        NONE, "diffuse", histories_of(records, of)
    ).figure.axes
    line = labelled(axes)["clip"]
    np.testing.assert_allclose(line.get_xdata(), [0, 4, 8, 12])
    np.testing.assert_allclose(line.get_ydata(), [7.5, 3.5, 2.5, np.nan])


def test_of_many_curves_the_best_and_one_of_each_family_are_drawn():
    records = [record(name, "diffuse") for name in TRAINED]
    of = {r.id: arrays() for r in records}
    best = next(r for r in records if r.cell.strategy == "hinge")
    of[best.id]["history_mse"] = of[best.id]["history_mse"] / 2
    runs = histories_of(records, of)
    (axes,) = training_curves.training_curves(NONE, "diffuse", runs).figure.axes
    assert labelled(axes).keys() == set(texts(axes)) == {"hinge", *style.ONE_OF_EACH[:5]}


def test_examples_are_cut_at_the_edge_of_their_panels():
    far = {**arrays(), "example_output": np.full((2, STEPS, 1), 1e6)}
    windows = {"clip": arrays(), "unconstrained": far}
    axes = example_windows.examples(NONE, "diffuse", "bottleneck", 0, windows).figure.axes
    assert [one.get_title() for one in axes] == ["clip", "unconstrained"]
    clip, other = ({line.get_label(): line for line in one.lines} for one in axes)
    assert clip.keys() == {"target", "output"}
    assert list(clip["output"].get_xdata()) == [0, 1, 2]
    np.testing.assert_allclose(clip["output"].get_ydata(), arrays()["example_output"][-1, :, 0])
    np.testing.assert_allclose(clip["target"].get_ydata(), arrays()["example_targets"][-1, :, 0])
    assert axes[0].get_ylim() == axes[1].get_ylim()
    np.testing.assert_allclose(other["output"].get_ydata(), axes[1].get_ylim()[1])
    (outside,) = axes[0].collections
    heights = outside.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(arrays()["example_upper"].min())
    assert heights.max() == pytest.approx(axes[0].get_ylim()[1])


ABOUT = {"scale": 200.0, "unit": "USD", "columns": ["low", "open"], "title": "Prices"}


def example_of(held, **about):
    """Of two features, as the manifest says of them."""
    of = study.read({"datasets": {"diffuse": about}}, [])
    return example_windows.examples(of, "diffuse", "bottleneck", 0, {"clip": held})


def test_examples_are_in_the_unit_and_with_the_names_of_their_data():
    held = arrays(features=2)
    held["example_targets"][..., 1] *= 5
    held["example_times"] = np.array([["a", "b", "c"], ["2018-03-05", "-06", "2018-03-07"]])
    sketch = example_of(held, **ABOUT)
    (axes,) = sketch.figure.axes
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_allclose(lines["target"], 200 * held["example_targets"][-1, :, 1])
    np.testing.assert_allclose(lines["output"], 200 * held["example_output"][-1, :, 1])
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(200 * held["example_upper"][-1, :, 1].min())
    assert axes.get_ylim()[1] == pytest.approx(heights.max())
    assert sketch.figure.get_supylabel() == "open [USD]"
    assert sketch.figure.get_supxlabel() == "Step, 2018-03-05 to 2018-03-07"
    assert sketch.title == "Example window: Prices, bottleneck"
    held["example_times"][-1] = "2018-03-05"
    assert example_of(held, **ABOUT).figure.get_supxlabel() == "Step, 2018-03-05"


@pytest.mark.parametrize(
    ("about", "label"),
    [
        ({}, "Scaled value"),
        ({"unit": "USD", "columns": ["a", "b"]}, "Scaled value"),
        ({"scale": 2.0, "unit": "W/m²"}, "Target 2 [W/m²]"),
        ({"scale": 2.0, "unit": "1", "columns": ["a"]}, "Target 2"),
        ({"scale": 2.0, "unit": None, "columns": None, "title": None}, "Target 2"),
        (
            {"scale": 2.0, "unit": "x" * 99, "columns": ["a", "b" * 99]},
            "bbbbbbbbbbb… [xxxxxxxxxxxxx…]",
        ),
        ({"scale": 2.0, "columns": ["a", "$b$ \x1b[2J\n_<b>"]}, "$b$ \\x1b[2J _<b>"),
    ],
)
def test_an_axis_is_named_by_what_is_known_of_it(about, label):
    held = arrays(features=2)
    held["example_targets"][..., 1] *= 5
    figure = example_of(held, **about).figure
    assert figure.get_supxlabel() == "Step"
    assert figure.get_supylabel() == label
    assert not figure._supylabel.get_parse_math()
    figure.canvas.draw()


def test_the_name_of_an_axis_is_clear_of_its_numbers_in_a_wide_figure():
    about = {"scale": 2e4, "unit": "thousand", "columns": ["Leisure and Hospitality"]}
    of = study.read({"datasets": {"diffuse": about}}, [])
    found = {name: arrays() for name in ("clip", "hinge", "smooth_clip", "exp_offset", "a:b")}
    figure = example_windows.examples(of, "diffuse", "bottleneck", 0, found).figure
    renderer = FigureCanvasAgg(figure).get_renderer()
    numbers = [label.get_window_extent(renderer) for label in figure.axes[0].get_yticklabels()]
    name = figure._supylabel.get_window_extent(renderer)
    assert name.x0 > 0
    assert name.x1 < min(box.x0 for box in numbers)


def test_a_bound_far_from_the_target_does_not_flatten_it():
    held = arrays()
    held["example_upper"] = held["example_upper"].copy()
    held["example_upper"][-1, 0] = 1e6
    (axes,) = example_of(held).figure.axes
    low, high = axes.get_ylim()
    assert 0.8 < high < 2
    assert -0.5 < low < 0.2
    held["example_targets"][:] = 0.5  # which spans nothing: the bounds are there to be seen
    low, high = example_of(held).figure.axes[0].get_ylim()
    assert low < 0.3 < 0.9 < high


def test_markup_of_others_is_drawn_as_it_stands(tmp_path):
    held = arrays()
    held["example_times"] = np.array([["$\\frac{", "", "\x00\x1b"]] * 2)
    about = {
        "scale": 1.0,
        "unit": "$_",
        "columns": ["price $\\frac{"],
        "title": "$\\frac{ \x1b[2J",
    }
    sketch = example_of(held, **about)
    for form in captions.FORMS:
        draw.save(sketch.figure, tmp_path / f"a.{form}")
    assert "\x1b" not in sketch.title


def test_missing_targets_are_gaps_and_targets_may_have_other_steps_than_inputs():
    held = arrays(steps=8)
    held["example_inputs"] = np.zeros((2, 20, 5))
    held["example_targets"][-1, [2, 3, 5]] = np.nan
    (axes,) = example_of(held).figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    target = lines["target"].get_ydata()
    assert np.isnan(target).nonzero()[0].tolist() == [2, 3, 5]
    assert lines["target"].get_marker() == "."  # of the fourth, which has no neighbour
    assert np.isfinite(lines["output"].get_ydata()).all()
    held["example_targets"][:] = np.nan
    held["example_upper"][:] = np.nan
    example_of(held).figure.canvas.draw()


def test_the_feature_that_varies_most_is_shown_and_named():
    held = arrays(features=3)
    held["example_targets"][..., 1] *= 5
    sketch = example_windows.examples(NONE, "diffuse", "bottleneck", 0, {"clip": held})
    assert "feature 2 of 3" in sketch.caption


def test_one_seed_one_epoch_and_one_step_are_drawn_without_a_warning():
    records = sweep(seeds=1, backbones=BOTH[:1], datasets=("diffuse", "sines"))
    made = arrays(length=1, steps=1)
    trained = [r for r in records if r.cell.is_trained]
    found = sketched(records, {r.id: made for r in trained})
    axes = found["example_diffuse_bottleneck"].figure.axes[0]
    assert all(len(line.get_xdata()) == 2 for line in axes.lines)
    ticks = found["training_curves_diffuse"].figure.axes[0].get_xticks()
    np.testing.assert_array_equal(ticks, np.round(ticks))  # there is no epoch 3.8
    for sketch in found.values():
        sketch.figure.canvas.draw()


def test_what_has_no_arrays_is_drawn_from_its_metrics_and_compact_ones_from_what_they_hold():
    records = sweep(backbones=BOTH[1:], datasets=("diffuse",))
    names = sketched(records, {}).keys()
    assert {"seeds", "gradient_health"} <= names
    assert not {"training_curves_diffuse", "example_diffuse_conditioned"} & names
    compact = {k: v for k, v in arrays().items() if k.startswith("history_")}
    trained = [r for r in records if r.cell.is_trained]
    of = {r.id: compact if r.cell.seed else arrays() for r in trained}
    found = sketched(records, of)
    assert "(seed 0)" in found["example_diffuse_conditioned"].caption
    assert "training_curves_diffuse" in found


def test_nothing_breaks_over_missing_infinite_and_failed_numbers():
    records = sweep(strategies=("unconstrained", "clip", "smooth_clip"), backbones=BOTH[:1])
    records += [record("relu_offset", "diffuse", seed=seed, status="failed") for seed in range(2)]
    unknown = dict.fromkeys(("mse", "violation_rate"))
    records += [record("softplus_offset", "diffuse", seed=seed, **unknown) for seed in range(2)]
    absent = dict.fromkeys(("mse", "r2", "violation_rate", "code_reliance"))
    absent |= dict.fromkeys(style.HEALTH)
    for dataset in ROLES:
        records.append(record("exp_offset", dataset, **absent))
        records.append(record("hinge", dataset, mse=1e9, r2=-1e9, violation_rate=1.0))
    held = arrays()
    held["history_mse"] = np.full(4, np.nan)
    held["history_blocked_fraction"] = np.full(4, np.nan)
    held["example_output"] = np.full((2, STEPS, 1), np.nan)
    of = {r.id: arrays() for r in records}
    of |= {r.id: held for r in records if r.cell.strategy == "exp_offset"}
    found = sketched(records, of)
    for sketch in found.values():
        sketch.figure.canvas.draw()
    assert found["training_curves_diffuse"].caption.endswith(" Left out are cells that failed: 2.")
    assert "failed" not in found["training_curves_sines"].caption
    axes = found["seeds"].figure.axes[0]
    shares = shares_of(axes)
    with_share = {"unconstrained", "clip", "smooth_clip", "climatology_clipped"}
    assert {name for name, share in shares.items() if share != "–"} == with_share
    assert shares["relu_offset"] == "–"  # which failed, and has the least skill there is


def shares_of(axes):
    """The text at the right of each row."""
    there = {text.get_position()[1]: text.get_text() for text in axes.texts}
    names = row_names(axes.figure.axes[0])
    return {name: there[row] for row, name in enumerate(names) if row in there}


@pytest.mark.parametrize("backbones", [BOTH, BOTH[:1]])
def test_figures_rank_what_the_tables_rank(backbones):
    """A dataset with fewer seeds, or on one backbone alone, is in neither, and takes none of the
    strategies with it."""
    records = sweep(3, datasets=("diffuse",)) + sweep(2, backbones, datasets=("wind",))
    found = study.read({}, records)
    assert {ranking.scores.groups for ranking in found.rankings.values()} == {("diffuse",)}
    for axes in seeds.seeds(found).figure.axes:
        assert shares_of(axes).keys() == {*STRATEGIES, "climatology_clipped"}


def test_a_strategy_that_failed_on_a_dataset_is_not_said_to_keep_every_bound():
    records = [
        r
        for r in sweep(datasets=("diffuse", "wind"))
        if r.cell.strategy != "smooth_clip" or r.cell.dataset != "wind"
    ]
    for backbone in BOTH:
        for seed in range(2):
            records.append(record("smooth_clip", "wind", backbone, seed, status="failed"))
    shares = shares_of(seeds.seeds(study.read({}, records)).figure.axes[1])
    never = dict.fromkeys(("clip", "relu_offset", "climatology_clipped"), "0")
    assert shares == never | {"unconstrained": "10 %", "smooth_clip": "–"}


def test_figures_that_are_not_drawn_again_are_deleted_and_others_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(draw, "sketches", of_each_dataset)
    both = [record("clip", name) for name in ("wind", "flights")]
    draw_folder(tmp_path, both)
    names = {path.name for path in (tmp_path / "figures").glob("*.png")}
    (tmp_path / "figures" / "mine.png").write_bytes(b"")
    draw_folder(tmp_path, both[:1])
    left = {path.name for path in (tmp_path / "figures").glob("*.png")} - {"mine.png"}
    assert names - left == {name for name in names if "flights" in name} != set()
    assert captions.drawn(tmp_path) == captions.digest(both[:1]) != captions.digest(both)
    draw_folder(tmp_path, [record("climatology_clipped", "wind", "none")])
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"mine.png"}


def of_each_dataset(found, _):
    words = {"title": "", "caption": ""}
    for name in found.every_dataset:
        yield style.Sketch(name=name, figure=Figure(), dataset=name, **words)


def draw_folder(folder, records):
    draw.draw_all(folder, study.read({}, records))


def test_names_are_literal_in_figures_and_whole_in_files(tmp_path, monkeypatch):
    monkeypatch.setattr(constraint_shapes, "constraint_shapes", lambda shows: None)
    dataset = "my $data$ & more.npz"
    records = [record(name, dataset) for name in ("clip", OWN)]
    for cell in records:
        store_arrays(tmp_path, cell, arrays())
    draw_folder(tmp_path, records)
    said = captions.read(tmp_path)
    assert {file for file, words in said.items() if words.dataset == dataset} == {
        f"training_curves_{slug(dataset)}.png",
        f"example_{slug(dataset)}_bottleneck.png",
    }
    for file in said:
        with Image.open(tmp_path / "figures" / file) as image:
            assert image.width > 300
    sketch = seeds.seeds(study.read({}, records))
    (axes,) = sketch.figure.axes
    assert short(OWN) == "of_$a_and_$b"
    label = axes.get_yticklabels()[row_names(axes).index(short(OWN))]
    assert not label.get_parse_math()
    assert dataset in sketch.title


def store_arrays(folder, cell, held):
    (folder / "cells").mkdir(exist_ok=True)
    np.savez(folder / "cells" / f"{cell.id}.npz", **held)


def test_datasets_whose_names_differ_in_punctuation_do_not_share_a_file():
    records = [record("clip", "diffuse")]
    runs = histories_of(records, {records[0].id: arrays()})
    names = [training_curves.training_curves(NONE, name, runs).name for name in ("a b", "a-b")]
    assert names == [f"training_curves_{slug(name)}" for name in ("a b", "a-b")]
    assert len(set(names)) == 2


def test_nothing_is_drawn_where_nothing_is_trained(tmp_path):
    draw_folder(tmp_path, [record("climatology_clipped", "sines", "none")])
    draw_folder(tmp_path, [])
    assert not (tmp_path / "figures").exists()


def test_shapes_are_those_of_the_functions():
    names = [name for name, _ in constraint_shapes.SHAPES]
    shapes = dict(zip(names, constraint_shapes.curves(), strict=True))
    assert set(names) == {name for name in TRAINED if hasattr(constraints, name)}
    raw = constraint_shapes.RAW
    output, slope = shapes["clip"]
    np.testing.assert_array_equal(output, np.clip(raw, -1, 1))
    np.testing.assert_array_equal(slope, np.abs(raw) <= 1)
    np.testing.assert_array_equal(shapes["straight_through_clip"][1], 1)
    np.testing.assert_allclose(shapes["leaky_clip"][1][np.abs(raw) > 1], 0.1)
    for (name, bounds), (output, _) in zip(
        constraint_shapes.SHAPES, constraint_shapes.curves(), strict=True
    ):
        broken = output.max() > bounds["upper"]
        assert broken == (bounds == constraint_shapes.BELOW_ZERO), name
    axes = constraint_shapes.constraint_shapes().figure.axes
    assert [one.get_title() for one in axes][:3] == [
        "clip",
        "straight_through_clip*",
        "leaky_clip*",
    ]
    for one, (output, slope) in zip(axes, constraint_shapes.curves(), strict=True):
        drawn = {line.get_label(): line.get_ydata() for line in one.lines}
        np.testing.assert_array_equal(drawn["output"], output)
        np.testing.assert_array_equal(drawn["derivative"], slope)


@pytest.mark.parametrize("losses", [(1e-9, 1e9), (0.02, 0.5), (0.11, 0.12), (4.0,)])
def test_an_axis_of_losses_has_a_few_plain_numbers(losses):
    _, (axes,) = style.panels(1, 1, (3.0, 3.0))
    axes.set_xscale("log")
    axes.set_xlim(style.loss_ends(losses))
    style.plain_ticks(axes.xaxis)
    ticks = [float(label.get_text()) for label in axes.get_xticklabels()]
    low, high = axes.get_xlim()
    assert 2 <= len(ticks) <= 7
    assert low <= min(ticks) < max(ticks) <= high


def test_files_of_the_catalogues_datasets_have_its_names():
    assert [slug(name) for name in DATASETS] == list(DATASETS)
