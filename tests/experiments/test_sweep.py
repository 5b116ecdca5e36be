"""A smoke sweep through the command line, and what is made of its records."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from experiments import report, store, sweep
from experiments.baselines import BASELINES
from experiments.datasets import DATASETS
from experiments.figures import look
from experiments.plan import PRESETS, cells, make_plan
from experiments.statistics import COLUMNS, over_seeds, spread, summary
from experiments.store import identity
from experiments.strategies import EVERY_STRATEGY, TRAINED
from experiments.training import BACKBONES

SMOKE = ["--preset", "smoke", "--seeds", "1"]
METRICS = {
    "mse",
    "mae",
    "r2",
    "violation_rate",
    "violation_rate_1e-4",
    "violation_mean",
    "violation_max",
    "active_fraction",
    "gradient_dead_fraction",
    "constraint_dead_fraction",
    "gradient_vanishing_fraction",
    "blocked_fraction",
    "gradient_norm",
    "code_reliance",
}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "smoke"
    assert sweep.main([*SMOKE, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def copy(smoke, tmp_path):
    return shutil.copytree(smoke, tmp_path / "copy")


def strategy_of(record):
    return record["config"]["strategy"]["name"]


def rows_of(folder):
    with open(folder / "summary.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_every_cell_has_a_record_with_every_metric(smoke):
    records = store.load(smoke)
    assert len(records) == 2 * (4 + 3)
    for record in records:
        assert set(record) >= {"id", "status", "config", "metrics", "timing", "error"}
        assert record["status"] == "done"
        assert record["id"] == identity(record["config"])
        untrained = record["config"]["strategy"]["name"] in BASELINES
        assert (
            record["metrics"].keys() <= METRICS if untrained else set(record["metrics"]) == METRICS
        )
        arrays = store.load_arrays(smoke, record["id"])
        assert {"example_output", "example_targets", "example_upper"} <= arrays.keys()
        assert untrained or len(arrays["history_epoch"]) == 1


def test_the_summary_is_long_and_holds_the_records_values(smoke):
    rows = rows_of(smoke)
    assert tuple(rows[0]) == COLUMNS
    by_key = {(r["strategy"], r["dataset"], r["metric"]): float(r["value"]) for r in rows}
    for record in store.load(smoke):
        config = record["config"]
        for metric, value in record["metrics"].items():
            assert by_key[config["strategy"]["name"], config["dataset"]["name"], metric] == value
    assert {row["split"] for row in rows} == {"test"}
    assert {row["backbone"] for row in rows} == {"bottleneck", "none"}


def test_the_manifest_says_what_was_run(smoke):
    manifest = store.read_manifest(smoke)
    assert manifest["plan"]["strategies"][:2] == ["unconstrained", "clip"]
    assert manifest["datasets"]["irradiance"]["role"] == "study"
    assert manifest["datasets"]["irradiance_autoencoder"]["role"] == "autoencoder"
    assert manifest["datasets"]["irradiance"]["scale"] > 0
    assert manifest["versions"].keys() >= {"python", "jax", "jaxlib", "flax", "optax", "numpy"}
    assert manifest["finished"] >= manifest["started"]


def test_figures_are_drawn(smoke):
    names = {path.name for path in (smoke / "figures").glob("*.png")}
    assert names >= {
        "loss_violation.png",
        "training_curves.png",
        "gradient_health.png",
        "collapse.png",
        "example_irradiance_bottleneck.png",
        "example_irradiance_autoencoder_bottleneck.png",
    }


def test_the_table_has_a_row_for_every_strategy_and_dataset(smoke, capsys):
    assert report.main([str(smoke)]) == 0
    table = capsys.readouterr().out
    for dataset in ("irradiance", "irradiance_autoencoder"):
        assert f"{dataset}, bottleneck" in table
    for name in PRESETS["smoke"].strategies:
        assert table.count(f" {name} ") == 2, name


def test_what_is_derived_can_be_deleted_and_redone(copy):
    before = (copy / "summary.csv").read_bytes()
    (copy / "summary.csv").unlink()
    shutil.rmtree(copy / "figures")
    assert report.main([str(copy)]) == 0
    assert (copy / "summary.csv").read_bytes() == before
    assert (copy / "figures" / "collapse.png").exists()


def test_the_same_command_runs_nothing_again_and_a_lost_cell_comes_back_the_same(copy, capsys):
    before = {record["id"]: record for record in store.load(copy)}
    clip = next(key for key in before if strategy_of(before[key]) == "clip")
    (copy / "cells" / f"{clip}.json").unlink()
    assert sweep.main([*SMOKE, "--out", str(copy)]) == 0
    assert "13 of 14 cells are done already" in capsys.readouterr().out
    after = {record["id"]: record for record in store.load(copy)}
    assert {**after.pop(clip), "timing": None} == {**before.pop(clip), "timing": None}
    assert after == before


def test_a_cell_that_diverges_is_recorded_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("experiments.plan.LEARNING_RATE", 1e38)
    options = [*SMOKE, "--datasets", "irradiance", "--strategies", "bound", "--out", str(tmp_path)]
    assert sweep.main(options) == 1
    records = store.load(tmp_path)
    failed = [record for record in records if record["status"] == "failed"]
    assert {record["config"]["strategy"]["name"] for record in failed} == {"unconstrained", "clip"}
    assert all("diverged" in record["error"] for record in failed)
    assert {row["strategy"] for row in rows_of(tmp_path)} == {"bound"}
    assert "failed  irradiance bottleneck clip seed 0: diverged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "defualt"], "Unknown preset 'defualt'. Did you mean 'default'?"),
        (["--strategies", "clp"], "Unknown strategy 'clp'. Did you mean 'clip'?"),
        (["--datasets", "sine"], "Unknown dataset 'sine'. Did you mean 'sines'?"),
        (["--backbones", "none"], "Unknown backbone 'none'."),
        (["--datasets", "absent.npz"], "absent.npz: no such file"),
        (["--strategies", "absent:clip"], "cannot be imported"),
        (["--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["--epochs", "-1"], "--epochs must be at least 1, got -1"),
        (["--hidden", "0"], "--hidden must be at least 1, got 0"),
        (["--dtype", "float16"], "Unknown dtype 'float16'. Did you mean 'bfloat16'?"),
        (["--datasets", ","], "--datasets is empty"),
        (["--out", "/proc/nothing"], "--out /proc/nothing cannot be written to"),
    ],
)
def test_what_cannot_be_used_is_refused_before_any_training(options, message, capsys, tmp_path):
    out = [] if "--out" in options else ["--out", str(tmp_path / "out")]
    assert sweep.main(["--preset", "smoke", *out, *options]) == 2
    assert message in capsys.readouterr().err


def test_dry_run_and_list_run_nothing(tmp_path, capsys):
    assert sweep.main([*SMOKE, "--out", str(tmp_path / "new"), "--dry-run"]) == 0
    assert "14 cells, 0 of them done" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()
    assert sweep.main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert "household_hourly" in listed
    assert "clip_to_sequence_maximum" in listed


def test_a_users_function_and_file_join_the_sweep(tmp_path):
    inputs = np.random.default_rng(0).uniform(1, 2, (20, 4, 1))
    path = tmp_path / "my <data>.npz"
    np.savez(path, inputs=inputs, targets=inputs / 2, upper=inputs)
    options = ["--strategies", "bounded.constraints:half_tanh", "--datasets", str(path)]
    assert sweep.main([*SMOKE, *options, "--out", str(tmp_path / "out")]) == 0
    names = {row["strategy"] for row in rows_of(tmp_path / "out")}
    assert names == {"unconstrained", "clip", "bounded.constraints:half_tanh"}
    assert len(list((tmp_path / "out" / "figures").glob("example_*.png"))) == 1


def test_a_users_function_that_does_not_fit_the_dataset_is_refused(tmp_path, capsys):
    options = ["--strategies", "bounded.constraints:half_tanh", "--datasets", "household_hourly"]
    assert sweep.main([*SMOKE, *options, "--out", str(tmp_path / "out")]) == 2
    assert "bounds the upper side alone" in capsys.readouterr().err


def test_a_report_of_a_folder_without_a_sweep_is_refused(tmp_path, capsys):
    assert report.main([str(tmp_path / "absent")]) == 2
    assert "holds no sweep" in capsys.readouterr().err


def test_the_presets_cover_the_study():
    plan = make_plan("full")
    assert set(plan.strategies) == {*TRAINED, *BASELINES}
    assert set(plan.datasets) == set(DATASETS)
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


def test_spread_over_seeds_by_hand():
    found = spread([1.0, 3.0, None])
    assert (found.mean, found.count) == (2, 2)
    assert found.deviation == pytest.approx(np.sqrt(2))
    assert np.isnan(spread([1.0]).deviation)
    assert np.isnan(spread([None]).mean)
    assert report.cell_text(spread([1.0, 3.0])) == "2.000 ± 1.414"
    assert report.cell_text(spread([0.5])) == "0.500"
    assert report.cell_text(None) == "–"


def test_over_seeds_groups_by_dataset_backbone_and_strategy(smoke):
    found = over_seeds(summary(store.load(smoke)))
    assert len(found) == 14
    assert found["irradiance", "bottleneck", "clip"]["violation_rate"].mean == 0


def test_strategies_look_different():
    looks = [tuple(look(name).values()) for name in EVERY_STRATEGY]
    assert len(set(looks)) == len(looks)


def test_cells_are_plain_json_and_complete():
    from experiments.datasets import load

    plan = make_plan("smoke", backbones=("bottleneck", "conditioned"), seeds=2)
    found = cells(plan, load("irradiance"), [TRAINED["clip"], TRAINED["tanh_range"]])
    assert len(found) == 2 * 2 * 2 + 3
    assert found == json.loads(json.dumps(found))
    assert len({identity(cell) for cell in found}) == len(found)


COMPILE = """
import sys, jax
from experiments import devices
from experiments.training import Runner, Settings
from experiments.datasets import load
from experiments.strategies import TRAINED
devices.use_compilation_cache()
if jax.config.jax_compilation_cache_dir is None:
    sys.exit("no cache")
settings = Settings(hidden=3, epochs=1, batches_per_epoch=1, batch=4)
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append("cache_hits" in event))
runner = Runner(load("irradiance"), "bottleneck", settings, [TRAINED["clip"]])
print(sum(hits), runner.run([("clip", {}, 1e-3, 0)])[0].metrics["mse"])
"""


def compile_with_cache_in(folder):
    environment = os.environ | {"XDG_CACHE_HOME": str(folder)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    return subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True
    )


def test_what_was_compiled_is_kept_for_the_next_sweep_and_gives_the_same_numbers(tmp_path):
    first, second = (compile_with_cache_in(tmp_path).stdout.split() for _ in range(2))
    assert first[0] == "0"
    assert int(second[0]) >= 2
    assert first[1] == second[1]


def test_a_cache_folder_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "file").write_text("")
    assert compile_with_cache_in(tmp_path / "file").stderr.strip().endswith("no cache")
