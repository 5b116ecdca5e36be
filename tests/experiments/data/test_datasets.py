import re
import zipfile

import numpy as np
import pytest

from experiments.data.arrays import content_hash
from experiments.data.build import CONTENT_SHA256
from experiments.data.catalogue import DATASETS, ROLES
from experiments.data.checks import is_forecast
from experiments.data.datasets import MAY_BREAK, SPLITS, load
from experiments.data.windows import BASEFLOW_FILTER, FOLDER, baseflow, cut, parking
from experiments.usage import UsageError


@pytest.mark.parametrize("build", CONTENT_SHA256, ids=lambda build: build.__name__)
def test_shipped_arrays_are_those_that_build_makes(build):
    with np.load(FOLDER / f"{build.__name__}.npz") as file:
        assert content_hash(dict(file)) == CONTENT_SHA256[build]


def test_content_hash_sees_values_names_and_shapes():
    one = np.arange(4)
    hashes = {
        content_hash(arrays)
        for arrays in ({"a": one}, {"b": one}, {"a": one + 1}, {"a": one.reshape(2, 2)})
    }
    assert len(hashes) == 4


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_keeps_its_promises(name):
    dataset = load(name)
    windows, steps, _ = dataset.targets.shape
    assert dataset.inputs.shape[:2] == (windows, steps) or is_forecast(dataset.part("train"))
    assert dataset.inputs.dtype == dataset.targets.dtype == np.float32
    assert dataset.sides()
    holds = {}
    for side, sign in (("upper", 1), ("lower", -1)):
        bound = getattr(dataset, side)
        if bound is not None:
            assert bound.shape == dataset.targets.shape
            holds[side] = (sign * dataset.targets <= sign * bound).all()
    assert all(holds.values()) == (dataset.infeasible == 0)
    assert dataset.infeasible == 0 or dataset.role in MAY_BREAK
    training = dataset.part("train")["targets"]
    np.testing.assert_allclose(np.sqrt(np.mean(training.astype(float) ** 2)), 1, rtol=1e-5)
    shares = np.bincount(dataset.split, minlength=3) / windows
    few_days = name == "wind"
    if dataset.role != "dial":
        np.testing.assert_allclose(shares, [0.7, 0.15, 0.15], atol=0.04 if few_days else 0.02)
    same = dataset.upper is not None and np.array_equal(dataset.targets, dataset.upper)
    assert same == (dataset.role == "autoencoder")
    assert load(name).hash == dataset.hash
    assert dataset.role in ROLES


def test_household_is_as_described():
    dataset = load("household")
    slack = (dataset.upper[..., 0] - dataset.targets.sum(-1)) * dataset.scale
    assert slack.min() == pytest.approx(5.4, rel=1e-3)
    np.testing.assert_array_equal(dataset.lower, 0)


def test_hourly_household_sums_the_ten_minutes():
    fine, coarse = load("household"), load("household_hourly")
    summed = (fine.targets * fine.scale).reshape(-1, 24, 6, 3).sum(axis=2)
    np.testing.assert_allclose(summed, coarse.targets * coarse.scale, rtol=1e-4, atol=1e-3)


def test_temperatures_go_below_zero():
    dataset = load("dew_point")
    assert 0.05 < (dataset.upper < 0).mean() < 0.15


@pytest.mark.parametrize(
    "name",
    [
        "daily_temperature",
        "streamflow",
        "parking",
        "wind_farm",
        "employment",
        "cyclones",
        "baseball",
        "gasoline",
        "crime",
        "hourly_temperature",
        "exchange_rate",
    ],
)
def test_every_split_is_like_the_others(name):
    """Drawn by chance, the test split of the few blocks of a series was early summer alone."""
    dataset = load(name)
    means = [dataset.part(split)["targets"].mean() for split in SPLITS]
    assert max(means) < 1.3 * min(means)


