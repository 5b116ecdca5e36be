import itertools
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bounded import penalties
from bounded.constraints import smooth_clip
from experiments.data.datasets import ARRAYS, load
from experiments.training.baselines import BASELINES
from experiments.training.cell import Job, data_of, evaluation
from experiments.training.own_strategies import check_fit, resolve
from experiments.training.runner import first_bias
from experiments.training.strategies import COUPLED, TRAINED, guarantee, holds, is_coupled
from experiments.training.strategy_rows import (
    BOTH,
    GUARANTEES,
    HYPER_LENGTH,
    bound_sources,
    select_bounds,
)
from experiments.usage import UsageError
from tests.bounded.maps import MAPS
from tests.sampled import sampled

EVERY = list(itertools.product(TRAINED, [("upper",), ("lower",), BOTH]))
# Of each guarantee and origin of bounds one, by one bound too; of both, rows of another kind.
IN_ALL = {"clip", "tanh_interval", "tanh_range", "relu_offset", "hinge"}
OF_BOTH = {
    "smooth_clip",
    "annealed_smooth_clip",
    "half_tanh",
    "clip_to_sequence_maximum",
    "dc3_correction",
    "offset_unconstrained",
}
BUDGETS = list(itertools.product(COUPLED, ("at most", "equal")))


CONSTANTS = {"lower": np.array([-0.5], "f"), "upper": np.array([0.5], "f")}


def bounds_of(strategy, sides, raw, lower=-1.0, upper=1.0):
    given = {"lower": lower, "upper": upper}
    given = {side: np.broadcast_to(np.float32(of), raw.shape) for side, of in given.items()}
    part = {side: given[side] if side in sides else None for side in BOTH}
    return select_bounds(strategy, part, CONSTANTS)


def run(strategy, sides, raw, lower=-1.0, upper=1.0, progress=0.5, state=None, **hyper):
    """What a row trains on, its penalty, and what it evaluates to."""
    bounds = bounds_of(strategy, sides, raw, lower, upper)
    vector = strategy.hyper(strategy.hyperparameters | hyper)
    state = np.zeros(raw.shape[1:], "f") if state is None else state
    return both(strategy, raw, *bounds, np.float32(progress), state, vector)


@partial(jax.jit, static_argnums=0)
def both(strategy, raw, lower, upper, progress, state, vector):
    trained, penalty = strategy.train(raw, lower, upper, progress, state, vector)
    penalty = jnp.asarray(penalty)
    assert penalty.shape in ((), raw.shape, (*raw.shape[:-1], 1))  # by entry, or by sum
    return trained, jnp.mean(penalty), strategy.evaluate(raw, lower, upper, vector)


def slope(name, progress=0.5, state=None, **hyper):
    """Derivative of the training objective, sum(output) + penalty, to RAW under |y| <= 1."""

    def objective(raw):
        output, penalty, _ = run(TRAINED[name], BOTH, raw, progress=progress, state=state, **hyper)
        return jnp.sum(output) + penalty

    return np.asarray(jax.jit(jax.grad(objective))(RAW))[..., 0]


RAW = np.array([[[-3.0], [-0.5], [0.5], [2.0]]], "f")


@pytest.mark.parametrize(
    ("name", "sides"),
    sampled(EVERY, lambda case: case[0] in IN_ALL or (case[1] == BOTH and case[0] in OF_BOTH)),
)
def test_every_strategy_runs_on_every_kind_of_dataset_and_keeps_its_guarantee(name, sides):
    raw = np.linspace(-3, 3, 24, dtype="f").reshape(4, 6, 1)
    upper = np.array([0.25, 1, 0.25, 1, 0.25, 1], "f")[None, :, None]
    strategy = TRAINED[name]
    hyper = {"rate": 0.01} if name == "dc3_correction" else {}
    trained, penalty, output = map(np.asarray, run(strategy, sides, raw, -upper, upper, **hyper))
    assert trained.shape == output.shape == raw.shape
    assert penalty.shape == ()
    assert np.isfinite(penalty)
    held = {
        "upper": "upper" not in sides or (output <= upper).all(),
        "lower": "lower" not in sides or (output >= -upper).all(),
    }
    sources = bound_sources(strategy, sides)
    given = [side for side in BOTH if sources[side] == "dataset"]
    if strategy.guarantee in ("always", "where u >= 0"):
        assert all(held[side] for side in given)
    elif "upper" in sides:
        assert not all(held.values())


