"""From presets and flags to cells, and what a folder's records leave to do."""

import json
from dataclasses import replace

import numpy as np
import pytest

from experiments.cells import SPLIT_OF_PHASE, Cell, Record
from experiments.data.datasets import load
from experiments.data.dials import DIALS
from experiments.data.study import STUDY
from experiments.running.plan import (
    by_dataset,
    cells,
    compilations,
    estimate,
    final_phase,
    in_lots,
    lay_out,
    settled,
    short_epochs,
)
from experiments.running.presets import make_plan
from experiments.training.backbones import AUTOENCODERS, BACKBONES
from experiments.training.baselines import BASELINES
from experiments.training.strategies import COUPLED, TRAINED
from experiments.training.tuning import Choice, grid, select
from experiments.usage import UsageError, in_order


@pytest.fixture(scope="module")
def layout():
    return lay_out(make_plan("smoke", datasets=("irradiance", "sines"), seeds=3))


def records_of(layout, **timing):
    return [Record(cell, metrics={"mse": 1.0}, timing=timing) for cell in layout.cells.values()]


def changed(record, **config):
    return replace(record, cell=replace(record.cell, **config))


def test_the_presets_cover_the_study():
    plan, planned = make_plan("full"), make_plan("planned")
    answers = make_plan("answers")
    assert set(answers.strategies) <= set(make_plan("default").strategies)
    assert set(answers.datasets) < {*STUDY, "irradiance_autoencoder"}
    assert answers.backbones == ("bottleneck",)
    assert set(plan.strategies) == {*TRAINED, *BASELINES}
    assert set(plan.datasets) > set(STUDY) < set(planned.datasets)
    assert set(planned.backbones) > {*AUTOENCODERS, *plan.backbones}
    assert {plan.settings("mlp"), planned.settings("gru")} == {make_plan("budgets").settings("mlp")}
    assert set(make_plan("budgets").strategies) > {"unconstrained", "clip", *COUPLED}
    assert {name for names in DIALS.values() for name in names.values()} == {
        *make_plan("dials").datasets
    }
    assert set(make_plan("starts").datasets) == set(STUDY)


def test_the_default_preset_has_the_answers_and_their_controls():
    plan = make_plan("default")
    assert {"unconstrained", "clip", *BASELINES} < set(plan.strategies)
    answers = {
        "stretched_tanh",
        "half_tanh",
        "tanh_range",
        "relu_offset",
        "clip_to_sequence_maximum",
    }
    assert answers | {"clip_at_evaluation", "smooth_clip"} < set(plan.strategies)
    assert plan.datasets == ("irradiance_autoencoder", "irradiance", "dew_point", "flights")
    assert plan.seeds == 2
    assert plan.backbones == ("bottleneck",)


def test_an_epoch_that_covers_little_is_said(layout):
    plan = make_plan("smoke")
    assert short_epochs(layout, plan) == []
    split = np.zeros(128_000, np.uint8)
    large = replace(layout.datasets["sines"], split=split)
    assert short_epochs(replace(layout, datasets={"large.npz": large}), plan) == [
        "large.npz: an epoch is 16 batches of 32, 0.4 % of the training windows."
    ]


def test_unconstrained_and_clip_are_always_rows():
    assert make_plan("default", strategies=("half_tanh",)).strategies == (
        "unconstrained",
        "clip",
        "half_tanh",
    )


def test_a_network_whose_name_ends_as_sizes_do_is_refused():
    """It would be read as that of the name before it."""
    with pytest.raises(UsageError, match="mine:net_32 ends as networks of 32 hidden units do"):
        make_plan("smoke", backbones=["mine:net_32"], hidden=32)
    assert make_plan("smoke", backbones=["mine:net_32"], hidden=8).backbones == ("mine:net_32",)
    sized = make_plan("smoke", backbones=["mine:net_32"], hidden=[8, 32])
    assert sized.backbones == ("mine:net_32_8", "mine:net_32_32")
    assert list(map(sized.network, sized.backbones)) == ["mine:net_32"] * 2


