"""What figures hold, drawn from records written by hand; nothing is trained."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from PIL import Image

from bounded import constraints
from experiments import (
    captions,
    drawing,
    figures,
    figures_examples,
    figures_gradients,
    figures_shapes,
    figures_study,
    figures_tradeoff,
    figures_training,
    statistics,
    store,
    study,
)
from experiments.drawing import FAMILIES, STYLE, apart, family_of, listed, look, number, short
from experiments.figures_tradeoff import pareto
from experiments.statistics import Comparison
from experiments.strategies import EVERY_STRATEGY, TRAINED

STEPS = 3
STRATEGIES = ("unconstrained", "clip", "smooth_clip", "relu_offset")
ROLES = {"diffuse": "study", "sines": "autoencoder", "irradiance_soiled": "wrong_bound"}
GROUPS = {"diffuse": "irradiance", "sines": "sines", "irradiance_soiled": "irradiance"}
OWN = "my_module:of_$a_and_$b"


def record(strategy, dataset, backbone="bottleneck", seed=0, status="done", **metrics):
    """A cell's; `mse` of 0.5 unless given."""
    config = {
        "strategy": {"name": strategy, "hyperparameters": {}, "bounds": {}},
        "dataset": {"name": dataset, "hash": ""},
        "backbone": backbone,
        "phase": "final",
        "seed": seed,
        "model": {},
        "training": {},
    }
    shares = dict.fromkeys(figures_training.HEALTH, 0.25 if strategy == "clip" else 0.0)
    trained = {"code_reliance": 0.2, **shares} if backbone != "none" else {}
    found = {"mse": 0.5, "r2": 0.5, "violation_rate": 0.0, **trained, **metrics}
    return {
        "id": store.identity(config),
        "status": status,
        "config": config,
        "metrics": found if status == "done" else {},
        "timing": {},
        "error": None if status == "done" else "diverged",
    }


