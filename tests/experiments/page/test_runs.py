"""What the page's chart is drawn from, and how little of it a page may hold."""

import json
from dataclasses import replace

import numpy as np
import pytest

from experiments.analysis import study
from experiments.page import charts, runs
from experiments.training.strategies import EVERY_STRATEGY
from tests.experiments import written
from tests.experiments.page import sweeps

STRATEGIES = ["unconstrained", "clip", "climatology_clipped"]


def gathered(records, arrays=sweeps.arrays, described=None):
    found = study.read(described or {}, records)
    return runs.gather(found, {record.id: arrays(record) for record in records if record.is_done})


def of(whole, strategy):
    """A strategy's only cell."""
    place = [one["title"] for one in whole["strategies"]].index(strategy)
    (cell,) = (cell for cell in whole["cells"] if cell["at"][0] == place)
    return cell


@pytest.fixture(scope="module")
def whole():
    return gathered(written.sweep(["wind"], STRATEGIES, ["bottleneck"], seeds=4))


def test_every_run_has_its_seed_its_skill_and_its_share_outside(whole):
    assert whole["metric"] == "skill"
    assert [seed for seed, *_ in of(whole, "clip")["runs"]] == [0, 1, 2, 3]
    for seed, skill, outside in of(whole, "unconstrained")["runs"]:
        mse = written.record("unconstrained", "wind", seed=seed).metrics["mse"]
        assert skill == pytest.approx(1 - mse / 0.5, abs=1e-4)
        assert outside == written.OUTSIDE["unconstrained"]
    assert of(whole, "climatology_clipped")["runs"] == [[0, 0, 0]]


def test_what_failed_or_has_no_finite_error_has_no_skill():
    records = written.sweep(["wind"], STRATEGIES, ["bottleneck"], seeds=1)
    records += [
        written.record("smooth_clip", "wind", error="diverged"),
        written.record("smooth_clip", "wind", seed=1, mse=None),
        written.record("smooth_clip", "wind", seed=2, mse=1e300),
    ]
    found = gathered(records, lambda record: {})
    assert [skill for _, skill, _ in of(found, "smooth_clip")["runs"]] == [None, None, None]


def test_without_the_baseline_runs_stand_by_r2():
    found = gathered(written.sweep(["wind"], ["clip", "unconstrained"], ["bottleneck"], seeds=1))
    assert found["metric"] == "r2"
    assert of(found, "clip")["runs"][0][1] == pytest.approx(0.75, abs=0.06)
    some = written.sweep(["wind"], STRATEGIES, ["bottleneck"], seeds=1)
    some += written.sweep(["flights"], ["clip"], ["bottleneck"], seeds=1)
    found = gathered(some)
    assert found["metric"] == "skill"
    assert {one["name"]: one["measured"] for one in found["datasets"]} == {
        "wind": True,
        "flights": False,
    }


def test_sums_are_not_shown_with_what_is_ranked():
    records = written.sweep(["wind"], [*STRATEGIES, "budget_softmax"], ["bottleneck"], seeds=1)
    ranked = {one["title"]: one["ranked"] for one in gathered(records)["strategies"]}
    assert ranked == dict.fromkeys(STRATEGIES, True) | {"budget_softmax": False}


def test_runs_that_ended_early_have_shorter_curves_and_others_none():
    def arrays(record):
        found = sweeps.arrays(record, looks=5 - record.cell.seed)
        if record.cell.seed == 2:
            found["history_epoch"] = found["history_epoch"] * 10
        if record.cell.seed == 3:
            del found["history_epoch"], found["history_mse"]
        return found

    found = gathered(written.sweep(["wind"], ["clip"], ["bottleneck"], seeds=4), arrays)
    cell = of(found, "clip")
    assert cell["epochs"] == 0
    assert found["epochs"] == [[1, 2, 3, 4, 5]]
    assert [len(curve) for curve in cell["curves"]] == [5, 4, 0, 0]
    assert np.exp(np.array(cell["curves"][0]) / 100) == pytest.approx(
        arrays(written.record("clip", "wind"))["history_mse"], rel=0.006
    )


def test_long_curves_are_thinned_and_keep_their_ends():
    (record,) = written.sweep(["wind"], ["clip"], ["bottleneck"], seeds=1)
    mse = np.linspace(1, 0, 1000)
    mse[500:502] = np.nan, np.inf
    history = {"history_epoch": np.arange(1, 1001), "history_mse": mse}
    found = gathered([record], lambda record: history)
    (epochs,), (curve,) = found["epochs"], of(found, "clip")["curves"]
    assert len(epochs) == len(curve) == runs.MOST_LOOKS
    assert (epochs[0], epochs[-1]) == (1, 1000)
    assert curve[0] == 0
    assert curve[-1] == round(100 * np.log(runs.LEAST_ERROR))
    assert runs._logarithm(np.nan) is runs._logarithm(np.inf) is None