begins = jax.jit(first_bias, static_argnums=0)


def begun(strategy, targets, **bounds):
    """Where a network begins that is trained on these targets."""
    part = dict.fromkeys(ARRAYS) | {"targets": targets, **bounds}
    hyper = strategy.hyper(strategy.hyperparameters)
    return np.asarray(begins(strategy, part, CONSTANTS, hyper))


MEAN_TARGET = {
    "unconstrained",
    "clip",
    "straight_through_clip",
    "leaky_clip",
    "clip_to_sequence_maximum",
    "clip_at_evaluation",
    "clip_after_warmup",
    "clip_with_displacement",
    "dc3_correction",
    "hinge",
    "squared_hinge",
    "log_barrier",
    "augmented_lagrangian",
}


def has_a_start_of_its_own(case):
    """Of a kind of its own: tests of `bounded` begin through each map."""
    name, sides = case
    return name in ("relu_offset", "tanh_interval") or (
        sides == BOTH and name in IN_ALL | OF_BOTH - MEAN_TARGET
    )


@pytest.mark.parametrize(("name", "sides"), sampled(EVERY, has_a_start_of_its_own))
def test_a_network_begins_where_the_strategy_gives_the_training_targets(name, sides):
    targets = np.array([[[-0.2], [0.3]], [[0.1], [-0.4]]], "f")
    strategy = TRAINED[name]

    def begin(targets):
        lower, upper = (np.full_like(targets, bound) for bound in (-1.0, 1.0))
        return begun(
            strategy,
            targets,
            **{s: b for s, b in (("lower", lower), ("upper", upper)) if s in sides},
        )

    found = begin(targets)
    assert found.shape == (1,)
    if name in MEAN_TARGET:
        np.testing.assert_allclose(found, targets.mean((0, 1)), rtol=1e-6)
    same = np.full_like(targets, 0.3)
    raw = np.broadcast_to(begin(same), same.shape)
    trained, _, _ = run(strategy, sides, raw, progress=0.0)
    np.testing.assert_allclose(trained, same, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "of"),
    sampled(
        BUDGETS,
        [
            ("budget_projection", "at most"),
            ("budget_softmax", "equal"),
            ("sum_squared_hinge", "at most"),
        ],
    ),
)
def test_with_a_budget_too_a_network_begins_where_it_gives_the_targets(name, of):
    sides = BOTH if of == "equal" else ("upper",)
    targets = np.broadcast_to(np.array([0.2, 0.3, 0.1], "f"), (4, 2, 3))
    total = np.full((4, 2, 1), 0.6 if len(sides) == 2 else 1.0, "f")
    given = {f"sum_{side}": total for side in sides}
    row = COUPLED[name]
    raw = np.broadcast_to(begun(row, targets, **given), targets.shape)
    bounds = [given.get(f"sum_{side}") for side in BOTH]
    output = jax.jit(row.evaluate)(raw, *bounds, row.hyper(row.hyperparameters))
    np.testing.assert_allclose(output, targets, atol=1e-6)


def test_a_users_function_begins_by_its_inverse(tmp_path, monkeypatch):
    (tmp_path / "begun.py").write_text("def half(raw, lower, upper):\n    return raw / 2\n")
    monkeypatch.chdir(tmp_path)
    targets = np.full((2, 3, 1), 0.25, "f")
    for name, expected in {
        "begun:half": 0.5,
        "bounded.constraints:sigmoid_interval(temperature=2.0)": 2 * np.log(0.25 / 0.75),
    }.items():
        row = resolve(name)
        begin = begun(row, targets, lower=np.zeros_like(targets), upper=np.ones_like(targets))
        np.testing.assert_allclose(begin, [expected], rtol=1e-5)


