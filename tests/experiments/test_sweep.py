"""A smoke sweep through the command line, and what is made of its records."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import report, store, sweep
from experiments.analysis.statistics import COLUMNS, over_seeds, spread, summary
from experiments.figures import captions, draw
from experiments.figures.style import look
from experiments.page import terminal
from experiments.running import manifest
from experiments.running.plan import Layout
from experiments.running.presets import PRESETS
from experiments.training.baselines import BASELINES
from experiments.training.strategies import EVERY_STRATEGY
from experiments.usage import UsageError

OTHER = "0" * 32
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
    "jacobian_rank_fraction",
    "sum_violation_rate",
    "sum_violation_rate_1e-4",
    "sum_violation_max",
}


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    """Figures take longer than the cells: they are drawn for `smoke` and with `drawn` alone."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(draw, "draw_all", lambda folder, found: None)


@pytest.fixture
def drawn():
    """For tests of what is drawn."""


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


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel name\t: Some Model: 3\nmodel name\t: other\n", "Some Model: 3"),
        ("Processor\t: 0\n", "a kind"),
        (None, "a kind"),
    ],
)
def test_a_processor_is_named_by_its_model_where_that_is_known(monkeypatch, cpuinfo, name):
    def read(path, encoding):
        assert str(path) == "/proc/cpuinfo"
        if cpuinfo is None:
            raise FileNotFoundError
        return cpuinfo

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(manifest.platform, "processor", lambda: "")
    monkeypatch.setattr(manifest.platform, "machine", lambda: "a kind")
    assert manifest._processor() == name


TUNED = [*SMOKE, "--datasets", "irradiance", "--strategies", "relu_offset,climatology_clipped"]


def test_tuning_then_final_in_as_many_sessions_as_it_takes(tmp_path, capsys, monkeypatch):
    options = [*TUNED, "--tuning-seeds", "1"]
    assert sweep.main([*options, "--out", str(tmp_path / "at_once")]) == 0
    out = tmp_path / "in_sessions"
    save = store.save

    def save_one(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "save", save_one)
    for _ in range(3):
        assert sweep.main([*options, "--out", str(out)]) == 130
    monkeypatch.setattr(store, "save", save)
    assert sweep.main([*options, "--dry-run", "--out", str(out)]) == 0
    said = "tune phase, 4 cells after it: 9 cells, 3 of them done; 6 to run"
    assert said in capsys.readouterr().out
    assert sweep.main([*options, "--out", str(out)]) == 0
    assert (out / "summary.csv").read_bytes() == (tmp_path / "at_once/summary.csv").read_bytes()
    assert sweep.main([*options, "--dry-run", "--out", str(out)]) == 0
    assert "4 cells, 4 of them done; 0 to run" in capsys.readouterr().out
    altered(out, of_other_code)
    assert sweep.main([*options, "--out", str(out), "--force"]) == 0
    assert hosts(out) == {False: 4 + 9}
    assert len(list((out / "cells").glob("*.json.stale"))) == 4


