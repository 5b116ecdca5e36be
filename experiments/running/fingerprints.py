"""What a record was made by, so that it is known to be stale when that would now be another.

The program is what JAX traces: StableHLO, without locations and names. What tracing cannot see, the
host code around it, is taken as syntax trees. Neither changes with a comment, a docstring, a
renamed helper or a function that moves. A strategy's part of the program is traced at the shapes
of a training batch, the rest with a stand-in for the strategy at the shapes of the dataset.
"""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from bounded import metrics
from experiments import store
from experiments.cells import Cell, canonical, random_seed
from experiments.data.datasets import Dataset
from experiments.running.syntax import digest, syntax
from experiments.training import cell as functions
from experiments.training import devices, runner
from experiments.training.baselines import BASELINES, scores
from experiments.training.blocks import block_mse, blocks_of
from experiments.training.cell import Data, Job, Program, Settings, data_of
from experiments.training.own_metrics import own_metrics
from experiments.training.strategies import table_row
from experiments.training.strategy_names import base_of, is_own
from experiments.training.strategy_rows import Strategy
from experiments.training.users_code import users_code

ROOT = Path(__file__).parents[2]
SOURCES = (
    "bounded/**/*.py",
    "experiments/data/*.py",
    "experiments/training/*.py",
    "experiments/running/fingerprints.py",
    "experiments/running/syntax.py",
)
PACKAGES = ("jax", "jaxlib", "flax", "optax")
# What decides numbers besides: settings of jax, with what they are where nobody sets them, and
# environment variables.
CONFIG = {
    "jax_allow_f16_reductions": True,
    "jax_default_matmul_precision": None,
    "jax_default_prng_impl": "threefry2x32",
    "jax_disable_jit": False,
    "jax_disable_most_optimizations": False,
    "jax_enable_x64": False,
    "jax_exec_time_optimization_effort": 0.0,
    "jax_high_dynamic_range_gumbel": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_optimization_level": "UNKNOWN",
    "jax_random_seed_offset": 0,
    "jax_softmax_custom_jvp": False,
    "jax_threefry_gpu_kernel_lowering": False,
    "jax_threefry_partitionable": True,
    "jax_use_direct_linearize": True,
}
ENVIRONMENT = ("LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE", "XLA_FLAGS")
HARMLESS = ("--xla_dump_", "--xla_force_host_platform_device_count", "--xla_gpu_cuda_data_dir")
HOST = (
    data_of,
    blocks_of,
    Dataset.part,
    Dataset.rows,
    Dataset.target_range,
    Strategy.hyper,
    random_seed,
    runner.stacked,
    runner.Runner._bias,
    runner.results,
    runner.counted_steps,
    metrics.jacobian_rank_fraction,
    store.with_nulls,
)
Fingerprint = dict[str, Any]


@cache
def versions() -> dict[str, str]:
    """Of the packages that decide what a program computes."""
    return {package: version(package) for package in PACKAGES}


def settings() -> dict[str, str]:
    """What decides numbers besides programs and packages, where it is not as usual."""
    values = jax.config.values
    found = {
        name: str(values[name])
        for name, usual in CONFIG.items()
        if values.get(name, usual) != usual
    }
    for name in ENVIRONMENT:
        flags = os.environ.get(name, "").split()
        if given := [flag for flag in flags if not flag.startswith(HARMLESS)]:
            found[name] = " ".join(given)
    return found


def surroundings() -> Fingerprint:
    """The part of a fingerprint that all programs of a process have in common."""
    found = settings()
    return {"versions": versions(), **({"settings": found} if found else {})}


def sources_hash() -> str:
    """Of the bytes of all files that programs are traced from, and of what else tracing reads.
    While it stands, no fingerprint can change."""
    return hashlib.sha256((_files_hash() + canonical(surroundings())).encode()).hexdigest()


@cache
def _files_hash() -> str:
    found = hashlib.sha256()
    for path in sorted(path for pattern in SOURCES for path in ROOT.glob(pattern)):
        found.update(path.relative_to(ROOT).as_posix().encode() + b"\n" + path.read_bytes())
    return found.hexdigest()