@pytest.mark.parametrize(
    "name", [name for name, row in TRAINED.items() if row.guarantee == "where u >= 0"]
)
def test_where_u_is_negative_the_conditional_guarantees_end(name):
    raw = np.zeros((1, 2, 1), "f")
    assert (run(TRAINED[name], ["upper"], raw, upper=-1.0)[2] > -1).all()


@pytest.mark.parametrize(
    ("name", "of"),
    sampled(
        BUDGETS,
        lambda case: (
            case[0] in ("budget_projection", "sum_squared_hinge")
            or case == ("budget_sequential", "equal")
        ),
    ),
)
def test_coupled_rows_are_given_the_sums_bounds_and_keep_their_guarantee(name, of):
    sides = BOTH if of == "equal" else ("upper",)
    row = COUPLED[name]
    raw = np.linspace(-1, 3, 24, dtype="f").reshape(2, 4, 3)
    total = np.linspace(0, 4, 8, dtype="f").reshape(2, 4, 1)
    part = {f"sum_{side}": total if side in sides else None for side in BOTH}
    bounds = select_bounds(row, part, CONSTANTS)
    assert [bound is not None for bound in bounds] == [side in sides for side in BOTH]
    sources = bound_sources(row, {f"sum_{side}" for side in sides})
    assert sources == {side: "dataset" if side in sides else None for side in BOTH}
    hyper = row.hyper(row.hyperparameters)
    state = np.zeros((4, 3), "f")
    trained, penalty, output = map(
        np.asarray, both(row, raw, *bounds, np.float32(0.5), state, hyper)
    )
    np.testing.assert_array_equal(trained, output)
    spent = output.sum(axis=-1, keepdims=True)
    if row.guarantee == "always":
        assert penalty == 0
        assert (output >= 0).all()
        assert (spent <= total * (1 + 1e-6)).all()
        np.testing.assert_allclose(spent, total if len(sides) == 2 else spent, rtol=1e-5)
    else:
        outside = np.maximum(spent - total, 0) + np.maximum(total - spent, 0) * (len(sides) == 2)
        np.testing.assert_allclose(penalty, np.mean(outside**2), rtol=1e-5)


@pytest.mark.parametrize("row", (TRAINED | COUPLED).values(), ids=lambda row: row.name)
def test_every_row_is_documented(row):
    assert row.guarantee in GUARANTEES
    assert row.summary
    assert row.source
    assert len(row.grid) <= HYPER_LENGTH
    assert all(len(set(values)) == len(values) > 0 for values in row.grid.values())
    assert np.prod([len(values) for values in row.grid.values()]) <= 6
    assert list(row.hyper(row.hyperparameters)[: len(row.grid)]) == [
        np.float32(values[0]) for values in row.grid.values()
    ]


def test_an_unknown_hyperparameter_is_refused():
    with pytest.raises(UsageError, match=r"Did you mean 'temperature'\?"):
        TRAINED["smooth_clip"].hyper({"temprature": 5.0})


def test_every_constraint_and_penalty_has_a_row():
    named = {"identity": "unconstrained"}
    for name in MAPS:
        assert named.get(name, name) in TRAINED
    for name in ("hinge", "squared_hinge", "log_barrier", "augmented_lagrangian"):
        assert TRAINED[name].guarantee == "never"


def test_sides_that_are_needed_and_lacking_come_from_the_training_range():
    assert bound_sources(TRAINED["tanh_interval"], ["upper"]) == {
        "lower": "training range",
        "upper": "dataset",
    }
    assert bound_sources(TRAINED["tanh_range"], ["lower", "upper"]) == {
        "lower": "training range",
        "upper": "training range",
    }
    assert bound_sources(TRAINED["relu_offset"], ["lower", "upper"]) == {
        "lower": None,
        "upper": "dataset",
    }
    assert bound_sources(TRAINED["relu_offset"], ["lower"])["lower"] == "dataset"
    assert bound_sources(TRAINED["unconstrained"], ["upper"]) == {"lower": None, "upper": None}


