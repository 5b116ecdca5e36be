"""A sweep written by hand whose page has every part, and names that no page must take for HTML."""

import numpy as np

from experiments import store
from experiments.figures import captions
from experiments.figures.captions import Words
from tests.experiments import written

DATASETS = ["wind", "flights", "irradiance_soiled", "sines", "dial_base"]
EVIL = '<script>alert("1")</script> & `x` [y](#z).npz'
OWN = 'mine:"日本語"</script><!--'
SAID = {
    "b.png": Words(title="B <b>", caption="Of `clip`."),
    "a.png": Words(title="A", caption="", dataset="wind"),
}


def draw(folder, found):
    for name in SAID:
        written.figure(folder / "figures" / name)
    captions.keep(folder, SAID.items(), found.records)


def arrays(record, looks=3):
    """Two windows of eight steps with a missing target, and a curve that goes down."""
    epochs = np.arange(1, looks + 1)
    target = np.stack([np.linspace(0, 1, 8), np.sin(np.arange(8.0))])[..., None]
    target[0, 3] = np.nan
    upper = np.abs(np.nan_to_num(target)) + 0.5
    upper[1, 4] = np.inf
    found = {
        "example_targets": target,
        "example_upper": upper,
        "example_output": upper.clip(max=1) * record.metrics["mse"],
    }
    if record.cell.is_trained:
        found |= {"history_epoch": epochs, "history_mse": record.metrics["mse"] * (2 - epochs / 9)}
    return found


def make(folder):
    """The sweep's folder, without its page."""
    datasets = [*DATASETS, EVIL]
    written.DATASETS[EVIL] = written.DATASETS["wind"]
    try:
        described = written.manifest(datasets)
    finally:
        del written.DATASETS[EVIL]
    described["datasets"]["flights"] |= {"title": "<i>Late</i>", "columns": ["<u>all</u>\x1b"]}
    records = written.sweep(datasets)
    records += [written.record(OWN, EVIL, seed=seed) for seed in range(2)]
    records += [written.record(OWN, EVIL, seed=2, error="</script>")]
    records.append(written.record("exp_offset", "wind", error="<b>diverged</b>"))
    sums = {"sum_violation_rate_1e-4": 0.1, "sum_violation_max": 0.2, "jacobian_rank_fraction": 0.5}
    records.append(written.record("budget_softmax", "closure_greensboro", **sums))
    found = written.save(folder, records, described)
    for record in records:
        if record.is_done and record.cell.dataset in ("wind", EVIL):
            store.save(found, record, arrays(record, looks=3 - record.cell.seed // 4))
    return found
