import lzma
import pickle
import sys
import types

import numpy as np
import pytest

from experiments.data.pickled_tables import KNOWN, read_table


def packed(path, value, protocol=5):
    with lzma.open(path, "wb") as file:
        pickle.dump(value, file, protocol)
    return path


class Reduced:
    """Pickled as the call of what it is given."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.fixture
def pandas(monkeypatch):
    """What pandas 2 calls its own, by name: another version of it may be installed, or none."""
    made, modules = {}, {"pandas": types.ModuleType("pandas")}
    for full in KNOWN:
        module, _, name = full.rpartition(".")
        if module.startswith("pandas"):
            made[name] = type(name, (), {"__module__": module})
            setattr(modules.setdefault(module, types.ModuleType(module)), name, made[name])
    for module, of in modules.items():
        monkeypatch.setitem(sys.modules, module, of)
    return types.SimpleNamespace(**made)


@pytest.mark.parametrize("protocol", [4, 5])
def test_a_plain_table_is_read_column_by_column(tmp_path, pandas, protocol):
    counts, rates = np.array([[1, 2, 3], [4, 5, 6]]), np.array([[0.5, np.nan, 1.5]])
    states = np.array([["Ohio", "Iowa", None]], object)
    names = np.array(["count", "rate", "state", "year"], object)
    blocks = [
        Reduced(pandas._unpickle_block, (values, columns, 2))
        for values, columns in (
            (counts, np.array([0, 3])),
            (rates, slice(1, 2, 1)),
            (states, slice(2, 3, 1)),
        )
    ]
    axes = [
        Reduced(pandas._new_Index, (pandas.Index, {"data": names, "name": None})),
        Reduced(pandas._new_Index, (pandas.RangeIndex, {"start": 0, "stop": 3, "step": 1})),
    ]
    table = pandas.DataFrame()
    table._mgr = Reduced(pandas.BlockManager, (tuple(blocks), axes))
    found = read_table(packed(tmp_path / "table", table, protocol))
    assert list(found) == list(names)
    assert found["count"].dtype == counts.dtype
    for name, values in zip(names, (counts[0], rates[0], states[0], counts[1]), strict=True):
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_pickle_that_names_anything_else_is_not_read(tmp_path, hidden):
    evil = Reduced(open, (str(tmp_path / "written"), "w"))
    value = np.array([evil], object) if hidden else evil
    with pytest.raises(pickle.UnpicklingError, match=r"names \w+\.open, which no plain table"):
        read_table(packed(tmp_path / "table", value))
    assert not (tmp_path / "written").exists()