@pytest.mark.parametrize("name", ["hinge", "squared_hinge", "log_barrier", "augmented_lagrangian"])
def test_the_soft_rows_penalise_raw_and_return_it(name):
    trained, penalty, output = run(TRAINED[name], ["upper"], RAW, upper=0.0)
    np.testing.assert_array_equal(output, RAW)
    np.testing.assert_array_equal(trained, RAW)
    assert penalty > 0
    if name != "log_barrier":
        assert run(TRAINED[name], ["upper"], RAW, upper=5.0)[1] == 0


def test_weights_scale_the_penalties():
    for name in ("hinge", "squared_hinge"):
        single, double = (run(TRAINED[name], BOTH, RAW, weight=w)[1] for w in (1.0, 2.0))
        np.testing.assert_allclose(double, 2 * single)


def test_the_barrier_sharpens_with_progress():
    of = [run(TRAINED["log_barrier"], BOTH, RAW, progress=p)[1] for p in (0.0, 0.5, 1.0)]
    barrier = jax.jit(penalties.log_barrier)
    expected = [barrier(RAW, -1.0, 1.0, t) for t in (5.0, 50.0, 500.0)]
    np.testing.assert_allclose(of, expected, rtol=1e-5)


def test_multipliers_start_at_zero_and_grow_where_raw_violates():
    row = TRAINED["augmented_lagrangian"]
    hyper = row.hyper(row.hyperparameters)
    state = jax.jit(row.update)(np.zeros((4, 1), "f"), RAW, *bounds_of(row, BOTH, RAW), hyper)
    np.testing.assert_allclose(state[:, 0], [2, 0, 0, 1])
    grown = run(row, BOTH, RAW, state=state)[1] - run(row, BOTH, RAW)[1]
    np.testing.assert_allclose(grown, (2 * 2 + 1 * 1) / 4, rtol=1e-6)


def test_clip_at_evaluation_trains_free():
    trained, penalty, output = run(TRAINED["clip_at_evaluation"], BOTH, RAW)
    np.testing.assert_array_equal(trained, RAW)
    assert penalty == 0
    np.testing.assert_array_equal(output, np.clip(RAW, -1, 1))


def test_clip_after_warmup_is_soft_first_and_hard_later():
    row = TRAINED["clip_after_warmup"]
    trained, penalty, output = run(row, BOTH, RAW, progress=0.09)
    np.testing.assert_array_equal(trained, RAW)
    np.testing.assert_allclose(penalty, (2**2 + 1) / 4)
    np.testing.assert_array_equal(output, np.clip(RAW, -1, 1))
    trained, penalty, _ = run(row, BOTH, RAW, progress=0.1)
    np.testing.assert_array_equal(trained, np.clip(RAW, -1, 1))
    assert penalty == 0


def test_the_displacement_revives_dead_entries():
    np.testing.assert_array_equal(slope("clip"), [[0, 1, 1, 0]])
    weight = TRAINED["clip_with_displacement"].hyperparameters["weight"]
    found = slope("clip_with_displacement")
    np.testing.assert_allclose(found, [[weight * -2 * 2 / 4, 1, 1, weight * 2 / 4]])
    projected, penalty, _ = run(TRAINED["clip_with_displacement"], BOTH, RAW)
    np.testing.assert_allclose(penalty, weight * np.mean((projected - RAW) ** 2), rtol=1e-6)


