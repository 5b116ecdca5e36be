"""Many records as a few arrays, small enough to be committed.

A packed record keeps all that the record holds, its metrics to the bit; of its history, if it is of
the final phase, HISTORY in half precision; of its examples, if it is of seed 0, all. A checksum of
all arrays with their names tells whether one is lost or altered.
"""

import json
import lzma
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.cells import Record
from experiments.data.datasets import content_hash

Arrays = Mapping[str, np.ndarray]
HISTORY = (
    "mse",
    "train_loss",
    "violation_rate",
    "gradient_dead_fraction",
    "blocked_fraction",
    "gradient_vanishing_fraction",
)


def pack(found: Sequence[tuple[Record, Arrays]]) -> dict[str, np.ndarray]:
    """Records of one dataset and training, each with its arrays, as arrays."""
    text = json.dumps(
        [record.to_json() for record, _ in found], separators=(",", ":"), allow_nan=False
    )
    held = {"records": np.frombuffer(lzma.compress(text.encode(), preset=9), np.uint8)}
    final = [index for index, (r, _) in enumerate(found) if r.cell.phase == "final"]
    curves = [index for index in final if "history_epoch" in found[index][1]]
    shown = [
        index
        for index in final
        if found[index][0].cell.seed == 0 and "example_output" in found[index][1]
    ]

    def stacked(name: str, indices: Sequence[int]) -> np.ndarray:
        return np.stack([found[index][1][name] for index in indices])

    if curves:
        held |= {"history_of": np.array(curves), "history_epoch": stacked("history_epoch", curves)}
        with np.errstate(over="ignore"):
            halves = {name: stacked(f"history_{name}", curves).astype("f2") for name in HISTORY}
        held |= {f"history_{name}": rows for name, rows in halves.items()}
    if shown:
        windows = {key: a for key, a in found[shown[0]][1].items() if key.startswith("example_")}
        held |= windows | {
            "example_of": np.array(shown),
            "example_output": stacked("example_output", shown),
        }
    return held | {"checksum": np.array(content_hash(held))}


def unpack(held: Arrays) -> list[tuple[Record, dict[str, np.ndarray]]]:
    """The records of `pack`, each with the arrays that were kept.

    Raises:
      ValueError: if something is not as it was packed; packed by an older version, it is not known.
    """
    held = dict(held)
    checksum = held.pop("checksum", None)
    if checksum is not None and checksum != content_hash(held):
        raise ValueError("its checksum does not match")
    found = json.loads(lzma.decompress(held["records"].tobytes()))
    records = [Record.from_json(record) for record in found]
    arrays: list[dict[str, np.ndarray]] = [{} for _ in records]
    for kind in ("history", "example"):
        names = [key for key in held if key.startswith(f"{kind}_") and key != f"{kind}_of"]
        for row, index in enumerate(held.get(f"{kind}_of", ())):
            own = names if kind == "history" else ["example_output"]
            arrays[index] |= {key: held[key][row] if key in own else held[key] for key in names}
    return list(zip(records, arrays, strict=True))
