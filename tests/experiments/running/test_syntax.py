"""Which edits of code change its hash."""

import importlib
import sys
import textwrap

import pytest

from experiments.running.syntax import syntax

SOURCE = '''
import numpy as np

RATIO = 0.5


def helper(values):
    return np.sort(values)


def shown(values, *, rows: int = 3):
    """What is shown."""
    total = len(values)
    found = [value for value in helper(values) if value > RATIO]
    return found[:rows], max(total, 1)
'''
SAME = {
    "a comment": ("    total", "    # so many\n    total"),
    "a docstring": ("What is shown.", "What a reader sees."),
    "no docstring": ('    """What is shown."""\n', ""),
    "an annotation": ("rows: int", "rows"),
    "a local": ("total", "count"),
    "a helper": ("helper", "in_order"),
    "another name of a module": ("np", "numpy_"),
    "its own name": ("def shown", "def shown_"),
    "a constant's name": ("RATIO", "LEAST"),
}
OTHER = {
    "a constant's value": ("RATIO = 0.5", "RATIO = 0.6"),
    "a default": ("= 3", "= 4"),
    "a helper's body": ("np.sort", "np.unique"),
    "a builtin": ("max(total", "min(total"),
    "an operator": ("value > ", "value >= "),
    "two locals swapped": (
        "return found[:rows], max(total, 1)",
        "return max(total, 1), found[:rows]",
    ),
}


@pytest.fixture
def hashed(tmp_path, monkeypatch):
    """Of the function in a module with that source, which passes for one of this project."""

    def of(source, module="experiments.shown_here"):
        path = tmp_path / f"{module.rpartition('.')[2]}.py"
        path.write_text(textwrap.dedent(source))
        spec = importlib.util.spec_from_file_location(module, path)
        found = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, module, found)
        spec.loader.exec_module(found)
        importlib.invalidate_caches()
        return syntax(getattr(found, "shown", None) or found.shown_)

    count = iter(range(100))
    return lambda source: of(source, f"experiments.shown_{next(count)}")


@pytest.mark.parametrize("edit", SAME)
def test_what_changes_nothing_changes_no_hash(hashed, edit):
    assert hashed(SOURCE) == hashed(SOURCE.replace(*SAME[edit]))


@pytest.mark.parametrize("edit", OTHER)
def test_what_does_another_thing_has_another_hash(hashed, edit):
    changed = SOURCE.replace(*OTHER[edit])
    assert changed != SOURCE
    assert hashed(SOURCE) != hashed(changed)
