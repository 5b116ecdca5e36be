"""An end to what takes too long."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

SHORTEST = 1e-6  # seconds; of 0 the timer would take that it is switched off
_patience: ContextVar[float | None] = ContextVar("patience", default=None)


class Ended(BaseException):
    """What runs is ended from outside: no error of its own, which it could catch."""


class TooLong(Ended):
    """It takes more seconds than it may, which are the argument."""

    def __str__(self) -> str:
        return f"it took longer than {self.args[0]:g} seconds"


@contextmanager
def ended_after(seconds: float | None, ended: type[Ended] = TooLong) -> Iterator[None]:
    """Within, `ended(seconds)` is raised once they are over, unless what is around ends sooner.

    In the main thread alone, and between two steps of Python: what is compiled is not interrupted.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    around = signal.getitimer(signal.ITIMER_REAL)[0]
    if 0 < around < seconds:
        yield
        return

    def ring(*_: object) -> None:
        raise ended(seconds)

    before = signal.signal(signal.SIGALRM, ring)
    started = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, max(seconds, SHORTEST))
    try:
        yield
    finally:
        left = around and max(around - (time.monotonic() - started), SHORTEST)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, left)


@contextmanager
def patient(seconds: float | None) -> Iterator[None]:
    """Within, importing or tracing a strategy of the user's own may take so many seconds."""
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)


def patience() -> float | None:
    """The seconds of `patient`."""
    return _patience.get()
