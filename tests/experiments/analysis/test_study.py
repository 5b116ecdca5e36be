"""A sweep as it is read: which files count together, how they are named, what is looked at."""

from dataclasses import replace

import pytest

from experiments.analysis import evidence, result_tables, study
from experiments.analysis.study import Choice
from experiments.usage import UsageError
from tests.experiments import written

STRATEGIES = ("unconstrained", "clip", "smooth_clip", "climatology_clipped")
FILES = ("north", "south", "other.npz")


def described(**more):
    """A manifest of a user's files: two of one group."""
    groups = {"north": "shop", "south": "shop", "other.npz": "other.npz"}
    return {"datasets": {name: {"group": of} | more for name, of in groups.items()}}


def records(seeds=2, mse=0.25):
    """`clip` errs more in the north."""
    return [
        written.record(strategy, dataset, seed=seed, mse=errors.get(strategy, 0.5))
        for dataset, errors in zip(
            FILES, ({"clip": 0.4}, {"clip": 0.1}, {"clip": mse}), strict=True
        )
        for strategy in STRATEGIES
        for seed in range(1 if strategy == "climatology_clipped" else seeds)
    ]


def test_files_of_one_group_count_once():
    ranking = study.read(described(), records()).rankings["bottleneck"]
    assert ranking.scores.groups == ("other.npz", "shop")
    # Skills of 0.2 and 0.8 in the shop, and 0.5 elsewhere.
    assert ranking.skill["clip"].value == pytest.approx((0.5 + 0.5) / 2)
    ranking = study.read({}, records()).rankings["bottleneck"]
    assert ranking.scores.groups == ("north", "other.npz", "south")
    assert ranking.skill["clip"].value == pytest.approx((0.2 + 0.8 + 0.5) / 3)


def test_a_files_ending_is_no_part_of_what_is_planned_unless_it_was():
    """Older sweeps called a dataset by the file's whole name."""
    plan = {"strategies": ["clip"], "backbones": ["bottleneck"], "seeds": 2}
    plan["datasets"] = ["mine/north.npz", "mine/south.npz", "mine/other.npz", "wind"]
    found = study.read({**described(), "plan": plan}, records())
    assert found.missing == {"wind": 2}


EVIL = "a\x1b[2J" + "<b>$x$" * 99


def test_titles_and_columns_are_named_in_tables_and_cut():
    found = study.read(described(title="The shop", columns=["open", "close"]), records())
    assert found.named("north") == "The shop (north)"
    assert (found.named("wind"), found.title("wind")) == ("wind", "")
    tables = {table.name: table for table in evidence.gather(found)}
    assert tables["metrics-north-bottleneck"].caption.startswith("The shop (north), bottleneck")
    row = dict(
        zip((c.key for c in tables["datasets"].columns), tables["datasets"].rows[0], strict=True)
    )
    assert (row["summary"], row["columns"]) == ("The shop", "open, close")
    odd = study.read(described(title=EVIL, columns=[EVIL], unit=EVIL), records())
    for table in evidence.gather(odd):
        for text in (table.caption, *(one for row in table.rows for one in row)):
            assert not isinstance(text, str) or (len(text) < 400 and "\x1b" not in text)


def test_a_choice_covers_and_shows():
    choice = Choice(["clip"], ["wind"], ["bottleneck"])
    assert choice.shows("clip")
    assert not choice.shows("hinge")
    assert choice.covers("wind", "none")
    assert not choice.covers("wind", "conditioned")
    assert not choice.covers("sines", "bottleneck")
    assert Choice().covers("any", "any")
    assert Choice().shows("any")


def test_what_is_missing_elsewhere_does_not_count_in_a_choice():
    plan = {"strategies": list(STRATEGIES), "datasets": list(FILES), "seeds": 2}
    manifest = {**described(), "plan": {**plan, "backbones": list(written.BACKBONES)}}
    assert study.read(manifest, records()).missing
    found = study.read(manifest, records(), Choice(backbones=["bottleneck"]))
    assert not found.missing
    found = study.read(manifest, records(), Choice(["smooth_clip"], ["north"]))
    assert found.strategies == ["smooth_clip"]
    assert found.every_dataset == ["north"]
    with pytest.raises(UsageError, match="Unknown dataset 'nort'. Did you mean 'north'"):
        study.read(manifest, records(), Choice(datasets=["nort"]))


def test_sides_that_are_filled_from_the_training_range_are_told_in_order_and_by_dataset():
    records = written.sweep(["wind", "flights"], ("tanh_interval", "clip"), seeds=2)
    sides = {"tanh_interval": ("lower", "upper"), "clip": ("lower",)}
    records = [
        replace(
            one,
            cell=replace(
                one.cell, bounds=dict.fromkeys(sides[one.cell.strategy], "training range")
            ),
        )
        for one in records
        if one.cell.strategy in sides and one.cell.dataset == "wind"
    ]
    of = study.read({}, records)
    assert of.filled == {"wind": {"clip": "lower", "tanh_interval": "lower and upper"}}
    assert list(of.filled["wind"]) == ["clip", "tanh_interval"]
    note = result_tables.metrics(of, "wind", "conditioned").notes[1]
    assert note.endswith("range: clip (lower), tanh_interval (lower and upper).")
