import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from bounded import constraints
from bounded.autoencoder import LSTMAutoencoder
from bounded.lstm import lstm_scan
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("unoptimised")
INPUTS = np.random.default_rng(1).normal(size=(3, 5, 1)).astype(np.float32)
BOTTLENECK_AND_CONDITIONED = pytest.mark.parametrize("conditioned", [False, True])
EITHER_DECODER = pytest.mark.parametrize("conditioned", sampled([False, True], bool))


def make(out_features=2, constraint=constraints.clip, conditioned=False, seed=0):
    return LSTMAutoencoder(1, out_features, 8, constraint, conditioned, rngs=nnx.Rngs(seed))


@jax.jit
def call(model, *inputs, **bounds):
    """As one program, which takes less to compile than one for each step of it."""
    return model(*inputs, **bounds)


@pytest.mark.parametrize(
    ("constraint", "conditioned"),
    sampled(
        [
            (constraint, conditioned)
            for constraint in (constraints.clip, constraints.smooth_clip, constraints.relu_offset)
            for conditioned in (False, True)
        ],
        [(constraints.clip, False), (constraints.smooth_clip, True)],
    ),
)
def test_the_output_is_inside_its_bound_for_random_parameters(constraint, conditioned):
    for seed in range(3):
        model = make(2, constraint, conditioned, seed)
        output = call(model, INPUTS, upper=INPUTS)
        assert output.shape == (3, 5, 2)
        assert (np.asarray(output) <= INPUTS).all()


@BOTTLENECK_AND_CONDITIONED
def test_any_window_length_and_a_single_window(conditioned):
    model = make(conditioned=conditioned)
    for shape in ((1, 1, 1), (2, 7, 1), (0, 4, 1)):
        output = jax.eval_shape(lambda inputs: model(inputs, upper=1.0), np.ones(shape))
        assert output.shape == (*shape[:2], 2)


def test_the_bottleneck_decodes_from_the_code_alone():
    model = make()

    @jax.jit
    def run(inputs):
        code = model.encode(inputs)
        dense = model.dense(model.decoder(5, code[:, None])[:, 3])
        return model.decode(code, 5), model.decode(code, 5, inputs + 1), dense

    alone, given, dense = run(INPUTS)
    np.testing.assert_array_equal(alone, given)
    np.testing.assert_allclose(alone[:, 3], dense, atol=1e-6)  # the same layer at every step


def test_the_conditioned_decoder_sees_each_input_from_its_step_on():
    model = make(conditioned=True)
    later = np.copy(INPUTS)
    later[:, 2] += 1

    @jax.jit
    def run(inputs, later):
        code = model.encode(inputs)
        return model.decode(code, 5, later) - model.decode(code, 5, inputs)

    changed = run(INPUTS, later)
    assert (changed[:, :2] == 0).all()
    assert (changed[:, 2:] != 0).all()


def test_windows_do_not_see_each_other():
    model = make()
    other = np.copy(INPUTS)
    other[0] += 1
    changed, usual = (np.asarray(call(model, given, upper=9.0)) for given in (other, INPUTS))
    assert (changed[0] != usual[0]).any()
    np.testing.assert_allclose(changed[1:], usual[1:], atol=1e-6)


@EITHER_DECODER
def test_mixed_precision_keeps_weights_and_outputs_in_single_precision(conditioned):
    single = make(conditioned=conditioned)
    mixed = LSTMAutoencoder(
        1, 2, 8, constraints.clip, conditioned, dtype="bfloat16", rngs=nnx.Rngs(0)
    )
    for one, other in zip(*(jax.tree.leaves(nnx.state(m)) for m in (single, mixed)), strict=True):
        np.testing.assert_array_equal(one, other)
        assert other.dtype == jnp.float32
    outputs = [np.asarray(call(model, INPUTS, upper=INPUTS + 9)) for model in (mixed, single)]
    assert outputs[0].dtype == outputs[1].dtype == np.float32
    assert 1e-6 < abs(outputs[0] - outputs[1]).max() < 2e-2


