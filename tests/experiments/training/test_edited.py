"""Which files are not what this process imported; other processes import anew."""

import importlib
import os
import sys
from pathlib import Path

import pytest

from experiments.training.edited import edited


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """On the path; what is imported of it is forgotten, and what others left of these names."""
    for name in ("mine", "other", "first", "early", "beside", "through"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(path, text):
    """A file, each time of another size."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def names(*modules):
    return sorted(path.name for path in edited(modules))


def test_an_edit_is_noticed_until_the_module_is_imported_anew(folder):
    write(folder / "first.py", "x = 1")
    module = importlib.import_module("first")
    assert names("first") == []
    write(folder / "first.py", "x = 22")
    assert names("first") == names("first") == ["first.py"]
    importlib.reload(module)
    assert names("first") == []
    write(folder / "first.py", "x = 333")
    assert names("first") == ["first.py"]
    del sys.modules["first"]
    importlib.import_module("first")
    assert names("first") == []
    (folder / "first.py").unlink()
    assert names("first") == ["first.py"]


IMPORTING = {
    "import beside": "beside.py",
    "import beside as b": "beside.py",
    "from beside import x": "beside.py",
    "def late():\n    import beside\nlate()": "beside.py",
    "import through": "beside.py",
    "from package import x": "package/__init__.py",
    "from package import part": "part.py",
    "import package.part": "part.py",
    "from package.part import x": "part.py",
    "import package.relative": "part.py",
    "from package.deep import leaf": "part.py",
}


@pytest.mark.parametrize("statement", IMPORTING)
def test_what_a_module_imports_counts(folder, statement):
    write(folder / "beside.py", "x = 1")
    write(folder / "through.py", "import beside")
    write(folder / "package" / "__init__.py", "x = 1")
    write(folder / "package" / "part.py", "x = 1")
    write(folder / "package" / "relative.py", "from . import part")
    write(folder / "package" / "deep" / "__init__.py", "")
    write(folder / "package" / "deep" / "leaf.py", "from ..part import x")
    write(folder / "mine.py", statement)
    write(folder / "other.py", "x = 1")
    for module in ("mine", "other"):
        importlib.import_module(module)
    assert names("mine") == []
    write(folder / "other.py", "x = 22")
    assert names("mine") == [], "what it does not import does not count"
    (changed,) = folder.rglob(IMPORTING[statement])
    write(changed, "x = 22")
    assert names("mine") == [changed.name]


def test_a_module_that_was_imported_and_edited_before_is_noticed_by_its_compiled_file(
    folder, monkeypatch
):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    write(folder / "early.py", "x = 1")
    module = importlib.import_module("early")
    write(folder / "early.py", "x = 22")
    assert names("early") == ["early.py"]
    importlib.reload(module)
    assert names("early") == []


def test_without_a_compiled_file_what_is_there_first_counts(folder, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write(folder / "plain.py", "x = 1")
    importlib.import_module("plain")
    os.utime(folder / "plain.py", (0, 0))
    assert names("plain") == []
    write(folder / "plain.py", "x = 22")
    assert names("plain") == ["plain.py"]


def test_of_the_project_of_installed_packages_and_of_nothing_none_is_edited():
    assert names("bounded.constraints", "numpy", "sys", "absent", "__main__", "") == []


def test_a_file_that_cannot_be_read_any_more_is_edited(folder):
    write(folder / "whole.py", "x = 1")
    importlib.import_module("whole")
    assert names("whole") == []
    write(folder / "whole.py", "x = (")
    assert names("whole") == ["whole.py"]
    assert Path(sys.modules["whole"].__file__).exists()
