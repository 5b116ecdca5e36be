"""A share, a level or a distance: by hand, and whatever is missing."""

import numpy as np
import pytest

from experiments.analysis.rule import KINDS, fits, fitted, rule

RNG = np.random.default_rng(0)
SHAPE = 5, 4, 2
LOWER = RNG.uniform(-3, -1, SHAPE)
UPPER = RNG.uniform(1, 3, SHAPE)
SIDES = {"both": (LOWER, UPPER), "upper": (None, UPPER), "lower": (LOWER, None)}
TWO = np.array([0.2, 0.7])
MADE = {
    "share": {"both": LOWER + TWO * (UPPER - LOWER), "upper": TWO * UPPER, "lower": TWO * LOWER},
    "level": dict.fromkeys(SIDES, np.zeros(SHAPE) + TWO),
    "distance": {"both": UPPER - TWO, "upper": UPPER - TWO, "lower": LOWER + TWO},
}


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_made_of_a_constant_is_found(kind, sides):
    found = fitted(MADE[kind][sides], *SIDES[sides])
    np.testing.assert_allclose(found[kind].constants, TWO)
    errors = fits(MADE[kind][sides], *SIDES[sides])
    assert errors == {name: fit.error for name, fit in found.items()}
    assert errors[kind] < 1e-25
    assert min(errors[other] for other in KINDS if other != kind) > 1e-3
    assert rule(errors) == kind


def test_errors_are_those_of_least_squares():
    targets = RNG.normal(size=SHAPE)
    found = fitted(targets, LOWER, UPPER)
    given = {
        "share": lambda a: LOWER + a * (UPPER - LOWER),
        "level": lambda c: c,
        "distance": lambda d: UPPER - d,
    }
    for kind, (constants, error) in found.items():
        np.testing.assert_allclose(np.mean((targets - given[kind](constants)) ** 2), error)
        for other in (constants + np.array([0.01, 0]), constants - np.array([0, 0.01])):
            assert np.mean((targets - given[kind](other)) ** 2) > error
    np.testing.assert_allclose(found["level"].error, targets.var((0, 1)).mean())


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_the_unit_changes_no_rule(scale):
    targets = UPPER - RNG.uniform(0, 1, SHAPE)
    one, other = fits(targets, LOWER, UPPER), fits(*(scale * of for of in (targets, LOWER, UPPER)))
    for kind in KINDS:
        np.testing.assert_allclose(other[kind], scale**2 * one[kind])
    assert rule(other) == rule(one)


def test_a_share_of_one_bound_exists_where_that_has_one_sign_in_each_feature():
    two = UPPER * [1, -1]  # a sign of its own in each
    found = fitted([0.5, 2.0] * two, upper=two)["share"]
    np.testing.assert_allclose(found.constants, [0.5, 2])
    mixed = two.copy()
    mixed[0, 0, 0] = -1
    found = fitted([0.5, 2.0] * mixed, upper=mixed)
    assert np.isnan(found["share"].error)
    assert np.isnan(found["share"].constants).all()
    assert rule(fits(mixed, upper=mixed)) == "distance"
    assert not np.isnan(fits(mixed, mixed - 1, mixed)["share"]), "of two sides there is always one"


@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf])
def test_what_is_missing_or_without_a_bound_counts_nowhere(nothing):
    targets = UPPER - RNG.uniform(0, 1, SHAPE)
    upper, where = UPPER.copy(), np.ones(SHAPE, bool)
    known = targets.copy()
    upper[0], where[1], known[2] = nothing, False, np.nan
    known[1], upper[1, 0] = 1e9, np.nan
    expected = fits(targets[3:], LOWER[3:], UPPER[3:])
    found = fits(known, LOWER, upper, where)
    assert found == pytest.approx(expected)
    without = np.full(SHAPE, nothing)  # a side that is nowhere is none
    assert fits(targets, without, UPPER) == fits(targets, upper=UPPER)


def test_bounds_broadcast_and_may_be_numbers():
    targets = RNG.uniform(0, 2, SHAPE)
    expected = fits(targets, np.zeros(SHAPE), np.full(SHAPE, 2.0))
    assert fits(targets, 0, np.full((1, 1, 2), 2.0)) == expected


def test_of_kinds_that_fit_alike_the_level_is_taken():
    targets = RNG.uniform(0, 2, SHAPE)
    errors = fits(targets, 0.0, 2.0)  # constant bounds
    assert errors["share"] == pytest.approx(errors["level"])
    assert rule(errors) == "level"
    assert rule({"level": 1.0, "share": 1.0 - 1e-6, "distance": 2.0}) == "share"
    assert rule({"level": 0.0, "share": 0.0, "distance": 0.0}) == "level"


def test_without_a_bound_there_is_a_level_and_without_a_target_nothing():
    errors = fits(RNG.normal(size=SHAPE), None, np.inf)
    assert [kind for kind in KINDS if not np.isnan(errors[kind])] == ["level"]
    assert rule(errors) == "level"
    halves = np.where(np.arange(5)[:, None, None] < 2, np.nan, UPPER)
    others = np.where(np.arange(5)[:, None, None] < 2, LOWER, np.nan)
    for given in ((np.full(SHAPE, np.nan), LOWER, UPPER), (UPPER, others, halves)):
        found = fitted(*given)
        assert all(np.isnan(fit.error) for fit in found.values())
        assert rule(fits(*given)) is None


def test_a_feature_without_an_entry_or_an_interval_has_no_constant():
    where = np.broadcast_to([True, False], SHAPE)
    for kind in KINDS:
        constants, error = fitted(MADE[kind]["both"], LOWER, UPPER, where)[kind]
        np.testing.assert_allclose(constants, [0.2, np.nan])
        assert error < 1e-25
    flat = np.where([True, False], UPPER, LOWER)  # of no width
    share = fitted(flat + np.array([0.5, 0]), flat, UPPER)["share"]
    assert np.isnan(share.constants[0])
    np.testing.assert_allclose(share.error, 0.25 / 2)
