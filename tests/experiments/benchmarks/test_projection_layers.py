import numpy as np
import pytest

from experiments.benchmarks import projection_layers


def test_the_exact_projection_by_hand():
    raw, total = np.array([[3.0, 1, -1], [0.5, 0.25, -1], [2, 2, 2]]), np.array([1.0, 1, 3])
    output, derivative, margin = projection_layers.exact(raw, total)
    np.testing.assert_allclose(output, [[1, 0, 0], [0.5, 0.25, 0], [1, 1, 1]])
    # For the cotangent (-1, 0, 1): less its mean over what is positive, where the sum binds.
    np.testing.assert_allclose(derivative, [[0, 0, 0], [-1, 0, 0], [-1, 0, 1]])
    np.testing.assert_allclose(margin, [1, 0.25, 1])


@pytest.mark.thorough
def test_every_layer_comes_within_the_tolerance_or_is_named_as_missing():
    raw, found, missing = projection_layers.candidates(batch=5, size=3)
    assert {*found, *missing} >= {"affine_projection", "pinet", "dykstra, vmap"}
    assert raw.shape == (5, 3)
    for name, one in found.items():
        assert one.distance <= projection_layers.TOLERANCE, name
        assert (one.steps == "exact") == name.endswith("projection")


@pytest.mark.thorough
def test_the_table_has_a_row_a_layer():
    rows = projection_layers.measure(batch=5, size=3, rounds=1, calls=1)
    table = projection_layers.make_table(rows)
    layers = list(table.columns[0].cells)
    assert layers[0] == "affine_projection"
    assert next(iter(table.columns[4].cells)) == "1.00"
    assert "dykstra, vmap" in layers
    assert ("pinet" in layers) != ("pinet: missing" in table.caption)
