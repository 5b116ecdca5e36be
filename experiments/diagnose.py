"""A look at data before anything is trained: `python -m experiments.diagnose my.npz`.

Prints how often targets lie on their bounds and beyond, whether a constant share of the bound, a
constant level or a constant distance from the bound fits the training targets best, which
strategies follow from that, and where their network should begin.
"""

import argparse
import sys

from experiments.console import complain, make_console, prepare_output, say_warnings
from experiments.data.datasets import load
from experiments.page.diagnosis import show
from experiments.usage import UsageError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.diagnose",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", help="a name of the table, or a path to an .npz")
    given = parser.parse_args(arguments)
    try:
        dataset = load(given.dataset, allow_infeasible=True)
    except UsageError as error:
        complain(f"error: {error}")
        return 2
    show(make_console(), dataset)
    return 0


if __name__ == "__main__":
    prepare_output()
    say_warnings()
    sys.exit(main())
