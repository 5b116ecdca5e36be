"""Whether numbers hold on an accelerator, and how fast it is: one command, ten minutes.

$ python -m experiments.benchmarks.device [--minutes 10] [--out results/device]

Prints a table a section, and writes all numbers to `device.json` in the folder, after every
section. A section has a share of the minutes; what it leaves over goes to the next ones. What there
is no time for, and what is not installed, is said in a line. docs/devices.md says how to read it.
On a CPU, which it is tried on, it measures little.
"""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from experiments import store
from experiments.benchmarks import agreement, device_speed, device_tests, projection_layers
from experiments.benchmarks.device_speed import Scale
from experiments.console import make_console, names, prepare_output, say
from experiments.training.devices import cores, inherited
from experiments.usage import UsageError, choose

ACCELERATOR = Scale()
CPU = Scale(
    hidden=(32,),
    cells=(1, 2),
    stacked=(2,),
    product=1000,
    rounds=2,
    batches=(1000,),
    preset="smoke",
    epochs=2,
    tests=("tests/bounded/test_starts.py",),
)
PACKAGES = ("jax", "jaxlib", "jax-cuda12-plugin", "jax-cuda13-plugin", "flax", "optax", "torch")
LEAST_SECONDS = 10  # that a section begins with
Row = dict[str, Any]


class NotMeasuredError(Exception):
    """Why a section, or a part of one, has no numbers."""


@dataclass(frozen=True)
class Given:
    """What a section goes by."""

    backend: str
    scale: Scale
    out: Path
    console: Console
    ends: float  # by time.monotonic
    found: dict[str, Any]  # of the sections before it

    @property
    def left(self) -> float:
        return max(0.0, self.ends - time.monotonic())


def apart(function: Callable, seconds: float, *given: Any) -> Any:
    """What a function gives in a process of its own, whose memory is free again after it.

    Raises:
      NotMeasuredError: if it fails, or takes longer.
    """
    spawn = get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_answer, args=(theirs, function, *given), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(seconds):
            raise NotMeasuredError(f"not done after {seconds:.0f} s")
        kind, value = ours.recv()
    except EOFError:
        raise NotMeasuredError("its process died") from None
    finally:
        process.kill()
        process.join()
    if kind == "error":
        raise NotMeasuredError(value)
    return value


def _answer(connection: Any, function: Callable, *given: Any) -> None:
    try:
        connection.send(("value", function(*given)))
    except Exception as error:
        connection.send(("error", f"{type(error).__name__}: {error}"))


def describe() -> Row:
    """This machine, as jax sees it."""
    devices = jax.local_devices()
    stats = devices[0].memory_stats() or {}
    packages = {}
    for package in PACKAGES:
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "backend": jax.default_backend(),
        "devices": [device.device_kind for device in devices],
        "platform": " ".join(devices[0].client.platform_version.split()),  # CUDA's version
        "bytes": stats.get("bytes_limit"),
        "cores": len(cores()),
        "python": sys.version.split()[0],
        "packages": packages,
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }


def show_machine(found: Row, console: Console) -> None:
    table = Table(box=SIMPLE_HEAD, show_header=False, title_justify="left", title="Machine")
    table.add_column()
    table.add_column(max_width=50)
    memory = "not said" if found["bytes"] is None else f"{found['bytes'] / 2**30:.1f} GiB"
    rows = {
        "devices": ", ".join(found["devices"]),
        "platform": found["platform"],
        "memory that jax may take, a device": memory,
        "cores": str(found["cores"]),
        "XLA_FLAGS": found["XLA_FLAGS"] or "none",
        "versions": ", ".join(
            f"{name} {of}" for name, of in ({"Python": found["python"]} | found["packages"]).items()
        ),
    }
    for row in rows.items():
        table.add_row(*row)
    console.print(table)


def tests(given: Given) -> Row:
    """The library's own tests: exactness, properties, derivatives, four dtypes."""
    if missing := device_tests.missing():
        raise NotMeasuredError(
            f"missing, for want of {', '.join(missing)} (pip install --group dev)"
        )
    found = device_tests.run(given.scale.tests, given.backend, given.out / "tests.txt", given.left)
    given.console.print(device_tests.make_table(found))
    return found


