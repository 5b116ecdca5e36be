"""Strategies of the user's own with a schedule, a state or a penalty, in a module of theirs."""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bounded import constraints
from experiments.data.datasets import load
from experiments.running.fingerprints import of_strategy, shapes_of
from experiments.training import strategy_rows
from experiments.training.cell import Settings
from experiments.training.own_strategies import check_fit, resolve
from experiments.training.runner import first_bias
from experiments.training.strategies import TRAINED
from experiments.training.strategy_rows import BOTH
from experiments.training.users_code import known
from experiments.usage import UsageError

RAW, UPPER = np.array([[[-1.0], [0.5]], [[1.0], [0.2]]], "f")[:, None]
SETTINGS = Settings(hidden=4, epochs=2, batch=8, batches_per_epoch=2)
HEAD = """
from functools import partial
import jax, jax.numpy as jnp
from bounded import constraints, penalties
from experiments.training.strategy_rows import Strategy, constraint_row, penalty_row
def hinge(raw, lower, upper, progress, state, hyper):
    return hyper[0] * penalties.hinge(raw, lower, upper)
def free(raw, lower, upper, progress, state, hyper):
    return raw, 0
def clip(raw, lower, upper, hyper):
    return constraints.clip(raw, lower, upper)
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A module of the user's, and its strategies by name."""
    monkeypatch.chdir(tmp_path)

    def put(source, name="row"):
        (tmp_path / "rows.py").write_text(HEAD + source)
        monkeypatch.delitem(sys.modules, "rows", raising=False)
        return f"rows:{name}"

    return put


def docstrings_row():
    """What the docstring of `strategy_rows` shows."""
    lines = strategy_rows.__doc__.split("mine:annealed`:\n\n")[1].split("\n\n`begins_through`")[0]
    return "\n".join(line.removeprefix("    ") for line in lines.splitlines())


def test_the_row_that_the_docstring_shows_does_what_it_says(write):
    name = write(docstrings_row(), "annealed")
    row = resolve(name)
    assert (row.name, row.own, row.grid) == (name, True, {"floor": (0.03, 0.01, 0.1)})
    check_fit(row, load("irradiance"), [8])
    hyper = np.array([0.1, 0, 0], "f")

    @jax.jit
    def found(progress, temperature):
        output, penalty = row.train(RAW, None, UPPER, progress, None, hyper)
        expected = constraints.smooth_clip(RAW, upper=UPPER, temperature=temperature)
        return output, penalty, expected, row.evaluate(RAW, None, UPPER, hyper)

    for progress, temperature in ((0.0, 1.0), (0.5, 0.1**0.5), (1.0, 0.1)):
        output, penalty, expected, evaluated = found(progress, temperature)
        np.testing.assert_allclose(output, expected, rtol=1e-6)
        assert penalty == 0
    np.testing.assert_array_equal(output, evaluated)
    part = {
        **dict.fromkeys(("lower", "sum_lower", "sum_upper", "where")),
        "targets": RAW,
        "upper": UPPER,
    }
    ranges = dict.fromkeys(BOTH, np.zeros(1, "f"))
    first = TRAINED["annealed_smooth_clip"]
    both = ((row, hyper), (first, np.array([1.0, 0.1, 0], "f")))
    begun = jax.jit(lambda: [first_bias(of, part, ranges, values) for of, values in both])
    np.testing.assert_allclose(*begun())


def test_a_penalty_that_goes_by_a_state_fits(write):
    source = """
def train(raw, lower, upper, progress, state, hyper):
    return raw, jnp.mean(state[None] * jnp.maximum(raw - upper, 0))
def update(state, raw, lower, upper, hyper):
    return state + jnp.mean(raw, axis=0)
row = Strategy("any", train, clip, update=update)
"""
    row = resolve(write(source))
    check_fit(row, load("irradiance"), [8, 3])
    updated = jax.jit(row.update)(np.ones((1, 1), "f"), np.ones((3, 1, 1), "f"), 0, 0, 0)
    np.testing.assert_array_equal(updated, [[2]])


