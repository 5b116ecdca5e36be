"""When a session ends."""

import os
import signal
import subprocess
import sys

import pytest
from rich.console import Console

from experiments.running.watch import Over, Watch

INTERRUPT = """
import signal
from rich.console import Console
from experiments.running.watch import Watch

class Interrupted(Console):
    "Interrupted in the middle of its first print."
    def print(self, *texts, **options):
        global first
        if first:
            first = False
            with self._lock:
                signal.raise_signal(signal.SIGINT)
                super().print("in the middle")
        super().print(*texts, **options)

first, watch, console = True, Watch(None), Interrupted()
with watch.over_interrupts(console):
    console.print("the end")
assert watch.interrupted and watch.is_over()
"""


def test_an_interrupt_in_the_middle_of_a_print_is_said_after_it():
    found = subprocess.run(
        [sys.executable, "-c", INTERRUPT], capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 0, found.stderr
    first, *others = found.stdout.splitlines()
    assert first == "in the middle"
    said = "stopping once the present chunk is done, or each worker's batch; Ctrl-C again: at once."
    assert sorted(others) == [said, "the end"]


def test_the_second_interrupt_interrupts_and_the_handler_is_put_back():
    before, session = signal.getsignal(signal.SIGINT), Watch(None)

    def interrupt_twice():
        with session.over_interrupts(Console(quiet=True)):
            os.kill(os.getpid(), signal.SIGINT)
            assert session.interrupted
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interrupt_twice()
    assert signal.getsignal(signal.SIGINT) is before


def test_minutes_are_counted_by_a_clock_that_nobody_sets_back(monkeypatch):
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert Watch(None).left() is None
    assert 59 < Watch(1).left() <= 60
    late = Watch(1e-9)
    while not late.is_over():
        pass
    late.wait_no_longer()
    monkeypatch.setattr("experiments.running.watch.LAST_SECONDS", -1)
    with pytest.raises(Over):
        late.wait_no_longer()


ENDLESS = """
import sys, threading, time
from experiments.running import watch
watch.EXIT_SECONDS = 0.5
threading.Thread(target=time.sleep, args=(600,)).start()
watch.end_soon(int(sys.argv[1]))
sys.exit(int(sys.argv[1]))
"""


@pytest.mark.parametrize("status", [0, 1])
def test_a_process_that_waits_for_a_thread_at_its_end_is_ended_with_its_status(status):
    found = subprocess.run([sys.executable, "-c", ENDLESS, str(status)], timeout=60)
    assert found.returncode == status
