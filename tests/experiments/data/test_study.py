import numpy as np
import pytest

from experiments.data.catalogue import DATASETS
from experiments.data.datasets import load
from experiments.data.study import STUDY, left_by_share, on_bound, table
from experiments.data.windows import FOLDER


def test_each_source_has_one_dataset_in_the_study():
    entries = [DATASETS[name] for name in STUDY]
    assert {entry.role for entry in entries} == {"study"}
    groups = {entry.group for entry in entries}
    assert len(groups) == len(STUDY) >= 16
    assert sum("synthetic" not in entry.summary for entry in entries) >= 14
    every = {entry.group for entry in DATASETS.values() if entry.role == "study"}
    assert every - groups == {"wind"}  # of the weather stations, and the year, of dew_point


def test_two_groups_at_least_have_both_sides_tight():
    sides = {name: load(name) for name in STUDY}
    below = [name for name, of in sides.items() if of.lower is not None and of.lower.any()]
    assert below == ["hourly_temperature", "exchange_rate"]


def test_the_readme_has_the_table():
    assert "\n".join(table()) in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_what_a_share_of_the_bound_leaves_is_as_written_out():
    dataset = load("crime")
    train, test = dataset.part("train"), dataset.part("test")
    for feature, left in enumerate(left_by_share(dataset)):
        bound, target = (train[key][..., feature].ravel() for key in ("upper", "targets"))
        (share,), *_ = np.linalg.lstsq(bound[:, None], target)
        of_test = test["targets"][..., feature] - share * test["upper"][..., feature]
        spread = test["targets"][..., feature] - target.mean()
        assert left == pytest.approx((of_test**2).sum() / (spread**2).sum(), rel=1e-4)


def test_targets_on_a_bound_are_those_that_equal_it():
    dataset = load("flights")
    test = dataset.part("test")
    assert on_bound(dataset, "upper") == pytest.approx((test["targets"] >= test["upper"]).mean())