def test_sites_are_halves_of_irradiance_and_airports_parts_of_dew_point():
    both = load("irradiance")
    sites = [load(f"diffuse_{name}") for name in ("greensboro", "sand_point")]
    rejoined = np.concatenate([site.targets * np.float64(site.scale) for site in sites])
    np.testing.assert_allclose(rejoined, both.targets * np.float64(both.scale), rtol=1e-6)
    airports = [load(f"dew_point_{code}") for code in ("ewr", "jfk", "lga")]
    assert sum(len(dataset.inputs) for dataset in airports) == len(load("dew_point").inputs)


def test_a_soiled_sensor_reads_low_on_whole_days_and_breaks_a_few_bounds():
    right, wrong = load("irradiance"), load("irradiance_soiled")
    ratio = (wrong.upper * wrong.scale).sum((1, 2)) / (right.upper * right.scale).sum((1, 2))
    np.testing.assert_allclose(np.unique(ratio.round(3)), [0.8, 1.0])
    assert 0.03 < wrong.infeasible < 0.06
    np.testing.assert_array_equal(wrong.targets, right.targets)
    assert wrong.standards["inputs"][1] < right.standards["inputs"][1]  # the mean


def test_a_car_park_that_counts_too_many_cars_is_full_once_repaired():
    repaired, raw = load("parking"), load("parking_raw")
    cars, counted = (dataset.targets * dataset.scale for dataset in (repaired, raw))
    np.testing.assert_allclose(cars, np.minimum(counted, raw.upper * raw.scale), rtol=1e-5)
    assert 0.005 < raw.infeasible < 0.02


def test_a_car_park_is_known_by_its_places_and_by_the_others_that_day():
    with np.load(FOLDER / "parking.npz") as file:
        day, places, cars = file["day"], file["places"].astype(float), file["cars"].astype(float)
    others = (day == day[0]) & (np.arange(len(day)) > 0)
    inputs = parking(repaired=False)["inputs"]
    np.testing.assert_array_equal(inputs[0, :, 0], places[0])
    filled = cars[others, :, 0].sum(axis=0) / places[others].sum()
    np.testing.assert_allclose(inputs[0, :, 1], filled, rtol=1e-12)


def test_turbines_make_together_what_their_plant_makes():
    dataset, closed = load("wind_farm"), load("closure_wind_farm")
    assert dataset.sides() == ("lower", "upper", "sum_upper")
    assert len(dataset.columns) == dataset.targets.shape[2]
    np.testing.assert_array_equal(closed.sum_lower, closed.sum_upper)
    total = dataset.targets.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(total, dataset.sum_upper, atol=1e-5)
    np.testing.assert_array_equal(dataset.upper, dataset.sum_upper.repeat(4, axis=2))


def test_the_baseflow_filter_is_the_formula_written_out():
    flow = np.array([1.0, 3.0, 2.0, 1.5, 5.0])

    def one_pass(flow):
        quick, base = [0.0], [flow[0]]
        for now, before in zip(flow[1:], flow[:-1], strict=True):
            quick.append(BASEFLOW_FILTER * quick[-1] + (1 + BASEFLOW_FILTER) / 2 * (now - before))
            base.append(max(0.0, now - max(quick[-1], 0.0)))
        return np.array(base)

    expected = one_pass(one_pass(one_pass(flow)[::-1])[::-1])
    np.testing.assert_allclose(baseflow(flow), expected, rtol=1e-12)
    assert (baseflow(flow) <= flow).all()
    np.testing.assert_array_equal(baseflow(np.full(4, 2.0)), np.full(4, 2.0))


def test_no_day_of_a_cut_series_is_in_two_splits():
    found, split = cut(np.arange(1000.0)[:, None])
    days = [set(found[split == part].ravel()) for part in range(3)]
    assert set.union(*days) == set(range(988))
    assert sum(map(len, days)) == 988
    np.testing.assert_array_equal(np.diff(found, axis=1), 1)


def test_series_of_several_features_are_cut_alike():
    both = np.arange(180).reshape(90, 2)
    found, split = cut(both, steps=12, every=3, block=18)
    assert found.shape == (5 * 3, 12, 2)
    assert split.shape == (15,)
    np.testing.assert_array_equal(found[4], both[21:33])


