"""One session of a sweep after another: what runs, what stays, what is said. Nothing is trained."""

import os
import signal
import time
from collections import Counter
from dataclasses import replace

import jax
import pytest

from experiments import store, sweep
from experiments.analysis.statistics import over_seeds
from experiments.figures import captions, draw
from experiments.figures.captions import Words
from experiments.running import worker
from experiments.training.baselines import BASELINES
from tests.experiments import written
from tests.experiments.sweeps import DIVERGING, SMOKE, Scripted, rows_of, strategy_of
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("scripted")


OTHER = "0" * 32
TUNED = [*SMOKE, "--datasets", "irradiance", "--strategies", "relu_offset,climatology_clipped"]


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


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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


def test_tuning_cells_that_failed_are_counted_with_the_others(tmp_path, capsys):
    options = [*TUNED, "--tuning-seeds", "1", "--out", str(tmp_path)]
    options += ["--learning-rates", f"0.003,{DIVERGING}"]
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


def test_what_runs_nothing_changes_nothing_and_figures_of_other_records_are_redrawn(
    copy, monkeypatch
):
    drawn = []

    def draw_one(folder, found):
        drawn.append(folder)
        written.figure(folder / "figures" / "a.png")
        captions.keep(folder, [("a.png", Words(title="A", caption=""))], found.records)

    monkeypatch.setattr(draw, "draw_all", draw_one)
    before = (copy / "manifest.json").read_bytes()
    for _ in range(2):
        assert sweep.main([*SMOKE, "--out", str(copy)]) == 0
        assert drawn == [copy], "what is drawn of these records is not drawn again"
    assert (copy / "manifest.json").read_bytes() == before, "a session in which nothing ran"
    captions.keep(copy, captions.read(copy).items(), [])
    assert sweep.main([*SMOKE, "--out", str(copy)]) == 0
    assert drawn == [copy, copy]


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


def test_records_of_other_code_are_not_mixed_unless_told_to(copy, capsys):
    altered(copy, of_other_code)
    clip = next(r for r in store.load(copy) if strategy_of(r) == "clip")
    (copy / "cells" / f"{clip['id']}.json").unlink()
    assert sweep.main([*SMOKE, "--out", str(copy)]) == 2
    error = capsys.readouterr().err
    assert "15 stale records" in error
    assert "  15: the code around the programs changed (bound, climatology_clipped, clip," in error
    assert "--stale rerun" in error
    assert hosts(copy) == {True: 15}
    assert sweep.main([*SMOKE, "--out", str(copy), "--stale", "keep"]) == 0
    assert hosts(copy) == {True: 15, False: 1}
    assert sweep.main([*SMOKE, "--out", str(copy), "--stale", "rerun"]) == 0
    assert hosts(copy) == {False: 16}
    assert len(list((copy / "cells").glob("*.json.stale"))) == 15
    assert len(rows_of(copy)) == 2 * (4 * 20 + 4 * 12)


def test_a_dry_run_changes_nothing(copy, capsys):
    altered(copy, of_other_code)
    (copy / "cells" / f"{'0' * 64}.json").write_text("{")
    before = contents(copy)
    options = [*SMOKE, "--out", str(copy), "--dry-run", "--stale", "rerun"]
    with pytest.warns(UserWarning, match="not a whole record"):
        assert sweep.main(options) == 0
    assert "16 to run" in capsys.readouterr().out
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
    assert "16 stale records set aside, 8 of them of this plan." in capsys.readouterr().out


def test_records_of_two_versions_of_a_dataset_are_noted(copy, capsys):
    options = ["--out", str(altered(copy, of_other_data)), "--stale", "keep"]
    assert sweep.main([*SMOKE, *options]) == 0
    expected = "warning: Records of several versions of a dataset: irradiance 2"
    assert expected in capsys.readouterr().out


def test_what_force_has_not_run_again_is_left(copy, capsys):
    options = ["--out", str(copy), "--force", "--minutes", "1e-9"]
    assert sweep.main([*SMOKE, *options]) == 0
    said = capsys.readouterr().out
    assert "16 cells left, the same command, without --force, goes on; nothing was finished" in said


def test_records_of_other_data_are_stale(copy, capsys):
    assert sweep.main([*SMOKE, "--out", str(altered(copy, of_other_data))]) == 2
    error = capsys.readouterr().err
    assert "8 stale records" in error
    assert "the data of irradiance changed" in error


def test_forced_cells_run_again_and_are_never_stale(copy):
    altered(copy, of_other_code)
    assert sweep.main([*SMOKE, "--out", str(copy), "--force"]) == 0
    assert hosts(copy) == {False: 16}


def test_a_plan_is_extended_and_the_manifest_covers_both(copy, capsys):
    more = ["--strategies", "half_tanh", "--datasets", "irradiance", "--seeds", "2"]
    assert sweep.main(["--preset", "smoke", *more, "--out", str(copy)]) == 0
    assert "6 cells, 2 of them done; 4 to run." in capsys.readouterr().out
    assert len(store.load(copy)) == 16 + 4
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
        (["--batch", "9"], "cells with batch 32, this plan has batch 9"),
        (["--updates", "9"], "cells with batches_per_epoch 16, this plan has batches_per_epoch 9"),
        (["--learning-rates", "0.5"], "and the --learning-rates"),
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
    assert "14 of them done, 2 failed (--retry-failed runs them again); 0 to run." in printed
    assert "2 failed cells" in printed
    assert sweep.main([*SMOKE, "--out", str(copy), "--retry-failed"]) == 0
    assert "0 failed cells" in capsys.readouterr().out


