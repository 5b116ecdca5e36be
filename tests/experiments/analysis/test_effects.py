"""Errors relative to another strategy's: paired by seed, with the errors of seeds and blocks."""

import math

import numpy as np
import pytest

from experiments.analysis import effects, study
from experiments.analysis.effects import AGAINST, Run, effect
from experiments.cells import UNTRAINED
from tests.experiments import written


def runs_of(mse, blocks=None, starts=None):
    """By seed."""
    blocks = [None] * len(mse) if blocks is None else blocks
    starts = [True] * len(mse) if starts is None else starts
    return dict(enumerate(map(Run, mse, blocks, starts)))


def test_ratios_are_of_the_same_seed():
    one, other = runs_of([2.0, 8.0, 3.0]), runs_of([1.0, 2.0])
    found = effect(one, other)
    assert found.seeds == 2
    assert found.value == pytest.approx(math.log(2 * 4) / 2)
    assert found.median == pytest.approx(found.value)
    assert found.error == pytest.approx(math.log(2) / 2)  # of two the half of their distance
    assert (found.over, found.degrees) == ("seeds", 1)
    half = 12.7062 * found.error
    assert found.interval == pytest.approx((found.value - half, found.value + half), rel=1e-4)
    assert effect(one, {7: Run(1.0, None, True)}) is None


def test_a_seed_alone_has_no_error():
    found = effect(runs_of([2.0]), runs_of([1.0]))
    assert (found.error, found.degrees, found.over) == (0.0, 0, "–")
    assert np.isnan(found.interval).all()


def test_runs_that_do_not_start_count_and_are_told_apart():
    one = runs_of([100.0, 1.0, 1.0], starts=[False, True, True])
    other = runs_of([1.0, 1.0, 2.0])
    found = effect(one, other)
    assert found.value == pytest.approx((math.log(100) - math.log(2)) / 3)
    assert found.started == pytest.approx(-math.log(2) / 2)
    assert found.median == 0
    assert math.isnan(effect(runs_of([1.0], starts=[False]), runs_of([1.0])).started)


def blocked(generator, seeds=8, blocks=12, of_seeds=0.0, of_blocks=0.0, of_both=0.0):
    """Two strategies' errors by seed and block, whose log ratio varies with each."""
    ratio = (
        generator.normal(0, of_seeds, (seeds, 1))
        + generator.normal(0, of_blocks, (1, blocks))
        + generator.normal(0, of_both, (seeds, blocks))
    )
    one = runs_of([1.0] * seeds, list(np.exp(ratio)))
    return one, runs_of([1.0] * seeds, list(np.ones((seeds, blocks))))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"of_seeds": 0.1}, 0.01 / 8),
        ({"of_blocks": 0.1}, 0.01 / 12),
        ({"of_seeds": 0.1, "of_blocks": 0.1}, 0.01 / 8 + 0.01 / 12),
    ],
)
def test_the_error_is_that_of_seeds_and_of_blocks(given, expected):
    """On average over made data; a little wide, for 8 seeds widen blocks too."""
    generator = np.random.default_rng(0)
    found = [effect(*blocked(generator, **given)) for _ in range(60)]
    assert {one.over for one in found} == {"seeds and blocks"}
    assert {one.degrees for one in found} == {7}
    variance = np.mean([one.error**2 for one in found])
    assert 0.85 < variance / expected < 1.25


def test_what_belongs_to_pairs_of_seed_and_block_counts_at_most_thrice():
    generator = np.random.default_rng(0)
    found = [effect(*blocked(generator, of_both=0.1)) for _ in range(60)]
    ratio = np.mean([one.error**2 for one in found]) / (0.01 / 96)
    assert 2 < ratio < 3.5


def test_the_same_blocks_are_drawn_for_both():
    """Blocks differ much in difficulty, strategies by the same factor on each: no error."""
    level = np.exp(np.random.default_rng(0).normal(0, 2, 10))
    one = runs_of([2.0] * 4, [2 * level] * 4)
    other = runs_of([1.0] * 4, [level] * 4)
    assert effect(one, other).error == pytest.approx(0, abs=1e-12)


def test_an_error_is_the_same_each_time():
    one, other = blocked(np.random.default_rng(0), of_seeds=0.1, of_both=0.3)
    assert effect(one, other) == effect(one, other)