def test_hyperparameters_override_a_rows_own_and_keep_their_places(write):
    name = write('row = penalty_row(hinge, "", "", "", grid={"weight": (1.0, 2.0), "b": (3.0,)})')
    row = resolve(f"{name}(b=[4,5])")
    assert row.grid == {"weight": (1.0, 2.0), "b": (4.0, 5.0)}
    assert list(row.hyper(row.hyperparameters)) == [1, 4, 0]
    with pytest.raises(UsageError, match=r"hyperparameter of .* 'wait'.* Did you mean 'weight'"):
        resolve(f"{name}(wait=1)")
    with pytest.raises(UsageError, match="has no hyperparameters, got weight"):
        resolve(write("row = constraint_row(constraints.clip, '', '')") + "(weight=1)")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('Strategy("", free, clip, sides="upper")', "its sides must be a tuple .* got 'upper'"),
        ('Strategy("", free, clip, needs=("above",))', r"its needs must be a tuple .*\('above',\)"),
        ('Strategy("", free, None)', "its evaluate must be a function, got None"),
        ('Strategy("", free, clip, grid={"a": 0.1})', "tuple of numbers for a, .* got 0.1"),
        ('Strategy("", free, clip, grid={"a": ()})', "tuple of numbers for a"),
        (
            'Strategy("", free, clip, grid=dict.fromkeys("abcd", (1.0,)))',
            "may have 3 hyperparameters, got a, b, c, d",
        ),
    ],
)
def test_a_row_that_is_none_is_refused_by_name(write, row, message):
    with pytest.raises(UsageError, match=f"Strategy 'rows:row' cannot be trained: .*{message}"):
        resolve(write(f"row = {row}"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "Strategy('', lambda *of: of[0], clip)",
            r"train must give \(output, penalty\), got float",
        ),
        (
            "Strategy('', lambda raw, *of: (raw[0], 0), clip)",
            "in training it must give .*32, 24, 1",
        ),
        ("Strategy('', lambda raw, *of: (raw, raw[0]), clip)", r"its penalty must be .* \(24, 1\)"),
        ("Strategy('', free, lambda raw, *of: raw[0])", "evaluated it must give"),
        ("Strategy('', free, clip, update=lambda s, *of: s[0])", r"its update must give .* \(1,\)"),
        (
            "Strategy('', free, clip, begins_through=lambda *of: 0)",
            "begins_through must give a",
        ),
        ("Strategy('', free, clip, begins_through=lambda of: of)", "takes 1 positional"),
        (
            "Strategy('', lambda raw, l, u, p, *of: (raw if p < 1 else -raw, 0), clip)",
            "boolean",
        ),
        ("constraint_row(constraints.half_tanh, '', '')", "does not fit household_hourly"),
    ],
)
def test_a_row_that_cannot_be_trained_says_what_came(write, row, message):
    dataset = load("household_hourly" if "half" in row else "irradiance")
    with pytest.raises(UsageError, match=message):
        check_fit(resolve(write(f"row = {row}")), dataset, [32])


def test_a_penalty_may_be_one_value_an_entry(write):
    source = "row = Strategy('', lambda raw, l, u, *of: (raw, jnp.maximum(raw - u, 0)), clip)"
    check_fit(resolve(write(source)), load("irradiance"), [32])


def test_sides_and_sums_are_those_that_a_row_declares(write):
    source = """
def constraint(raw, lower, upper):
    assert lower is None and upper.shape == (*raw.shape[:2], 1), (lower, upper)
    return raw
row = constraint_row(constraint, "", "", coupled=True, sides=())
upper = constraint_row(constraints.half_tanh, "", "", sides=("upper",), needs=("upper",))
"""
    check_fit(resolve(write(source)), load("household_hourly"), [8])
    check_fit(resolve(write(source, "upper")), load("household_hourly"), [8])