def test_initial_weights_are_those_of_keras():
    model = make()
    np.testing.assert_array_equal(model.encoder.bias[...], np.repeat([0, 1, 0, 0], 8))
    recurrent = np.asarray(model.encoder.recurrent[...])
    np.testing.assert_allclose(recurrent.T @ recurrent, np.eye(8), atol=1e-5)
    limit = np.sqrt(6 / (1 + 32))
    assert abs(np.asarray(model.encoder.kernel[...])).max() <= limit
    shapes = nnx.eval_shape(lambda: LSTMAutoencoder(1, 1, rngs=nnx.Rngs(0)))
    assert shapes.hidden_features == 150


def test_it_learns_under_a_constraint():
    model = make(1)
    graph, parameters = nnx.split(model)

    @jax.jit
    @jax.value_and_grad
    def loss(parameters):
        return jnp.mean((nnx.merge(graph, parameters)(INPUTS, upper=INPUTS + 1) - INPUTS) ** 2)

    before, gradient = loss(parameters)
    stepped = jax.tree.map(lambda p, g: np.asarray(p) - np.float32(0.1) * g, parameters, gradient)
    assert loss(stepped)[0] < before


def test_no_bound_is_refused_except_by_identity():
    clipped, free = make(), make(constraint=constraints.identity)
    with pytest.raises(ValueError, match="identity"):
        jax.eval_shape(lambda inputs: clipped(inputs), INPUTS)
    assert jax.eval_shape(lambda inputs: free(inputs), INPUTS).shape == (3, 5, 2)


def test_wrong_shapes_are_refused():
    model = make(conditioned=True)
    with pytest.raises(ValueError, match=r"inputs must be \(B, T, 1\)"):
        model(jnp.ones((3, 5)), upper=1.0)
    with pytest.raises(ValueError, match=r"inputs must be \(B, T, 1\)"):
        model(jnp.ones((3, 0, 1)), upper=1.0)
    with pytest.raises(ValueError, match=r"code must be \(B, 8\)"):
        model.decode(jnp.ones((3, 5)), 5)
    with pytest.raises(ValueError, match="reads the inputs"):
        model.decode(jnp.ones((3, 8)), 5)