def test_tuning_cells_that_failed_are_counted_with_the_others(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("experiments.training.tuning.LEARNING_RATES", (0.003, 1e38))
    options = [*TUNED, "--tuning-seeds", "1", "--out", str(tmp_path)]
    for _ in range(2):
        assert sweep.main(options) == 1
        assert "3 failed cells" in capsys.readouterr().out


def test_what_was_chosen_is_run_in_the_final_phase_and_said(tmp_path):
    rows = sweep.run_sweep(
        "smoke",
        strategies=["relu_offset"],
        datasets=["irradiance"],
        seeds=1,
        tuning_seeds=1,
        out=tmp_path,
    )
    mse = [row for row in rows if row["metric"] == "mse"]
    tuned = [row for row in mse if row["phase"] == "tune"]
    assert {row["split"] for row in tuned} == {"validation"}
    for row in mse:
        if row["phase"] == "final":
            (best, *_) = sorted(
                (other["value"], other["hyperparameters"])
                for other in tuned
                if other["strategy"] == row["strategy"]
            )
            assert row["hyperparameters"] == best[1]
            assert row["split"] == "test"
    assert len(tuned) == 9
    shown = over_seeds(rows)
    assert {spreads["mse"].count for spreads in shown.values()} == {1}


def test_figures_are_drawn(smoke):
    names = {path.name for path in (smoke / "figures").glob("*.png")}
    assert names >= {
        "loss_violation_irradiance.png",
        "skills.png",
        "training_curves_irradiance.png",
        "gradient_health_blocked.png",
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


@pytest.mark.usefixtures("drawn")
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
    assert "14 cells, 13 of them done; 1 to run." in capsys.readouterr().out
    after = {record["id"]: record for record in store.load(copy)}
    assert {**after.pop(clip), "timing": None} == {**before.pop(clip), "timing": None}
    assert after == before


def test_what_runs_nothing_changes_nothing_and_figures_of_other_records_are_redrawn(
    copy, monkeypatch
):
    drawn = []
    monkeypatch.setattr(draw, "draw_all", lambda folder, found: drawn.append(folder))
    before = (copy / "manifest.json").read_bytes()
    assert sweep.main([*SMOKE, "--out", str(copy)]) == 0
    assert drawn == []
    assert (copy / "manifest.json").read_bytes() == before, "a session in which nothing ran"
    captions.keep(copy, captions.read(copy).items(), [])
    assert sweep.main([*SMOKE, "--out", str(copy)]) == 0
    assert drawn == [copy]


def test_a_session_that_breaks_off_is_in_the_manifest_with_what_it_ran(copy, monkeypatch):
    clip = next(r["id"] for r in store.load(copy) if strategy_of(r) == "clip")
    (copy / "cells" / f"{clip}.json").unlink()
    before = store.read_manifest(copy)["sessions"]
    save = store.save

    def save_one(*arguments):
        save(*arguments)
        raise store.StorageError("the disk is full")

    monkeypatch.setattr(store, "save", save_one)
    assert sweep.main([*SMOKE, "--out", str(copy)]) == 1
    after = store.read_manifest(copy)["sessions"]
    assert after[:-1] == before
    assert after[-1]["finished"]


def altered(folder, change):
    """The folder, each record changed as if by another sweep."""
    for record in store.read(folder):
        arrays = store.load_arrays(folder, record.id)
        (folder / "cells" / f"{record.id}.json").unlink()
        store.save(folder, change(record), arrays)
    return folder


def of_other_code(record):
    return replace(record, fingerprint={**record.fingerprint, "host": OTHER})


def of_other_data(record):
    irradiance = replace(record.cell, data_hash="0" * 64)
    return replace(record, cell=irradiance) if record.cell.dataset == "irradiance" else record


def hosts(folder):
    return Counter(record.fingerprint["host"] == OTHER for record in store.read(folder))


def test_records_of_other_code_are_not_mixed_unless_told_to(copy, capsys):
    altered(copy, of_other_code)
    clip = next(r for r in store.load(copy) if strategy_of(r) == "clip")
    (copy / "cells" / f"{clip['id']}.json").unlink()
    assert sweep.main([*SMOKE, "--out", str(copy)]) == 2
    error = capsys.readouterr().err
    assert "13 stale records" in error
    assert "  13: the code around the programs changed (bound, climatology_clipped, clip," in error
    assert "--stale rerun" in error
    assert hosts(copy) == {True: 13}
    assert sweep.main([*SMOKE, "--out", str(copy), "--stale", "keep"]) == 0
    assert hosts(copy) == {True: 13, False: 1}
    assert sweep.main([*SMOKE, "--out", str(copy), "--stale", "rerun"]) == 0
    assert hosts(copy) == {False: 14}
    assert len(list((copy / "cells").glob("*.json.stale"))) == 13
    assert len(rows_of(copy)) == 2 * (4 * 18 + 3 * 11)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_dry_run_changes_nothing(copy, capsys):
    altered(copy, of_other_code)
    (copy / "cells" / f"{'0' * 64}.json").write_text("{")
    before = contents(copy)
    options = [*SMOKE, "--out", str(copy), "--dry-run", "--stale", "rerun"]
    with pytest.warns(UserWarning, match="not a whole record"):
        assert sweep.main(options) == 0
    assert "14 to run" in capsys.readouterr().out
    assert contents(copy) == before


def test_stale_records_that_are_packed_as_well_stay_where_they_are(copy, capsys):
    altered(copy, of_other_code)
    store.pack(copy)
    before = {path.name for path in (copy / "cells").iterdir()}
    for more in (["--dry-run"], []):
        assert sweep.main([*SMOKE, "--out", str(copy), "--stale", "rerun", *more]) == 2
        assert "delete its file there" in capsys.readouterr().err
    assert {path.name for path in (copy / "cells").iterdir()} == before


def test_stale_records_beyond_the_plan_are_set_aside_and_counted(copy, capsys):
    altered(copy, of_other_code)
    options = ["--datasets", "irradiance", "--out", str(copy), "--stale", "rerun"]
    assert sweep.main([*SMOKE, *options]) == 0
    assert "14 stale records set aside, 7 of them of this plan." in capsys.readouterr().out


def test_records_of_two_versions_of_a_dataset_are_noted(copy, capsys):
    options = ["--out", str(altered(copy, of_other_data)), "--stale", "keep"]
    assert sweep.main([*SMOKE, *options]) == 0
    expected = "warning: Records of several versions of a dataset: irradiance 2"
    assert expected in capsys.readouterr().out


def test_what_force_has_not_run_again_is_left(copy, capsys):
    options = ["--out", str(copy), "--force", "--minutes", "1e-9"]
    assert sweep.main([*SMOKE, *options]) == 0
    said = capsys.readouterr().out
    assert "14 cells left, the same command, without --force, goes on; nothing was finished" in said


def test_failed_cells_are_a_warning_from_python(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.training.tuning.LEARNING_RATES", (1e38,))
    with pytest.warns(UserWarning, match=r"2 cells of .* failed, 0 are left"):
        rows = sweep.run_sweep(
            "smoke", seeds=1, datasets=["irradiance"], strategies=["bound"], out=tmp_path
        )
    assert {row["strategy"] for row in rows} == {"bound"}


def test_results_leave_a_checkout_clean_and_other_files_do_not(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "ROOT", tmp_path)

    def is_dirty():
        return manifest.begin({}, PRESETS["smoke"], Layout({}, {}, (), "final", {}, ()), "here")[
            "dirty"
        ]

    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "results" / "mine").mkdir(parents=True)
    (tmp_path / "results" / "mine" / "summary.csv").write_text("")
    assert not is_dirty()
    (tmp_path / "strategy.py").write_text("")
    assert is_dirty()


@pytest.mark.parametrize(
    "text", ["[]", "null", '{"plan": {}}', '{"sessions": 1}', '{"sittings": 1}', "{"]
)
def test_a_foreign_manifest_is_set_aside(copy, text, capsys):
    for place in ("manifest.json.damaged", "manifest.json.damaged-2"):
        (copy / "manifest.json").write_text(text)
        assert sweep.main([*SMOKE, "--out", str(copy)]) == 0
        assert store.read_manifest(copy)["plan"]["hidden"] == 8
        assert f"manifest.json is not whole: set aside as {place}" in capsys.readouterr().out
        assert (copy / place).read_text() == text


def test_records_of_other_data_are_stale(copy, capsys):
    assert sweep.main([*SMOKE, "--out", str(altered(copy, of_other_data))]) == 2
    error = capsys.readouterr().err
    assert "7 stale records" in error
    assert "the data of irradiance changed" in error


def test_forced_cells_run_again_and_are_never_stale(copy):
    altered(copy, of_other_code)
    assert sweep.main([*SMOKE, "--out", str(copy), "--force"]) == 0
    assert hosts(copy) == {False: 14}


def test_a_plan_is_extended_and_the_manifest_covers_both(copy, capsys):
    more = ["--strategies", "half_tanh", "--datasets", "irradiance", "--seeds", "2"]
    assert sweep.main(["--preset", "smoke", *more, "--out", str(copy)]) == 0
    assert "6 cells, 2 of them done; 4 to run." in capsys.readouterr().out
    assert len(store.load(copy)) == 14 + 4
    manifest = store.read_manifest(copy)
    assert {"half_tanh", "squared_hinge"} < set(manifest["plan"]["strategies"])
    assert manifest["plan"]["datasets"] == ["irradiance", "irradiance_autoencoder"]
    assert manifest["plan"]["seeds"] == 2
    assert [session["plan"]["seeds"] for session in manifest["sessions"]] == [1, 2]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--hidden", "9"], "cells with hidden 8, this plan has hidden 9"),
        (["--epochs", "4"], "cells with epochs 2, this plan has epochs 4"),
        (["--dtype", "bfloat16"], "cells with dtype float32, this plan has dtype bfloat16"),
    ],
)
def test_a_plan_of_another_model_or_training_is_refused(smoke, capsys, option, message):
    assert sweep.main([*SMOKE, *option, "--out", str(smoke)]) == 2
    assert message in capsys.readouterr().err


