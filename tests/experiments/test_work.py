"""A batch of cells as a worker runs it: plain JSON in, plain JSON out."""

import json

import numpy as np
import pytest

from experiments import work
from experiments.datasets import load
from experiments.plan import cells, make_plan
from experiments.strategies import TRAINED
from experiments.work import make_request, run_batch


def baseline_request(**changes):
    found = cells(make_plan("smoke"), load("irradiance"), [TRAINED["clip"]])
    baselines = [cell for cell in found if cell["backbone"] == "none"]
    return make_request(baselines, "irradiance", ["clip"], False) | changes


def test_what_goes_and_comes_is_json():
    request = baseline_request()
    assert json.loads(json.dumps(request)) == request
    reply = run_batch(request)
    assert json.loads(json.dumps(reply)).keys() == {"finished", "compile_seconds"}
    assert [found["record"]["config"] for found in reply["finished"]] == request["cells"]
    assert all(found["record"]["status"] == "done" for found in reply["finished"])


def test_arrays_come_back_to_the_bit():
    arrays = {
        "history": np.array([np.nan, -0.0, 1e-45, np.inf], np.float32),
        "epoch": np.arange(6, dtype=np.int32).reshape(2, 3).T,
        "empty": np.zeros((0, 3)),
    }
    found = work.decode(json.loads(json.dumps(work._encode(arrays))))
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_other_sources_are_refused():
    reply = run_batch(baseline_request(sources="0" * 64))
    assert reply["refused"]
    assert "start it from the same checkout" in reply["error"]


def test_other_data_are_refused():
    request = baseline_request()
    cell = request["cells"][0]
    other = {**cell, "dataset": {**cell["dataset"], "hash": "0" * 64}}
    reply = run_batch({**request, "cells": [other]})
    assert reply["refused"]
    assert "irradiance is not what was planned" in reply["error"]


def test_another_version_of_a_users_strategy_is_refused():
    name = "bounded.constraints:clip"
    row = work._strategy(name)
    (cell, *_) = cells(make_plan("smoke", strategies=(name,)), load("irradiance"), [row])
    planned = {**cell, "strategy": {**cell["strategy"], "hash": "0" * 64}}
    reply = run_batch(make_request([planned], "irradiance", [name], False))
    assert reply["refused"]
    assert "another version of bounded.constraints:clip" in reply["error"]


def test_an_error_is_a_reply_that_says_what(monkeypatch):
    def fail(*_):
        raise MemoryError("12 GB")

    monkeypatch.setattr("experiments.baselines.measure", fail)
    assert run_batch(baseline_request()) == {"error": "MemoryError: 12 GB", "refused": False}


@pytest.mark.parametrize("error", [None, "diverged"])
def test_a_record_of_a_cell(error):
    (cell, *_) = baseline_request()["cells"]
    record = work.make_record(cell, {"mse": 1.0}, {"train_seconds": 2.0}, error)
    assert record["status"] == ("failed" if error else "done")
    assert record["metrics"] == ({} if error else {"mse": 1.0})
    assert record["error"] == error
    assert record["sources"] == work.source_hash()
