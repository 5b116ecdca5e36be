"""What a sweep shows while it runs: a display on a terminal, elsewhere a line a cell."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from experiments.cells import UNTRAINED, Record
from experiments.console import counted, printable, say
from experiments.running.team import Lot


class _Bar(Progress):
    """With the present place on a line of its own."""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(task.fields["place"], overflow="ellipsis", no_wrap=True)


class Display:
    """Cells done, failed and left; the present dataset and epoch; throughput; time left."""

    def __init__(self, console: Console, bar: Progress, cells: int, epochs: int):
        self._console, self._bar = console, bar
        self._cells, self._done, self._failed = cells, 0, 0
        self._finished, self._batch = 0, 0  # cells times epochs
        self._place, self._waiting, self._each = "", False, 1
        self._task = bar.add_task("", total=max(epochs, 1), counts="", place="", speed="")
        self._show()

    def begin(self, lot: Lot, cells: int, epochs: int) -> None:
        """A batch begins: of which dataset and backbone, how many cells, how many epochs each."""
        place = printable(f"{lot.dataset} {lot.backbone}")
        text = place if place == self._place else f"{place}, compiling"
        if lot.backbone == UNTRAINED:
            text = printable(f"{lot.dataset} baselines")
        elif text != place and not self._console.is_terminal:
            say(self._console, text)
        self._place, self._of, self._batch = place, (cells, epochs), 0
        self._waiting = False
        self._bar.update(self._task, place=text)

    def wait(self) -> None:
        """There is no worker; said once."""
        if not self._waiting:
            say(self._console, "no worker is there; waiting for one to join. Ctrl-C stops.")
        self._waiting = True

    def advance(self, epochs: int) -> None:
        """So many cells times epochs of the batch that began last are done."""
        self._batch += epochs
        cells, of = self._of
        text = f"{self._place}, epoch {self._batch // cells} of {of}"
        self._bar.update(self._task, completed=self._finished + self._batch, place=text)

    def side_by_side(self, cells: int) -> None:
        """So many cells each device trained at once; said when that changes."""
        if cells != self._each:
            say(self._console, f"{self._place}: {counted(cells, 'cell')} side by side on a device.")
        self._each = cells

    def finished(self, record: Record) -> None:
        """The end of a cell."""
        self._done += record.is_done
        self._failed += not record.is_done
        self._finished += record.cell.epochs
        self._batch = 0
        self._show()
        if not record.is_done:
            say(self._console, f"failed  {record.cell}: {record.error}")
        elif not self._console.is_terminal:
            say(self._console, f"done    {record.cell}")

    def end(self) -> None:
        """Nothing runs any more."""
        self._bar.update(self._task, place="")

    def _show(self) -> None:
        left = self._cells - self._done - self._failed
        counts = f"{self._done} done, {self._failed} failed, {left} left"
        elapsed = self._bar.tasks[0].elapsed or 0
        cells = self._done + self._failed
        speed = f"{60 * cells / elapsed:.0f} cells/min" if elapsed and cells else ""
        done = self._finished + self._batch
        self._bar.update(self._task, completed=done, counts=counts, speed=speed)


@contextmanager
def display(console: Console, cells: int, epochs: int) -> Iterator[Display]:
    """A display of that many cells and cells times epochs; no bar where there is no terminal."""
    columns = (
        SpinnerColumn("line"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[counts]}"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        TextColumn("to go"),
    )
    with _Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        shown = Display(console, bar, cells, epochs)
        yield shown
        shown.end()