def test_a_damaged_record_is_reported_and_run_again(copy):
    expected = (copy / "summary.csv").read_bytes()
    clip = next(r["id"] for r in store.load(copy) if strategy_of(r) == "clip")
    (copy / "cells" / f"{clip}.json").write_text("{")
    with pytest.warns(UserWarning, match=f"{clip}.json is not a whole record"):
        assert sweep.main([*SMOKE, "--out", str(copy)]) == 0
    assert (copy / "summary.csv").read_bytes() == expected
    assert (copy / "cells" / f"{clip}.json.damaged").read_text() == "{"


def test_failed_cells_run_again_when_asked_to(copy, capsys):
    def fail(record):
        failed = {"status": "failed", "error": "out of memory", "metrics": {}}
        return replace(record, **failed) if record.cell.strategy == "clip" else record

    altered(copy, fail)
    assert sweep.main([*SMOKE, "--out", str(copy)]) == 1
    printed = capsys.readouterr().out
    assert "12 of them done, 2 failed (--retry-failed runs them again); 0 to run." in printed
    assert "2 failed cells" in printed
    assert sweep.main([*SMOKE, "--out", str(copy), "--retry-failed"]) == 0
    assert "0 failed cells" in capsys.readouterr().out


def test_fail_fast_stops_at_the_first_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("experiments.training.tuning.LEARNING_RATES", (1e38,))
    options = ["--preset", "smoke", "--datasets", "irradiance", "--seeds", "3", "--fail-fast"]
    assert sweep.main([*options, "--out", str(tmp_path)]) == 1
    records = store.load(tmp_path)
    assert 0 < len(records) <= jax.local_device_count()
    assert f"{4 * 3 + 3 - len(records)} cells left" in capsys.readouterr().out