def test_without_blocks_of_every_run_the_error_is_over_seeds_alone():
    one, other = blocked(np.random.default_rng(0), of_blocks=0.1)
    for odd in (None, np.ones(5), np.float64(3.0), np.ones((2, 2))):
        changed = {**one, 3: Run(1.0, odd, True)}
        assert effect(changed, other).over == "seeds"
    single = {seed: Run(1.0, run.blocks[:1], True) for seed, run in one.items()}
    others = {seed: Run(1.0, run.blocks[:1], True) for seed, run in other.items()}
    assert effect(single, others).over == "seeds"


def test_blocks_without_a_target_are_left_out():
    one, other = blocked(np.random.default_rng(0), of_seeds=0.2)
    holed = {}
    for seed, run in one.items():
        blocks = run.blocks.copy()
        blocks[2] = np.nan
        holed[seed] = Run(run.mse, blocks, True)
    found = effect(holed, other)
    assert found.over == "seeds and blocks"
    assert 0 < found.error < 1


def test_a_group_is_the_mean_of_its_datasets():
    first = effect(runs_of([2.0, 4.0]), runs_of([1.0, 1.0]))
    second = effect(runs_of([1.0, 1.0, 4.0]), runs_of([1.0, 1.0, 1.0]))
    found = effects.together([first, second])
    assert found.value == pytest.approx((first.value + second.value) / 2)
    assert found.error == pytest.approx(math.hypot(first.error, second.error) / 2)
    assert (found.degrees, found.seeds, found.over) == (1, 2, "seeds")
    assert effects.together([first]) == first


def test_of_records_the_finished_ones_with_an_error_count():
    records = [
        written.record("clip", "wind", seed=0, mse=2.0, gradient_dead_fraction=1.0),
        written.record("clip", "wind", seed=1, mse=None),
        written.record("clip", "wind", seed=2, error="diverged"),
        written.record("clip", "wind", seed=3, mse=0.0),
        written.record("clip", "wind", seed=4, phase="tune"),
    ]
    blocks = {records[0].id: np.ones(3)}
    found = effects.runs(records, blocks)
    (run,) = found["clip", "wind", "bottleneck"].values()
    assert (run.mse, run.starts, len(run.blocks)) == (2.0, False, 3)


def test_relative_to_what_is_compared_with_on_its_own_backbone():
    records = [
        written.record(name, dataset, backbone, seed, mse=mse)
        for dataset in ("wind", "flights", "sines")
        for backbone, by_name in {
            "bottleneck": {AGAINST: 1.0, "clip": 2.0},
            "conditioned": {AGAINST: 1.0, "clip": 4.0},
        }.items()
        for name, mse in by_name.items()
        for seed in range(2)
    ]
    records += [written.record("climatology_clipped", name, mse=8.0) for name in ("wind", "sines")]
    groups = {"wind": "air", "flights": "air"}
    found = effects.relative(effects.runs(records, {}), "conditioned", groups)
    values = {name: {group: one.value for group, one in of.items()} for name, of in found.items()}
    assert values == {
        AGAINST: {"air": 0.0},
        "clip": {"air": pytest.approx(math.log(4))},
        "climatology_clipped": {"air": pytest.approx(math.log(8))},
    }
    assert found["climatology_clipped"]["air"].seeds == 2
    assert not effects.relative(effects.runs(records, {}), UNTRAINED, groups)


def test_the_share_that_never_starts_counts_a_group_once():
    shares = {"wind": 0.0, "flights": 1.0, "bikeshare": 1.0}
    records = [
        written.record("clip", name, seed=seed, gradient_dead_fraction=dead if seed else 0.0)
        for name, dead in shares.items()
        for seed in range(2)
    ]
    groups = {"wind": "one", "flights": "one", "bikeshare": "other"}
    found = effects.never_starting(effects.runs(records, {}), "bottleneck", groups)
    assert found == {"clip": pytest.approx((0.25 + 0.5) / 2)}


def test_a_study_finds_the_blocks_among_the_arrays_of_its_records():
    records = written.sweep(["wind"], [AGAINST, "clip"], seeds=3)
    arrays = {one.id: {"block_mse": np.array([0.2, 0.4]), "other": np.ones(1)} for one in records}
    with_blocks = study.read({}, records, arrays=arrays)
    assert with_blocks.relative["bottleneck"]["clip"]["wind"].over == "seeds and blocks"
    assert study.read({}, records).relative["bottleneck"]["clip"]["wind"].over == "seeds"
