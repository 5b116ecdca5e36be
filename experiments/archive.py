"""Pack a sweep's records into a few small files: `python -m experiments.archive results/NAME`.

Writes `packed/<dataset>.npz` from `cells/` and from what was packed before. `cells/` can then be
deleted; see `experiments/packed.py` for what is kept.
"""

import argparse
import sys
from pathlib import Path

from experiments import store
from experiments.console import complain, prepare_output, printable, say_warnings
from experiments.files import StorageError
from experiments.usage import UsageError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.archive", description=__doc__)
    parser.add_argument("folder", type=Path, help="a sweep's folder, such as results/reference")
    folder = parser.parse_args(arguments).folder
    try:
        if not store.holds_sweep(folder):
            raise UsageError(f"{folder} holds no sweep.")
        with store.opened(folder):
            for path in store.pack(folder):
                print(printable(f"{path}: {path.stat().st_size / 1000:.0f} kB"))
    except (UsageError, StorageError) as error:
        complain(f"error: {error}")
        return 2 if isinstance(error, UsageError) else 1
    return 0


if __name__ == "__main__":
    prepare_output()
    say_warnings()
    sys.exit(main())
