"""Strip plots of runs and datasets, from records written by hand."""

import numpy as np
import pytest
from matplotlib import rc_context

from experiments.analysis import study
from experiments.figures import collapse, gradient_health, seeds, style, wrong_bound
from experiments.training.baselines import BASELINES
from tests.experiments import written

STRATEGIES = ("unconstrained", "clip", "smooth_clip", "bound", "climatology_clipped")
BOTH = written.BACKBONES
ENDS = (0.0, 1.0)


@pytest.fixture(autouse=True)
def drawn_in_style():
    with rc_context(style.STYLE):
        yield


def rows_of(axes):
    """By name: what dots and arrows there are, (x, marker), and where the tick stands."""
    first = axes.figure.axes[0]
    names = [label.get_text() for label in first.get_yticklabels()]
    found = {name: ([], []) for name in names}
    for line in axes.lines:
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True):
            if line.get_marker() == "|":
                found[names[round(y)]][1].append(float(x))
            elif line.get_marker() != "None":
                found[names[round(y)]][0].append((float(x), line.get_marker()))
    return found


def test_every_value_is_a_dot_those_beyond_are_arrows_and_the_median_a_tick():
    _, (axes,) = style.panels(1, 1, (3.0, 3.0))
    values = {"clip": np.array([[0.2, np.nan], [3.0, -np.inf]]), "hinge": np.empty(0)}
    style.strips(axes, values, ENDS)
    found = rows_of(axes)
    assert sorted(found["clip"][0]) == [(0.0, "<"), (0.2, "o"), (1.0, ">")]
    assert found["clip"][1] == [0.2]
    assert found["hinge"] == ([], [])
    assert axes.get_xlim() == ENDS


def test_dots_of_one_value_stand_apart_within_their_row():
    _, (axes,) = style.panels(1, 1, (3.0, 3.0))
    style.dots(axes, 2, np.full(10, 0.5), ENDS, "black")
    heights = np.concatenate([line.get_ydata() for line in axes.lines])
    assert np.abs(heights - 2).max() <= style.SPREAD / 2
    assert np.diff(np.sort(heights)).min() > style.SPREAD / 20


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_every_run_that_is_ranked_is_a_dot(count):
    """Of few datasets in a column each, of one or many in one; a baseline's run is one dot."""
    datasets = ["wind", "flights", "bikeshare", "spectrum", "cyclones"][:count]
    of = study.read({}, written.sweep(datasets, STRATEGIES, seeds=3))
    sketch = seeds.seeds(of)
    columns = count if count in seeds.APART else 1
    axes = sketch.figure.axes
    assert len(axes) == 2 * columns
    for backbone, part in zip(BOTH, (axes[:columns], axes[columns:]), strict=True):
        rows = [rows_of(one) for one in part]
        apart = of.rankings[backbone].apart
        for name in STRATEGIES:
            drawn = sorted(x for row in rows for x, _ in row[name][0])
            if name in BASELINES:
                assert len(drawn) == count
            else:
                assert drawn == pytest.approx(sorted(apart.of(name).ravel()))
    assert ("wind" in sketch.title) == (count == 1)
    assert f"one of {count} dataset" in sketch.caption


def test_strategies_are_sorted_by_median_and_say_what_they_leave_outside():
    records = written.sweep(["wind", "flights"], STRATEGIES, BOTH[:1], seeds=3)
    axes = seeds.seeds(study.read({}, records)).figure.axes
    names = [label.get_text() for label in axes[0].get_yticklabels()]
    assert names == ["smooth_clip", "clip", "unconstrained", "climatology_clipped", "bound"]
    assert not axes[1].yaxis.get_tick_params()["labelleft"]
    shares = {text.get_position()[1]: text.get_text() for text in axes[1].texts}
    assert [shares[row] for row in range(5)] == ["0", "0", "12 %", "0", "0"]
    assert rows_of(axes[0])["bound"][0][0][1] == "<"


def test_a_dataset_that_is_ranked_on_one_backbone_alone_is_empty_on_the_other():
    records = [
        one
        for one in written.sweep(["flights", "wind"], STRATEGIES, seeds=2)
        if (one.cell.dataset, one.cell.backbone) != ("wind", BOTH[1])
    ]
    records += [written.record("hinge", "wind", BOTH[1])]
    sketch = seeds.seeds(study.read({}, records))
    there = [
        sum(map(len, [dots for dots, _ in rows_of(axes).values()])) for axes in sketch.figure.axes
    ]
    assert [count > 0 for count in there] == [True, True, True, False]
    assert [axes.get_title() for axes in sketch.figure.axes] == ["flights", "wind"] * 2


