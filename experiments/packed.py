"""Many records as a few arrays, small enough to be committed.

A packed record keeps all that the record holds, its metrics to the bit; of the final phase also
`block_mse`, and of its history HISTORY in half precision; of its examples, if it is of seed 0, all.
A checksum of all arrays with their names, kept with the records, tells whether one is lost or
altered.
"""

import json
import lzma
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

import numpy as np

from experiments.cells import Json, Record
from experiments.data.arrays import content_hash
from experiments.files import MOST_RECORD, StorageError, parse

Arrays = Mapping[str, np.ndarray]
Found = Sequence[tuple[Record, Arrays]]
HISTORY = (
    "mse",
    "train_loss",
    "violation_rate",
    "gradient_dead_fraction",
    "blocked_fraction",
    "gradient_vanishing_fraction",
)
SHARES = {f"history_{name}" for name in HISTORY if name.endswith(("_rate", "_fraction"))}
OF_TARGETS = {"example_targets", "example_output"}  # of one shape
MOST = 1e150  # of a number: sums of such do not overflow
MOST_TEXT = 1 << 27  # bytes of the records of a file
MOST_MEMORY = 1 << 27  # bytes that unpacking takes beside


def pack(found: Found) -> dict[str, np.ndarray]:
    """Records of one dataset, each with its arrays, as arrays; those alike beside each other.

    Raises:
      StorageError: if there are more than are read again.
    """
    found = sorted(found, key=lambda one: str(one[0].cell.to_json()))
    held = _histories(found) | _blocks(found) | _examples(found)
    head: Json = {"checksum": content_hash(held)}
    lines = [json.dumps(one, allow_nan=False) for one in (head, *(_kept(r) for r, _ in found))]
    text = "\n".join(lines).encode()
    if len(text) > MOST_TEXT:
        raise StorageError(f"{len(found)} records of {found[0][0].cell.dataset} are too many.")
    return {"records": np.frombuffer(lzma.compress(text, preset=9), np.uint8), **held}


def _kept(record: Record) -> Json:
    """Without its id, which is computed again and takes a third of the room."""
    return {key: value for key, value in record.to_json().items() if key != "id"}


def _histories(found: Found) -> dict[str, np.ndarray]:
    """One a row, filled up with zeros to the longest of those that hold the same."""

    def names(index: int) -> Hashable:
        return tuple(name for name in ("epoch", *HISTORY) if f"history_{name}" in found[index][1])

    held = {}
    curves = [i for i, (r, a) in enumerate(found) if _is_final(r) and "history_epoch" in a]
    for prefix, indices in _alike("history", curves, names):
        held[f"{prefix}_of"] = np.array(indices)
        for name in names(indices[0]):
            rows = [found[index][1][f"history_{name}"] for index in indices]
            longest = max(map(len, rows))
            with np.errstate(over="ignore"):
                filled = np.stack([np.pad(row, (0, longest - len(row))) for row in rows])
                held[f"{prefix}_{name}"] = filled if name == "epoch" else filled.astype("f2")
    return held


def _blocks(found: Found) -> dict[str, np.ndarray]:
    held = {}
    there = [i for i, (record, a) in enumerate(found) if _is_final(record) and "block_mse" in a]
    for prefix, indices in _alike("block", there, lambda i: found[i][1]["block_mse"].shape):
        held[f"{prefix}_of"] = np.array(indices)
        held[f"{prefix}_mse"] = np.stack([found[i][1]["block_mse"] for i in indices])
    return held


def _examples(found: Found) -> dict[str, np.ndarray]:
    """Of records with the same windows, the windows once."""

    def windows(index: int) -> dict[str, np.ndarray]:
        examples = {key: a for key, a in found[index][1].items() if key.startswith("example_")}
        return {key: array for key, array in examples.items() if key != "example_output"}

    held = {}
    first = [i for i, (r, _) in enumerate(found) if _is_final(r) and r.cell.seed == 0]
    shown = [index for index in first if "example_output" in found[index][1]]

    def version(index: int) -> Hashable:
        return content_hash(windows(index)), found[index][1]["example_output"].shape

    for prefix, indices in _alike("example", shown, version):
        held[f"{prefix}_of"] = np.array(indices)
        held[f"{prefix}_output"] = np.stack([found[i][1]["example_output"] for i in indices])
        for key, array in windows(indices[0]).items():
            held[key.replace("example", prefix, 1)] = array
    return held


