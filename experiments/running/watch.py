"""When a session ends."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from rich.console import Console

from experiments.console import say
from experiments.training.limits import Ended

EXIT_SECONDS = 10  # for a process to end
LAST_SECONDS = 300  # for what runs on workers when --minutes are over


class Over(Ended):
    """The session ends within a batch."""


@dataclass
class Watch:
    """When a session is over: by Ctrl-C, by a failure, or after so many minutes."""

    minutes: float | None
    interrupted: bool = False
    stopped: bool = False
    started: float = field(default_factory=time.monotonic)

    def left(self) -> float | None:
        """Seconds until --minutes are over."""
        if self.minutes is None:
            return None
        return 60 * self.minutes - (time.monotonic() - self.started)

    def is_over(self) -> bool:
        left = self.left()
        return self.interrupted or self.stopped or (left is not None and left < 0)

    def wait_no_longer(self) -> None:
        """Raise Over, once --minutes are over and what still ran then has had its time."""
        left = self.left()
        if left is not None and left < -LAST_SECONDS:
            raise Over

    @contextmanager
    def over_interrupts(self, console: Console) -> Iterator[None]:
        """Within, the first Ctrl-C is noted; the second interrupts."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        # By a thread of its own: a signal may come in the middle of another print.
        texts: SimpleQueue[str | None] = SimpleQueue()
        speaker = threading.Thread(target=_say_all, args=(console, texts))

        def note(*_: Any) -> None:
            self.interrupted = True
            signal.signal(signal.SIGINT, before)
            until = "the present chunk is done, or each worker's batch"
            texts.put(f"stopping once {until}; Ctrl-C again: at once.")

        speaker.start()
        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
            texts.put(None)
            speaker.join()


def _say_all(console: Console, texts: SimpleQueue[str | None]) -> None:
    for text in iter(texts.get, None):
        say(console, text)


def end_soon(status: int) -> None:
    """End this process, if it does not do so by itself: Python waits for threads, and JAX for
    callbacks, and one of a strategy that hangs never comes back. There is nothing to interrupt."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    timer = threading.Timer(EXIT_SECONDS, os._exit, [status])
    timer.daemon = True
    timer.start()
