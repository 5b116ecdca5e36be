"""A strict session: warnings are errors (pyproject.toml) and ranks do not promote silently.

What is compiled is kept in `.pytest_cache/`, for a session's workers, the processes that its tests
start, and the next sessions: a program that is as it was is not compiled again. `pytest
--cache-clear` begins anew. What is compiled is let go when there is much of it. What is traced
stays for the next module, for which `jax.numpy` is then not traced again.
"""

import gc
import os
import platform
import shutil
import signal
from contextlib import suppress
from functools import cache
from pathlib import Path

import jax
import pytest
from jax._src import compiler
from jax._src.interpreters import mlir

from experiments.training import devices
from experiments.training.devices import cores, let_go

KEPT = Path(__file__).parent.parent / ".pytest_cache" / "d" / f"bounded-{platform.node()}"
MOST_KEPT_BYTES = 1e9  # on disk, beyond which a session begins anew
MOST_BYTES = 1.5e9  # of a worker, beyond which what is compiled is let go
MOST_NEW_BYTES = 0.3e9  # beyond what stayed then
KEEPING = {
    "jax_compilation_cache_dir": str(KEPT / "xla"),
    "jax_persistent_cache_min_compile_time_secs": 0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}

# A third of the time to compile; the same values but for rounding.
QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}

for name, value in KEEPING.items():
    jax.config.update(name, value)
    os.environ[name.upper()] = str(value)  # for the processes that tests start
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
os.environ["XDG_CACHE_HOME"] = str(KEPT)
os.environ["COLUMNS"] = "120"
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in what a shell starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    gc.freeze()  # what is imported stays, and need not be looked through


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """One a core: each traces all that `jax.numpy` does anew, in more time than tests wait."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else len(cores())


def pytest_sessionstart(session):
    sizes = (path.stat().st_size for path in KEPT.rglob("*") if path.is_file())
    if not hasattr(session.config, "workerinput") and sum(sizes) > MOST_KEPT_BYTES:
        shutil.rmtree(KEPT)


def resident() -> float:
    """Bytes of memory that this process holds; 0 where only Linux would tell."""
    with suppress(FileNotFoundError):
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")
    return 0


# Tracing makes many objects: to look for garbage takes a tenth of all time at the usual 700, at
# 100,000 a twentieth. Where programs are let go, it is looked for then.
gc.set_threshold(0 if resident() else 100_000)


@pytest.fixture(scope="session")
def _one_context():
    """JAX begins an MLIR context for each program, which takes longer than to lower a small one and
    half a megabyte. Programs do not depend on it: here many share one."""
    usual = getattr(mlir, "make_ir_context", None)
    kept = cache(usual) if usual else None
    with pytest.MonkeyPatch.context() as patch:
        if kept:
            patch.setattr(mlir, "make_ir_context", kept)
        yield kept


@pytest.fixture(scope="session")
def _held():
    """Bytes that stayed of this process each time that it let go of what was compiled."""
    return [0]


@pytest.fixture(scope="session", autouse=True)
def _no_sweep_lets_go():
    """As one does after each compilation: all that other tests traced would be traced again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "let_go", lambda: None)
        yield


@pytest.fixture(autouse=True)
def _few_programs_stay(_one_context, _held):
    yield
    if resident() > max(MOST_BYTES, _held[-1] + MOST_NEW_BYTES):
        let_go()
        if _one_context:
            _one_context.cache_clear()
        _held.append(resident())


quick = jax.make_user_context(False)  # programs compiled with QUICK are others to JAX


@pytest.fixture(scope="session", autouse=True)
def _options():
    """JAX has no setting for options but `XLA_FLAGS`, which holds for a whole process: so its
    function that makes the options of all programs is wrapped, as long as there is one of that
    name. On an accelerator all is compiled as users compile it."""
    usual = getattr(compiler, "get_compile_options", None)

    def options(*args, env_options_overrides=None, **given):
        both = {**(QUICK if quick.value else {}), **(env_options_overrides or {})}
        return usual(*args, env_options_overrides=both, **given)

    with pytest.MonkeyPatch.context() as patch:
        if usual and jax.default_backend() == "cpu":
            patch.setattr(compiler, "get_compile_options", options)
        yield


@pytest.fixture
def unoptimised(_options):
    """XLA compiles without optimising, for what proves nothing of rounding."""
    quick.set_global(True)  # in all threads
    yield
    quick.set_global(False)


def pytest_itemcollected(item):
    """Tests of the study use `unoptimised`, unless they or their file are marked otherwise, and
    before fixtures that compile."""
    of_the_study = Path(__file__).parent / "experiments" in item.path.parents
    others = [name for name in item.fixturenames if name != "unoptimised"]
    if item.get_closest_marker("optimised"):
        item.fixturenames = others
    elif of_the_study or others != item.fixturenames:
        item.fixturenames = ["unoptimised", *others]


@pytest.fixture(scope="session")
def quick_flags():
    return " ".join(f"--{name}={value}".lower() for name, value in QUICK.items())


@pytest.fixture
def unoptimised_processes(monkeypatch, quick_flags):
    """The same in processes that a test starts, where it is in the fingerprints of records."""
    monkeypatch.setenv("XLA_FLAGS", quick_flags)


@pytest.fixture
def two_devices():
    """For what lays arrays over two; a machine may have one accelerator."""
    if jax.device_count() < 2:
        pytest.skip("one device")


@pytest.fixture
def x64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield
