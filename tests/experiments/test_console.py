"""Output that cannot be written ends nothing."""

import io
import os
import runpy
import subprocess
import sys

import pytest

from experiments import console
from experiments.console import counted, make_console, trimmed
from experiments.console import say as say_here
from experiments.training import devices
from tests.sampled import sampled

SAY = """
import sys
from experiments.console import make_console, prepare_output, say
prepare_output()
for _ in range(2000):
    say(make_console(), "± \\udcff – lines enough to fill a pipe")
print("an error", file=sys.stderr)
make_console().rule("title")
open(sys.argv[1], "w").write("went on")
"""


def say(mark, within=(), **settings):
    return subprocess.Popen([*within, sys.executable, "-c", SAY, str(mark)], **settings)


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "mark"


@pytest.mark.parametrize("encoding", sampled(["ascii", "latin-1", "utf-8"], {"ascii"}))
def test_a_letter_that_an_encoding_lacks_is_a_code(mark, encoding):
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    with say(mark, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        printed, errors = process.communicate()
    assert process.returncode == 0
    assert errors.decode() == "an error\n"
    assert "\\udcff" in printed.decode(encoding)
    assert ("±" if encoding != "ascii" else "\\xb1") in printed.decode(encoding)
    assert mark.read_text() == "went on"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_disk_under_the_log_ends_nothing(mark, stream):
    with open("/dev/full", "w") as full:
        others = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with say(mark, **{**others, stream: full}) as process:
            printed, errors = process.communicate()
    assert process.returncode == 0
    assert mark.read_text() == "went on"
    if stream == "stdout":
        assert errors.decode() == "an error\n"
    else:
        assert printed.count(b"lines") == 2000


def test_a_reader_that_leaves_ends_nothing(mark):
    with say(mark, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 0
    assert errors.decode() == "an error\n"
    assert mark.read_text() == "went on"


FROM_PYTHON = """
import sys
from experiments.console import make_console, say
for _ in range(2000):
    say(make_console(), "± – lines enough to fill a pipe")
open(sys.argv[1], "w").write("went on")
"""


@pytest.mark.parametrize("end", sampled(["left", "full", "closed", "ascii"], {"left", "closed"}))
def test_a_console_of_a_script_that_prepared_nothing_ends_nothing(mark, end):
    environment = os.environ | ({"PYTHONIOENCODING": "ascii"} if end == "ascii" else {})
    within = ("sh", "-c", 'exec "$@" >&-', "sh") if end == "closed" else ()
    command = [*within, sys.executable, "-c", FROM_PYTHON, str(mark)]
    with open("/dev/full", "w") as full:
        out = full if end == "full" else subprocess.PIPE
        with subprocess.Popen(command, stdout=out, env=environment) as process:
            if end == "left":
                process.stdout.readline()
                process.stdout.close()
            elif end != "full":
                process.communicate()
    assert mark.read_text() == "went on"


def test_a_stream_that_is_no_file_ends_nothing_either(monkeypatch):
    class Lost(io.StringIO):
        def write(self, text):
            raise OSError("its reader is gone")

    monkeypatch.setattr(sys, "stdout", Lost())
    say_here(make_console(), "a line")
    monkeypatch.setattr(sys, "stdout", None)
    say_here(make_console(), "a line")


@pytest.mark.parametrize("number", sampled([1, 2], {1}))
def test_output_that_is_closed_ends_nothing(mark, number):
    with say(mark, within=("sh", "-c", f'exec "$@" {number}>&-', "sh")) as process:
        process.communicate()
    assert process.returncode == 0
    assert mark.read_text() == "went on"


def test_text_of_others_is_cut_to_one_line():
    assert trimmed("  a\nb \u2028 c\t") == "a b c"
    assert trimmed("x" * 99, 5) == "xxxx…"
    assert trimmed("\x1b[2J\u202e") == "\\x1b[2J\\u202e"
    assert len(trimmed("\x1b" * 10**6)) == 60
    assert trimmed("") == ""


COMMANDS = ["sweep", "report", "compare", "archive", "benchmark", "reproduce"]


@pytest.mark.filterwarnings("ignore:.* found in sys.modules")
def test_every_command_is_prepared(monkeypatch):
    called = []
    monkeypatch.setattr(console, "prepare_output", lambda: called.append(sys.argv[0]))
    monkeypatch.setattr(console, "say_warnings", lambda: None)
    for name in ("prepare", "use_all_cores"):
        monkeypatch.setattr(devices, name, lambda: None)
    for command in COMMANDS:
        monkeypatch.setattr(sys, "argv", [command, "--help"])
        with pytest.raises(SystemExit):
            runpy.run_module(f"experiments.{command}", run_name="__main__")
    assert called == COMMANDS


def test_one_of_something_is_no_plural():
    assert [counted(count, "seed") for count in (0, 1, 2)] == ["0 seeds", "1 seed", "2 seeds"]