def speed(given: Given) -> list[Row]:
    """Cells a minute, by how many are trained side by side."""
    rows: list[Row] = []
    for index, hidden in enumerate(given.scale.hidden):
        seconds = given.left / (len(given.scale.hidden) - index)
        if seconds < LEAST_SECONDS:
            say(given.console, f"speed, {hidden} hidden units: skipped, no time is left for it")
            continue
        found = device_speed.measure(hidden, given.scale, given.backend, seconds)
        given.console.print(device_speed.make_table(found))
        rows += found
    return rows


def profile(given: Given) -> Row:
    """Where a step goes, and a trace of a chunk for xprof, at the fastest count found."""
    hidden = given.scale.hidden[0]
    cells = device_speed.best(given.found.get("speed", ()), hidden) or given.scale.cells[-1]
    folder = given.out / "trace"
    found = apart(device_speed.profiled, given.left, hidden, cells, given.scale.rounds, folder)
    given.console.print(device_speed.profile_table(found))
    say(given.console, f"The trace is in {folder}: xprof {folder} shows it (pip install xprof).")
    return found


def layers(given: Given) -> list[Row]:
    """Projection layers, by batch."""
    rows: list[Row] = []
    for batch in given.scale.batches:
        try:
            found = apart(projection_layers.measure, given.left, batch, 12, given.scale.rounds, 3)
        except NotMeasuredError as error:
            say(given.console, f"layers, a batch of {batch}: {error}")
            rows.append({"batch": batch, "missing": str(error)})
            continue
        given.console.print(projection_layers.make_table(found))
        rows += found
    return rows


def agree(given: Given) -> Row:
    """A sweep on CPU and on the device, cell by cell."""
    folders = agreement.sweeps(
        given.out / "agreement", given.scale.preset, given.scale.epochs, given.left
    )
    if isinstance(folders, str):
        raise NotMeasuredError(folders)
    found = agreement.compared(*folders)
    given.console.print(agreement.make_table(found))
    return found


class Section(NamedTuple):
    measure: Callable[[Given], Any]
    share: float  # of the time


SECTIONS = {
    "tests": Section(tests, 0.26),
    "speed": Section(speed, 0.38),
    "profile": Section(profile, 0.06),
    "layers": Section(layers, 0.1),
    "agreement": Section(agree, 0.2),
}


def measure(minutes: float, out: Path, chosen: Sequence[str], console: Console) -> dict[str, Any]:
    """Section by section; what they found, also in `device.json`."""
    ends = time.monotonic() + 60 * minutes
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"machine": apart(describe, 60 * minutes)}
    show_machine(found["machine"], console)
    backend = found["machine"]["backend"]
    scale = CPU if backend == "cpu" else ACCELERATOR
    if backend == "cpu":
        say(console, "No accelerator: what follows is a trial of this command on a CPU.")
    for index, name in enumerate(chosen):
        share = SECTIONS[name].share / sum(SECTIONS[one].share for one in chosen[index:])
        now = time.monotonic()
        given = Given(backend, scale, out, console, now + share * (ends - now), dict(found))
        try:
            if given.left < LEAST_SECONDS:
                raise NotMeasuredError("skipped, no time is left for it; give more --minutes")
            found[name] = SECTIONS[name].measure(given)
        except NotMeasuredError as error:
            say(console, f"{name}: {error}")
            found[name] = {"missing": str(error)}
        except Exception as error:  # the time on a device is short: the other sections go on
            say(console, f"{name}: failed, {type(error).__name__}: {error}")
            found[name] = {"error": traceback.format_exc()}
        store.write_json(out / "device.json", found)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.device", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="in all; default: 10")
    parser.add_argument("--out", type=Path, default=Path("results/device"))
    parser.add_argument(
        "--sections", type=names, default=tuple(SECTIONS), help=f"of {', '.join(SECTIONS)}"
    )
    options = parser.parse_args(arguments)
    console = make_console()
    # Several processes share the device's memory.
    quiet = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    try:
        for name in options.sections:
            choose("section", name, SECTIONS)
        with inherited(cores(), quiet):
            measure(options.minutes, options.out, options.sections, console)
    except (UsageError, NotMeasuredError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    say(console, f"{options.out}: device.json")
    return 0


if __name__ == "__main__":
    prepare_output()
    sys.exit(main())
