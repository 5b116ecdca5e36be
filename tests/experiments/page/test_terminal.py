"""What a command prints of a sweep's records."""

from dataclasses import replace

from rich.console import Console

from experiments.data.catalogue import DATASETS
from experiments.page import terminal
from tests.experiments import written


def shown(capsys, folder, records, **options):
    terminal.show(Console(width=80), folder, records, **options)
    *lines, last = capsys.readouterr().out.splitlines()
    # A warning is one line, however many datasets it names.
    assert max(len(line) for line in lines if not line.startswith("warning: ")) <= 80
    assert last.startswith(f"page: {folder / 'report.html'}")
    return lines


def test_scores_are_marked_and_fit_80_columns(tmp_path, capsys):
    dead = {"wind": 1.0, "flights": 0.5, "irradiance_autoencoder": 1.0}
    records = [
        written.record(name, dataset, r2=r2, violation_rate=broken, gradient_dead_fraction=share)
        for dataset, share in dead.items()
        for name, r2, broken in (("clip", 0.5, 0.0), ("unconstrained", 0.75, 0.1))
    ]
    long = "a_module:with_a_long_name(temperature=0.1)"
    records.append(written.record(long, "wind", r2=-1234.5))
    folder = written.save(tmp_path / "few", records, written.manifest(list(dead)))
    lines = shown(capsys, folder, records)
    found = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    # An autoencoder is right at its bound, and has no gradient there.
    assert found["clip"] == ["x", "0.500", "0.500", "0.500"]
    assert found["unconstrained"] == ["*!x", "0.750", "*!", "0.750", "*!", "0.750"]
    assert "-1234.500" in "".join(lines)
    assert long in found


def test_sums_outside_their_bound_are_marked_but_for_rounding(tmp_path, capsys):
    rates = {"clip": (1.0, 1.0), "budget_softmax": (0.25, 0.0)}
    records = [
        written.record(
            name,
            "household_hourly",
            r2=0.5,
            violation_rate=0.0,
            **{"sum_violation_rate": exact, "sum_violation_rate_1e-4": tolerant},
        )
        for name, (exact, tolerant) in rates.items()
    ]
    folder = written.save(tmp_path / "sums", records, written.manifest(["household_hourly"]))
    found = {
        line.split()[0]: line.split()[1:] for line in shown(capsys, folder, records) if line.strip()
    }
    assert found["clip"] == ["*!", "0.500"]
    assert found["budget_softmax"] == ["*", "0.500"]


def test_skill_is_shown_where_every_dataset_has_its_baseline_and_r2_elsewhere(tmp_path, capsys):
    baseline = written.record("climatology_clipped", "wind", mse=0.5, r2=0.25)
    clip = [written.record("clip", "wind", seed=seed, mse=0.1 + seed, r2=0.75) for seed in (0, 1)]
    apart = [written.record("clip", "flights", r2=0.75)]
    for name, records, score, value in (
        ("skill", [baseline, *clip], "skill", "-0.200"),
        ("r2", clip, "r2", "0.750"),
        ("both", [baseline, *clip, *apart], "r2", "0.750"),
    ):
        folder = written.save(tmp_path / name, records, written.manifest(["wind"]))
        lines = shown(capsys, folder, records)
        assert f"{score}, bottleneck" in map(str.strip, lines)
        assert value in next(line for line in lines if line.startswith(" clip "))
        assert any("climatology_clipped, the" in line for line in lines) == (score == "skill")
    lines = shown(capsys, folder, [baseline, *clip, *apart], tables=True)
    wind, flights = (line for line in lines if "± sd" in line)
    assert "skill ± sd" in wind
    assert "r2 ± sd" in flights


def test_datasets_that_do_not_fit_are_counted_and_all_are_there_on_demand(tmp_path, capsys):
    records = [written.record("straight_through_clip", name, r2=0.5) for name in DATASETS]
    folder = written.save(tmp_path / "many", records, written.manifest(list(DATASETS)))
    lines = shown(capsys, folder, records)
    (more,) = [int(line.split()[0]) for line in lines if "more datasets" in line]
    (scores,) = [line for line in lines if line.startswith(" straight_through_clip ")]
    assert scores.count("0.500") == len(DATASETS) - more > 0
    lines = [line.strip() for line in shown(capsys, folder, records, tables=True)]
    assert {f"{name}, bottleneck" for name in DATASETS} <= set(lines)
    assert sum(line.startswith("straight_through_clip ") for line in lines) == len(DATASETS) + 1


def test_records_without_a_finished_cell_are_shown_too(tmp_path, capsys):
    for records in ([], [written.record("clip", "wind", error="diverged")]):
        folder = written.save(tmp_path / str(len(records)), records, written.manifest([]))
        assert shown(capsys, folder, records)


def test_a_metric_that_is_missing_or_null_has_a_dash(tmp_path, capsys):
    clip, free = written.sweep(["wind"], ("clip", "unconstrained"), ("bottleneck",), seeds=1)
    bare = replace(clip, metrics={"mse": 0.1})
    null = replace(free, metrics={"mse": 0.1, "r2": None, "violation_rate": None})
    whole = written.record("smooth_clip", "wind", r2=0.5)
    folder = written.save(tmp_path / "few", [bare, null, whole], written.manifest(["wind"]))
    text = "\n".join(shown(capsys, folder, [bare, null, whole], tables=True))
    assert "nan" not in text
    assert "* 0.500" in text