@pytest.mark.thorough  # a step of it: test_lstm.py, and forward mode below
def test_twenty_updates_agree_with_automatic_differentiation(monkeypatch):
    """The hand-derived backward pass leaves training where it was; later on it is chaotic."""
    inputs = jax.random.uniform(jax.random.key(0), (8, 12, 2))
    optimizer = optax.adam(3e-3)

    def trained():
        model = LSTMAutoencoder(2, 2, 8, constraints.clip, condition_decoder=True, rngs=nnx.Rngs(1))
        graph, parameters = nnx.split(model)

        def update(carry, _):
            parameters, state = carry

            def loss(parameters):
                output = nnx.merge(graph, parameters)(inputs, upper=inputs)
                return jnp.mean((output - 0.8 * inputs) ** 2)

            change, state = optimizer.update(jax.grad(loss)(parameters), state)
            return (optax.apply_updates(parameters, change), state), None

        @jax.jit
        def updated(parameters):
            carry = (parameters, optimizer.init(parameters))
            return jax.tree.leaves(jax.lax.scan(update, carry, length=20)[0][0])

        return updated(parameters)

    by_hand = trained()
    monkeypatch.setattr("bounded.autoencoder.lstm", lstm_scan)
    for found, expected in zip(by_hand, trained(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@EITHER_DECODER
def test_windows_of_different_lengths_in_one_batch(conditioned):
    model = make(conditioned=conditioned)
    output = np.asarray(call(model, INPUTS, upper=9.0, lengths=np.array([5, 2, 2])))
    for row, length in enumerate([5, 2, 2]):
        alone = call(model, INPUTS[row : row + 1, :length], upper=9.0)
        np.testing.assert_allclose(output[row, :length], alone[0], rtol=1e-5, atol=1e-6)
    whole = call(model, INPUTS, upper=9.0, lengths=np.full(3, 5))
    np.testing.assert_array_equal(whole, call(model, INPUTS, upper=9.0))


def test_wrong_lengths_are_refused():
    model = make()
    with pytest.raises(ValueError, match=r"lengths must be whole numbers of shape \(3,\)"):
        model(INPUTS, upper=1.0, lengths=jnp.array([5, 5]))
    with pytest.raises(ValueError, match="between 1 and 5"):
        model(INPUTS, upper=1.0, lengths=jnp.array([5, 0, 6]))
    with pytest.raises(ValueError, match="whole numbers"):
        model(INPUTS, upper=1.0, lengths=jnp.ones(3))


@EITHER_DECODER
def test_forward_mode_goes_through_scans(conditioned):
    model = LSTMAutoencoder(1, 2, 8, constraints.clip, conditioned, scan=True, rngs=nnx.Rngs(0))
    by_hand = make(conditioned=conditioned)

    def value(model):
        def total(inputs):
            output = model(inputs, upper=9.0)
            return jnp.sum(jnp.sin(output)), output

        return total

    @jax.jit
    def slopes(inputs):
        backward, expected = jax.grad(value(by_hand), has_aux=True)(inputs)
        _, tangent, output = jax.jvp(value(model), (inputs,), (jnp.ones_like(inputs),), True)
        return jnp.sum(backward), tangent, expected, output

    backward, tangent, expected, output = slopes(INPUTS)
    np.testing.assert_array_equal(output, expected)
    np.testing.assert_allclose(tangent, backward, rtol=1e-4)


@EITHER_DECODER
@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize("scan", sampled([False, True], {False}))
def test_shards_of_a_batch_have_the_same_outputs_and_gradients(conditioned, scan):
    model = LSTMAutoencoder(1, 2, 8, constraints.clip, conditioned, scan=scan, rngs=nnx.Rngs(0))
    graph, parameters = nnx.split(model)
    inputs = np.random.default_rng(3).normal(size=(4, 5, 1)).astype(np.float32)

    def loss(parameters, inputs):
        return jnp.sum(nnx.merge(graph, parameters)(inputs, upper=inputs + 9) ** 2)

    expected = jax.jit(jax.grad(loss))(parameters, inputs)
    auto = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))
    own = jax.shard_map(
        jax.grad(lambda p, x: jax.lax.psum(loss(p, x), "batch")),
        mesh=auto,
        in_specs=(P(), P("batch")),
        out_specs=P(),
    )
    whole = jax.grad(
        lambda p: jnp.sum(
            jax.shard_map(
                lambda p, x: nnx.merge(graph, p)(x, upper=x + 9),
                mesh=auto,
                in_specs=(P(), P("batch")),
                out_specs=P("batch"),
            )(p, inputs)
            ** 2
        )
    )
    explicit = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(explicit):
        placed = jax.device_put(inputs, jax.NamedSharding(explicit, P("batch")))
        found = [jax.jit(jax.grad(loss))(parameters, placed)]
    found += jax.jit(lambda p, x: (own(p, x), whole(p)))(parameters, inputs)
    for gradient in found:
        for one, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(np.asarray(one), other, rtol=1e-4, atol=1e-5)


@EITHER_DECODER
def test_it_is_exported_for_batches_of_any_size(conditioned):
    graph, parameters = nnx.split(make(conditioned=conditioned))
    (batch,) = jax.export.symbolic_shape("batch")

    def loss(parameters, inputs):
        return jnp.sum(nnx.merge(graph, parameters)(inputs, upper=inputs) ** 2)

    shape = jax.ShapeDtypeStruct((batch, 5, 1), jnp.float32)
    exported = jax.export.export(jax.jit(jax.grad(loss)))(parameters, shape)
    found, expected = exported.call(parameters, INPUTS), jax.jit(jax.grad(loss))(parameters, INPUTS)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
