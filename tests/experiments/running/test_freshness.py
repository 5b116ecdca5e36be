"""Which of a folder's records do not go with a plan, with this code or with these data."""

from dataclasses import replace

import pytest

from experiments.cells import METRIC_VERSION, Record
from experiments.running.fingerprints import versions
from experiments.running.freshness import check_compatible, current_fingerprints, stale_reasons
from experiments.running.plan import lay_out
from experiments.running.presets import make_plan
from experiments.usage import UsageError
from tests.experiments.sweeps import trace_nothing

PLAN = {"preset": "smoke", "datasets": ("irradiance",), "backbones": ("mlp",), "seeds": 1}


@pytest.fixture(scope="module", autouse=True)
def _untraced():
    with pytest.MonkeyPatch.context() as patch:
        trace_nothing(patch)
        yield


@pytest.fixture(scope="module")
def layout(_untraced):
    return lay_out(make_plan(**PLAN))


@pytest.fixture(scope="module")
def fresh(layout):
    records = [Record(cell, metrics={"mse": 1.0}) for cell in layout.cells.values()]
    cells = [replace(record, fingerprint={}) for record in records]
    made_by = current_fingerprints(layout, cells, lambda todo: todo)
    return [replace(record, fingerprint=made_by[record.id]) for record in records]


def changed(record, **config):
    return replace(record, cell=replace(record.cell, **config))


def reasons(layout, records):
    current = current_fingerprints(layout, records, lambda todo: todo)
    return [stale_reasons(layout, records, current).get(record.id) for record in records]


def test_what_this_code_made_is_fresh(layout, fresh):
    assert reasons(layout, fresh) == [None] * len(fresh)


def other(record, **parts):
    return replace(record, fingerprint={**record.fingerprint, **parts})


def test_what_is_stale_and_why(layout, fresh):
    clip = next(record for record in fresh if record.cell.strategy == "clip")
    bound = next(record for record in fresh if record.cell.strategy == "bound")
    expected = {
        "the program of clip changed": other(clip, strategy="0"),
        "the program of bound changed": other(bound, strategy="0"),
        "the program that trains and measures changed": other(clip, training="0"),
        "the code around the programs changed": other(clip, host="0"),
        f"jax 0.9.9, now {versions()['jax']}": other(clip, versions={**versions(), "jax": "0.9.9"}),
        f"jax None, now {versions()['jax']}": replace(clip, fingerprint={}),
        "XLA_FLAGS was --a, now not set": other(clip, settings={"XLA_FLAGS": "--a"}),
        "the data of irradiance changed": changed(clip, data_hash="0"),
        f"metrics of version 0, now {METRIC_VERSION}": changed(clip, metric_version=0),
        "made before records had fingerprints": replace(clip, fingerprint=None, sources="0" * 64),
    }
    for reason, record in expected.items():
        assert reasons(layout, [record]) == [reason]


def test_records_made_with_usual_settings_are_stale_under_others(layout, fresh, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    said = "XLA_FLAGS was not set, now --xla_cpu_enable_fast_math=true"
    assert set(reasons(layout, fresh)) == {said}


def test_what_is_written_by_hand_or_cannot_be_traced_is_taken_as_it_is(layout, fresh):
    by_hand = replace(fresh[0], fingerprint=None)
    unplanned_file = changed(fresh[0], dataset="mine.npz")
    unplanned_strategy = changed(fresh[0], strategy="mine:own")
    found = [by_hand, unplanned_file, unplanned_strategy]
    assert reasons(layout, found) == [None] * 3
    old = other(unplanned_file, versions={"jax": "0.9.9"})
    assert reasons(layout, [old]) == [f"jax 0.9.9, now {versions()['jax']}"]


def test_datasets_of_the_table_that_are_not_planned_are_looked_at_too(layout, fresh):
    clip = next(record for record in fresh if record.cell.strategy == "clip")
    sines = changed(clip, dataset="sines")
    assert reasons(layout, [sines]) == ["the program that trains and measures changed"]


def test_final_cells_of_another_choice_are_not_mixed(layout, fresh):
    record = fresh[0]
    training = {**record.cell.training, "learning_rate": 0.5}
    with pytest.raises(UsageError, match=r"final cells of .*'learning_rate': 0.5.*plan chose"):
        check_compatible(layout, [changed(record, training=training)])
    check_compatible(layout, [changed(record, training=training, phase="tune")])


def test_another_model_does_not_go_with_a_plan(layout, fresh):
    check_compatible(layout, fresh[:1])
    wider = changed(fresh[0], model={**fresh[0].cell.model, "hidden": 9})
    with pytest.raises(UsageError, match="cells with hidden 9, this plan has hidden 8"):
        check_compatible(layout, [fresh[0], wider])


def test_sizes_do_not_go_with_one_size(layout, fresh):
    sizes = lay_out(make_plan(**PLAN, hidden=(8, 16)))
    records = [Record(cell) for cell in sizes.cells.values()]
    check_compatible(sizes, records)
    more = lay_out(make_plan(**PLAN, hidden=(8, 32)))
    check_compatible(more, records)
    for plan, there in ((layout, records), (sizes, fresh)):
        with pytest.raises(UsageError, match="or every size to --hidden"):
            check_compatible(plan, there)
    wider = changed(records[0], model={**records[0].cell.model, "dtype": "bfloat16"})
    with pytest.raises(UsageError, match="dtype bfloat16"):
        check_compatible(more, [wider])
