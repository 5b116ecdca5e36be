import copy
import dataclasses
import re
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from bounded.autoencoder import LSTMAutoencoder
from bounded.constraints import clip
from experiments.data.arrays import ALIGNMENT, aligned
from experiments.data.datasets import load
from experiments.training import devices, networks
from experiments.training import runner as runner_module
from experiments.training.backbones import AUTOENCODERS
from experiments.training.cell import Settings, example_windows
from experiments.training.devices import let_go
from experiments.training.networks import network
from experiments.training.runner import Run, Runner
from experiments.training.strategies import TRAINED
from tests.experiments.training.line import LINE, Line
from tests.sampled import sampled

# Every second epoch is evaluated.
SETTINGS = Settings(hidden=4, epochs=14, patience=4, batches_per_epoch=4, batch=16)
CELLS = [
    Run("clip", {}, 3e-3, 0),
    Run("smooth_clip", {"temperature": 0.2}, 1e-3, 1),
    Run("squared_hinge", {}, 3e-3, 2),
]


def weighted_progress(raw, lower, upper, progress, state, hyper):
    return raw, hyper[0] * progress


WATCHED = dataclasses.replace(
    TRAINED["unconstrained"], name="watched", train=weighted_progress, grid={"weight": (0.0,)}
)
NAMES = ("unconstrained", "clip", "smooth_clip", "squared_hinge", "augmented_lagrangian")
ROWS = [*(TRAINED[name] for name in NAMES), WATCHED]


@pytest.fixture(scope="module")
def runner():
    """One that most tests of this file share: what it compiles takes seconds."""
    return Runner(load("irradiance"), LINE, SETTINGS, ROWS)


@pytest.fixture
def from_zero(runner):
    """The same, but for where networks begin, which is not compiled."""
    other = copy.copy(runner)
    other._settings = dataclasses.replace(SETTINGS, start="zero")
    return other


def assert_same(one, other):
    np.testing.assert_equal(one.metrics, other.metrics)  # for which NaN equals NaN
    np.testing.assert_array_equal(one.examples, other.examples)
    for name, row in one.history.items():
        np.testing.assert_array_equal(row, other.history[name])


def maps_and_memory():
    """Of this process: how many memory maps it has, and its resident memory in MB."""
    size = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]
    return len(Path("/proc/self/maps").read_text().splitlines()), int(size) / 1000


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux says what is mapped")
def test_what_was_compiled_for_many_shapes_is_let_go(tmp_path, monkeypatch):
    """The first four are kept; from then on there is one for each that comes."""
    monkeypatch.setattr(devices, "let_go", let_go)
    found = []
    for steps in range(4, 17):
        inputs = np.random.default_rng(steps).uniform(1, 2, (40, steps, 1))
        path = tmp_path / f"{steps}.npz"
        np.savez(path, inputs=inputs, targets=inputs / 2, upper=inputs)
        settings = Settings(hidden=4, epochs=2, batches_per_epoch=2, batch=8)
        Runner(load(str(path)), "bottleneck", settings, [TRAINED["clip"], TRAINED["hinge"]])
        found.append(maps_and_memory())
    (maps, memory), (last_maps, last_memory) = found[5], found[-1]
    assert last_maps < maps + 200, found
    assert last_memory < memory + 100, found


def test_one_compilation_serves_strategies_seeds_rates_and_datasets_of_one_shape(runner):
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiled.append(event) if "backend_compile" in event else None
    )
    runner.run(CELLS[:2])
    compiled.clear()
    runner.run([CELLS[1], Run("clip", {}, 1e-2, 9)])
    again = Runner(load("irradiance_autoencoder"), LINE, SETTINGS, ROWS)
    again.run([Run("clip", {}, 1e-3, 0)])
    assert not compiled
    runner.run([Run("unconstrained", {}, 1e-2, 9)])
    assert len(compiled) == 1  # where its network begins, alone