def of_strategy(strategy: Strategy, data: Data, settings: Settings) -> str:
    """Of the functions of a strategy's own."""

    def batch(array: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((settings.batch, *array.shape[1:]), array.dtype)

    parts = [jax.tree.map(batch, data["train"])]
    if strategy.own:  # which may do another thing with another number of windows
        parts += [data["validation"], data["final"]]

    def branches(
        raw: jax.Array, signs: jax.Array, progress: jax.Array, state: jax.Array, *given: Any
    ) -> list[Any]:
        ranges, part, job = given
        known = {"data": {"range": ranges}, "part": part, "job": job}
        return [
            runner.first_bias(strategy, part, ranges, job.hyper),
            functions.training_slope(strategy, raw, progress=progress, state=state, **known),
            functions.evaluation(strategy, raw, **known),
            functions.final_gradients(strategy, raw, state=state, signs=signs, **known),
            functions.final_jacobian(strategy, raw, state=state, **known),
        ]

    def lowered(part: Data) -> str:
        raw, progress = part["targets"], jax.ShapeDtypeStruct((), jnp.float32)
        state = jax.ShapeDtypeStruct(raw.shape[1:], raw.dtype)
        return _lowered(branches, raw, raw, progress, state, data["range"], part, Job.shapes(data))

    program = "".join(map(lowered, parts))
    return digest(_nameless(program) + (_called(strategy, program) if strategy.own else ""))


def _of_own(strategy: Strategy, data: Data, settings: Settings) -> str:
    """`of_strategy`, of the user's."""

    def says(error: str) -> str:
        return f"{strategy.name} cannot be traced: {error}"

    with users_code(strategy.name, says):
        return of_strategy(strategy, data, settings)


def _called(strategy: Strategy, program: str) -> str:
    """What a user's program calls by name."""
    names = re.findall(r"custom_call @([\w.$]+)", program)
    if any("callback" in name for name in names):
        warnings.warn(
            f"{strategy.name} calls Python back while it runs: what it does there no fingerprint "
            "shows, and no record is stale when it changes.",
            stacklevel=2,
        )
    return " ".join(names)


def of_training(backbone: str, settings: Settings, data: Data) -> str:
    """Of network, optimiser, training and metrics: what all strategies have in common."""
    program = Program(backbone, settings, (runner.STAND_IN,), data)
    job = Job.shapes(data)
    state = jax.eval_shape(program.initialize, data, job)
    traced = [
        _traced(program.initialize, data, job),
        _traced(program.advance, data, job, state),
        _traced(program.finish, data, job, state),
    ]
    return digest(" ".join(traced))


def of_metrics(data: Data, metrics: str) -> str:
    """Of what measures untrained baselines, with the user's metrics."""

    def measured(part: Data, scale: jax.Array, blocks: jax.Array) -> list[Any]:
        output = part["targets"]
        own = own_metrics(metrics, output, part, scale)
        return [scores(output, part), own, block_mse(output, part, blocks)]

    return _traced(measured, data["final"], data["scale"], data["blocks"])


def _traced(function: Callable, *shapes: Any) -> str:
    """Of a function's StableHLO."""
    return digest(_nameless(_lowered(function, *shapes)))


def _lowered(function: Callable, *shapes: Any) -> str:
    """A function's StableHLO, which holds the constants that it closes over."""
    return jax.jit(function).lower(*shapes).as_text()


def _nameless(program: str) -> str:
    """StableHLO with numbers for symbols."""
    program = re.sub(r'\{?jax\.result_info = "[^"]*"\}?', "", program)
    symbols: dict[str, str] = {}
    return re.sub(r"@[\w.$]+", lambda s: symbols.setdefault(s[0], f"@{len(symbols)}"), program)


@dataclass(frozen=True)
class Part:
    """A piece of a cell's program, which cells share."""

    key: str  # what it is of
    trace: Callable[[], str]
    kept: bool = True  # on disk; not what is traced from the user's files


def fingerprints(
    cells: Collection[Cell],
    datasets: Mapping[str, Dataset],
    own: Mapping[str, Strategy],
    track: Callable[[Sequence[Part]], Iterable[Part]] = lambda todo: todo,
) -> dict[str, Fingerprint]:
    """What cells would be made by now, by id; of those whose dataset and strategy are known.

    Args:
      cells: the cells.
      datasets: by name.
      own: the user's strategies, by name.
      track: given what must be traced, which takes up to a second each; gives it back in turn.

    Raises:
      UsageError: if a strategy of the user's cannot be traced.
    """
    names = {cell.strategy for cell in cells}
    known_rows = {name: own.get(name) or table_row(name) for name in names}
    rows = {name: row for name, row in known_rows.items() if row}
    shapes = cache(lambda name, split: shapes_of(datasets[name], split))
    of_cell = {
        cell.id: _parts(cell, rows, shapes(cell.dataset, cell.split))
        for cell in cells
        if cell.dataset in datasets and (cell.strategy in rows or cell.strategy in BASELINES)
    }
    parts = {part.key: part for found in of_cell.values() for part in found.values()}
    known = _kept()
    todo = [part for key, part in parts.items() if key not in known]
    for part in track(todo):
        known[part.key] = part.trace()
    _keep({key: known[key] for key, part in parts.items() if part.kept}, bool(todo))
    rest = {"host": syntax(*HOST), **surroundings()}
    return {
        key: {**{name: known[part.key] for name, part in found.items()}, **rest}
        for key, found in of_cell.items()
    }


def shapes_of(dataset: Dataset, split: str) -> Data:
    """Of the arrays that a cell's functions take."""
    return jax.tree.map(
        lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), data_of(dataset, split)
    )