def test_a_function_with_progress_is_given_it(write):
    source = """
def cooled(raw, lower=None, upper=None, *, progress, hottest=1.0):
    return constraints.smooth_clip(raw, lower, upper, temperature=hottest * 0.1 ** progress)
"""
    row = resolve(write(source, "cooled") + "(hottest=[1,2])")
    check_fit(row, load("irradiance"), [8])

    @jax.jit
    def found(progress, hyper):
        begins = row.begins_through(None, UPPER, hyper)
        evaluated = row.evaluate(RAW, None, UPPER, hyper)
        trained, _ = row.train(RAW, None, UPPER, progress, None, hyper)
        return trained, evaluated, begins(RAW, None, UPPER)

    smooth = jax.jit(partial(constraints.smooth_clip, RAW, upper=UPPER))
    for progress, temperature in ((0.0, 2.0), (1.0, 0.2)):
        trained, evaluated, begun = found(progress, np.array([2.0], "f"))
        np.testing.assert_allclose(trained, smooth(temperature=temperature), rtol=1e-6)
    np.testing.assert_array_equal(evaluated, trained)
    np.testing.assert_allclose(begun, smooth(temperature=2.0), rtol=1e-6)
    with pytest.raises(UsageError, match="progress is what training gives it"):
        resolve("rows:cooled(progress=0.5)")


PARTS = """
from bounded.constraints import clip, smooth_clip
row = Strategy(
    "any",
    lambda raw, lower, upper, progress, state, hyper: (raw * (1 + progress), 1.0 * hyper[0]),
    lambda raw, lower, upper, hyper: clip(raw, lower, upper),
    update=lambda state, raw, lower, upper, hyper: state + 0.5,
    begins_through=lambda lower, upper, hyper: partial(smooth_clip, temperature=0.25),
    grid={"weight": (1.0,)},
)
"""
EDITS = {
    "progress": ("1 + progress", "1 + progress ** 2"),
    "the penalty": ("1.0 * hyper", "2.0 * hyper"),
    "update": ("state + 0.5", "state + 0.75"),
    "begins_through": ("temperature=0.25", "temperature=0.125"),
    "evaluate": ("clip(raw, lower, upper)", "clip(raw, lower, 2 * upper)"),
}


def test_every_part_of_a_row_is_in_its_fingerprint(write):
    data = shapes_of(load("wind"), "test")

    def found(source):
        return of_strategy(resolve(write(source)), data, SETTINGS)

    first = found(PARTS)
    for part, (before, after) in EDITS.items():
        edited = PARTS.replace(before, after)
        assert edited != PARTS
        assert found(edited) != first, part
    other_default = PARTS.replace("(1.0,)", "(1.5,)")
    assert found(f"# A comment.\n{other_default}") == first, "a default is of the cell"


def test_jit_hides_no_parameter(write):
    source = "@jax.jit\ndef map(raw, lower=None, upper=None, progress=0.0): return raw * progress"
    row = resolve(write(source, "map"))
    hyper = np.zeros(3, "f")
    np.testing.assert_array_equal(row.evaluate(RAW, None, UPPER, hyper), RAW)
    np.testing.assert_array_equal(row.train(RAW, None, UPPER, 0.5, None, hyper)[0], RAW / 2)


def test_the_start_through_a_function_of_ones_own_is_looked_for():
    targets = np.linspace(0.3, 0.7, 24, dtype="f").reshape(4, 6, 1)
    part = dict.fromkeys(("sum_lower", "sum_upper", "where"))
    part |= {"targets": targets, "lower": 0 * targets, "upper": 1 + 0 * targets}
    ranges, hyper = dict.fromkeys(BOTH, np.zeros(1, "f")), np.zeros(3, "f")

    def begun(function):
        with known({"here:f": function}):
            begin = jax.jit(partial(first_bias, resolve("here:f")))
            return float(begin(part, ranges, hyper)[0])

    def share(raw, lower, upper):
        return lower + (upper - lower) * 1 / (1 + jnp.exp(3 - raw))

    logit = float(np.mean(np.log(targets / (1 - targets))))
    assert begun(share) == pytest.approx(logit + 3, abs=1e-3)
    falls = begun(lambda raw, lower, upper: upper - jnp.exp(raw / 4))
    assert falls == pytest.approx(4 * float(np.mean(np.log(1 - targets))), abs=1e-3)
    mixed = begun(lambda raw, lower, upper: jnp.sort(jnp.sin(9 * raw), axis=1) + 5)
    assert mixed == pytest.approx(float(targets.mean()), rel=1e-4)
