"""What tests of sweeps share: one that trains and draws nothing, which takes a second."""

import shutil
from functools import cache

import pytest

from experiments import sweep
from experiments.figures import constraint_shapes, draw
from experiments.page import render
from experiments.running import fingerprints, worker
from experiments.training import runner
from tests.experiments.sweeps import SMOKE, Scripted, trace_nothing


@pytest.fixture(scope="session", autouse=True)
def _once_for_all():
    """Templates are compiled, and the code around programs is hashed, once a process: each sweep
    and page would do so anew, which takes as long as all else of one that trains nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "_environment", cache(render._environment))
        patch.setattr(fingerprints, "syntax", cache(fingerprints.syntax))
        yield


@pytest.fixture(scope="module", autouse=True)
def _no_runner_stays():
    yield
    runner._compile.cache_clear()


@pytest.fixture
def undrawn(monkeypatch):
    """Figures take longer than the cells of a smoke sweep."""
    monkeypatch.setattr(draw, "draw_all", lambda folder, found: None)


@pytest.fixture(scope="module")
def few_shapes():
    """Of the constraints that a figure shows, each of which is compiled, two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constraint_shapes, "SHAPES", constraint_shapes.SHAPES[:2])
        patch.setattr(constraint_shapes, "curves", cache(constraint_shapes.curves.__wrapped__))
        yield


@pytest.fixture(scope="module")
def untrained():
    """Sweeps of this module train nothing and draw nothing; all else is as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "Runner", Scripted)
        patch.setattr(draw, "draw_all", lambda folder, found: None)
        yield


@pytest.fixture(scope="module")
def scripted(untrained):
    """Nor trace they what would be trained."""
    with pytest.MonkeyPatch.context() as patch:
        trace_nothing(patch)
        yield


@pytest.fixture
def untraced(monkeypatch):
    """The same of one test."""
    trace_nothing(monkeypatch)


@pytest.fixture(scope="module")
def smoke(scripted, tmp_path_factory):
    """The folder of a finished smoke sweep, which no test changes."""
    folder = tmp_path_factory.mktemp("results") / "smoke"
    assert sweep.main([*SMOKE, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def copy(smoke, tmp_path):
    """The same, to change."""
    return shutil.copytree(smoke, tmp_path / "copy")
