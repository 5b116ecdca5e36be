"""What takes too long is ended."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from experiments.training import limits
from experiments.training.limits import Ended, TooLong, ended_after


class OuterError(Ended):
    pass


def hang():
    time.sleep(600)


def hang_within(seconds):
    with ended_after(seconds):
        hang()


def test_what_hangs_is_ended_and_says_after_how_long():
    with pytest.raises(TooLong, match=r"^it took longer than 0\.05 seconds$"):
        hang_within(0.05)
    with pytest.raises(TooLong):
        hang_within(-3)  # what is left of a session may be less than nothing


def test_what_ends_in_time_or_has_no_limit_is_left_alone():
    before = signal.getsignal(signal.SIGALRM)
    for seconds in (600, None):
        with ended_after(seconds):
            pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_an_alarm_within_an_alarm_leaves_the_outer_one_as_it_was():
    def nested():
        with ended_after(0.3, OuterError):
            with suppress(TooLong):
                hang_within(0.05)
            hang_within(600)

    with pytest.raises(OuterError):
        nested()
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_an_alarm_that_is_lost_rings_again(monkeypatch):
    monkeypatch.setattr(limits, "AGAIN", 0.05)
    lost = []

    def lose():
        with ended_after(0.05):
            try:
                hang()
            except TooLong as error:
                lost.append(error)
            hang()

    with pytest.raises(TooLong):
        lose()
    assert len(lost) == 1


def test_in_another_thread_nothing_rings():
    def wait():
        with ended_after(1e-9):
            time.sleep(0.05)
            return "not ended"

    with ThreadPoolExecutor() as pool:
        assert pool.submit(wait).result() == "not ended"
