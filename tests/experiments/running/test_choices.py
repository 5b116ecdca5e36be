"""How a session goes on where final cells are there already of another choice."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from experiments import store
from experiments.cells import Record
from experiments.page.warnings import mixed
from experiments.running import session
from experiments.running.options import Options
from experiments.running.presets import make_plan
from experiments.usage import UsageError

RATES = {3e-3: 0.5, 1e-3: 0.4, 1e-2: 0.3}  # mse on validation, by learning rate


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a tuned plan of one strategy without training: `failing` learning rates fail while they
    are tuned; gives the outcome and what was said."""

    def train(failing, self, todo, layout):
        for cell in todo:
            rate = cell.training.get("learning_rate", 0)
            failed = cell.phase == "tune" and rate in failing
            metrics = {} if failed else {"mse": RATES.get(rate, 1.0)}
            error = "out of memory" if failed else None
            record = Record(cell, "failed" if failed else "done", metrics, error=error)
            store.save(self._options.out, record, {})
        return {cell.id for cell in todo}

    def run(*failing, seeds=1, tuning_seeds=1, dry=False, **options):
        monkeypatch.setattr(session._Session, "_train", lambda *a: train(failing, *a))
        plan = make_plan(
            "smoke",
            strategies=("clip", "climatology_clipped"),
            datasets=("irradiance",),
            seeds=seeds,
            tuning_seeds=tuning_seeds,
        )
        said = io.StringIO()
        chosen = Options(tmp_path / "sweep", **options)
        console = Console(file=said, width=1000)
        if dry:
            return session.dry_run(plan, chosen, console), said.getvalue()
        outcome = session.run(plan, chosen, console, lambda folder, may_draw: store.read(folder))
        return outcome, said.getvalue()

    return run


def rates(outcome, strategy="clip"):
    cells = [record.cell for record in outcome.records if record.cell.phase == "final"]
    return {cell.training["learning_rate"] for cell in cells if cell.strategy == strategy}


KEPT = (
    'clip irradiance bottleneck: validation would now choose {"learning_rate":0.01}; its final '
    'cells have {"learning_rate":0.001}, which is kept.'
)
AGAIN = [{"retry_failed": True}, {}, {"force": True}, {"stale": "rerun"}, {"stale": "keep"}]


def test_a_tuning_cell_that_is_mended_leaves_the_choice_and_says_so(run):
    outcome, said = run(1e-2)
    assert rates(outcome) == {1e-3}
    assert "would now choose" not in said
    for options in AGAIN:
        outcome, said = run(**options)
        assert KEPT in said
        assert rates(outcome) == {1e-3}
        assert (outcome.failed, outcome.left) == (0, 0)
        report, said = run(dry=True, **options)
        assert "to run" in report
        assert KEPT in said or options == {"force": True}  # which begins by tuning
    outcome, said = run(seeds=3)
    assert KEPT in said
    assert rates(outcome) == {1e-3}
    (caution,) = [one for one in mixed({}, outcome.records) if "another choice" in one.text]
    assert "clip on irradiance bottleneck" in caution.of


def test_more_tuning_seeds_leave_the_choice_too(run):
    run(1e-2)
    outcome, said = run(tuning_seeds=2, retry_failed=True)
    assert KEPT in said
    assert outcome.left == 0


def test_where_everything_failed_the_defaults_stay(run):
    outcome, _ = run(*RATES)
    assert rates(outcome) == {3e-3}
    outcome, said = run(retry_failed=True)
    assert 'its final cells have {"learning_rate":0.003}, which is kept' in said
    assert rates(outcome) == {3e-3}


def test_a_choice_whose_final_cells_are_not_there_is_made_anew(run, tmp_path):
    first, _ = run(1e-2)
    for record in first.records:
        if record.cell.phase == "final":
            store.set_aside(tmp_path / "sweep", record)
    outcome, said = run(retry_failed=True)
    assert "kept" not in said
    assert rates(outcome) == {1e-2}
    assert not [one for one in mixed({}, outcome.records) if "another choice" in one.text]


def test_a_folder_with_final_cells_of_two_choices_goes_on(run, tmp_path):
    first, _ = run(1e-2)
    finals = [record for record in first.records if record.cell.phase == "final"]
    old = next(record for record in finals if record.cell.strategy == "clip")
    of_both = replace(old.cell, training={**old.cell.training, "learning_rate": 1e-2})
    with store.opened(tmp_path / "sweep"):
        store.save(tmp_path / "sweep", Record(of_both, metrics={"mse": 0.1}), {})
    outcome, _ = run(retry_failed=True)
    assert rates(outcome) == {1e-3, 1e-2}
    assert outcome.left == 0
    (caution,) = [one for one in mixed({}, outcome.records) if "another choice" in one.text]
    assert "clip on irradiance bottleneck" in caution.of


def test_a_plan_without_tuning_does_not_mix_with_a_tuned_one(run):
    run(1e-2)
    with pytest.raises(UsageError, match="or the --tuning-seeds that it was made with"):
        run(tuning_seeds=0)