def _parts(cell: Cell, rows: Mapping[str, Strategy], data: Data) -> dict[str, Part]:
    """By their names in a fingerprint."""
    return {"strategy": _strategy(cell, rows, data), "training": training(cell, data)}


def _strategy(cell: Cell, rows: Mapping[str, Strategy], data: Data) -> Part:
    if cell.strategy in BASELINES:
        return Part(f"baseline {cell.strategy}", partial(syntax, BASELINES[cell.strategy][0]))
    settings, row = Settings(**cell.settings), rows[cell.strategy]
    window = {key: array and array.shape[1:] for key, array in data["train"].items()}
    shapes = str(data) if row.own else window
    return Part(
        f"{cell.strategy if row.own else base_of(cell.strategy)} {settings.batch} {shapes}",
        partial(_of_own if row.own else of_strategy, row, data, settings),
        not row.own,
    )


def training(cell: Cell, data: Data) -> Part:
    """What trains and measures a cell, whatever its strategy."""
    if not cell.is_trained:
        metrics = cell.training.get("metrics", "")
        trace = partial(of_metrics, data, metrics)
        return Part(f"metrics {data} {metrics}", trace, not has_own_training(cell))
    settings = Settings(**cell.settings)
    return Part(
        f"{cell.network} {asdict(settings)} {data}",
        partial(of_training, cell.network, settings, data),
        not has_own_training(cell),
    )


def has_own_training(cell: Cell) -> bool:
    """Whether its network, or a metric, is the user's."""
    return is_own(cell.network) or bool(cell.training.get("metrics"))


def _kept() -> dict[str, str]:
    """What was traced before of the same sources."""
    file = _file()
    with suppress(OSError, ValueError, TypeError):
        return dict(json.loads(file.read_bytes())) if file else {}
    return {}


def _keep(found: Mapping[str, str], changed: bool) -> None:
    file = _file()
    if changed and file:
        with suppress(store.StorageError):
            store.write_json(file, _kept() | found)


def _file() -> Path | None:
    folder = devices.cache_folder("fingerprints")
    return folder and folder / f"{sources_hash()}.json"