def test_hours_lie_between_lowest_and_highest_of_their_six():
    arrays = DATASETS["hourly_temperature"].load()
    with np.load(FOLDER / "hourly_temperature.npz") as file:
        day = file["temperature"][3, :, 0].astype(float)
        dew_point = file["dew_point"][3, :, 0]
    lowest = np.repeat([day[start : start + 6].min() for start in (0, 6, 12, 18)], 6)
    np.testing.assert_array_equal(arrays["lower"][3, :, 0], lowest)
    np.testing.assert_array_equal(arrays["targets"][3, :, 0], day)
    read = np.stack([lowest, arrays["upper"][3, :, 0], dew_point], axis=-1)
    np.testing.assert_array_equal(arrays["inputs"][3], read)
    spans = arrays["targets"].reshape(-1, 6)
    np.testing.assert_array_equal(spans.max(axis=1), arrays["upper"].reshape(-1, 6)[:, 5])


def test_days_lie_between_lowest_and_highest_of_their_week():
    arrays = DATASETS["exchange_rate"].load()
    with np.load(FOLDER / "exchange_rate.npz") as file:
        weeks = file["rates"][2:6] / 1e5  # of the second window
    dollars = weeks[..., 0]
    np.testing.assert_array_equal(arrays["targets"][1, :, 0], dollars.ravel())
    np.testing.assert_array_equal(arrays["lower"][1, :, 0], dollars.min(axis=1).repeat(5))
    np.testing.assert_array_equal(arrays["upper"][1, :, 0], dollars.max(axis=1).repeat(5))
    both_ends = np.concatenate([arrays["lower"][1], arrays["upper"][1]], axis=-1)
    np.testing.assert_array_equal(arrays["inputs"][1, :, :2], both_ends)
    middle = (weeks.min(axis=1) + weeks.max(axis=1)) / 2
    away = 100 * (weeks[2, 4] / middle[2] - 1)
    np.testing.assert_allclose(arrays["inputs"][1, 14, 2:], away[1:])


@pytest.mark.parametrize(
    ("name", "width", "deviation", "on_either"),
    [("hourly_temperature", 4.35, 12.2, 0.57), ("exchange_rate", 0.0139, 0.150, 0.405)],
)
def test_intervals_are_narrow_beside_the_spread_of_the_targets(name, width, deviation, on_either):
    lower, target, upper = (DATASETS[name].load()[key] for key in ("lower", "targets", "upper"))
    assert (upper - lower).mean() == pytest.approx(width, rel=0.01)
    assert target.std() == pytest.approx(deviation, rel=0.01)
    on = (target == lower) | (target == upper)
    assert on.mean() == pytest.approx(on_either, abs=0.005)


def test_other_currencies_explain_half_of_where_in_its_week_the_dollar_is():
    arrays = DATASETS["exchange_rate"].load()
    middle = (arrays["lower"] + arrays["upper"]) / 2
    away = (100 * (arrays["targets"] / middle - 1)).ravel()
    others = arrays["inputs"][..., 2:].reshape(len(away), -1)
    left = away - others @ np.linalg.lstsq(others, away)[0]
    assert 1 - (left**2).sum() / (away**2).sum() == pytest.approx(0.5, abs=0.03)


def test_every_sector_has_a_part_of_its_own():
    dataset = load("employment")
    assert len(dataset.columns) == dataset.targets.shape[2] == 3
    assert (np.ptp(dataset.upper, axis=2) > 0).all()
    share = dataset.targets / dataset.upper
    assert 0.45 < share.min() < share.max() < 0.85


def test_a_cyclone_is_in_one_split():
    with np.load(FOLDER / "cyclones.npz") as file:
        storm = file["storm"]
    split = load("cyclones").split
    assert all(len(set(split[storm == one])) == 1 for one in np.unique(storm))


def test_hits_of_three_kinds_are_some_of_all():
    dataset = load("baseball")
    assert len(dataset.columns) == dataset.targets.shape[2] == 3
    singles = (dataset.sum_upper - dataset.targets.sum(axis=-1, keepdims=True)) * dataset.scale
    np.testing.assert_allclose(singles, singles.round(), atol=1e-3)
    assert singles.min() > -1e-3
    assert singles.max() > 200


