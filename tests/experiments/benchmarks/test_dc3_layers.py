from importlib.util import find_spec

import jax
import numpy as np
import pytest

from experiments.benchmarks import dc3_layers


@pytest.mark.thorough
def test_the_sets_are_never_empty_and_osqp_finds_the_same_point():
    raw, rows = dc3_layers.problem(3)
    x = rows.upper[:, :50]
    y = np.linalg.lstsq(np.asarray(rows.matrix)[:50], x.T)[0].T
    assert dc3_layers.residual(y, rows) < 1e-12
    assert dc3_layers.residual(raw, rows) > 0.1
    by_osqp = dc3_layers.osqp(rows, 1e-9)(raw)
    projected = jax.jit(dc3_layers.affine_projection)(raw, rows)
    np.testing.assert_allclose(projected, by_osqp, atol=1e-5)


def test_a_layer_is_given_the_loosest_setting_that_will_do():
    off = {0.1: 0.3, 0.01: 2e-3, 0.001: 1e-4}.__getitem__
    assert dc3_layers.loosest([0.1, 0.01, 0.001], lambda one: one, off, 0.01) == 0.01
    with pytest.raises(ArithmeticError, match=r"not within 1e-06 at 0\.001"):
        dc3_layers.loosest([0.1, 0.01, 0.001], lambda one: one, off, 1e-6)


@pytest.mark.thorough
def test_the_table_has_a_line_a_layer_and_a_batch_and_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(dc3_layers, "SIZES", (4, 8))
    monkeypatch.setattr(dc3_layers, "SIZE", 8)
    monkeypatch.setattr(dc3_layers, "BATCHES", (1, 2))
    monkeypatch.setattr(dc3_layers, "MIDDLE", 2)
    monkeypatch.setattr(
        dc3_layers, "find_spec", lambda name: find_spec(name) if name == "osqp" else None
    )
    rows = dc3_layers.measure_all(rounds=1)
    assert {(row["batch"], row["size"]) for row in rows if "size" in row} == {
        (2, 4),
        (2, 8),
        (1, 8),
    }
    table = dc3_layers.make_table(rows)
    assert list(table.columns[0].cells) == ["2", "2", "1", "1"]
    assert list(table.columns[1].cells) == ["affine_projection", "OSQP in a loop"] * 2
    assert all(float(off) <= dc3_layers.RESIDUAL for off in table.columns[3].cells)
    assert list(table.columns[6].cells)[1] == "none"
    assert "Π-net: missing, no module pinet; pip install" in str(table.caption)
    figure = dc3_layers.draw(rows)
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]
