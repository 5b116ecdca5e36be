"""From presets and flags to cells, and what a folder's records leave to do."""

import json

import numpy as np
import pytest

from experiments.baselines import BASELINES
from experiments.catalogue import DATASETS
from experiments.choices import UsageError
from experiments.datasets import load
from experiments.plan import (
    METRIC_VERSION,
    cells,
    check_compatible,
    compilations,
    estimate,
    in_groups,
    lay_out,
    make_plan,
    settings_of,
    settled,
    stale_reasons,
)
from experiments.store import identity
from experiments.strategies import TRAINED
from experiments.training import BACKBONES
from experiments.work import make_record, source_hash


@pytest.fixture(scope="module")
def layout():
    return lay_out(make_plan("smoke", datasets=("irradiance", "sines"), seeds=3))


def records_of(layout, **timing):
    return [make_record(cell, {"mse": 1.0}, timing) for cell in layout.cells.values()]


def changed(record, **config):
    config = {**record["config"], **config}
    return {**record, "config": config, "id": identity(config)}


def test_the_presets_cover_the_study():
    plan = make_plan("full")
    assert set(plan.strategies) == {*TRAINED, *BASELINES}
    assert set(DATASETS) - set(plan.datasets) == {"household", "irradiance", "dew_point"}
    assert plan.backbones == BACKBONES
    plan = make_plan("default")
    assert {"unconstrained", "clip", *BASELINES} < set(plan.strategies)
    assert len(plan.strategies) > 15
    assert {"household_hourly", "irradiance", "irradiance_autoencoder", "dew_point"} <= set(
        plan.datasets
    )
    assert plan.seeds == 2
    assert plan.backbones == ("bottleneck",)


def test_unconstrained_and_clip_are_always_rows():
    assert make_plan("default", strategies=("half_tanh",)).strategies == (
        "unconstrained",
        "clip",
        "half_tanh",
    )


def test_cells_are_plain_json_and_complete():
    plan = make_plan("smoke", backbones=("bottleneck", "conditioned"), seeds=2)
    found = cells(plan, load("irradiance"), [TRAINED["clip"], TRAINED["tanh_range"]])
    assert len(found) == 2 * 2 * 2 + 3
    assert found == json.loads(json.dumps(found))
    assert len({identity(cell) for cell in found}) == len(found)


def test_a_cell_says_what_its_runner_is_compiled_for(layout):
    plan = make_plan("smoke", hidden=5, epochs=4, dtype="bfloat16")
    (cell, *_) = cells(plan, load("irradiance"), [TRAINED["clip"]])
    assert settings_of(cell) == plan.settings
    assert settings_of(json.loads(json.dumps(cell))) == plan.settings


def test_cells_go_together_by_dataset_and_backbone(layout):
    groups = in_groups(layout.cells.values())
    assert {key: len(found) for key, found in groups.items()} == {
        ("irradiance", "bottleneck"): 12,
        ("irradiance", "none"): 3,
        ("sines", "bottleneck"): 12,
        ("sines", "none"): 3,
    }


def test_datasets_of_the_same_shapes_share_a_compilation():
    together = lay_out(make_plan("smoke", backbones=BACKBONES))
    assert compilations(together, together.cells.values()) == 2
    apart = lay_out(make_plan("smoke", datasets=("irradiance", "sines")))
    assert compilations(apart, apart.cells.values()) == 2
    baselines = [cell for cell in apart.cells.values() if cell["backbone"] == "none"]
    assert compilations(apart, baselines) == 0


def test_two_files_of_one_name_are_refused(tmp_path):
    inputs = np.ones((20, 4, 1))
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        np.savez(folder / "mine.npz", inputs=inputs, targets=inputs, upper=inputs)
    paths = [str(tmp_path / folder / "mine.npz") for folder in "ab"]
    with pytest.raises(UsageError, match=r"would both be called mine\.npz: rename one"):
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
    records = [first, {**second, "status": "failed"}, changed(first, seed=99)]

    def ids(retry_failed, force):
        return settled(layout, records, retry_failed=retry_failed, force=force)

    assert ids(False, False) == {first["id"]: "done", second["id"]: "failed"}
    assert ids(True, False) == {first["id"]: "done"}
    assert ids(False, True) == ids(True, True) == {}


def test_what_is_stale_and_why(layout):
    fresh, *_ = records_of(layout)
    dataset = {**fresh["config"]["dataset"], "hash": "0" * 64}
    strategy = {**fresh["config"]["strategy"], "hash": "1" * 64}
    unplanned = {"name": "mine.npz", "hash": "2" * 64}
    records = {
        "": fresh,
        "other code": {**changed(fresh, seed=1), "sources": "3" * 64},
        "the data of irradiance changed": changed(fresh, dataset=dataset),
        "the source of unconstrained changed": changed(fresh, strategy=strategy),
        f"metrics of version 0, now {METRIC_VERSION}": changed(fresh, metric_version=0),
        " ": changed(fresh, dataset=unplanned),
    }
    found = stale_reasons(layout, records.values(), source_hash())
    for reason, record in records.items():
        assert found.get(record["id"], "").startswith(reason.strip())
        assert (record["id"] in found) == bool(reason.strip())


def test_another_learning_rate_goes_with_a_plan_another_model_does_not(layout):
    record, *_ = records_of(layout)
    training = record["config"]["training"]
    other = changed(record, training={**training, "learning_rate": 1.0})
    check_compatible(layout, [record, other])
    wider = changed(record, model={**record["config"]["model"], "hidden": 9})
    with pytest.raises(UsageError, match="cells with hidden 9, this plan has hidden 8"):
        check_compatible(layout, [record, wider])


def test_an_estimate_goes_by_the_dataset_then_by_any(layout):
    cells = list(layout.cells.values())
    assert estimate(cells, [], 2) is None
    assert estimate([], [], 2) == 0
    records = records_of(layout, train_seconds=3.0, devices=2)
    irradiance = [r for r in records if r["config"]["dataset"]["name"] == "irradiance"]
    trained = [c for c in cells if c["backbone"] != "none"]
    assert estimate(trained, irradiance, 2) == pytest.approx(3.0 * len(trained))
    assert estimate(trained, irradiance, 1) == pytest.approx(6.0 * len(trained))
