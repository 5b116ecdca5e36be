"""Two sweeps side by side: `python -m experiments.compare results/A results/B`.

Prints how skill differs, strategy by strategy on each dataset and backbone, over the seeds that
both have; what only one of them has; and in which settings they differ. Writes nothing but --csv,
and with --starts, of sweeps that start their networks in two ways, two tables and a figure: the
share of runs that never start, and how errors change.
"""

import argparse
import sys
from pathlib import Path

from experiments import store
from experiments.analysis import starts, study, two_sweeps
from experiments.analysis.study import Study
from experiments.analysis.tables import to_csv
from experiments.console import complain, make_console, prepare_output, say_warnings
from experiments.figures import begun, draw
from experiments.figures.style import styled
from experiments.files import StorageError, make_folder, write_text
from experiments.page.side_by_side import show
from experiments.usage import UsageError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("first", type=Path, help="a sweep's folder, such as results/default")
    parser.add_argument("second", type=Path, help="another one's")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the differences there too")
    parser.add_argument(
        "--starts", type=Path, metavar="FOLDER", help="write the comparison of starts there"
    )
    given = parser.parse_args(arguments)
    try:
        both = _read(given.first), _read(given.second)
        found = two_sweeps.compare(*both)
        if given.csv:
            write_text(given.csv, to_csv(two_sweeps.table(found)))
        if given.starts:
            make_folder(given.starts)
            for table in (starts.table(*both), starts.by_group(*both)):
                write_text(given.starts / f"{table.name}.csv", to_csv(table))
            with styled():
                sketch = begun.starts(*both)
                draw.save(sketch.figure, given.starts / "starts.png", title=sketch.title)
    except (UsageError, StorageError) as error:
        complain(f"error: {error}")
        return 2 if isinstance(error, UsageError) else 1
    show(make_console(), found, str(given.first), str(given.second))
    return 0


def _read(folder: Path) -> Study:
    return study.read(store.read_manifest(folder), store.read(folder))


if __name__ == "__main__":
    prepare_output()
    say_warnings()
    sys.exit(main())
