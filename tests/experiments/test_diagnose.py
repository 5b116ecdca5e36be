"""`python -m experiments.diagnose`: what is printed and refused."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bounded import constraints, starts
from experiments import diagnose
from experiments.page import diagnosis
from experiments.training.strategies import TRAINED

pytestmark = pytest.mark.usefixtures("unoptimised")
OWN = (Path(__file__).parents[2] / "docs" / "own.md").read_text(encoding="utf-8")
RNG = np.random.default_rng(0)
SHAPE = 40, 6, 1
LOWER, UPPER = RNG.uniform(-3, -1, SHAPE), RNG.uniform(1, 3, SHAPE)
NOISE = RNG.uniform(-0.1, 0.1, SHAPE)


@pytest.fixture
def shown(monkeypatch, tmp_path, capsys):
    """What is printed of arrays."""
    monkeypatch.setattr(diagnose, "make_console", lambda: Console(width=80))
    monkeypatch.chdir(tmp_path)

    def of(**arrays):
        np.savez("mine.npz", **{"inputs": RNG.normal(size=(40, 6, 1)), **arrays})
        assert diagnose.main(["mine.npz"]) == 0
        text = capsys.readouterr().out
        assert max(map(len, text.splitlines())) <= 80
        return text

    return of


def told_start(text):
    return float(re.search(r"Begin at a last bias of (\S+), of", text)[1])


def training(array):
    return array[:28]  # 70 per cent, in order


def test_a_share_leads_to_the_intervals(shown):
    targets = LOWER + (0.7 + NOISE) * (UPPER - LOWER)
    text = shown(targets=targets, lower=LOWER, upper=UPPER)
    assert "mine: 40 windows of 6 steps, 1 feature\n" in text
    assert "A share fits best." in text
    assert re.search(r"share +l \+ a \(u - l\) +\S+  0\.[67]\d*\n", text)
    assert "need two bounds" not in text
    given = map(training, (targets, LOWER, UPPER))
    expected = starts.constant(constraints.tanh_interval, *map(np.float32, given))
    assert told_start(text) == pytest.approx(float(expected[0]), rel=1e-3)


def test_of_one_side_the_other_is_the_training_range(shown):
    targets = (0.5 + NOISE) * UPPER
    text = shown(targets=targets, upper=UPPER)
    assert "the lower one a sweep takes a constant, the smallest" in " ".join(text.split())
    given = (
        np.float32(training(of)) for of in (targets, np.full(SHAPE, targets[:28].min()), UPPER)
    )
    expected = starts.constant(constraints.tanh_interval, *given)
    assert told_start(text) == pytest.approx(float(expected[0]), rel=1e-3)
    text = shown(targets=(0.5 + NOISE) * LOWER, lower=LOWER)
    assert "the upper one a sweep takes a constant, the largest" in " ".join(text.split())


def test_a_level_leads_to_the_clips_and_begins_at_the_mean(shown):
    targets = 50 + NOISE
    text = shown(targets=targets, lower=LOWER - 100, upper=UPPER + 100)
    assert "A level fits best." in text
    assert told_start(text) == pytest.approx(targets[:28].mean(), rel=1e-3)


def test_a_distance_leads_to_the_offsets_in_the_datas_unit(shown):
    upper = 100 * UPPER
    targets = upper - 20 - 100 * NOISE
    text = shown(targets=targets, lower=upper - 200 - LOWER, upper=upper, unit="[red]W")
    assert "1 feature, in [red]W\n" in text
    assert "A distance fits best." in text
    assert "They hold the upper bound alone." in text
    temperature = float(re.search(r"temperature=(\S+)\.\n", text)[1])
    assert temperature == pytest.approx(np.sqrt(np.mean(targets[:28] ** 2)), rel=1e-3)
    offset = partial(constraints.softplus_offset, temperature=temperature)
    given = (np.float32(training(of)) for of in (targets, upper))
    expected = starts.constant(offset, next(given), upper=next(given))
    assert told_start(text) == pytest.approx(float(expected[0]), rel=1e-2)
    assert "They hold" not in shown(targets=targets, upper=upper)


def test_targets_on_and_beyond_each_bound_are_counted_in_training_and_test(shown):
    targets = 0.5 * (LOWER + UPPER)
    targets[:7, :, 0] = UPPER[:7, :, 0]  # a quarter of training
    targets[34:37] = LOWER[34:37] - 1  # half of the test
    targets[0, 0], targets[20, :3] = UPPER[0, 0] + 1, np.nan
    text = shown(targets=targets, lower=LOWER, upper=UPPER)
    found = dict(re.findall(r"^  ((?:on|beyond) \w+) +(\S+ % +\S+) %$", text, re.MULTILINE))
    known = 28 * 6 - 3
    assert {name: [float(of) for of in row.split(" % ")] for name, row in found.items()} == {
        "on lower": [0, 0],
        "beyond lower": [0, 50],
        "on upper": [round(100 * 41 / known, 1), 0],
        "beyond upper": [round(100 * 1 / known, 1), 0],
    }


def test_a_side_that_has_no_bound_in_a_split_has_no_share(shown):
    upper = UPPER.copy()
    upper[34:] = np.inf
    text = shown(targets=LOWER, upper=upper, lower=LOWER - 1)
    assert re.search(r"on upper +0\.0 % +–\n", text)


def test_that_a_share_does_not_exist_and_that_sums_are_left_out_is_said(shown):
    upper = UPPER - 2
    text = shown(targets=upper - 1 - NOISE, upper=upper, sum_upper=np.full(SHAPE, 9.0))
    assert re.search(r"share +a u +–  none: the bound changes sign\n", text)
    assert "The bounds of the features' sum are not looked at." in text


def test_many_features_are_cut(shown):
    targets = np.repeat(LOWER - 1, 6, axis=2)
    text = shown(targets=targets, upper=targets + 1 + np.repeat(NOISE, 6, axis=2))
    assert text.count(", …") == 3 + 1


def test_a_side_that_is_infinite_throughout_is_none(shown):
    text = shown(targets=LOWER + 1 + NOISE, lower=LOWER, upper=np.full(SHAPE, np.inf))
    assert re.search(r"share +a l .*\n.*\n +distance +l \+ d +\S+  [01]\.\d+\n", text)
    assert "They hold" not in text


def test_bounds_that_never_meet_say_so(shown):
    first = np.arange(40)[:, None, None] % 2 == 0
    text = shown(
        targets=0 * LOWER + NOISE,
        lower=np.where(first, LOWER, -np.inf),
        upper=np.where(first, np.inf, UPPER),
    )
    assert "No training target has all the bounds: nothing is compared." in text
    assert "Begin" not in text


def test_the_page_shows_what_is_printed(shown, capsys):
    exec(re.search(r"```python\n(.*?)```", OWN, re.DOTALL)[1], {})
    assert diagnose.main(["prices.npz"]) == 0
    assert f"```console\n{capsys.readouterr().out}```" in OWN


def test_a_name_of_the_table_will_do_and_what_is_no_dataset_is_refused(shown, capsys, tmp_path):
    assert diagnose.main(["wind"]) == 0
    assert "wind: 197 windows" in capsys.readouterr().out
    (tmp_path / "text.npz").write_text("no arrays")
    for name, said in (
        ("absent.npz", "absent.npz: no such file."),
        ("text.npz", "not a readable .npz"),
        ("wnd", "Did you mean 'wind'?"),
    ):
        assert diagnose.main([name]) == 2
        assert said in capsys.readouterr().err


def test_the_strategies_that_are_named_are_of_the_table():
    for kind, text in diagnosis.ADVICE.items():
        named = set(re.findall(r"\w+_\w+|\bclip\b(?=,)", text))
        assert named <= set(TRAINED)
        assert diagnosis.BEGUN[kind] in named
