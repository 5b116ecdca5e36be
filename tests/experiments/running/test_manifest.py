"""What a manifest says of the machine and the checkout."""

import subprocess
from pathlib import Path

import pytest

from experiments.running import manifest
from experiments.running.plan import Layout
from experiments.running.presets import PRESETS


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel name\t: Some Model: 3\nmodel name\t: other\n", "Some Model: 3"),
        ("Processor\t: 0\n", "a kind"),
        (None, "a kind"),
    ],
)
def test_a_processor_is_named_by_its_model_where_that_is_known(monkeypatch, cpuinfo, name):
    def read(path, encoding):
        assert str(path) == "/proc/cpuinfo"
        if cpuinfo is None:
            raise FileNotFoundError
        return cpuinfo

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(manifest.platform, "processor", lambda: "")
    monkeypatch.setattr(manifest.platform, "machine", lambda: "a kind")
    assert manifest._processor() == name


def test_results_leave_a_checkout_clean_and_other_files_do_not(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "ROOT", tmp_path)

    def is_dirty():
        return manifest.begin({}, PRESETS["smoke"], Layout({}, {}, (), "final", {}, ()), "here")[
            "dirty"
        ]

    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "results" / "mine").mkdir(parents=True)
    (tmp_path / "results" / "mine" / "summary.csv").write_text("")
    assert not is_dirty()
    (tmp_path / "strategy.py").write_text("")
    assert is_dirty()
