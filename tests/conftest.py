"""A strict session: warnings are errors (pyproject.toml) and ranks do not promote silently.

What is compiled is kept for the session, in a folder that its workers and the processes that tests
start share, so that most programs are compiled once. In memory a program takes more than a
megabyte: they are let go when a module ends, and when there are many.
"""

import ctypes
import gc
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

if "PYTEST_XDIST_WORKER" not in os.environ:  # before jax is imported; workers inherit it
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="bounded-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{os.environ['XDG_CACHE_HOME']}/xla"
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
os.environ["COLUMNS"] = "120"
MOST_BYTES = 1e9  # of a worker, beyond which what is compiled is let go


def pytest_unconfigure():
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)


def resident() -> float:
    """Bytes of memory that this process holds; 0 where only Linux would tell."""
    with suppress(FileNotFoundError):
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")
    return 0


def let_go() -> None:
    jax.clear_caches()
    gc.collect()
    with suppress(OSError, AttributeError):  # glibc keeps what is freed
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="module", autouse=True)
def _nothing_stays():
    yield
    let_go()


@pytest.fixture(autouse=True)
def _few_programs_stay():
    yield
    if resident() > MOST_BYTES:
        let_go()


@pytest.fixture
def x64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield
