"""Which tests `make check` runs after a change."""

from functools import cache
from pathlib import Path

import pytest

from tests import changed


@pytest.fixture(scope="module", autouse=True)
def _parsed_once():
    usual = changed._imports
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(changed, "_imports", cache(lambda text: {*usual(text)}))
        yield


@pytest.mark.parametrize(
    ("path", "tests"),
    [
        ("bounded/_formulas.py", {"tests/bounded/test_formulas.py"}),  # mirrored
        ("bounded/lstm.py", {"tests/bounded/test_lstm.py", "tests/bounded/test_autoencoder.py"}),
        ("tests/bounded/maps.py", {"tests/bounded/test_edges.py"}),  # imported
        ("docs/recipes.md", {"tests/test_docs.py"}),  # named
        ("tests/test_readme.py", {"tests/test_readme.py"}),  # itself
    ],
)
def test_what_touches_a_file_is_found(path, tests):
    found = {str(one) for one in changed.touching([Path(path)])}
    assert tests <= found
    assert "tests/bounded/test_solvers.py" not in found


def test_nothing_touches_nothing():
    assert changed.touching([]) == []


def test_what_differs_holds_new_files(tmp_path, monkeypatch):
    monkeypatch.setattr(changed, "ROOT", tmp_path)
    for command in (
        ["git", "init", "-q"],
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a", "--allow-empty"],
    ):
        changed._output(command)
    (tmp_path / "new.py").write_text("")
    (tmp_path / "added.py").write_text("")
    changed._output(["git", "add", "added.py"])
    assert {str(path) for path in changed.changed()} == {"new.py", "added.py"}