def test_a_seed_gives_the_same_initial_weights_to_every_strategy(runner):
    first = [
        result.history["train_loss"][0]
        for result in runner.run(
            [Run("unconstrained", {}, 0.0, 3), Run("squared_hinge", {"weight": 0.0}, 0.0, 3)]
        )
    ]
    assert first[0] == first[1]
    assert runner.run([Run("unconstrained", {}, 0.0, 4)])[0].history["train_loss"][0] != first[0]


def test_a_network_begins_at_the_constant_that_its_strategy_says_or_at_zero(runner, from_zero):
    def bias(state):
        return np.asarray(state.parameters["bias"])

    dataset = load("irradiance")
    begun = [runner.begin([run])[1] for run in CELLS]
    clipped, smooth, penalised = (bias(state)[0] for state in begun)
    mean = dataset.targets[dataset.rows("train")].mean((0, 1))
    np.testing.assert_allclose(clipped, mean, rtol=1e-5)
    np.testing.assert_array_equal(penalised, clipped)
    assert (smooth > mean).all()  # near the bound, where raw is above what comes out of it
    _, state = from_zero.begin(CELLS[:1])
    assert not state.parameters["bias"].any()


def test_windows_in_chunks_have_the_values_and_derivatives_of_all_at_once(monkeypatch):
    part = np.linspace(-1, 2, 21, dtype="f").reshape(7, 3), np.arange(7, dtype="f")
    part = tuple(map(jnp.asarray, part))

    def outputs(scale):
        return networks.in_chunks(lambda of: jnp.sin(scale * of[0]) * of[1][:, None], part)

    found = []
    for chunk in (7, 3):
        monkeypatch.setattr(networks, "CHUNK", chunk)
        slope = jax.grad(lambda scale: jnp.sum(outputs(scale) ** 2))
        found.append(jax.jit(lambda scale, slope=slope: (outputs(scale), slope(scale)))(1.5))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-6)


@pytest.mark.parametrize("backbone", sampled(AUTOENCODERS, {"conditioned"}))
def test_a_large_split_takes_no_more_memory_within_the_network_than_a_chunk(backbone, monkeypatch):
    windows = 8 * networks.CHUNK
    like = jax.ShapeDtypeStruct((windows, 6, 1), jnp.float32)
    part = {"inputs": like, "targets": like, "future": None, "lengths": None}

    def bytes_of_temporaries(chunk):
        monkeypatch.setattr(networks, "CHUNK", chunk)
        found = network(backbone, SETTINGS.hidden, SETTINGS.dtype, part)
        parameters = jax.eval_shape(found.initial, jax.random.key(0), jnp.zeros(1))
        compiled = jax.jit(found.raw).lower(parameters, part).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert 3 * bytes_of_temporaries(networks.CHUNK) < bytes_of_temporaries(windows)


def test_devices_use_a_datasets_arrays_where_they_lie(runner):
    inputs = load("spectrum").part("train")["inputs"]
    assert inputs.ctypes.data % ALIGNMENT == 0
    assert aligned(inputs) is inputs
    moved = aligned(inputs.ravel()[1:])
    assert moved.ctypes.data % ALIGNMENT == 0
    np.testing.assert_array_equal(moved, inputs.ravel()[1:])
    shards = runner._data["train"]["inputs"].addressable_shards
    assert len({shard.data.unsafe_buffer_pointer() for shard in shards}) == 1
    assert len(shards) == 2


def test_metrics_and_history_are_complete_and_in_range(runner):
    result = runner.run(CELLS[:1])[0]
    assert result.error is None
    assert result.history["epoch"].tolist() == [2, 4, 6, 8, 10, 12, 14]
    shares = [n for n in result.metrics if n.endswith(("fraction", "rate", "1e-4", "reliance"))]
    assert len(shares) == 12
    # One feature, no bound of a sum; no code (test_saved.py has one).
    none = {name for name in shares if name.startswith("sum_") or name.endswith("reliance")}
    assert all(0 <= result.metrics[name] <= 1 for name in set(shares) - none)
    assert all(np.isnan(result.metrics[name]) for name in none)
    alive = 1 - result.metrics["constraint_dead_fraction"]
    np.testing.assert_allclose(result.metrics["jacobian_rank_fraction"], alive, rtol=1e-5)
    assert {"mse", "mae", "r2", "violation_max", "gradient_norm"} <= result.metrics.keys()
    assert result.metrics["violation_rate"] == 0
    assert result.examples.shape == (2, 24, 1)


