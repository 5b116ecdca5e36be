"""What a terminal of 80 columns shows while a sweep runs."""

import io
import re

from rich.console import Console

from experiments.cells import UNTRAINED, Cell, Record
from experiments.running.progress import display
from experiments.running.team import Lot


def test_compiling_epochs_and_the_end_are_shown_on_80_columns():
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, legacy_windows=False)
    lot = Lot("irradiance_autoencoder", "conditioned", ("clip",))
    cell = Cell(lot.dataset, "", "final", "clip", lot.backbone, 0, training={"epochs": 50})

    def shown():
        (task,) = bar.tasks
        return task.fields["place"]

    with display(console, 1000, 50_000) as found:
        bar = found._bar
        found.begin(lot, 2, 50)
        assert shown() == "irradiance_autoencoder conditioned, compiling"
        found.advance(10)
        assert shown() == "irradiance_autoencoder conditioned, epoch 5 of 50"
        found.finished(Record(cell))
        found.begin(lot, 2, 50)
        assert shown() == "irradiance_autoencoder conditioned", "which is compiled"
        found.begin(lot._replace(backbone=UNTRAINED), 3, 0)
        assert shown() == "irradiance_autoencoder baselines"
        bar.refresh()
    assert shown() == ""
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue()).replace("\r", "\n").split("\n")
    assert any("1 done, 0 failed, 999 left" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_how_many_cells_a_device_trains_side_by_side_is_said_once():
    console = Console(file=io.StringIO(), width=80)
    with display(console, 10, 500) as found:
        found.begin(Lot("wind", "mlp", ("clip",)), 8, 50)
        for each in (1, 512, 512, 256):
            found.side_by_side(each)
    said = re.findall("[0-9]+ cells.*", console.file.getvalue())
    assert said == [f"{each} cells side by side on a device." for each in (512, 256)]
