"""Metrics and networks of the user's own: what they are given, and what is said of misfits."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.data.catalogue import Entry
from experiments.data.datasets import prepared
from experiments.running.fingerprints import fingerprints
from experiments.running.plan import cells, lay_out
from experiments.running.presets import make_plan
from experiments.training.networks import check_network
from experiments.training.own_metrics import check_metrics, own_metrics
from experiments.training.strategies import TRAINED
from experiments.training.users_code import known
from experiments.usage import UsageError

TARGETS = np.linspace(1, 3, 20 * 4).reshape(20, 4, 1)
ARRAYS = {
    "inputs": 5 * TARGETS,
    "targets": np.where(np.arange(4)[None, :, None] == 1, np.nan, TARGETS),
    "upper": TARGETS + 1,
    "split": np.repeat([0, 1, 2], [10, 5, 5]),
}
DATASET = prepared("mine", Entry(lambda: ARRAYS, "", "USD"))


def slack(output, target, lower, upper, where):
    return jnp.mean(upper - target, where=where)


def test_a_metric_is_given_the_datasets_unit_and_what_counts():
    found = []

    def metric(*given):
        found.extend(given)
        return slack(*given)

    part = DATASET.part("test")
    output = jnp.full((5, 4, 1), 2 / DATASET.scale)
    with known({"here:m": metric}):
        value = own_metrics("here:m", output, part, np.float32(DATASET.scale))["here:m"]
    output, target, lower, upper, where = found
    np.testing.assert_allclose(output, 2, rtol=1e-6)
    np.testing.assert_allclose(target[:, 0], TARGETS[15:, 0], rtol=1e-6)
    np.testing.assert_allclose(upper, TARGETS[15:] + 1, rtol=1e-6)
    assert np.isneginf(lower).all()
    np.testing.assert_array_equal(where[..., 0], np.arange(4)[None] != np.ones((5, 1)))
    assert value == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (lambda *given: given[0], r"must give one number, got float32 of shape \(10, 4, 1\)"),
        (lambda *given: given[0].sum() * 1j, "must give one number, got complex64"),
        (lambda output, target: 0.0, "does not fit mine: .*positional arguments"),
        (lambda *given: float(given[0].sum()), "does not fit mine: .*[Tt]rac"),
    ],
)
def test_what_is_no_metric_is_refused(metric, message):
    with known({"here:m": metric}), pytest.raises(UsageError, match=message):
        check_metrics("here:m", DATASET.part("train"), "mine")


class Straight(nnx.Module):
    factor = 1.0

    def __init__(self, in_features, out_features, steps, rngs, hidden):
        self.dense = nnx.Linear(in_features, out_features, rngs=rngs)

    def __call__(self, inputs, bounds):
        return self.factor * self.dense(inputs)


class Doubled(Straight):
    factor = 2.0


class Asking(Straight):
    def __call__(self, inputs, bounds, more):
        return inputs


def test_a_network_that_raises_is_named():
    message = "here:net does not fit mine: .*missing 1 required positional argument: 'more'"
    with known({"here:net": Asking}), pytest.raises(UsageError, match=message):
        check_network("here:net", 2, "float32", DATASET.part("train"), "mine")
    with known({"here:net": 3}), pytest.raises(UsageError, match="is no function"):
        check_network("here:net", 2, "float32", DATASET.part("train"), "mine")


def test_a_record_is_stale_when_what_a_name_stands_for_changes():
    plan = make_plan("smoke", backbones=["here:net"], metrics=["here:m"], seeds=1)
    first = {"here:net": Straight, "here:m": slack}
    changes = {}, {"here:net": Doubled}, {"here:m": lambda *given: 2 * slack(*given)}
    with known(first):
        planned = cells(plan, DATASET, [TRAINED["clip"]])

    def found(change):
        with known(first | change):
            return fingerprints(planned, {"mine": DATASET}, {})

    before, again, *after = map(found, ({}, *changes))
    assert again == before
    for (changed, *_), now in zip(changes[1:], after, strict=True):
        of_metrics = changed == "here:m"
        for cell in planned:
            is_stale = now[cell.id]["training"] != before[cell.id]["training"]
            assert is_stale == (cell.is_trained or of_metrics)


def test_names_of_ones_own_are_planned_and_the_metric_is_part_of_the_cell(tmp_path):
    with known({"here:net": Straight, "here:m": slack}):
        plan = make_plan("smoke", backbones=["here:net"], metrics=["here:m"], hidden=[2, 3])
        layout = lay_out(plan)
    trained = [cell for cell in layout.cells.values() if cell.is_trained]
    assert {cell.network for cell in trained} == {"here:net"}
    assert {cell.backbone for cell in trained} == {"here:net_2", "here:net_3"}
    assert {cell.training["metrics"] for cell in layout.cells.values()} == {"here:m"}
    assert make_plan("smoke", metrics=["here:m", "here:m"]).metrics == ("here:m",)
    with pytest.raises(UsageError, match="--metrics takes module:function, got 'mae'"):
        make_plan("smoke", metrics=["mae"])
