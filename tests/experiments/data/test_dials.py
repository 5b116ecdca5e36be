from dataclasses import fields, replace

import numpy as np
import pytest

from experiments.data.catalogue import DATASETS
from experiments.data.datasets import load
from experiments.data.dials import DIALS, SETTINGS, STEPS, TEST, VALIDATION, Setting, made, said
from experiments.usage import UsageError

BASE = made(Setting())
TRAINED, TESTED = BASE["split"] == 0, BASE["split"] == 2


def of(dial):
    """Value and arrays of every setting of a dial."""
    return [(value, made(SETTINGS[name])) for value, name in DIALS[dial].items()]


def reached(arrays, split):
    rows = arrays["split"] == split
    return 100 * np.mean(arrays["targets"][rows] == arrays["upper"][rows])


def same(arrays, *keys):
    for key in keys:
        np.testing.assert_array_equal(arrays[key], BASE[key])


def test_every_dial_turns_one_thing_and_has_the_base_among_its_values():
    assert list(DIALS) == [field.name for field in fields(Setting)]
    for dial, names in DIALS.items():
        assert 4 <= len(names) <= 5
        for value, name in names.items():
            assert SETTINGS[name] == replace(Setting(), **{dial: value})
        assert names[getattr(Setting(), dial)] == "dial_base"
    assert DIALS["on_bound"][60] == "dial_on_bound_60"
    assert DIALS["follows"][0.99] == "dial_follows_0_99"
    rows = {name for name, entry in DATASETS.items() if entry.role == "dial"}
    assert rows == SETTINGS.keys()
    assert len({said(setting) for setting in SETTINGS.values()}) == len(SETTINGS)


def test_the_base_has_steps_inputs_and_a_capacity_above_zero():
    assert BASE["inputs"].shape == (1000 + VALIDATION + TEST, STEPS, 5)
    np.testing.assert_array_equal(np.bincount(BASE["split"]), [1000, VALIDATION, TEST])
    np.testing.assert_array_equal(BASE["inputs"][..., :1], BASE["upper"])
    for name, setting in SETTINGS.items():
        assert made(setting)["upper"].min() > 0, name


def test_as_many_demands_reach_the_capacity_as_is_said():
    for value, arrays in of("on_bound"):
        whole = 100 * np.mean(arrays["targets"] == arrays["upper"])
        assert whole == pytest.approx(value, abs=0.01)
        for split in range(3):
            assert reached(arrays, split) == pytest.approx(value, abs=3)
        np.testing.assert_array_equal(arrays["inputs"][..., 1:], BASE["inputs"][..., 1:])
    least = (of("on_bound")[0][1]["upper"] - of("on_bound")[0][1]["targets"]).min()
    assert least == pytest.approx(1)


def test_the_first_windows_are_trained_on_and_the_others_stay():
    for value, arrays in of("windows"):
        assert np.sum(arrays["split"] == 0) == value
        for key in ("inputs", "targets", "upper"):
            np.testing.assert_array_equal(arrays[key][: int(value)], BASE[key][: int(value)])
            held = arrays["split"] != 0
            np.testing.assert_array_equal(arrays[key][held], BASE[key][~TRAINED])


def test_a_bound_that_follows_leaves_less_room_and_is_reached_as_often():
    rooms = []
    for value, arrays in of("follows"):
        same(arrays, "split")
        np.testing.assert_array_equal(arrays["inputs"][..., 1:], BASE["inputs"][..., 1:])
        assert 100 * np.mean(arrays["targets"] == arrays["upper"]) == pytest.approx(30, abs=0.01)
        above = arrays["upper"] - arrays["targets"]
        rooms.append(np.median(above[above > 0]) / BASE["targets"].std())
        # Of what no input tells, the bound tells nothing: below it, what is left is the noise.
        if value == 1:
            left = (arrays["targets"] - arrays["upper"])[above > 0]
            assert np.std(left) < 0.5
    np.testing.assert_allclose(rooms, [1.62, 1.25, 0.71, 0.54, 0.52], atol=0.01)


def test_noise_is_on_the_targets_that_are_learnt_from_some_of_which_lie_beyond_the_bound():
    for value, arrays in of("label_noise"):
        same(arrays, "inputs", "upper", "split")
        noise = (arrays["targets"] - BASE["targets"])[~TESTED]
        deviation = value * BASE["targets"][TRAINED].std()
        assert noise.std() == pytest.approx(deviation, rel=0.02)
        np.testing.assert_array_equal(arrays["targets"][TESTED], BASE["targets"][TESTED])
    noisy = [arrays["targets"][TRAINED] for _, arrays in of("label_noise")]
    beyond = [np.mean(targets > BASE["upper"][TRAINED]) for targets in noisy]
    np.testing.assert_allclose(beyond, [0, 0.17, 0.19, 0.24, 0.31], atol=0.01)


def test_the_bound_is_tightened_in_the_test_split_alone():
    for value, arrays in of("test_bound"):
        np.testing.assert_allclose(arrays["upper"][TESTED], value * BASE["upper"][TESTED])
        for key in ("inputs", "targets", "upper"):
            np.testing.assert_array_equal(arrays[key][~TESTED], BASE[key][~TESTED])
        cut = np.minimum(BASE["targets"], arrays["upper"])
        np.testing.assert_array_equal(arrays["targets"], cut)
    shares = [reached(arrays, 2) for _, arrays in of("test_bound")]
    np.testing.assert_allclose(shares, [82, 55, 43, 32], atol=1)


def test_a_dial_may_break_bounds_where_it_is_learnt_from_and_nowhere_else(monkeypatch):
    noisy = load("dial_label_noise_1")
    outside = noisy.targets > noisy.upper
    assert noisy.infeasible == outside.mean() > 0.1
    assert not outside[noisy.split == 2].any()
    name = "dial_label_noise_1"
    arrays = made(SETTINGS[name])
    first = np.flatnonzero(arrays["split"] == 2)[0]
    arrays["targets"][first, 2] = arrays["upper"][first, 2] + 0.5
    monkeypatch.setitem(DATASETS, name, replace(DATASETS[name], load=lambda: arrays))
    with pytest.raises(UsageError, match=f"upper: 1 targets .* by up to 0.5 1; .* window {first}"):
        load(name)