def test_windows_are_of_the_feature_that_varies_most_in_its_unit():
    (record,) = written.sweep(["wind"], ["clip"], ["bottleneck"], seeds=1)
    still, moving = np.zeros(4), np.array([0.0, 1, 2, np.nan])
    targets = np.stack([still, moving], axis=-1)[None]
    arrays = {
        "example_targets": targets,
        "example_output": np.nan_to_num(targets, nan=50.0),
        "example_upper": np.array([[[3.0], [np.inf], [2], [2]]]),  # one for both features
    }
    found = gathered([record], lambda record: arrays, written.manifest(["wind"]))  # scale 2
    (window,) = found["datasets"][0]["windows"]
    low, high = window["ends"]
    assert low < 0
    assert 8 < high < 9

    def drawn(values):
        return [None if of is None else round(1000 * (of - low) / (high - low)) for of in values]

    assert window["target"] == drawn([0, 2, 4, None])
    assert window["upper"] == drawn([6, high, 4, 4])
    assert "lower" not in window
    assert of(found, "clip")["outputs"] == [drawn([0, 2, 4, high])]  # along the edge


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9])
@pytest.mark.parametrize(
    "target", [np.zeros(3), np.full(3, 7.0), np.full(3, np.nan)], ids=["zeros", "level", "none"]
)
def test_a_window_that_does_not_vary_has_an_axis(target, scale):
    (record,) = written.sweep(["wind"], ["clip"], ["bottleneck"], seeds=1)
    column = target[None, :, None]
    arrays = {"example_targets": column, "example_output": np.ones((1, 3, 1))}
    described = written.manifest(["wind"])
    described["datasets"]["wind"]["scale"] = scale
    (window,) = gathered([record], lambda record: arrays, described)["datasets"][0]["windows"]
    low, high = window["ends"]
    assert low < high
    assert all(known is None or 0 <= known <= 1000 for known in window["target"])


def test_outputs_of_other_data_are_left_out():
    def arrays(record):
        found = sweeps.arrays(record)
        if record.cell.strategy == "unconstrained":
            found["example_targets"] = found["example_targets"] + 1
        return found

    found = gathered(written.sweep(["wind"], STRATEGIES, ["bottleneck"], seeds=1), arrays)
    assert of(found, "clip")["outputs"]
    assert of(found, "unconstrained")["outputs"] == []


def test_the_less_room_the_less_is_held(whole):
    most = len(runs.fit(whole, 10**9).text)
    held = [runs.fit(whole, room) for room in range(most, 0, -20)]
    assert held[0].share == runs.SHARES[0]
    assert held[-1].share == runs.SHARES[-1]
    assert [one.share for one in held] == sorted((one.share for one in held), key=runs.SHARES.index)
    for one, room in zip(held, range(most, 0, -20), strict=True):
        assert len(one.text) <= room or one.share == runs.SHARES[-1]
    assert json.loads(held[-1].text)["cells"] == []


def test_quartiles_stand_for_seeds(whole):
    share = runs.Share("quartiles", windows=1)
    part = runs._part(whole, share)
    assert part["curves"] == "quartiles"
    seeds, quartiles = (np.array(of(one, "clip")["curves"]) for one in (whole, part))
    expected = np.quantile(seeds, [0.25, 0.5, 0.75], axis=0)
    np.testing.assert_array_equal(quartiles, expected.round())
    assert of(part, "climatology_clipped")["curves"] == [[]]
    assert of(part, "clip")["outputs"] == of(whole, "clip")["outputs"][1:]
    assert part["datasets"][0]["windows"] == whole["datasets"][0]["windows"][1:]
    assert runs._over_seeds([[1, 2], [4], [5]], "median") == [[4, None]]
    assert runs._over_seeds([[1, None], [4, None]], "median") == [[2, None]]
    assert of(runs._part(whole, replace(share, curves="none")), "clip")["curves"] == []


def test_labels_are_short_and_differ():
    long = [f"bounded.constraints:smooth_clip(temperature={t})" for t in (0.1, 0.0001)]
    assert runs.labels(["clip", *long]) == [
        "clip",
        "smooth_clip(temperature=0.1)",
        "…ooth_clip(temperature=0.0001)",
    ]
    assert runs.labels(["a:f", "b:f"]) == ["f (1)", "f (2)"]
    assert runs.labels(["mine:\x1b\n[2J"]) == ["\\x1b [2J"]


def test_no_text_ends_the_script():
    text = runs.in_script({"a": "</script><!--<script>"})
    assert "<" not in text
    assert json.loads(text) == {"a": "</script><!--<script>"}


def test_every_strategy_is_of_a_family():
    named = {name: charts.family(name) for name in EVERY_STRATEGY}
    assert charts.OWN not in named.values()
    assert set(named.values()) == set(charts.FAMILIES)
    assert named["leaky_clip"] == charts.family("clip(x=1)") == "clips"
    assert charts.family("mine:bound") == charts.OWN


@pytest.mark.parametrize(
    ("strategies", "first"),
    [
        ([*STRATEGIES, "mine:bound"], "clip"),  # the best that is ranked
        (["unconstrained", "clip", "mine:bound"], "mine:bound"),  # nothing is
        (["climatology_clipped", "clip"], "clip"),
        (["climatology_clipped"], "climatology_clipped"),
    ],
)
def test_the_strategy_to_begin_with_is_one_that_a_reader_looks_for(strategies, first):
    found = study.read({}, written.sweep(["wind"], strategies, ["bottleneck"], seeds=2))
    picks = runs.choices(found, [])
    assert found.strategies[picks["first"]] == first
    assert dict(picks["strategies"])[picks["first"]] == runs.labels([first])[0]
    assert [value for value, _ in picks["datasets"]] == [-1, 0]
    assert runs.choices(study.read({}, []), [])["first"] is None