def test_a_state_is_in_one_split_and_its_crimes_are_some_of_all():
    dataset, arrays = load("crime"), DATASETS["crime"].load()
    assert arrays["inputs"].shape[2] == 1
    assert len(dataset.columns) == dataset.targets.shape[2] == 2
    np.testing.assert_array_equal(arrays["sum_upper"], arrays["inputs"])
    np.testing.assert_array_equal(arrays["upper"], arrays["inputs"].repeat(2, axis=2))
    by_state = dataset.split.reshape(50, -1)
    np.testing.assert_array_equal(by_state, np.broadcast_to(by_state[:, :1], by_state.shape))
    with np.load(FOLDER / "crime.npz") as file:
        np.testing.assert_array_equal(arrays["inputs"][-1], file["violent"][-1, 9:21] / 10)


def test_what_is_made_stands_beside_what_is_supplied():
    arrays = DATASETS["gasoline"].load()
    with np.load(FOLDER / "gasoline.npz") as file:
        weeks = {name: values.tolist() for name, values in file.items()}
    second = slice(2, 2 + 12)  # the window two weeks on
    np.testing.assert_array_equal(arrays["inputs"][1, :, 0], weeks["products"][second])
    np.testing.assert_array_equal(arrays["inputs"][1, :, 1], weeks["made"][second])
    np.testing.assert_array_equal(arrays["targets"][1, :, 0], weeks["gasoline"][second])
    assert arrays["upper"].shape == arrays["targets"].shape


def user_arrays(**changes):
    inputs = np.linspace(0, 1, 20 * 4 * 1).reshape(20, 4, 1) + 1
    arrays = {"inputs": inputs, "targets": inputs / 2, "upper": inputs}
    return {key: value for key, value in {**arrays, **changes}.items() if value is not None}


def write(folder, **changes):
    path = folder / "mine.npz"
    np.savez(path, **user_arrays(**changes))
    return str(path)