def test_cells_are_complete_and_as_their_json_says():
    plan = make_plan("smoke", backbones=("bottleneck", "conditioned"), seeds=2)
    found = cells(plan, load("irradiance"), [TRAINED["clip"], TRAINED["tanh_range"]])
    assert len(found) == 2 * 2 * 2 + len(BASELINES)
    assert found == [Cell.from_json(json.loads(json.dumps(cell.to_json()))) for cell in found]
    assert len({cell.id for cell in found}) == len(found)


def test_the_grid_moves_one_value_at_a_time_from_the_defaults():
    found = grid(TRAINED["clip_after_warmup"])
    tried = [(c.learning_rate, *c.hyperparameters.values()) for c in found]
    default = (3e-3, 0.1, 1.0)
    assert tried == [
        default,
        (1e-3, 0.1, 1.0),
        (1e-2, 0.1, 1.0),
        (3e-3, 0.3, 1.0),
        (3e-3, 0.1, 10.0),
    ]


def test_as_many_points_are_tried_of_every_strategy_of_the_table():
    rates, more = (1e-2, 1e-3, 3e-3, 3e-2), (5.5e-3, 1.7e-2)
    assert {len(grid(row, rates, more)) for row in TRAINED.values()} == {6}
    tried = [choice.learning_rate for choice in grid(TRAINED["clip"], rates, more)]
    assert tried == [*rates, *more]
    assert [choice.learning_rate for choice in grid(TRAINED["clip"])] == [3e-3, 1e-3, 1e-2]


TUNED = make_plan(
    "smoke", datasets=("irradiance",), strategies=("leaky_clip", "bound"), tuning_seeds=2
)


def tune_records(mse):
    """A record of every cell of the tune phase, with an `mse(cell)`, or failed if that is None."""
    layout = lay_out(TUNED)
    return layout, [
        Record(cell, "failed" if mse(cell) is None else "done", {"mse": mse(cell)})
        for cell in layout.cells.values()
    ]


def test_tuning_comes_first_with_seeds_of_its_own_and_on_validation():
    layout = lay_out(TUNED)
    assert layout.phase == "tune"
    assert len(layout.cells) == (3 + 3 + 5) * 2
    assert {cell.phase for cell in layout.cells.values()} == {"tune"}
    assert {cell.seed for cell in layout.cells.values()} == {1000, 1001}
    assert SPLIT_OF_PHASE["tune"] == "validation"
    assert {cell.seed for cell in layout.later} == {0, 1}
    assert [cell.strategy for cell in layout.later].count("bound") == 1
    untuned = lay_out(replace(TUNED, tuning_seeds=0))
    assert untuned.phase == "final"
    assert not untuned.later
    assert list(untuned.cells.values()) == list(layout.later)


def test_the_choice_is_the_least_mean_error_of_those_that_never_failed():
    def mse(cell):
        rate, slope = cell.training["learning_rate"], cell.hyperparameters
        if cell.strategy != "leaky_clip":
            return rate
        if slope["slope"] == 0.01:
            return None if cell.seed == 1001 else 0.0
        # Best with one seed at a rate of 0.001, on average at 0.01.
        best = {3e-3: (0.5, 0.5), 1e-3: (0.1, 0.9), 1e-2: (0.4, 0.4)}
        return best[rate][cell.seed - 1000] + slope["slope"]

    layout, records = tune_records(mse)
    chosen = select(records)
    assert chosen["leaky_clip", "irradiance", "bottleneck"] == Choice({"slope": 0.1}, 1e-2)
    assert chosen["clip", "irradiance", "bottleneck"] == Choice({}, 1e-3)
    final = final_phase(layout, TUNED, chosen)
    assert final.phase == "final"
    assert not final.later
    ran = {(cell.strategy, cell.training.get("learning_rate")) for cell in final.cells.values()}
    assert ran == {("leaky_clip", 1e-2), ("clip", 1e-3), ("unconstrained", 1e-3), ("bound", None)}
    assert select(reversed(records)) == chosen


def test_what_fails_everywhere_runs_its_defaults():
    layout, records = tune_records(lambda cell: None)
    assert select(records) == {}
    final = final_phase(layout, TUNED, {})
    assert list(final.cells.values()) == list(layout.later)