def test_the_weighted_mean_of_the_blocks_is_the_error(runner):
    sizes = np.asarray(runner._data["blocks"]).sum(1)
    for result in runner.run(CELLS[:2]):
        found = np.average(result.block_mse, weights=sizes)
        np.testing.assert_allclose(found, result.metrics["mse"], rtol=1e-5)
        assert result.block_mse.std() > 0


def test_a_cell_that_diverges_fails_and_its_neighbour_goes_on(runner):
    bad, good = runner.run([Run("unconstrained", {}, 1e38, 0), Run("clip", {}, 3e-3, 0)])
    assert "diverged: after epoch 2" in bad.error
    assert good.error is None
    assert_same(good, runner.run([Run("clip", {}, 3e-3, 0)])[0])


@pytest.mark.thorough  # test_fingerprints.py: it reaches the program
def test_mixed_precision_reaches_training():
    """It changes the numbers, by little after four updates, and no shape or kind of them."""
    single = Settings(hidden=4, epochs=2, batches_per_epoch=2, batch=8)
    settings = dataclasses.replace(single, dtype="bfloat16")
    both = (Runner(load("irradiance"), "bottleneck", of, ROWS) for of in (settings, single))
    mixed, single = (one.run([Run("clip", {}, 1e-2, 5)])[0].examples for one in both)
    assert single.dtype == mixed.dtype
    assert 0 < abs(single - mixed).max() < 1e-2


def line(rngs, mean):
    graph, parameters = nnx.split(Line(1, 1, 24, rngs))

    def output(parameters, part):
        raw = nnx.merge(graph, parameters)(part["inputs"], None)
        return clip(raw + mean[None, None], part["lower"], part["upper"])

    return parameters, output


def conditioned(rngs, mean):
    model = LSTMAutoencoder(1, 1, 4, clip, condition_decoder=True, rngs=rngs)
    model.dense.bias[...] = mean
    graph, parameters = nnx.split(model)

    def output(parameters, part):
        return nnx.merge(graph, parameters)(part["inputs"], part["lower"], part["upper"])

    return parameters, output


@pytest.fixture(scope="module")
def by_hand():
    """A compiled loop by hand, of a network under a clip: the mean loss of each pair of epochs,
    and after it the errors on validation and test."""
    dataset = load("irradiance")
    parts = [dataset.part(split) for split in ("train", "validation", "test")]

    @partial(jax.jit, static_argnums=0)
    def whole(make, seed, rate, train, *others):
        weights, shuffling, _ = jax.random.split(jax.random.key(seed), 3)
        parameters, output = make(nnx.Rngs(weights), train["targets"].mean((0, 1)))
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))

        def loss(parameters, part):
            return jnp.mean((output(parameters, part) - part["targets"]) ** 2)

        def update(carry, batch):
            parameters, state = carry
            part = jax.tree.map(lambda array: array[batch], train)
            value, gradient = jax.value_and_grad(loss)(parameters, part)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(parameters, updates), state), value

        def epoch(carry, number):
            order = jax.random.permutation(jax.random.fold_in(shuffling, number), len(windows))
            carry, losses = jax.lax.scan(update, carry, order[:64].reshape(4, 16))
            return carry, (losses.mean(), *(loss(carry[0], part) for part in others))

        windows, start = train["inputs"], (parameters, optimizer.init(parameters))
        return jax.lax.scan(epoch, start, jnp.arange(14))[1]

    def found(make, run):
        losses, *errors = map(np.asarray, whole(make, run.seed, run.learning_rate, *parts))
        return losses.reshape(7, 2).mean(axis=1), *(of[1::2] for of in errors)

    return found