def test_a_users_file_is_dealt_in_order(tmp_path):
    dataset = load(write(tmp_path))
    np.testing.assert_array_equal(dataset.split, [0] * 14 + [1] * 3 + [2] * 3)
    assert dataset.sides() == ("upper",)
    split = np.array([2, 1] + [0] * 18)
    np.testing.assert_array_equal(load(write(tmp_path, split=split)).split, split)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": None}, "needs inputs, targets, and upper and/or lower"),
        ({"upper": None}, "needs inputs, targets, and upper and/or lower"),
        ({"inputs": np.ones((20, 4))}, r"inputs must be numbers of shape .*got float64 of shape"),
        (
            {"targets": np.ones((19, 4, 1))},
            "as many windows as inputs, 20, got 19",
        ),
        ({"targets": np.ones((20, 5, 1))}, r"upper must have shape \(20, 5, 1\)"),
        ({"upper": np.ones((20, 4, 2))}, r"upper must have shape \(20, 4, 1\), or one that broad"),
        ({"uper": np.ones(1)}, "Unknown array of .*mine.npz 'uper'. Did you mean 'upper'"),
        ({"Split": np.ones(1)}, "Did you mean 'split'"),
        (
            {"future": np.ones((20, 3, 1))},
            "future must have the targets' windows and steps",
        ),
        ({"lengths": np.full(20, 5)}, "lengths must be 20 whole numbers from 1 to 4"),
        ({"lengths": np.full(20, 2.0)}, "lengths must be whole numbers, got float64"),
        ({"lengths": np.zeros(0, int)}, r"lengths must be 20 whole numbers .* shape \(0,\)"),
        ({"columns": ["a", "b"]}, r"columns must name the features of targets, \(1,\)"),
        ({"columns": "a", "targets": np.ones((20, 4))}, "columns must name the features"),
        ({"unit": "a\nb"}, "unit must be a text of 1 to 80 characters"),
        ({"title": 3}, "title must be a text"),
        (
            {"columns": np.array(["a"], object)},
            r"mine.npz: .*columns is .* numpy.asarray\(columns, str",
        ),
        ({"times": np.zeros((20, 4))}, "times must be texts or datetime64 of shape"),
        ({"split": np.arange(20)}, "split must be 20 of 0"),
        ({"split": np.zeros(20, int)}, "leave no window for validation and test"),
        (
            {"upper": user_arrays()["inputs"] * 0.4},
            r"break their bounds\. upper: 80 targets \(100 %\), by up to 0\.2; first at window 0",
        ),
        (
            {
                "targets": np.ones((20, 4, 1), np.uint8),
                "lower": np.full((20, 4, 1), 2, np.uint8),
                "upper": None,
            },
            "lower: 80 targets",
        ),
        ({"targets": np.zeros((20, 4, 1))}, "root mean square is 0"),
        ({"targets": np.full((20, 4, 1), np.nan)}, "all targets of feature 0 are missing in train"),
        ({"inputs": np.array([["a"]])}, "must be numbers"),
        ({"inputs": np.full((20, 4, 1), np.inf)}, "inputs is inf at window 0, step 0, feature 0"),
        (
            {"inputs": np.repeat([0, 1e300], [14, 6])[:, None, None] * np.ones((20, 4, 1))},
            "some inputs are beyond float32",
        ),
        (
            {"inputs": user_arrays()["inputs"] * 1e200},
            "standard deviation of feature 0 of inputs is inf",
        ),
        (
            {"future": user_arrays()["inputs"] * 1e-200},
            "standard deviation of feature 0 of future is 0.0",
        ),
        ({"targets": user_arrays()["targets"] * 1e200, "upper": np.inf}, "mean square is inf"),
        ({"targets": user_arrays()["targets"] * 1e100, "upper": np.inf}, "mean square is .*e[+]99"),
        ({"targets": user_arrays()["targets"] * 1e-42}, "mean square is .*e-43"),
    ],
)
def test_a_users_file_that_cannot_be_used_is_refused(tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        load(write(tmp_path, **changes))


def test_every_broken_bound_is_told_at_once(tmp_path):
    whole = user_arrays()["inputs"]
    targets = np.concatenate([whole / 4, whole / 4], axis=-1)
    given = {"targets": targets, "upper": np.broadcast_to(whole, targets.shape), "unit": "USD"}
    dataset = load(write(tmp_path, **given, sum_upper=whole))
    assert dataset.sides() == ("upper", "sum_upper")
    np.testing.assert_allclose(dataset.sum_upper * dataset.scale, whole, rtol=1e-6)
    targets[7, 2, 1] = whole[7, 2, 0] + 2.5
    message = (
        r"upper: 1 targets \(0\.625 %\), by up to 2\.5 USD; first at window 7, step 2, feature 1: "
        r".* "
        r"sum_upper: 1 sums of targets \(1\.25 %\), by up to .* USD; first at window 7, step 2: "
    )
    with pytest.raises(UsageError, match=message):
        load(write(tmp_path, **given, sum_upper=whole))
    with pytest.raises(UsageError, match=r"sum_upper must have shape \(20, 4, 1\)"):
        load(write(tmp_path, **given, sum_upper=targets))


def test_inputs_are_standardised_feature_by_feature_and_targets_keep_one_factor(tmp_path):
    rng = np.random.default_rng(0)
    inputs = rng.normal([0, 3e6, 5], [1, 1e3, 0], (20, 4, 3))
    given = {"inputs": inputs, "future": np.full((20, 4, 1), 7.0)}
    dataset = load(write(tmp_path, **given))
    train = dataset.part("train")
    np.testing.assert_allclose(train["inputs"].mean((0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(train["inputs"].std((0, 1)), [1, 1, 0], rtol=1e-5)
    np.testing.assert_array_equal(dataset.future, 0)
    deviation, mean = dataset.standards["inputs"]
    np.testing.assert_allclose(dataset.inputs * deviation + mean, inputs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dataset.targets * dataset.scale, user_arrays()["targets"], rtol=1e-6)


def test_bounds_broadcast_to_the_targets(tmp_path):
    dataset = load(write(tmp_path, lower=0, upper=np.full((20, 1, 1), 3.0)))
    assert dataset.lower.shape == dataset.upper.shape == dataset.targets.shape
    np.testing.assert_allclose(dataset.upper * dataset.scale, 3, rtol=1e-6)


def test_missing_targets_count_nowhere(tmp_path):
    targets = user_arrays()["targets"].copy()
    upper = user_arrays()["upper"].copy()
    targets[3, 1] = targets[19, 0] = upper[3, 1] = np.nan
    dataset = load(write(tmp_path, targets=targets, upper=upper))
    np.testing.assert_array_equal(dataset.where, ~np.isnan(targets))
    assert dataset.targets[3, 1] == dataset.targets[19, 0] == 0
    assert dataset.upper[3, 1] == dataset.upper[3, 0]
    training = targets[:14][~np.isnan(targets[:14])]
    assert dataset.scale == pytest.approx(np.sqrt(np.mean(training**2)))
    assert dataset.target_range()["lower"] * dataset.scale == pytest.approx(training.min())
    upper[4, 1] = np.nan
    with pytest.raises(UsageError, match="upper is nan at window 4, step 1, feature 0"):
        load(write(tmp_path, targets=targets, upper=upper))
    assert load(write(tmp_path)).where is None


def test_a_missing_bound_is_what_it_last_was_so_that_it_moves_no_maximum(tmp_path):
    targets, upper, lower = (np.ones((20, 4, 1)) for _ in range(3))
    upper[:], lower[:] = np.arange(2, 6)[:, None], 0
    for window, steps in ((0, [1, 2]), (1, [0]), (2, [0, 1, 2, 3]), (3, [2, 3])):
        targets[window, steps] = upper[window, steps] = lower[window, steps] = np.nan
    lengths = np.array([4, 4, 4, 3] + [4] * 16)
    dataset = load(write(tmp_path, targets=targets, upper=upper, lower=lower, lengths=lengths))
    expected = [[2, 2, 2, 5], [3, 3, 4, 5], [np.inf] * 4, [2, 3, 3, 3], [2, 3, 4, 5]]
    np.testing.assert_array_equal(dataset.upper[:5, :, 0], expected)
    np.testing.assert_array_equal(dataset.lower[2], -np.inf)
    assert not np.delete(dataset.lower, 2, axis=0).any()


def test_a_padded_window_is_scaled_as_the_window(tmp_path):
    plain = load(write(tmp_path))
    arrays = user_arrays()
    for key, beyond in {"inputs": np.nan, "targets": 9.0, "upper": 8.0}.items():
        arrays[key] = np.concatenate([arrays[key], np.full((20, 2, 1), beyond)], axis=1)
    padded = load(write(tmp_path, **arrays, lengths=np.full(20, 4)))
    for key in ("inputs", "targets", "upper"):
        np.testing.assert_array_equal(getattr(padded, key)[:, :4], getattr(plain, key))
    assert not padded.where[:, 4:].any()
    assert padded.where[:, :4].all()
    np.testing.assert_array_equal(padded.inputs[:, 4:], 0)
    np.testing.assert_array_equal(padded.upper[:, 4:], plain.upper[:, 3:].repeat(2, axis=1))
    assert padded.scale == plain.scale


def test_a_forecast_has_steps_of_its_own(tmp_path):
    given = {"targets": np.ones((20, 6, 1)), "upper": 2.0, "lengths": np.full(20, 3)}
    dataset = load(write(tmp_path, **given))
    assert is_forecast(dataset.part("train"))
    assert dataset.where is None  # only the inputs are padded
    assert not is_forecast(load(write(tmp_path)).part("train"))
    ahead = load(write(tmp_path, future=np.ones((20, 4, 2))))
    assert is_forecast(ahead.part("train"))


def test_names_come_with_the_arrays(tmp_path):
    days = np.arange("2018-03-05", 80, dtype="datetime64[D]").reshape(20, 4)
    named = {"columns": ["open"], "unit": "USD", "title": "Prices", "group": "stocks"}
    dataset = load(write(tmp_path, **named, times=days))
    assert (dataset.name, dataset.unit, dataset.title) == ("mine", "USD", "Prices")
    assert (dataset.columns, dataset.group) == (("open",), "stocks")
    assert dataset.times.astype(str)[0, 1] == "2018-03-06"
    plain = load(write(tmp_path))
    assert (plain.group, plain.columns, plain.times) == ("mine", (), None)
    assert plain.hash == dataset.hash  # which is of what decides numbers


@pytest.mark.parametrize(
    ("unit", "step", "second"),
    [
        ("M", "M", "2018-04"),
        ("ns", "D", "2018-03-02"),
        ("us", "h", "2018-03-01T01:00"),
        ("h", "h", "2018-03-01T01"),
        ("ms", "s", "2018-03-01T00:00:01"),
    ],
)
def test_times_are_told_without_digits_that_say_nothing(tmp_path, unit, step, second):
    times = np.datetime64("2018-03", step) + np.arange(80).reshape(20, 4)
    dataset = load(write(tmp_path, times=times.astype(f"datetime64[{unit}]")))
    assert dataset.times[0, 1] == second


def test_other_units_are_other_data(tmp_path):
    """Metrics of the user's own, and what is saved, are in the dataset's unit."""
    plain = load(write(tmp_path))
    twice = {key: 2 * user_arrays()[key] for key in ("targets", "upper")}
    other = load(write(tmp_path, **twice))
    np.testing.assert_array_equal(plain.targets, other.targets)
    assert plain.hash != other.hash


def test_a_file_called_as_a_dataset_of_the_table_is_refused(tmp_path):
    np.savez(tmp_path / "wind.npz", **user_arrays())
    with pytest.raises(UsageError, match="would be called wind, as a dataset of the table is"):
        load(str(tmp_path / "wind.npz"))


def test_the_parts_of_irradiance_make_the_whole():
    dataset = load("closure_greensboro")
    assert dataset.role == "coupled"
    assert dataset.targets.shape[2] == 2
    np.testing.assert_array_equal(dataset.sum_lower, dataset.sum_upper)
    total = dataset.targets.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(total, dataset.sum_upper, atol=1e-6)
    assert (dataset.targets >= 0).all()
    diffuse = load("diffuse_greensboro")
    scale = dataset.scale / diffuse.scale
    np.testing.assert_allclose(dataset.targets[..., :1] * scale, diffuse.targets, rtol=1e-5)


def test_broken_bounds_are_kept_where_that_is_allowed_and_their_share_is_told(tmp_path):
    targets = user_arrays()["inputs"] / 2
    targets[7, 2, 0] = targets[8, 0, 0] = 9
    dataset = load(write(tmp_path, targets=targets), allow_infeasible=True)
    assert dataset.infeasible == 2 / 80
    assert load(write(tmp_path)).infeasible == 0


def test_files_that_are_no_arrays_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        load(str(tmp_path / "absent.npz"))
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(UsageError, match="not a readable .npz .*no zip archive"):
        load(str(tmp_path / "text.npz"))
    np.save(tmp_path / "single.npy", np.ones(3))
    (tmp_path / "single.npy").rename(tmp_path / "single.npz")
    with pytest.raises(UsageError, match="not a readable .npz"):
        load(str(tmp_path / "single.npz"))
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as file:
        file.writestr("inputs", "no array")
    with pytest.raises(UsageError, match="members that are no arrays"):
        load(str(tmp_path / "zip.npz"))
    np.savez(tmp_path / "object.npz", inputs=np.array([{}], object))
    with pytest.raises(UsageError, match="not a readable .npz"):
        load(str(tmp_path / "object.npz"))


def test_an_unknown_name_lists_the_names_and_the_nearest():
    with pytest.raises(
        UsageError, match=r"Did you mean 'irradiance'\? Valid names: household_hourly"
    ):
        load("iradiance")


def test_archives_are_pinned():
    assert {path.stem for path in FOLDER.glob("*.npz")} == {f.__name__ for f in CONTENT_SHA256}
    _, *packages = (FOLDER / "packages.txt").read_text(encoding="utf-8").splitlines()
    assert len(packages) == 12
    for package in packages:
        assert re.fullmatch(r"[\w-]+==[\d.]+ --hash=sha256:[0-9a-f]{64}", package)
    assert SPLITS == ("train", "validation", "test")