def _is_final(record: Record) -> bool:
    return record.cell.phase == "final"


def _alike(
    kind: str, indices: Iterable[int], key: Callable[[int], Hashable]
) -> list[tuple[str, list[int]]]:
    """Records that share a key, under a prefix: `kind`, and with a number those after the first."""
    groups: dict[Hashable, list[int]] = {}
    for index in indices:
        groups.setdefault(key(index), []).append(index)
    return [(f"{kind}{number or ''}", group) for number, group in enumerate(groups.values())]


def unpack(held: Arrays) -> list[tuple[Record, dict[str, np.ndarray]]]:
    """The records of `pack`, each with the arrays that were kept.

    Raises:
      ValueError, TypeError, LookupError: if something is not as it was packed.
    """
    rest = dict(held)
    checksum, records = _records(_decompressed(rest.pop("records").tobytes()))
    if checksum is None:
        checksum = rest.pop("checksum", None)
    if checksum is not None and checksum != content_hash(rest):
        raise ValueError("its checksum does not match")
    arrays: list[dict[str, np.ndarray]] = [{} for _ in records]
    for prefix in [key.removesuffix("_of") for key in rest if key.endswith("_of")]:
        kind = prefix.rstrip("0123456789")
        names = {key.removeprefix(f"{prefix}_") for key in rest if key.startswith(f"{prefix}_")}
        for row, index in enumerate(rest[f"{prefix}_of"]):
            for name in names - {"of"}:
                of_all = rest[f"{prefix}_{name}"]
                is_own = kind != "example" or name == "output"
                values = of_all[row] if is_own else of_all
                if kind == "history":
                    values = values[rest[f"{prefix}_epoch"][row] > 0]
                arrays[index][f"{kind}_{name}"] = values
    return list(zip(records, map(checked, arrays), strict=True))


def _decompressed(content: bytes) -> bytes:
    tool = lzma.LZMADecompressor(memlimit=MOST_MEMORY)
    try:
        text = tool.decompress(content, max_length=MOST_TEXT)
    except lzma.LZMAError as error:
        raise ValueError(str(error)) from error
    if not tool.eof:
        raise ValueError(f"its records are cut off, or have more than {MOST_TEXT} bytes")
    return text


def _records(text: bytes) -> tuple[str | None, list[Record]]:
    """The checksum of the arrays, which older versions kept elsewhere or not at all, and what was
    packed."""
    if text.startswith(b"["):
        return None, [Record.from_json(found) for found in parse(text)]
    head, *lines = text.split(b"\n")
    return parse(head)["checksum"], [Record.from_json(parse(one, MOST_RECORD)) for one in lines]


def checked(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A record's arrays.

    Raises:
      ValueError: if they are not what a cell leaves.
    """
    histories = {array.shape for name, array in arrays.items() if name.startswith("history_")}
    examples = {name: array for name, array in arrays.items() if name.startswith("example_")}
    times = examples.pop("example_times", None)
    of_targets = {examples[name].shape for name in OF_TARGETS & examples.keys()}
    steps = {array.shape[:2] for name, array in examples.items() if name != "example_inputs"}
    if len(histories) > 1 or any(len(shape) != 1 for shape in histories):
        raise ValueError("its histories are not of one length")
    shapes = {array.shape for array in examples.values()}
    if arrays.get("block_mse", np.zeros(1)).ndim != 1:
        raise ValueError("block_mse is not one number a block")
    if {len(shape) for shape in shapes} - {3} or len({shape[0] for shape in shapes}) > 1:
        raise ValueError("its examples are not (windows, T, features)")
    if len(steps) > 1 or len(of_targets) > 1:
        raise ValueError("its examples are not of the same steps")
    if times is not None and (times.dtype.kind != "U" or {times.shape} != steps):
        raise ValueError("example_times are not texts (windows, T)")
    for name, array in arrays.items():
        if name == "example_times":
            continue
        if array.dtype.kind not in "iuf" or (name in examples and not array.size):
            raise ValueError(f"{name} holds no numbers")
        known = array[np.isfinite(array)]
        if known.size < array.size and name == "example_inputs":
            raise ValueError(f"{name} is not finite")
        if name == "example_targets" and np.isinf(array).any():  # NaN: a missing one
            raise ValueError(f"{name} is infinite")
        if float(np.abs(known).max(initial=0)) > MOST or (np.isinf(array).any() and name in SHARES):
            raise ValueError(f"{name} is beyond what a cell gives")
    return arrays
