"""What a process may use, and what it keeps for the next one."""

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import jax
import pytest

from experiments.training import devices
from experiments.usage import UsageError


@pytest.fixture
def cuda(tmp_path, monkeypatch):
    """A machine with two GPUs and JAX's plugin for them."""
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / name).touch()
    monkeypatch.setattr(devices, "DEV", tmp_path)
    plugin = EntryPoint("xla_cuda12", "jax_plugins.xla_cuda12", "jax_plugins")
    monkeypatch.setattr(devices, "entry_points", lambda group: [plugin])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, ["0", "1"]),
        ("1", ["1"]),
        ("1,0", ["1", "0"]),
        ("-1", []),
        ("NoDevFiles", []),
        ("", []),
        (" ", []),
        ("0,-1,1", ["0"]),
        ("7", []),
        ("0,0", ["0"]),
        ("GPU-3f,0", ["GPU-3f", "0"]),
        ("MIG-3f", ["MIG-3f"]),
    ],
)
def test_gpus_are_those_that_cuda_would_see(cuda, monkeypatch, given, found):
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert devices.gpus() == found


@pytest.mark.parametrize("given", ["0", None])
def test_without_device_files_there_are_none(cuda, monkeypatch, tmp_path, given):
    monkeypatch.setattr(devices, "DEV", tmp_path / "without")
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert devices.gpus() == []


def test_gpus_that_jax_does_not_use_do_not_count(cuda, monkeypatch):
    before = jax.config.jax_platforms
    for platforms, found in {"cpu": 0, "cpu,cuda": 0, "cuda,cpu": 2, "cuda": 2, None: 2}.items():
        jax.config.update("jax_platforms", platforms)
        count = len(devices.gpus())
        jax.config.update("jax_platforms", before)
        assert count == found, platforms
    monkeypatch.setattr(devices, "entry_points", lambda group: [])
    assert devices.gpus() == []


def test_a_plugin_that_lies_beside_others_counts_as_one_that_says_so(cuda, monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "entry_points", lambda group: [])
    (tmp_path / "jax_plugins" / "xla_cuda13").mkdir(parents=True)
    (tmp_path / "jax_plugins" / "xla_cuda13" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert devices.gpus() == ["0", "1"]


def test_where_jax_finds_no_device_it_says_so(monkeypatch):
    def fail():
        raise RuntimeError("Unable to initialize backend 'cuda'")

    monkeypatch.setattr(jax, "local_devices", fail)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(UsageError, match="JAX_PLATFORMS is 'cuda': unset it.*Unable to initialize"):
        devices.start()


@pytest.mark.thorough  # as above, said by a command
def test_a_platform_that_is_not_here_is_refused_without_a_traceback(tmp_path):
    environment = os.environ | {"JAX_PLATFORMS": "no_such"}
    command = ["-m", "experiments.sweep", "--preset", "smoke", "--out", str(tmp_path), "--dry-run"]
    found = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True
    )
    assert found.returncode == 2
    assert found.stderr.startswith("error: JAX finds no device. JAX_PLATFORMS is 'no_such'")
    assert "Traceback" not in found.stderr


def test_without_a_home_nothing_is_kept(monkeypatch):
    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert devices.cache_folder("fingerprints") is None


COMPILE = """
import sys, jax
from experiments.training import devices
from experiments.data.datasets import load
from experiments.training.cell import Settings
from experiments.training.runner import Run, Runner
from experiments.training.strategies import TRAINED
devices.use_compilation_cache()
settings = Settings(hidden=3, epochs=1, batches_per_epoch=1, batch=4)
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append("cache_hits" in event))
runner = Runner(load("irradiance"), "bottleneck", settings, [TRAINED["clip"]])
print(sum(hits), runner.run([Run("clip", {}, 1e-3, 0)])[0].metrics["mse"])
"""


def compile_with_cache_in(folder):
    environment = os.environ | {"XDG_CACHE_HOME": str(folder)}
    for name in [name for name in environment if name.startswith("JAX_")]:  # the tests' own
        del environment[name]
    return subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True
    )


@pytest.mark.thorough  # that there is a cache: below
def test_what_was_compiled_is_kept_for_the_next_sweep_and_gives_the_same_numbers(tmp_path):
    first, second = (compile_with_cache_in(tmp_path).stdout.split() for _ in range(2))
    assert first[0] == "0"
    assert int(second[0]) >= 2
    assert first[1] == second[1]


@pytest.mark.parametrize(("name", "is_kept"), [("folder", True), ("file", False)])
def test_a_cache_folder_that_cannot_be_written_is_done_without(
    tmp_path, monkeypatch, name, is_kept
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        devices.use_compilation_cache()
        found = jax.config.jax_compilation_cache_dir
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert (found is not None) == is_kept
    assert not is_kept or found.startswith(str(tmp_path))
