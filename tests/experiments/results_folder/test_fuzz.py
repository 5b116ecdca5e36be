"""A folder whose files were spoiled at random: each change is found or harmless, and none loses
anything. A sample here; at length with `python -m pytest -m slow tests/experiments`."""

import random
import shutil

import pytest

from experiments import store
from experiments.files import StorageError
from experiments.page import build
from tests.experiments.results_folder.whole import contents, found_in, same, told_by
from tests.sampled import sampled

KINDS = {
    "loose record": "cells/*.json",
    "loose arrays": "cells/*.npz",
    "packed": "packed/*.npz",
    "manifest": "manifest.json",
    "captions": "figures/captions.json",
    "tables": "tables/made.json",
    "summary": "summary.csv",
    "figure": "figures/*.png",
}


@pytest.fixture(autouse=True)
def precious(undrawn, tmp_path):
    (tmp_path / "precious.csv").write_text("mine")


def spoiled(content, generator):
    """A content with one thing that happens to files."""
    kind = generator.choice(["bit", "bit", "bits", "cut", "cut in", "splice", "zeros", "twice"])
    place, other = sorted(generator.randrange(len(content)) for _ in range(2))
    changed = bytearray(content)
    if kind.startswith("bit"):
        for _ in range(1 if kind == "bit" else generator.randrange(2, 20)):
            where = generator.randrange(8 * len(content))
            changed[where // 8] ^= 1 << where % 8
    elif kind == "cut":
        del changed[place:]
    elif kind == "cut in":
        del changed[place : other + 1]
    elif kind == "splice":
        changed[place:place] = content[other : other + generator.randrange(1, 200)]
    elif kind == "zeros":
        changed[place : other + 1] = bytes(other + 1 - place)
    else:
        changed += content
    return bytes(changed)


def is_derived(path):
    return path.parent.name == "tables" or path.name in ("summary.csv", "report.html")


def lasting(place):
    return {path: held for path, held in contents(place).items() if not is_derived(path)}


def attack(folder, original, kind, generator, with_report):
    """Spoil a file and look at what is made of it."""
    path = generator.choice(sorted(folder.glob(KINDS[kind])))
    path.write_bytes(spoiled(path.read_bytes(), generator))
    before = contents(folder.parent)
    records, arrays, _ = found_in(original)
    described = store.read_manifest(original)

    records_now, arrays_now, told = found_in(folder)
    described_now, more = told_by(store.read_manifest, folder)
    assert all(record in records for record in records_now), "no record is another one"
    assert same(arrays_now, {record.id: arrays[record.id] for record in records_now})
    found = [one for one in told + more if path.stem in one]
    assert found or (records_now == records and described.items() <= described_now.items())
    assert contents(folder.parent) == before, "a reader changes nothing"

    before = lasting(folder.parent)
    if with_report:
        told_by(build.build, folder)
        assert lasting(folder.parent) == before, "a report changes what follows from the records"
    with store.opened(folder):
        told_by(store.read, folder, set_aside=True)
        store.set_manifest_aside(folder)
        if kind == "packed" and found:
            with pytest.raises(StorageError, match="nothing is packed over it"):
                store.pack(folder)
    assert set(before.values()) <= set(lasting(folder.parent).values()), "nothing is lost"


def fuzz(folder, original, kind, attacks, reports):
    generator = random.Random(kind)
    for number in range(attacks):
        try:
            attack(folder, original, kind, generator, with_report=number < reports)
        except Exception as error:
            raise AssertionError(f"{kind}: attack {number} of this seed") from error
        shutil.rmtree(folder)
        shutil.copytree(original, folder)


@pytest.mark.parametrize(("attacks", "reports"), sampled([(8, 1), (20, 2)], [(8, 1)]))
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_spoiled_is_found_or_harmless(folder, original, kind, attacks, reports):
    fuzz(folder, original, kind, attacks, reports)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_spoiled_in_500_ways_is_found_or_harmless(folder, original, kind):
    fuzz(folder, original, kind, attacks=500, reports=100)
