import pytest
from rich.console import Console

from experiments.data.catalogue import DATASETS
from experiments.running.listing import list_choices
from experiments.running.presets import PRESETS
from experiments.training.baselines import BASELINES
from experiments.training.strategies import COUPLED, TRAINED
from tests.sampled import sampled


@pytest.mark.parametrize("width", sampled([80, 120], {80}))
def test_what_can_be_named_is_listed_whole(width, capsys):
    for table in list_choices():
        Console(width=width).print(table)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    first = {line.split()[0] for line in lines if line.strip()}
    assert {*PRESETS, *TRAINED, *COUPLED, *BASELINES, *DATASETS} <= first
    assert "…" not in "".join(lines)