@pytest.mark.parametrize("draw", [seeds.seeds, gradient_health.gradient_health])
def test_a_strategy_has_a_row_on_the_backbones_on_which_it_ran_alone(draw):
    names = "unconstrained", "clip", "relu_offset", "climatology_clipped"
    records = written.sweep(["wind", "flights"], names, seeds=2)
    left_out = ("relu_offset", BOTH[1])
    records = [one for one in records if (one.cell.strategy, one.cell.backbone) != left_out]
    every = draw(study.read({}, records)).figure.axes
    rows = [len(axes.get_yticks()) for axes in every]
    half = len(rows) // 2
    assert rows[:half] == [rows[half] + 1] * half
    assert rows[half:] == [rows[half]] * half
    heights = [style.height_of(axes) for axes in every]
    assert heights[0] - heights[-1] == pytest.approx(style.ROW)


def test_where_nothing_is_ranked_r2_is_shown():
    records = written.sweep(["wind"], ("unconstrained", "clip"), BOTH[:1], seeds=2)
    sketch = seeds.seeds(study.read({}, records))
    (axes,) = sketch.figure.axes
    expected = [one.metrics["r2"] for one in records if one.cell.strategy == "clip"]
    assert sorted(x for x, _ in rows_of(axes)["clip"][0]) == pytest.approx(sorted(expected))
    assert sketch.figure.get_supxlabel() == "r2"
    assert "skill" not in sketch.title + sketch.caption
    assert seeds.seeds(study.read({}, written.sweep(["sines"], STRATEGIES, seeds=1))) is None


def test_collapse_has_r2_at_the_left_and_code_reliance_at_the_right():
    """Strategies that rely on the code on top; a backbone without any is left out."""
    records = [
        written.record(
            name,
            dataset,
            backbone,
            seed,
            r2=0.9 + seed / 100,
            code_reliance=relies * (backbone == BOTH[0]),
        )
        for name, relies in {"clip": 0.01, "unconstrained": 0.8}.items()
        for dataset in ("sines", "irradiance_autoencoder")
        for backbone in BOTH
        for seed in range(2)
    ]
    sketch = collapse.collapse(study.read({}, records))
    left, right = sketch.figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["unconstrained", "clip"]
    assert sorted(rows_of(left)["clip"][0]) == [(0.9, "o"), (0.9, "s"), (0.91, "o"), (0.91, "s")]
    assert sorted(rows_of(right)["unconstrained"][0]) == [(0.8, "o")] * 2 + [(0.8, "s")] * 2
    assert sketch.caption.endswith("Left out is conditioned, with none above 0.05.")
    (legend,) = sketch.figure.legends
    named = [text.get_text() for text in legend.get_texts()]
    assert named == ["irradiance_autoencoder", "sines"]
    alone = [one for one in records if one.cell.backbone == BOTH[1]]
    sketch = collapse.collapse(study.read({}, alone))
    assert len(sketch.figure.axes) == 2
    assert "Left out" not in sketch.caption
    assert collapse.collapse(study.read({}, written.sweep(["wind"], STRATEGIES, seeds=1))) is None


def test_gradient_health_leaves_out_what_is_zero_throughout():
    records = written.sweep(["wind", "flights"], ("clip", "hinge", "bound"), BOTH[:1], seeds=2)
    sketch = gradient_health.gradient_health(study.read({}, records))
    dead, blocked, vanishing = sketch.figure.axes
    assert [x for x, _ in rows_of(dead)["clip"][0]] == pytest.approx([30.0, 30.0])
    assert [x for x, _ in rows_of(blocked)["clip"][0]] == pytest.approx([5.0, 5.0])
    assert [x for x, _ in rows_of(vanishing)["clip"][0]] == pytest.approx([1.0, 1.0])
    assert rows_of(dead).keys() == {"clip"}
    assert sketch.caption.endswith("throughout: 1.")
    healthy = [one for one in records if one.cell.strategy != "clip"]
    assert gradient_health.gradient_health(study.read({}, healthy)) is None


def test_what_a_wrong_bound_costs_is_by_seed_and_against_the_likest_that_was_run():
    r2 = {
        "irradiance_soiled": (0.4, 0.5),
        "diffuse_greensboro": (0.8, 0.7),
        "diffuse_sand_point": (0.6, 0.6),
    }

    def sketch(*datasets):
        records = [
            written.record("clip", name, BOTH[0], seed, r2=value)
            for name in datasets
            for seed, value in enumerate(r2[name])
        ]
        records.append(written.record("hinge", "irradiance_soiled", BOTH[0]))
        return wrong_bound.wrong_bound(study.read({}, records), "irradiance_soiled")

    (axes,) = sketch(*r2).figure.axes
    lost, (middle,) = rows_of(axes)["clip"]
    assert sorted(x for x, _ in lost) == pytest.approx([0.15, 0.3])
    assert middle == pytest.approx(0.225)
    assert rows_of(axes).keys() == {"clip"}  # the other was run under one of the two
    assert "diffuse_greensboro and diffuse_sand_point" in sketch(*r2).caption
    (axes,) = sketch("irradiance_soiled", "diffuse_greensboro").figure.axes
    assert sorted(x for x, _ in rows_of(axes)["clip"][0]) == pytest.approx([0.2, 0.4])
    assert sketch("irradiance_soiled") is None