def test_dc3_steps_towards_the_bounds_with_momentum():
    expected, velocity = np.array([-3.0, -0.5, 0.5, 2]), np.zeros(4)
    for _ in range(10):
        outside = np.maximum(expected - 1, 0) - np.maximum(-1 - expected, 0)
        velocity = 0.5 * velocity + 0.1 * 2 * outside
        expected = expected - velocity
    _, penalty, output = run(TRAINED["dc3_correction"], BOTH, RAW)
    np.testing.assert_allclose(output[0, :, 0], expected, rtol=1e-5)
    squared = np.maximum(np.abs(output) - 1, 0) ** 2
    np.testing.assert_allclose(penalty, squared.mean(), rtol=1e-6)
    # A step of half the gradient of the squared violation is the projection.
    _, _, output = run(TRAINED["dc3_correction"], BOTH, RAW, rate=0.5, momentum=0.0)
    np.testing.assert_array_equal(output, np.clip(RAW, -1, 1))


def test_annealing_ends_at_the_floor():
    row = TRAINED["annealed_smooth_clip"]
    floor = row.hyperparameters["floor"]
    at_end, _, output = run(row, BOTH, RAW, progress=1.0)
    smooth = jax.jit(smooth_clip)
    expected = smooth(RAW, -1.0, 1.0, temperature=floor)
    np.testing.assert_allclose(at_end, expected, rtol=1e-6)
    np.testing.assert_array_equal(output, expected)
    at_start, _, _ = run(row, BOTH, RAW, progress=0.0)
    np.testing.assert_allclose(at_start, smooth(RAW, -1.0, 1.0, temperature=1.0), rtol=1e-6)
    assert (np.abs(slope("annealed_smooth_clip", progress=0.0)) > 0.05).all()


@pytest.mark.parametrize("sides", [("upper",), BOTH])
def test_one_switch_serves_every_row(sides):
    """All give the same shapes and types; test_runner.py trains with a switch of some."""
    raw = jax.ShapeDtypeStruct((4, 6, 1), "float32")
    rows = [lambda raw, row=row: run(row, sides, raw) for row in TRAINED.values()]
    output = jax.eval_shape(lambda *of: jax.lax.switch(of[0], rows, of[1]), 0, raw)[2]
    assert output == raw


@pytest.mark.parametrize("dataset", ["irradiance", "household_hourly", "dew_point"])
def test_baselines_have_the_targets_shape_and_learn_from_training_alone(dataset):
    dataset = load(dataset)
    part = dataset.part("test")
    outputs = {name: make(data_of(dataset, "test")) for name, (make, _) in BASELINES.items()}
    assert all(output.shape == part["targets"].shape for output in outputs.values())
    np.testing.assert_array_equal(outputs["bound"], part["upper"])
    assert (outputs["climatology_clipped"] <= part["upper"]).all()
    train = dataset.part("train")
    factor = (outputs["scaled_bound"] / np.where(part["upper"] == 0, 1, part["upper"])).max((0, 1))
    expected = (train["targets"] * train["upper"]).sum((0, 1)) / (train["upper"] ** 2).sum((0, 1))
    np.testing.assert_allclose(factor, expected, rtol=1e-4)


def test_the_scaled_bound_is_known_of_a_bound_that_is_far_away():
    train = {"upper": np.full((2, 3, 1), 1e30, np.float32), "lower": None, "where": None}
    train["targets"] = np.ones_like(train["upper"])
    data = {"train": train, "final": train, "range": {"upper": np.ones(1, np.float32)}}
    make, _ = BASELINES["scaled_bound"]
    np.testing.assert_allclose(make(data), train["targets"], rtol=1e-6)


def test_a_users_function_becomes_a_row():
    row = resolve("bounded.constraints:clip")
    evaluate, given = jax.jit(row.evaluate), (np.array([[[3.0]]], "f"), None)
    assert evaluate(*given, np.array([[[1.0]]], "f"), row.hyper({})) == 1