def arrays(length=4, steps=STEPS, features=1):
    """Of a cell: a history of so many chunks, and two example windows."""
    epochs = 5 * np.arange(1, length + 1)
    target = np.linspace(0.2, 0.8, steps)[:, None] * np.ones((2, 1, features))
    return {
        "history_epoch": epochs,
        "history_mse": 1 / epochs,
        **{f"history_{name}": np.linspace(0.5, 0.1, length) for name in figures_training.HEALTH},
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
    of = {r["id"]: made for r in records if r["config"]["backbone"] != "none"} if of is None else of
    held = {r["id"]: of.get(r["id"], {}) for r in records}
    with rc_context(STYLE):
        found = study.read(described(roles, groups), records)
        return {sketch.name: sketch for sketch in figures.sketches(found, held)}


def described(roles=ROLES, groups=GROUPS):
    """A manifest of datasets alone."""
    return {"datasets": {name: {"role": roles[name], "group": groups[name]} for name in roles}}


@pytest.fixture(autouse=True)
def style():
    with rc_context(STYLE):
        yield


def found_in(records):
    """Spreads by dataset and backbone."""
    return drawing.places(statistics.over_seeds(statistics.summary(records)))


def histories_of(records, of):
    """On `diffuse`, by backbone."""
    found = figures_training.histories(records, of)
    return {backbone: runs for (dataset, backbone), runs in found.items() if dataset == "diffuse"}


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
    of_sweep = [
        "skill_violation",
        "interquartile_mean",
        "planned_comparisons",
        "backbones",
        "ranks",
        "improvement",
        "performance_profile",
        "collapse",
        "gradient_health_dead",
        "gradient_health_blocked",
        "gradient_health_vanishing",
        "gradient_training",
        "wrong_bound_irradiance_soiled",
        "constraint_shapes",
    ]
    assert list(drawn)[: len(of_sweep)] == of_sweep
    for name in ("loss_violation", "training_curves", "gradient_training", "example"):
        assert sum(key.startswith(name) for key in drawn) >= len(ROLES)
    for sketch in drawn.values():
        assert sketch.title
        assert sketch.caption.endswith(".")
        assert any(character.isdigit() for character in sketch.alt) or "panels" in sketch.alt
        assert "nan" not in (sketch.caption + sketch.alt).lower().replace("unanim", "")


def test_no_figure_is_wider_than_a_page_and_no_text_smaller_than_eight_points():
    records = sweep(seeds=1, strategies=tuple(TRAINED), datasets=("diffuse",))
    records += [record(name, "sines", backbone) for name in TRAINED for backbone in BOTH]
    for sketch in sketched(records).values():
        assert sketch.figure.get_size_inches()[0] <= 10.3, sketch.name
        for axes in sketch.figure.axes:
            labels = [*axes.texts, axes.title, *axes.get_xticklabels(), *axes.get_yticklabels()]
            assert min(text.get_fontsize() for text in labels) >= 8, sketch.name


def test_every_strategy_has_one_family_and_a_look_of_its_own():
    everywhere = [name for _, names in FAMILIES.values() for name in names]
    assert sorted(everywhere) == sorted(EVERY_STRATEGY)
    assert len({(*look(name).values(),) for name in EVERY_STRATEGY}) == len(EVERY_STRATEGY)
    assert family_of(OWN) == "own"
    assert look(OWN) == look(OWN)
    assert look(OWN)["color"] not in {color for color, _ in FAMILIES.values()}


def test_a_pareto_front_holds_ties_and_leaves_out_what_is_beaten():
    points = {
        "never": (3.0, 0.0),
        "never too": (3.0, 0.0),
        "worse": (4.0, 0.0),
        "middle": (2.0, 0.1),
        "beaten": (2.0, 0.2),
        "least loss": (1.0, 0.5),
    }
    assert pareto(points) == ["never", "never too", "middle", "least loss"]
    assert pareto({}) == []


def test_marks_stand_at_their_loss_and_the_front_is_said(drawn):
    sketch = drawn["loss_violation_diffuse"]
    bottleneck, conditioned = sketch.figure.axes
    assert [axes.get_title() for axes in (bottleneck, conditioned)] == ["bottleneck", "conditioned"]
    lines = labelled(bottleneck)
    assert lines["clip"].get_xdata() == pytest.approx([0.205])
    # Those that never violate, best first; above them the one that does.
    assert row_names(bottleneck)[:4] == [
        "clip",
        "smooth_clip",
        "relu_offset",
        "climatology_clipped",
    ]
    heights = [float(lines[name].get_ydata()[0]) for name in row_names(bottleneck)]
    assert heights[:4] == [0, -1, -2, -3]
    assert heights[4] == 1  # at the lowest rate of the scale
    (front,) = (line for line in bottleneck.lines if line.get_label() == "Pareto front")
    np.testing.assert_allclose(front.get_xdata(), [0.205, 0.205, 0.105, 0.105])
    assert "clip (loss 0.21, violation rate 0)" in sketch.alt
    assert "unconstrained (loss 0.11, violation rate 0.1)" in sketch.alt


def test_lines_from_names_to_marks_do_not_cross():
    records = [
        record(name, "diffuse", mse=mse, violation_rate=0.5)
        for name, mse in zip(
            TRAINED, np.random.default_rng(0).permutation(26) / 8 + 0.1, strict=True
        )
    ]
    found = {"bottleneck": found_in(records)["diffuse", "bottleneck"]}
    (axes,) = figures_tradeoff.loss_violation("diffuse", found).figure.axes
    drawn = [one for one in axes.collections if isinstance(one, LineCollection)]
    leaders = next(one for one in drawn if len(one.get_segments()) == 26)
    ends = axes.transData.transform(np.array(leaders.get_segments()).reshape(-1, 2))
    lines = ends.reshape(-1, 2, 2)
    for (start, end), (other, tip) in combinations(lines, 2):
        # Both start at the left edge: they cross if they change order where the shorter one ends.
        at = min(end[0], tip[0])
        one, two = (
            a[1] + (b[1] - a[1]) * (at - a[0]) / max(b[0] - a[0], 1e-9)
            for a, b in ((start, end), (other, tip))
        )
        assert (one - two) * (start[1] - other[1]) >= -1e-6


def test_skill_is_over_study_datasets_alone(drawn):
    (axes, _) = drawn["skill_violation"].figure.axes
    assert labelled(axes)["clip"].get_xdata() == pytest.approx([1 - 0.205])
    assert "1 group of datasets" in drawn["skill_violation"].caption
    assert "skill_violation" not in sketched(sweep(backbones=BOTH[:1], datasets=("sines",)))


def test_without_the_reference_or_clip_what_needs_them_is_left_out():
    records = sweep(strategies=("clip", "smooth_clip", "relu_offset"), datasets=("diffuse",))
    without = [r for r in records if r["config"]["backbone"] != "none"]
    names = sketched(without).keys()
    assert not {"skill_violation", "ranks"} & names
    assert "loss_violation_diffuse" in names
    without = [r for r in records if r["config"]["strategy"]["name"] != "clip"]
    names = sketched(without).keys()
    assert not {"skill_violation", "ranks", "planned_comparisons", "backbones"} & names
    assert "loss_violation_diffuse" in names


@pytest.mark.parametrize(
    "name", ["constraint_shapes", "skill_violation", "example_sines_conditioned"]
)
def test_with_few_colours_each_is_still_told_from_the_others(drawn, name, tmp_path):
    figure = drawn[name].figure
    figures.save(figure, tmp_path / "few.png")
    with Image.open(tmp_path / "few.png") as few:
        found = np.asarray(few.convert("RGB"), int)
    whole = np.asarray(figure.canvas.buffer_rgba(), int)[..., :3]
    off = np.abs(found - whole).max(axis=-1)
    assert off.max() <= 24
    colours, counts = np.unique(whole.reshape(-1, 3), axis=0, return_counts=True)
    for colour in colours[counts > 0.005 * off.size]:  # of areas, where a tint is seen
        assert off[(whole == colour).all(axis=-1)].max() <= 3, colour


def test_too_few_groups_are_called_underpowered(drawn):
    (axes,) = drawn["planned_comparisons"].figure.axes
    assert sum(text.endswith(" of 1, underpowered") for text in texts(axes)) == 6
    assert "no conclusion is drawn" in drawn["planned_comparisons"].caption
    told = "smooth_clip -0.1 on bottleneck, better in 0 of 1, underpowered."  # no width
    assert told in drawn["planned_comparisons"].alt
    powered = Comparison("clip", 0.1, better=8, groups=9, p_value=0.0731, underpowered=False)
    assert figures_study.verdict(powered) == "8 of 9, p = 0.073"


def test_rows_are_sorted_best_first_and_intervals_are_drawn(drawn):
    left, right = drawn["interquartile_mean"].figure.axes
    order = ["unconstrained", "clip", "smooth_clip", "relu_offset", "climatology_clipped"]
    assert row_names(left) == order
    assert not right.yaxis.get_tick_params()["labelleft"]
    (bars,) = left.collections
    assert len(bars.get_segments()) == len(order)
    assert row_names(drawn["ranks"].figure.axes[0]) == order
    assert drawn["ranks"].alt.count("best unconstrained 1, clip 2 and") == 2
    assert drawn["interquartile_mean"].alt.count("best unconstrained 0.9 (0.89 to 0.9), ") == 2


def test_both_backbones_need_two(drawn):
    assert "clip" in row_names(drawn["backbones"].figure.axes[0])
    assert "Below it on both: smooth_clip, relu_offset and climatology_clipped" in (
        drawn["backbones"].alt
    )
    assert "backbones" not in sketched(sweep(backbones=BOTH[1:], datasets=("diffuse",)))


def test_profiles_end_where_they_must(drawn):
    axes = drawn["performance_profile"].figure.axes[0]
    profile = labelled(axes)["clip"].get_ydata()
    assert profile[0] == 1
    assert profile[-1] == 0
    assert (np.diff(profile) <= 0).all()


def test_collapse_is_shown_on_autoencoders_alone(drawn):
    axes = drawn["collapse"].figure.axes
    assert [one.get_title() for one in axes] == ["sines\nbottleneck", "sines\nconditioned"]
    collapsed = [
        record(name, "sines", r2=0.99, code_reliance=0.01 if name == "clip" else 0.9)
        for name in STRATEGIES
    ]
    sketch = figures_gradients.collapse(found_in(collapsed))
    assert "for 1 of 4 strategies: clip." in sketch.alt


def test_the_matrix_has_a_number_for_each_strategy_and_dataset(drawn):
    axes = drawn["gradient_health_dead"].figure.axes[0]
    assert row_names(axes) == ["clip", "smooth_clip", "relu_offset", "unconstrained"]
    assert texts(axes) == ["25"] * 3 + ["0"] * 9
    found = found_in([record("clip", "sines"), record("hinge", "diffuse")])
    (axes,) = figures_gradients.gradient_health(found)[0].figure.axes
    assert texts(axes) == ["25", "–", "–", "0"]


def test_a_training_curve_is_the_median_with_the_quartiles_of_the_seeds():
    factors = (1, 1.5, 2, 3, 1000)
    records = [record("clip", "diffuse", seed=seed) for seed in range(len(factors))]
    base = arrays()["history_mse"].astype(np.float16)  # as packed records have it
    of = {
        r["id"]: {**arrays(), "history_mse": factor * base}
        for r, factor in zip(records, factors, strict=True)
    }
    sketch = figures_training.training_curves("diffuse", histories_of(records, of))
    (axes,) = sketch.figure.axes
    np.testing.assert_allclose(labelled(axes)["clip"].get_ydata(), 2 * base)
    (band,) = (one for one in axes.collections if isinstance(one, PolyCollection))
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(1.5 * base.min())
    assert heights.max() == pytest.approx(3 * base.max())
    assert "fell by 25 % for the median" in sketch.caption
    assert "clip" in texts(axes)


def test_a_training_that_ended_too_early_is_warned_of():
    def warning(losses):
        of = {one["id"]: {**arrays(len(losses)), "history_mse": np.array(losses)}}
        return figures_training.training_curves("diffuse", histories_of([one], of)).warning

    one = record("clip", "diffuse")
    assert warning([1, 0.5, 0.4, 0.37]) == ""
    assert warning([1, 0.5, 0.4, 0.5]) == ""
    assert warning([1, 0.5, 0.4]) == ""  # too few to tell
    assert warning([1, 0.5, 0.4, 0.3]) == (
        "training on diffuse ended while the validation error still fell (by 25 % in the last "
        "quarter of the epochs, for the median strategy)."
    )


def test_of_many_curves_the_planned_and_the_best_are_named():
    records = [record(name, "diffuse") for name in TRAINED]
    of = {r["id"]: arrays() for r in records}
    best = next(r for r in records if r["config"]["strategy"]["name"] == "hinge")
    of[best["id"]]["history_mse"] = of[best["id"]]["history_mse"] / 2
    runs = histories_of(records, of)
    (axes,) = figures_training.training_curves("diffuse", runs).figure.axes
    expected = {"clip", "hinge", *drawing.PLANNED}
    assert set(labelled(axes)) == set(texts(axes)) == expected
    pale = next(one for one in axes.collections if isinstance(one, LineCollection))
    assert len(pale.get_segments()) == len(TRAINED) - len(expected)


def test_gradient_health_over_training_names_what_is_seen():
    records = [record(name, "diffuse") for name in ("clip", "unconstrained")]
    of = {r["id"]: arrays() for r in records}
    for name in figures_training.HEALTH:
        of[records[1]["id"]][f"history_{name}"] = np.zeros(4)
    sketch = figures_training.gradient_training(histories_of(records, of), "diffuse")
    axes = sketch.figure.axes
    assert [one.get_title() for one in axes] == ["dead", "blocked", "vanishing"]
    assert all(texts(one) == ["clip"] for one in axes)
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), np.linspace(0.5, 0.1, 4))
    assert "clip on bottleneck 0.1" in sketch.alt


