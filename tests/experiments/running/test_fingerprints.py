"""What makes a record stale, tried on edited copies of the sources; what does not."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.cells import Cell
from experiments.data.datasets import load
from experiments.running import fingerprints
from experiments.running.fingerprints import ROOT, of_strategy, shapes_of, versions
from experiments.training.cell import Settings
from experiments.training.own_strategies import resolve
from experiments.training.strategies import TRAINED
from experiments.training.strategy_rows import constraint_row
from tests.sampled import sampled

SETTINGS = Settings(hidden=4, epochs=2, batch=8)
GOLDEN = {
    "jax": "0.10.2",
    "smooth_clip": "136446bf77c9708c82ef5faff3f73dc7",
    "bottleneck": "ce23328cbea05bda41ad795019054018",
}
PROBE = """
import json, sys

def probe(names):
    from experiments.data.datasets import load
    from experiments.running.fingerprints import HOST, of_strategy, of_training, shapes_of
    from experiments.running.syntax import syntax
    from experiments.training.cell import Settings
    from experiments.training.strategies import TRAINED
    data, settings = shapes_of(load("wind"), "test"), Settings(hidden=4, epochs=2, batch=8)
    found = {name: of_strategy(TRAINED[name], data, settings) for name in names if name in TRAINED}
    if "bottleneck" in names:
        found["bottleneck"] = of_training("bottleneck", settings, data)
    return found | {"host": syntax(*HOST)}

for folder, names in json.loads(sys.argv[1]):
    for name in list(sys.modules):
        if name.partition(".")[0] in ("bounded", "experiments"):
            del sys.modules[name]
    sys.path.insert(0, folder)
    print(json.dumps(probe(names)))