def test_fail_fast_stops_at_the_first_failure(tmp_path, capsys):
    options = ["--preset", "smoke", "--datasets", "irradiance", "--seeds", "3", "--fail-fast"]
    options += ["--learning-rates", str(DIVERGING)]
    assert sweep.main([*options, "--out", str(tmp_path)]) == 1
    records = store.load(tmp_path)
    assert 0 < len(records) <= jax.local_device_count()
    assert f"{4 * 3 + len(BASELINES) - len(records)} cells left" in capsys.readouterr().out


def test_minutes_end_a_session_with_what_is_left_and_another_goes_on(smoke, tmp_path, capsys):
    assert sweep.main([*SMOKE, "--out", str(tmp_path), "--minutes", "1e-9"]) == 0
    assert "16 cells left, the same command goes on" in capsys.readouterr().out
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
    assert 3 <= len(store.load(tmp_path)) < 16
    assert {row["dataset"] for row in rows_of(tmp_path)} == {"irradiance"}
    assert sweep.main([*SMOKE, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "summary.csv").read_bytes() == (smoke / "summary.csv").read_bytes()


def test_a_second_sweep_into_one_folder_is_refused(smoke, capsys):
    with store.opened(smoke):
        assert sweep.main([*SMOKE, "--out", str(smoke)]) == 2
    assert f"is in use by process {os.getpid()}" in capsys.readouterr().err


def test_a_batch_that_takes_too_long_fails_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    class Hanging(Scripted):
        def run(self, runs, on_epochs):
            if any(run.strategy == "clip" for run in runs):
                time.sleep(600)
            return super().run(runs, on_epochs)

    monkeypatch.setattr(worker, "Runner", Hanging)
    options = [*SMOKE, "--datasets", "irradiance", "--seeds", "1", "--timeout", "1"]
    assert sweep.main([*options, "--strategies", "clip,bound", "--out", str(tmp_path)]) == 1
    statuses = {strategy_of(r): r["status"] for r in store.load(tmp_path)}
    assert statuses == {"unconstrained": "done", "clip": "failed", "bound": "done"}
    assert "longer than 1 seconds" in capsys.readouterr().out


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
    assert len(store.load(copy)) == 14


MANIFESTS = ["[]", "null", '{"plan": {}}', '{"sessions": 1}', '{"sittings": 1}', "{"]


@pytest.mark.parametrize("text", sampled(MANIFESTS, ("null", '{"sessions": 1}', "{")))
def test_a_foreign_manifest_is_set_aside(copy, text, capsys):
    for place in ("manifest.json.damaged", "manifest.json.damaged-2"):
        (copy / "manifest.json").write_text(text)
        assert sweep.main([*SMOKE, "--out", str(copy)]) == 0
        assert store.read_manifest(copy)["plan"]["hidden"] == [8]
        assert f"manifest.json is not whole: set aside as {place}" in capsys.readouterr().out
        assert (copy / place).read_text() == text


def test_a_row_with_hyperparameters_runs_once_however_it_is_spelled(tmp_path, capsys):
    options = ["--preset", "smoke", "--seeds", "1", "--datasets", "irradiance"]
    options += ["--out", str(tmp_path)]
    assert sweep.main([*options, "--strategies", "smooth_clip(temperature=.5)"]) == 0
    found = {record.cell.strategy: record.cell.hyperparameters for record in store.read(tmp_path)}
    assert found["smooth_clip(temperature=0.5)"] == {"temperature": 0.5}
    assert sweep.main([*options, "--strategies", "smooth_clip( temperature = 0.50 )"]) == 0
    assert "3 cells, 3 of them done; 0 to run" in capsys.readouterr().out
    table = (tmp_path / "tables" / "strategies.csv").read_text()
    assert "smooth_clip(temperature=0.5),smooth minimum and maximum,always,temperature 0.5" in table


def test_networks_of_several_sizes_stand_side_by_side_and_more_are_added(tmp_path, capsys):
    options = [*SMOKE, "--datasets", "irradiance", "--backbones", "mlp", "--out", str(tmp_path)]
    assert sweep.main([*options, "--hidden", "4,8"]) == 0
    assert sweep.main([*options, "--hidden", "4,8,16"]) == 0
    assert "16 cells, 12 of them done; 4 to run" in capsys.readouterr().out
    shown = (tmp_path / "tables" / "settings.csv").read_text()
    assert 'hidden,"4, 8, 16"' in shown
    assert {row["backbone"] for row in rows_of(tmp_path)} == {
        "none",
        *(f"mlp_{size}" for size in (4, 8, 16)),
    }
    assert sweep.main([*options, "--hidden", "8"]) == 2
    assert "or every size to --hidden" in capsys.readouterr().err


def test_the_learning_rates_that_were_tried_are_in_the_tables(tmp_path):
    options = [*TUNED, "--tuning-seeds", "1", "--learning-rates", "0.5,0.003"]
    assert sweep.main([*options, "--out", str(tmp_path)]) == 0
    assert 'learning rates tried,"0.003, 0.5"' in (tmp_path / "tables/settings.csv").read_text()
