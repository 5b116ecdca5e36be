"""A sweep's folder for those tests that ask for one."""

import shutil
from pathlib import Path

import pytest

from experiments.figures import draw
from tests.experiments.results_folder import whole


@pytest.fixture
def undrawn(monkeypatch):
    """Drawing takes longer than all else."""
    monkeypatch.setattr(draw, "draw_all", lambda folder, found: None)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """See `whole.make`."""
    return whole.make(tmp_path_factory.mktemp("original") / "sweep")


@pytest.fixture
def folder(original, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(original, tmp_path / "sweep"))
