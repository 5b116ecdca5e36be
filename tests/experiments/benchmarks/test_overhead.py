import pytest

from bounded import constraints
from experiments.benchmarks import overhead
from experiments.benchmarks.stacks import Shape


@pytest.mark.thorough  # a compiled model each
def test_constraint_overhead_covers_every_constraint():
    seconds = overhead.constraint_overhead(Shape(2, 3, 1, 2), rounds=2, calls=1)
    names = list(seconds)
    assert names[0] == "identity"
    assert len(names) == 14
    assert all(callable(getattr(constraints, name)) for name in names)
    assert all(len(times) == 2 and min(times) > 0 for times in seconds.values())


def test_the_table_has_a_row_a_constraint():
    table = overhead.constraint_table({"identity": [1.0, 2.0], "other": [1.5, 3.0]})
    assert [list(column.cells) for column in table.columns] == [
        ["identity", "other"],
        ["1500.00", "2250.00"],
        ["1.000", "1.500"],
    ]
