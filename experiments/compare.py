"""Two sweeps side by side: `python -m experiments.compare results/A results/B`.

Prints how skill differs, strategy by strategy on each dataset and backbone, over the seeds that
both have; what only one of them has; and in which settings they differ. Writes nothing but --csv.
"""

import argparse
import sys
from pathlib import Path

from experiments import store
from experiments.analysis import study, two_sweeps
from experiments.analysis.study import Study
from experiments.analysis.tables import to_csv
from experiments.console import complain, make_console, prepare_output, say_warnings
from experiments.files import StorageError, write_text
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
    given = parser.parse_args(arguments)
    try:
        found = two_sweeps.compare(_read(given.first), _read(given.second))
        if given.csv:
            write_text(given.csv, to_csv(two_sweeps.table(found)))
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
