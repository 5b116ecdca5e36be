from experiments.benchmarks import throughput
from experiments.benchmarks.stacks import Shape


def test_operations_by_hand():
    # One step of one feature and unit: gates 4 x (1 + 1) and 4 x 1 twice, dense 1; x 2 x 3.
    assert throughput.operations(Shape(1, 1, 1, 8)) == 6 * (8 + 8 + 1)