def test_cells_go_together_by_dataset_and_backbone(layout):
    lots = in_lots(layout.cells.values(), layout.strategies)
    table = ("unconstrained", "clip", "relu_offset", "squared_hinge")
    assert {key: len(found) for key, found in lots.items()} == {
        ("irradiance", "bottleneck", table): 12,
        ("irradiance", "none", table): len(BASELINES),
        ("sines", "bottleneck", table): 12,
        ("sines", "none", table): len(BASELINES),
    }


def test_a_users_strategy_shares_no_program_and_comes_last():
    own = ("bounded.constraints:clip", "bounded.constraints:smooth_clip")
    names = (own[0], "clip", own[1], "bound")
    layout = lay_out(make_plan("smoke", datasets=("irradiance", "sines"), strategies=names))
    lots = in_lots(layout.cells.values(), layout.strategies)
    places = [(name, "bottleneck") for name in layout.datasets]
    table = [(*place, ("unconstrained", "clip")) for place in places]
    table += [(name, "none", ("unconstrained", "clip")) for name in layout.datasets]
    alone = [(*place, (name,)) for place in places for name in own]
    assert set(list(lots)[: len(table)]) == set(table)
    assert set(list(lots)[len(table) :]) == set(alone)
    assert sum(map(len, lots.values())) == len(layout.cells)
    assert compilations(layout, layout.cells.values()) == 2 * 3


def test_datasets_of_the_same_shapes_share_a_compilation():
    together = lay_out(make_plan("smoke", backbones=AUTOENCODERS))
    assert compilations(together, together.cells.values()) == 2
    apart = lay_out(make_plan("smoke", datasets=("irradiance", "sines")))
    assert compilations(apart, apart.cells.values()) == 2
    one = together.datasets["irradiance"]
    missing = replace(one, where=np.ones(one.targets.shape, bool))
    with_missing = replace(together, datasets={**together.datasets, "irradiance": missing})
    assert compilations(with_missing, with_missing.cells.values()) == 4
    baselines = [cell for cell in apart.cells.values() if not cell.is_trained]
    assert compilations(apart, baselines) == 0


def test_two_files_of_one_name_are_refused(tmp_path):
    inputs = np.ones((20, 4, 1))
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        np.savez(folder / "mine.npz", inputs=inputs, targets=inputs, upper=inputs)
    paths = [str(tmp_path / folder / "mine.npz") for folder in "ab"]
    with pytest.raises(UsageError, match=r"would both be called mine: rename one"):
        lay_out(make_plan("smoke", datasets=paths))


def test_a_file_has_the_same_cells_wherever_it_lies(tmp_path):
    inputs = np.linspace(1, 2, 80).reshape(20, 4, 1)
    found = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        np.savez(folder / "mine.npz", inputs=inputs, targets=inputs, upper=inputs)
        found.append(lay_out(make_plan("smoke", datasets=[str(folder / "mine.npz")])).cells)
    assert found[0] == found[1]


def test_done_cells_need_not_run_and_failed_ones_when_asked(layout):
    first, second, *_ = records_of(layout)
    records = [first, replace(second, status="failed"), changed(first, seed=99)]

    def ids(retry_failed, force):
        return settled(layout, records, retry_failed=retry_failed, force=force)

    assert ids(False, False) == {first.id: "done", second.id: "failed"}
    assert ids(True, False) == {first.id: "done"}
    assert ids(False, True) == ids(True, True) == {}


def test_an_estimate_goes_by_the_dataset_then_by_any(layout):
    cells = list(layout.cells.values())
    assert estimate(cells, [], 2) is None
    assert estimate([], [], 2) == 0
    records = records_of(layout, train_seconds=3.0, devices=2)
    irradiance = [r for r in records if r.cell.dataset == "irradiance"]
    trained = [c for c in cells if c.is_trained]
    assert estimate(trained, irradiance, 2) == pytest.approx(3.0 * len(trained))
    assert estimate(trained, irradiance, 1) == pytest.approx(6.0 * len(trained))


def test_a_strategy_for_sums_needs_a_bounded_sum():
    with pytest.raises(UsageError, match=r"budget_softmax .* but sines has none \(sum_upper\)"):
        lay_out(make_plan("smoke", datasets=("sines",), strategies=("budget_softmax",)))


