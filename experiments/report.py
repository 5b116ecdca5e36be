"""What is derived from a sweep's records: `python -m experiments.report results/NAME`.

Writes `summary.csv`, `figures/`, `tables/` and the page `report.html`, and prints the scores. All
of it can be deleted and redone.

For a paper: with --format, --strategies, --datasets, --backbones or --out, figures and tables alone
are written, to `results/NAME/paper/` or to --out, and the sweep's own stay as they are. What is not
shown still counts: skill is measured by climatology_clipped, and ranks are among all strategies.
"""

import argparse
import sys
from pathlib import Path

from experiments.analysis.study import ALL, Choice
from experiments.console import complain, make_console, names, prepare_output, say, say_warnings
from experiments.figures.captions import FORMS
from experiments.files import StorageError
from experiments.page.build import build, for_paper
from experiments.page.terminal import show
from experiments.usage import UsageError


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m experiments.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add("folder", type=Path, help="a sweep's folder, such as results/default")
    add("--latex", action="store_true", help="write the tables as LaTeX too")
    add("--tables", action="store_true", help="print every metric by dataset")
    add("--format", choices=FORMS, help="of a paper's figures, up to 6.5 inches wide; default: png")
    for kind in ("strategies", "datasets", "backbones"):
        add(f"--{kind}", type=names, help=f"{kind} that a paper shows, comma-separated")
    add("--out", type=Path, help="a paper's folder; default: paper/ in the sweep's")
    return result


def main(arguments: list[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    choice = Choice(given.strategies, given.datasets, given.backbones)
    console = make_console()
    try:
        if choice != ALL or given.format or given.out:
            form = given.format or FORMS[0]
            out = for_paper(given.folder, given.out, choice, form, given.latex)
            say(console, f"figures and tables: {out}")
            return 0
        records = build(given.folder, latex=given.latex)
    except (UsageError, StorageError) as error:
        complain(f"error: {error}")
        return 2 if isinstance(error, UsageError) else 1
    show(console, given.folder, records, given.tables)
    return 0


if __name__ == "__main__":
    prepare_output()
    say_warnings()
    sys.exit(main())
