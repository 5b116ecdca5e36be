"""The command line and the call from Python: what they refuse, print and give; untrained."""

from pathlib import Path

import numpy as np
import pytest

from experiments import report, sweep
from experiments.data.catalogue import DATASETS
from experiments.running import listing
from experiments.training.baselines import BASELINES
from experiments.usage import UsageError
from tests.experiments.sweeps import DIVERGING, SMOKE, rows_of

pytestmark = pytest.mark.usefixtures("scripted")


def test_failed_cells_are_a_warning_from_python(tmp_path):
    with pytest.warns(UserWarning, match=r"2 cells of .* failed, 0 are left"):
        rows = sweep.run_sweep(
            "smoke",
            seeds=1,
            datasets=["irradiance"],
            strategies=["bound"],
            learning_rates=[DIVERGING],
            out=tmp_path,
        )
    assert {row["strategy"] for row in rows} == {"bound"}


def test_away_from_a_terminal_each_finished_cell_is_a_plain_line(tmp_path, capsys):
    options = [*SMOKE, "--datasets", "irradiance", "--out", str(tmp_path)]
    assert sweep.main(options) == 0
    printed = capsys.readouterr().out
    assert printed.count("done    irradiance") == 4 + len(BASELINES)
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


def test_an_argument_that_there_is_not_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(TypeError, match=r"no 'learning_rate'\. Did you mean 'learning_rates'\?"):
        sweep.run_sweep("smoke", out=tmp_path, learning_rate=1)
    with pytest.raises(TypeError, match="unknown_option.* It takes .*strategies.*retry_failed"):
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
        ({"seeds": "3"}, "--seeds must be a whole number, got '3'"),
        ({"updates": 2.5}, "--updates must be a whole number, got 2.5"),
        ({"batch": True}, "--batch must be a whole number, got True"),
        ({"hidden": [8, 0]}, "--hidden must be at least 1, got 0"),
        ({"hidden": []}, "--hidden is empty"),
        ({"learning_rates": ["a"]}, "--learning-rates must be positive and finite, got 'a'"),
        ({"learning_rates": [0.1, float("inf")]}, "must be positive and finite, got inf"),
    ],
)
def test_options_that_cannot_be_used_are_refused(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        sweep.run_sweep("smoke", out=tmp_path, **options)


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
        (["--updates", "0"], "--updates must be at least 1, got 0"),
        (["--batch", "0"], "--batch must be at least 1, got 0"),
        (["--learning-rates", "0.1,-1"], "--learning-rates must be positive and finite, got -1.0"),
        (["--learning-rates", ","], "--learning-rates is empty"),
        (["--dtype", "float16"], "Unknown dtype 'float16'. Did you mean 'bfloat16'?"),
        (["--datasets", ","], "--datasets is empty"),
        (["--out", "/proc/nothing"], "--out /proc/nothing cannot be written to"),
    ],
)
def test_what_cannot_be_used_is_refused_before_any_training(options, message, capsys, tmp_path):
    out = [] if "--out" in options else ["--out", str(tmp_path / "out")]
    assert sweep.main(["--preset", "smoke", *out, *options]) == 2
    assert message in capsys.readouterr().err


def test_lists_are_words_or_parts_between_commas(tmp_path, monkeypatch):
    found = {}
    monkeypatch.setattr(sweep, "make_plan", lambda preset, **given: found.update(given) or 1 / 0)
    lists = {
        "strategies": ["clip,smooth_clip(temperature=[1,2])", "mine:f(a=1, b=2)"],
        "datasets": ["a.npz", "b.npz", "sines,wind"],
        "backbones": ["bottleneck", "conditioned"],
        "hidden": ["4,8", "16"],
        "learning_rates": ["0.1", "0.2,"],
        "metrics": ["mine:peak,mine:low", "mine:end"],
    }
    command = [[f"--{name.replace('_', '-')}", *words] for name, words in lists.items()]
    with pytest.raises(ZeroDivisionError):
        sweep.main(["--preset", "smoke", *(word for words in command for word in words)])
    assert {name: found[name] for name in lists} == {
        "strategies": ("clip", "smooth_clip(temperature=[1,2])", "mine:f(a=1, b=2)"),
        "datasets": ("a.npz", "b.npz", "sines", "wind"),
        "backbones": ("bottleneck", "conditioned"),
        "hidden": (4, 8, 16),
        "learning_rates": (0.1, 0.2),
        "metrics": ("mine:peak", "mine:low", "mine:end"),
    }
    kinds = ("predictions", "weights")
    for words in (["predictions,weights"], ["predictions", "weights"]):
        assert sweep.parser().parse_args(["--save", *words]).save == kinds
    with pytest.raises(SystemExit):
        sweep.main(["--datasets"])


def test_the_way_from_a_csv_that_is_shown_is_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).uniform(1, 2, (24 * 20, 3))
    rows[:, 2] += 2
    np.savetxt("mine.csv", rows, delimiter=",", header="load,power,limit", comments="")
    options = [*SMOKE, "--strategies", "clip", "--out", "out"]
    assert sweep.main([*options, "--datasets", "mine.csv"]) == 2
    error = capsys.readouterr().err
    assert "mine.csv is no .npz, which holds inputs, targets, and upper and/or lower" in error
    exec("import numpy\n" + "\n".join(line.strip() for line in error.splitlines()[1:]))
    assert sweep.main([*options, "--datasets", "mine.npz"]) == 0
    assert sweep.main([*options, "--datasets", "mine"]) == 2
    assert "For the file give mine.npz." in capsys.readouterr().err
    (tmp_path / "folder").mkdir()
    assert sweep.main([*options, "--datasets", "folder/"]) == 2
    assert (
        "folder/ is a folder: name the .npz in it, such as folder/*.npz" in capsys.readouterr().err
    )
    (tmp_path / "sines").mkdir()
    assert sweep.main([*options, "--datasets", "sines", "--dry-run"]) == 0


def test_dry_run_and_list_run_nothing(tmp_path, capsys, monkeypatch):
    assert sweep.main([*SMOKE, "--out", str(tmp_path / "new"), "--dry-run"]) == 0
    assert "16 cells, 0 of them done" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()
    few = {"household_hourly": DATASETS["household_hourly"]}  # test_listing.py lists all
    monkeypatch.setattr(listing, "DATASETS", few)
    assert sweep.main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert "household_hourly" in listed
    assert "clip_to_sequence_maximum" in listed


def test_a_dataset_that_breaks_its_bound_is_kept_when_allowed_and_reported(tmp_path, capsys):
    inputs = np.random.default_rng(0).uniform(1, 2, (20, 4, 1))
    targets = inputs / 2
    targets[3, 2] = 9
    np.savez(tmp_path / "broken.npz", inputs=inputs, targets=targets, upper=inputs)
    options = [*SMOKE, "--datasets", str(tmp_path / "broken.npz"), "--out", str(tmp_path / "out")]
    options += ["--backbones", "mlp"]
    assert sweep.main(options) == 2
    assert "or keep them with --allow-infeasible" in capsys.readouterr().err
    assert sweep.main([*options, "--allow-infeasible"]) == 0
    expected = "warning: Targets that break their bounds: broken 1.25 %"
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