def test_a_users_function_takes_hyperparameters():
    row = resolve("bounded.constraints:smooth_clip(temperature=0.5, )")
    assert row.hyperparameters == {"temperature": 0.5}
    raw, upper = np.array([[[3.0]]], "f"), np.array([[[1.0]]], "f")
    hyper = row.hyper(row.hyperparameters)
    output, expected = jax.jit(
        lambda: (
            row.evaluate(raw, None, upper, hyper),
            smooth_clip(raw, upper=upper, temperature=0.5),
        )
    )()
    np.testing.assert_array_equal(output, expected)
    assert row.name.startswith("bounded.constraints:smooth_clip(")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.module:clip", "cannot be imported .No module named 'absent'"),
        ("bounded.constraints:absent", "has no attribute 'absent'"),
        (":clip", "cannot be imported"),
        ("jax:nn", "jax:nn is no function"),
        ("bounded.constraints:smooth_clip(0.1)", "hyperparameters go by name"),
        ("bounded.constraints:smooth_clip(", "cannot be read"),
        ("bounded.constraints:smooth_clip(**{})", "must be a finite number"),
        ("bounded.constraints:smooth_clip(temperature='a')", "finite number, got 'a'"),
        ("bounded.constraints:smooth_clip(temperature=True)", "finite number, got True"),
        ("bounded.constraints:smooth_clip(temperature=1e999)", "finite number, got inf"),
        ("bounded.constraints:smooth_clip(temperature=open('x'))", "cannot be read"),
    ],
)
def test_a_users_function_that_cannot_be_used_is_refused(name, message):
    with pytest.raises(UsageError, match=message):
        resolve(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bounded.constraints:smooth_clip(temprature=1)", "unexpected keyword argument"),
        ("bounded.constraints:smooth_clip(temperature=-1)", "must be positive and finite"),
        ("bounded.constraints:smooth_clip(**{})", "must be a finite number"),
        ("bounded.constraints:smooth_clip(temperature=1, temperature=2)", "by its name, once"),
        ("bounded.constraints:sequence_maximum", "does not fit irradiance"),
    ],
)
def test_a_users_function_that_does_not_run_is_refused(name, message):
    with pytest.raises(UsageError, match=message):
        check_fit(resolve(name), load("irradiance"), [32])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "return raw.astype(jnp.float16)",
            "must give float32 .* got float16",
        ),
        ("return raw > 0", "got bool"),
        ("return raw, lower", "got tuple of None"),
        ("return None", "got NoneType of None"),
        ("return jnp.minimum(raw, upper).sum()", r"got float32 of \(\)"),
        ("return jax.lax.while_loop(lambda z: z.sum() > 9, lambda z: z / 2, raw)", "Reverse-mode"),
        ("return raw if raw.shape[0] != 32 else 1 / 0", "division by zero"),
        ("raise SystemExit(0)", "mine:map does not fit irradiance"),
    ],
)
def test_a_users_function_that_cannot_be_trained_is_refused_by_name(
    tmp_path, monkeypatch, body, message
):
    source = f"import jax, jax.numpy as jnp\ndef map(raw, lower=None, upper=None):\n    {body}\n"
    (tmp_path / "mine.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    with pytest.raises(UsageError, match=message) as error:
        check_fit(resolve("mine:map"), load("irradiance"), [9, 32])
    assert "mine:map" in str(error.value)


def test_a_users_module_with_an_error_of_its_own_is_refused(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("def half(raw:\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="cannot be imported .*broken_module.py, line 1"):
        resolve("broken_module:half")


def test_a_users_function_is_known_to_be_theirs(tmp_path, monkeypatch):
    source = "def half(raw, lower=None, upper=None):\n    return raw / 2\n"
    (tmp_path / "my_half.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    assert resolve("my_half:half").own
    assert not resolve("clip").own


def test_an_unknown_strategy_lists_the_names_and_the_nearest():
    with pytest.raises(UsageError, match=r"Did you mean 'smooth_clip'\?"):
        resolve("smoth_clip")


def test_a_row_takes_another_default_and_its_other_hyperparameters_keep_their_grids():
    row = resolve("clip_after_warmup(warmup=0.2)")
    assert row.grid == {"warmup": (0.2,), "weight": TRAINED["clip_after_warmup"].grid["weight"]}
    assert (row.name, row.own) == ("clip_after_warmup(warmup=0.2)", False)
    assert row.train is TRAINED["clip_after_warmup"].train
    assert resolve("smooth_clip(temperature=[0.5,1])").grid == {"temperature": (0.5, 1.0)}
    assert resolve("clip_after_warmup(warmup=0.2)") is row, "what is compiled of it is found again"
    assert resolve("clip") is TRAINED["clip"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smooth_clip(temprature=1)", r"hyperparameter of smooth_clip 'temprature'.*'temperature'"),
        ("clip(temperature=1)", "clip has no hyperparameters, got temperature"),
        ("smoth_clip(temperature=1)", "Did you mean 'smooth_clip'"),
    ],
)
def test_a_row_without_such_a_hyperparameter_says_what_there_is(name, message):
    with pytest.raises(UsageError, match=message):
        resolve(name)


def test_values_that_a_row_refuses_are_refused_before_any_training():
    for name in ("smooth_clip(temperature=-1)", "smooth_clip(temperature=[1,-1])"):
        with pytest.raises(UsageError, match=r"smooth_clip\(.* does not fit .* must be positive"):
            check_fit(resolve(name), load("irradiance"), [32])


def test_a_row_with_hyperparameters_promises_what_the_row_does():
    assert holds("relu_offset") == holds("softplus_offset(temperature=0.5)") == "always (one side)"
    assert guarantee("hinge(weight=2)") == "never"
    assert guarantee("smooth_clip(no=2)") == guarantee("smooth_clip(") == "not stated"
    assert is_coupled("sum_squared_hinge(weight=2)")
    assert not is_coupled("hinge(weight=2)")


def test_a_list_of_a_users_function_is_a_grid_that_is_traced(tmp_path, monkeypatch):
    source = "def half(raw, lower=None, upper=None, *, by, more=0):\n    return raw * by + more\n"
    (tmp_path / "by_half.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    row = resolve("by_half:half(by=[0.5,2],more=3)")
    assert row.grid == {"by": (0.5, 2), "more": (3,)}
    check_fit(row, load("irradiance"), [9, 32])
    given = jnp.ones((1, 2, 1)), None, None
    for by in (0.5, 2.0):
        output, _ = row.train(*given, 0.0, None, row.hyper({"by": by, "more": 3}))
        np.testing.assert_array_equal(output, by + 3)
    with pytest.raises(UsageError, match="at most 3 hyperparameters may be lists"):
        resolve(f"by_half:half({','.join(f'{key}=[1,2]' for key in 'abcd')})")


def test_a_listed_value_that_decides_pythons_control_flow_is_refused(tmp_path, monkeypatch):
    source = (
        "def half(raw, lower=None, upper=None, *, by):\n    return raw if by > 1 else raw / 2\n"
    )
    (tmp_path / "if_half.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    check_fit(resolve("if_half:half(by=2)"), load("irradiance"), [32])
    with pytest.raises(UsageError, match="does not fit irradiance: .*boolean"):
        check_fit(resolve("if_half:half(by=[2,3])"), load("irradiance"), [32])


@pytest.mark.parametrize("name", ["relu_offset", "softplus_offset", "clip", "offset_unconstrained"])
def test_an_offset_is_clipped_to_the_lower_side_where_it_counts(name):
    """It is given the upper one of two sides; a control keeps what it is."""
    raw = np.full((1, 4, 1), 5.0, "f")
    part = {"lower": np.zeros_like(raw), "upper": np.ones_like(raw)}
    job = Job(0, np.ones(3, "f"), 0.0, 0, None)
    evaluated = jax.jit(
        lambda part: evaluation(TRAINED[name], raw, data={"range": CONSTANTS}, part=part, job=job)
    )
    output = evaluated(part)
    expected = {"clip": 1.0, "offset_unconstrained": -4.0}.get(name, 0.0)
    np.testing.assert_array_equal(output, np.full_like(raw, expected))
    one_side = {"lower": None, "upper": part["upper"]}
    output = evaluated(one_side)
    np.testing.assert_allclose(output, 1.0 if name == "clip" else -4.0, atol=0.01)
