import numpy as np

from experiments.benchmarks import dc3_layers


def test_the_sets_are_never_empty_and_both_layers_find_the_same_point():
    raw, rows = dc3_layers.problem(3)
    x = rows.upper[:, :50]
    y = np.linalg.lstsq(np.asarray(rows.matrix)[:50], x.T)[0].T
    assert dc3_layers.residual(y, rows) < 1e-12
    assert dc3_layers.residual(raw, rows) > 0.1
    by_osqp = dc3_layers.osqp_in_a_loop(raw, rows, 1e-9)()
    ours = dc3_layers.affine_projection(raw, rows)
    np.testing.assert_allclose(ours, by_osqp, atol=1e-5)


def test_the_table_has_a_line_a_layer_and_a_batch():
    table = dc3_layers.make_table(batches=(1, 2), rounds=1, calls=1)
    layers = list(table.columns[1].cells)
    assert layers == ["affine_projection", "OSQP in a loop"] * 2
    assert all(float(off) <= dc3_layers.RESIDUAL for off in table.columns[2].cells)
    assert list(table.columns[5].cells)[1] == "none"
