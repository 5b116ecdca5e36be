"""What the JSON in a sweep's folder looks like: whoever wrote it, nothing else is taken for it."""

import re
from collections.abc import Callable
from typing import Any

STATUSES = ("done", "failed")
PHASES = ("tune", "final")


def misfit(found: Any, like: Any) -> str | None:
    """Where JSON is not as it should be, such as `config.seed`, or None.

    Args:
      found: the JSON.
      like: a test of it; or of a list `[like]`; or of an object `{key: like}`, whose keys need not
        be there, with `"*"` for those that are not named; without it they may hold anything.
    """
    odd = _misfit(found, like)
    return odd if odd is None else odd.lstrip(".") or "it"


def _misfit(found: Any, like: Any) -> str | None:
    if callable(like):
        return None if like(found) else ""
    if type(found) is not type(like):
        return ""
    if isinstance(found, list):
        for one in found:
            if (odd := _misfit(one, like[0])) is not None:
                return f"[]{odd}"
        return None
    others = like.get("*")
    for key, one in found.items():
        of = like.get(key, others)
        if of and (odd := _misfit(one, of)) is not None:
            return f".{key}{odd}"
    return None


def is_text(found: Any) -> bool:
    return isinstance(found, str)


def is_name(found: Any) -> bool:
    """Of a backbone: of the table, or module:factory."""
    return isinstance(found, str) and bool(re.fullmatch(r"[\w.:]{1,80}", found))


def is_number(found: Any) -> bool:
    """Finite, and far from where sums overflow."""
    return type(found) in (int, float) and abs(found) < 1e150


def is_count(found: Any) -> bool:
    return type(found) is int and 0 <= found < 2**32


def is_plain(found: Any) -> bool:
    return found is None or type(found) in (str, bool) or is_number(found)


def maybe(like: Any) -> Callable[[Any], bool]:
    """Or null."""
    return lambda found: found is None or misfit(found, like) is None


RECORD = {
    "status": lambda found: found in STATUSES,
    "config": {
        "dataset": {"name": is_text, "hash": is_text},
        "phase": lambda found: found in PHASES,
        "metric_version": is_count,
        "strategy": {
            "name": is_text,
            "hyperparameters": {"*": is_number},
            "bounds": {"*": maybe(is_text)},
            "hash": is_text,
        },
        "backbone": is_name,
        "seed": is_count,
        "model": {"*": is_plain},
        "training": {"learning_rate": is_number, "epochs": is_count, "*": is_plain},
    },
    "metrics": {"*": maybe(is_number)},
    "timing": {"*": is_number},
    "error": maybe(is_text),
    "fingerprint": maybe(
        {
            **dict.fromkeys(("versions", "settings"), maybe({"*": is_plain})),
            **dict.fromkeys(("strategy", "training", "host"), is_plain),
        }
    ),
    "sources": maybe(is_text),
}

_NAMES, _COUNTS = [is_text], [is_count]
_SESSION = {
    "plan": {
        "strategies": _NAMES,
        "datasets": _NAMES,
        "backbones": _NAMES,
        "seeds": is_count,
        "tuning_seeds": is_count,
    },
    "command": maybe(_NAMES),
    "versions": {"*": is_plain},
    "devices": maybe(_NAMES),
    "started": maybe(is_text),
    "finished": maybe(is_text),
    "compile_seconds": maybe(is_number),
    "train_seconds": maybe(is_number),
    **dict.fromkeys(("processor", "where", "revision", "sources", "dirty"), is_plain),
}
MANIFEST = {
    **_SESSION,
    "sessions": [_SESSION],
    "datasets": {
        "*": {
            "inputs": _COUNTS,
            "targets": _COUNTS,
            "bounds": _NAMES,
            "windows": {"*": is_count},
            "scale": maybe(is_number),
            "infeasible": maybe(is_number),
            "role": maybe(is_text),
            "group": maybe(is_text),
            "unit": maybe(is_text),
            "columns": maybe(_NAMES),
            "title": maybe(is_text),
        }
    },
}
CAPTIONS = {
    "records": maybe(is_text),
    "figures": {"*": {"title": is_text, "caption": is_text, "dataset": is_text}},
}