def test_minutes_end_a_session_with_what_is_left_and_another_goes_on(smoke, tmp_path, capsys):
    assert sweep.main([*SMOKE, "--out", str(tmp_path), "--minutes", "1e-9"]) == 0
    assert "14 cells left, the same command goes on" in capsys.readouterr().out
    assert store.load(tmp_path) == []
    assert sweep.main([*SMOKE, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "summary.csv").read_bytes() == (smoke / "summary.csv").read_bytes()


def test_an_interrupt_keeps_what_is_finished_and_says_how_to_go_on(
    smoke, tmp_path, monkeypatch, capsys
):
    save = store.save

    def save_and_interrupt(*arguments):
        save(*arguments)
        if len(list((tmp_path / "cells").glob("*.json"))) == 3:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(store, "save", save_and_interrupt)
        assert sweep.main([*SMOKE, "--out", str(tmp_path)]) == 130
    printed = capsys.readouterr()
    assert "stopping once the present chunk is done" in printed.out
    assert "the same command goes on from there" in printed.err
    assert 3 <= len(store.load(tmp_path)) < 14
    assert {row["dataset"] for row in rows_of(tmp_path)} == {"irradiance"}
    assert sweep.main([*SMOKE, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "summary.csv").read_bytes() == (smoke / "summary.csv").read_bytes()


def test_a_second_sweep_into_one_folder_is_refused(smoke, capsys):
    with store.opened(smoke):
        assert sweep.main([*SMOKE, "--out", str(smoke)]) == 2
    assert f"is in use by process {os.getpid()}" in capsys.readouterr().err


def test_a_batch_that_takes_too_long_fails_and_the_others_go_on(tmp_path, capsys):
    options = [*SMOKE, "--datasets", "irradiance", "--timeout", "1e-9", "--out", str(tmp_path)]
    assert sweep.main(options) == 1
    statuses = {strategy_of(r): r["status"] for r in store.load(tmp_path)}
    assert statuses["clip"] == "failed"
    assert statuses["bound"] == "done"
    assert "longer than 1e-09 seconds" in capsys.readouterr().out


def test_a_disk_that_fills_up_is_a_clear_error_and_what_is_finished_stays(
    copy, monkeypatch, capsys
):
    clips = [r["id"] for r in store.load(copy) if strategy_of(r) == "clip"]
    for key in clips:
        (copy / "cells" / f"{key}.json").unlink()

    def full(folder, record, arrays):
        raise store.StorageError("cells/x.json cannot be written: No space left on device.")

    with monkeypatch.context() as patch:
        patch.setattr(store, "save", full)
        assert sweep.main([*SMOKE, "--out", str(copy)]) == 1
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert "goes on from there" in error
    assert len(store.load(copy)) == 12


def test_away_from_a_terminal_each_finished_cell_is_a_plain_line(tmp_path, capsys):
    options = [*SMOKE, "--datasets", "irradiance", "--out", str(tmp_path)]
    assert sweep.main(options) == 0
    printed = capsys.readouterr().out
    assert printed.count("done    irradiance") == 4 + 3
    assert "\x1b" not in printed
    assert "\r" not in printed


def test_from_python_the_summary_comes_back_as_rows(tmp_path):
    rows = sweep.run_sweep(
        "smoke", out=tmp_path, strategies=["half_tanh"], datasets=["sines"], seeds=1
    )
    assert [{**row, "value": str(row["value"])} for row in rows_of(tmp_path)] == [
        {key: "" if value is None else str(value) for key, value in row.items()} for row in rows
    ]
    assert {row["strategy"] for row in rows} == {"unconstrained", "clip", "half_tanh"}
    with pytest.raises(TypeError, match="unknown_option"):
        sweep.run_sweep("smoke", out=tmp_path, unknown_option=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "--workers must be positive, got 0"),
        ({"minutes": -1}, "--minutes must be positive, got -1"),
        ({"timeout": float("nan")}, "--timeout must be positive, got nan"),
        ({"workers": 1, "dask": "local"}, "Give --workers or --dask, not both"),
        ({"stale": "kep"}, "Did you mean 'keep'"),
        ({"workers": 1000}, "--workers 1000 is more than"),
        ({"dask": ""}, "--dask is empty"),
        ({"strategies": "clip"}, "strategies must be a list of names, got 'clip'"),
        ({"datasets": [Path("absent.npz")]}, "absent.npz: no such file"),
    ],
)
def test_options_that_cannot_be_used_are_refused(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        sweep.run_sweep("smoke", out=tmp_path, **options)


def test_a_cell_that_diverges_is_recorded_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("experiments.training.tuning.LEARNING_RATES", (1e38,))
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


@pytest.mark.usefixtures("drawn")
def test_a_users_function_and_file_join_the_sweep(tmp_path):
    inputs = np.random.default_rng(0).uniform(1, 2, (20, 4, 1))
    path = tmp_path / "my <data>.npz"
    np.savez(path, inputs=inputs, targets=inputs / 2, upper=inputs)
    options = ["--strategies", "bounded.constraints:half_tanh", "--datasets", str(path)]
    assert sweep.main([*SMOKE, *options, "--out", str(tmp_path / "out")]) == 0
    names = {row["strategy"] for row in rows_of(tmp_path / "out")}
    assert names == {"unconstrained", "clip", "bounded.constraints:half_tanh"}
    assert len(list((tmp_path / "out" / "figures").glob("example_*.png"))) == 1


def test_a_dataset_that_breaks_its_bound_is_kept_when_allowed_and_reported(tmp_path, capsys):
    inputs = np.random.default_rng(0).uniform(1, 2, (20, 4, 1))
    targets = inputs / 2
    targets[3, 2] = 9
    np.savez(tmp_path / "broken.npz", inputs=inputs, targets=targets, upper=inputs)
    options = [*SMOKE, "--datasets", str(tmp_path / "broken.npz"), "--out", str(tmp_path / "out")]
    assert sweep.main(options) == 2
    assert "or keep them with --allow-infeasible" in capsys.readouterr().err
    assert sweep.main([*options, "--allow-infeasible"]) == 0
    expected = "warning: Targets that break their bounds: broken.npz 1.25 %"
    assert expected in capsys.readouterr().out
    assert report.main([str(tmp_path / "out")]) == 0
    assert expected in capsys.readouterr().out


def test_a_users_function_that_does_not_fit_the_dataset_is_refused(tmp_path, capsys):
    options = ["--strategies", "bounded.constraints:half_tanh", "--datasets", "household_hourly"]
    assert sweep.main([*SMOKE, *options, "--out", str(tmp_path / "out")]) == 2
    assert "bounds the upper side alone" in capsys.readouterr().err


def test_a_report_of_a_folder_without_a_sweep_is_refused(tmp_path, capsys):
    assert report.main([str(tmp_path / "absent")]) == 2
    assert "holds no sweep" in capsys.readouterr().err


def test_spread_over_seeds_by_hand():
    found = spread([1.0, 3.0, None])
    assert (found.mean, found.count) == (2, 2)
    assert found.deviation == pytest.approx(np.sqrt(2))
    assert np.isnan(spread([1.0]).deviation)
    assert np.isnan(spread([None]).mean)
    assert terminal.cell_text(spread([1.0, 3.0])) == "2.000 ± 1.414"
    assert terminal.cell_text(spread([0.5])) == "0.500"
    assert terminal.cell_text(None) == "–"


def test_over_seeds_groups_by_dataset_backbone_and_strategy(smoke):
    found = over_seeds(summary(store.read(smoke)))
    assert len(found) == 14
    assert found["irradiance", "bottleneck", "clip"]["violation_rate"].mean == 0


def test_strategies_look_different():
    looks = [tuple(look(name).values()) for name in EVERY_STRATEGY]
    assert len(set(looks)) == len(looks)


COMPILE = """
import sys, jax
from experiments.training import devices
from experiments.data.datasets import load
from experiments.training.cell import Settings
from experiments.training.runner import Run, Runner
from experiments.training.strategies import TRAINED
devices.use_compilation_cache()
if jax.config.jax_compilation_cache_dir is None:
    sys.exit("no cache")
settings = Settings(hidden=3, epochs=1, batches_per_epoch=1, batch=4)
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append("cache_hits" in event))
runner = Runner(load("irradiance"), "bottleneck", settings, [TRAINED["clip"]])
print(sum(hits), runner.run([Run("clip", {}, 1e-3, 0)])[0].metrics["mse"])
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
