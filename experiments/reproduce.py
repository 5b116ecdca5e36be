"""Published tables, rerun here: `python -m experiments.reproduce hardnet`, or `enforce`, `keras`,
`dc3`, `fitting`, `snarenet` or `cbf`.

Each study writes a CSV, a figure and a page of its name.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from experiments.console import prepare_output
from experiments.figures import draw
from experiments.reproduced import (
    cbf,
    dc3,
    drawings,
    enforce,
    fitting,
    hardnet,
    networks,
    pages,
    question,
    snarenet,
    tables,
)
from experiments.reproduced.tables import Row
from experiments.training import devices
from experiments.usage import UsageError

FOLDER = Path("results/reproduced")
STUDIES: dict[str, tuple[Callable[[], Iterable[Row]], Sequence[str]]] = {
    "hardnet": (hardnet.rows, hardnet.COLUMNS),
    "enforce": (enforce.rows, enforce.COLUMNS),
    "keras": (question.rows, question.COLUMNS),
    "dc3": (dc3.rows, dc3.COLUMNS),
    "fitting": (fitting.rows, fitting.COLUMNS),
    "snarenet": (snarenet.rows, snarenet.COLUMNS),
    "cbf": (cbf.rows, cbf.COLUMNS),
}
"""By name: a function that runs the study and gives its rows, and their columns."""


def run(study: str, folder: Path) -> None:
    """Run a study, saying each row, and write what comes out.

    Raises:
      UsageError: where a package that it cannot do without is not installed.
    """
    rows, columns = STUDIES[study]
    done = []
    for row in rows():
        done.append(row)
        words = [value for value in row.values() if isinstance(value, str)]
        numbers = [f"{key} {value:.4g}" for key, value in row.items() if isinstance(value, float)]
        print(f"{', '.join(words)}: {', '.join(numbers[:4])}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    tables.write_csv(folder / f"{study}.csv", done, columns)
    write(study, folder)


def write(study: str, folder: Path) -> None:
    """Redo a study's figure and page from its CSV."""
    rows = tables.read_csv(folder / f"{study}.csv")
    figure = drawings.FIGURES[study](rows)
    draw.save(figure, folder / f"{study}.png", title=drawings.TITLES[study])
    (folder / f"{study}.md").write_text(pages.page(study, rows), encoding="utf-8")
    print(f"{folder}: {study}.csv, {study}.png, {study}.md")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.reproduce", description=__doc__)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--out", type=Path, default=FOLDER, help=f"default: {FOLDER}")
    options = parser.parse_args(arguments)
    try:
        if options.study in ("hardnet", "enforce") and not networks.has_torch():
            print(f"note: {networks.TORCH_MISSING}", file=sys.stderr)
        run(options.study, options.out)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    prepare_output()
    devices.prepare()
    sys.exit(main())