"""
FORMULAS, CELL = "bounded/_formulas.py", "experiments/training/cell.py"
EDITS = {
    "a constant of smooth_clip": (
        [(FORMULAS, r"size < 1\b", "size < 2")],
        {"smooth_clip", "annealed_smooth_clip"},
    ),
    "a penalty": (
        [("bounded/penalties.py", r"\*\* 2", "** 2 * 1.5")],
        {"squared_hinge"},
    ),
    "the optimiser": ([(CELL, r"optax\.adam\(", "optax.sgd(")], {"bottleneck"}),
    "the network": ([("bounded/lstm.py", r"jnp\.tanh\(", "jnp.sin(")], {"bottleneck"}),
    "which windows are shown": ([(CELL, r"\(0\.5, 0\.9\)", "(0.5, 0.8)")], {"host"}),
    "the training range": (
        [("experiments/data/datasets.py", r"targets\.max\(\(0, 1\)", "targets.min((0, 1)")],
        {"host"},
    ),
    "nothing": ([], set()),
}
OF_EACH_KIND = ("a constant of smooth_clip", "the training range")
EDITS["one of each kind"] = (
    [change for name in OF_EACH_KIND for change in EDITS[name][0]],
    set().union(*(EDITS[name][1] for name in OF_EACH_KIND)),
)
EVERY = (
    "clip",
    "smooth_clip",
    "annealed_smooth_clip",
    "knee_tanh",
    "squared_hinge",
    "hinge",
    "bottleneck",
)
FEW = ("clip", "smooth_clip", "bottleneck")  # after one of each kind: each takes a second
CHANGES_NOTHING = [
    (FORMULAS, r'\A"""', '"""Another word. '),
    (FORMULAS, r"(\ndef )", r"\n# A comment.\n\1"),
    (CELL, r'"""A training step', '"""One step of training'),
    (CELL, r"\bsquared_error\b", "mean_error"),
    (CELL, r"\b_chunk\b", "_piece"),
]


def probe(names, *flags, **settings):
    """Of names in each checkout, all in one process of another order of hashes: jax takes long to
    import."""
    environment = os.environ | {"PYTHONHASHSEED": "7", **settings}
    command = [sys.executable, *flags, "-c", PROBE, json.dumps(names)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return list(map(json.loads, run.stdout.splitlines()))


@pytest.fixture(scope="module")
def edits(request):
    """Those that are tested."""
    tests = (getattr(item, "callspec", None) for item in request.session.items)
    tested = {test.params.get("edit") for test in tests if test}
    return [name for name in EDITS if name in tested]


@pytest.fixture(scope="module")
def names(edits):
    """Of which the fingerprints are compared."""
    return EVERY if edits[:-1] else FEW


@pytest.fixture(scope="module")
def unedited(names):
    here = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["", "[]"])
        exec(PROBE, here)
    return here["probe"](names)


def check_out(folder, changes):
    for name in ("bounded", "experiments"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, pattern, text in changes:
        source = (folder / name).read_text()
        altered = re.sub(pattern, text, source)
        assert altered != source, f"{pattern} is not in {name} any more"
        (folder / name).write_text(altered)


def move_formulas(checkout):
    formulas = checkout / FORMULAS
    (checkout / "bounded" / "_moved.py").write_text(formulas.read_text())
    formulas.write_text(
        "from bounded._moved import *\nfrom bounded import _moved\n"
        "globals().update({k: v for k, v in vars(_moved).items() if not k.startswith('__')})\n"
    )


@pytest.fixture(scope="module")
def edited(edits, names, tmp_path_factory):
    """What is found after each of the edits, in sources where comments, names and places are others
    too, by an optimised Python in another locale: all in one interpreter, which takes seconds to
    start."""
    folders = [tmp_path_factory.mktemp("edited") for _ in edits]
    for folder, edit in zip(folders, edits, strict=True):
        check_out(folder, [*EDITS[edit][0], *CHANGES_NOTHING])
        move_formulas(folder)
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    found = probe([(str(folder), names) for folder in folders], "-OO", **plain)
    return dict(zip(edits, found, strict=True))


@pytest.mark.parametrize("edit", sampled(EDITS, {"one of each kind"}))
def test_an_edit_changes_what_it_changes_the_program_of_and_nothing_else(edited, unedited, edit):
    found = edited[edit]
    changed = {name for name in found if found[name] != unedited[name]}
    assert changed == EDITS[edit][1] & found.keys()


def test_golden(unedited):
    if versions()["jax"] != GOLDEN["jax"]:
        pytest.skip(f"the golden fingerprints are of jax {GOLDEN['jax']}")
    found = {name: unedited[name] for name in ("smooth_clip", "bottleneck")}
    assert found == {key: GOLDEN[key] for key in found}, (
        "A program that trains is another one now: every record that it made is stale and has to "
        "be run again. If that is what you want (a mended formula, a new metric, another "
        "optimiser), put these in GOLDEN and say so in CHANGELOG.md. If you meant to change no "
        "numbers (a refactoring, faster tracing), undo it."
    )


TRACED = {}


def of_training(backbone, settings, data, traced=fingerprints.of_training):
    """Each once: it takes a second."""
    key = f"{backbone} {settings} {data}"
    if key not in TRACED:
        TRACED[key] = traced(backbone, settings, data)
    return TRACED[key]


def data_of(dataset, split="test"):
    return shapes_of(load(dataset), split)


OTHERS = {
    "dtype": ("bottleneck", replace(SETTINGS, dtype="bfloat16"), "wind"),
    "hidden": ("mlp", replace(SETTINGS, hidden=5), "wind"),
    "backbone": ("conditioned", SETTINGS, "wind"),
    "dataset": ("mlp", SETTINGS, "irradiance"),
    "split": ("mlp", SETTINGS, "wind", "validation"),
}


# A size stands for a dtype, a dataset for a split, and the bottleneck for another backbone.
@pytest.mark.parametrize("other", sampled(OTHERS, {"hidden", "dataset"}))
def test_shapes_settings_and_backbones_have_programs_of_their_own(unedited, other):
    backbone, settings, *data = OTHERS[other]
    found = {
        unedited["bottleneck"],
        of_training("mlp", SETTINGS, data_of("wind")),
        of_training(backbone, settings, data_of(*data)),
    }
    assert len(found) == 3


def test_shapes_and_rows_have_programs_of_their_own(unedited):
    found = {
        unedited["clip"],
        of_strategy(TRAINED["clip"], data_of("irradiance"), SETTINGS),
        of_strategy(TRAINED["straight_through_clip"], data_of("wind"), SETTINGS),
    }
    assert len(found) == 3


def test_constants_of_a_program_count():
    data = data_of("wind")

    def of(values):
        def table(raw, lower, upper):
            return raw + values

        return of_strategy(constraint_row(table, "", "", own=True), data, SETTINGS)

    large = np.zeros((1, 8, 1), np.float32)
    assert of(large) == of(large.copy())
    assert of(large) != of(large + np.float32(1e-7))


def test_other_settings_of_jax_are_another_program(x64):
    data, row = data_of("wind"), TRAINED["squared_hinge"]
    doubled = of_strategy(row, data, SETTINGS)
    with jax.enable_x64(False):
        assert of_strategy(row, data, SETTINGS) != doubled


def cell(strategy="clip", seed=0, backbone="mlp"):
    known = {
        "model": {"hidden": 4, "dtype": "float32"},
        "training": {
            "epochs": 2,
            "batches_per_epoch": 16,
            "batch": 8,
            "clip_norm": 1.0,
            "learning_rate": 0.001,
        },
    }
    return Cell("wind", "0", "final", strategy, backbone, seed, **known)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(fingerprints, "of_training", of_training)
    traced = []

    def track(todo):
        traced.append([part.key.split()[0] for part in todo])
        return todo

    return traced, track


def of(cells, track, **own):
    return fingerprints.fingerprints(cells, {"wind": load("wind")}, own, track)


def test_nothing_is_traced_again_while_the_sources_stand(cache, monkeypatch):
    traced, track = cache
    cells = [cell(), cell(seed=1), cell("relu_offset"), cell("bound", backbone="none")]
    first = of(cells, track)
    assert sorted(traced.pop()) == ["baseline", "clip", "metrics", "mlp", "relu_offset"]
    assert of(cells, track) == first
    assert traced.pop() == []
    assert first[cells[0].id] == first[cells[1].id]
    assert first[cells[0].id]["training"] == first[cells[2].id]["training"]
    assert first[cells[0].id]["strategy"] != first[cells[2].id]["strategy"]
    monkeypatch.setattr(fingerprints, "sources_hash", lambda: "other")
    assert of(cells, track) == first
    assert len(traced.pop()) == 5


def test_a_row_has_one_program_whatever_its_hyperparameters(cache):
    traced, track = cache
    cells = [cell("smooth_clip"), cell("smooth_clip(temperature=0.5)")]
    found = of(cells, track)
    assert sorted(traced.pop()) == ["mlp", "smooth_clip"]
    assert found[cells[0].id] == found[cells[1].id]
    assert of([cell("smooth_clip(no=1)"), cell("smooth_clip(")], track) == {}


def test_a_size_in_a_backbones_name_changes_no_program(cache):
    _, track = cache
    one, sized = cell(), cell(backbone="mlp_4")
    found = of([one, sized], track)
    assert found[one.id] == found[sized.id]
    assert one.id != sized.id


def test_a_cache_that_is_damaged_or_cannot_be_written_is_done_without(cache, monkeypatch, tmp_path):
    traced, track = cache
    bound = cell("bound", backbone="none")
    first = of([bound], track)
    (kept,) = (tmp_path / "bounded" / "fingerprints").iterdir()
    for text in ("{", "[1]", '"x"', "null"):
        kept.write_text(text)
        assert of([bound], track) == first
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert of([bound], track) == first
    assert len(traced[-1]) == 2


OWN = """
import numpy as np
from helper import scale
TABLE = np.load("table.npy")
def mine(raw, lower=None, upper=None):
    return upper - scale * abs(raw) * TABLE
"""


def test_an_edited_helper_or_data_file_of_a_users_strategy_is_noticed(cache, monkeypatch, tmp_path):
    traced, track = cache
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(OWN)

    def found(helper, table):
        Path("helper.py").write_text(helper)
        np.save("table.npy", np.float32(table))
        for name in ("mine", "helper"):
            sys.modules.pop(name, None)
        shutil.rmtree("__pycache__", ignore_errors=True)
        row = resolve("mine:mine")
        return of([cell("mine:mine")], track, **{"mine:mine": row})[cell("mine:mine").id]

    first = found("scale = 2.0", 1.0)
    assert found("scale = 2.0  # a comment", 1.0) == first
    assert "mine:mine" in traced[-1], "what is the user's own is traced each time"
    assert found("scale = 3.0", 1.0)["strategy"] != first["strategy"]
    assert found("scale = 2.0", 4.0)["strategy"] != first["strategy"]


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math=true", "--xla_cpu_enable_fast_math=true"),
        ("XLA_FLAGS", "--a=1 --xla_dump_to=/tmp --b=2", "--a=1 --b=2"),
        ("XLA_FLAGS", "--xla_force_host_platform_device_count=8", None),
        ("XLA_FLAGS", "", None),
        ("NVIDIA_TF32_OVERRIDE", "0", "0"),
        ("SOMETHING_ELSE", "1", None),
    ],
)
def test_flags_that_decide_numbers_are_in_the_fingerprint(monkeypatch, name, value, kept):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    before = fingerprints.sources_hash()
    assert fingerprints.surroundings() == {"versions": versions()}
    monkeypatch.setenv(name, value)
    assert fingerprints.settings() == ({name: kept} if kept else {})
    assert (fingerprints.sources_hash() == before) == (kept is None), "what is kept of traces"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jax_default_prng_impl", "rbg"),
        ("jax_default_matmul_precision", "highest"),
        ("jax_threefry_partitionable", False),
        ("jax_random_seed_offset", 1),
        ("jax_numpy_dtype_promotion", "strict"),
    ],
)
def test_settings_of_jax_that_decide_numbers_are_in_the_fingerprint(name, value):
    before, usual = fingerprints.sources_hash(), jax.config.values[name]
    jax.config.update(name, value)
    found, after = fingerprints.settings(), fingerprints.sources_hash()
    jax.config.update(name, usual)
    assert found.keys() == {name}
    assert after != before
    assert fingerprints.sources_hash() == before


def test_double_precision_is_in_the_fingerprint(x64):
    assert fingerprints.settings() == {"jax_enable_x64": "True"}


def test_the_usual_settings_are_those_of_this_jax():
    """Else every fingerprint would hold some: one that a new version changed is to be put right."""
    assert fingerprints.settings() == {}


LOOKUP = """
import numpy as np
import jax.numpy as jnp
TABLE = np.load("table.npy")
def mine(raw, lower=None, upper=None):
    return jnp.minimum(raw, upper) + TABLE[: raw.shape[0], None, None]
