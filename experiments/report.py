"""What is derived from a sweep's records: `python -m experiments.report results/NAME`.

Writes `summary.csv`, `figures/`, `tables/` and the page `report.html`, and prints the scores. All
of it can be deleted and redone.
"""

import argparse
import sys
from pathlib import Path

from experiments.console import complain, make_console, prepare_output, say_warnings
from experiments.files import StorageError
from experiments.page.build import build
from experiments.page.terminal import show
from experiments.usage import UsageError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description=__doc__)
    parser.add_argument("folder", type=Path, help="a sweep's folder, such as results/default")
    parser.add_argument("--latex", action="store_true", help="write the tables as LaTeX too")
    parser.add_argument("--tables", action="store_true", help="print every metric by dataset")
    given = parser.parse_args(arguments)
    try:
        records = build(given.folder, latex=given.latex)
    except (UsageError, StorageError) as error:
        complain(f"error: {error}")
        return 2 if isinstance(error, UsageError) else 1
    show(make_console(), given.folder, records, given.tables)
    return 0


if __name__ == "__main__":
    prepare_output()
    say_warnings()
    sys.exit(main())
