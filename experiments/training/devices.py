"""The cores of this machine, and what JAX is told about them before it starts."""

import ctypes
import gc
import os
import pkgutil
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

import jax
import scipy.linalg  # noqa: F401  jax takes LAPACK from it; threads of what is loaded are limited
from threadpoolctl import threadpool_limits

from experiments.usage import UsageError

DEV = Path("/dev")


def cores() -> list[int]:
    """The cores that this process may use."""
    on_linux = hasattr(os, "sched_getaffinity")
    return sorted(os.sched_getaffinity(0)) if on_linux else list(range(os.cpu_count() or 1))


def start() -> list[jax.Device]:
    """This process's devices.

    Raises:
      UsageError: if JAX finds none.
    """
    try:
        return jax.local_devices()
    except Exception as error:  # RuntimeError; without the platform's plugin, AssertionError
        asked = os.environ.get("JAX_PLATFORMS")
        hint = f"JAX_PLATFORMS is {asked!r}: unset it, or set it to cpu. " if asked else ""
        raise UsageError(f"JAX finds no device. {hint}It said: {error!r}") from error


def gpus() -> list[str]:
    """The NVIDIA GPUs that JAX uses in this process, as CUDA_VISIBLE_DEVICES names them."""
    if not _uses_cuda():
        return []
    found = sorted(path.name.removeprefix("nvidia") for path in DEV.glob("nvidia[0-9]*"))
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None or not found:
        return found
    # As CUDA reads it: what follows a name that is none, such as -1 or NoDevFiles, is not seen.
    names = dict.fromkeys(name.strip() for name in given.split(","))
    return list(takewhile(lambda name: name in found or name.startswith(("GPU-", "MIG-")), names))


def _uses_cuda() -> bool:
    """Whether JAX has its CUDA plugin, and nobody told it to use another platform first."""
    first = (jax.config.jax_platforms or "").split(",")[0]
    return first in ("", "cuda", "gpu") and any("cuda" in name for name in _plugins())


def _plugins() -> list[str]:
    """Names of JAX's plugins, looked for as it does."""
    found = find_spec("jax_plugins")
    folders = found.submodule_search_locations if found else None
    modules = [module.name for module in pkgutil.iter_modules(folders or [])]
    return modules + [plugin.name for plugin in entry_points(group="jax_plugins")]


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


def let_go() -> None:
    """Give back the memory of compiling, and of what was compiled and is not kept any more."""
    jax.clear_caches()  # of tracing
    gc.collect()
    with suppress(AttributeError, TypeError):  # in a C library that is not GNU's
        ctypes.CDLL(None).malloc_trim(0)


def cache_folder(name: str) -> Path | None:
    """A folder of the user's cache; None where it cannot be written to."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(base) / "bounded" / name
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: nobody knows where the user's home is
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