def test_the_mean_over_the_study_counts_a_group_once():
    places = [("a", "bottleneck"), ("b", "bottleneck"), ("c", "bottleneck")]
    values = dict(zip(places, (0.0, 0.2, 0.5), strict=True))
    runs = {
        place: {
            "clip": {
                "epoch": np.array([5]),
                **{metric: np.full((2, 1), value) for metric in figures_training.HEALTH},
            }
        }
        for place, value in values.items()
    }
    found = figures_training.mean_over_groups(runs, {"a": "one", "b": "one", "c": "other"})
    np.testing.assert_allclose(found["bottleneck"]["clip"]["blocked_fraction"], [[0.3]])


def test_the_wrong_bound_stands_beside_the_same_target_under_one_that_holds():
    records = [
        record("clip", "irradiance_soiled", r2=0.4),
        record("clip", "diffuse_greensboro", r2=0.8),
        record("clip", "diffuse_sand_point", r2=0.6),
    ]
    sketch = figures_gradients.wrong_bound(found_in(records), "irradiance_soiled")
    (axes,) = sketch.figure.axes
    marks = sorted(float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == "o")
    assert marks == pytest.approx([0.4, 0.7])
    assert "clip has 0.4" in sketch.alt
    assert "mean of diffuse_greensboro and diffuse_sand_point" in sketch.caption
    alone = figures_gradients.wrong_bound(found_in(records[:2]), "irradiance_soiled")
    assert "open" not in alone.caption


