"""When a session ends."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from experiments.console import say


class Over(BaseException):
    """The session ends within a batch."""


@dataclass
class Watch:
    """When a session is over: by Ctrl-C, by a failure, or after so many minutes."""

    minutes: float | None
    interrupted: bool = False
    stopped: bool = False
    started: float = field(default_factory=time.monotonic)

    def is_over(self) -> bool:
        spent = time.monotonic() - self.started
        late = self.minutes is not None and spent > 60 * self.minutes
        return self.interrupted or self.stopped or late

    @contextmanager
    def over_interrupts(self, console: Console) -> Iterator[None]:
        """Within, the first Ctrl-C is noted; the second interrupts."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(*_: Any) -> None:
            self.interrupted = True
            signal.signal(signal.SIGINT, before)
            until = "the present chunk is done, or each worker's batch"
            say(console, f"stopping once {until}; Ctrl-C again: at once.")

        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
