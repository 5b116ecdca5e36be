"""A smoke sweep from the command line, trained and drawn, and what is made of its records."""

import shutil

import numpy as np
import pytest

from experiments import report, store, sweep
from experiments.analysis.statistics import COLUMNS, over_seeds, summary
from experiments.figures import draw
from experiments.running.presets import PRESETS
from experiments.training.baselines import BASELINES
from tests.experiments.sweeps import (
    METRICS,
    SMOKE,
    by_either,
    draw_only,
    rows_of,
    run_by,
    strategy_of,
)


@pytest.fixture(scope="module", autouse=True)
def _what_a_sweep_changes_is_drawn():
    """Not the shapes of constraints, for which maps are compiled: test_figures.py draws them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw.constraint_shapes, "constraint_shapes", lambda shows: None)
        yield


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "smoke"
    assert sweep.main([*SMOKE, "--out", str(folder)]) == 0
    return folder


def test_every_cell_has_a_record_with_every_metric(smoke):
    records = store.load(smoke)
    assert len(records) == 2 * (4 + len(BASELINES))
    for record in records:
        assert set(record) >= {"id", "status", "config", "metrics", "timing", "error"}
        assert record["status"] == "done"
        assert record["fingerprint"].keys() == {"strategy", "training", "host", "versions"}
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
    by_key = {
        (r["strategy"], r["dataset"], r["metric"]): float(r["value"]) if r["value"] else None
        for r in rows
    }
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
        "seeds.png",
        "training_curves_irradiance.png",
        "gradient_health.png",
        "collapse.png",
        "example_irradiance_bottleneck.png",
        "example_irradiance_autoencoder_bottleneck.png",
    }


@pytest.mark.usefixtures("undrawn")
def test_the_table_has_a_row_for_every_strategy_and_dataset(smoke, capsys):
    assert report.main([str(smoke)]) == 0
    table = capsys.readouterr().out
    assert "skill, bottleneck" in table
    for name in PRESETS["smoke"].strategies:
        assert table.count(f"\n {name} ") == 1, name
    assert report.main([str(smoke), "--tables"]) == 0
    tables = capsys.readouterr().out
    for dataset in ("irradiance", "irradiance_autoencoder"):
        assert f"{dataset}, bottleneck" in tables
    for name in PRESETS["smoke"].strategies:
        assert tables.count(f"\n {name} ") == 2 + 1, name


def test_what_is_derived_can_be_deleted_and_redone(copy, monkeypatch):
    draw_only(monkeypatch, "collapse")
    before = (copy / "summary.csv").read_bytes()
    (copy / "summary.csv").unlink()
    shutil.rmtree(copy / "figures")
    assert report.main([str(copy)]) == 0
    assert (copy / "summary.csv").read_bytes() == before
    assert (copy / "figures" / "collapse.png").exists()


@pytest.mark.usefixtures("undrawn")
def test_the_same_command_runs_nothing_again_and_a_lost_cell_comes_back_the_same(copy, capsys):
    before = {record["id"]: record for record in store.load(copy)}
    clip = next(key for key in before if strategy_of(before[key]) == "clip")
    (copy / "cells" / f"{clip}.json").unlink()
    assert sweep.main([*SMOKE, "--out", str(copy)]) == 0
    assert "16 cells, 15 of them done; 1 to run." in capsys.readouterr().out
    after = {record["id"]: record for record in store.load(copy)}
    assert {**after.pop(clip), "timing": None} == {**before.pop(clip), "timing": None}
    assert after == before


def test_over_seeds_groups_by_dataset_backbone_and_strategy(smoke):
    found = over_seeds(summary(store.read(smoke)))
    assert len(found) == 16
    assert found["irradiance", "bottleneck", "clip"]["violation_rate"].mean == 0


@pytest.mark.usefixtures("undrawn")
def test_a_cell_that_diverges_is_recorded_and_the_others_go_on(tmp_path, capsys):
    options = [*SMOKE, "--datasets", "irradiance", "--out", str(tmp_path)]
    options += ["--learning-rates", "1e38"]
    assert sweep.main(options) == 1
    records = store.load(tmp_path)
    failed = [record for record in records if record["status"] == "failed"]
    assert {strategy_of(record) for record in failed} == set(
        PRESETS["smoke"].strategies
    ) - BASELINES.keys()
    assert all("diverged" in record["error"] for record in failed)
    assert {row["strategy"] for row in rows_of(tmp_path)} == BASELINES.keys()
    assert "failed  irradiance bottleneck clip seed 0: diverged" in capsys.readouterr().out


@by_either
def test_a_users_function_and_file_join_the_sweep(tmp_path, monkeypatch, runner):
    run_by(monkeypatch, runner)
    draw_only(monkeypatch, "example_")
    inputs = np.random.default_rng(0).uniform(1, 2, (20, 4, 1))
    path = tmp_path / "my <data>.npz"
    np.savez(path, inputs=inputs, targets=inputs / 2, upper=inputs)
    options = ["--strategies", "bounded.constraints:half_tanh", "--datasets", str(path)]
    options += ["--backbones", "mlp"]
    assert sweep.main([*SMOKE, *options, "--out", str(tmp_path / "out")]) == 0
    names = {row["strategy"] for row in rows_of(tmp_path / "out")}
    assert names == {"unconstrained", "clip", "bounded.constraints:half_tanh"}
    assert len(list((tmp_path / "out" / "figures").glob("example_*.png"))) == 1