def test_examples_are_placed_in_their_panels_and_cut_at_the_edge():
    far = {**arrays(), "example_output": np.full((2, STEPS, 1), 1e6)}
    windows = {"clip": arrays(), "unconstrained": far}
    sketch = figures_examples.examples("diffuse", "bottleneck", 0, windows)
    (axes,) = sketch.figure.axes
    assert {"clip", "unconstrained"} <= set(texts(axes))
    (outputs,) = (one for one in axes.collections if one.get_label() == "output")
    clip, other = (np.array(segment) for segment in outputs.get_segments())
    np.testing.assert_allclose(clip[:, 0], [0, 0.5, 1])
    assert (np.diff(clip[:, 1]) > 0).all()
    assert other[:, 0].min() > 1
    np.testing.assert_allclose(other[:, 1], 1)
    assert "Nearest to the target" in sketch.alt
    assert "clip 0.1" in sketch.alt


def test_the_feature_that_varies_most_is_shown_and_named():
    held = arrays(features=3)
    held["example_targets"][..., 1] *= 5
    sketch = figures_examples.examples("diffuse", "bottleneck", 0, {"clip": held})
    assert "feature 2 of 3" in sketch.caption


def test_one_seed_one_epoch_and_one_step_are_drawn_without_a_warning():
    records = sweep(seeds=1, backbones=BOTH[:1], datasets=("diffuse", "sines"))
    made = arrays(length=1, steps=1)
    trained = [r for r in records if r["config"]["backbone"] != "none"]
    found = sketched(records, {r["id"]: made for r in trained})
    (axes,) = found["example_diffuse_bottleneck"].figure.axes
    (outputs,) = (one for one in axes.collections if one.get_label() == "output")
    assert len(outputs.get_segments()[0]) == 2
    for sketch in found.values():
        sketch.figure.canvas.draw()


def test_what_has_no_arrays_is_drawn_from_its_metrics_and_compact_ones_from_what_they_hold():
    records = sweep(backbones=BOTH[1:], datasets=("diffuse",))
    names = sketched(records, {}).keys()
    assert "loss_violation_diffuse" in names
    assert not {"training_curves_diffuse", "example_diffuse_conditioned"} & names
    compact = {k: v for k, v in arrays().items() if k.startswith("history_")}
    trained = [r for r in records if r["config"]["backbone"] != "none"]
    of = {r["id"]: compact if r["config"]["seed"] else arrays() for r in trained}
    found = sketched(records, of)
    assert "(seed 0)" in found["example_diffuse_conditioned"].caption
    assert "training_curves_diffuse" in found


def test_nothing_breaks_over_missing_infinite_and_failed_numbers():
    records = sweep(strategies=("unconstrained", "clip", "smooth_clip"), backbones=BOTH[:1])
    records += [record("relu_offset", "diffuse", seed=seed, status="failed") for seed in range(2)]
    unknown = dict.fromkeys(("mse", "violation_rate"))
    records += [record("softplus_offset", "diffuse", seed=seed, **unknown) for seed in range(2)]
    absent = dict.fromkeys(("mse", "r2", "violation_rate", "code_reliance"))
    absent |= dict.fromkeys(figures_training.HEALTH)
    for dataset in ROLES:
        records.append(record("exp_offset", dataset, **absent))
        records.append(record("hinge", dataset, mse=1e9, r2=-1e9, violation_rate=1.0))
    held = arrays()
    held["history_mse"] = np.full(4, np.nan)
    held["history_blocked_fraction"] = np.full(4, np.nan)
    held["example_output"] = np.full((2, STEPS, 1), np.nan)
    of = {r["id"]: arrays() for r in records}
    of |= {r["id"]: held for r in records if r["config"]["strategy"]["name"] == "exp_offset"}
    found = sketched(records, of)
    for sketch in found.values():
        sketch.figure.canvas.draw()
    sketch = found["loss_violation_diffuse"]
    assert "failed: 2 of relu_offset, bottleneck." in sketch.caption
    marks = labelled(found["skill_violation"].figure.axes[0])
    assert marks.keys() == {"unconstrained", "clip", "smooth_clip", "climatology_clipped"}
    axes = sketch.figure.axes[0]
    assert "exp_offset" not in labelled(axes)
    assert labelled(axes)["hinge"].get_xdata()[0] == pytest.approx(axes.get_xlim()[1])