@pytest.mark.parametrize(
    ("backbone", "make"), sampled([(LINE, line), ("conditioned", conditioned)], [(LINE, line)])
)
def test_training_agrees_with_a_plain_loop_and_patience_ends_it(runner, by_hand, backbone, make):
    """Adam by hand: the same weights, batches, losses and errors as the compiled runner has until
    it ends, and at the end the error of the weights that were best on validation."""
    if backbone != LINE:
        runner = Runner(load("irradiance"), backbone, SETTINGS, ROWS)
    runs, done = [Run("clip", {}, 0.3, 0), Run("clip", {}, 1e-3, 0)], []
    found = runner.run(runs, done.append)
    epochs = [len(result.history["mse"]) * SETTINGS.evaluate_every for result in found]
    assert epochs[0] < epochs[1] == sum(done) / 2 == 14
    for run, result in zip(runs, found, strict=True):
        losses, validation, test = by_hand(make, run)
        looks = len(result.history["mse"])
        np.testing.assert_allclose(result.history["train_loss"], losses[:looks], rtol=1e-5)
        np.testing.assert_allclose(result.history["mse"], validation[:looks], rtol=1e-5)
        best = int(validation[:looks].argmin())
        assert looks in (best + 3, 7)
        np.testing.assert_allclose(result.metrics["mse"], test[best], rtol=1e-5)
    (alone,) = runner.run(runs[:1], done.append)
    assert_same(alone, found[0])
    assert sum(done) == 14 * 3


def test_the_state_is_updated_once_an_epoch(from_zero):
    """Multipliers alone change the loss: with no learning, the parameters stay the first."""
    first, second = from_zero.run(
        [Run("augmented_lagrangian", {"penalty": p}, 0.0, 0) for p in (0.0, 1.0)]
    )
    np.testing.assert_array_equal(first.history["loss"], first.history["mse"])
    penalty = second.history["loss"] - second.history["mse"]
    assert penalty[1] > 1.5 * penalty[0] > 0
    assert second.metrics["mse"] == first.metrics["mse"]


def test_a_penalty_has_no_say_in_which_parameters_are_kept(from_zero):
    """Slow steps lower the error while multipliers raise the loss: the last are the best."""
    jobs, state = from_zero.begin([Run("augmented_lagrangian", {"penalty": 1.0}, 3e-4, 0)])
    rows = []
    for _ in range(7):
        state, row = from_zero.advance(jobs, state)
        rows.append(jax.device_get(row))
    loss, error = (np.array([row[name][0] for row in rows]) for name in ("loss", "mse"))
    assert (np.diff(loss[-3:]) > 1e-4).all()
    assert (np.diff(error) < -1e-3).all()
    assert state.best_epoch[0] == 14


def test_a_schedule_ends_before_a_patient_run_may(runner):
    """With no learning, the penalty is the one thing in which two runs differ."""
    assert Settings(epochs=60).schedule == Settings(epochs=60, patience=90).schedule == 60
    assert SETTINGS.schedule == 4
    free, watched = runner.run([Run("watched", {"weight": w}, 0.0, 0) for w in (0.0, 1.0)])
    difference = watched.history["train_loss"] - free.history["train_loss"]
    means = np.minimum(np.arange(24) / 16, 1).reshape(3, 8).mean(axis=1)
    np.testing.assert_allclose(difference, means, rtol=1e-5)
    np.testing.assert_allclose(watched.history["loss"] - free.history["loss"], 1, rtol=1e-5)


def test_training_lowers_the_loss(from_zero):
    still, moved = from_zero.run([Run("clip", {}, 0.0, 0), Run("clip", {}, 1e-2, 0)])
    assert moved.history["loss"][-1] < 0.5 * still.history["loss"][-1]


def test_more_cells_than_fit_at_once_follow_one_another(runner):
    three, alone = runner.run(CELLS), runner.run(CELLS[2:])
    assert_same(three[2], alone[0])
    with pytest.raises(ValueError, match="1 to 2 cells, got 0"):
        runner.run([])


