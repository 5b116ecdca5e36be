"""The cores of this machine, and what JAX is told about them before it starts."""

import os
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

import jax
import scipy.linalg  # noqa: F401  jax takes LAPACK from it; threads of what is loaded are limited
from threadpoolctl import threadpool_limits

DEV = Path("/dev")


def cores() -> list[int]:
    """The cores that this process may use."""
    on_linux = hasattr(os, "sched_getaffinity")
    return sorted(os.sched_getaffinity(0)) if on_linux else list(range(os.cpu_count() or 1))


def gpus() -> list[str]:
    """The NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    found = sorted(path.name.removeprefix("nvidia") for path in DEV.glob("nvidia[0-9]*"))
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None or not found:
        return found
    # As CUDA reads it: what follows a name that is none, such as -1 or NoDevFiles, is not seen.
    names = [name.strip() for name in given.split(",")]
    return list(takewhile(lambda name: name in found or name.startswith(("GPU-", "MIG-")), names))


def prepare() -> None:
    """What a process that trains begins with; without effect on jax's devices once it started."""
    with suppress(RuntimeError):
        use_all_cores()
    fix_threads()
    use_compilation_cache()


def use_all_cores() -> None:
    """One device a core on CPU, so that every core trains its own cell. Before jax starts."""
    jax.config.update("jax_num_cpu_devices", len(cores()))


def fix_threads() -> None:
    """Make bits the same on every device and in every worker of a machine. Before jax starts.

    How XLA divides a wide product depends on its number of threads, NPROC or the cores that the
    process may use; how LAPACK does (initial weights are a QR factor), on BLAS's.
    """
    os.environ.setdefault("NPROC", str(os.cpu_count() or 1))
    threadpool_limits(1, "blas")


def use_compilation_cache() -> None:
    """Keep what XLA compiles in the user's cache folder, unless JAX_COMPILATION_CACHE_DIR says
    otherwise or the folder cannot be written to."""
    if jax.config.jax_compilation_cache_dir:
        return
    # By host: what is compiled for one processor need not run on another.
    if folder := cache_folder(f"xla/{platform.node() or 'host'}"):
        jax.config.update("jax_compilation_cache_dir", str(folder))


def cache_folder(name: str) -> Path | None:
    """A folder of the user's cache; None where it cannot be written to."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "bounded" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None


@contextmanager
def inherited(cores: Sequence[int], variables: Mapping[str, str]) -> Iterator[None]:
    """Processes started within are pinned to these cores and have these environment variables,
    before anything of theirs is imported."""
    environment = dict(os.environ)
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    os.environ.update(variables)
    if affinity is not None:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        if affinity is not None:
            os.sched_setaffinity(0, affinity)