@pytest.mark.parametrize("backbones", [BOTH, BOTH[:1]])
def test_figures_rank_what_the_tables_rank(backbones):
    """A dataset with fewer seeds, or on one backbone alone, is in neither, and takes none of the
    strategies with it."""
    records = sweep(3, datasets=("diffuse",)) + sweep(2, backbones, datasets=("wind",))
    found = study.read({}, records)
    assert {ranking.scores.groups for ranking in found.rankings.values()} == {("diffuse",)}
    drawn = {sketch.name: sketch for sketch in figures._of_rankings(found.rankings)}
    for axes in drawn["skill_violation"].figure.axes:
        assert labelled(axes).keys() == {*STRATEGIES, "climatology_clipped"}
    assert "planned_comparisons" in drawn


def test_a_strategy_that_failed_on_a_dataset_is_not_said_to_keep_every_bound():
    records = [
        r
        for r in sweep(datasets=("diffuse", "wind"))
        if r["config"]["strategy"]["name"] != "smooth_clip"
        or r["config"]["dataset"]["name"] != "wind"
    ]
    for backbone in BOTH:
        for seed in range(2):
            records.append(record("smooth_clip", "wind", backbone, seed, status="failed"))
    sketch = next(figures._of_rankings(study.read({}, records).rankings))
    assert "smooth_clip" not in labelled(sketch.figure.axes[0])
    assert "3 of 4 strategies never violate" in sketch.alt


def test_figures_that_are_not_drawn_again_are_deleted_and_others_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "sketches", of_each_dataset)
    both = [record("clip", name) for name in ("wind", "flights")]
    draw(tmp_path, both)
    names = {path.name for path in (tmp_path / "figures").glob("*.png")}
    (tmp_path / "figures" / "mine.png").write_bytes(b"")
    draw(tmp_path, both[:1])
    left = {path.name for path in (tmp_path / "figures").glob("*.png")} - {"mine.png"}
    assert names - left == {name for name in names if "flights" in name} != set()
    assert captions.drawn(tmp_path) == captions.digest(both[:1]) != captions.digest(both)
    draw(tmp_path, [record("climatology_clipped", "wind", "none")])
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"mine.png"}


def of_each_dataset(found, _):
    words = {"title": "", "caption": "", "alt": ""}
    for name in found.every_dataset:
        yield drawing.Sketch(name=name, figure=Figure(), dataset=name, **words)


def draw(folder, records):
    figures.draw_all(folder, study.read({}, records))


def test_names_are_literal_in_figures_and_whole_in_files(tmp_path):
    dataset = "my $data$ & more.npz"
    records = [record(name, dataset) for name in ("clip", OWN)]
    for cell in records:
        store_arrays(tmp_path, cell, arrays())
    draw(tmp_path, records)
    said = captions.read(tmp_path)
    assert {file for file, words in said.items() if words.dataset == dataset} == {
        "loss_violation_my-data-more-npz.png",
        "training_curves_my-data-more-npz.png",
        "gradient_training_my-data-more-npz.png",
        "example_my-data-more-npz_bottleneck.png",
    }
    for file in said:
        with Image.open(tmp_path / "figures" / file) as image:
            assert image.width > 300
    found = {backbone: spreads for (_, backbone), spreads in found_in(records).items()}
    sketch = figures_tradeoff.loss_violation(dataset, found)
    (axes,) = sketch.figure.axes
    assert short(OWN) == "of_$a_and_$b"
    label = axes.get_yticklabels()[row_names(axes).index(short(OWN))]
    assert not label.get_parse_math()
    assert dataset in sketch.title


def store_arrays(folder, cell, held):
    (folder / "cells").mkdir(exist_ok=True)
    np.savez(folder / "cells" / f"{cell['id']}.npz", **held)


def test_datasets_whose_names_differ_in_punctuation_do_not_share_a_file(tmp_path):
    draw(tmp_path, [record("clip", name) for name in ("a b", "a-b")])
    said = captions.read(tmp_path)
    of = {f"loss_violation_a-b{ending}.png": name for ending, name in (("", "a b"), ("-2", "a-b"))}
    assert {file: said[file].dataset for file in of} == of
    assert said.keys() == {path.name for path in (tmp_path / "figures").glob("*.png")}


def test_nothing_is_drawn_where_nothing_is_trained(tmp_path):
    draw(tmp_path, [record("climatology_clipped", "sines", "none")])
    draw(tmp_path, [])
    assert not (tmp_path / "figures").exists()


def test_shapes_are_those_of_the_functions():
    names = [name for name, _ in figures_shapes.SHAPES]
    shapes = dict(zip(names, figures_shapes.curves(), strict=True))
    assert set(names) == {name for name in TRAINED if hasattr(constraints, name)}
    raw = figures_shapes.RAW
    output, slope = shapes["clip"]
    np.testing.assert_array_equal(output, np.clip(raw, -1, 1))
    np.testing.assert_array_equal(slope, np.abs(raw) <= 1)
    np.testing.assert_array_equal(shapes["straight_through_clip"][1], 1)
    np.testing.assert_allclose(shapes["leaky_clip"][1][np.abs(raw) > 1], 0.1)
    for (name, bounds), (output, _) in zip(
        figures_shapes.SHAPES, figures_shapes.curves(), strict=True
    ):
        broken = output.max() > bounds["upper"]
        assert broken == (bounds == figures_shapes.BELOW_ZERO), name
    axes = figures_shapes.constraint_shapes().figure.axes
    assert [one.get_title() for one in axes][:3] == [
        "clip",
        "straight_through_clip*",
        "leaky_clip*",
    ]
    for one, (output, slope) in zip(axes, figures_shapes.curves(), strict=True):
        drawn = {line.get_label(): line.get_ydata() for line in one.lines}
        np.testing.assert_array_equal(drawn["output"], output)
        np.testing.assert_array_equal(drawn["derivative"], slope)


def test_names_beside_marks_keep_their_order_and_distance():
    found = apart([0.5, 0.5, 0.1, 0.52], 0.1, 0.0, 1.0)
    assert (np.diff(found[[2, 0, 1, 3]]) >= 0.1 - 1e-9).all()
    assert found[2] == pytest.approx(0.1)
    assert np.mean(found[[0, 1, 3]]) == pytest.approx(np.mean([0.5, 0.5, 0.52]))
    assert apart([0.99, 1.0], 0.1, 0.0, 1.0).tolist() == pytest.approx([0.9, 1.0])


def test_sentences():
    assert listed([]) == "none"
    assert listed(["a"]) == "a"
    assert listed("abc") == "a, b and c"
    assert listed("abcdefg", most=3) == "a, b and 5 more"
    assert [number(v) for v in (0.0, 0.1234, 12.3, 1e-9, float("nan"))] == [
        "0",
        "0.12",
        "12",
        "1.0e-09",
        "unknown",
    ]