@pytest.fixture
def side_by_side(monkeypatch):
    """Makes a runner for so many cells; the host's devices are taken for accelerators."""
    monkeypatch.setattr(runner_module, "_on_cpu", lambda: False)
    return partial(Runner, load("irradiance"), LINE, SETTINGS, [TRAINED["clip"]])


@pytest.fixture
def uncompiled(runner, monkeypatch):
    """What would be compiled takes 100 bytes a cell, and runs nothing."""

    def compiled(*given):
        each = given[-1]
        return dataclasses.replace(runner._compiled, batch=2 * each, bytes=100 * each)

    monkeypatch.setattr(runner_module, "_compile", compiled)


def test_an_accelerator_trains_as_many_cells_side_by_side_as_its_memory_holds(
    side_by_side, uncompiled, monkeypatch
):
    assert side_by_side(cells=7).batch == 8
    for free, batch in ((400, 8), (399, 4), (199, 2), (1, 2)):
        monkeypatch.setattr(
            runner_module, "_free_memory", lambda free=free: free / runner_module.ROOM
        )
        assert side_by_side(cells=7).batch == batch


def test_several_cells_a_device_end_where_each_alone_would(runner, side_by_side):
    """On two devices, two cells each, of which some are over before others; each alone as the CPU
    trains them."""
    runs = [Run("clip", {}, rate, seed) for seed, rate in enumerate((3e-3, 0.0, 1e-2, 0.0))]
    together = side_by_side(cells=4)
    assert together.batch == 4
    assert together.each == 2
    assert together._compiled.bytes > 0
    found = together.run(runs)
    for run, one in zip(runs, found, strict=True):
        other = runner.run([run])[0]
        np.testing.assert_array_equal(one.history["epoch"], other.history["epoch"])
        np.testing.assert_allclose(one.history["mse"], other.history["mse"], rtol=1e-4)
        np.testing.assert_allclose(one.metrics["mse"], other.metrics["mse"], rtol=1e-4)
    assert [len(one.history["epoch"]) for one in found][1::2] == [3, 3]
    assert len(found[0].history["epoch"]) > 3


def test_every_product_is_as_precise_as_the_dtype_says(monkeypatch):
    """Those of the end of training too, whatever JAX does by default."""
    texts = []
    monkeypatch.setattr(
        runner_module.Lowered, "compile", lambda lowered: texts.append(lowered.as_text())
    )
    monkeypatch.setattr(runner_module, "_bytes", lambda compiled: 0)
    settings = dataclasses.replace(SETTINGS, dtype="tensorfloat32")
    with jax.default_matmul_precision("bfloat16"):
        Runner(load("irradiance"), LINE, settings, [TRAINED["clip"]], save=["predictions"])
    products = [re.findall(r"dot_general.*", text) for text in texts]
    assert sum(map(bool, products)) == 3  # of a chunk, the end, the outputs
    assert all("precision = [HIGH, HIGH]" in one for of in products for one in of)


def test_memory_that_is_full_halves_what_is_trained_side_by_side(
    side_by_side, uncompiled, monkeypatch
):
    tried = []
    runs = [Run("clip", {}, 3e-3, seed) for seed in range(4)]
    runner = side_by_side(cells=4)

    def full(self, runs, on_epochs):
        tried.append(self.batch)
        if self.batch > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return runs

    monkeypatch.setattr(Runner, "_side_by_side", full)
    assert runner.run(runs) == runs
    assert tried == [4, 2, 2]

    def broken(self, runs, on_epochs):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(Runner, "_side_by_side", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        runner.run(runs)


def test_evaluation_divides_the_epochs():
    assert [Settings(epochs=e).evaluate_every for e in (1, 7, 8, 50, 60)] == [1, 1, 4, 5, 5]


def test_example_windows_are_a_typical_and_a_varied_one():
    dataset = load("irradiance")
    spread = dataset.part("test")["targets"].std(axis=1)[:, 0]
    typical, varied = example_windows(dataset, "test")
    assert abs((spread < spread[typical]).mean() - 0.5) < 0.02
    assert abs((spread < spread[varied]).mean() - 0.9) < 0.02
