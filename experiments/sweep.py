"""Run a sweep of strategies × datasets × backbones × seeds: `python -m experiments.sweep`.

Lists are comma-separated, or several words, as of --datasets *.npz. Run the same command again to
go on where it stopped. Exit status: 0 all done (or --minutes are over), 1 some cells failed, 2 bad
usage, 130 interrupted.
"""

import argparse
import inspect
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.analysis import statistics
from experiments.console import complain, make_console, names, prepare_output, say, say_warnings
from experiments.data.datasets import Dataset
from experiments.files import StorageError
from experiments.page.build import refresh
from experiments.page.terminal import show
from experiments.running.executors import TeamLostError
from experiments.running.given import named
from experiments.running.listing import list_choices
from experiments.running.options import STALE, Options
from experiments.running.presets import PRESETS, Plan, make_plan
from experiments.running.session import dry_run, run
from experiments.running.watch import end_soon
from experiments.training import devices, limits
from experiments.training.backbones import BACKBONES
from experiments.training.strategy_rows import Strategy
from experiments.usage import UsageError


def run_sweep(
    preset: str = "default",
    *,
    out: str | Path | None = None,
    console: Console | None = None,
    strategies: Sequence[str | Callable | Strategy] | None = None,
    datasets: Sequence[str | Path | Mapping[str, Any] | Dataset] | None = None,
    backbones: Sequence[str | Callable] | None = None,
    hidden: int | Sequence[int] | None = None,
    dtype: str | None = None,
    seeds: int | None = None,
    tuning_seeds: int | None = None,
    epochs: int | None = None,
    patience: int | None = None,
    updates: int | None = None,
    batch: int | None = None,
    learning_rates: Sequence[float] | None = None,
    start: str | None = None,
    metrics: Sequence[str | Callable] | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """Run what is missing of a sweep, then redo its summary and figures.

    Trains on all cores, unless jax has started already with fewer devices.

    The arguments are the command line's; None leaves what the preset says.

    Args:
      preset: one of PRESETS.
      out: the sweep's folder, by default results/PRESET; cells that it already holds are not run
        again.
      console: where progress goes, by default the terminal or the notebook; nowhere with
        `rich.console.Console(quiet=True)`.
      strategies: names, functions, or rows (see `training.strategy_rows`). A function that can be
        imported goes by `module:function`; another, and a row, by `here:NAME`, without workers.
      datasets: names, paths, or, without workers, dicts of `inputs`, `targets`, `upper` and/or
        `lower`, perhaps with a `name`: else they are called dataset1, dataset2, and so on.
      backbones: names, or factories (see `training.backbones`).
      metrics: functions of (output, target, lower, upper, where), or `module:function`.
      hidden, dtype, seeds, tuning_seeds, epochs, patience, updates, batch, learning_rates,
        start: what else differs from the preset.
      **options: `workers`, `dask`, `minutes`, `timeout`, `retry_failed`, `force`, `fail_fast`,
        `allow_infeasible`, `stale`, see Options. With `workers`, call this under
        `if __name__ == "__main__":`.

    Returns:
      The rows of `summary.csv`: a dict with strategy, dataset, backbone, phase, seed, split,
      hyperparameters, metric and value for each metric of each finished cell. A warning says how
      many cells failed or are left.

    Raises:
      UsageError: before any training, where something given cannot be used.
      StorageError: if the folder cannot be written to any more; what is finished is kept.
      TeamLostError: if the Dask scheduler has gone.
      KeyboardInterrupt: after Ctrl-C; what is finished is kept.
    """
    _check_known(options)
    chosen = Options(Path(out or f"results/{preset}"), **options)
    allowed = chosen.allow_infeasible
    with named(strategies, datasets, backbones, metrics, allow_infeasible=allowed) as found:
        plan = make_plan(
            preset,
            strategies=found.strategies,
            datasets=found.datasets,
            backbones=found.backbones,
            hidden=hidden,
            dtype=dtype,
            seeds=seeds,
            tuning_seeds=tuning_seeds,
            epochs=epochs,
            patience=patience,
            updates=updates,
            batch=batch,
            learning_rates=learning_rates,
            start=start,
            metrics=found.metrics,
        )
        if chosen.workers or chosen.dask:
            found.check_workers()
        devices.prepare()
        devices.start()
        with limits.patient(chosen.patience):
            outcome = run(plan, chosen, console or make_console(), refresh)
    if outcome.failed or outcome.left:
        warnings.warn(
            f"{outcome.failed} cells of {chosen.out} failed, {outcome.left} are left.", stacklevel=2
        )
    return statistics.summary(outcome.records)


def _check_known(options: Mapping[str, Any]) -> None:
    *named, _ = inspect.signature(run_sweep).parameters
    known = dict.fromkeys([*named, *Options.__dataclass_fields__])
    for name in options.keys() - known.keys():
        (nearest,) = get_close_matches(name, known, n=1, cutoff=0)
        raise TypeError(
            f"run_sweep takes no {name!r}. Did you mean {nearest!r}? It takes {', '.join(known)}."
        )


def _numbers(kind: Callable[[str], float]) -> Callable[[str], tuple[float, ...]]:
    """Of a comma-separated list."""

    def numbers(text: str) -> tuple[float, ...]:
        return tuple(kind(part) for part in text.split(",") if part.strip())

    return numbers


class _Flat(argparse.Action):
    """Keeps several words, each a list, as one list."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        setattr(namespace, self.dest, tuple(chain.from_iterable(values)))


def _several(read: Callable[[str], tuple]) -> dict[str, Any]:
    return {"type": read, "nargs": "+", "action": _Flat}


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m experiments.sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add(
        "--preset",
        default="default",
        help=f"what is run where no other flag says: {', '.join(PRESETS)}; default: %(default)s",
    )
    add(
        "--strategies",
        **_several(names),
        help="names from --list, module:function, or module:row (a Strategy); any may be given "
        "hyperparameters, smooth_clip(temperature=0.1), or lists of them to tune over, the default "
        "first, smooth_clip(temperature=[0.1,0.3]). Skill and ranking need "
        "climatology_clipped among them",
    )
    add("--datasets", **_several(names), help="names from --list, or paths to .npz of your own")
    add(
        "--backbones",
        **_several(names),
        help=f"{', '.join(BACKBONES)}, or module:factory of your own",
    )
    add(
        "--hidden",
        **_several(_numbers(int)),
        help="hidden units; of several, each is a backbone of its own, such as bottleneck_32",
    )
    add(
        "--dtype",
        help="of the factors of products: float32; bfloat16, of the recurrent ones; or, on a GPU, "
        "tensorfloat32",
    )
    add("--seeds", type=int, help="seeds of every strategy")
    add(
        "--tuning-seeds",
        type=int,
        metavar="N",
        help="choose hyperparameters on validation first, with so many seeds; 0: take the defaults",
    )
    add("--epochs", type=int, help="epochs, of --updates each, at most")
    add(
        "--patience",
        type=int,
        metavar="N",
        help="end a run that has not become better on validation in so many epochs, in which also "
        "what a strategy turns gradually is turned; 0: at --epochs",
    )
    add("--updates", type=int, metavar="N", help="batches an epoch; default: 16")
    add("--batch", type=int, metavar="N", help="windows a batch; default: 32")
    add(
        "--learning-rates",
        **_several(_numbers(float)),
        metavar="A,B",
        help="the default, and others that --tuning-seeds tries; default: 0.003,0.001,0.01",
    )
    add(
        "--start",
        help="where networks begin: constant, the mean of the raw that gives the training targets "
        "(the default), or zero",
    )
    add(
        "--metrics",
        **_several(names),
        help="of your own, module:function of (output, target, lower, upper, where)",
    )
    add("--out", type=Path, help="folder; default: results/PRESET")
    add("--workers", type=int, metavar="N", help="run on N processes of this machine")
    add(
        "--dask", metavar="ADDRESS", help="run on a Dask cluster: its scheduler's address, or local"
    )
    add("--minutes", type=float, help="end the session after so many minutes")
    add("--timeout", type=float, metavar="SECONDS", help="that a batch of cells may take")
    add("--retry-failed", action="store_true", help="run failed cells again")
    add("--force", action="store_true", help="run every cell again")
    add("--fail-fast", action="store_true", help="stop at the first failure")
    add("--allow-infeasible", action="store_true", help="keep datasets whose targets break a bound")
    stale = "; ".join(f"{value}: {text}" for value, text in STALE.items())
    add("--stale", default="refuse", help=f"records of other code or data. {stale}")
    add(
        "--save",
        **_several(names),
        default=(),
        metavar="WHAT",
        help="predictions and/or weights of every final cell: see docs/own.md",
    )
    add("--tables", action="store_true", help="print every metric by dataset at the end")
    add("--dry-run", action="store_true", help="say what would run, and stop")
    add("--list", action="store_true", help="say what can be named, and stop")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    console = make_console()
    try:
        return _main(given, console)
    except UsageError as error:
        complain(f"error: {error}")
        return 2
    except (StorageError, TeamLostError) as error:
        complain(f"error: {error}\n{_go_on(given)}")
        return 1
    except KeyboardInterrupt:
        complain(f"interrupted. {_go_on(given)}")
        return 130


def _go_on(given: argparse.Namespace) -> str:
    without = ", without --force," if given.force else ""
    return f"What is finished is kept; the same command{without} goes on from there."


def _main(given: argparse.Namespace, console: Console) -> int:
    if given.list:
        for table in list_choices():
            console.print(table)
        return 0
    values = vars(given)
    plan = make_plan(
        given.preset, **{key: values[key] for key in Plan.__dataclass_fields__ if key in values}
    )
    chosen = {key: values[key] for key in Options.__dataclass_fields__}
    options = Options(**{**chosen, "out": given.out or Path(f"results/{given.preset}")})
    devices.start()
    started = time.perf_counter()
    with limits.patient(options.patience):
        if given.dry_run:
            say(console, dry_run(plan, options, console))
            return 0
        outcome = run(plan, options, console, refresh)
    without = ", without --force," if options.force else ""
    nothing = "" if outcome.ran else "nothing was finished, give it more time; "
    left = f"{outcome.left} cells left, the same command{without} goes on; {nothing}"
    left = left if outcome.left else ""
    end = f"; {outcome.failed} failed cells; {left}{time.perf_counter() - started:.0f} s."
    show(console, options.out, outcome.records, given.tables, end)
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    prepare_output()
    say_warnings()
    devices.prepare()
    status = main()
    end_soon(status)
    sys.exit(status)