"""


def test_a_data_file_of_which_a_batch_sees_a_part_is_noticed_as_a_whole(
    cache, monkeypatch, tmp_path
):
    _, track = cache
    monkeypatch.chdir(tmp_path)
    Path("lookup.py").write_text(LOOKUP)
    wind = load("wind")
    windows = int(np.bincount(wind.split).max())

    def found(last):
        table = np.zeros(windows, np.float32)
        table[int((wind.split == 2).sum()) - 1] = last
        np.save("table.npy", table)
        sys.modules.pop("lookup", None)
        row = resolve("lookup:mine")
        return of([cell("lookup:mine")], track, **{"lookup:mine": row})[cell("lookup:mine").id]

    assert found(1.0)["strategy"] != found(2.0)["strategy"]
    assert found(1.0) == found(1.0)


CALLBACK = """
import jax
def mine(raw, lower=None, upper=None):
    @jax.custom_jvp
    def same(raw):
        return jax.pure_callback(lambda raw: raw, raw, raw, vmap_method="sequential")
    same.defjvp(lambda primals, tangents: (same(*primals), *tangents))
    return same(raw)
"""


def test_what_a_users_strategy_does_in_a_callback_is_not_seen_and_this_is_said(
    cache, monkeypatch, tmp_path
):
    _, track = cache
    monkeypatch.chdir(tmp_path)
    Path("calls_back.py").write_text(CALLBACK)
    row = resolve("calls_back:mine")
    with pytest.warns(UserWarning, match="calls_back:mine calls Python back .* no fingerprint"):
        of([cell("calls_back:mine")], track, **{"calls_back:mine": row})


NAMED = """
import jax
def call(name):
    @jax.custom_jvp
    def called(raw):
        return jax.ffi.ffi_call(name, jax.ShapeDtypeStruct(raw.shape, raw.dtype))(raw)
    called.defjvp(lambda primals, tangents: (called(*primals), *tangents))
    return called
def one(raw, lower=None, upper=None):
    return call("one")(raw)
def other(raw, lower=None, upper=None):
    return call("other")(raw)
"""


def test_what_a_users_strategy_calls_by_name_counts(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("named.py").write_text(NAMED)
    wind = data_of("wind")
    found = {of_strategy(resolve(f"named:{name}"), wind, SETTINGS) for name in ("one", "other")}
    assert len(found) == 2
