"""A sweep's folder with everything in it, for tests of what becomes of it: nothing is trained."""

import json
import warnings

import numpy as np

from experiments import packed, store
from experiments.figures import captions
from experiments.figures.captions import Words
from experiments.page import build
from tests.experiments import written

CELLS, PACKED = 10, 5  # in all, and in packed files
EPOCHS = np.array([1, 2, 3])
NAMES = ("epoch", *packed.HISTORY)


def arrays_of(seed, shape=(2, 4, 1), level=0.25):
    history = {f"history_{name}": EPOCHS * (seed + 1.0) for name in NAMES}
    windows = {f"example_{key}": np.full(shape, level) for key in ("inputs", "targets", "upper")}
    return history | windows | {"example_output": np.full(shape, seed + 0.1)}


def make(folder):
    """Records of flights loose, of wind packed, a manifest, a figure, and what is derived."""
    with store.opened(folder):
        for dataset in ("wind", "flights"):
            for record in written.sweep([dataset], ("clip", "climatology_clipped"), seeds=2):
                store.save(folder, record, arrays_of(record.cell.seed))
            if dataset == "wind":
                store.pack(folder)
                for path in (folder / "cells").iterdir():
                    path.unlink()
        described = json.loads(json.dumps(written.manifest(["wind", "flights"])))
        store.write_manifest(folder, described)
        written.figure(folder / "figures" / "a.png")
        words = Words(title="A", caption="a", dataset="wind")
        captions.keep(folder, [("a.png", words)], store.read(folder))
        build.build(folder, with_figures=False)
    return folder


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def told_by(call, *arguments, **more):
    """What a call gives, and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call(*arguments, **more)
    return result, [str(one.message) for one in caught]


def found_in(folder):
    """Records, their arrays, and the warnings that come with them."""
    store._unpacked.cache_clear()
    records, told = told_by(store.read, folder)
    arrays, more = told_by(store.arrays_of, folder, records)
    return records, arrays, told + more


def same(one, other):
    """Whether arrays by id are the same."""
    return one.keys() == other.keys() and all(
        of.keys() == other[key].keys()
        and all(np.array_equal(array, other[key][name]) for name, array in of.items())
        for key, of in one.items()
    )
