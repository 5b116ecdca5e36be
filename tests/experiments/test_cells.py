"""A cell's JSON, its identity, and its record."""

from dataclasses import replace

import pytest

from experiments import store
from experiments.cells import Cell, Record

CELL = Cell(
    "wind",
    "1" * 64,
    "final",
    "smooth_clip",
    "bottleneck",
    3,
    hyperparameters={"temperature": 0.1},
    bounds={"lower": "dataset", "upper": "dataset"},
    model={"hidden": 64, "dtype": "float32"},
    training={"epochs": 60, "batch": 32, "learning_rate": 0.003},
    metric_version=1,
)


def test_a_cell_comes_back_from_its_json():
    assert Cell.from_json(CELL.to_json()) == CELL
    record = Record(CELL, "failed", timing={"devices": 2}, error="diverged", fingerprint={"a": "b"})
    assert Record.from_json(record.to_json()) == record
    assert record.to_json()["id"] == CELL.id


def test_the_identity_is_of_the_values_not_of_their_order():
    assert CELL.id == "f73fe84a4570c25c5f2cb5393deb6603ce428cd0331abf37479b795c42d5e7b4"
    turned = dict(reversed(CELL.model.items()))
    assert replace(CELL, model=turned).id == CELL.id
    assert replace(CELL, seed=4).id != CELL.id


def test_the_identities_of_committed_records_stand():
    records = store.read("results/sizes")
    assert len({record.id for record in records}) == len(records) > 100
    found = next(r for r in records if str(r.cell) == "bikeshare conditioned_32 smooth_clip seed 0")
    assert found.id == "2ed39d11e6c1cbbb3149c6262d8ff364cb97c69c65fac3b26ae3014fabe0e918"


def test_what_a_cell_is_of():
    assert CELL.place == ("smooth_clip", "wind", "bottleneck")
    assert CELL.seat == (CELL.place, "final", 3)
    assert CELL.tuned == {"temperature": 0.1, "learning_rate": 0.003}
    assert CELL.settings == {"hidden": 64, "dtype": "float32", "epochs": 60, "batch": 32}
    assert (CELL.split, replace(CELL, phase="tune").split) == ("test", "validation")
    baseline = Cell("wind", "1", "final", "bound", "none", 0)
    assert CELL.is_trained
    assert not baseline.is_trained
    assert (CELL.epochs, baseline.epochs, baseline.tuned) == (60, 0, {})
    assert str(CELL) == "wind bottleneck smooth_clip seed 3"


@pytest.mark.parametrize("config", [{}, {"dataset": "wind"}, {**CELL.to_json(), "strategy": None}])
def test_what_is_no_cell_is_refused(config):
    with pytest.raises((KeyError, TypeError)):
        Cell.from_json(config)
