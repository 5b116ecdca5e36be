"""Speed, as ratios side by side in one run: `python -m experiments.benchmark`.

Machines are shared and noisy, so that every round times every candidate in turn, and a ratio is
the median over rounds of the ratio within a round.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments import store
from experiments.benchmarks import dc3_layers, overhead, projection_layers, throughput
from experiments.benchmarks.stacks import SHAPES, STACKS, Shape
from experiments.console import make_console, names, prepare_output
from experiments.figures.draw import save
from experiments.training.devices import use_all_cores
from experiments.usage import UsageError, choose


def _shapes(text: str) -> tuple[Shape, ...]:
    return tuple(Shape(*map(int, shape.split("x"))) for shape in text.split(","))


def _installed(stacks: Sequence[str], console: Console) -> list[str]:
    """Those that can run here; of the others it is said what they lack."""
    missing_of = {name: choose("stack", name, STACKS).missing() for name in stacks}
    present = []
    for name, missing in missing_of.items():
        if missing:
            console.print(f"{name}: missing, for want of {', '.join(missing)} (extra `bench`)")
        else:
            present.append(name)
    return present


def _measure_all(options: argparse.Namespace, console: Console) -> None:
    present = _installed(options.stacks, console)
    rows: list[throughput.Row] = []
    for shape in options.shapes:
        found = throughput.measure(shape, present, options.rounds)
        console.print(throughput.make_table(found, shape))
        rows += found
    options.out.mkdir(parents=True, exist_ok=True)
    store.write_json(options.out / "throughput.json", rows)
    save(throughput.draw(rows), options.out / "throughput.png")
    console.print(f"{options.out}: throughput.json, throughput.png")
    if not options.training_only:
        console.print(overhead.cell_table())
        console.print(overhead.constraint_table(overhead.constraint_overhead()))
        console.print(projection_layers.make_table(projection_layers.measure()))
        found = dc3_layers.measure_all()
        console.print(dc3_layers.make_table(found))
        save(dc3_layers.draw(found), options.out / "projections.png")
        console.print(f"{options.out}: projections.png")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmark", description=__doc__)
    parser.add_argument(
        "--shapes",
        type=_shapes,
        default=SHAPES,
        help="hidden x steps x features x batch, comma-separated, such as 100x48x4x64",
    )
    parser.add_argument(
        "--stacks", type=names, default=tuple(STACKS), help=f"of {', '.join(STACKS)}"
    )
    parser.add_argument("--rounds", type=int, default=5, help="timings of each; default: 5")
    parser.add_argument("--out", type=Path, default=Path("results/benchmark"))
    parser.add_argument(
        "--training-only", action="store_true", help="leave out cells, constraints and projections"
    )
    options = parser.parse_args(arguments)
    try:
        _measure_all(options, make_console())
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    prepare_output()
    use_all_cores()
    sys.exit(main())