def test_tuned_datasets_are_finished_one_after_the_other():
    together = lay_out(replace(TUNED, tuning_seeds=0))
    assert by_dataset(together) == [together]
    layout = lay_out(replace(TUNED, datasets=("irradiance", "sines")))
    first, second = by_dataset(layout)
    assert list(first.datasets) == list(first.given) == ["irradiance"]
    assert first.cells.keys() | second.cells.keys() == layout.cells.keys()
    assert not first.cells.keys() & second.cells.keys()
    assert {cell.dataset for cell in second.later} == {"sines"}
    assert len(first.later) + len(second.later) == len(layout.later)


VARIANTS = ("smooth_clip( temperature=.5 )", "smooth_clip(temperature=[0.3,1])", "smooth_clip")


def test_a_row_with_hyperparameters_is_a_row_of_the_table():
    plan = make_plan("smoke", datasets=("irradiance",), strategies=VARIANTS, tuning_seeds=1)
    names = ("smooth_clip(temperature=0.5)", "smooth_clip(temperature=[0.3,1])", "smooth_clip")
    assert plan.strategies == ("unconstrained", "clip", *names)
    layout = lay_out(plan)
    assert list(in_lots(layout.cells.values(), layout.strategies)) == [
        ("irradiance", "bottleneck", plan.strategies)
    ]
    tried = {name: set() for name in plan.strategies}
    for cell in layout.cells.values():
        tried[cell.strategy].add(cell.hyperparameters.get("temperature"))
    none = {None}
    assert list(tried.values()) == [none, none, {0.5}, {0.3, 1.0}, {0.1, 0.03, 0.3}]
    untuned = {cell.strategy: cell.hyperparameters for cell in layout.later}
    assert [untuned[name]["temperature"] for name in names] == [0.5, 0.3, 0.1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smooth_clip(temprature=1)", "Did you mean 'temperature'"),
        ("bound(scale=1)", "bound is untrained, and has no hyperparameters"),
        ("smoth_clip(temperature=1)", "Did you mean 'smooth_clip'"),
    ],
)
def test_hyperparameters_that_a_row_lacks_are_refused(name, message):
    with pytest.raises(UsageError, match=message):
        make_plan("smoke", strategies=(name,))


def test_values_that_a_row_refuses_are_refused_where_it_is_planned():
    with pytest.raises(UsageError, match="must be positive"):
        lay_out(make_plan("smoke", strategies=("smooth_clip(temperature=-1)",)))


def test_what_training_is_given_is_in_the_cells():
    plan = make_plan(
        "smoke", datasets=("irradiance",), updates=3, batch=7, learning_rates=[0.5, 0.1, 0.5]
    )
    trained = [cell for cell in lay_out(plan).cells.values() if cell.is_trained]
    given = {"batches_per_epoch": 3, "batch": 7, "learning_rate": 0.5}
    for cell in trained:
        assert given.items() <= cell.training.items()
    tuned = lay_out(replace(plan, tuning_seeds=1))
    rates = {cell.training["learning_rate"] for cell in tuned.cells.values()}
    assert rates == {0.5, 0.1}
    values = {cell.hyperparameters.get("weight", 1) for cell in tuned.cells.values()}
    assert values == {1, 10, 100}, "of hyperparameters all are tried still"


def test_each_size_of_network_is_a_backbone_of_its_own():
    one = make_plan("smoke", hidden=[4, 4])
    assert (one.hidden, one.backbones) == ((4,), ("bottleneck",))
    plan = make_plan("smoke", datasets=("irradiance",), backbones=AUTOENCODERS, hidden=(4, 12))
    names = ("bottleneck_4", "bottleneck_12", "conditioned_4", "conditioned_12")
    assert plan.backbones == names
    found = {
        (cell.backbone, cell.network, cell.model["hidden"])
        for cell in lay_out(plan).cells.values()
        if cell.is_trained
    }
    assert found == {(name, name.split("_")[0], int(name.split("_")[1])) for name in names}
    assert in_order(names, BACKBONES) == list(names), "by size, not by letters"
